"""What entitles a spool to delete: its own sealed episode, with its digest. An ingest that is wrong costs nothing."""

from collections.abc import Callable
from uuid import UUID

import pytest
import uuid_utils

from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.spool_end import SpoolEnd
from sensorium.drivers.clock import boottime_ns
from sensorium.episode.documents import Account
from sensorium.link import wire
from sensorium.link.device.protocol import DeviceLink
from tests.agents.building import begin, chunk


def sealed(spool: Spool) -> tuple[UUID, bytes]:
    episode, file = begin(spool)
    file.append(*chunk(0))
    file.seal("complete", {"imu": 1}, {"imu": Account(captured=1, stored=1)}, {}, 10**9)
    spool.flush()
    return episode, next(waiting.digest for waiting in spool.waiting() if waiting.episode == episode)


def growing(spool: Spool) -> tuple[UUID, bytes]:
    episode, file = begin(spool)
    file.append(*chunk(0))
    spool.flush()
    return episode, bytes(32)


def unknown(_: Spool) -> tuple[UUID, bytes]:
    return UUID(bytes=uuid_utils.uuid7().bytes), bytes(32)


def other_digest(spool: Spool) -> tuple[UUID, bytes]:
    return sealed(spool)[0], b"x" * 32


def given_up_unsealed(spool: Spool) -> tuple[UUID, bytes]:
    episode, digest = growing(spool)
    spool.discard(episode, "by hand", "discarded")
    return episode, digest


def no_digest(spool: Spool) -> tuple[UUID, bytes]:
    return growing(spool)[0], b""


Make = Callable[[Spool], tuple[UUID, bytes]]


@pytest.mark.parametrize("make", [growing, unknown, other_digest, given_up_unsealed, no_digest])
def test_a_commit_that_is_not_of_what_was_sealed_here_changes_nothing(
    spool: Spool, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    episode, digest = make(spool)
    before = (spool.waiting(), spool.counts(), spool.discards(), spool.used_bytes())
    assert not spool.committed(episode, digest)
    assert (spool.waiting(), spool.counts(), spool.discards(), spool.used_bytes()) == before
    assert str(episode) in caplog.messages[-1]


def test_what_grows_is_recorded_on_whatever_an_ingest_says(spool: Spool) -> None:
    episode, file = begin(spool)
    file.append(*chunk(0))
    spool.flush()
    assert not spool.committed(episode, bytes(32))
    file.append(*chunk(1))
    file.seal("complete", {"imu": 2}, {"imu": Account(captured=2, stored=2)}, {}, 10**9)
    spool.flush()
    (waiting,) = spool.waiting()
    assert waiting.sealed
    assert spool.committed(episode, waiting.digest)
    assert spool.counts() == {"pending": 0, "committed": 1, "discarded": 0}


def test_said_twice_is_no_error(spool: Spool) -> None:
    episode, digest = sealed(spool)
    assert spool.committed(episode, digest)
    assert spool.committed(episode, b"y" * 32)
    assert spool.counts()["committed"] == 1


def test_said_twice_in_one_word_is_taken_back_once(spool: Spool) -> None:
    kept, taken_back, growing_one = sealed(spool), sealed(spool), growing(spool)
    spool.discard(taken_back[0], "by hand", "discarded")
    said = [kept, taken_back, (kept[0], b"y" * 32), growing_one, kept, taken_back]
    assert spool.committed_all(said) == [kept[0], taken_back[0]] * 2
    assert spool.counts() == {"pending": 1, "committed": 2, "discarded": 0}
    told = spool.between_totals().streams
    assert all(account == Account() for account in told.values()), "its samples are in it, and taken back once"


def test_only_what_was_discarded_can_be_ledgered(spool: Spool) -> None:
    kept, _ = sealed(spool)
    spool.ledgered([0])
    spool.discard(kept, "evicted", "evicted")
    assert spool.discards() == [("evicted", [0])]
    spool.ledgered([0])
    assert spool.discards() == []


@pytest.mark.parametrize("make", [growing, unknown, other_digest, given_up_unsealed, no_digest])
def test_an_ingest_that_lies_over_the_link_deletes_nothing(spool: Spool, make: Make) -> None:
    now_ns = boottime_ns()
    end = SpoolEnd(spool)
    link = DeviceLink("rig", spool.spool_id, "boot", spool.ordinals, end.probes, lambda: 0.5)
    link.poll(now_ns)
    hello = next(message for message in link.take_messages() if isinstance(message, wire.Hello))
    link.receive(wire.Welcome(session=9, nonce=hello.nonce), now_ns)
    episode, digest = make(spool)
    end.begin()
    end.offer(link, now_ns)
    before = (spool.waiting(), spool.counts(), spool.used_bytes())
    link.receive(wire.Committed(session=9, episode=episode.bytes, ordinal=0, digest=digest), now_ns)
    link.receive(wire.Ledgered(session=9, ordinals=(0, 1, 2)), now_ns)
    for job in link.take_jobs():
        end.do(job, link)
    assert (spool.waiting(), spool.counts(), spool.used_bytes()) == before
    assert end.committed == 0
    end.begin()
    end.offer(link, now_ns)
    offered = {message.episode for message in link.take_messages() if isinstance(message, wire.Offer)}
    assert offered == {waiting.episode.bytes for waiting in spool.waiting()}
