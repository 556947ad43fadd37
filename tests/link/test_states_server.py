"""The server's end under any sequence of messages, answers, failures and pauses: it keeps to its tables and bounds.

Devices say what they like, the store answers its jobs in any order and as badly as it may, writes take their time.
After every step each transfer must have something that moves it: a job, a write, a timer, or a device that was told.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sensorium.link import wire
from sensorium.link.server.jobs import Begin, Commit, Drop, NoteDiscards, NoteSpool, StoreJob
from sensorium.link.server.limits import Limits
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.session import SESSION, ServerSession, SessionState
from sensorium.link.server.transfer import LEAVING, TRANSFER, Transfer, TransferState

SECOND = 1_000_000_000
LIMITS = Limits(
    pool_bytes=3 << 20,
    offers=4,
    open_per_session=2,
    open_transfers=3,
    sessions=4,
    staged_bytes=6000,
    growing_reserve_bytes=1500,
    episode_bytes=4000,
)
DEVICES = st.sampled_from(["rig-1", "rig-2"])
SPOOLS = st.sampled_from(["a", "a", "b"])
EPISODES = st.integers(1, 4)
SIZES = st.sampled_from([0, 1, 900, 1000, 4000, 4001])
DIGESTS = st.sampled_from([bytes(32), b"1" * 32])
PUT_OFF = {TransferState.COMMIT_PUT_OFF}
LATER = st.sampled_from([0.0, 0.3, 5.1, 20.0])


@dataclass
class Stored:
    """What the store says of an episode."""

    state: str
    digest: bytes


def watched(table: Any) -> Callable[[Any, str, object], None]:
    """A `__setattr__` that lets `state` go only where the table has a way."""

    def set_attribute(self: Any, name: str, value: object) -> None:
        before = self.__dict__.get("state")
        if name == "state" and before is not None:
            assert value in table[before].values(), f"{before.name} -> {value!r} is not in the table"
        object.__setattr__(self, name, value)

    return set_attribute


class ServerEnd(RuleBasedStateMachine):
    """A `ServerLink`, what was asked of its store and pumps and not answered yet, and what its devices were told."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = [
            mock.patch.object(kind, "__setattr__", watched(machine.table))
            for kind, machine in ((Transfer, TRANSFER), (ServerSession, SESSION))
        ]
        for watch in self.watch:
            watch.start()
        self.now_ns = 0
        self.calm = 0
        self.stored: dict[UUID, Stored] = {}
        self.asked: list[StoreJob] = []
        self.writing: tuple[Transfer, int, int] | None = None
        self.received: Counter[int] = Counter()
        self.wants: dict[bytes, wire.Want] = {}
        numbers = itertools.count(1)
        self.link = ServerLink(self.stored.get, lambda: next(numbers), lambda: 0, LIMITS)

    @initialize()
    def begin(self) -> None:
        self.greet("rig-1", "a")

    # --- what comes in ---------------------------------------------------------------------------------------------

    @rule(device=DEVICES, spool=SPOOLS)
    def hello(self, device: str, spool: str) -> None:
        """A session for a spool that has none."""
        if not any((s.device, s.spool_id) == (device, spool) for s in self.sessions()):
            self.greet(device, spool)

    @rule(data=st.data(), number=EPISODES, sealed=st.booleans())
    def offer(self, data: st.DataObject, number: int, sealed: bool) -> None:
        """An offer of a new episode, or again of one that was offered, in the session of its spool, or another."""
        if not self.sessions():
            return
        episode = number.to_bytes(16, "big")
        known = self.link.arrivals.by_episode.get(episode)
        owners = [s for s in self.sessions() if known and (s.device, s.spool_id) == known.owner[:2]]
        session = data.draw(st.sampled_from(owners * 4 + self.sessions()), "session")
        if episode not in session.offers and len(session.offers) >= LIMITS.offers and data.draw(st.integers(0, 9)):
            return
        size = data.draw(SIZES, "size") if known is None else max(1, known.accepted, known.offer.size)
        recoveries = (known.offer.recoveries if known else 0) + data.draw(st.sampled_from([0, 0, 0, 1]), "recovered")
        self.say(
            session,
            wire.Offer,
            episode=episode,
            ordinal=number,
            size=size,
            sealed=sealed,
            digest=data.draw(DIGESTS, "digest"),
            recoveries=recoveries,
            priority=float(number % 2),
        )

    @rule(data=st.data(), held=st.booleans())
    def held(self, data: st.DataObject, held: bool) -> None:
        """A device says that it may send nothing, or again."""
        if self.sessions():
            session = data.draw(st.sampled_from(self.sessions()), "session")
            before = session.limit
            self.say(session, wire.Status, document={"uplink": {"held": held}})
            assert session.held is held
            if held:
                self.link.poll(self.now_ns)
                assert session.limit == before

    @rule(number=EPISODES, until=st.sampled_from(["writing", "writing", "written", "committing", "put off"]))
    def one_comes(self, number: int, until: str) -> None:
        """An episode whose device and store do all they should, up to here."""
        episode = number.to_bytes(16, "big")
        self.hello("rig-1", "a")
        sessions = [s for s in self.sessions() if (s.device, s.spool_id) == ("rig-1", "a")]
        if not sessions:  # too many others
            return
        (session,) = sessions
        if episode not in session.offers and len(session.offers) < LIMITS.offers:
            self.again(session, number)
        self.turn()
        self.all_goes_well(UUID(bytes=episode))
        self.turn()
        transfer = session.offers.get(episode)
        if transfer is None or self.writing is not None:
            return
        self.send(session, transfer, transfer.accepted, transfer.number, min(500, session.outstanding))
        if until != "writing":
            self.write_ends("")
            if until != "written":
                self.end(session, transfer)
                self.turn()
                for job in self.jobs_of(transfer.episode) if until == "put off" else []:
                    if isinstance(job, Commit):
                        self.asked.remove(job)
                        self.answer(job, "failed")

    @precondition(lambda self: self.busy())
    @rule(
        which=st.integers(0, 9),
        how=st.lists(
            st.sampled_from(["resumed", "resumed", "recovered", "offered", "sealed", "cut", "discarded", "expired"]),
            min_size=1,
            max_size=3,
        ),
    )
    def meanwhile(self, which: int, how: list[str]) -> None:
        """What can happen to an episode while its bytes are being written, or a job is under way."""
        transfer = self.busy()[which % len(self.busy())]
        device, spool, number = transfer.owner
        for what in how:
            if what == "expired":  # first its session, then what is staged
                for later_s in (31, 901):
                    self.now_ns += later_s * SECOND
                    self.link.poll(self.now_ns)
                continue
            if what == "cut":
                self.link.unreachable(f"{device}:{spool}".encode(), self.now_ns)
                continue
            if what == "resumed":
                self.greet(device, spool)
            self.hello(device, spool)
            sessions = [s for s in self.sessions() if (s.device, s.spool_id) == (device, spool)]
            for session in sessions:
                if what == "discarded":
                    self.say(session, wire.Discarded, ordinals=(number,), reason="evicted")
                elif what == "sealed":
                    self.end(session, transfer)
                elif transfer.offer.episode in session.offers or len(session.offers) < LIMITS.offers:
                    self.again(session, number, recovered=what == "recovered")
            self.turn()

    def busy(self) -> list[Transfer]:
        """The transfers that have to wait for a write or a job."""
        busy = [t for t in self.link.arrivals.by_episode.values() if self.jobs_of(t.episode) or t.state in PUT_OFF]
        return busy + ([self.writing[0]] * 3 if self.writing is not None else [])

    def again(self, session: ServerSession, number: int, recovered: bool = False) -> None:
        """Offer an episode as it was offered, or recovered since."""
        episode = number.to_bytes(16, "big")
        known = self.link.arrivals.by_episode.get(episode)
        size = 500 if known is None else max(1, known.accepted, known.offer.size)
        recoveries = (0 if known is None else known.offer.recoveries) + recovered
        self.say(
            session,
            wire.Offer,
            episode=episode,
            ordinal=number,
            size=size,
            sealed=True,
            digest=bytes(32),
            recoveries=recoveries,
        )

    def end(self, session: ServerSession, transfer: Transfer) -> None:
        """Say SEALED of what came so far."""
        offer = transfer.offer
        self.say(
            session,
            wire.Sealed,
            episode=offer.episode,
            size=transfer.accepted,
            digest=offer.digest,
            recoveries=offer.recoveries,
        )

    @rule(data=st.data())
    def sealed(self, data: st.DataObject) -> None:
        """SEALED of what was wanted; mostly it tells the size that was offered, or what came so far."""
        offers = [(s, t) for s in self.sessions() for t in s.offers.values() if t.state is not TransferState.WAITING]
        if offers:
            session, transfer = data.draw(st.sampled_from(offers), "offer")
            offer = transfer.offer
            size = data.draw(st.sampled_from([transfer.accepted] * 4 + [offer.size, 300]), "size")
            self.say(
                session, wire.Sealed, episode=offer.episode, size=size, digest=offer.digest, recoveries=offer.recoveries
            )

    @rule(which=st.integers(0, 9), ordinals=st.lists(EPISODES, max_size=2).map(tuple))
    def discarded(self, which: int, ordinals: tuple[int, ...]) -> None:
        if self.sessions():
            self.say(self.session(which), wire.Discarded, ordinals=ordinals, reason="evicted")

    @precondition(lambda self: self.writing is None)
    @rule(data=st.data())
    def data(self, data: st.DataObject) -> None:
        """DATA, mostly in turn; the bulk pump has written what came before."""
        offers = [(s, t) for s in self.sessions() for t in s.offers.values()]
        taking = [(s, t) for s, t in offers if t.state is TransferState.TAKING]
        if offers:
            session, transfer = data.draw(st.sampled_from(taking * 4 + offers), "offer")
            credit = max(0, session.outstanding)
            size = data.draw(st.sampled_from([min(size, credit) for size in (1, 500, 1000)]), "size")
            offset = data.draw(st.sampled_from([transfer.accepted] * 6 + [0, 700, 3999]), "offset")
            want = data.draw(st.sampled_from([transfer.number] * 6 + [0, 1, 2]), "want")
            self.send(session, transfer, offset, want, size or data.draw(st.sampled_from([0, 1]), "no credit"))

    def send(self, session: ServerSession, transfer: Transfer, offset: int, want: int, size: int) -> None:
        message = wire.Data(session=session.number, episode=transfer.offer.episode, offset=offset, want=want)
        self.received[session.number] += size
        taken = self.link.data(session.user_id, message, size, self.now_ns)
        if taken is not None:
            assert taken is transfer
            assert (offset, want) == (transfer.accepted, transfer.number)
            self.writing = taken, session.number, size

    @rule(later_s=LATER)
    def time_passes(self, later_s: float) -> None:
        """Time passes; devices that are there probe."""
        for session in self.sessions():
            if later_s < LIMITS.silent_s:
                self.say(session, wire.Probe, sent_ns=1)
        self.now_ns += int(later_s * SECOND)
        self.link.poll(self.now_ns)

    @precondition(lambda self: self.calm > 12)
    @rule(
        which=st.integers(0, 9),
        how=st.sampled_from(
            [
                "replaced",
                "unreachable",
                "revoked",
                "stopped",
                "silent",
                "rubbish",
                "stranger",
                "wrong socket",
                "beyond the credit",
                "sealed unasked",
                "too many offers",
                "another ordinal",
                "left for long",
            ]
        ),
    )
    def disturbance(self, which: int, how: str) -> None:
        """What ends sessions, or is meant to."""
        if not self.sessions():
            return
        self.calm = 0
        link, session, now_ns = self.link, self.session(which), self.now_ns
        episode = (1 + which % 4).to_bytes(16, "big")
        match how:
            case "replaced":
                self.greet(session.device, session.spool_id)
            case "unreachable":
                link.unreachable(session.route, now_ns)
            case "revoked":
                link.revoke(lambda user_id: user_id != session.user_id, now_ns)
            case "stopped":
                link.stop(now_ns)
            case "silent":
                self.now_ns += 31 * SECOND
                self.link.poll(self.now_ns)
            case "left for long":
                self.now_ns += 901 * SECOND
                self.link.poll(self.now_ns)
            case "rubbish":
                link.misunderstood(session.route, session.user_id, ValueError("rubbish"), now_ns)
            case "stranger":
                link.receive(b"elsewhere", "thief/key", wire.Probe(session=session.number, sent_ns=1), now_ns)
            case "wrong socket":
                self.say(session, wire.Data, episode=episode, offset=0, want=1)
            case "beyond the credit":
                for transfer in list(session.offers.values())[:1]:
                    self.send(session, transfer, transfer.accepted, transfer.number, session.outstanding + 1)
            case "sealed unasked":
                self.say(session, wire.Sealed, episode=episode, size=1000, digest=bytes(32))
            case "too many offers":
                for number in range(5, 10):
                    self.say(session, wire.Offer, episode=number.to_bytes(16, "big"), ordinal=number, size=1)
            case "another ordinal":
                self.say(session, wire.Offer, episode=episode, ordinal=7, size=1000)

    # --- what the store and the pump say -----------------------------------------------------------------------------

    @precondition(lambda self: self.asked)
    @rule()
    def store_does_all(self) -> None:
        self.all_goes_well()

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def store_answers(self, data: st.DataObject) -> None:
        job = self.asked.pop(data.draw(st.integers(0, len(self.asked) - 1), "job"))
        kinds = {
            Begin: ["begun", "begun", "failed", "refused"],
            Commit: ["committed", "committed", "damaged", "refused", "conflict", "failed", "spoiled"],
            Drop: ["dropped"],
            NoteDiscards: ["ledgered"],
            NoteSpool: ["noted"],
        }[type(job)]
        self.answer(job, data.draw(st.sampled_from(kinds), "answer"))

    @precondition(lambda self: any(isinstance(job, Commit) for job in self.asked))
    @rule()
    def store_shows_what_it_has_not_answered_yet(self) -> None:
        for job in self.asked:
            if isinstance(job, Commit):
                self.stored[job.episode] = Stored("committed", job.digest)

    @precondition(lambda self: self.stored)
    @rule()
    def somebody_deletes(self) -> None:
        next(iter(self.stored.values())).state = "deleted"

    @rule(trouble=st.sampled_from(["", "", "", "damaged", "refused", "failed"]))
    def write_ends(self, trouble: str) -> None:
        if self.writing is None:
            return
        transfer, session, size = self.writing
        self.writing = None
        if not trouble:
            self.link.written(transfer, session, size, self.now_ns)
        elif self.link.unwritten(transfer, session, size):
            self.tell(transfer.episode, trouble)

    def all_goes_well(self, of: UUID | None = None) -> None:
        asked = [job for job in self.asked if of is None or job in self.jobs_of(of)]
        for job in asked:
            self.asked.remove(job)
            self.answer(job, {Begin: "begun", Commit: "committed", Drop: "dropped"}.get(type(job), ""))

    def answer(self, job: StoreJob, how: str) -> None:
        if isinstance(job, NoteDiscards):
            self.link.ledgered(job.session, job.ordinals, [], self.now_ns)
        elif isinstance(job, Begin | Commit | Drop):
            if isinstance(job, Commit) and how == "committed":
                self.stored[job.episode] = Stored("committed", job.digest)
            self.tell(job.episode, how)

    def tell(self, episode: UUID, how: str) -> None:
        arrivals, now_ns = self.link.arrivals, self.now_ns
        match how:
            case "begun":
                arrivals.begun(episode, now_ns)
            case "committed":
                arrivals.all_committed([(episode, self.stored[episode].digest)], now_ns)
            case "damaged":
                arrivals.damaged(episode, "digest", now_ns)
            case "refused":
                arrivals.refused(episode, "format", "no", now_ns)
            case "conflict":
                arrivals.refused(episode, "conflict", "no", now_ns, quarantine=True)
            case "failed":
                arrivals.failed(episode, "full", now_ns, spoiled=False)
            case "spoiled":
                arrivals.failed(episode, "full", now_ns)
            case "dropped":
                arrivals.dropped(episode, now_ns)

    # --- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def the_control_pump_turns_and_all_is_well(self) -> None:
        self.turn()
        self.credit_is_bounded()
        self.transfers_are_bounded_and_belong_to_their_sessions()
        self.every_transfer_has_something_that_moves_it()

    def turn(self) -> None:
        self.calm += 1
        self.link.poll(self.now_ns)
        for _, message in self.link.take_messages():
            wire.decode_from_server(wire.encode(message))
            if isinstance(message, wire.Want):
                self.wants[message.episode] = message
        for job in self.link.take_jobs():
            if isinstance(job, Begin | Commit | Drop):
                assert not self.jobs_of(job.episode), "two jobs of an episode at a time"
                assert self.writing is None or self.writing[0].episode != job.episode, "a job during a write"
            self.asked.append(job)

    def credit_is_bounded(self) -> None:
        outstanding = [session.outstanding for session in self.sessions()]
        assert all(value >= 0 for value in outstanding)
        assert sum(outstanding) == self.link.pool.outstanding <= LIMITS.pool_bytes
        for session in self.sessions():  # all that came is dealt with, but for what is being written
            writing = self.writing[2] if self.writing is not None and self.writing[1] == session.number else 0
            assert session.taken == self.received[session.number] - writing

    def transfers_are_bounded_and_belong_to_their_sessions(self) -> None:
        arrivals = self.link.arrivals
        opened = [t for t in arrivals.by_episode.values() if t.state is not TransferState.WAITING]
        assert len(opened) + len(arrivals.leaving) <= LIMITS.open_transfers
        assert arrivals.reserved == sum(each.accepted for each in (*opened, *arrivals.leaving.values()))
        staying = [each for each in opened if each.under_way]  # what is complete is gone soon, or put off
        assert sum(each.accepted for each in staying) <= LIMITS.staged_bytes
        for session in self.sessions():
            assert session.state is SessionState.OPEN
            assert len(session.offers) <= LIMITS.offers
            for episode, transfer in session.offers.items():
                assert arrivals.by_episode[episode] is transfer
                assert transfer.session is session
        for episode, transfer in arrivals.by_episode.items():
            assert transfer.state not in LEAVING
            assert transfer.session is None or transfer.session.offers[episode] is transfer
            assert transfer.session is None or self.link.sessions[transfer.session.number] is transfer.session

    def every_transfer_has_something_that_moves_it(self) -> None:
        arrivals = self.link.arrivals
        for transfer in (*arrivals.by_episode.values(), *arrivals.leaving.values()):
            jobs, session = self.jobs_of(transfer.episode), transfer.session
            match transfer.state:
                case TransferState.OPENING | TransferState.OPENING_THEN_DROP:
                    assert [type(job) for job in jobs] == [Begin]
                case TransferState.COMMITTING:
                    assert [type(job) for job in jobs] == [Commit]
                case TransferState.DROPPING:
                    assert [type(job) for job in jobs] == [Drop]
                case TransferState.COMMIT_PUT_OFF:
                    assert self.now_ns < transfer.retry_ns <= self.now_ns + LIMITS.retry_s * SECOND
                case TransferState.TAKING if session is not None:
                    want = self.wants[transfer.offer.episode]
                    assert (want.session, want.number) == (session.number, transfer.number)
                    assert want.offset <= transfer.accepted
                case TransferState.TAKING:
                    assert transfer.idle_ns <= self.now_ns
                case TransferState.WAITING:
                    assert session is not None
                    opened = sum(t.state is not TransferState.WAITING for t in arrivals.by_episode.values())
                    assert (
                        transfer.offer.episode in arrivals.leaving
                        or any(t.state is not TransferState.WAITING for t in session.offers.values())
                        or opened + len(arrivals.leaving) >= LIMITS.open_transfers
                        or any(t.owner[:2] == transfer.owner[:2] for t in arrivals.leaving.values())
                        or session.held
                    ), "there is a place for it"
                case _:
                    assert transfer.state.name.startswith("WRITING")
                    assert self.writing is not None
                    assert self.writing[0] is transfer

    def teardown(self) -> None:
        """The devices fall silent and the store does what it is asked: nothing is left."""
        try:
            for _ in range(40):
                self.turn()
                self.write_ends("")
                self.all_goes_well()
                self.time_passes(40.0)
            assert not self.link.arrivals.by_episode
            assert not self.link.arrivals.leaving
            assert not self.link.sessions
            assert self.link.pool.outstanding == 0
        finally:
            for watch in self.watch:
                watch.stop()

    # --- within ------------------------------------------------------------------------------------------------------

    def sessions(self) -> list[ServerSession]:
        return list(self.link.sessions.values())

    def session(self, which: int) -> ServerSession:
        sessions = self.sessions()
        return sessions[which % len(sessions)]

    def greet(self, device: str, spool: str) -> None:
        hello = wire.Hello(session=0, version=wire.VERSION, nonce=1, device=device, spool_id=spool)
        self.link.receive(f"{device}:{spool}".encode(), f"{device}/key", hello, self.now_ns)

    def say(self, session: ServerSession, kind: Any, **about: Any) -> None:
        message = kind(session=session.number, **about)
        self.link.receive(session.route, session.user_id, message, self.now_ns)

    def jobs_of(self, episode: UUID) -> list[StoreJob]:
        return [j for j in self.asked if isinstance(j, Begin | Commit | Drop) and j.episode == episode]


ServerEnd.TestCase.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
TestServerEnd = ServerEnd.TestCase
