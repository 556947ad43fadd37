"""Folders become ZIPs: byte for byte, whole in one form at any moment, and what is damaged is left alone."""

import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.corpus.commits import folder_path, read_record, record_path, zip_path
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.episode.documents import Encoding, Note
from sensorium.errors import StoreError
from sensorium.ingest import both_forms, packing
from sensorium.ingest.mending import rebuild_catalog
from sensorium.ingest.pack_report import PackReport
from sensorium.ingest.packing import pack
from sensorium.ingest.store import Store
from tests.corpus.zip_peer import episodes
from tests.forgetful_disk import CHANGES, SYNCS, ForgetfulDisk

NOTE = Note(kind="score", name='"format_version":1', value=0.1, stream="imu")


def make_loose(path: Path, made: list[Any]) -> Path:
    """A store of episodes that are folders."""
    with Store.open(path, small_bytes=0) as store:
        for each in made:
            assembly = store.begin(each.episode)
            assembly.append(each.data)
            store.commit(assembly, device="rig-1", identity="key-1", probes=[(10**9, 10**18, 4)])
    return path


@pytest.fixture(scope="module")
def loose(make_episode: Any, tmp_path_factory: Any) -> Path:
    """Three small episodes that are folders, two of them with encoded media."""
    made = []
    for number in range(3):
        arrays = {"imu": np.arange(20.0 + number), "wheel": np.arange(5, dtype=np.int16)}
        if number:
            arrays["pic"] = np.full((2, 16, 16, 3), number, np.uint8)
        made.append(make_episode(arrays, ordinal=number, encodings={"pic": Encoding(codec="jpeg")}, notes=[NOTE]))
    return make_loose(tmp_path_factory.mktemp("loose"), made)


@pytest.fixture
def store(loose: Path, memory: Path) -> Path:
    return Path(shutil.copytree(loose, memory / "store"))


def by_content(store: Path) -> list[dict[str, Any]]:
    """What the outside reader finds, but for the form."""
    return [{key: value for key, value in each.items() if key != "form"} for each in episodes(store)]


def forms(store: Path) -> list[str]:
    """The form of every episode, by its record, each of which is whole in it."""
    found = episodes(store)
    assert not [each for each in found if "wrong" in each]
    return [each["form"] for each in found]


def folders(store: Path) -> list[Path]:
    return [path for path in (store / "episodes.zarr").glob("*/*") if path.is_dir()]


def ids(store: Path) -> list[Any]:
    return [read_record(path).episode for path in sorted((store / "commits").glob("*/*.json"))]


def test_every_member_is_there_byte_for_byte(store: Path, loose: Path) -> None:
    before = by_content(loose)
    report = pack(store, 0.0, grace_s=0.0)
    assert (report.episodes, report.left) == (3, [])
    assert forms(store) == ["zip"] * 3
    assert by_content(store) == before
    assert not folders(store)
    assert [path.name for path in (store / ".staging").iterdir()] == []
    for episode in ids(store):
        record, was = read_record(record_path(store, episode)), read_record(record_path(loose, episode))
        data = zip_path(store, episode).read_bytes()
        assert record.row == was.row | {"form": "zip", "bytes": len(data)}
        assert (record.streams, record.account) == (was.streams, was.account)
        with zipfile.ZipFile(zip_path(store, episode)) as peer:
            assert peer.testzip() is None
            assert set(peer.namelist()) == was.objects.keys()
            for name in was.objects:
                raw = (folder_path(loose, episode) / name).read_bytes()
                if name == "zarr.json":  # to the byte, too
                    raw = raw.replace(b'"format_version":1', b'"format_version":2', 1)
                assert peer.read(name) == raw, name
                stored = peer.getinfo(name).compress_type == zipfile.ZIP_STORED
                assert stored != name.endswith("zarr.json")
    root = json.loads((store / "episodes.zarr/zarr.json").read_bytes())
    assert root["attributes"]["sensorium"] == {"format_version": 2}
    assert [row["form"] for row in sensorium.open(store).records()] == ["zip"] * 3
    again = pack(store, 0.0, grace_s=0.0)
    assert again == PackReport()


def test_what_it_says_it_saved_is_what_the_disk_has(store: Path) -> None:
    def taken() -> tuple[int, int]:
        roots = [*folders(store), *(store / "episodes.zarr").glob("*/*.zip"), *(store / "commits").glob("*/*.json")]
        paths = [each for root in roots for each in (root, *root.rglob("*"))]
        return len(paths), sum(path.stat().st_blocks * 512 for path in paths)

    before, plan = taken(), pack(store, 0.0, dry_run=True)
    assert taken() == before
    assert forms(store) == ["loose"] * 3
    report = pack(store, 0.0, grace_s=0.0)
    assert (report.inodes_before, report.disk_bytes_before) == before
    assert (report.inodes_after, report.disk_bytes_after) == taken()
    assert report.inodes_after == 6 < report.inodes_before
    assert plan == report


def test_only_what_is_old_and_small_is_packed(store: Path) -> None:
    assert pack(store, 3600.0, grace_s=0.0) == PackReport()
    root = json.loads((store / "episodes.zarr/zarr.json").read_bytes())
    assert root["attributes"]["sensorium"] == {"format_version": 1}, "a store without a ZIP stays as it is"
    sizes = sorted(read_record(record_path(store, episode)).row["bytes"] for episode in ids(store))
    assert pack(store, 0.0, small_bytes=sizes[0] - 1, grace_s=0.0).episodes == 0
    assert pack(store, 0.0, small_bytes=sizes[0], grace_s=0.0).episodes == 1
    assert sorted(forms(store)) == ["loose", "loose", "zip"]


def test_beside_an_ingest_only_a_dry_run_goes(store: Path, loose: Path) -> None:
    with Store.open(store):
        with pytest.raises(StoreError, match="another ingest writes this store"):
            pack(store, 0.0)
        assert pack(store, 0.0, dry_run=True).episodes == 3
    with pytest.raises(StoreError, match="not a store"):
        pack(store / "absent", 0.0)
    assert not (store / "absent").exists()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a bit": (lambda folder: flip(folder / "imu/data/c.0"), "checksum"),
    "a document": (lambda folder: flip(folder / "zarr.json"), "checksum"),
    "cut short": (lambda folder: (folder / "imu/data/c.0").write_bytes(b"1"), "is 1 bytes, expected"),
    "gone": (lambda folder: (folder / "imu/data/c.0").unlink(), "is missing"),
    "all gone": (shutil.rmtree, "is missing"),
    "one too many": (lambda folder: (folder / "imu/notes.txt").touch(), "does not belong"),
    "a link": (lambda folder: (folder / "imu/notes").symlink_to("zarr.json"), "does not belong"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_not_what_was_committed_is_left_alone_and_named(store: Path, what: str) -> None:
    damage, said = DAMAGE[what]
    first, *others = ids(store)
    folder = folder_path(store, first)
    damage(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for dry_run in (True, False):
        report = pack(store, 0.0, grace_s=0.0, dry_run=dry_run)
        assert report.episodes == 2
        (finding,) = report.left
        assert said in str(finding)
        assert finding.where.is_relative_to(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not read_record(record_path(store, first)).zipped
    assert all(read_record(record_path(store, episode)).zipped for episode in others)


def test_a_record_that_cannot_be_read_is_named(store: Path) -> None:
    path = record_path(store, ids(store)[1])
    path.write_text("{")
    (finding,) = pack(store, 0.0, grace_s=0.0).left
    assert "not a commit record" in str(finding)
    assert len(folders(store)) == 1


class Interrupted(BaseException):
    """The process is no more."""


class DyingDisk:
    """`os` as `durable` sees it, up to the call at which the process ends."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __getattr__(self, name: str) -> Any:
        import os

        real = getattr(os, name)
        if name not in (*CHANGES, *SYNCS, "rmdir"):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Interrupted
            return real(*arguments, **named)

        return call


def test_killed_at_any_call_every_episode_is_whole_in_one_form(
    make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = make_loose(memory / "loose", [make_episode({"x": np.arange(9)}, ordinal=number) for number in range(2)])
    before, seen = by_content(loose), set()
    for number in sorted({*range(0, 1000, 4), *range(30, 80)}):  # in there a folder becomes a ZIP, and begins to go
        store = Path(shutil.copytree(loose, memory / f"store-{number}"))
        with monkeypatch.context() as patch:
            patch.setattr(durable, "os", DyingDisk(number))
            try:
                pack(store, 0.0, grace_s=0.0)
                ended = True
            except Interrupted:
                ended = False
        assert by_content(store) == before, number
        seen.add(tuple(forms(store)))
        if number % 2:
            with Store.open(store) as opened:
                assert all(opened.catalog.episode(episode) is not None for episode in ids(store))
            assert {each.name for each in folders(store)} == {
                str(episode) for episode in ids(store) if not read_record(record_path(store, episode)).zipped
            }
            assert [row["form"] for row in sensorium.open(store).records()] == forms(store)
        pack(store, 0.0, grace_s=0.0)
        assert by_content(store) == before, number
        assert forms(store) == ["zip"] * 2
        assert not folders(store)
        assert not [each for each in (store / ".staging").iterdir() if each.name.startswith("packed-")]
        assert not list(verify(store, deep=True)), number
        shutil.rmtree(store)
        if ended:
            break
    assert ended
    assert len(seen) == 3, "it died between the records of one batch too"


def test_power_lost_behind_any_sync(loose: Path, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Path(shutil.copytree(loose, memory / "store"))
    copies: list[Path] = []

    def look() -> None:
        copies.append(memory / f"copy-{len(copies)}")
        disk.after_power_loss(copies[-1])
        if (catalog := copies[-1] / "catalog.sqlite").exists():  # which has its own way to outlive this
            catalog.unlink()

    before = by_content(store)
    disk = ForgetfulDisk(store, look)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", disk)
        pack(store, 0.0, grace_s=0.0)
        disk.after_power_loss(memory / "last")
    assert len(copies) > 10
    for copy in [*copies, memory / "last"]:
        assert by_content(copy) == before, copy
        with Store.open(copy):
            pass
        assert by_content(copy) == before, copy
        assert not list(verify(copy, deep=True)), copy
        (copy / "catalog.sqlite").unlink()
        assert rebuild_catalog(copy) == 3
        assert [row["form"] for row in sensorium.open(copy).records()] == forms(copy)
    assert {form for copy in copies for form in forms(copy)} == {"loose", "zip"}


def test_a_folder_is_left_to_its_readers_for_as_long_as_was_said(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        assert len(folders(store)) == 3
        assert forms(store) == ["zip"] * 3
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        pack(store, 0.0, grace_s=3600.0)
    monkeypatch.undo()
    assert waited
    now = time.time_ns()
    for start in (lambda: Store.open(store).close(), lambda: pack(store, 0.0, grace_s=0.0)):
        start()
        assert len(folders(store)) == 3, "an hour it was to be"
    monkeypatch.setattr(time, "time_ns", lambda: now + 3601 * 10**9)
    Store.open(store).close()
    assert not folders(store)
    assert not list(verify(store, deep=True))


def test_what_was_packed_freed_and_left_is_counted_whatever_ends_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken() -> int:
        return len(list(store.glob("episodes.zarr/*/*/**/*"))) + len(list(store.glob("episodes.zarr/*/*")))

    before = taken()
    stopped = pack(store, 0.0, grace_s=3600.0, stop=lambda: len(list(store.glob("episodes.zarr/*/*.zip"))) == 3)
    until = max(json.loads(path.read_bytes())["loose_until_utc"] for path in (store / "commits").glob("*/*.json"))
    assert (stopped.interrupted, stopped.episodes, stopped.folders_removed, stopped.inodes_freed) == (True, 3, 0, 0)
    assert (stopped.folders_left, stopped.folders_left_until_utc) == (3, until)
    assert stopped.inodes_saved == before - taken() == -3
    early = pack(store, 0.0, grace_s=0.0)
    assert (early.episodes, early.folders_removed, early.folders_left) == (0, 0, 3)
    assert early.folders_left_until_utc == until
    assert pack(store, 0.0, dry_run=True) == early
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3601 * 10**9)
    plan = pack(store, 0.0, dry_run=True)
    assert pack(store, 0.0, stop=lambda: True).folders_left == 3
    later = pack(store, 0.0)
    assert later == plan
    assert (later.episodes, later.folders_removed, later.folders_left) == (0, 3, 0)
    assert later.inodes_saved == later.inodes_freed == stopped.inodes_before - 3
    assert before - taken() == later.inodes_saved + stopped.inodes_saved
    assert later.disk_bytes_saved == later.disk_bytes_freed > 0
    assert pack(store, 0.0) == PackReport()


def test_stopped_at_any_look_it_counts_what_is_there(loose: Path, memory: Path) -> None:
    seen = set()
    for looks in range(100):
        store = Path(shutil.copytree(loose, memory / f"store-{looks}"))
        left = iter([False] * looks)
        report = pack(store, 0.0, grace_s=0.0, stop=lambda left=left: next(left, True))  # type: ignore[misc]
        assert report.episodes == forms(store).count("zip")
        assert report.folders_removed == 3 - len(folders(store))
        assert report.folders_left == report.episodes - report.folders_removed
        seen.add((report.episodes, report.folders_left))
        shutil.rmtree(store)
        if not report.interrupted:
            break
    assert (report.episodes, report.folders_left, report.interrupted) == (3, 0, False)
    assert {(0, 0), (1, 1), (3, 3), (3, 1), (3, 0)} <= seen


def test_what_was_done_is_known_also_where_the_disk_ends_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    report = PackReport()
    monkeypatch.setattr(durable, "remove_tree", full)
    with pytest.raises(StoreError, match="No space left"):
        pack(store, 0.0, grace_s=0.0, report=report)
    assert (report.episodes, report.folders_removed, report.folders_left) == (3, 0, 3)


@pytest.mark.parametrize("start", [lambda store: pack(store, 1e9), lambda store: Store.open(store).close()])
def test_what_a_killed_pack_was_writing_is_removed(store: Path, start: Callable[[Path], object]) -> None:
    staging = store / ".staging"
    for name in (
        "new-0123456789abcdef0123456789abcdef",
        "new-root",
        "packed-01890000-0000-7000-8000-000000000000.json",
    ):
        (staging / name).write_bytes(b"half")
    going = staging / "packed-01890000-0000-7000-8000-000000000001"
    (going / "imu").mkdir(parents=True)
    report = start(store)
    assert not list(staging.iterdir())
    if isinstance(report, PackReport):
        assert (report.folders_removed, report.inodes_freed) == (1, 2)


def test_a_folder_goes_only_beside_the_zip_that_was_committed(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = both_forms.remove_loose

    def damaged(*arguments: Any) -> None:
        flip(zip_path(store, first))
        real(*arguments)

    first, *_ = ids(store)
    with monkeypatch.context() as patch:
        patch.setattr(packing, "remove_loose", damaged)
        (finding,) = pack(store, 0.0, small_bytes=1 << 30, grace_s=0.0).left[:1]
    assert "not the file that was committed" in str(finding)
    assert folder_path(store, first).is_dir()
    Store.open(store).close()
    assert folder_path(store, first).is_dir()
    assert "the episode's folder is left beside it" in caplog.text


def test_a_start_sets_aside_a_zip_that_was_not_committed(store: Path) -> None:
    month = next((store / "episodes.zarr").glob("*-*"))
    torn = month / "01890000-0000-7000-8000-000000000000.zip"
    torn.write_bytes(b"PK\3\4")
    half = zip_path(store, ids(store)[0])
    half.write_bytes(b"PK\3\4")
    Store.open(store).close()
    assert not torn.exists()
    assert not half.exists(), "the record says that the folder counts"
    assert [path.name for path in (store / ".staging").iterdir()] == [f"orphan-{torn.name}-0"]
    assert not list(verify(store, deep=True))
    assert forms(store) == ["loose"] * 3
    Store.open(store).close()
    assert not list((store / ".staging").iterdir())


def test_a_full_disk_leaves_nothing_behind(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    for call in ("sync", "begin_sync"):
        with monkeypatch.context() as patch:
            patch.setattr(durable, call, full)
            with pytest.raises(StoreError, match="No space left on device; make room"):
                pack(store, 0.0, grace_s=0.0)
        assert not list((store / "episodes.zarr").glob("*/*.zip"))
        assert not list((store / ".staging").iterdir())
        assert forms(store) == ["loose"] * 3


@pytest.mark.parametrize(
    "start", [lambda store: pack(store, 0.0, grace_s=0.0), lambda store: Store.open(store).close()]
)
def test_what_a_pack_that_was_killed_had_named_is_on_disk_before_a_folder_goes(
    store: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[Path], object]
) -> None:
    disk = ForgetfulDisk(store)
    sync_folder = durable.sync_folder

    def sync(folder: Path, *, dir_fd: int | None = None) -> None:
        if folder.parts[:1] == ("commits",) and len(folder.parts) == 2:
            raise Interrupted
        sync_folder(folder, dir_fd=dir_fd)

    record = record_path(store, ids(store)[0])
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", disk)
        patch.setattr(packing, "sync_what_is_believed", lambda _: None)
        patch.setattr(durable, "sync_folder", sync)
        with pytest.raises(Interrupted):
            pack(store, 0.0, grace_s=0.0)
    assert read_record(record).zipped
    assert b'"format_version":1' in (disk.content(record) or b""), "as yet it is in memory alone"
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", disk)
        start(store)
    assert not folders(store)
    assert b'"format_version":2' in (disk.content(record) or b"")
