"""What the device's end of the link does with a spool and a server that go at their own pace, or wrong."""

import math
import uuid
from dataclasses import dataclass, replace

import pytest

from sensorium.errors import LinkMisused, PeerViolation
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.offer import OfferState
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.device.window import FlowWindow

SECOND = 1_000_000_000
NUMBER = 9
EPISODE = uuid.UUID(int=1)


@dataclass(frozen=True)
class Item:
    """What a spool says of an episode."""

    size: int
    sealed: bool = True
    digest: bytes = bytes(32)
    recoveries: int = 0
    episode: uuid.UUID = EPISODE
    ordinal: int = 0
    priority: float = 1.0
    value: float = 0.0
    boot_id: str | None = None
    start_ns: int = 0
    end_ns: int = 0


def up() -> DeviceLink:
    """A link with a session and a megabyte of credit."""
    link = DeviceLink("rig-1", "s", "b", lambda: (0, 1), lambda _: [], lambda: 0.5)
    link.poll(0)
    (hello,) = link.take_messages()
    assert isinstance(hello, wire.Hello)
    link.receive(wire.Welcome(session=NUMBER, nonce=hello.nonce), 0)
    link.receive(wire.Credit(session=NUMBER, limit=1 << 20, taken=0), 0)
    link.take_jobs()
    return link


def want(link: DeviceLink, offset: int = 0, number: int = 1) -> None:
    link.receive(wire.Want(session=NUMBER, episode=EPISODE.bytes, offset=offset, number=number), 0)


@pytest.mark.parametrize("retry_s", [math.nan, math.inf, -math.inf, 1e300, -1.0, 0.0])
def test_an_episode_is_put_off_for_a_sane_time_whatever_the_ingest_says(retry_s: float) -> None:
    link = up()
    link.refresh([Item(1000)], 0)
    link.take_messages()
    said = wire.encode(wire.Error(session=NUMBER, code="busy", reason="x", episode=EPISODE.bytes, retry_s=retry_s))
    message = wire.decode_from_server(said)
    link.receive(message, 0)
    assert link.is_up
    link.refresh([Item(1000)], 3601 * SECOND)
    assert [type(message) for message in link.take_messages()] == [wire.Offer]


@pytest.mark.parametrize("episode", [b"x", bytes(15)])
def test_an_error_of_a_short_id_ends_the_session_and_no_more(episode: bytes) -> None:
    link = up()
    link.receive(wire.Error(session=NUMBER, code="busy", reason="x", episode=episode), 0)
    assert not link.is_up
    assert any(isinstance(job, jobs.Disconnect) and "id of" in job.why for job in link.take_jobs())


def send_all(link: DeviceLink, now_ns: int = 0) -> int:
    count = 0
    while (due := link.next_data(now_ns)) is not None:
        link.sent(*due, now_ns)
        count += due[1]
    return count


def said(link: DeviceLink) -> list[str]:
    return [type(message).__name__ for message in link.take_messages()]


def state(link: DeviceLink) -> OfferState:
    (offer,) = link._departures.open.values()
    return offer.state


def test_an_episode_whose_seal_is_noted_after_its_last_byte_was_sent_is_told_as_sealed() -> None:
    link = up()
    link.refresh([Item(1000, sealed=False)], 0)
    want(link)
    assert send_all(link) == 1000
    assert state(link) is OfferState.LEVEL
    assert said(link) == ["Offer"]
    for _ in range(2):
        link.refresh([Item(1000)], 0)
    assert said(link) == ["Offer", "Sealed"]
    assert state(link) is OfferState.SEALED


def test_a_file_that_grows_is_sent_as_it_grows() -> None:
    link = up()
    link.refresh([Item(1000, sealed=False)], 0)
    want(link)
    assert send_all(link) == 1000
    link.refresh([Item(1500, sealed=False)], 0)
    assert send_all(link) == 500
    link.refresh([Item(1600)], 0)
    assert send_all(link) == 100
    assert said(link) == ["Offer", "Offer", "Offer", "Sealed"]


def test_what_the_spool_cannot_read_is_left_alone_for_a_while() -> None:
    link = up()
    link.refresh([Item(1000)], 0)
    want(link)
    due = link.next_data(0)
    assert due is not None
    link.pause(due[0], 0)
    assert link.next_data(4 * SECOND) is None
    want(link, 500, 2)  # that is no reason to try sooner
    assert link.next_data(4 * SECOND) is None
    assert send_all(link, 5 * SECOND) == 500
    assert said(link) == ["Offer", "Sealed"]


def test_a_pause_after_which_nothing_is_left_to_send_ends_in_sealed() -> None:
    link = up()
    link.refresh([Item(1000)], 0)
    want(link)
    due = link.next_data(0)
    assert due is not None
    link.pause(due[0], 0)
    want(link, 1000, 2)
    assert link.next_data(5 * SECOND) is None
    assert said(link) == ["Offer", "Sealed"]


def test_a_server_that_wants_bytes_from_beyond_the_end_is_told_the_end() -> None:
    link = up()
    link.refresh([Item(1000)], 0)
    want(link, 2000)
    assert send_all(link) == 0
    _, sealed = link.take_messages()
    assert isinstance(sealed, wire.Sealed)
    assert sealed.size == 1000


def test_a_recovered_file_is_offered_anew_and_waits_to_be_wanted() -> None:
    link = up()
    link.refresh([Item(1000)], 0)
    want(link)
    assert send_all(link) == 1000
    want(link, 0, 2)
    assert [type(job) for job in link.take_jobs()] == [jobs.Recheck]
    link.refresh([Item(800, recoveries=1)], 0)
    assert send_all(link) == 0
    want(link, 0, 3)
    assert link.take_jobs() == []
    assert send_all(link) == 800
    assert said(link) == ["Offer", "Sealed", "Offer", "Sealed"]


def test_a_sealed_file_that_changes_is_a_fault_of_this_side() -> None:
    link = up()
    link.refresh([Item(1000)], 0)
    want(link)
    send_all(link)
    with pytest.raises(LinkMisused, match=r"offer: GREW .* in state SEALED"):
        link.refresh([Item(2000)], 0)


def test_a_second_welcome_is_a_fault_of_the_ingest() -> None:
    link = up()
    with pytest.raises(PeerViolation, match=r"link: WELCOMED .* in state UP, expected in GREETING"):
        link.receive(wire.Welcome(session=NUMBER, nonce=0), 0)


def test_two_connections_that_are_cut_are_one_loss() -> None:
    link = up()
    link.lost("the connection was cut", 0)
    link.lost("the connection was cut", 0)
    assert link.take_jobs() == [jobs.Disconnect("the connection was cut", "the connection was cut")]
    assert link._failures == 1


def test_what_was_put_off_is_offered_again_when_its_time_has_come() -> None:
    link = up()
    item = Item(1000)
    link.refresh([item], 0)
    link.receive(wire.Error(session=NUMBER, code="busy", reason="full", episode=item.episode.bytes, retry_s=5.0), 0)
    link.refresh([item], 4 * SECOND)
    assert said(link) == ["Offer"]
    link.refresh([item], 5 * SECOND)
    link.refresh([replace(item)], 6 * SECOND)
    assert said(link) == ["Offer"]


def passes(link: DeviceLink, from_s: float, to_s: float) -> list[object]:
    """Time passes while the server answers probes; what is to be done then."""
    asked: list[object] = []
    for second in range(int(from_s), int(to_s) + 1):
        now_ns = second * SECOND
        link.poll(now_ns)
        for message in link.take_messages():
            if isinstance(message, wire.Probe):
                reply = wire.ProbeReply(session=NUMBER, sent_ns=message.sent_ns, server_received_ns=0, server_sent_ns=0)
                link.receive(reply, now_ns)
        asked += link.take_jobs()
    return [job for job in asked if isinstance(job, jobs.Disconnect)]


def test_an_episode_that_was_sent_whole_and_has_no_answer_renews_the_session() -> None:
    link = up()
    link.refresh([Item(1000)], 0)
    want(link)
    sent = send_all(link)
    link.receive(wire.Credit(session=NUMBER, limit=1 << 20, taken=sent), 0)
    assert passes(link, 1, 60) == []
    (why,) = [job.why for job in passes(link, 61, 62) if isinstance(job, jobs.Disconnect)]
    assert str(EPISODE) in why
    assert "60 s" in why
    assert link.unanswered == 1
    assert not link.is_up


def test_one_that_has_no_answer_counts_though_others_have() -> None:
    link = up()
    other = uuid.UUID(int=2)
    link.refresh([Item(1000), Item(1000, episode=other, ordinal=1)], 0)
    want(link)
    link.receive(wire.Credit(session=NUMBER, limit=1 << 20, taken=send_all(link)), 0)
    for second in range(1, 60):
        assert passes(link, second, second) == []
        link.receive(wire.Want(session=NUMBER, episode=other.bytes, offset=0, number=second), second * SECOND)
    assert len(passes(link, 60, 61)) == 1


def test_what_is_on_its_way_is_not_waited_for_in_vain() -> None:
    """On a slow link the answer may take long: the time counts from when the server has it all."""
    link = up()
    link.refresh([Item(100_000)], 0)
    want(link)
    sent = 0
    for second in range(1, 400):  # 340 bytes a second are taken in
        sent += send_all(link, second * SECOND)
        taken = min(sent, 340 * second)
        link.receive(wire.Credit(session=NUMBER, limit=1 << 20, taken=taken), second * SECOND)
        if taken == 100_000:
            break
        assert passes(link, second, second) == []
    assert passes(link, second, second + 59) == []
    assert len(passes(link, second + 60, second + 62)) == 1


def test_an_offer_may_wait_for_others_but_not_for_nothing() -> None:
    link = up()
    link.refresh([Item(1000)], 0)
    other = uuid.UUID(int=2)
    link.refresh([Item(1000), Item(1000, episode=other, ordinal=1)], 0)
    for second in range(1, 200, 40):  # the other one is dealt with, this one is not
        link.receive(wire.Want(session=NUMBER, episode=other.bytes, offset=0, number=second), second * SECOND)
        assert passes(link, second, second + 39) == []
        link.receive(wire.Credit(session=NUMBER, limit=1 << 20, taken=link._session.sent), (second + 39) * SECOND)
    assert link.unanswered == 0
    passes(link, 201, 262)
    assert link.unanswered == 1


def test_a_growing_episode_and_one_that_cannot_be_read_have_no_answer_to_wait_for() -> None:
    link = up()
    link.refresh([Item(1000, sealed=False)], 0)
    want(link)
    link.receive(wire.Credit(session=NUMBER, limit=1 << 20, taken=send_all(link)), 0)
    assert passes(link, 1, 300) == []


def test_credit_that_comes_back_in_crumbs_is_not_sent_in_crumbs() -> None:
    link = up()
    link.refresh([Item(4 << 20)], 0)
    want(link)
    link._session.window.size = 1 << 20  # messages are of 256 KiB
    sizes: list[int] = []
    for taken in range(0, 1_000_000, 50_000):
        link.receive(wire.Credit(session=NUMBER, limit=(1 << 20) + taken, taken=taken), SECOND)  # as much in flight
        while (due := link.next_data(0)) is not None:
            link.sent(*due, 0)
            sizes.append(due[1])
    assert sizes[:4] == [256 << 10] * 4
    assert len(sizes) == 10
    assert min(sizes) >= 128 << 10


@pytest.mark.parametrize(("limit", "sent"), [(16_384 + 5000, [5000]), (16_384 + 4095, [])])
def test_where_nothing_is_in_flight_what_credit_there_is_is_used(limit: int, sent: list[int]) -> None:
    link = up()
    link.refresh([Item(1 << 20)], 0)
    want(link)
    link._session.window.size = 1 << 20  # messages are of 256 KiB
    link._session.limit = 16_384
    due = link.next_data(0)
    assert due is not None
    assert due[1] == 16_384
    link.sent(*due, 0)
    link.receive(wire.Credit(session=NUMBER, limit=limit, taken=16_383), 0)
    assert link.next_data(0) is None  # a byte is in flight: more is to come
    link.receive(wire.Credit(session=NUMBER, limit=limit, taken=16_384), 0)
    found = link.next_data(0)
    assert ([] if found is None else [found[1]]) == sent


@pytest.mark.parametrize(("delay_s", "size"), [(0.2, 64 << 10), (0.5, 32 << 10), (1.5, 16 << 10), (4.0, 6 << 10)])
def test_what_is_in_flight_grows_so_far_that_it_comes_through_in_time(delay_s: float, size: int) -> None:
    window = FlowWindow()
    window.sent(16 << 10, 0)
    window.limited = True
    window.taken(16 << 10, int(delay_s * SECOND))
    assert window.size == max(size, 8 << 10)
