"""Both ends of the link with the product's spool and store under them, through whatever may happen, in virtual time."""

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sensorium.episode import durable
from sensorium.ingest import requests
from sensorium.ingest.requests import DeletionRequest
from sensorium.link import wire
from tests.spine.model.disk import Disk, Disks, Killed
from tests.spine.model.ends import LIMITS, SECOND, Clock, Device, End, Server, image
from tests.spine.model.network import Network, tampered
from tests.spine.model.recording import Recorder
from tests.spine.model.witness import Broken, Invariant, Witness

ALL = 1 << 30
CALLS = ("link", "link", "rename", "mkdir", "fsync", "COMMIT")
MEMORY = Path("/dev/shm")


class TwoEnds(RuleBasedStateMachine):
    """A device that records and a server that stores. Each rule is a step of theirs, or something that befalls them.

    At the end all faults cease: whatever came before, the spool drains and the store has what was promised.
    """

    makes: tuple[type[Device], type[Server]] = (Device, Server)

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.patch = pytest.MonkeyPatch()
        self.clock, self.disks, self.witness = Clock(), Disks(), Witness()
        self.network = Network(self.witness)
        device, server = self.makes
        self.device = device(self.clock, self.network, self.witness)
        self.server = server(self.clock, self.network, self.witness)
        self.recorder = Recorder(self.device, self.witness)
        self.lives = 0
        self.power = False
        self.patch.setattr(durable, "os", self.disks)
        for module in (sqlite3, sqlite3.dbapi2):
            self.patch.setattr(module, "connect", self.disks.connect)
        for end, name in ((self.device, "spool"), (self.server, "store")):
            end.stand_in(self.patch)
            (self.base / f"{name}-0").mkdir()
            self.insert_disk(end, self.base / f"{name}-0")

    @initialize(chunks=st.integers(1, 3), grows=st.booleans())
    def begin(self, chunks: int, grows: bool) -> None:
        """Both are up and have a session; a first episode is there."""
        for end in (self.device, self.server):
            self.act(end, end.start)
        self.run(3)
        self.act(self.device, self.recorder.record, chunks, not grows, True)

    # --- what they do ------------------------------------------------------------------------------------------------

    @rule(turns=st.sampled_from([1, 2, 4, 8]), apart=st.booleans())
    def goes_on(self, turns: int, apart: bool) -> None:
        """All goes well for a while; answers come together, or each by itself."""
        self.run(turns, answers=1 if apart else ALL)

    @rule(chunks=st.integers(0, 4), seal=st.booleans(), sync=st.sampled_from([True, True, False]))
    def records(self, chunks: int, seal: bool, sync: bool) -> None:
        """Some chunks more of the episode that grows, or of a new one; its end; a sync."""
        self.act(self.device, self.recorder.record, chunks, seal, sync)

    @rule()
    def device_turns(self) -> None:
        self.act(self.device, self.device.turn)

    @rule(socket=st.sampled_from(["control", "bulk", "answers"]), count=st.integers(1, 3))
    def arrives(self, socket: str, count: int) -> None:
        """Some of one socket, before anything of the other."""
        self.deliver(socket, count)

    @rule(count=st.integers(1, 3))
    def overtakes_a_write(self, count: int) -> None:
        """The control pump has a turn in the middle of what the bulk pump does."""
        self.network.arrive("control", count)
        self.server.disk.meanwhile = self.server.turn
        self.deliver("bulk")
        self.server.disk.meanwhile = None

    @rule(which=st.integers(0, 3))
    def store_works(self, which: int) -> None:
        """One of the jobs that the store has to do, and what the server says then."""
        self.act(self.server, self.server.work, which)
        self.act(self.server, self.server.turn)

    @rule(later_s=st.sampled_from([0.1, 1.0, 6.0, 21.0, 61.0]))
    def time_passes(self, later_s: float) -> None:
        self.clock.now_ns += int(later_s * SECOND)
        self.act(self.device, self.device.turn)
        self.act(self.server, self.server.turn)

    @rule(which=st.integers(0, 3))
    def gives_up(self, which: int) -> None:
        """An episode is discarded on the device."""
        waiting = self.waiting(lambda _: True)
        if waiting:
            episode = waiting[which % len(waiting)].episode
            self.recorder.forget(episode)
            self.act(self.device, self.device.spool.discard, episode, "by hand")

    # --- what befalls them -------------------------------------------------------------------------------------------

    @rule(turns=st.sampled_from([1, 1, 0, 2]), at=st.sampled_from([0, 0, 1]))
    def loses_an_answer(self, turns: int, at: int) -> None:
        """One of the answers to what the device said never comes, and nobody sees that."""
        self.act(self.device, self.recorder.record, 1, True, True)
        self.run(turns)
        self.run(1, answers=0)
        if self.network.open is not None and len(self.network.open.down) > at:
            del self.network.open.down[-1 - at]
        self.run(1)

    @rule(at=st.integers(0, 2), place=st.integers(0, 5000))
    def flips_a_bit(self, at: int, place: int) -> None:
        """Of what is on its way on bulk a bit flips, past TCP's checksum."""
        self.act(self.device, self.recorder.record, 2, True, True)
        self.run(1, bulk=0)
        if self.network.open is not None and len(self.network.open.bulk) > at:
            self.witness.flipped = True
            self.network.open.bulk[at] = tampered(self.network.open.bulk[at], place)
        self.run(1)

    @rule(of_device=st.booleans(), power=st.booleans(), calls=st.integers(0, 50), turns=st.integers(0, 5))
    def dies(self, of_device: bool, power: bool, calls: int, turns: int) -> None:
        """A process is killed, or power lost, at one of its next calls to the disk, while it is at work."""
        end: End = self.device if of_device else self.server
        end.disk.calls_left = calls
        self.until_it_dies(end, power, turns)

    @rule(power=st.sampled_from([False, False, True]), call=st.sampled_from(CALLS), times=st.integers(1, 2))
    def dies_in_a_commit(self, power: bool, call: str, times: int) -> None:
        """The same of the server, right behind a call of this kind."""
        self.server.disk.dies_behind = [call] * times
        self.act(self.device, self.recorder.record, 2, True, True)
        self.until_it_dies(self.server, power, 4)

    @rule(power=st.sampled_from([False, False, True]), chunks=st.integers(0, 2), seal=st.booleans())
    def dies_before_a_sync(self, power: bool, chunks: int, seal: bool) -> None:
        """The same of the device, when it has written something."""
        self.act(self.device, self.recorder.record, chunks, seal, False)
        self.power = power
        self.end(self.device)
        self.run(2)

    def until_it_dies(self, end: End, power: bool, turns: int) -> None:
        disk: Disk = end.disk
        self.power = power
        for _ in range(turns):
            if end.disk is disk and (disk.dies_behind or disk.calls_left is not None):
                self.run(1)
        if end.disk is disk and (disk.dies_behind or disk.calls_left is not None):  # it came through, so far
            self.end(end)
        self.run(1)

    @rule(of_device=st.booleans())
    def restarts(self, of_device: bool) -> None:
        """A process ends in order, and begins again."""
        end: End = self.device if of_device else self.server
        if end.up:
            self.act(end, end.stop)
            if of_device:
                self.recorder.forget()
            else:
                self.network.server_gone(seen=True)
            self.act(end, end.start)

    @rule(turns=st.integers(1, 5))
    def sync_thread_waits(self, turns: int) -> None:
        """An episode ends; it is synced, and sent, before the spool notes that it is sealed."""
        self.device.sync_waits = True
        self.act(self.device, self.recorder.record, 1, True, False)
        self.act(self.device, self.device.sync_unnoted)
        for _ in range(turns):
            self.clock.now_ns += SECOND // 2
            self.run(1)
        self.device.sync_waits = False

    @rule(turns=st.integers(1, 2), at=st.integers(0, 1), count=st.integers(1, 2))
    def loses_bulk(self, turns: int, at: int, count: int) -> None:
        """Bulk is slow, and some of what is on its way is lost, as by a reconnect that nobody sees."""
        self.act(self.device, self.recorder.record, 3, True, True)
        self.run(turns, bulk=0)
        if self.network.open is not None:
            for _ in range(min(count, len(self.network.open.bulk) - at)):
                del self.network.open.bulk[at]
        self.run(4 * turns, bulk=1)

    @rule(seen=st.booleans(), turns=st.integers(1, 4))
    def cut_off(self, seen: bool, turns: int) -> None:
        """The connections break in the middle of an episode; the next session begins with one word at a time."""
        self.act(self.device, self.recorder.record, 2, True, True)
        self.run(1, bulk=0)
        if self.network.open is not None:
            self.network.open.sever(seen)
            self.clock.now_ns += (1 if seen else 21) * SECOND
            self.run(1)
            self.clock.now_ns += 2 * SECOND
            self.run(turns, answers=1)

    @rule(chunks=st.integers(1, 2))
    def sync_is_late(self, chunks: int) -> None:
        """The uplink looks at what is written before it is synced."""
        self.act(self.device, self.recorder.record, chunks, False, False)
        self.clock.now_ns += SECOND
        self.act(self.device, self.device.turn)

    @rule(of_device=st.booleans(), full=st.booleans(), turns=st.integers(1, 4))
    def disk_fails(self, of_device: bool, full: bool, turns: int) -> None:
        """A disk is full, or its syncs fail, for a while in which both are at work."""
        end: End = self.device if of_device else self.server
        end.disk.full, end.disk.failing = full, not full
        self.act(self.device, self.recorder.record, 2, True, True)
        self.run(turns)
        end.disk.full = end.disk.failing = False

    @rule(which=st.integers(0, 3), place=st.integers(0, 20_000), turns=st.integers(0, 3))
    def file_rots(self, which: int, place: int, turns: int) -> None:
        """A bit of a sealed file in the spool flips, once in its life."""
        self.act(self.device, self.recorder.record, 2, True, True)
        sealed = self.waiting(lambda each: each.sealed and each.episode not in self.witness.damaged)
        if sealed:
            each = sealed[-1 - which % len(sealed)]
            path = self.device.disk.root / "episodes" / f"{each.ordinal:010d}-{each.episode}.episode"
            self.witness.damaged.add(each.episode)
            self.device.disk.damage(path, place)
        self.run(turns)

    @rule(power=st.booleans(), which=st.integers(0, 3), place=st.integers(0, 20_000))
    def staging_rots(self, power: bool, which: int, place: int) -> None:
        """The server's process is gone, and a bit of what it had staged flips before it is there again."""
        self.act(self.device, self.recorder.record, 3, False, True)
        self.run(4)
        self.power = power
        self.end(self.server)
        staged = sorted(path for path in (self.server.disk.root / ".staging").rglob("c.*") if path.stat().st_size)
        if staged:
            self.server.disk.damage(staged[which % len(staged)], place)
        self.run(2)

    @rule(which=st.integers(0, 3))
    def wrong_word(self, which: int) -> None:
        """A server that is wrong says COMMITTED of what it does not have: the digest is another."""
        self.act(self.device, self.recorder.record, 1, True, True)
        self.run(1, bulk=0)
        waiting, connection = self.waiting(lambda _: True), self.network.open
        if waiting and connection is not None and not connection.cut:
            each = waiting[which % len(waiting)]
            said = wire.Committed(
                session=self.device.uplink._link._session.number,
                episode=each.episode.bytes,
                ordinal=each.ordinal,
                digest=bytes(32),
            )
            connection.down.append(wire.encode(said))
            self.deliver("answers")

    @rule(how=st.sampled_from(["suspend", "back", "ahead"]))
    def clock_steps(self, how: str) -> None:
        """The device sleeps for ten minutes, or UTC is set by an hour."""
        if how == "suspend":
            self.clock.booted_ns -= 600 * SECOND
        else:
            self.clock.utc_ns += (1 if how == "ahead" else -1) * 3600 * SECOND

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def credit_and_ordinals_add_up(self) -> None:
        witness = self.witness
        if witness.first is not None:
            raise witness.first
        if self.server.up:
            pool, sessions = self.server.link.pool, self.server.link.sessions.values()
            given = [session.outstanding for session in sessions]
            fits = min(given, default=0) >= 0 and sum(given) == pool.outstanding <= LIMITS.pool_bytes
            witness.check(fits, Invariant.CREDIT, f"{given} outstanding, {pool.outstanding} of the pool")
        if self.device.up:
            counts, (_, following) = self.device.spool.counts(), self.device.spool.ordinals()
            witness.check(sum(counts.values()) == following, Invariant.ORDINALS, f"{counts} of {following}")

    def teardown(self) -> None:
        """Faults cease, what grows is sealed, and there is time enough."""
        try:
            if self.witness.first is None:
                self.drain()
        finally:
            self.tidy()

    def drain(self) -> None:
        for end in (self.device, self.server):
            end.disk.full = end.disk.failing = False
            end.disk.calls_left = None
        self.run(2)
        self.act(self.device, self.recorder.record, 0, True, True)
        for step_s, turns in ((0.05, 40), (1.0, 150), (10.0, 60)):
            for _ in range(turns):
                if self.device.up:
                    self.act(self.device, self.let_go)
                if self.device.up and self.server.up and self.is_drained():
                    break
                self.run(1)
                self.clock.now_ns += int(step_s * SECOND)
        self.act(self.device, lambda: self.witness.drained(self.device.spool))

    def let_go(self) -> None:
        holding = self.device.spool.holding
        holding.let_go([each.episode for each in holding.all()])

    def is_drained(self) -> bool:
        return not self.device.spool.counts()["pending"] and not self.device.spool.discards()

    def tidy(self) -> None:
        self.disks.acting = None
        for end in (self.device, self.server):
            end.disk.dead = True
            self.disks.acting = end.disk
            end.end()
        self.disks.acting = None
        self.patch.undo()
        shutil.rmtree(self.base)

    # --- within ------------------------------------------------------------------------------------------------------

    def run(self, turns: int, *, bulk: int = ALL, answers: int = ALL) -> None:
        """A fair share for everyone, so often. Of `bulk` so many messages get through a turn, of `answers` at once."""
        device, server = self.device, self.server
        for _ in range(turns):
            self.act(device, device.turn)
            while self.deliver("control"):
                pass
            while bulk and self.deliver("bulk", bulk) and bulk == ALL:
                pass
            self.act(server, server.turn)
            while server.up and server.pool.jobs:
                self.act(server, server.work)
            self.act(server, server.turn)
            while answers and self.deliver("answers", answers):
                pass
            self.clock.now_ns += SECOND // 20

    def deliver(self, socket: str, count: int = ALL) -> bool:
        """Let frames of a socket through, to whom they wake."""
        if not self.network.arrive(socket, count):
            return False
        if socket == "answers":
            self.act(self.device, self.device.turn)
        elif socket == "bulk":
            self.act(self.server, self.server.take_bulk)
        else:
            self.act(self.server, self.server.turn)
        return True

    def act(self, end: End, work: Any, *arguments: Any) -> None:
        """Have an end do something. What escapes it is a fault of its own; a kill is not."""
        self.disks.acting = end.disk
        try:
            work(*arguments)
            killed = False
        except Killed:
            killed = True
        except Broken:
            raise
        except Exception as error:
            if self.witness.first is None:
                raise Broken(Invariant.LIVES, f"{type(error).__name__}: {error}") from error
        finally:
            self.disks.acting = None
        if self.witness.first is not None:
            raise self.witness.first
        if killed:
            self.end(end)
        elif end is self.device and self.device.up:
            self.witness.device_rests()

    def end(self, end: End) -> None:
        """A process is no more; after a power loss what it had not synced is not either."""
        old: Disk = end.disk
        old.dead, old.calls_left, old.dies_behind = True, None, []
        if end is self.device and self.device.up:
            self.witness.never_begun(self.device.spool._ledger.unbegun)
        self.disks.acting = old
        end.end()
        self.disks.acting = None
        if end is self.device:
            self.recorder.forget()
            self.witness.session_over()
        else:
            self.network.server_gone(seen=not self.power)
        if self.power:
            self.lives += 1
            self.insert_disk(end, image(end, old, self.lives))
            if end is self.device:
                self.clock.booted_ns = self.clock.now_ns
        else:
            old.dead = False
        end.again_ns = 0

    def insert_disk(self, end: Any, root: Path) -> None:
        witness = self.witness
        if end is self.device:
            end.disk = witness.device = Disk(root, lambda _: None, witness.leaves)
        else:
            end.disk = witness.server = Disk(root, witness.server_changed, lambda _: None)

    def waiting(self, which: Any) -> list[Any]:
        return [each for each in self.device.spool.waiting() if which(each)] if self.device.up else []


class EndsThatHold(TwoEnds):
    """The same, where episodes are held and let go of too: a machine of its own, as the examples of the other find
    what is wrong."""

    @rule(which=st.integers(0, 3), offered=st.booleans())
    def is_held(self, which: int, offered: bool) -> None:
        """A sealed episode stays on the device from now on; whether or not it was offered already."""
        self.act(self.device, self.recorder.record, 1, True, True)
        self.run(int(offered))
        if sealed := self.waiting(lambda each: each.sealed):
            self.act(self.device, self.device.spool.holding.hold, sealed[which % len(sealed)].episode, "held")

    @rule(which=st.integers(0, 3))
    def is_fetched(self, which: int) -> None:
        """One that is held is to be delivered after all."""
        if held := self.device.spool.holding.all() if self.device.up else []:
            self.act(self.device, self.device.spool.holding.let_go, [held[which % len(held)].episode])


class EndsThatDelete(TwoEnds):
    """Where episodes are deleted from the store too, as somebody asks who does not hold it. Of what else befalls the
    two ends it has the part that deletion has to do with: so it comes to be often."""

    file_rots = staging_rots = flips_a_bit = wrong_word = clock_steps = gives_up = None  # type: ignore[assignment]
    loses_bulk = sync_is_late = sync_thread_waits = overtakes_a_write = arrives = None  # type: ignore[assignment]
    dies_before_a_sync = device_turns = store_works = None  # type: ignore[assignment]

    @rule(which=st.integers(0, 3), grace=st.booleans())
    def is_deleted(self, which: int, grace: bool) -> None:
        """An episode is deleted, at once or with a grace."""
        self.delete(which, 3600.0 * grace, ALL)

    @rule(which=st.integers(0, 1))
    def is_deleted_unheard(self, which: int) -> None:
        """The same before its device knows that it was committed, which offers it again."""
        self.delete(which, 0.0, 0)
        for _ in range(3):
            self.clock.now_ns += 2 * SECOND
            self.run(2)

    @rule(power=st.booleans(), calls=st.integers(0, 60), answers=st.sampled_from([ALL, 0]))
    def dies_in_a_deletion(self, power: bool, calls: int, answers: int) -> None:
        """The server is killed, or power lost, in the middle of one."""
        self.power = power
        self.delete(0, 0.0, answers, calls)
        self.clock.now_ns += 3 * SECOND
        self.run(4)
        self.act(self.server, self.server.forget)

    @rule()
    def store_forgets(self) -> None:
        """What is asked of the store, and due by now, is done; what a death cut off is gone on with."""
        self.act(self.server, self.server.forget)

    def delete(self, which: int, grace_s: float, answers: int, calls: int | None = None) -> None:
        """Have a new episode committed, of which the device hears so much, and ask for the deletion of one."""
        self.act(self.device, self.recorder.record, 2, True, True)
        self.run(3, answers=answers)
        there = [each for each in self.witness.committed if each not in self.witness.buried]
        if self.server.up and there:
            name = str(there[-1 - which % len(there)])
            asked = DeletionRequest(episodes=(name,), reason="asked", who="anna", grace_s=grace_s)
            self.act(self.server, requests._put, self.server.store.path, asked)
            self.server.disk.calls_left = calls
            self.act(self.server, self.server.forget)
            self.server.disk.calls_left = None
        if not answers and self.network.open is not None:
            self.network.open.sever(seen=True)
