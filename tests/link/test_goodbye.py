"""An ingest that stops says so to each device; what goes well is said where somebody listens."""

from uuid import UUID

from sensorium.link import wire
from sensorium.link.server.jobs import Begin, Commit
from sensorium.link.server.protocol import ServerLink

EPISODE = bytes(15) + b"\1"
SECOND = 1_000_000_000


def link_of(*names: str) -> ServerLink:
    """A link with a session of each of these devices, 1, 2, ..."""
    numbers = iter(range(1, 10))
    link = ServerLink(lambda _: None, lambda: next(numbers), lambda: 0)
    link.out.listens = True
    for name in names:
        hello(link, name)
    link.take_messages()
    return link


def hello(link: ServerLink, name: str) -> None:
    about = wire.Hello(session=0, version=wire.VERSION, nonce=1, device=name, spool_id="spool")
    link.receive(name.encode(), f"{name}/key", about, 0)


def begun(link: ServerLink, session: int) -> None:
    """Half of the episode is there."""
    link.receive(b"rig-1", "rig-1/key", wire.Offer(session=session, episode=EPISODE, ordinal=0, size=20), 0)
    assert [type(job) for job in link.take_jobs()[-1:]] == [Begin]
    link.arrivals.begun(UUID(bytes=EPISODE), 0)
    link.poll(0)
    data = wire.Data(session=session, episode=EPISODE, offset=0, want=1)
    transfer = link.data("rig-1/key", data, 10, 0)
    assert transfer is not None
    link.written(transfer, session, 10, 0)


def test_an_ingest_that_stops_tells_each_device_and_keeps_what_came() -> None:
    link = link_of("rig-1", "rig-2")
    begun(link, 1)
    link.take_messages()
    link.stop(SECOND)
    said = [(route, message.code) for route, message in link.take_messages() if isinstance(message, wire.Error)]
    assert said == [(b"rig-1", "stopped"), (b"rig-2", "stopped")]
    assert not link.sessions
    assert link.pool.outstanding == 0
    assert list(link.out.lines) == []  # its operator knows
    assert link.out.counters["sessions_ended"] == 0
    assert link.arrivals.by_episode[EPISODE].accepted == 10
    hello(link, "rig-1")  # as if it had not: what it had is gone on with
    link.take_messages()
    link.receive(b"rig-1", "rig-1/key", wire.Offer(session=3, episode=EPISODE, ordinal=0, size=20), 0)
    wants = [message for _, message in link.take_messages() if isinstance(message, wire.Want)]
    assert [want.offset for want in wants] == [10]


def test_who_comes_and_what_is_committed_is_said_where_somebody_listens() -> None:
    link = link_of("rig-1")
    assert link.out.notes == ["device 'rig-1': session of spool spool"]
    begun(link, 1)
    transfer = link.data("rig-1/key", wire.Data(session=1, episode=EPISODE, offset=10, want=1), 10, 0)
    assert transfer is not None
    link.written(transfer, 1, 10, 0)
    link.receive(b"rig-1", "rig-1/key", wire.Sealed(session=1, episode=EPISODE, size=20, digest=bytes(32)), 0)
    assert [type(job) for job in link.take_jobs()] == [Commit]
    link.arrivals.all_committed([(UUID(bytes=EPISODE), bytes(32))], 0)
    assert link.out.notes[1:] == [f"rig-1: episode {UUID(bytes=EPISODE)} committed, 20 bytes"]
    quiet = link_of()
    quiet.out.listens = False
    hello(quiet, "rig-1")
    assert quiet.out.notes == []
