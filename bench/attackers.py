"""Attackers: what one device with an allowed key may say to have all of an ingest, each a loop that never ends.

They speak the protocol by bare sockets, keep its rules as far as that costs others most, and say so much a second that
it is not their own CPU which others miss.
"""

import itertools
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import uuid_utils
import zmq
from measuring import Server

from sensorium.link import wire

HUGE, GROWN = 64 << 30, 1 << 30
SLOW_S = 10.0
A_SECOND = 2000
"""Messages of who floods."""


@dataclass
class Session:
    """A session by bare sockets; `wants` are the last WANT by episode, `limit` is the credit."""

    server: Server
    device: str
    spool_id: str
    next_ordinal: int = 0
    number: int = 0
    limit: int = 0
    sent: int = 0
    wants: dict[bytes, wire.Want] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        host, _, port = self.server.url.rpartition(":")
        self._control, self._bulk = (self._dealer(f"{host}:{int(port) + n}") for n in (0, 1))

    def _dealer(self, url: str) -> "zmq.Socket[bytes]":
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        pair = self.server.pairs[self.device]
        socket.curve_serverkey = self.server.server_key.encode()
        socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
        socket.linger = 0
        socket.connect(url)
        return socket

    def say(self, message: wire.Message) -> None:
        self._control.send(wire.encode(message))

    def hello(self, nonce: int = 1, **change: object) -> None:
        about = {"device": self.device, "spool_id": self.spool_id, "next_ordinal": self.next_ordinal} | change
        self.say(wire.Hello(session=0, version=wire.VERSION, nonce=nonce, **about))  # type: ignore[arg-type]

    def hear(self, timeout_ms: int = 0) -> None:
        """Take what has come."""
        while self._control.poll(timeout_ms):
            timeout_ms = 0
            message = wire.decode_from_server(self._control.recv())
            if isinstance(message, wire.Welcome):
                self.number, self.limit, self.sent = message.session, 0, 0
                self.wants.clear()
            elif isinstance(message, wire.Want):
                self.wants[message.episode] = message
            elif isinstance(message, wire.Credit):
                self.limit = message.limit
            elif isinstance(message, wire.Error) and not message.episode:
                self.number = 0

    def begin(self) -> bool:
        """Have a session; whether there is one."""
        if not self.number:
            self.hello()
            self.hear(2000)
        return bool(self.number)

    def offer(self, ordinal: int, size: int, **more: object) -> bytes:
        episode = uuid.UUID(str(uuid_utils.uuid7())).bytes
        about = {"episode": episode, "ordinal": ordinal, "size": size} | more
        self.say(wire.Offer(session=self.number, **about))  # type: ignore[arg-type]
        return episode

    def send(self, size: int) -> int:
        """Bytes of what is wanted, no record of any episode, as far as there is credit."""
        for want in list(self.wants.values()):
            size = min(size, self.limit - self.sent)
            if size > 0:
                data = wire.Data(session=self.number, episode=want.episode, offset=want.offset, want=want.number)
                self._bulk.send_multipart([wire.encode(data), bytes(size)])
                self.sent += size
                return size
        return 0


def of(server: Server, device: str, count: int) -> list[Session]:
    """So many sessions, each of a spool of its own."""
    return [Session(server, device, f"{os.getpid()}-{number}") for number in range(count)]


def claims_all(server: Server, device: str) -> Iterator[None]:
    """One offer of 64 GiB, of which nothing comes."""
    (one,) = of(server, device, 1)
    while True:
        if not one.number and one.begin():
            one.offer(0, HUGE)
        one.hear(100)
        yield


def holds_places(server: Server, device: str, sessions: int = 33, offers: int = 8) -> Iterator[None]:
    """Sessions that offer much, and send a byte now and then: of all places, and of the credit, as much as there is."""
    all_of_them = of(server, device, sessions)
    due_s = 0.0
    while True:
        for one in all_of_them:
            if not one.number and one.begin():
                for ordinal in range(offers):
                    one.offer(ordinal, GROWN, sealed=False)
            one.hear()
        if time.monotonic() > due_s:
            due_s = time.monotonic() + SLOW_S
            for one in all_of_them:
                one.send(1)
        time.sleep(0.05)
        yield


def holds_more(server: Server, device: str) -> Iterator[None]:
    """64 sessions of 64 offers each, which grow."""
    return holds_places(server, device, sessions=64, offers=64)


def sends_beyond(server: Server, device: str) -> Iterator[None]:
    """More than was offered, in sessions that this ends, each of which begins anew at once."""
    all_of_them = of(server, device, 8)
    ordinals = itertools.count()
    while True:
        for one in all_of_them:
            if not one.number and one.begin():
                one.offer(next(ordinals), 1000)
            one.hear()
            one.limit = HUGE  # whatever credit there is
            one.send(1 << 16)
        time.sleep(0.01)
        yield


def floods(
    server: Server, device: str, say: Callable[[Session, int], None], spools: int = 1, next_ordinal: int = 0
) -> Iterator[None]:
    """What `say` says, so often a second, in sessions of spools that have given out ordinals up to the next."""
    all_of_them = of(server, device, spools)
    for one in all_of_them:
        one.next_ordinal = next_ordinal
    numbers = itertools.count()
    while True:
        began = time.monotonic()
        for one in all_of_them:
            one.begin()
        for number in itertools.islice(numbers, A_SECOND // 10):
            say(all_of_them[number % spools], number)
        for one in all_of_them:
            one.hear()
        time.sleep(max(0.0, 0.1 - (time.monotonic() - began)))
        yield


def hellos(server: Server, device: str) -> Iterator[None]:
    """HELLO after HELLO."""
    return floods(server, device, lambda one, number: one.hello(nonce=number))


def hellos_of_others(server: Server, device: str) -> Iterator[None]:
    """HELLOs that cannot be, each a line in the log if it may."""
    return floods(server, device, lambda one, number: one.hello(nonce=number, device=f"other-{number}"))


def discards(server: Server, device: str) -> Iterator[None]:
    """Ordinals without end that were given up."""

    def say(one: Session, number: int) -> None:
        if number % 10 == 0:
            ordinals = tuple(range(number * 100, number * 100 + 1000))
            one.say(wire.Discarded(session=one.number, ordinals=ordinals, reason="x" * 900))

    return floods(server, device, say, next_ordinal=1 << 50)


def statuses(server: Server, device: str) -> Iterator[None]:
    """Totals of a thousand streams, always others, in 16 sessions."""

    def say(one: Session, number: int) -> None:
        if number % 10 == 0:
            streams = {f"s{n}": {"captured": number, "stored": 0, "lost": {"x": number}} for n in range(1000)}
            document = {"between": {"number": number, "streams": streams}}
            one.say(wire.Status(session=one.number, document=document))

    return floods(server, device, say, spools=16)


def nests(server: Server, device: str) -> Iterator[None]:
    """Reports that are a hundred times as large once they are read as they are on their way, in 8 sessions."""
    lists: list[list[None]] = [[] for _ in range(3800)]

    def say(one: Session, number: int) -> None:
        one.say(wire.Status(session=one.number, document={"device": {"state": str(number), "x": lists}}))

    return floods(server, device, say, spools=8)


ATTACKERS: dict[str, Callable[[Server, str], Iterator[None]]] = {
    "one offer of 64 GiB": claims_all,
    "33 sessions x 8 offers, a byte every 10 s": holds_places,
    "64 sessions x 64 growing offers": holds_more,
    "more than was offered, again and again": sends_beyond,
    "HELLO, 2000 a second": hellos,
    "HELLO of others, 2000 a second": hellos_of_others,
    "DISCARDED of 200,000 ordinals a second": discards,
    "STATUS of 1000 streams, 200 a second": statuses,
    "STATUS of 3800 empty lists, 2000 a second": nests,
}


def attack(name: str, server: Server, device: str) -> None:
    """Until somebody ends this process."""
    for _ in ATTACKERS[name](server, device):
        pass
