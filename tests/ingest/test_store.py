"""Commits: an episode is in the store whole or not at all, whatever ends the process; and one writer at a time."""

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import sensorium
from sensorium.corpus.commits import month_of
from sensorium.corpus.verify import verify
from sensorium.drivers.clock import Clock
from sensorium.episode import durable
from sensorium.episode.documents import Encoding
from sensorium.errors import Corrupt, PeerViolation, StoreError
from sensorium.ingest import quarantine
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.committing import Conflict
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.store import Store
from tests.forms import FORMS, arrived

STEPS = [(0, step) for step in ("files", "synced", "renamed", "writing record", "record", "catalog")]
STEPS += [(8_000_000, step) for step in ("version", "synced", "writing record", "record", "catalog")]


def commit(store: Store, made: Any, probes: Any = ()) -> Any:
    return store.commit(arrived(store, made), device=made.manifest.device, identity="key-1", probes=probes)


@pytest.fixture
def made(make_episode: Any) -> Any:
    return make_episode({"front": np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8), "imu": np.arange(20.0)})


@FORMS
def test_a_commit_is_in_the_catalog_and_the_ledger(made: Any, tmp_path: Path, small_bytes: int) -> None:
    with Store.open(tmp_path / "new" / "store", small_bytes=small_bytes) as store:
        assert store.state(made.episode) is None
        assembly = arrived(store, made)
        assert store.staged_bytes() == len(made.data)
        record = store.commit(assembly, device="rig-1", identity="key-1", probes=[(10**9, 1_700_000_000 * 10**9, 4)])
        assert store.staged_bytes() == 0
        assert store.free_bytes() > 0
        known = store.state(made.episode)
        assert known is not None
        assert known == ("committed", "rig-1", "spool-a", 0, assembly.digest)
        entry = store.ordinal("rig-1", "spool-a", 0)
        assert entry == ("committed", made.episode, "")
        assert record.row["start_utc"] == "2023-11-14T22:13:20.000000Z"
        assert record.row["bytes"] == sum(size for size, _ in record.objects.values())
        assembly.discard()
        row = sensorium.open(store.path).records()[0]
        assert row["account"]["imu"] == {"captured": 20, "stored": 20, "filtered": {}, "lost": {}}
        assert row["streams"]["imu"]["rows"] == row["streams"]["imu"]["rows"] == 20
        assert not list(verify(store.path, deep=True))
    assert not list((store.path / ".staging").iterdir())


@FORMS
def test_committing_again_is_the_same_commit(made: Any, tmp_path: Path, small_bytes: int) -> None:
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        first, second = commit(store, made), commit(store, made)
        assert first == second
        assert len(sensorium.open(tmp_path).query()) == 1
        assert not list(store.staging.iterdir())


@FORMS
def test_how_long_commits_took_is_counted_once_each(made: Any, tmp_path: Path, small_bytes: int) -> None:
    with Store.open(tmp_path / "store", small_bytes=small_bytes) as store:
        assert store.commit_times["+Inf"] == store.commit_times["sum"] == 0
        commit(store, made)
        commit(store, made)  # which the disk is asked nothing for
        assert store.commit_times["+Inf"] == 1
        assert store.commit_times["sum"] > 0


@FORMS
def test_one_id_or_ordinal_never_has_two_contents(
    made: Any, make_episode: Any, tmp_path: Path, small_bytes: int
) -> None:
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        commit(store, made)
        with pytest.raises(Conflict, match="digest"):
            commit(store, make_episode({"imu": np.arange(5)}, episode=made.episode, ordinal=1))
        with pytest.raises(Conflict, match="ordinal 0 of rig-1"):
            commit(store, make_episode({"imu": np.arange(5)}, ordinal=0))
        commit(store, make_episode({"imu": np.arange(5)}, ordinal=0, spool_id="spool-b"))
        assert len(sensorium.open(tmp_path).query()) == 2


@FORMS
def test_what_may_not_be_committed(made: Any, tmp_path: Path, small_bytes: int) -> None:
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        with pytest.raises(PeerViolation, match="'rig-2' sent it"):
            store.commit(arrived(store, made), device="rig-2", identity="key-2")
        half = store.begin(made.episode)
        half.append(made.data[:-9])
        with pytest.raises(Corrupt, match="before SEAL"):
            store.commit(half, device="rig-1", identity="key-1")
        gone = arrived(store, made)
        gone.discard()
        with pytest.raises(StoreError, match="begin it again"):
            store.commit(gone, device="rig-1", identity="key-1")
        for other in (uuid.uuid4(), uuid.UUID(int=(0xFFFFFFFFFFFF << 80) | (7 << 76) | (2 << 62))):
            with pytest.raises(PeerViolation, match="UUIDv7"):
                store.begin(other)
        assert store.state(made.episode) is None
        assert sensorium.open(tmp_path).query() == []


def test_a_spool_that_has_gone_back_is_said_to(made: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Store.open(tmp_path) as store:
        for next_ordinal in (0, 6, 6, 9):
            store.saw_spool("rig-1", "spool-a", 0, next_ordinal)
        store.saw_spool("rig-1", "spool-b", 0, 0)
        store.saw_spool("rig-2", "spool-a", 0, 0)
        assert not caplog.messages
        store.saw_spool("rig-1", "spool-a", 0, 7)
        assert "spool spool-a says that its next ordinal is 7, and was at 9 before" in caplog.text
        (line, *_) = sensorium.open(tmp_path).ledger("rig-1")
        assert line.next_ordinal == 9
    caplog.clear()
    with Store.open(tmp_path) as store:
        commit(store, made)  # its ordinal is 0
        store.saw_spool("rig-1", made.manifest.spool_id, 0, 0)
        assert "was restored from a backup" in caplog.text


def test_a_discard_gives_way_to_a_commit_and_is_rebuilt(made: Any, make_episode: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.discarded("rig-1", "spool-a", [0, 1, 2], "evicted")
        store.discarded("rig-1", "spool-a", [2, 3], "evicted")
        commit(store, made)
        store.discarded("rig-1", "spool-a", [0], "evicted")
        store.saw_spool("rig-1", "spool-a", 0, 6)
        assert store.ordinal("rig-1", "spool-a", 0) == ("committed", made.episode, "")
        assert store.ordinal("rig-1", "spool-a", 3) == ("discarded", None, "evicted")
        assert store.ordinal("rig-1", "spool-a", 4) is None
        (line,) = sensorium.open(tmp_path).ledger()
        assert (line.committed, line.discarded, line.next_ordinal, line.pending) == (1, {"evicted": 3}, 6, 2)
        with pytest.raises(ValueError, match="device"):
            store.discarded("../x", "spool-a", [9], "evicted")
        with pytest.raises(StoreError, match="another ingest"):
            rebuild_catalog(tmp_path)
    with (tmp_path / "commits/discarded/rig-1/spool-a.jsonl").open("ab") as torn:
        torn.write(b'\n{"ordinals":[77],"rea')
    (tmp_path / "catalog.sqlite").unlink()
    seen: list[tuple[int, int]] = []
    assert rebuild_catalog(tmp_path, lambda done, total: seen.append((done, total))) == 1
    assert seen == [(1, 1)]
    (line,) = sensorium.open(tmp_path).ledger("rig-1")
    assert (line.committed, line.discarded, line.pending) == (1, {"evicted": 3}, 0)
    with Store.open(tmp_path) as store:
        store.discarded("rig-1", "spool-a", [8], "evicted")
        assert store.ordinal("rig-1", "spool-a", 77) is None
    (tmp_path / "catalog.sqlite").unlink()
    rebuild_catalog(tmp_path)
    with Store.open(tmp_path) as store:
        assert store.ordinal("rig-1", "spool-a", 8) is not None


def test_second_writer_other_version_and_other_folders(made: Any, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Store.open(path), pytest.raises(StoreError, match="another ingest writes this store"):
        Store.open(path)
    root = path / "episodes.zarr" / "zarr.json"
    root.write_text(root.read_text().replace('"format_version":1', '"format_version":3'))
    for opening in (Store.open, sensorium.open, rebuild_catalog, lambda where: list(verify(where))):
        with pytest.raises(StoreError, match="version 3, this release reads 1 and 2"):
            opening(path)
    other = tmp_path / "photos"
    other.mkdir()
    (other / "a.jpg").touch()
    with pytest.raises(StoreError, match=r"not a store, it holds 'a\.jpg'"):
        Store.open(other)
    assert [entry.name for entry in other.iterdir()] == ["a.jpg"]
    with pytest.raises(StoreError, match="not a folder"):
        Store.open(other / "a.jpg")
    with pytest.raises(StoreError, match="not a store"):
        sensorium.open(tmp_path / "absent")


def test_a_broken_catalog_says_what_to_do(made: Any, tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        commit(store, made)
    (tmp_path / "catalog.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="rebuild-catalog"):
        sensorium.open(tmp_path)
    assert "rebuild-catalog" in str(next(verify(tmp_path)))
    rebuild_catalog(tmp_path)
    assert len(sensorium.open(tmp_path).query()) == 1


@FORMS
def test_commits_from_many_threads(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    episodes = [make_episode({"imu": np.arange(30.0)}, ordinal=number) for number in range(24)]
    with Store.open(tmp_path, small_bytes=small_bytes) as store, ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda made: commit(store, made), episodes))
        # The same one from all at once: committed once, told to ask again, or told that it is there.
        last = make_episode({"imu": np.arange(9.0)}, ordinal=24)
        copies = [arrived(store, last) for _ in range(6)]
        done = pool.map(lambda one: _outcome(store, one), copies)
        assert set(done) <= {"committed", "being committed"}
    assert [each.id for each in sensorium.open(tmp_path).query()] == [str(made.episode) for made in [*episodes, last]]
    assert not list(verify(tmp_path, deep=True))


def _outcome(store: Store, assembly: Assembly) -> str:
    try:
        store.commit(assembly, device="rig-1", identity="key-1")
    except StoreError as error:
        return "being committed" if "being committed" in str(error) else str(error)
    return "committed"


@FORMS
def test_a_full_disk_is_survived_and_the_commit_repeated(
    made: Any, tmp_path: Path, monkeypatch: Any, small_bytes: int
) -> None:
    calls = 0

    def full(real: Any, at: int) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= at:
                raise OSError(28, "No space left on device")
            return real(*arguments, **named)

        return call

    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        assembly = arrived(store, made)
        ways: list[tuple[Any, str, int]] = [(durable, "sync_folder", 2), (os, "link", 1), (os, "pwrite", 1)]
        for module, name, at in ways if small_bytes else [(durable, "write_synced", 3), *ways[:2]]:
            calls = 0
            monkeypatch.setattr(module, name, full(getattr(module, name), at))
            with pytest.raises(StoreError, match=r"No space left on device; make room"):
                store.commit(assembly, device="rig-1", identity="key-1")
            monkeypatch.undo()
            assert sensorium.open(tmp_path).query() == []
        store.commit(assembly, device="rig-1", identity="key-1")
        (episode,) = sensorium.open(tmp_path).query()
        np.testing.assert_array_equal(episode.streams["imu"][:], made.arrays["imu"])
    assert not list(verify(tmp_path, deep=True))


class FailingDisk:
    """The system as `durable` sees it; call number `fails` of those that change something is an error."""

    def __init__(self, fails: int) -> None:
        self.left = fails
        self._guard = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("open", "pwrite", "fsync", "fdatasync", "mkdir", "rename", "link", "unlink"):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            with self._guard:
                self.left -= 1
                if self.left == 0:
                    raise OSError(28, "No space left on device")
            return real(*arguments, **named)

        return call


@FORMS
def test_a_call_of_a_commit_that_fails_costs_nothing(
    make_episode: Any, tmp_path: Path, monkeypatch: Any, small_bytes: int
) -> None:
    """Whichever it is: the episode is committed again, or delivered again, and is then in the store once and whole."""
    rng = np.random.default_rng(5)
    pictures = rng.integers(0, 255, (30, 120, 120, 3), dtype=np.uint8)  # some chunks of a blob, the last not full
    encodings, steps = {"pic": Encoding(codec="jpeg", quality=90)}, [""]
    failed, known = list[int](), list[int]()
    with Store.open(tmp_path, steps.append, small_bytes=small_bytes) as store:
        for fails in range(1, 200):
            made = make_episode({"imu": np.arange(20.0), "pic": pictures}, encodings=encodings, ordinal=fails - 1)
            assembly = arrived(store, made)
            disk, steps[:] = FailingDisk(fails), [""]
            monkeypatch.setattr(durable, "os", disk)
            outcome = _outcome(store, assembly)
            if outcome != "committed":
                disk.left = -1
                failed.append(fails)
                assert "No space left on device" in outcome
                if store.state(made.episode) is not None:
                    known.append(fails)
                # What fails behind the catalog is the last look at it, without which nobody is told that it is there.
                assert small_bytes or (fails in known) == (steps[-1] == "catalog")
                if assembly.failed:
                    assembly.discard()
                    commit(store, made)
                else:
                    store.commit(assembly, device="rig-1", identity="key-1")
            monkeypatch.undo()
            if disk.left > 0:
                break
        assert len(failed) > (15 if small_bytes else 40)
        assert known == failed[len(failed) - len(known) :]
        assert len(sensorium.open(tmp_path).query()) == fails
        assert not list(verify(tmp_path, deep=True))
        left = {path.name.partition("-")[0] for path in store.staging.iterdir()}
        assert left <= ({"new", "orphan"} if small_bytes else {"new"})


@pytest.mark.parametrize(
    ("small_bytes", "at"),
    [(0, "renamed"), (0, "folder"), (0, "record")]
    + [(8_000_000, at) for at in ("version", "synced", "folder", "record")],
)
def test_a_commit_that_failed_half_way_is_delivered_again(made: Any, tmp_path: Path, small_bytes: int, at: str) -> None:
    failing = True

    def step(name: str) -> None:
        if failing and name == at:
            raise OSError(5, "Input/output error")

    with Store.open(tmp_path, step, small_bytes) as store:
        assembly = arrived(store, made)
        with pytest.raises(StoreError, match="Input/output"):
            store.commit(assembly, device="rig-1", identity="key-1")
        assembly.discard()
        failing = False
        assert store.state(made.episode) is None
        commit(store, made)
        assert len(list(store.staging.glob("orphan-*"))) == (at not in ("version", "record"))
        assert not list(verify(tmp_path, deep=True))
        assert len(sensorium.open(tmp_path).query()) == 1


def test_a_failed_sync_of_data_is_not_trusted_again(made: Any, tmp_path: Path, monkeypatch: Any) -> None:
    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with Store.open(tmp_path, small_bytes=0) as store:
        assembly = arrived(store, made)
        monkeypatch.setattr(os, "fdatasync", broken)
        with pytest.raises(StoreError, match="Input/output"):
            store.commit(assembly, device="rig-1", identity="key-1")
        monkeypatch.undo()
        with pytest.raises(StoreError, match="begin it again"):
            store.commit(assembly, device="rig-1", identity="key-1")
        assembly.discard()
        commit(store, made)


@FORMS
def test_quarantine_keeps_the_newest(made: Any, tmp_path: Path, monkeypatch: Any, small_bytes: int) -> None:
    monkeypatch.setattr(quarantine, "MAX_QUARANTINED", 2)
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        folders = [store.quarantine(arrived(store, made), f"digest {number}") for number in range(3)]
        assert [folder.exists() for folder in folders] == [False, True, True]
        why = json.loads((folders[2] / "why.json").read_text())
        assert (why["why"], why["open"]["device"]) == ("digest 2", "rig-1")
        assert not list(store.staging.iterdir())
        commit(store, made)


@FORMS
def test_months_come_from_the_id(make_episode: Any, tmp_path: Path, small_bytes: int) -> None:
    old = uuid.UUID(int=(7 << 76) | (2 << 62))
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        commit(store, make_episode({"imu": np.arange(3)}, episode=old))
        commit(store, make_episode({"imu": np.arange(3)}, episode=uuid.UUID(int=old.int + 1), ordinal=1))
    assert (tmp_path / "episodes.zarr/1970-01/zarr.json").is_file()
    name = f"{old}.zip" if small_bytes else f"{old}/zarr.json"
    assert (tmp_path / "episodes.zarr/1970-01" / name).is_file()


def test_probes_are_for_live_clocks_only(make_episode: Any, tmp_path: Path) -> None:
    made = make_episode({"imu": np.arange(3)}, clock=Clock(kind="simulated"))
    with Store.open(tmp_path) as store:
        record = commit(store, made, probes=[(1, 2, 3)])
    assert record.row["start_utc"] is None
    assert len(sensorium.open(tmp_path).query()[0].probes) == 0


CHILD = """
import os, signal, sys, uuid
from pathlib import Path
from sensorium.ingest.store import Store
kill = lambda name: name == sys.argv[3] and os.kill(os.getpid(), signal.SIGKILL)
store = Store.open(sys.argv[1], kill, int(sys.argv[4]))
data, episode = Path(sys.argv[2]).read_bytes(), uuid.UUID(Path(sys.argv[2]).stem)
assembly = store.begin_held(episode) or store.begin(episode)
assembly.append(data)
store.commit(assembly, device="rig-1", identity="key-1")
"""


@pytest.mark.parametrize(("small_bytes", "step"), STEPS)
def test_killed_at_any_step(make_episode: Any, tmp_path: Path, small_bytes: int, step: str) -> None:
    before = make_episode({"imu": np.arange(9.0)})
    made = make_episode({"front": np.zeros((3, 8, 8), np.uint8), "imu": np.arange(20.0)}, ordinal=1)
    with Store.open(tmp_path / "s", small_bytes=0) as store:
        commit(store, before)
    file = tmp_path / f"{made.episode}.bin"
    file.write_bytes(made.data)
    arguments = [str(tmp_path / "s"), str(file), step, str(small_bytes)]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], check=False)
    assert child.returncode == -signal.SIGKILL
    visible = {str(before.episode)} | ({str(made.episode)} if step == "catalog" else set())
    assert {each.id for each in sensorium.open(tmp_path / "s").query()} == visible
    with Store.open(tmp_path / "s", small_bytes=small_bytes) as store:
        whole = step in ("record", "catalog")
        assert (store.state(made.episode) is not None) == whole
        assert len(sensorium.open(tmp_path / "s").query()) == 1 + whole
        assert not list(verify(tmp_path / "s", deep=True))
        assert len(list(store.staging.glob("orphan-*"))) == (
            step in ("renamed", "writing record", *["synced"][:small_bytes])
        )
        commit(store, made)
        assert not list(verify(tmp_path / "s", deep=True))
    assert len(sensorium.open(tmp_path / "s").query()) == 2
    Store.open(tmp_path / "s").close()
    assert not list((tmp_path / "s/.staging").iterdir())


def test_every_file_and_folder_is_synced_before_the_rename(made: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """kill -9 keeps the page cache, so the order of the system calls themselves is held to here."""
    log: list[tuple[str, str]] = []
    guard = threading.Lock()

    def opened(fd: int) -> str:
        return str(Path(f"/proc/self/fd/{fd}").readlink())

    def spy(name: str) -> None:
        real = getattr(os, name)

        def call(fd: Any, *rest: Any, **named: Any) -> Any:
            what = opened(fd) if isinstance(fd, int) else str(Path(opened(named["src_dir_fd"])) / fd)
            with guard:
                log.append((name, what))
            return real(fd, *rest, **named)

        monkeypatch.setattr(os, name, call)

    with Store.open(tmp_path, small_bytes=0) as store:
        assembly = arrived(store, made)
        staged = str(tmp_path / assembly.folder)
        for name in ("fsync", "fdatasync", "rename", "link", "pwrite"):
            spy(name)
        record = store.commit(assembly, device="rig-1", identity="key-1")
        monkeypatch.undo()
    final = next(store.episodes.glob(f"*/{made.episode}"))
    renamed = log.index(("rename", staged))
    synced = {what for name, what in log[:renamed] if name in ("fsync", "fdatasync")}
    everything = {f"{staged}/{path}" for path in record.objects}
    everything |= {str(Path(staged) / parent) for path in record.objects for parent in Path(path).parents}
    assert everything <= synced
    last_write = {what: number for number, (name, what) in enumerate(log) if name == "pwrite"}
    last_sync = {what: number for number, (name, what) in enumerate(log) if name in ("fsync", "fdatasync")}
    assert all(last_sync[what] > number for what, number in last_write.items())
    parent = log.index(("fsync", str(final.parent)), renamed)
    link = next(n for n, (name, _) in enumerate(log) if name == "link" and n > renamed)
    commits = log.index(("fsync", str(tmp_path / "commits" / final.parent.name)), link)
    temporary = log[link][1]
    assert renamed < parent < log.index(("fsync", temporary)) < link < commits


def test_a_store_on_a_full_disk_can_be_opened(made: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Else what a crash left in its staging, which fills the disk, could never be removed."""
    with Store.open(tmp_path) as store:
        commit(store, made)
    (tmp_path / ".staging" / "left").mkdir()

    class FullDisk:
        def __getattr__(self, name: str) -> Any:
            return self.full if name in ("write", "writev", "pwrite") else getattr(os, name)

        def full(self, *_: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "os", FullDisk())
    with Store.open(tmp_path) as store:
        assert store.state(made.episode) is not None
        assert not list(store.staging.iterdir())


@FORMS
def test_an_unreadable_record_is_said_with_its_name_and_its_device_keeps_the_episode(
    made: Any, tmp_path: Path, small_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        record = commit(store, made)
    path = next((tmp_path / "commits").glob("*/*.json"))
    (tmp_path / "catalog.sqlite").unlink()
    path.write_bytes(msgspec.json.encode(record)[:-20])
    with Store.open(tmp_path) as store:
        assert str(path) in caplog.text
        with pytest.raises(StoreError, match=str(path)):
            store.state(made.episode)
        with pytest.raises(StoreError, match=str(path)):
            commit(store, made)
    assert rebuild_catalog(tmp_path) == 0


@FORMS
def test_a_damaged_record_keeps_no_other_from_the_catalog(
    make_episode: Any, tmp_path: Path, small_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    few = [make_episode({"imu": np.arange(20.0)}, ordinal=ordinal) for ordinal in range(3)]
    with Store.open(tmp_path, small_bytes=small_bytes) as store:
        for each in few:
            commit(store, each)
    path = tmp_path / "commits" / month_of(few[1].episode) / f"{few[1].episode}.json"
    path.write_bytes(b"\xff" * 100)
    (tmp_path / "catalog.sqlite").unlink()
    with Store.open(tmp_path) as store:  # a start
        assert [store.catalog.episode(each.episode) is not None for each in few] == [True, False, True]
    assert rebuild_catalog(tmp_path) == 2
    said = [record.getMessage() for record in caplog.records if str(path) in record.getMessage()]
    assert len(said) == 2  # once by each
    assert path.read_bytes() == b"\xff" * 100


def test_a_disk_that_is_really_full(make_episode: Any, tmp_path: Path) -> None:
    """On an ext4 of 16 MB: what was committed stays whole and readable, what was not leaves nothing."""
    image, mounted = tmp_path / "image", tmp_path / "mounted"
    image.touch()
    os.truncate(image, 16 << 20)
    mounted.mkdir()
    for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(mounted)]):
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            pytest.skip(f"no {command[0]} here")
        if done.returncode:
            pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")
    try:
        rng = np.random.default_rng(0)
        committed, refused, store = 0, 0, Store.open(mounted / "s")
        with store:
            while refused < 5:
                frames = rng.integers(0, 255, (int(rng.integers(1, 400)), 64, 64), dtype=np.uint8)
                made, assembly = make_episode({"front": frames}, ordinal=committed + refused), None
                try:
                    assembly = store.begin(made.episode)
                    assembly.append(made.data)
                    store.commit(assembly, device="rig-1", identity="key-1")
                    committed += 1
                except StoreError:
                    refused += 1
                    if assembly is not None:
                        assembly.discard()
            assert committed > 0
            assert len(sensorium.open(store.path).query()) == committed
            # The disk may fill up between the commit record and the catalog: then it is in, and the next start says so.
            unlisted = [finding.what for finding in verify(store.path, deep=True)]
            assert set(unlisted) <= {"is not in the catalog"}
        with Store.open(mounted / "s") as store:
            assert len(store.catalog.ids()) == committed + len(unlisted)
            assert not list(verify(store.path, deep=True))
    finally:
        subprocess.run(["umount", mounted], check=True, capture_output=True)
