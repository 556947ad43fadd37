"""The store, open for writing: what it knows, who is committing what, and what devices say of ordinals and spools."""

import logging
import os
import secrets
import threading
import uuid
import weakref
from collections.abc import Callable, Sequence, Set
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from sensorium.corpus.catalog import Catalog, Discards, LedgerEntry
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import EPISODES, CommitRecord, month_of
from sensorium.corpus.filling import fill
from sensorium.drivers.stream import check_name
from sensorium.episode import durable
from sensorium.episode.documents import BetweenReport
from sensorium.errors import StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.at_once import AtOnce
from sensorium.ingest.between import keep_between
from sensorium.ingest.commit import Ready
from sensorium.ingest.committing import Commits, ready_of
from sensorium.ingest.crowd import Crowd
from sensorium.ingest.due import Due
from sensorium.ingest.held_episode import HeldEpisode
from sensorium.ingest.held_room import SMALL_BYTES, HeldPlace, HeldRoom
from sensorium.ingest.mending import mend
from sensorium.ingest.partials import Offered
from sensorium.ingest.quarantine import set_aside
from sensorium.ingest.store_folder import COMMITS, STAGING, StoreAway, StoreFolder, store_errors, told
from sensorium.ingest.trouble import Trouble

log = logging.getLogger(__name__)

KNOWN_S = 0.1
"""So long the store is taken to be where it was by what is only asked."""


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

    An episode whose file is no longer than `small_bytes` is committed as one ZIP. `step(name)` is called after each
    step of a commit; tests end the process there.
    """

    def __init__(
        self, path: Path, step: Callable[[str], None] = lambda _name: None, small_bytes: int = SMALL_BYTES
    ) -> None:
        self.path = path
        self.episodes = path / EPISODES
        self.trouble = Trouble()
        self.crowd = Crowd()
        self._guard = threading.Lock()
        self._mending = threading.Lock()
        self._room = HeldRoom(small_bytes)
        self._assemblies: weakref.WeakSet[Assembly] = weakref.WeakSet()
        self._held: weakref.WeakSet[HeldEpisode] = weakref.WeakSet()
        with store_errors(path):
            self._folder = StoreFolder(path)
            try:
                self._returns = self._folder.returns
                self.catalog = Catalog((path / CATALOG).absolute(), self._folder.fd)
                self._commits = Commits(self._folder, self.catalog, small_bytes, step)
                self._partials, said = mend(self._folder, self._commits.loose, self.catalog)
                self._folder.check()
                self.due = Due(self._folder, self.catalog, self._commits.loose, self._commits.apart, said.deleted)
            except BaseException:
                self._folder.close()
                raise

    def carry_out_requests(self) -> None:
        """Do what others ask who cannot have the lock (`sensorium.ingest.requests`), and what is due by now."""
        with store_errors(self.path):
            self.due.step()

    @property
    def staging(self) -> Path:
        """The folder of what arrives."""
        return self.path / STAGING

    @property
    def fd(self) -> int:
        """The open folder, as the `dir_fd` of durable calls."""
        return self._folder.fd

    @classmethod
    def open(
        cls, path: str | Path, step: Callable[[str], None] = lambda _name: None, small_bytes: int = SMALL_BYTES
    ) -> "Store":
        """Open the store at `path` for writing, making it if nothing is there, and put right what a crash left.

        Raises:
            StoreError: another process writes it, it is of another version, or the folder holds something else.
        """
        return cls(Path(path), step, small_bytes)

    def close(self) -> None:
        """Leave to the next start what was not committed, and let go of the lock, unless a commit hangs.

        No other method may follow.
        """
        if not self._commits.close():  # a commit hangs: no other may write until this process ends
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
        device = "" if offered is None else offered.owner[0]
        look = partial(self.crowd.look, device)
        with store_errors(self.path):
            fd = self._folder.fd
            durable.make_folder(STAGING, dir_fd=fd)
            assembly = self._partials.take(episode, offered, look) if offered is not None else None
            if assembly is None:
                name = STAGING / f"{episode}-{secrets.token_hex(4)}"
                recoveries = 0 if offered is None else offered.recoveries
                assembly = Assembly(name, episode, look, recoveries=recoveries, dir_fd=fd)
        try:
            look(assembly)
        except StoreError:
            assembly.discard()
            raise
        with self._guard:
            self._assemblies.add(assembly)
        return assembly

    def check(self) -> None:
        """Begin anew what hung on a disk that was away and is back, or on a catalog that is gone or damaged.

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
                            if assembly.staged.made:
                                assembly.failed = assembly.failed or "the disk was away"
                    # SQLite may have folded its log into the file of before.
                    self.catalog.make_again(self._fill, as_it_is=True)
                elif self.catalog.loss:
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
        ready = ready_of(assembly, device, identity, probes)
        if self._commits.is_small(assembly):
            outcome = self.commit_together([ready])[0]
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        with store_errors(self.path):
            record = self._commits.commit(ready)
        self._done(assembly)
        return record

    @property
    def commit_times(self) -> dict[str, float]:
        """How long commits took, as `SyncTimes` tells it."""
        return self._commits.times.told()

    @property
    def small_bytes(self) -> int:
        """How long the file of an episode may be that becomes a ZIP."""
        return self._room.small_bytes

    def is_small(self, assembly: Assembly) -> bool:
        """Whether an episode that is whole is one for `commit_together`."""
        return self._commits.is_small(assembly)

    def commit_together(self, ready: Sequence[Ready[Assembly | AtOnce]]) -> list[CommitRecord | Exception]:
        """`commit` of small episodes, which cost little more than one: what it returns, or raises, of each."""
        try:
            self.check()
            outcomes = self._commits.commit_small(ready)
        except Exception as error:
            return [told(error, self.path)] * len(ready)
        for each, outcome in zip(ready, outcomes, strict=True):
            if not isinstance(outcome, Exception) and isinstance(each.assembly, Assembly):
                self._done(each.assembly)
        return [told(outcome, self.path) if isinstance(outcome, Exception) else outcome for outcome in outcomes]

    def _done(self, assembly: Assembly) -> None:
        """An episode is committed: nothing is kept of what it was made of."""
        assembly.discard()
        with self._guard:
            self._assemblies.discard(assembly)

    def hold(self, episode: uuid.UUID, size: int, recoveries: int = 0, device: str = "") -> HeldEpisode | None:
        """Room for a small episode of which nothing is on disk, to come in `size` bytes; None where that cannot be."""
        if not 0 < size <= self._room.small_bytes or episode in self._partials:
            return None
        month_of(episode)
        held = HeldEpisode(episode, size, recoveries, HeldPlace(self._room), device)
        with self._guard:
            self._held.add(held)
        return held

    def begin_held(self, episode: uuid.UUID, recoveries: int = 0, device: str = "") -> Assembly | None:
        """`begin` of one of which nothing is on disk, in memory, as long as it is small; None where that cannot be."""
        if not self._room.small_bytes or episode in self._partials:
            return None
        month_of(episode)
        name = STAGING / f"{episode}-{secrets.token_hex(4)}"
        place = HeldPlace(self._room)
        look = partial(self.crowd.look, device)
        assembly = Assembly(name, episode, look, recoveries=recoveries, dir_fd=self._folder.fd, place=place)
        with self._guard:
            self._assemblies.add(assembly)
        return assembly

    def may_have(self, episode: uuid.UUID) -> bool:
        """Whether the store knows anything of an episode: then `state` says what, which takes longer.

        Raises:
            StoreError: it cannot be said now.
        """
        with store_errors(self.path):
            self._folder.check(KNOWN_S)  # what nobody has committed promises nothing
            return self._commits.is_published(episode) or self._commits.is_deleted(episode)

    def state(self, episode: uuid.UUID) -> KnownEpisode | None:
        """What the store knows of an episode: None if it has never been committed.

        Raises:
            StoreError: it cannot be said now, or files of the episode are missing, so that a device must keep it.
        """
        with store_errors(self.path):
            self._folder.check(KNOWN_S)  # what nobody has committed promises nothing
            if (gone := self._commits.tombstone(episode)) is not None:
                digest = bytes.fromhex(gone.digest)
                return KnownEpisode("deleted", gone.device, gone.spool_id, gone.ordinal, digest)
            if not self._commits.is_published(episode):
                return None
            self._folder.check()
            if loss := self.catalog.loss:
                raise StoreAway(f"{self.path / CATALOG}: {loss}; it is made again, and delivery goes on")
            record = self._commits.committed(episode)
            # One whose name could not be synced is not in the catalog: nobody was told that it is committed.
            row = None if record is None else self.catalog.episode(episode)
        if record is None or row is None:
            return None
        row = record.row
        return KnownEpisode("committed", row["device"], row["spool_id"], row["ordinal"], record.digest)

    def ordinal(self, device: str, spool_id: str, ordinal: int) -> LedgerEntry | None:
        """What became of one ordinal of a spool; None while it is pending."""
        with store_errors(self.path):
            return self.catalog.ordinal(device, spool_id, ordinal)

    def ordinals(self, device: str, spool_id: str, ordinals: Sequence[int]) -> list[LedgerEntry | None]:
        """The same of each of several, which takes little longer."""
        with store_errors(self.path):
            return self.catalog.ordinals([(device, spool_id, ordinal) for ordinal in ordinals])

    def discarded(self, device: str, spool_id: str, ordinals: Sequence[int], reason: str) -> None:
        """Enter, durably, that a device gave up these ordinals. What is committed stays committed."""
        check_name(device, "device")
        check_name(spool_id, "spool_id")
        known = self.ordinals(device, spool_id, ordinals)
        fresh = [ordinal for ordinal, entry in zip(ordinals, known, strict=True) if entry is None]
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
            text = (
                f"device {device!r}: spool {spool_id} says that its next ordinal is {next_ordinal}, and was at {known}"
                " before: it was restored from a backup, or is a copy that delivers what it had; what the former"
                " records is a conflict: give it a fresh spool.path"
            )
            self.trouble.warn(device, "spool gone back", text)

    def quarantine(self, assembly: Assembly, why: str) -> Path:
        """Set an episode aside for a person to look at; the oldest make room beyond 32. Returns its folder."""
        assembly.put_down()
        assembly.close()
        with store_errors(self.path), self._guard:
            folder = set_aside(self._folder, assembly, why)
        assembly.discard()
        return folder

    def staged_bytes(self) -> int:
        """Bytes of episodes that are arriving."""
        with self._guard:
            staged = sum(assembly.accepted for assembly in self._assemblies if assembly.failed is None)
            return staged + sum(held.accepted for held in self._held)

    def free_bytes(self) -> int:
        """Bytes that the file system has left for us."""
        with store_errors(self.path):
            status = os.fstatvfs(self._folder.fd)
        return status.f_bavail * status.f_frsize

    def _fill(self) -> None:
        """Enter what the folder that is held has, whatever has its name by now."""
        fill(self.catalog, Path(f"/proc/self/fd/{self._folder.fd}"))
