"""The store, open for writing: what it knows, who is committing what, and what devices say of ordinals and spools."""

import contextlib
import itertools
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from sensorium.corpus.catalog import CATALOG, Catalog, Discards, LedgerEntry
from sensorium.corpus.commits import EPISODES, CommitRecord, month_of, read_record, record_path
from sensorium.drivers.stream import check_name
from sensorium.episode import durable
from sensorium.episode.documents import BetweenReport, Open
from sensorium.errors import Corrupt, PeerViolation, StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.between import keep_between
from sensorium.ingest.commit import Committer
from sensorium.ingest.mending import mend
from sensorium.ingest.quarantine import set_aside
from sensorium.ingest.store_folder import COMMITS, QUARANTINE, STAGING, lock_folder, store_errors


class Conflict(PeerViolation):
    """An episode id or an ordinal that the store knows came with other content."""


class KnownEpisode(NamedTuple):
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
        self._assemblies: weakref.WeakSet[Assembly] = weakref.WeakSet()
        with store_errors(path):
            self._lock = lock_folder(path)
            try:
                self._commits = Committer(path, step)
                self.catalog = Catalog(path / CATALOG)
                mend(path, self._commits, self.catalog)
            except BaseException:
                os.close(self._lock)
                raise

    @classmethod
    def open(cls, path: str | Path, step: Callable[[str], None] = lambda _name: None) -> "Store":
        """Open the store at `path` for writing, making it if nothing is there, and put right what a crash left.

        Raises:
            StoreError: another process writes it, it is of another version, or the folder holds something else.
        """
        return cls(Path(path), step)

    def close(self) -> None:
        """Discard what was not committed, and let go of the lock, unless a commit hangs. No other method may follow."""
        if not self._commits.close() or self._claimed:  # a commit hangs: no other may write until this process ends
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
        with store_errors(self.staging):
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
        with store_errors(self.path), self._claim(assembly.episode, manifest):
            known = self._known(assembly.episode, manifest, seal.digest)
            if known is not None:
                assembly.discard()
                return known
            array = np.array(probes if manifest.clock.kind == "boottime" else (), np.int64).reshape(-1, 3)
            record = self._commits.put(assembly, manifest, seal, identity, array)
            self.catalog.add([record])
            self._step("catalog")
            with self._guard:
                self._assemblies.discard(assembly)
            return record

    def state(self, episode: uuid.UUID) -> KnownEpisode | None:
        """What the store knows of an episode: None if it has never been committed."""
        with store_errors(self.path):
            row = self.catalog.episode(episode)
        if row is None:
            return None
        return KnownEpisode("committed", row["device"], row["spool_id"], row["ordinal"], bytes.fromhex(row["digest"]))

    def ordinal(self, device: str, spool_id: str, ordinal: int) -> LedgerEntry | None:
        """What became of one ordinal of a spool; None while it is pending."""
        with store_errors(self.path):
            return self.catalog.ordinal(device, spool_id, ordinal)

    def discarded(self, device: str, spool_id: str, ordinals: Sequence[int], reason: str) -> None:
        """Enter, durably, that a device gave up these ordinals. What is committed stays committed."""
        check_name(device, "device")
        check_name(spool_id, "spool_id")
        fresh = [ordinal for ordinal in ordinals if self.ordinal(device, spool_id, ordinal) is None]
        if not fresh:
            return
        entry = Discards(ordinals=tuple(fresh), reason=reason)
        with store_errors(self.path), self._guard:
            folder = self.path / COMMITS / "discarded" / device
            durable.make_folder(folder)
            path = folder / f"{spool_id}.jsonl"
            durable.add_line(path, msgspec.json.encode(entry))
            self.catalog.discard(device, spool_id, [entry])

    def note_between(self, device: str, spool_id: str, report: BetweenReport) -> None:
        """Keep, durably, what a device says of its samples in no episode."""
        with store_errors(self.path), self._guard:
            self.catalog.between(device, spool_id, keep_between(self.path, self.staging, device, spool_id, report))

    def saw_spool(self, device: str, spool_id: str, oldest: int, next_ordinal: int) -> None:
        """Remember which ordinals a device says it has given out; this alone is not in a rebuilt catalog."""
        with store_errors(self.path):
            self.catalog.saw_spool(device, spool_id, oldest, next_ordinal)

    def quarantine(self, assembly: Assembly, why: str) -> Path:
        """Set an episode aside for a person to look at; the oldest make room beyond 32. Returns its folder."""
        assembly.close()
        with store_errors(self.path), self._guard:
            folder = set_aside(self.path / QUARANTINE, assembly, why)
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
        with store_errors(self.path):
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
