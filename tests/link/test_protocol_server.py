"""What a hostile or mistaken device meets at the server's end of the link."""

import contextlib
import itertools
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import PeerViolation, StoreError
from sensorium.link import wire
from sensorium.link.server.credit import QUANTUM_BYTES, CreditPool
from sensorium.link.server.jobs import Begin, Commit, Drop, NoteDiscards
from sensorium.link.server.limits import Limits
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.session import ServerSession
from sensorium.link.server.transfer import Transfer, TransferState

SECOND = 1_000_000_000


@dataclass
class Peer:
    """A device of which the test says every message."""

    link: ServerLink
    name: str = "rig-1"
    session: int = 0
    now_ns: int = 0

    def say(self, message: wire.DeviceMessage, route: bytes = b"r") -> list[wire.Message]:
        self.link.receive(route, f"{self.name}/key", message, self.now_ns)
        self.link.poll(self.now_ns)
        return [message for _, message in self.link.take_messages()]

    def hello(self, **change: Any) -> list[wire.Message]:
        about: dict[str, Any] = {"version": wire.VERSION, "nonce": 1, "device": self.name, "spool_id": "s"}
        answers = self.say(wire.Hello(session=0, **{**about, **change}))
        if isinstance(answers[0], wire.Welcome):
            self.session = answers[0].session
        return answers

    def offer(self, number: int = 1, **change: Any) -> list[wire.Message]:
        about: dict[str, Any] = {"ordinal": number, "size": 1 << 20, "sealed": True, "digest": bytes(32)}
        return self.say(wire.Offer(session=self.session, episode=number.to_bytes(16, "big"), **{**about, **change}))

    def do_begins(self) -> list[wire.Message]:
        for job in self.link.take_jobs():
            if isinstance(job, Begin):
                self.link.arrivals.begun(job.episode, self.now_ns)
        self.link.poll(self.now_ns)
        return [message for _, message in self.link.take_messages()]

    def data(self, size: int, offset: int = 0, want: int = 1, session: int | None = None) -> Any:
        number = self.session if session is None else session
        header = wire.Data(session=number, episode=(1).to_bytes(16, "big"), offset=offset, want=want)
        return self.link.data(f"{self.name}/key", header, size, self.now_ns)


def new_link(limits: Limits | None = None, secure: bool = True) -> ServerLink:
    counter = itertools.count(100)
    return ServerLink(lambda _: None, lambda: next(counter), lambda: 0, limits, secure)


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"version": 7}, "version", "install the same release"),
        ({"device": "rig-2"}, "identity", "its key is that of 'rig-1'"),
        ({"spool_id": "../x"}, "identity", "spool_id"),
    ],
)
def test_a_hello_that_cannot_be_is_refused_with_the_reason(change: dict[str, Any], code: str, text: str) -> None:
    (error,) = Peer(new_link()).hello(**change)
    assert isinstance(error, wire.Error)
    assert error.code == code
    assert text in error.reason


@pytest.mark.parametrize(("offered", "sent"), [(1000, 1001), (3 << 20, (1 << 20) + 1), (1000, 0)])
def test_data_beyond_the_credit_or_the_limits_ends_the_session_and_nothing_is_written(offered: int, sent: int) -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer(size=offered)
    peer.do_begins()
    assert peer.data(sent) is None
    assert not peer.link.sessions
    assert peer.link.pool.outstanding == 0
    assert peer.link.out.counters["violations"] == 1


def test_the_pool_is_shared_evenly_by_whoever_wants_more_than_there_is() -> None:
    size = (256 << 20) - 12345
    pool = CreditPool(size)
    offer = wire.Offer(session=1, episode=bytes(16), ordinal=0, size=1 << 40)
    sessions = []
    for number in range(20):
        transfer = Transfer(offer, ("d", "s", 0), "d", 0, state=TransferState.TAKING)
        session = ServerSession(number, b"r", "d/k", "d", "d", "s", 0, 0, limit=1 << 30, taken=1 << 30)
        session.offers[offer.episode] = transfer
        sessions.append(session)
        pool.touch(session)
    assert pool.turn() == sessions
    shares = [session.outstanding for session in sessions]
    assert sum(shares) == pool.outstanding == size
    assert max(shares) - min(shares) <= QUANTUM_BYTES
    pool.used(sessions[0], shares[0])
    pool.close(sessions[1])
    pool.turn()
    assert sum(session.outstanding for session in sessions) == pool.outstanding == size
    assert sessions[1].outstanding == 0


def test_a_stranger_cannot_use_a_session_number() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    thief = Peer(peer.link, name="rig-2", session=peer.session)
    assert thief.data(1000) is None
    (answer,) = thief.say(wire.Probe(session=peer.session, sent_ns=1), route=b"other")
    assert isinstance(answer, wire.Error)
    assert peer.link.out.counters["stale_bytes"] == 1000
    assert peer.data(1000) is not None


def test_a_new_session_revokes_the_old_one() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    old = peer.session
    peer.hello()
    assert list(peer.link.sessions) == [peer.session]
    assert peer.link.pool.outstanding == 0
    assert peer.data(1000, session=old) is None
    assert [type(m) for m in peer.offer()] == [wire.Want, wire.Credit]


def test_a_gap_is_asked_for_once() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    assert peer.data(1000, offset=5000) is None
    assert peer.data(1000, offset=6000) is None
    wants = [m for _, m in peer.link.take_messages() if isinstance(m, wire.Want)]
    assert [(w.offset, w.number) for w in wants] == [(0, 2)]
    assert peer.link.out.counters["dropped_bytes"] == 2000


def test_one_episode_id_from_two_spools_is_a_conflict() -> None:
    link = new_link()
    first, second = Peer(link), Peer(link, name="rig-2")
    first.hello()
    second.hello()
    first.offer()
    answers = second.offer()
    assert [m.code for m in answers if isinstance(m, wire.Rejected)] == ["conflict"]


def test_offers_and_sessions_are_limited() -> None:
    link = new_link(Limits(offers=3, sessions=2))
    peer = Peer(link)
    peer.hello()
    for number in range(1, 5):
        answers = peer.offer(number)
    assert not link.sessions
    assert any(isinstance(m, wire.Error) and m.code == "violation" for m in answers)
    for number in range(2):
        Peer(link, name=f"a-{number}").hello()
    (error,) = Peer(link, name="one-more").hello()
    assert isinstance(error, wire.Error)
    assert error.code == "busy"


def test_one_device_cannot_take_all_the_sessions() -> None:
    link = new_link(Limits(sessions_of_device=2))
    peer = Peer(link)
    for spool in ("a", "b", "c"):
        (answer,) = peer.hello(spool_id=spool)
    assert isinstance(answer, wire.Error)
    assert answer.code == "busy"
    (again,) = peer.hello(spool_id="a")
    assert isinstance(again, wire.Welcome)
    (other,) = Peer(link, name="rig-2").hello()
    assert isinstance(other, wire.Welcome)


def test_discards_for_several_reasons_are_noted_at_once_and_bounded() -> None:
    link = new_link()
    peer = Peer(link)
    peer.hello()
    link.take_jobs()
    for number in range(100):
        peer.say(wire.Discarded(session=peer.session, ordinals=(number,), reason=f"reason {number}"))
    jobs = [job for job in link.take_jobs() if isinstance(job, NoteDiscards)]
    assert [job.ordinals for job in jobs] == [(number,) for number in range(16)]
    for job in jobs:
        link.ledgered(job.session, job.ordinals, [], 0)
    peer.say(wire.Discarded(session=peer.session, ordinals=(99,), reason="again"))
    assert [job.ordinals for job in link.take_jobs() if isinstance(job, NoteDiscards)] == [(99,)]


def test_full_staging_says_busy_and_not_rejected() -> None:
    peer = Peer(new_link(Limits(staged_bytes=1 << 20)))
    peer.hello()
    peer.offer(1)
    answers = peer.offer(2)
    (error,) = [m for m in answers if isinstance(m, wire.Error)]
    assert (error.code, error.episode) == ("busy", (2).to_bytes(16, "big"))
    assert error.retry_s > 0


def test_an_offer_during_the_drop_of_its_transfer_is_taken_up_after_it() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    (episode,) = (transfer.episode for transfer in peer.link.arrivals.by_episode.values())
    peer.link.arrivals.failed(episode, "full", 0)
    assert [type(job) for job in peer.link.take_jobs()] == [Drop]
    peer.offer()
    assert peer.link.take_jobs() == []  # one job of an episode at a time
    peer.link.arrivals.dropped(episode, 0)
    assert [type(job) for job in peer.link.take_jobs()] == [Begin]


def test_a_restart_waits_for_the_bytes_being_written() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    transfer = peer.data(1000)
    peer.offer(recoveries=1)
    assert peer.link.take_jobs() == []
    peer.link.written(transfer, peer.session, 1000, 0)
    assert [type(job) for job in peer.link.take_jobs()] == [Begin]
    peer.link.arrivals.begun(transfer.episode, 0)
    assert transfer.accepted == 0


def test_a_commit_that_the_store_could_not_do_is_tried_again() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer(size=1000)
    peer.do_begins()
    transfer = peer.data(1000)
    peer.link.written(transfer, peer.session, 1000, 0)
    sealed = wire.Sealed(session=peer.session, episode=(1).to_bytes(16, "big"), size=1000, digest=bytes(32))
    peer.say(sealed)
    assert [type(job) for job in peer.link.take_jobs()] == [Commit]
    peer.link.arrivals.failed(transfer.episode, "full", 0, spoiled=False)
    peer.link.poll(SECOND)
    assert peer.link.take_jobs() == []
    peer.link.poll(6 * SECOND)
    assert [type(job) for job in peer.link.take_jobs()] == [Commit]


def test_silent_and_stalled_sessions_expire_and_their_staging_later() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    assert peer.link.pool.outstanding > 0
    for _ in range(4):  # it goes on to probe, but never uses its credit
        peer.now_ns += 10 * SECOND
        peer.say(wire.Probe(session=peer.session, sent_ns=1))
    assert not peer.link.sessions
    assert peer.link.pool.outstanding == 0
    assert peer.link.arrivals.by_episode
    peer.now_ns += 1000 * SECOND
    peer.link.poll(peer.now_ns)
    assert [type(job) for job in peer.link.take_jobs() if isinstance(job, Drop)] == [Drop]


def test_unknown_messages_are_answered_and_rubbish_ends_only_its_sender() -> None:
    link = new_link()
    good, bad = Peer(link), Peer(link, name="rig-2")
    good.hello()
    bad.hello()
    link.misunderstood(b"r", "rig-1/key", wire.UnknownMessage("teleport", good.session), 0)
    ((_, answer),) = link.take_messages()
    assert isinstance(answer, wire.Error)
    assert answer.code == "unknown"
    assert good.session in link.sessions


def test_revoking_a_key_ends_its_sessions_alone() -> None:
    link = new_link()
    first, second = Peer(link), Peer(link, name="rig-2")
    first.hello()
    second.hello()
    link.revoke(lambda user_id: user_id != "rig-2/key", 0)
    assert list(link.sessions) == [first.session]


def test_without_keys_a_spool_is_the_identity() -> None:
    link = new_link(secure=False)
    link.receive(b"r", "", wire.Hello(session=0, version=1, nonce=1, device="cam", spool_id="abc"), 0)
    (session,) = link.sessions.values()
    assert (session.identity, session.device) == ("insecure:abc", "cam")


@given(frame=st.binary(max_size=200))
def test_random_bytes_are_a_violation_and_nothing_else(frame: bytes) -> None:
    for decode in (wire.decode_from_device, wire.decode_from_server):
        with contextlib.suppress(PeerViolation):
            decode(frame)


def test_sealed_of_an_episode_that_was_not_asked_for_breaks_the_protocol() -> None:
    peer = Peer(new_link(Limits(open_per_session=1)))
    peer.hello()
    peer.offer(1)
    peer.offer(2)
    (error,) = peer.say(wire.Sealed(session=peer.session, episode=(2).to_bytes(16, "big"), size=1, digest=bytes(32)))
    assert isinstance(error, wire.Error)
    assert error.code == "violation"
    assert "SEALED" in error.reason
    assert "WAITING" in error.reason
    assert not peer.link.sessions


def test_the_next_episode_begins_while_one_waits_for_its_commit() -> None:
    """Or nothing would arrive meanwhile: of small episodes a commit takes longer than the way here."""
    peer = Peer(new_link(Limits(open_per_session=1, open_transfers=2)))
    peer.hello()
    for number in (1, 2, 3):
        peer.offer(number)
    assert [want.episode[-1] for want in peer.do_begins() if isinstance(want, wire.Want)] == [1]
    transfer = peer.data(1000)
    peer.say(wire.Sealed(session=peer.session, episode=(1).to_bytes(16, "big"), size=1000, digest=bytes(32)))
    peer.link.written(transfer, peer.session, 1000, 0)
    jobs = peer.link.take_jobs()
    assert [(type(job), job.episode.int) for job in jobs if isinstance(job, Begin | Commit)] == [
        (Commit, 1),
        (Begin, 2),
    ]
    peer.link.arrivals.begun(UUID(int=2), 0)
    peer.say(wire.Sealed(session=peer.session, episode=(2).to_bytes(16, "big"), size=0, digest=bytes(32)))
    assert [type(job) for job in peer.link.take_jobs()] == [Commit]  # the third has no place: two are open


def test_a_session_that_resumes_during_a_write_is_asked_for_what_follows_it() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    transfer, old = peer.data(1000), peer.session
    peer.hello()
    assert not any(isinstance(m, wire.Want) for m in peer.offer())
    peer.link.written(transfer, old, 1000, 0)
    (want,) = [m for _, m in peer.link.take_messages() if isinstance(m, wire.Want)]
    assert (want.session, want.offset, want.number) == (peer.session, 1000, 2)
    assert peer.data(1000, offset=1000, want=2) is transfer


def test_a_drop_waits_for_the_bytes_being_written() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer()
    peer.do_begins()
    transfer = peer.data(1000)
    peer.say(wire.Discarded(session=peer.session, ordinals=(1,), reason="evicted"))
    assert not any(isinstance(job, Drop) for job in peer.link.take_jobs())
    assert peer.link.unwritten(transfer, peer.session, 1000) is False  # nobody has to be told of the failure
    assert [type(job) for job in peer.link.take_jobs()] == [Drop]


def test_an_episode_on_its_way_out_is_not_counted_among_the_offers() -> None:
    peer = Peer(new_link(Limits(offers=2)))
    peer.hello()
    peer.offer(1)
    peer.offer(2)
    peer.do_begins()
    peer.link.arrivals.refused(UUID(int=1), "format", "no", 0)  # the device may offer another as soon as it hears
    peer.offer(3)
    assert peer.session in peer.link.sessions
    assert [type(job) for job in peer.link.take_jobs()] == [Drop, Begin]


def test_a_long_commit_without_a_session_is_not_dropped_under_its_feet() -> None:
    peer = Peer(new_link())
    transfer = commit_under_way(peer)
    peer.now_ns += 2000 * SECOND
    peer.link.poll(peer.now_ns)
    assert not peer.link.sessions
    peer.link.poll(peer.now_ns + 2000 * SECOND)
    assert peer.link.take_jobs() == []
    peer.link.arrivals.committed(transfer.episode, bytes(32), peer.now_ns)
    assert not peer.link.arrivals.by_episode


def test_a_file_that_was_recovered_during_its_commit_is_taken_if_the_commit_finds_damage() -> None:
    peer = Peer(new_link())
    transfer = commit_under_way(peer)
    peer.offer(size=900, recoveries=1)
    peer.link.arrivals.damaged(transfer.episode, "digest", 0)
    (want,) = peer.do_begins()[:1]
    assert isinstance(want, wire.Want)
    peer.link.written(peer.data(900, want=want.number), peer.session, 900, 0)
    assert peer.link.take_jobs() == []
    number = (1).to_bytes(16, "big")
    peer.say(wire.Sealed(session=peer.session, episode=number, size=900, digest=b"2" * 32, recoveries=1))
    assert [job.digest for job in peer.link.take_jobs() if isinstance(job, Commit)] == [b"2" * 32]


def test_a_commit_after_damage_waits_for_sealed_to_come_again() -> None:
    peer = Peer(new_link())
    transfer = commit_under_way(peer)
    peer.link.arrivals.damaged(transfer.episode, "digest", 0)
    (want,) = peer.do_begins()[:1]
    assert isinstance(want, wire.Want)
    peer.link.written(peer.data(1000, want=want.number), peer.session, 1000, 0)
    assert peer.link.take_jobs() == []
    peer.say(wire.Sealed(session=peer.session, episode=(1).to_bytes(16, "big"), size=1000, digest=bytes(32)))
    assert [type(job) for job in peer.link.take_jobs()] == [Commit]


def commit_under_way(peer: Peer) -> Transfer:
    """Episode 1 of 1000 bytes, of which the store was asked to commit it."""
    peer.hello()
    peer.offer(size=1000)
    peer.do_begins()
    transfer: Transfer = peer.data(1000)
    peer.link.written(transfer, peer.session, 1000, 0)
    peer.say(wire.Sealed(session=peer.session, episode=(1).to_bytes(16, "big"), size=1000, digest=bytes(32)))
    assert [type(job) for job in peer.link.take_jobs()] == [Commit]
    return transfer


def test_a_store_that_cannot_say_what_it_holds_is_busy_and_ends_no_session() -> None:
    trouble: list[str] = []

    def stored(_: object) -> None:
        if trouble:
            raise StoreError(trouble[0])

    counter = itertools.count(100)
    peer = Peer(ServerLink(stored, lambda: next(counter), lambda: 0))
    peer.hello()
    peer.offer(1)
    peer.do_begins()
    trouble.append("the disk is away")
    answers = peer.offer(2)
    (error,) = [m for m in answers if isinstance(m, wire.Error)]
    assert (error.code, error.reason, error.episode) == ("busy", "the disk is away", (2).to_bytes(16, "big"))
    assert error.retry_s > 0
    assert [m for m in peer.offer(1, size=2 << 20) if isinstance(m, wire.Error)] == [], "that is under way already"
    assert peer.data(1000) is not None
    trouble.clear()
    assert not [m for m in peer.offer(2) if isinstance(m, wire.Error)]
    assert [type(job) for job in peer.link.take_jobs()][-1] is Begin


def test_what_an_earlier_run_accepted_is_not_asked_for() -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer(size=1000, recoveries=2)
    (begin,) = [job for job in peer.link.take_jobs() if isinstance(job, Begin)]
    assert (begin.owner, begin.size, begin.recoveries) == (("rig-1", "s", 1), 1000, 2)
    peer.link.arrivals.begun(begin.episode, 0, 700, 2)
    (want,) = [message for _, message in peer.link.take_messages() if isinstance(message, wire.Want)]
    assert want.offset == 700
    transfer = peer.link.arrivals.by_episode[(1).to_bytes(16, "big")]
    peer.link.poll(0)
    assert peer.data(300, offset=700) is transfer
    peer.link.written(transfer, peer.session, 300, 0)
    peer.say(
        wire.Sealed(session=peer.session, episode=(1).to_bytes(16, "big"), size=1000, digest=bytes(32), recoveries=2)
    )
    assert [type(job) for job in peer.link.take_jobs()] == [Commit]


@pytest.mark.parametrize("change", [{"recoveries": 3}, {"size": 600}])
def test_what_an_earlier_run_accepted_of_what_has_changed_is_begun_anew(change: dict[str, int]) -> None:
    peer = Peer(new_link())
    peer.hello()
    peer.offer(size=1000, recoveries=2)
    (begin,) = [job for job in peer.link.take_jobs() if isinstance(job, Begin)]
    peer.offer(**{"size": 1000, "recoveries": 2} | change)
    peer.link.arrivals.begun(begin.episode, 0, 700, 2)
    (again,) = [job for job in peer.link.take_jobs() if isinstance(job, Begin)]
    assert (again.size, again.recoveries) != (begin.size, begin.recoveries)
    assert not [message for _, message in peer.link.take_messages() if isinstance(message, wire.Want)]
    peer.link.arrivals.begun(again.episode, 0)
    (want,) = [message for _, message in peer.link.take_messages() if isinstance(message, wire.Want)]
    assert want.offset == 0
