"""The pumps take what is there at once, in its order; of one episode one message at a time is under way."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import zmq

from sensorium.ingest.pumps import AT_ONCE, BulkPump, ControlPump, Shared
from sensorium.ingest.sockets import Router
from sensorium.ingest.staging import Staging
from sensorium.link import wire
from sensorium.link.server.allowance import Allowance
from sensorium.link.server.jobs import Begin, StoreJob
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.transfer import TAKING, Transfer
from sensorium.link.wake import Wake
from sensorium.link.zap import Refusals

ROUTE = b"a route"
EPISODES = [bytes([0] * 15 + [number]) for number in range(3)]


class Arrived:
    """A socket in which these messages are."""

    def __init__(self) -> None:
        self.messages: deque[list[bytes]] = deque()

    def frames(self) -> tuple[bytes, list[zmq.Frame]]:
        if not self.messages:
            raise zmq.Again
        route, *parts = self.messages.popleft()
        return route, [zmq.Frame(part) for part in parts]


class Appending:
    """Staging that appends at once, and says what."""

    def __init__(self, link: ServerLink, lock: threading.Lock) -> None:
        self.link, self.lock = link, lock
        self.appended: list[tuple[bytes, int, bytes]] = []
        self.jobs: list[StoreJob] = []

    def run(self, jobs: list[StoreJob]) -> None:
        assert not self.lock.locked(), "jobs are run without the lock"
        self.jobs += jobs

    def append(self, came: Sequence[tuple[Transfer, int, memoryview]]) -> None:
        assert not self.lock.locked(), "bytes are written without the lock"
        for transfer, session, data in came:
            self.appended.append((transfer.offer.episode, transfer.accepted, bytes(data)))
            self.link.written(transfer, session, len(data), 0)


class Bench:
    """A link with a session, without sockets."""

    def __init__(self) -> None:
        self.socket = Arrived()
        self.link = ServerLink(lambda _: None, lambda: 7, lambda: 0, secure=False)
        lock = threading.Lock()
        self.staging = Appending(self.link, lock)
        self.wake = Wake()
        self.shared = Shared(
            self.link, lock, cast(Staging, self.staging), None, Refusals(), self.wake, threading.Event()
        )
        self.control = ControlPump(self.shared, cast(Any, self.socket), [])
        self.bulk = BulkPump(self.shared, cast(Any, self.socket))
        hello = wire.Hello(session=0, version=wire.VERSION, nonce=1, device="rig", spool_id="spool")
        self.say(hello)

    def say(self, *messages: wire.Message | bytes) -> None:
        """What came on control is taken, all of it."""
        for message in messages:
            frame = message if isinstance(message, bytes) else wire.encode(message)
            self.socket.messages.append([ROUTE, frame])
        while self.socket.messages:
            before = len(self.socket.messages)
            self.control._receive()
            assert before - len(self.socket.messages) <= AT_ONCE, "answers are let out in between"

    def begin(self, size: int) -> dict[bytes, wire.Want]:
        """All episodes are offered, and wanted."""
        for ordinal, episode in enumerate(EPISODES):
            self.say(wire.Offer(session=7, episode=episode, ordinal=ordinal, size=size))
        for job in self.staging.jobs:
            if isinstance(job, Begin):
                self.link.arrivals.begun(job.episode, 0)
        self.link.poll(1)
        said = [message for _, message in self.link.take_messages()]
        return {message.episode: message for message in said if isinstance(message, wire.Want)}

    def data(self, want: wire.Want, offset: int, payload: bytes) -> list[bytes]:
        """DATA, as it comes on bulk."""
        message = wire.Data(session=7, episode=want.episode, offset=offset, want=want.number)
        return [ROUTE, wire.encode(message), payload]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.wake.close()


@pytest.mark.parametrize("order", [[0, 0, 0, 1, 2, 0], [0, 1, 2] * 70, [2] * 200])
def test_what_came_of_one_episode_is_written_in_turn_and_nothing_is_asked_for_twice(
    bench: Bench, order: list[int]
) -> None:
    wants = bench.begin(size=10 * len(order))
    at = dict.fromkeys(EPISODES, 0)
    for number, which in enumerate(order):
        episode, payload = EPISODES[which], number.to_bytes(10, "big")
        bench.socket.messages.append(bench.data(wants[episode], at[episode], payload))
        at[episode] += 10
    assert bench.bulk._receive(0) == 10 * len(order)
    for which, episode in enumerate(EPISODES):
        mine = [(offset, data) for written, offset, data in bench.staging.appended if written == episode]
        sent = [number.to_bytes(10, "big") for number, each in enumerate(order) if each == which]
        assert mine == [(10 * n, data) for n, data in enumerate(sent)]
        assert bench.link.arrivals.by_episode[episode].state is TAKING
    assert bench.link.out.counters["dropped_bytes"] == 0
    assert bench.link.out.counters["violations"] == 0


def test_what_is_no_data_costs_none_of_what_came_with_it(bench: Bench) -> None:
    wants = bench.begin(size=100)
    probe = wire.encode(wire.Probe(session=7, sent_ns=1))
    good = [bench.data(want, 0, b"x" * 10) for want in wants.values()]
    bad = [[ROUTE, probe, b""], [ROUTE, b"rubbish", b""], [ROUTE, probe]]
    for pair in zip(good, bad, strict=True):
        bench.socket.messages.extend(pair)
    bench.bulk._receive(0)
    assert [data for _, _, data in bench.staging.appended] == [b"x" * 10] * 3
    assert bench.link.out.counters["violations"] == 3


def test_who_says_much_all_the_time_is_not_decoded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.link.take_messages()
    bench.control._large = Allowance(most=2 << 20, a_second=0)  # however long this takes
    decoded: list[int] = []
    real = wire.decode_from_device

    def decode(frame: Any) -> wire.DeviceMessage:
        decoded.append(len(frame))
        return real(frame)

    monkeypatch.setattr(wire, "decode_from_device", decode)
    much = wire.encode(wire.Status(session=7, document={"what": "x" * 60_000}))
    bench.say(*[much] * 200)
    assert (2 << 20) - len(much) < sum(decoded) <= 2 << 20
    errors = [message for _, message in bench.link.take_messages() if isinstance(message, wire.Error)]
    (ended,) = [message for message in errors if message.code == "violation"]
    assert "512 KiB a second of messages over 1024 bytes" in ended.reason
    bench.say(wire.Hello(session=0, version=wire.VERSION, nonce=1, device="rig", spool_id="spool"))
    bench.say(*[wire.Probe(session=7, sent_ns=1)] * 1000)
    said = [type(message) for _, message in bench.link.take_messages()]
    assert said == [wire.Welcome, *[wire.ProbeReply] * 1000], "small ones are no trouble"


def test_control_is_taken_in_its_order_with_what_is_not_understood(bench: Bench) -> None:
    bench.link.take_messages()
    probes = [wire.Probe(session=7, sent_ns=number) for number in range(3 * AT_ONCE)]
    unknown = b"\x82\xa1t\xa5later\xa7session\x07"
    bench.say(*probes[:70], unknown, *probes[70:])
    said = [message for _, message in bench.link.take_messages()]
    assert [message.sent_ns for message in said if isinstance(message, wire.ProbeReply)] == list(range(3 * AT_ONCE))
    assert [number for number, message in enumerate(said) if isinstance(message, wire.Error)] == [70]
    bench.say(probes[0], b"rubbish", probes[1])
    said = [message for _, message in bench.link.take_messages()]
    assert isinstance(said[0], wire.ProbeReply)
    assert [message.code for message in said[1:] if isinstance(message, wire.Error)] == ["violation", "session"]


def test_bulk_that_is_found_empty_is_told_to_the_pool(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else who hoards credit, and sends nothing, would seem to be read from."""
    told = threading.Event()

    def read(_: int, *, drained: bool) -> None:
        if drained:
            told.set()

    monkeypatch.setattr(bench.link.pool, "read", read)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = Router(context, zmq.ROUTER)
    pump = threading.Thread(target=BulkPump(bench.shared, socket).run)
    pump.start()
    try:
        assert told.wait(60)
    finally:
        bench.shared.stop.set()
        pump.join()
        context.destroy(linger=0)
