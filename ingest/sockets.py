"""The ingest's two sockets: the address, and two ROUTERs bound to ports in a row."""

from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import zmq

from sensorium.errors import ConfigError
from sensorium.ingest.connections import EVENTS
from sensorium.link import wire
from sensorium.link.keys import Pair
from sensorium.link.monitor import monitor_of
from sensorium.link.zap import secure

CONTROL_HWM = 1000
BULK_HWM = 16
TRIES = 50
MOST_FRAMES = 3
"""One more than any message has: it is none then."""
HANDSHAKE_MS = 10_000
"""So long somebody may be connected without having shown a key."""
_HANDSHAKES = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL  # NO_DETAIL is a peer that hung up half-way

# As numbers: pyzmq's are enumerations, and to join two of them takes longer than to send what is small.
_NOBLOCK, _NOBLOCK_MORE, _FROM = int(zmq.NOBLOCK), int(zmq.NOBLOCK) | int(zmq.SNDMORE), int(zmq.SRCFD)

Socket = zmq.Socket[bytes]


class Router(Socket):
    """A ROUTER that waits for nothing; of small messages there are thousands a second. `heard` is told over which
    connection each came."""

    heard: Callable[[int], None] | None = None

    def frames(self) -> tuple[bytes, list[zmq.Frame]]:
        """The sender's route, and the frames of the next message, not copied, of more than `MOST_FRAMES` the first;
        `zmq.Again` if there is none."""
        route = self.recv(_NOBLOCK)
        frame = self.recv(_NOBLOCK, copy=False)  # a ROUTER gives none without a frame behind its route
        came = [frame]
        while frame.more:
            frame = self.recv(_NOBLOCK, copy=False)
            if len(came) < MOST_FRAMES:  # each takes some kilobytes, however little is in it
                came.append(frame)
        if self.heard is not None:
            self.heard(frame.get(_FROM))
        return route, came

    def say(self, route: bytes, frame: bytes) -> None:
        """Send a frame to a route; `zmq.ZMQError` if that is not there any more, or takes nothing."""
        self.send(route, _NOBLOCK_MORE)
        self.send(frame, _NOBLOCK)


def parse(listen: str) -> tuple[str, int]:
    """The host and the port of tcp://HOST:PORT; port 0 is any.

    Raises:
        ConfigError: it is not such an address.
    """
    try:
        parts = urlsplit(listen)
        if (
            parts.scheme == "tcp"
            and parts.hostname
            and parts.port is not None
            and parts.port < 65535
            and not parts.path
        ):
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise ConfigError(f"listen {listen!r}: expected tcp://HOST:PORT, for example tcp://127.0.0.1:{wire.DEFAULT_PORT}")


def url(host: str, port: int | str) -> str:
    """tcp://HOST:PORT, with brackets around IPv6."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


class Listening:
    """The control socket on `port`, the bulk socket on the next, and their monitors of connections and handshakes.

    Args:
        context: It stays the caller's.
        host: Where to listen.
        port: Of the control socket; 0: any of which the next is free too.
        pair: The ingest's own keys. None: no CURVE.

    Raises:
        ConfigError: a port is in use or the address is not this machine's.
    """

    def __init__(self, context: "zmq.Context[Socket]", host: str, port: int, pair: Pair | None) -> None:
        for left in reversed(range(1 if port else TRIES)):
            self.control, self.bulk = (_router(context, host, pair, bulk=bulk) for bulk in (False, True))
            try:
                self.control.bind(url(host, port or "*"))
                self.port = int(self.control.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
                self.bulk.bind(url(host, self.port + 1))
                break
            except zmq.ZMQError as error:
                self.control.close(linger=0)
                self.bulk.close(linger=0)
                if not left or error.errno != zmq.EADDRINUSE:
                    ports = f"{port} or {port + 1}" if port else "any"
                    raise ConfigError(
                        f"cannot listen on {host}, port {ports}: {error.strerror};"
                        " stop what uses it or choose another port with --listen"
                    ) from error
        self.monitors = [monitor_of(context, socket, _HANDSHAKES | EVENTS) for socket in (self.control, self.bulk)]


def _router(context: "zmq.Context[Socket]", host: str, pair: Pair | None, bulk: bool) -> Router:
    socket = cast(Router, context.socket(zmq.ROUTER, Router))
    socket.linger = 0
    socket.router_mandatory = True
    socket.ipv6 = ":" in host
    socket.rcvhwm = BULK_HWM if bulk else CONTROL_HWM
    socket.sndhwm = CONTROL_HWM
    socket.maxmsgsize = wire.MAX_FRAME_BYTES if bulk else wire.MAX_CONTROL_BYTES
    socket.backlog = 1024
    socket.handshake_ivl = HANDSHAKE_MS
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle = 30
    socket.tcp_keepalive_intvl = 10
    if pair is not None:
        secure(socket, pair)
    return socket
