"""Power lost at any moment of a store's life: what was said to be committed is there, and nothing is there in part."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

import sensorium
from sensorium.corpus.between import between_path, read_between
from sensorium.corpus.commits import folder_path, read_record, record_path, zip_path
from sensorium.corpus.filling import read_discards
from sensorium.corpus.verify import verify
from sensorium.episode import durable, file_system, together
from sensorium.episode.documents import Account, BetweenReport, Encoding
from sensorium.errors import StoreError
from sensorium.ingest.committing import ready_of
from sensorium.ingest.store import Store
from tests.forgetful_disk import SYNCS, ForgetfulDisk
from tests.forms import FORMS, arrived


@pytest.mark.parametrize(
    ("small_bytes", "at_once"),
    [(0, False), (8_000_000, False), (8_000_000, True)],
    ids=["folders", "ZIPs", "ZIPs-at-once"],
)
def test_power_lost_behind_any_sync(
    make_episode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int, at_once: bool
) -> None:
    """`at_once`: what is committed together is synced by one call."""
    if at_once:
        monkeypatch.setattr(together, "AT_ONCE", 2)
        for asked in ("is_calm", "is_trusted"):
            monkeypatch.setattr(file_system, asked, lambda *_: True)
    rng = np.random.default_rng(7)
    streams = {"imu": np.arange(20.0), "pic": rng.integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)}
    encodings = {"pic": Encoding(codec="jpeg", quality=90)}
    episodes = [make_episode(streams, encodings=encodings, ordinal=number) for number in range(2)]
    root, said = tmp_path / "store", {"committed": 0, "discarded": 0, "between": 0}
    states: list[dict[str, int]] = []

    one_by_one = threading.Lock()

    def look() -> None:
        with one_by_one:
            states.append(dict(said))
            disk.after_power_loss(tmp_path / f"copy-{len(states) - 1}")

    root.mkdir()
    disk = ForgetfulDisk(root, look)
    monkeypatch.setattr(durable, "os", disk)
    with Store.open(root, small_bytes=small_bytes) as store:
        if small_bytes:
            ready = [ready_of(arrived(store, made), "rig-1", "key-1") for made in episodes]
            assert not [each for each in store.commit_together(ready) if isinstance(each, Exception)]
            said["committed"] = len(episodes)
        for made in episodes if not small_bytes else ():
            store.commit(arrived(store, made), device="rig-1", identity="key-1")
            said["committed"] += 1
        store.discarded("rig-1", "spool-a", [2, 3], "evicted")
        said["discarded"] = 2
        store.note_between("rig-1", "spool-a", BetweenReport(number=1, streams={"imu": Account(captured=5, stored=5)}))
        said["between"] = 1
        look()
    monkeypatch.undo()
    assert len(states) > (40 if not small_bytes else 15 if at_once else 20)
    assert said == {"committed": 2, "discarded": 2, "between": 1}
    looked_at: set[object] = set()
    for number, before in enumerate(states):
        copy = tmp_path / f"copy-{number}"
        state = (_outside_staging(copy), *before.values())
        if state in looked_at:
            continue
        looked_at.add(state)
        with Store.open(copy, small_bytes=small_bytes) as store:
            known = [store.state(made.episode) is not None for made in episodes]
            assert sum(known) >= before["committed"], number
            assert not list(verify(copy, deep=True)), number
            for made in episodes:
                store.commit(arrived(store, made), device="rig-1", identity="key-1")
        (ledger,) = sensorium.open(copy).ledger("rig-1")
        assert ledger.committed == len(episodes)
        assert sum(ledger.discarded.values()) >= before["discarded"], number
        assert len(ledger.between) >= before["between"], number
        assert not list(verify(copy, deep=True)), number


def _outside_staging(store: Path) -> frozenset[tuple[Path, bytes]]:
    """What a start does not remove."""
    paths = [path for path in store.rglob("*") if ".staging" not in path.parts]
    return frozenset((path.relative_to(store), path.read_bytes() if path.is_file() else b"/") for path in paths)


class Killed(BaseException):
    """The process is no more."""


def killed(store: Store) -> None:
    """As a kill leaves it: nothing more is written, and its lock is gone."""
    store.catalog.close()
    store._folder.close()


@FORMS
@pytest.mark.parametrize("at", ["episodes.zarr", "commits"])
def test_what_an_ingest_that_was_killed_had_named_is_on_disk_before_it_is_believed(
    make_episode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, small_bytes: int
) -> None:
    """Killed between a name and its sync; the next one says of what it finds that it is committed; power is lost."""
    made = make_episode({"imu": np.arange(20.0)})
    root, copy = tmp_path / "root", tmp_path / "copy"
    root.mkdir()
    disk = ForgetfulDisk(root)
    monkeypatch.setattr(durable, "os", disk)
    store = Store.open(root / "store", small_bytes=small_bytes)
    assembly = arrived(store, made)
    sync_folder = durable.sync_folder

    def sync(folder: Path, *, dir_fd: int | None = None) -> None:
        if folder.parts[:1] == (at,) and len(folder.parts) == 2:
            raise Killed
        sync_folder(folder, dir_fd=dir_fd)

    monkeypatch.setattr(durable, "sync_folder", sync)
    with pytest.raises(Killed):
        store.commit(assembly, device="rig-1", identity="key-1")
    monkeypatch.setattr(durable, "sync_folder", sync_folder)
    killed(store)
    with Store.open(root / "store", small_bytes=small_bytes) as store:
        if store.state(made.episode) is None:  # not named yet: it comes again
            store.commit(arrived(store, made), device="rig-1", identity="key-1")
        disk.after_power_loss(copy)
    monkeypatch.undo()
    for file in (copy / "store").glob("catalog.sqlite*"):
        file.unlink()
    with Store.open(copy / "store") as store:
        assert store.state(made.episode) is not None
    assert not list(verify(copy / "store", deep=True))


def test_a_discard_whose_sync_failed_is_on_disk_before_it_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = ForgetfulDisk(tmp_path)
    monkeypatch.setattr(durable, "os", disk)
    store = Store.open(tmp_path / "store")
    store.discarded("rig-1", "spool-a", [1], "evicted")

    def fsync(_: int) -> None:
        raise OSError(5, "Input/output error")

    disk.__dict__["fsync"] = fsync
    with pytest.raises(StoreError, match="Input/output"):
        store.discarded("rig-1", "spool-a", [2], "evicted")
    del disk.__dict__["fsync"]
    killed(store)
    with Store.open(tmp_path / "store") as store:
        assert store.ordinal("rig-1", "spool-a", 2) is not None, "what is in the file counts"
        assert b"[2]" in (disk.content(tmp_path / "store/commits/discarded/rig-1/spool-a.jsonl") or b"")


@FORMS
def test_what_was_promised_after_a_sync_had_failed_outlives_power_loss(
    make_episode: Any, memory: Path, monkeypatch: pytest.MonkeyPatch, small_bytes: int
) -> None:
    """Whichever it was: what is done already when it is tried again is not on disk for that."""
    for fails in range(1, 200):
        root, copy = memory / f"root-{fails}", memory / f"copy-{fails}"
        root.mkdir()
        made = make_episode({"imu": np.arange(20.0), "x": np.arange(9)})
        disk = FailingOnce(root, fails)
        monkeypatch.setattr(durable, "os", disk)
        store = again(lambda root=root: Store.open(root / "store", small_bytes=small_bytes))  # type: ignore[misc]
        again(lambda store=store, made=made: deliver(store, made))  # type: ignore[misc]
        again(lambda store=store: store.discarded("rig-1", "spool-a", [2, 3], "evicted"))  # type: ignore[misc]
        report = BetweenReport(number=1, streams={"imu": Account(captured=5, stored=5)})
        again(lambda store=store, report=report: store.note_between("rig-1", "spool-a", report))  # type: ignore[misc]
        disk.after_power_loss(copy)
        monkeypatch.undo()
        store.close()
        assert record_path(copy / "store", made.episode).is_file(), fails
        record = read_record(record_path(copy / "store", made.episode))
        folder = (zip_path if small_bytes else folder_path)(copy / "store", made.episode)
        folder = folder.parent if small_bytes else folder
        assert {name: (folder / name).stat().st_size for name in record.objects} == {
            name: size for name, (size, _) in record.objects.items()
        }, fails
        discards = read_discards(copy / "store/commits/discarded/rig-1/spool-a.jsonl")
        assert {ordinal for each in discards for ordinal in each.ordinals} == {2, 3}, fails
        assert read_between(between_path(copy / "store", "rig-1", "spool-a")) == report, fails
        if disk.left > 0:
            break
    assert fails > (20 if small_bytes else 30)


class FailingOnce(ForgetfulDisk):
    """Sync number `left` fails, once."""

    def __init__(self, root: Path, left: int) -> None:
        super().__init__(root)
        self.left, self._counting = left, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        call = super().__getattr__(name)
        if name not in SYNCS:
            return call

        def sync(fd: int) -> None:
            with self._counting:
                self.left -= 1
                fails = self.left == 0
            if fails:
                raise OSError(5, "Input/output error")
            call(fd)

        return sync


def deliver(store: Store, made: Any) -> None:
    assembly = arrived(store, made)
    for _ in range(3):  # as the ingest asks again, of what the disk has not spoiled
        try:
            store.commit(assembly, device="rig-1", identity="key-1")
        except StoreError:
            if assembly.failed is not None:
                assembly.discard()
                raise
        else:
            return


T = TypeVar("T")


def again(promise: Callable[[], T]) -> T:
    """What comes of it, tried once more if it failed."""
    try:
        return promise()
    except StoreError:
        return promise()
