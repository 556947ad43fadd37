"""The store: its one writer, which commits episodes so that after any crash each is there whole or not at all."""

import contextlib
import fcntl
import itertools
import os
import shutil
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from sensorium.corpus.catalog import CATALOG, Catalog, Discards, LedgerEntry, fill
from sensorium.corpus.commits import (
    EPISODES,
    CommitRecord,
    check_store_version,
    interval_of,
    month_of,
    read_record,
    record_path,
    record_paths,
)
from sensorium.corpus.utc import Probes
from sensorium.drivers.stream import check_name
from sensorium.episode import durable
from sensorium.episode.documents import FORMAT_VERSION, BetweenReport, Open, Seal
from sensorium.episode.durable import make_folder, publish, sync_folder, write_synced
from sensorium.episode.layout import group
from sensorium.errors import Corrupt, PeerViolation, SensoriumError, StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.between import keep_between
from sensorium.ingest.episode_group import commit_record, group_files
from sensorium.threads import Pool

SYNC_THREADS = 8
MAX_QUARANTINED = 32
COMMITS, STAGING, QUARANTINE = "commits", ".staging", "quarantine"


class Conflict(PeerViolation):
    """An episode id or an ordinal that the store knows came with other content."""


class Known(NamedTuple):
    """An episode that the store knows, and the digest of what it holds of it."""

    state: Literal["committed", "deleted"]
    device: str
    spool_id: str
    ordinal: int
    digest: bytes


class Store:
    """A corpus, open for writing by this process alone; every method may be called from any thread.

    `step(name)` is called after each step of a commit; tests end the process there.
    """

    def __init__(self, path: Path, step: Callable[[str], None] = lambda _name: None) -> None:
        self.path = path
        self.episodes = path / EPISODES
        self.staging = path / STAGING
        self._step = step
        self._numbers = itertools.count()
        self._guard = threading.Lock()
        self._claimed: set[object] = set()
        self._months: set[str] = set()
        self._assemblies: weakref.WeakSet[Assembly] = weakref.WeakSet()
        with _store_errors(path):
            self._lock = _create(path)
            try:
                self.catalog = Catalog(path / CATALOG)
                self._recover()
            except BaseException:
                os.close(self._lock)
                raise
        self._syncing = Pool("fsync", "puts episodes on disk", SYNC_THREADS)

    @classmethod
    def open(cls, path: str | Path, step: Callable[[str], None] = lambda _name: None) -> "Store":
        """Open the store at `path` for writing, making it if nothing is there, and put right what a crash left.

        Raises:
            StoreError: another process writes it, it is of another version, or the folder holds something else.
        """
        return cls(Path(path), step)

    def close(self) -> None:
        """Discard what was not committed, and let go of the lock, unless a commit hangs. No other method may follow."""
        if not self._syncing.close() or self._claimed:  # a commit hangs: no other may write until this process ends
            return
        for assembly in tuple(self._assemblies):
            assembly.discard()
        self.catalog.close()
        os.close(self._lock)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, episode: uuid.UUID) -> Assembly:
        """A new assembly for `episode`; one that exists already is not touched."""
        month_of(episode)
        with _store_errors(self.staging):
            assembly = Assembly(self.staging / f"{episode}-{next(self._numbers)}", episode, self._held_bytes)
        with self._guard:
            self._assemblies.add(assembly)
        return assembly

    def commit(
        self, assembly: Assembly, *, device: str, identity: str, probes: Sequence[tuple[int, int, int]] = ()
    ) -> CommitRecord:
        """Put a complete episode into the store, durably; what is there already is not written twice.

        `device` is the authenticated sender's, `probes` are (device_ns, server_ns, round_trip_ns).

        Raises:
            Corrupt: the episode has not come to its end.
            Conflict: the store holds other content under this id or ordinal.
            PeerViolation: the episode is another device's.
            StoreError: it cannot be written now. Call again, or `discard` and begin it again if `assembly.failed`.
        """
        manifest, seal = assembly.manifest, assembly.seal
        if manifest is None or seal is None:
            raise Corrupt(f"episode {assembly.episode}: {assembly.accepted} bytes end before SEAL")
        if assembly.failed is not None:
            raise StoreError(f"episode {assembly.episode}: failed before ({assembly.failed}); begin it again")
        if manifest.device != device:
            raise PeerViolation(f"episode {assembly.episode}: it says device {manifest.device!r}, {device!r} sent it")
        with _store_errors(self.path), self._claim(assembly.episode, manifest):
            known = self._known(assembly.episode, manifest, seal.digest)
            if known is not None:
                assembly.discard()
                return known
            array = np.array(probes if manifest.clock.kind == "boottime" else (), np.int64).reshape(-1, 3)
            record = self._put(assembly, manifest, seal, identity, array)
            self.catalog.add([record])
            self._step("catalog")
            with self._guard:
                self._assemblies.discard(assembly)
            return record

    def state(self, episode: uuid.UUID) -> Known | None:
        """What the store knows of an episode: None if it has never been committed."""
        with _store_errors(self.path):
            row = self.catalog.episode(episode)
        if row is None:
            return None
        return Known("committed", row["device"], row["spool_id"], row["ordinal"], bytes.fromhex(row["digest"]))

    def ordinal(self, device: str, spool_id: str, ordinal: int) -> LedgerEntry | None:
        """What became of one ordinal of a spool; None while it is pending."""
        with _store_errors(self.path):
            return self.catalog.ordinal(device, spool_id, ordinal)

    def discarded(self, device: str, spool_id: str, ordinals: Sequence[int], reason: str) -> None:
        """Enter, durably, that a device gave up these ordinals. What is committed stays committed."""
        check_name(device, "device")
        check_name(spool_id, "spool_id")
        fresh = [ordinal for ordinal in ordinals if self.ordinal(device, spool_id, ordinal) is None]
        if not fresh:
            return
        entry = Discards(ordinals=tuple(fresh), reason=reason)
        with _store_errors(self.path), self._guard:
            folder = self.path / COMMITS / "discarded" / device
            make_folder(folder)
            path = folder / f"{spool_id}.jsonl"
            durable.add_line(path, msgspec.json.encode(entry))
            self.catalog.discard(device, spool_id, [entry])

    def note_between(self, device: str, spool_id: str, report: BetweenReport) -> None:
        """Keep, durably, what a device says of its samples in no episode."""
        with _store_errors(self.path), self._guard:
            self.catalog.between(device, spool_id, keep_between(self.path, self.staging, device, spool_id, report))

    def saw_spool(self, device: str, spool_id: str, oldest: int, next_ordinal: int) -> None:
        """Remember which ordinals a device says it has given out; this alone is not in a rebuilt catalog."""
        with _store_errors(self.path):
            self.catalog.saw_spool(device, spool_id, oldest, next_ordinal)

    def quarantine(self, assembly: Assembly, why: str) -> Path:
        """Set an episode aside for a person to look at; the oldest make room beyond 32. Returns its folder."""
        assembly.close()
        with _store_errors(self.path), self._guard:
            manifest = None if assembly.manifest is None else msgspec.to_builtins(assembly.manifest)
            about = {"episode": str(assembly.episode), "why": why, "bytes": assembly.accepted, "open": manifest}
            write_synced(assembly.folder / "why.json", msgspec.json.format(msgspec.json.encode(about)))
            folder = self.path / QUARANTINE / f"{time.time_ns()}-{assembly.episode}"
            durable.rename(assembly.folder, folder)
            sync_folder(folder.parent)
            for old in sorted(folder.parent.iterdir())[:-MAX_QUARANTINED]:
                shutil.rmtree(old)
        assembly.discard()
        return folder

    def staged_bytes(self) -> int:
        """Bytes of episodes that are arriving."""
        with self._guard:
            return sum(assembly.accepted for assembly in self._assemblies if assembly.failed is None)

    def _held_bytes(self) -> int:
        with self._guard:
            return sum(assembly.held_bytes for assembly in self._assemblies)

    def free_bytes(self) -> int:
        """Bytes that the file system has left for us."""
        with _store_errors(self.path):
            status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    @contextlib.contextmanager
    def _claim(self, episode: uuid.UUID, manifest: Open) -> Iterator[None]:
        keys = {episode, (manifest.device, manifest.spool_id, manifest.ordinal)}
        with self._guard:
            if self._claimed & keys:
                raise StoreError(f"episode {episode}: it is being committed already; ask again")
            self._claimed |= keys
        try:
            yield
        finally:
            with self._guard:
                self._claimed -= keys

    def _known(self, episode: uuid.UUID, manifest: Open, digest: bytes) -> CommitRecord | None:
        path = record_path(self.path, episode)
        if path.exists():
            record = read_record(path)
            if record.digest != digest:
                raise Conflict(
                    f"episode {episode}: came with digest {digest.hex()}, committed is {record.digest.hex()}"
                )
            self.catalog.add([record])
            return record
        entry = self.catalog.ordinal(manifest.device, manifest.spool_id, manifest.ordinal)
        if entry is not None and entry.state == "committed":
            raise Conflict(
                f"episode {episode}: ordinal {manifest.ordinal} of {manifest.device}, spool {manifest.spool_id},"
                f" is committed as episode {entry.episode}"
            )
        return None

    def _put(self, assembly: Assembly, manifest: Open, seal: Seal, identity: str, probes: Probes) -> CommitRecord:
        """Write, sync, rename, and publish the record: before the last step nothing is visible, after it all is."""
        last_ns = max((stream.last_ns for stream in assembly.streams if stream.last_ns is not None), default=None)
        interval_ns = interval_of(manifest, seal, last_ns)
        for stream in assembly.streams:
            stream.sink.finish()
        files = group_files(assembly, identity, interval_ns, probes)
        self._step("finished")
        month = month_of(assembly.episode)
        folder = self.episodes / month / str(assembly.episode)
        if not assembly.moved:
            self._write(assembly, files)
            self._step("synced")
            self._make_month(month)
            if folder.exists():
                durable.rename(folder, self.staging / f"orphan-{folder.name}-{next(self._numbers)}")
            assembly.close()
            durable.rename(assembly.folder, folder)
            assembly.moved = True
            self._step("renamed")
        sync_folder(folder.parent)
        self._step("folder")
        record = commit_record(assembly, manifest, seal, interval_ns, identity, probes, files)
        path = record_path(self.path, assembly.episode)
        self._step("writing record")
        if not publish(path, msgspec.json.encode(record), self.staging):
            record = read_record(path)
        self._step("record")
        return record

    def _write(self, assembly: Assembly, files: dict[str, bytes]) -> None:
        """Make every file durable, then every folder."""
        folders = {assembly.folder / parent for path in files for parent in Path(path).parents}
        for folder in sorted(folders):
            durable.add_folder(folder)
        shards = [self._syncing.submit(stream.sink.shards.sync) for stream in assembly.streams]
        small = [self._syncing.submit(write_synced, assembly.folder / path, data) for path, data in files.items()]
        wait((*shards, *small))
        self._step("files")
        for synced in shards:
            # The kernel may have dropped the pages, and would report success next time: this copy is not to be trusted.
            if (error := synced.exception()) is not None:
                assembly.failed = str(error)
        for written in (*shards, *small):
            written.result()
        wait(synced_folders := [self._syncing.submit(sync_folder, folder) for folder in folders])
        for synced in synced_folders:
            synced.result()

    def _make_month(self, month: str) -> None:
        if month in self._months:
            return
        make_folder(self.episodes / month)
        make_folder(self.path / COMMITS / month)
        publish(self.episodes / month / "zarr.json", msgspec.json.encode(group({})), self.staging)
        self._months.add(month)

    def _recover(self) -> None:
        for stale in self.staging.iterdir():
            shutil.rmtree(stale) if stale.is_dir() else durable.remove(stale)
        committed = {path.stem for path in record_paths(self.path)}
        for month in [entry for entry in self.episodes.iterdir() if entry.is_dir()]:
            self._make_month(month.name)
            for folder in month.iterdir():
                if folder.name not in committed and folder.is_dir():
                    durable.rename(folder, self.staging / f"orphan-{folder.name}")
        fill(self.catalog, self.path)


def rebuild_catalog(path: str | Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> int:
    """Make the catalog of the store at `path` anew from its commit records; the number of episodes.

    It takes the old one's place once it is whole; readers that are at work keep the old. Only what devices last said
    of ordinals not yet delivered is lost, until they connect again. `progress(done, total)` counts episodes.

    Raises:
        StoreError: an ingest is running, or it is not a store.
        Corrupt: a commit record cannot be read.
    """
    store = Path(path)
    check_store_version(store)
    with _store_errors(store):
        lock = _create(store)
        try:
            fresh = store / f"{CATALOG}-new"
            for leftover in store.glob(f"{fresh.name}*"):
                durable.remove(leftover)
            catalog = Catalog(fresh)
            try:
                count = fill(catalog, store, progress)
            finally:
                catalog.close()
            for suffix in ("-wal", "-shm"):
                durable.remove(store / f"{CATALOG}{suffix}")
            durable.rename(fresh, store / CATALOG)
            sync_folder(store)
        finally:
            os.close(lock)
    return count


def _create(path: Path) -> int:
    """Make the store's folders where they are missing; the descriptor of its lock, held."""
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path}: not a folder; give the folder of a store, or one to make")
    known = {EPISODES, COMMITS, STAGING, QUARANTINE, ".lock", CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm"}
    if (
        path.is_dir()
        and (others := sorted({entry.name for entry in path.iterdir()} - known))
        and not (path / EPISODES).is_dir()
    ):
        raise StoreError(f"{path}: not a store, it holds {others[0]!r}; give an empty or a new folder")
    make_folder(path)
    lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        root = path / EPISODES / "zarr.json"
        if root.exists():
            check_store_version(path)
        for name in (EPISODES, COMMITS, STAGING, QUARANTINE):
            make_folder(path / name)
        publish(root, msgspec.json.encode(group({"sensorium": {"format_version": FORMAT_VERSION}})), path / STAGING)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreError(f"{path}: another ingest writes this store; stop it, or give another folder") from error
    except BaseException:
        os.close(lock)
        raise
    return lock


@contextlib.contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except SensoriumError:
        raise
    except OSError as error:
        raise StoreError(
            f"{error.filename or path}: {error.strerror or error}; see to the disk, then try again"
        ) from error
    except SQLAlchemyError as error:
        why = str(error).splitlines()[0]
        raise StoreError(f"{path / CATALOG}: {why}; see to the disk, or run `sensorium rebuild-catalog`") from error
