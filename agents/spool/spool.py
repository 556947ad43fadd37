"""The spool: the device's durable store of episodes that are not committed yet, one file each.

SPOOL/lock  ledger.sqlite  reserve  episodes/<ordinal>-<uuid>.episode  rejected/<uuid>.episode
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.group_commit import GroupCommit
from sensorium.agents.spool.ledger import Ledger, Probe
from sensorium.agents.spool.recovery import recover
from sensorium.agents.spool.reopen import Held, Waiting, reopen
from sensorium.agents.spool.room import Room
from sensorium.episode.documents import Account, Open
from sensorium.errors import Corrupt, SpoolError, SpoolFull

log = logging.getLogger(__name__)

WhenFull = Literal["block", "evict"]


class Spool:
    """Opened by one process at a time (flock). All methods are thread-safe but for appends to one episode's file.

    Args:
        path: The folder; made if absent.
        device: The device's name; a spool belongs to one.
        max_bytes: Quota over all that is in the folder, rejected episodes included.
        min_free_bytes: What must stay free on the file system.
        when_full: `block`: refuse more, until what waits is delivered. `evict`: discard sealed episodes, the least
            priority first, then the oldest.
        wait_s: How long to wait for another process to let go of the folder.
    """

    def __init__(
        self,
        path: Path,
        device: str,
        *,
        max_bytes: int = 20 * 10**9,
        min_free_bytes: int = 0,
        when_full: WhenFull = "block",
        wait_s: float = 10.0,
    ) -> None:
        self.path = path
        self.device = device
        self.when_full = when_full
        self._room = Room(path, max_bytes, min_free_bytes)
        self._episodes = path / "episodes"
        self._rejected = path / "rejected"
        try:
            for folder in (self._episodes, self._rejected):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SpoolError(f"spool {path}: {error.strerror}; check `spool.path` in the device file") from error
        self._state = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []
        self._order: list[UUID] | None = None
        self._closed = False
        try:
            self._take_lock(wait_s)
            self._room.take_reserve()
            self._ledger = Ledger(path / "ledger.sqlite", device)
            self._held, unreadable = reopen(self._episodes, self._ledger)
        except BaseException:
            os.close(self._lock_fd)
            raise
        self.spool_id = self._ledger.spool_id
        self._rejected_bytes = sum(file.stat().st_size for file in self._rejected.iterdir())
        self._sealed_bytes = sum(held.size for held in self._held.values())
        self._growing: dict[UUID, EpisodeFile] = {}
        for episode, why in unreadable:
            self._set_aside(episode, why)
        self._commits = GroupCommit(self._growing_files, self._synced)

    # -- recording ------------------------------------------------------------------------------------------------

    def require(self, more_bytes: int) -> None:
        """Return if `more_bytes` fit beside the reserve; with `evict`, make them fit.

        Raises:
            SpoolFull: they do not; the message says what is in the way and the next step.
        """
        lacks = self._room.lacks(self.used_bytes(), more_bytes)
        while lacks and self.when_full == "evict" and self._evict():
            lacks = self._room.lacks(self.used_bytes(), more_bytes)
        if lacks:
            raise SpoolFull(lacks)

    def used_bytes(self) -> int:
        """Bytes of all episode files, rejected ones included."""
        with self._state:
            growing = sum(file.written for file in self._growing.values())
            return self._rejected_bytes + self._sealed_bytes + growing

    def create(self, manifest: Callable[[int, dict[str, Account]], Open]) -> EpisodeFile:
        """Begin the next episode: its ordinal is durable before its file exists.

        `manifest` makes the OPEN, given the ordinal and what became of the samples in no episode since the last.

        Raises:
            SpoolFull, SpoolError: nothing was begun.
        """
        with self._state:
            self.require(0)
            ordinal = self._ledger.ordinals()[1]
            opening = manifest(ordinal, self._ledger.between())
            episode = UUID(bytes=opening.episode)
            self._ledger.begin(episode, ordinal, opening.mission.priority, msgspec.msgpack.encode(opening))
            held = Held.of(self._episodes, opening)
            file = EpisodeFile(held.path, opening, self._commits.due)
            file.append(opening)
            held.file = file
            self._held[episode] = held
            self._growing[episode] = file
            self._order = None
        _sync_folder(self._episodes)
        return file

    def discard(self, episode: UUID, why: str) -> None:
        """Give an episode up: note why durably, then delete its file."""
        with self._state:
            self._ledger.discarded(episode, why)
            if episode in self._held:
                self._forget(episode).path.unlink(missing_ok=True)
            elif (file := self._growing.pop(episode, None)) is not None:  # set aside while it was recorded
                file.close()
                self._rejected_bytes += file.written
        _sync_folder(self._episodes)
        self._tell()

    def keep_between(self, accounts: dict[str, Account]) -> None:
        """Make durable what became of samples in no episode, for the next manifest."""
        self._ledger.keep_between(accounts)

    def between(self) -> dict[str, Account]:
        """What is kept for the next manifest."""
        return self._ledger.between()

    def flush(self) -> None:
        """Sync everything that is written, in the caller's thread."""
        self._commits.flush()

    # -- delivery -------------------------------------------------------------------------------------------------

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call `callback`, from any thread, when there is something new to send."""
        self._callbacks.append(callback)

    def waiting(self, limit: int | None = None) -> list[Waiting]:
        """What may be sent, in the order to send it: larger priority first, then older."""
        with self._state:
            if self._order is None:
                self._order = sorted(self._held, key=lambda e: self._held[e].rank)
            chosen = self._order if limit is None else self._order[:limit]
            return [self._held[episode].waiting() for episode in chosen]

    def read(self, episode: UUID, offset: int, size: int) -> bytes:
        """Up to `size` bytes of an episode's file from `offset`, never beyond what is on disk.

        Raises:
            SpoolError: not in the spool, or the file cannot be read.
        """
        with self._state:
            held = self._held.get(episode)
            if held is None:
                raise SpoolError(f"episode {episode}: not in the spool {self.path}")
            path, end = held.path, held.sendable
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(descriptor, max(0, min(size, end - offset)), offset)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SpoolError(f"{path}: cannot be read: {error.strerror}") from error

    def committed(self, episode: UUID) -> None:
        """The store has it: note that durably, then delete the file. Unknown episodes are ignored."""
        self._ledger.committed(episode)
        with self._state:
            if episode in self._held:
                self._forget(episode).path.unlink(missing_ok=True)
        _sync_folder(self._episodes)

    def rejected(self, episode: UUID, code: str, reason: str) -> None:
        """The server refuses it for good: note why durably, and keep the file aside in `rejected/`."""
        self._set_aside(episode, f"rejected ({code}): {reason}")

    def recheck(self, episode: UUID) -> None:
        """Read a sealed episode's file again, as the server found its bytes damaged; what is damaged is taken out.

        If anything was, `recoveries` has grown and the digest is another.
        """
        with self._state:
            held = self._held.get(episode)
        if held is None or held.file is not None:
            return
        try:
            found = recover(held.path, held.manifest, held.recoveries + 1)
        except (Corrupt, OSError) as error:
            self._set_aside(episode, f"corrupt: {error}")
            return
        if found.changed:
            log.error("spool: episode %s: %s", episode, found.why)
            with self._state:
                self._ledger.sealed(episode, found.size, found.digest, held.recoveries + 1)
                self._sealed_bytes += found.size - held.size
                held.size, held.digest, held.recoveries = found.size, found.digest, held.recoveries + 1
        self._tell()

    def discards(self) -> list[tuple[str, list[int]]]:
        """(reason, ordinals) of what was discarded and the server has not noted yet."""
        return self._ledger.discards()

    def ledgered(self, ordinals: list[int]) -> None:
        """The server has noted these discards."""
        self._ledger.ledgered(ordinals)

    def ordinals(self) -> tuple[int, int]:
        """(oldest pending ordinal, or next; next ordinal)."""
        return self._ledger.ordinals()

    def counts(self) -> dict[str, int]:
        """How many ordinals are pending, committed, discarded."""
        return {"pending": 0, "committed": 0, "discarded": 0} | self._ledger.counts()

    def add_probe(
        self,
        boot_id: str,
        device_ns: int,
        server_ns: int,
        round_trip_ns: int,
        realtime_ns: int,
        synchronised: bool,
    ) -> None:
        """Log a clock probe."""
        self._ledger.add_probe(boot_id, (device_ns, server_ns, round_trip_ns), realtime_ns, synchronised)

    def probes_around(self, boot_id: str, start_ns: int, end_ns: int) -> list[Probe]:
        """(device_ns, server_ns, round_trip_ns): the nearest before, those within, the nearest after an interval."""
        return self._ledger.probes_around(boot_id, start_ns, end_ns)

    def close(self) -> None:
        """Sync, end the sync thread, let go of the folder; twice is no error."""
        with self._state:
            if self._closed:
                return
            self._closed = True
        self._commits.stop()
        for file in self._growing_files():
            file.close()
        self._ledger.close()
        os.close(self._lock_fd)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _take_lock(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise SpoolError(
                        f"spool {self.path}: another agent is using it: stop that one, or name another spool.path"
                    ) from None
                time.sleep(0.05)
            else:
                return

    def release_reserve(self) -> None:
        """Give the reserve back to the file system, so that open episodes can be sealed on a full disk."""
        self._room.release_reserve()

    def restore_reserve(self) -> None:
        """Take the reserve again once there is room."""
        self._room.take_reserve()

    def _set_aside(self, episode: UUID, why: str) -> None:
        with self._state:
            held = self._held.get(episode)
            if held is None:
                return
            self._ledger.discarded(episode, why)
            target = self._rejected / f"{episode}.episode"
            held.path.rename(target)
            target.with_suffix(".why").write_text(why + "\n", encoding="utf-8")
            _sync_folder(self._rejected)
            _sync_folder(self._episodes)
            self._rejected_bytes += held.size
            self._forget(episode, keep_growing=True)
        log.error("spool: episode %s: %s; kept at %s", episode, why, target)
        self._tell()

    def _evict(self) -> bool:
        with self._state:
            sealed = [episode for episode, held in self._held.items() if held.file is None]
            if not sealed:
                return False
            victim = max(sealed, key=lambda e: (self._held[e].rank[0], -self._held[e].rank[1]))
        log.warning("spool %s is full: episode %s evicted", self.path, victim)
        self.discard(victim, "evicted")
        return True

    def _forget(self, episode: UUID, *, keep_growing: bool = False) -> Held:
        """No longer hold an episode; with `keep_growing` one that is being recorded is recorded to its end."""
        held = self._held.pop(episode)
        self._order = None
        if held.file is None:
            self._sealed_bytes -= held.size
        elif not keep_growing:
            self._growing.pop(episode).close()
        return held

    def _growing_files(self) -> list[EpisodeFile]:
        with self._state:
            return list(self._growing.values())

    def _synced(self, file: EpisodeFile) -> None:
        episode = UUID(bytes=file.manifest.episode)
        if file.sealed and file.sendable == file.written:
            with self._state:
                held = self._held.get(episode)
                if held is not None and held.file is not None:
                    self._ledger.sealed(episode, file.written, file.digest, held.recoveries)
                    held.size, held.digest, held.file = file.written, file.digest, None
                    self._sealed_bytes += held.size
                    del self._growing[episode]
                elif held is None and self._growing.pop(episode, None) is not None:  # set aside meanwhile
                    self._rejected_bytes += file.written
        self._tell()

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
