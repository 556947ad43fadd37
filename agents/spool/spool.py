"""The spool: the device's durable store of episodes that are not committed yet, one file each.

SPOOL/lock  alive  ledger.sqlite  reserve  episodes/<ordinal>-<uuid>.episode  rejected/<uuid>.episode
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec

from sensorium.agents.spool.clock_probes import Probe
from sensorium.agents.spool.copies import see_hardware
from sensorium.agents.spool.episode_file import EpisodeFile, Ground, read_part
from sensorium.agents.spool.fates import Fates, Say, say_at_once
from sensorium.agents.spool.folder import Folder
from sensorium.agents.spool.group_commit import GroupCommit
from sensorium.agents.spool.hardware import Words
from sensorium.agents.spool.held import Held, Waiting
from sensorium.agents.spool.holding import SpoolHolding
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.mending import Mending
from sensorium.agents.spool.owed import Owed
from sensorium.agents.spool.pending import MOST_GROWING, Pending
from sensorium.agents.spool.reopen import reopen
from sensorium.agents.spool.room import Room
from sensorium.agents.spool.taking_up import Runs
from sensorium.episode.account import Tally, accounts, copied, withdraw
from sensorium.episode.device_account import DeviceAccount
from sensorium.episode.documents import Account, BetweenTotals, Open
from sensorium.errors import Corrupt, LeftSpool, SpoolError, SpoolFull
from sensorium.threads import Told

log = logging.getLogger(__name__)

WhenFull = Literal["block", "evict"]


class Spool:
    """Opened by one process at a time (flock). All methods are thread-safe but for appends to one episode's file.

    Args:
        path: The folder; made if absent.
        device: The device's name; a spool belongs to one.
        max_bytes: Quota over all that is in the folder, rejected episodes included.
        min_free_bytes: What must stay free on the file system.
        when_full: `block`: refuse more, until what waits is delivered. `evict`: discard sealed episodes, as `order`
            says.
        wait_s: How long to wait for another process to let go of the folder.
        died: Who is told when the thread that syncs has died. From then on only `flush` and `close` sync.
        hardware: What it says of itself; on other hardware than before the spool takes a new spool_id. None: not known.
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
        died: Told = lambda _: None,
        hardware: Words | None = None,
    ) -> None:
        self.path = path
        self.device = device
        self.room = Room(path, max_bytes, min_free_bytes, evicts=when_full == "evict")
        self._state = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []
        self._closed = False
        self._owed = Owed()
        with ExitStack() as opening:
            self._folder = Folder(path, wait_s)
            opening.callback(self._folder.unlock)
            self.room.take_reserve()
            self._ledger = self.room.with_reserve(lambda: Ledger(path / "ledger.sqlite", device))
            opening.callback(self._ledger.close)
            if hardware is not None:
                self.room.with_reserve(lambda: see_hardware(self._folder.episodes, self._ledger, hardware))
            found = self.room.with_reserve(lambda: reopen(self._folder, self._ledger, self._owed))
            self.account = DeviceAccount(found.between, self._ledger.next_ordinal())
            self._pending = Pending(found.held, self._folder.rejected_bytes())
            self.runs = Runs(self._ledger, self.account, self._pending, self._delete, self._state)
            self.holding = SpoolHolding(self._ledger, self.account, self._pending, self._state, self._tell)
            self._mending = Mending(self._ledger, self._pending, self.account, self.room)
            for episode, why in found.unreadable:
                self._refuse(episode, why, "corrupt")
            for episode, why in found.unread:
                self._owed.do(why, partial(self._read_again, episode))
            self._commits = GroupCommit(
                self._growing_files, self._synced, self._owed, self._folder, died, self.room.times
            )
            opening.pop_all()

    @property
    def spool_id(self) -> str:
        """Random, from when the folder was made, or met other hardware."""
        return self._ledger.spool_id

    # -- recording ------------------------------------------------------------------------------------------------

    def require(self, more_bytes: int) -> None:
        """Return if `more_bytes` fit beside the reserve; with `evict`, make them fit.

        Raises:
            SpoolFull: they do not; the message says what is in the way and the next step.
        """
        lacks = self.room.lacks(self.used_bytes(), more_bytes)
        try:
            while lacks and self.room.evicts and self._evict():
                lacks = self.room.lacks(self.used_bytes(), more_bytes)
        except SpoolError as error:
            lacks = f"{lacks}; nothing can be evicted: {error}"
        if lacks:
            raise SpoolFull(lacks)

    def try_disk(self) -> None:
        """Return if the disk takes what is written. Raises `SpoolError` if it is still in trouble."""
        self._folder.try_disk()
        self._persist()

    def used_bytes(self) -> int:
        """Bytes of all episode files, rejected ones included."""
        return self._pending.used_bytes()

    def create(
        self,
        manifest: Callable[[int, dict[str, Account]], Open],
        kept: Mapping[str, Tally] | None = None,
        claimed: Mapping[str, Tally] | None = None,
        apart: bool = False,
    ) -> EpisodeFile:
        """Begin the next episode: its ordinal is durable before its file exists, which is soon, with those of others.

        Args:
            manifest: Makes the OPEN, given the ordinal and what became of the samples in no episode since the last.
            kept: Of those, what this OPEN does not tell of, as an episode may yet claim it.
            claimed: Of those kept, what this episode claims.
            apart: It has no sensor's samples: it tells of none, and is of no run.

        Raises:
            SpoolFull, SpoolError: nothing was begun.
        """
        kept, claimed = copied(kept or {}), claimed or {}
        withdraw(kept, claimed)
        if self._pending.is_crowded:
            self._commits.relieve(MOST_GROWING)
        with self._state:
            self.require(0)
            if self._ledger.is_stuck:
                self._begin()
            with self.account.changing() as between:
                between.take_back(claimed)
                ordinal = self._ledger.next_ordinal()
                opening = manifest(ordinal, {} if apart else between.carry(kept))
                held, encoded = Held.of(self._folder.episodes, opening), msgspec.msgpack.encode(opening)
                due = self._commits.due
                ground = Ground(self._begin, self._folder.made, self._folder.sync_names, due, self._pending.grew)
                file = EpisodeFile(held.path, opening, ground)  # the last that may fail
                self._ledger.begin(held.episode, ordinal, opening.mission.priority, encoded, None if apart else between)
            self._pending.begin(held.episode, held, file)
        return file

    def _begin(self) -> None:
        """Make durable which ordinals were given to which episodes."""
        if self._ledger.unbegun:
            self.room.with_reserve(self._persist)

    def discard(self, episode: UUID, why: str, fate: str = "discarded") -> None:
        """Give an episode up: note why durably, and that its samples have this fate, then delete its file."""
        with self._state:
            held = self._pending.get(episode)
            if held is not None:
                self.room.with_reserve(lambda: Fates(self._ledger, self.account).give_up(held, why, fate))
                self._pending.remove(episode)
        if held is not None:
            self._delete(held)
        self._tell()

    def persist(self) -> None:
        """Make durable what became of samples in no episode.

        Raises:
            SpoolFull, SpoolError: it is not; nothing of it is forgotten, so call again.
        """
        if self.room.with_reserve(self._persist):
            self._tell()

    def between(self) -> dict[str, Account]:
        """What the next OPEN will tell of, as it is on disk."""
        return accounts(self._ledger.between().since)

    def between_totals(self, of: str = "") -> BetweenTotals:
        """Samples in no episode, since the spool was made, as it is on disk."""
        return self._ledger.between_totals(of)

    def flush(self) -> bool:
        """Sync everything that is written, in the caller's thread; False if the disk failed for something."""
        return self._commits.flush()

    # -- delivery -------------------------------------------------------------------------------------------------

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call `callback`, from any thread, when there is something new to send."""
        self._callbacks.append(callback)

    def waiting(self, limit: int | None = None, of: str | None = None) -> list[Waiting]:
        """What may be sent, in the order to send it. All, or what goes under one spool_id: `of` a former, or, empty,
        the present one. So with the other `of`."""
        return self._pending.waiting(limit, of)

    def read(self, episode: UUID, offset: int, size: int) -> bytes:
        """Up to `size` bytes of an episode's file from `offset`, never beyond what is on disk.

        Raises:
            LeftSpool: not in the spool, or not any more.
            SpoolError: the file cannot be read.
        """
        held = self._pending.get(episode)
        if held is None:
            raise LeftSpool(f"episode {episode}: not in the spool {self.path}")
        return read_part(held.file_name, offset, min(size, held.sendable - offset))

    def committed(self, episode: UUID, digest: bytes) -> bool:
        """The store has one: `committed_all` of it."""
        return bool(self.committed_all([(episode, digest)]))

    def committed_all(self, said: Sequence[tuple[UUID, bytes]], say: Say = say_at_once) -> list[UUID]:
        """The store has these, with these digests: note that durably, then delete the files, with the disk calls of
        one. This wins over a discard. Those of which it is so: what was not sealed so here stays, and is to `say`."""
        with self._state:
            entitled = self.room.with_reserve(lambda: Fates(self._ledger, self.account).commit(said, say))
            gone = [self._pending.delivered(episode) for episode in entitled if self._pending.get(episode) is not None]
        if gone:
            self._delete(*gone)
            self.room.restore_reserve()
        return entitled

    def rejected(self, episode: UUID, code: str, reason: str) -> None:
        """The server refuses it for good: note why durably, and keep the file aside in `rejected/`.

        One that grows is not offered any more, and recorded to its end: then its account is known.
        """
        why = f"rejected ({code}): {reason}"
        with self._state:
            held = self._pending.get(episode)
            if held is not None and held.file is not None:
                held.refused = why
                return
        self._set_aside(episode, why, "rejected")

    def recheck(self, episode: UUID, *, salvage: bool = False) -> None:
        """Read a sealed episode's file again, as the server found its bytes damaged; what is damaged is taken out.
        With `salvage` so is what the disk will not give. If anything was, `recoveries` has grown, the digest is new.

        Raises:
            SpoolError: the disk is in trouble; nothing was changed, so call again.
        """
        with self._state:
            held = self._pending.get(episode)
        if held is None or held.file is not None:
            return
        try:
            with self._state:
                self._mending.mend(held, self._ledger.accounts(episode) or {}, salvage=salvage)
        except Corrupt as error:
            self._set_aside(episode, f"corrupt: {error}", "corrupt")
        self._tell()

    def discards(self, of: str = "") -> list[tuple[str, list[int]]]:
        """(reason, ordinals) of what was discarded and the server has not noted yet."""
        return self._ledger.discards(of)

    def ledgered(self, ordinals: list[int], of: str = "") -> None:
        """The server has noted these discards."""
        self._ledger.ledgered(ordinals, of)

    def ordinals(self, of: str = "") -> tuple[int, int]:
        """(oldest pending ordinal, or next; next ordinal), durable."""
        self._begin()
        return self._ledger.ordinals(of)

    def formers(self) -> list[str]:
        """The former ids under which there is something to deliver, or to tell."""
        return self._ledger.formers.ids()

    def forget_totals(self, of: str) -> None:
        """The server has noted what was in no episode of a former spool."""
        self._ledger.formers.forget_totals(of)

    def counts(self) -> dict[str, int]:
        """How many ordinals are pending, committed, discarded; held too, where some are."""
        return {"pending": 0, "committed": 0, "discarded": 0} | self._ledger.counts()

    def oldest_ns(self) -> int | None:
        """When the oldest that waits was begun, by this machine's clock (UTC, ns); None if nothing does."""
        return self._pending.oldest_ns()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be delivered; some may be held."""
        return self._pending.is_idle

    def add_probe(
        self, boot_id: str, device_ns: int, server_ns: int, round_trip_ns: int, realtime_ns: int, synchronised: bool
    ) -> None:
        """Log a clock probe."""
        probe = (device_ns, server_ns, round_trip_ns)
        self._ledger.probes.add(boot_id, probe, realtime_ns, synchronised, self._pending.begun)

    def probes_around(self, boot_id: str, start_ns: int, end_ns: int) -> list[Probe]:
        """(device_ns, server_ns, round_trip_ns): the nearest before, those within, the nearest after an interval."""
        return self._ledger.probes.around(boot_id, start_ns, end_ns)

    def close(self) -> None:
        """Sync, end the sync thread, let go of the folder, and try a disk in trouble for 1 s. Twice is no error."""
        with self._state:
            if self._closed:
                return
            self._closed = True
        try:
            if self._commits.stop():
                for file in self._growing_files():
                    file.close()
        finally:
            self._ledger.close()
            self._folder.unlock()

    def _persist(self) -> bool:
        with self.account.changing() as between:
            changed = between.changed or bool(self._ledger.unbegun)
            if changed:
                self._ledger.keep(between)
        return changed

    def _delete(self, *gone: Held) -> None:
        try:
            self._folder.delete([held.file_name for held in gone])
        except OSError:  # each for itself, and what is not to be done now is owed
            for held in gone:
                self._owed.do(f"{held.name} is to be deleted", partial(self._folder.delete, [held.file_name]))

    def _set_aside(self, episode: UUID, why: str, fate: str) -> None:
        with self._state:
            held = self._pending.get(episode)
            if held is None:
                return
            self.room.with_reserve(lambda: Fates(self._ledger, self.account).give_up(held, why, fate, aside=True))
            self._pending.remove(episode, aside=True)
        aside = partial(self._folder.set_aside, held.path, str(episode), why)
        self._owed.do(f"{held.name} is to be set aside", aside)
        log.error("spool: episode %s: %s; kept at %s", episode, why, self._folder.place_aside(str(episode)))
        self._tell()

    def _refuse(self, episode: UUID, why: str, fate: str) -> None:
        """Set it aside, at the latest when the disk lets us; it is not offered meanwhile."""
        with self._state:
            if (held := self._pending.get(episode)) is not None:  # else another thread was before
                held.refused = why
        self._owed.do(f"episode {episode} is to be set aside", partial(self._set_aside, episode, why, fate))

    def _read_again(self, episode: UUID) -> None:
        with self._state:
            held = self._pending.get(episode)
            try:
                if held is not None:
                    self._mending.read_again(held)
            except Corrupt as error:
                self._set_aside(episode, f"nothing of it can be read: {error}", "corrupt")
        self._tell()

    def _evict(self) -> bool:
        with self._state:
            victim = self._pending.least()
        if victim is not None:
            log.warning("spool %s is full: episode %s %s", self.path, *victim)
            self.discard(victim.episode, victim.why, "evicted")
        return victim is not None

    def _growing_files(self) -> list[EpisodeFile]:
        with self._state:
            return self._pending.growing()

    def _synced(self, files: Sequence[EpisodeFile]) -> None:
        with self._state:
            refused = self._mending.grown(files)
        for episode, why, fate in refused:
            self._refuse(episode, why, fate)
        self._tell()

    def _tell(self) -> None:
        for callback in self._callbacks:
            callback()
