"""What the device's end of the link does with a spool and a server that go at their own pace, or wrong."""

import uuid
from dataclasses import dataclass, replace

import pytest

from sensorium.errors import LinkMisused, PeerViolation
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.offer import OfferState
from sensorium.link.device.protocol import DeviceLink

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
    assert link.take_jobs() == [jobs.Disconnect("the connection was cut")]
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
