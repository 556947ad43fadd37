"""What a hostile or mistaken device meets at the server's end of the link."""

import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.errors import PeerViolation, StoreError
from sensorium.link import wire
from sensorium.link.server import flow
from sensorium.link.server.jobs import UNSEEN, Begin, Commit, Drop, LookUp, NoteDiscards
from sensorium.link.server.limits import Limits
from sensorium.link.server.messenger import HeardAnswers, Reported, SessionBegun
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.transfer import Transfer

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


def test_one_key_of_many_sessions_that_hoards_its_credit_leaves_another_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flow, "FIRST_BYTES", 1 << 30)  # there was a way so long that it takes all of the pool
    link = new_link()
    hoarders = [Peer(link, name="greedy") for _ in range(64)]
    for number, peer in enumerate(hoarders):
        peer.hello(spool_id=f"s-{number}")
        link.sessions[peer.session].taken = link.sessions[peer.session].limit = 1 << 30  # it was quick once
        peer.offer(1000 + number, size=1 << 30)
        peer.do_begins()
    assert link.pool.outstanding == link.pool.size // 2
    honest = Peer(link)
    honest.hello()
    link.sessions[honest.session].taken = link.sessions[honest.session].limit = 1 << 30
    honest.offer(1, size=1 << 30)
    honest.do_begins()
    assert link.sessions[honest.session].outstanding == link.pool.size // 8


@pytest.mark.parametrize(
    ("size", "credit", "lives"), [(1, 1 << 20, False), (400, 1 << 20, True), (400, 8 << 20, False)]
)
def test_credit_is_used_at_a_least_rate_or_the_session_is_over(size: int, credit: int, lives: bool) -> None:
    peer = Peer(new_link())
    peer.hello()
    session = peer.link.sessions[peer.session]
    session.taken = session.limit = session.tally.marked = credit
    peer.offer(size=64 << 20)
    peer.do_begins()
    assert session.outstanding == credit
    for turn in range(7):
        peer.now_ns += 10 * SECOND
        transfer = peer.data(size, offset=turn * size)
        if transfer is None:
            break
        peer.link.written(transfer, peer.session, size, peer.now_ns)
        peer.link.poll(peer.now_ns)
    assert bool(peer.link.sessions) is lives


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
    jobs = [job for job in link.take_jobs() if isinstance(job, NoteDiscards)]  # the store does them in their turn
    assert [job.ordinals for job in jobs] == [(number,) for number in range(16)]
    for job in jobs:
        link.ledgered(job.session, job.ordinals, [], 0)
    peer.say(wire.Discarded(session=peer.session, ordinals=(99,), reason="again"))
    assert [job.ordinals for job in link.take_jobs() if isinstance(job, NoteDiscards)] == [(99,)]


def test_full_staging_says_busy_and_not_rejected() -> None:
    peer = Peer(new_link(Limits(staged_bytes=1 << 20)))
    peer.hello()
    peer.offer(1)
    peer.do_begins()
    came = peer.data(1000)
    peer.link.written(came, peer.session, 1000, 0)
    answers = peer.offer(2)
    (error,) = [m for m in answers if isinstance(m, wire.Error)]
    assert (error.code, error.episode) == ("busy", (2).to_bytes(16, "big"))
    assert error.retry_s > 0


def test_who_says_to_be_large_has_no_room_before_it_comes() -> None:
    link = new_link(Limits(staged_bytes=10_000, growing_reserve_bytes=5000))
    greedy, honest = Peer(link, name="greedy"), Peer(link)
    for peer in (greedy, honest):
        peer.hello()
    greedy.offer(7, size=10_000)
    assert not [m for m in honest.offer(1, size=9000) if isinstance(m, wire.Error)]
    honest.do_begins()
    assert link.arrivals.reserved == 0
    came = honest.data(9000)
    assert came is not None
    link.written(came, honest.session, 9000, 0)
    assert link.arrivals.reserved == 9000


def test_of_more_than_there_is_room_for_who_has_most_gives_up_and_those_without_a_session_first() -> None:
    link = new_link(Limits(staged_bytes=10_000, growing_reserve_bytes=1000))
    first, second, third = (Peer(link, name=name) for name in ("rig-1", "rig-2", "rig-3"))
    for number, peer in enumerate((first, second, third), 1):
        peer.hello()
        peer.offer(number, size=10_000, sealed=False)
        peer.do_begins()
    for number, (peer, size) in enumerate([(first, 2000), (second, 5000), (third, 2500)], 1):
        assert taken(peer, number, size)
    assert link.arrivals.reserved == 9500
    assert taken(third, 3, 600, offset=2500)
    assert [transfer.owner[0] for transfer in link.arrivals.leaving.values()] == ["rig-2"]
    assert taken(third, 3, 100, offset=3100), "no second one gives up for the same"
    assert len(link.arrivals.leaving) == 1
    (drop,) = [job for job in link.take_jobs() if isinstance(job, Drop)]
    link.arrivals.dropped(drop.episode, 0)
    assert link.arrivals.reserved == 5200
    link.unreachable(b"r", 0)  # of the three routes, which are one here
    second.hello()
    (error,) = [message for message in second.offer(4, size=5000) if isinstance(message, wire.Error)]
    assert error.code == "busy"
    assert len(link.arrivals.leaving) == 1
    assert next(iter(link.arrivals.leaving.values())).owner[0] in ("rig-1", "rig-3")


def taken(peer: Peer, number: int, size: int, offset: int = 0) -> bool:
    """Whether bytes of an episode were asked for, and are written."""
    header = wire.Data(session=peer.session, episode=number.to_bytes(16, "big"), offset=offset, want=1)
    transfer = peer.link.data(f"{peer.name}/key", header, size, peer.now_ns)
    if transfer is not None:
        peer.link.written(transfer, peer.session, size, peer.now_ns)
    peer.link.poll(peer.now_ns)
    peer.link.take_messages()
    return transfer is not None


@pytest.mark.parametrize(("keys", "each"), [(2, 6), (4, 3), (6, 2), (12, 1)])
def test_places_are_shared_by_keys_however_many_take_them_all(keys: int, each: int) -> None:
    """One that comes and gets none for a while has as many as the others, which give them up one at a time, those of
    which least came. What several sessions of a key have it need not wait for."""
    link = new_link(Limits(open_of_key=6, open_per_session=3, open_transfers=12, placeless_s=5))
    for key in range(keys):
        for first in range(0, each, 3):
            peer = Peer(link, name=f"greedy-{key}")
            peer.hello(spool_id=f"s-{first}")
            for ordinal in range(first, min(first + 3, each)):
                peer.offer(1 + 100 * key + ordinal, ordinal=ordinal, sealed=False)
            peer.do_begins()
    assert set(places(link).values()) == {each}
    before = places(link)
    honest = Peer(link)
    honest.hello()
    gone = 0
    for number in range(5000, 5064):
        honest.offer(number, ordinal=number)
    for second in range(1, 7):
        assert places(link) == before or each > 3
        link.poll(second * 1_000_000_000)
    while jobs := [job for job in link.take_jobs() if isinstance(job, Drop | Begin)]:
        for job in jobs:
            (link.arrivals.dropped if isinstance(job, Drop) else link.arrivals.begun)(job.episode, 0)
        drops = sum(isinstance(job, Drop) for job in jobs)
        assert drops < 2, "one at a time, however many are offered"
        gone += drops
        assert gone < 20, "it comes to an end"
    now = places(link)
    mine = now.pop("rig-1", 0)
    assert sum(now.values()) + mine == 12
    assert gone == mine == min(3, each - 1), "as many as a session may have, or as the others"
    assert all(0 < now[key] <= before[key] for key in before), "of nobody the last one"


def places(link: ServerLink) -> Counter[str]:
    return Counter(t.identity for t in link.arrivals.by_episode.values() if t.active)


def test_places_that_become_free_at_once_go_by_turns_to_those_that_have_the_fewest() -> None:
    link = new_link(Limits(open_per_session=4, open_transfers=4))
    peers = [Peer(link, name=name) for name in ("first", "second", "third")]
    for number, peer in enumerate(peers):
        peer.hello(spool_id=peer.name)
        for ordinal in range(8):
            peer.offer(100 * number + ordinal + 1, ordinal=ordinal, size=1000)
        peer.do_begins()
    assert Counter(t.identity for t in link.arrivals.by_episode.values() if t.active) == {"first": 4}
    for number in range(1, 5):
        assert taken(peers[0], number, 1000)
        episode = number.to_bytes(16, "big")
        peers[0].say(wire.Sealed(session=peers[0].session, episode=episode, size=1000, digest=bytes(32)))
    ended = [(job.episode, job.digest) for job in link.take_jobs() if isinstance(job, Commit)]
    assert len(ended) == 4
    link.arrivals.all_committed(ended, 0)
    active = Counter(t.identity for t in link.arrivals.by_episode.values() if t.active)
    assert sorted(active.values()) == [1, 1, 2], active


def test_what_the_store_may_hold_is_looked_up_by_a_job_and_the_newest_offer_is_answered() -> None:
    numbers = itertools.count(100)
    link = ServerLink(lambda _: UNSEEN, lambda: next(numbers), lambda: 0)
    peer = Peer(link)
    peer.hello()
    link.take_jobs()
    assert peer.offer(1, size=10) == []
    assert peer.offer(1, size=20) == []
    (asked,) = link.take_jobs()
    assert isinstance(asked, LookUp)
    link.looked_up(asked.session, asked.episode, None, 0)
    (begin,) = link.take_jobs()
    assert isinstance(begin, Begin)
    assert begin.size == 20
    peer.offer(2)
    (asked,) = (job for job in link.take_jobs() if isinstance(job, LookUp))
    link.looked_up(asked.session, asked.episode, StoreError("away"), 0)
    (error,) = (message for _, message in link.take_messages() if isinstance(message, wire.Error))
    assert (error.code, error.reason) == ("busy", "away")
    for number in range(3, link.limits.offers + 2):
        peer.offer(number)
    assert link.sessions
    peer.offer(link.limits.offers + 2)
    assert not link.sessions, "what is looked up is offered too"
    link.looked_up(peer.session, asked.episode, None, 0)  # of a session that is over
    assert not link.arrivals.by_episode or all(t.session is None for t in link.arrivals.by_episode.values())


def test_a_flood_of_hellos_is_refused_before_it_costs_anything_and_said_seldom() -> None:
    link = new_link()
    flooding, honest = Peer(link, name="flood"), Peer(link)
    answers = [flooding.hello(nonce=number)[-1] for number in range(1000)]
    assert sum(isinstance(answer, wire.Welcome) for answer in answers) == link.limits.hellos_of_key
    assert isinstance(answers[-1], wire.Error)
    assert answers[-1].code == "busy"
    assert len(link.out.lines) == 1
    assert isinstance(honest.hello()[0], wire.Welcome)
    flooding.now_ns += 10 * SECOND
    assert isinstance(flooding.hello()[-1], wire.Welcome)


def test_discards_of_what_never_was_end_the_session_and_many_wait() -> None:
    link = new_link(Limits(noted_of_key=2000, noted_of_key_a_second=100))
    peer = Peer(link)
    peer.hello(next_ordinal=5000)
    link.take_jobs()
    for first in range(0, 5000, 1000):
        peer.say(wire.Discarded(session=peer.session, ordinals=tuple(range(first, first + 1000)), reason="evicted"))
    jobs = [job for job in link.take_jobs() if isinstance(job, NoteDiscards)]
    assert [job.ordinals[0] for job in jobs] == [0, 1000]
    peer.now_ns += 10 * SECOND
    peer.say(wire.Discarded(session=peer.session, ordinals=tuple(range(2000, 3000)), reason="evicted"))
    assert [job.ordinals[0] for job in link.take_jobs() if isinstance(job, NoteDiscards)] == [2000]
    assert link.sessions
    answers = peer.say(wire.Discarded(session=peer.session, ordinals=(1 << 40,), reason="evicted"))
    assert not link.sessions
    assert [(m.code, "whose next" in m.reason) for m in answers if isinstance(m, wire.Error)] == [("violation", True)]
    assert not link.take_jobs()


def test_notes_of_a_key_are_bounded_over_its_sessions_and_their_ends() -> None:
    link = new_link()
    peer = Peer(link)
    for _ in range(40):
        peer.hello()
        peer.say(wire.Discarded(session=peer.session, ordinals=(1,), reason="evicted"))
    jobs = [job for job in link.take_jobs() if isinstance(job, NoteDiscards)]
    assert len(jobs) == link.limits.notes_of_key
    for job in jobs:
        link.ledgered(job.session, job.ordinals, [], 0)
    peer.say(wire.Discarded(session=peer.session, ordinals=(1,), reason="evicted"))
    assert len([job for job in link.take_jobs() if isinstance(job, NoteDiscards)]) == 1


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
    peer.link.arrivals.all_committed([(transfer.episode, bytes(32))], peer.now_ns)
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


def test_of_what_a_session_says_of_itself_the_last_waits_and_as_it_came() -> None:
    link = new_link()
    peers = [Peer(link) for _ in range(3)]
    for number, peer in enumerate(peers):
        peer.hello(spool_id=f"s-{number}", directives=1)
    large: list[list[object]] = [[] for _ in range(1000)]
    for turn in range(50):
        for peer in peers:
            said = [{"id": f"{turn}-{number}", "state": "done"} for number in range(32)]
            document = {"device": {"state": str(turn), "x": large}, "directives": said}
            peer.say(wire.Status(session=peer.session, document=document))
    heard = link.messenger.take_heard()
    assert [type(each) for each in heard] == [SessionBegun] * 3 + [HeardAnswers] * 3 + [Reported] * 3
    reports = [each for each in heard if isinstance(each, Reported)]
    assert [each.document for each in reports] == [{"state": "49", "x": large}] * 3
    assert all(isinstance(each.said, bytes) and len(each.said) < 1100 for each in reports)
    answers = [each.answers for each in heard if isinstance(each, HeardAnswers)]
    assert [[each.id for each in some] for some in answers] == [[f"49-{number}" for number in range(32)]] * 3
    assert not link.messenger.take_heard()
    (error,) = peers[0].say(wire.Status(session=peers[0].session, document={"directives": [*said, said[0]]}))
    assert isinstance(error, wire.Error)
    assert (error.code, "33 directives, at most 32" in error.reason) == ("violation", True)
