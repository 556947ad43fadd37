"""Small episodes are committed together, each on its own: what goes wrong with one is told of that one alone."""

import errno
import gc
import json
import os
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.commits import CommitRecord, month_of
from sensorium.corpus.verify import verify
from sensorium.episode import durable, zip_form
from sensorium.errors import StoreError
from sensorium.ingest import committing, episode_group, zip_commit
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.commit import Committer, Ready
from sensorium.ingest.committing import Conflict, ready_of
from sensorium.ingest.store import Store
from tests.forms import arrived

Outcomes = list[CommitRecord | Exception]


def together(store: Store, assemblies: list[Assembly]) -> Outcomes:
    return store.commit_together([whole(each) for each in assemblies])


def whole(assembly: Assembly) -> Ready[Assembly]:
    return ready_of(assembly, "rig-1", "key-1")


def kinds(outcomes: Outcomes) -> list[str]:
    return [type(each).__name__ for each in outcomes]


def zips(store: Path) -> list[str]:
    return sorted(path.stem for path in (store / "episodes.zarr").glob("*/*.zip"))


def version(store: Path) -> int:
    root: int = json.loads((store / "episodes.zarr/zarr.json").read_bytes())["attributes"]["sensorium"][
        "format_version"
    ]
    return root


@pytest.fixture
def few(make_episode: Any) -> list[Any]:
    return [make_episode({"imu": np.arange(20.0) + number}, ordinal=number) for number in range(4)]


def check(store: Path, few: list[Any]) -> None:
    """Every episode is in the store once, as a ZIP, with what it was."""
    found = {each.id: each for each in sensorium.open(store).query()}
    assert sorted(found) == zips(store) == sorted(str(made.episode) for made in few)
    for made in few:
        np.testing.assert_array_equal(found[str(made.episode)].streams["imu"][:], made.arrays["imu"])
    assert not list(verify(store, deep=True))


def test_those_of_one_call_are_committed_as_one_each(few: list[Any], memory: Path) -> None:
    with Store.open(memory) as store:
        outcomes = together(store, [arrived(store, made) for made in few])
        assert kinds(outcomes) == ["CommitRecord"] * 4
        assert [store.state(made.episode) is not None for made in few] == [True] * 4
        assert not list(store.staging.iterdir())
    check(memory, few)


def test_each_is_synced_before_it_is_named_and_named_before_its_record(
    few: list[Any], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the system's own calls, as a kill keeps what was not synced: data, and a record that nobody sees, the name of
    the data, that of the record; a folder once."""
    log: list[tuple[str, str]] = []

    def spy(name: str) -> None:
        real = getattr(os, name)

        def call(what: Any, *rest: Any, **named: Any) -> Any:
            fd = what if isinstance(what, int) else named["src_dir_fd"]
            at = Path(f"/proc/self/fd/{fd}").readlink()
            log.append((name, str(at if isinstance(what, int) else at / what)))
            return real(what, *rest, **named)

        monkeypatch.setattr(os, name, call)

    with Store.open(memory) as store:
        together(store, [arrived(store, few[0])])
        assemblies = [arrived(store, made) for made in few[1:]]
        for name in ("fsync", "fdatasync", "link", "pwrite"):
            spy(name)
        outcomes = together(store, assemblies)
        monkeypatch.undo()
    assert kinds(outcomes) == ["CommitRecord"] * 3
    month = next(memory.glob("episodes.zarr/2*"))
    (named,) = (at for at, entry in enumerate(log) if entry == ("fsync", str(month)))
    (published,) = (at for at, entry in enumerate(log) if entry == ("fsync", str(memory / "commits" / month.name)))
    for made in few[1:]:
        path = str(month / f"{made.episode}.zip")
        synced = log.index(("fdatasync", path))
        assert max(at for at, entry in enumerate(log) if entry == ("pwrite", path)) < synced < named
    links = [(at, what) for at, (name, what) in enumerate(log) if name == "link"]
    assert len(links) == 3
    for at, temporary in links:
        written = max(at for at, entry in enumerate(log) if entry == ("pwrite", temporary))
        assert written < log.index(("fdatasync", temporary)) < named < at < published
    assert sum(name == "fsync" for name, _ in log) == 2, "a folder is waited for once for all"


def test_the_root_says_version_2_before_the_first_zip_and_is_written_once(
    few: list[Any], make_episode: Any, memory: Path
) -> None:
    seen: list[tuple[str, int, int]] = []

    def step(name: str) -> None:
        seen.append((name, version(memory), len(zips(memory))))

    with Store.open(memory, step) as store:
        assert version(memory) == 1
        together(store, [arrived(store, few[0])])
        assert [entry for entry in seen if entry[0] in ("finished", "version", "synced")] == [
            ("finished", 1, 0),
            ("version", 2, 0),
            ("synced", 2, 1),
        ]
        root = (memory / "episodes.zarr/zarr.json").stat()
        together(store, [arrived(store, few[1])])
        assert (memory / "episodes.zarr/zarr.json").stat().st_ino == root.st_ino
    with Store.open(memory, small_bytes=0) as store:
        store.commit(arrived(store, few[2]), device="rig-1", identity="key-1")
        assert version(memory) == 2


def test_a_store_without_small_episodes_stays_of_version_1(few: list[Any], memory: Path) -> None:
    with Store.open(memory, small_bytes=len(few[0].data) - 1) as store:
        for made in few:
            store.commit(arrived(store, made), device="rig-1", identity="key-1")
        assert version(memory) == 1
        assert not zips(memory)
    assert len(sensorium.open(memory).query()) == 4


def test_one_of_exactly_the_bound_is_small(few: list[Any], memory: Path) -> None:
    with Store.open(memory, small_bytes=len(few[0].data)) as store:
        for assembly in (arrived(store, few[0]), store.begin(few[1].episode)):
            assembly.append(few[1].data[assembly.accepted :])
            assert store.is_small(assembly)
            store.commit(assembly, device="rig-1", identity="key-1")
        assert version(memory) == 2
    check(memory, few[:2])


def test_one_of_more_members_than_a_plain_zip_holds_is_a_folder(
    make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few bytes they are; what it is made of are at least as many members as it comes to."""
    narrow = make_episode({"imu": np.arange(20.0)})
    wide = make_episode({f"s{number}": np.arange(20.0) for number in range(5)}, ordinal=1)
    with Store.open(memory) as store:
        store.commit(arrived(store, narrow), device="rig-1", identity="key-1")
    with zipfile.ZipFile(next(memory.glob("episodes.zarr/*/*.zip"))) as made:
        members = len(made.namelist())
    monkeypatch.setattr(committing, "MAX_MEMBERS", 20)
    monkeypatch.setattr(zip_form, "MAX_MEMBERS", 20)
    assert members <= 20
    other = make_episode({"imu": np.arange(20.0)}, ordinal=2)
    with Store.open(memory) as store:
        for made in (wide, other):
            store.commit(arrived(store, made), device="rig-1", identity="key-1")
    assert zips(memory) == sorted(str(made.episode) for made in (narrow, other))
    assert len(sensorium.open(memory).query()) == 3
    assert not list(verify(memory, deep=True))


def test_a_root_that_cannot_be_raised_keeps_every_zip_out(few: list[Any], memory: Path, monkeypatch: Any) -> None:
    with Store.open(memory) as store:
        assemblies = [arrived(store, made) for made in few]

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(durable, "replace", full)
            assert kinds(together(store, assemblies)) == ["StoreError"] * 4
        assert (version(memory), zips(memory)) == (1, [])
        assert kinds(together(store, assemblies)) == ["CommitRecord"] * 4
    check(memory, few)


class OneFile:
    """Stands in for `os` in `durable`: `call` fails where the path holds `part`; `also` fails for every one."""

    def __init__(self, call: str, part: str, also: str = "") -> None:
        self._call, self._part, self._also = call, part, also

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)

        def call(what: Any, *rest: Any, **named: Any) -> Any:
            path = str(Path(f"/proc/self/fd/{what}").readlink()) if isinstance(what, int) else f"{what} {rest}"
            if (name == self._call and self._part in path) or name == self._also:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(what, *rest, **named)

        return call if name in (self._call, self._also) else real


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "open", "link"])
def test_what_the_disk_does_to_one_is_of_that_one_alone(
    few: list[Any], memory: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Nothing is left of it that anybody trusts; it is committed from memory when it is tried again."""
    with Store.open(memory) as store:
        assemblies = [arrived(store, made) for made in few]
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", OneFile(call, str(few[1].episode)))
            outcomes = together(store, assemblies)
        assert kinds(outcomes) == ["CommitRecord", "StoreError", "CommitRecord", "CommitRecord"]
        assert "Input/output error; see to the disk" in str(outcomes[1])
        assert store.state(few[1].episode) is None
        assert (str(few[1].episode) in zips(memory)) == (call == "link"), "it is named, not committed, until then"
        assert assemblies[1].failed is None
        assert kinds(together(store, assemblies[1:2])) == ["CommitRecord"]
    check(memory, few)


def test_a_file_whose_sync_failed_is_not_trusted_though_it_could_not_be_removed(
    few: list[Any], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one that anybody else left there: it is set aside, and written anew."""
    with Store.open(memory) as store:
        together(store, [arrived(store, few[1])])
        assembly = arrived(store, few[0])
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", OneFile("fdatasync", f"{few[0].episode}.zip", also="unlink"))
            assert kinds(together(store, [assembly])) == ["StoreError"]
        left = next(memory.glob(f"episodes.zarr/*/{few[0].episode}.zip"))
        inode = left.stat().st_ino
        (memory / "episodes.zarr" / left.parent.name / f"{few[2].episode}.zip").write_bytes(b"nobody's")
        assert kinds(together(store, [assembly, arrived(store, few[2])])) == ["CommitRecord"] * 2
        assert left.stat().st_ino != inode
        assert len(list(store.staging.glob("orphan-*"))) == 2
    check(memory, few[:3])
    Store.open(memory).close()
    assert not list((memory / ".staging").iterdir())


def test_conflicts_within_one_call(few: list[Any], make_episode: Any, memory: Path) -> None:
    """Of two that claim one id, or one ordinal, the first is committed; the other is asked for again, then refused."""
    other = make_episode({"imu": np.arange(5.0)}, episode=few[0].episode, ordinal=7)
    taken = make_episode({"imu": np.arange(6.0)}, ordinal=1)
    with Store.open(memory) as store:
        assemblies = [arrived(store, made) for made in (few[0], other, few[1], taken, few[2])]
        outcomes = together(store, assemblies)
        assert kinds(outcomes) == ["CommitRecord", "StoreError", "CommitRecord", "StoreError", "CommitRecord"]
        for late, why in ((1, "came with digest"), (3, "ordinal 1 of rig-1")):
            assert "is being committed already" in str(outcomes[late])
            (again,) = together(store, assemblies[late : late + 1])
            assert isinstance(again, Conflict)
            assert why in str(again)
        (same,) = together(store, [arrived(store, few[0])])
        assert same == outcomes[0]
    check(memory, few[:3])


BAD: dict[str, Callable[[Assembly], None]] = {
    "failed before": lambda assembly: assembly.discard(),
    "failed meanwhile": lambda assembly: setattr(assembly, "failed", "the disk was away"),
    "taken out of staging": lambda assembly: durable.remove_tree(assembly.staged.path, dir_fd=assembly.staged._dir_fd),
    "a shard gone": lambda assembly: durable.remove(Path(assembly.files[0].name), dir_fd=assembly.staged.fd),
    "a shard changed": lambda assembly: durable.write_at(assembly.files[0].fd, b"\xff\xfe", 3),
    "of nobody's making": lambda assembly: assembly.notes.append(object()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("how", BAD)
def test_a_bad_one_harms_no_other(few: list[Any], memory: Path, how: str) -> None:
    """What is wrong with what was staged is no fault of the device either, which would be believed to send damage."""
    with Store.open(memory) as store:
        ready = [whole(arrived(store, few[0]))]
        staged = store.begin(few[1].episode)
        staged.append(few[1].data)
        ready += [whole(staged), whole(arrived(store, few[2]))]
        BAD[how](staged)
        outcomes = store.commit_together(ready)
        assert kinds(outcomes)[::2] == ["CommitRecord", "CommitRecord"]
        assert isinstance(outcomes[1], TypeError if how == "of nobody's making" else StoreError)
        assert "\n" not in str(outcomes[1])
        assert (staged.failed is None) == (how == "of nobody's making")
        staged.discard()
        assert kinds(together(store, [arrived(store, few[1])])) == ["CommitRecord"]
    check(memory, few[:3])


@pytest.mark.parametrize("what", ["nothing", "what is there as a folder", "one that failed", "one that cannot be made"])
def test_the_version_is_not_raised_for_a_zip_that_there_is_not(
    few: list[Any], memory: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    if what == "what is there as a folder":
        with Store.open(memory, small_bytes=0) as store:
            store.commit(arrived(store, few[0]), device="rig-1", identity="key-1")
    with Store.open(memory) as store:
        assemblies = [] if what == "nothing" else [arrived(store, few[0])]
        ready = [whole(each) for each in assemblies]
        if what == "one that failed":
            assemblies[0].failed = "its sync failed"
        if what == "one that cannot be made":
            monkeypatch.setattr(zip_commit, "group_files", lambda *_: 1 / 0)
        outcomes = store.commit_together(ready)
    assert len(outcomes) == len(assemblies)
    assert kinds(outcomes).count("CommitRecord") == (what == "what is there as a folder")
    assert (version(memory), zips(memory)) == (1, [])


def test_a_month_that_cannot_be_made_is_of_those_in_it_alone(
    few: list[Any], make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = make_episode({"imu": np.arange(20.0)}, ordinal=9, episode=uuid.UUID("01890000-0000-7000-8000-000000000001"))
    make = Committer.make_month

    def fail(commits: Committer, month: str) -> None:
        if month == month_of(early.episode):
            raise OSError(errno.EIO, "of this month alone")
        make(commits, month)

    monkeypatch.setattr(Committer, "make_month", fail)
    with Store.open(memory) as store:
        outcomes = together(store, [arrived(store, made) for made in [early, *few]])
    assert kinds(outcomes) == ["StoreError", *["CommitRecord"] * 4]
    check(memory, few)


def test_documents_are_kept_no_longer_than_the_codec_that_they_are_of(make_episode: Any, memory: Path) -> None:
    kept = len(episode_group._data_documents)
    with Store.open(memory) as store:
        for number in range(20):
            specs = {"imu": {"calibration": {"table": [number] * 2000}}}  # too large for its codec to be kept
            made = make_episode({"imu": np.arange(20.0)}, ordinal=number, specs=specs)
            together(store, [arrived(store, made)])
    gc.collect()
    assert len(episode_group._data_documents) <= kept + 1
