"""The store, open for writing: what it knows, who is committing what, and what devices say of ordinals and spools."""

import contextlib
import logging
import os
import secrets
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from sensorium.corpus.catalog import CATALOG, Catalog, Discards, LedgerEntry
from sensorium.corpus.commits import EPISODES, CommitRecord, month_of, record_path
from sensorium.corpus.filling import fill
from sensorium.drivers.stream import check_name
from sensorium.episode import durable
from sensorium.episode.documents import BetweenReport, Open
from sensorium.errors import Corrupt, PeerViolation, StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.between import keep_between
from sensorium.ingest.commit import Committer, folder_of
from sensorium.ingest.mending import mend
from sensorium.ingest.partials import Offered
from sensorium.ingest.quarantine import set_aside
from sensorium.ingest.store_folder import COMMITS, STAGING, StoreAway, StoreFolder, store_errors
from sensorium.ingest.trouble import Trouble

log = logging.getLogger(__name__)


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

    It writes into the folder that was opened and no other: where the store's name leads elsewhere by now, or nowhere,
    whatever would promise something raises `StoreAway`, until it leads there again. Whoever meets what it raises tells
    its `trouble`.

    `step(name)` is called after each step of a commit; tests end the process there.
    """

    def __init__(self, path: Path, step: Callable[[str], None] = lambda _name: None) -> None:
        self.path = path
        self.episodes = path / EPISODES
        self.staging = path / STAGING
        self.trouble = Trouble()
        self._step = step
        self._guard = threading.Lock()
        self._mending = threading.Lock()
        self._claimed: set[object] = set()
        self._assemblies: weakref.WeakSet[Assembly] = weakref.WeakSet()
        with store_errors(path):
            self._folder = StoreFolder(path)
            try:
                self._returns = self._folder.returns
                self._commits = Committer(self._folder, step)
                self.catalog = Catalog((path / CATALOG).absolute(), self._folder.fd)
                self._partials = mend(self._folder, self._commits, self.catalog)
                self._folder.check()
            except BaseException:
                self._folder.close()
                raise

    @classmethod
    def open(cls, path: str | Path, step: Callable[[str], None] = lambda _name: None) -> "Store":
        """Open the store at `path` for writing, making it if nothing is there, and put right what a crash left.

        Raises:
            StoreError: another process writes it, it is of another version, or the folder holds something else.
        """
        return cls(Path(path), step)

    def close(self) -> None:
        """Leave to the next start what was not committed, and let go of the lock, unless a commit hangs.

        No other method may follow.
        """
        if not self._commits.close() or self._claimed:  # a commit hangs: no other may write until this process ends
            return
        for assembly in tuple(self._assemblies):
            assembly.leave()
        self.catalog.close()
        self._folder.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, episode: uuid.UUID, offered: Offered | None = None) -> Assembly:
        """A new assembly for `episode`; one that exists already is not touched.

        It has `accepted` already what an earlier run took in of it, if that is a part of what is `offered`.
        """
        month_of(episode)
        self.check()
        with store_errors(self.path):
            fd = self._folder.fd
            durable.make_folder(STAGING, dir_fd=fd)
            assembly = self._partials.take(episode, offered, self._held_bytes) if offered is not None else None
            if assembly is None:
                name = STAGING / f"{episode}-{secrets.token_hex(4)}"
                recoveries = 0 if offered is None else offered.recoveries
                assembly = Assembly(name, episode, self._held_bytes, recoveries=recoveries, dir_fd=fd)
        with self._guard:
            self._assemblies.add(assembly)
        return assembly

    def check(self) -> None:
        """Begin anew what hung on a disk that was away and is back, or on a catalog that is gone.

        Raises:
            StoreAway: what the store's name leads to is not the store that was opened.
        """
        with store_errors(self.path):
            self._folder.check()
            with self._mending:
                if self._returns != self._folder.returns:
                    self._returns = self._folder.returns
                    log.warning("%s: the disk is back", self.path)
                    with self._guard:
                        for assembly in self._assemblies:
                            assembly.failed = assembly.failed or "the disk was away"
                    self.catalog.make_again(self._fill)  # SQLite may have folded its log into the file of before
                elif not self.catalog.is_there:
                    log.warning("%s: gone; it is made again from the commit records", self.path / CATALOG)
                    for suffix in ("", "-wal", "-shm"):  # of which none may stand beside another's
                        durable.remove(Path(f"{CATALOG}{suffix}"), dir_fd=self._folder.fd)
                    self.catalog.make_again(self._fill)

    def forget_partials(self, but: Set[uuid.UUID] = frozenset()) -> None:
        """Remove what an earlier run took in and nobody came for, `but` of these episodes."""
        with store_errors(self.path):
            self._partials.forget(but)

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
        self.check()
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
            self._commits.check(assembly)
            with self._guard:
                self._assemblies.discard(assembly)
            return record

    def state(self, episode: uuid.UUID) -> KnownEpisode | None:
        """What the store knows of an episode: None if it has never been committed.

        Raises:
            StoreError: it cannot be said now, or files of the episode are missing, so that a device must keep it.
        """
        with store_errors(self.path):
            self._folder.check()
            if not self.catalog.is_there:
                raise StoreAway(f"{self.path / CATALOG}: the catalog is gone; it is made again, and delivery goes on")
            row = self.catalog.episode(episode)
            record = None if row is None else self._committed(episode)
        if record is None:
            return None
        row = record.row
        return KnownEpisode("committed", row["device"], row["spool_id"], row["ordinal"], record.digest)

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
        self.check()
        with store_errors(self.path), self._guard:
            folder = COMMITS / "discarded" / device
            durable.make_folder(folder, dir_fd=self._folder.fd)
            path = folder / f"{spool_id}.jsonl"
            durable.add_line(path, msgspec.json.encode(entry), dir_fd=self._folder.fd)
            self.catalog.discard(device, spool_id, [entry])
            self._folder.check()

    def note_between(self, device: str, spool_id: str, report: BetweenReport) -> None:
        """Keep, durably, what a device says of its samples in no episode."""
        self.check()
        with store_errors(self.path), self._guard:
            self.catalog.between(device, spool_id, keep_between(self._folder, device, spool_id, report))
            self._folder.check()

    def saw_spool(self, device: str, spool_id: str, oldest: int, next_ordinal: int) -> None:
        """Remember which ordinals a device says it has given out; this alone is not in a rebuilt catalog.

        A spool that was further before has come back from a backup, or is a copy: that is said.
        """
        with store_errors(self.path):
            known = self.catalog.saw_spool(device, spool_id, oldest, next_ordinal)
        if next_ordinal < known:
            log.error(
                "device %r: spool %s says that its next ordinal is %d, and was at %d before: it was restored from a"
                " backup, or is a copy that delivers what it had; what the former records is a conflict: give it a"
                " fresh spool.path",
                device,
                spool_id,
                next_ordinal,
                known,
            )

    def quarantine(self, assembly: Assembly, why: str) -> Path:
        """Set an episode aside for a person to look at; the oldest make room beyond 32. Returns its folder."""
        assembly.close()
        with store_errors(self.path), self._guard:
            folder = set_aside(self._folder, assembly, why)
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
            status = os.fstatvfs(self._folder.fd)
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

    def _fill(self) -> None:
        """Enter what the folder that is held has, whatever has its name by now."""
        fill(self.catalog, Path(f"/proc/self/fd/{self._folder.fd}"))

    def _known(self, episode: uuid.UUID, manifest: Open, digest: bytes) -> CommitRecord | None:
        record = self._committed(episode)
        if record is not None:
            if record.digest != digest:
                raise Conflict(
                    f"episode {episode}: came with digest {digest.hex()}, committed is {record.digest.hex()}"
                )
            # It may be there because the sync of its name failed when it was published.
            durable.sync_folder(record_path(Path(), episode).parent, dir_fd=self._folder.fd)
            self.catalog.add([record])
            return record
        entry = self.catalog.ordinal(manifest.device, manifest.spool_id, manifest.ordinal)
        if entry is not None and entry.episode is not None and self._committed(entry.episode) is not None:
            raise Conflict(
                f"episode {episode}: ordinal {manifest.ordinal} of {manifest.device}, spool {manifest.spool_id},"
                f" is committed as episode {entry.episode}"
            )
        return None

    def _committed(self, episode: uuid.UUID) -> CommitRecord | None:
        """The commit record of an episode, if it has one; the catalog is but an index.

        Raises:
            StoreError: the record cannot be read, or a file that it names is not there: no fault of who sends it again.
        """
        path = record_path(Path(), episode)
        if durable.look(path, dir_fd=self._folder.fd) is None:
            return None
        try:
            record = self._commits.record(path)
        except Corrupt as error:
            raise StoreError(f"{error}; run `sensorium verify {self.path}`: the device keeps the episode") from error
        for name, (size, _) in record.objects.items():
            seen = durable.look(folder_of(episode) / name, dir_fd=self._folder.fd)
            if seen is None or seen.size != size:
                raise StoreError(
                    f"{self.path / folder_of(episode) / name}: committed, but missing or of another size; run"
                    f" `sensorium verify {self.path}` and restore it from a copy: the device keeps the episode"
                )
        return record
