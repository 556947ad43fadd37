"""The network of the model: two sockets a session that each keep their order, and nothing else of what may go wrong."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Protocol

import zmq

from sensorium.errors import PeerViolation
from sensorium.link import wire


class Hears(Protocol):
    """Who is told of all that is said, before it is on its way."""

    def device_says(self, message: wire.Message) -> None: ...
    def device_sends(self, data: wire.Data, payload: bytes) -> None: ...
    def server_says(self, message: wire.ServerMessage) -> None: ...
    def device_hears(self, message: wire.ServerMessage) -> None: ...
    def session_over(self) -> None: ...


class Connection:
    """The two sockets of a session, as the uplink has them; frames are on their way until they `arrive`.

    After a `cut` nothing more gets through either way, and the device may see that or not.
    """

    def __init__(self, network: "Network", route: bytes) -> None:
        self.route = route
        self.gone = False
        self.cut = False
        self.up: deque[bytes] = deque()
        self.bulk: deque[tuple[bytes, bytes]] = deque()
        self.down: deque[bytes] = deque()
        self.arrived: deque[bytes] = deque()
        self._befell: list[int] = []
        self._network = network

    # --- the uplink's sockets ------------------------------------------------------------------------------------

    def say(self, message: wire.Message) -> None:
        """Send on control."""
        self._network.witness.device_says(message)
        if not self.cut:
            self.up.append(wire.encode(message))

    def send(self, data: wire.Data, payload: bytes) -> None:
        """Send on bulk."""
        self._network.witness.device_sends(data, payload)
        if not self.cut:
            self.bulk.append((wire.encode(data), payload))

    def wait(self, _: int) -> tuple[bool, list[int]]:
        """Whether there are frames, and what befell; nobody waits, time is virtual."""
        befell, self._befell = self._befell, []
        return bool(self.arrived), befell

    def frames(self) -> Iterator[bytes]:
        """What has come on control."""
        while self.arrived:
            frame = self.arrived.popleft()
            self._network.witness.device_hears(wire.decode_from_server(frame))
            yield frame

    def close(self) -> None:
        """The device closes it; what is on its way may still arrive."""
        self.down.clear()
        self._network.left(self)

    # --- what happens to it --------------------------------------------------------------------------------------

    def sever(self, seen: bool) -> None:
        """Nothing gets through from now on, and what was on its way is gone."""
        self.cut = True
        for queue in (self.up, self.bulk, self.down):
            queue.clear()
        if seen:
            self._befell.append(zmq.EVENT_DISCONNECTED)


class Network:
    """Connections between one device and one server, those of before too while something of them is on its way."""

    def __init__(self, witness: Hears) -> None:
        self.witness = witness
        self.connections: list[Connection] = []
        self.open: Connection | None = None
        self.control: deque[tuple[bytes, bytes]] = deque()
        self.bulk: deque[tuple[bytes, bytes]] = deque()
        self._count = 0

    def connect(self, *_: object) -> Connection:
        """Stands in for the uplink's `Sockets`."""
        self._count += 1
        self.open = Connection(self, f"route-{self._count}".encode())
        self.connections = [*[c for c in self.connections if c.up or c.bulk][-2:], self.open]
        return self.open

    def left(self, connection: Connection) -> None:
        """The device has closed a connection."""
        if self.open is connection:
            self.open = None
            self.witness.session_over()

    def server_gone(self, seen: bool) -> None:
        """The server's process is no more: its connections are cut, what has come in is gone."""
        self.control.clear()
        self.bulk.clear()
        for connection in self.connections:
            connection.sever(seen)

    def arrive(self, socket: str, count: int = 1 << 30) -> bool:
        """Let the oldest frames of a socket through: `control` or `bulk` to the server, `answers` to the device."""
        for connection in self.connections:
            queues: dict[str, deque[Any]] = {
                "control": connection.up,
                "bulk": connection.bulk,
                "answers": connection.down,
            }
            queue = queues[socket]
            if queue:
                for _ in range(min(count, len(queue))):
                    frame = queue.popleft()
                    if socket == "control":
                        self.control.append((connection.route, frame))
                    elif socket == "bulk":
                        self.bulk.append(frame)
                    else:
                        connection.arrived.append(frame)
                return True
        return False

    def answer(self, route: bytes, frame: bytes) -> None:
        """The server sends on control.

        Raises:
            zmq.ZMQError: nobody is there any more.
        """
        if self.open is None or self.open.route != route:
            raise zmq.ZMQError(zmq.EHOSTUNREACH)
        self.witness.server_says(wire.decode_from_server(frame))
        if not self.open.cut:
            self.open.down.append(frame)


class Frame:
    """A frame as pyzmq gives it when it is not copied."""

    def __init__(self, data: bytes) -> None:
        self.bytes, self.buffer = data, memoryview(data)


class ServerSocket:
    """One of the server's sockets; of bulk the sender's route is of no use, and empty."""

    def __init__(self, network: Network, name: str) -> None:
        self._network, self._name = network, name

    def frames(self) -> tuple[bytes, list[Frame]]:
        """The sender's route, and the frames of the next message that arrived."""
        network = self._network
        try:
            if self._name == "control":
                frames: tuple[bytes, ...] = network.control.popleft()
            else:
                frames = (b"", *network.bulk.popleft())
        except IndexError:
            raise zmq.Again from None
        route, *rest = frames
        return route, [Frame(frame) for frame in rest]

    def say(self, route: bytes, frame: bytes) -> None:
        """Send to a route."""
        self._network.answer(route, frame)


def tampered(frame: tuple[bytes, bytes], place: int) -> tuple[bytes, bytes]:
    """A message of bulk with one bit of its bytes flipped, past TCP's checksum."""
    head, payload = frame
    if not payload:
        raise PeerViolation("DATA without bytes")
    flipped = bytearray(payload)
    flipped[place % len(flipped)] ^= 1
    return head, bytes(flipped)
