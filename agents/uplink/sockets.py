"""The uplink's sockets: where the ingest is, and two DEALERs for each session."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import zmq
from zmq.utils.monitor import parse_monitor_message

from sensorium.errors import ConfigError
from sensorium.link import wire
from sensorium.link.keys import Pair, is_loopback
from sensorium.link.monitor import monitor_of
from sensorium.link.wake import Wake

COPY_BELOW = 64 << 10
SNDBUF_BYTES = 256 << 10
HANDSHAKE_MS = 30_000
_CUT = zmq.EVENT_DISCONNECTED
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL

# As numbers: pyzmq's are enumerations, and to join two of them takes longer than to send what is small.
_NOBLOCK, _NOBLOCK_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK) | int(zmq.SNDMORE)

Socket = zmq.Socket[bytes]


@dataclass(frozen=True)
class Address:
    """Where the ingest listens, and the keys to use there; without a `server_key` there is no CURVE."""

    control: str
    bulk: str
    server_key: str | None = None
    pair: Pair | None = None

    @classmethod
    def of(cls, url: str, server_key: str | None, pair: Pair | None, insecure: bool) -> "Address":
        """The address of the control socket at `url`, tcp://HOST:PORT; bulk goes to the next port.

        Raises:
            ConfigError: it is no such address, one key comes without the other, or keys are missing where they must be.
        """
        if (server_key is None) != (pair is None):
            raise ConfigError(
                "ingest: server_key and key belong together: give both, or neither for a link without keys"
            )
        host, port = _parse(url)
        if server_key is None and not insecure and not is_loopback(host):
            raise ConfigError(
                f"ingest.url {url!r}: without keys only loopback is allowed; give server_key and key"
                " (`sensorium keys new NAME --dir DIR` makes one), or insecure: true"
            )
        host = f"[{host}]" if ":" in host else host
        return cls(f"tcp://{host}:{port}", f"tcp://{host}:{port + 1}", server_key, pair)


class Sockets:
    """The two sockets of one session, and the monitors that tell when a connection is cut or refused.

    Where a handshake is refused libzmq gives the connection up for good; who sends to a socket without one waits for
    ever. So nothing here waits: what finds no connection goes nowhere, and the sockets are `gone`.
    """

    def __init__(self, context: "zmq.Context[Socket]", address: Address, wake: Wake) -> None:
        self.gone = False
        urls = address.control, address.bulk
        self._wake = wake
        self._control, self._bulk = (_dealer(context, url, address) for url in urls)
        self._monitors = [monitor_of(context, socket, _CUT | _REFUSED) for socket in (self._control, self._bulk)]
        self._poller = zmq.Poller()
        for source in (self._control, wake.fd, *self._monitors):
            self._poller.register(source, zmq.POLLIN)
        for socket, url in zip((self._control, self._bulk), urls, strict=True):
            socket.connect(url)

    def say(self, message: wire.Message) -> None:
        """Send on control."""
        try:
            self._control.send(wire.encode(message), _NOBLOCK)
        except zmq.Again:
            self.gone = True

    def send(self, data: wire.Data, payload: bytes) -> None:
        """Send on bulk. It only queues: encryption and network are libzmq's own threads."""
        try:
            self._bulk.send(wire.encode(data), _NOBLOCK_MORE)
            self._bulk.send(payload, _NOBLOCK, len(payload) < COPY_BELOW)
        except zmq.Again:
            self.gone = True

    def wait(self, wait_ms: int) -> tuple[bool, list[int]]:
        """Wait for something, a call of `wake` too: whether control has `frames`, and what befell a connection:
        the events of monitors, of which `refusal` tells what they mean."""
        ready = dict(self._poller.poll(0 if self.gone else wait_ms))
        if self._wake.fd in ready:
            self._wake.clear()
        befell = [parse_monitor_message(m.recv_multipart())["event"] for m in self._monitors if m in ready]
        return self._control in ready, befell

    def frames(self) -> Iterator[bytes]:
        """What has come on control."""
        while True:
            try:
                yield self._control.recv(zmq.NOBLOCK)
            except zmq.Again:
                return

    def close(self, control_ms: int = 0) -> None:
        """Close everything, dropping what is queued, on control after so long: the spool has it."""
        for socket, monitor in zip((self._control, self._bulk), self._monitors, strict=True):
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=control_ms if socket is self._control else 0)


def refusal(event: int) -> str:
    """Why the handshake came to nothing, by a monitor's event; empty where the connection was cut after it."""
    if event & zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return "the ingest refused the handshake: is this key allowed there (`sensorium keys allow`)?"
    if event & zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return "the ingest refused the handshake: one of the two has keys and the other none"
    if event & zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return "the ingest refused the handshake, or was stopped in it: is server_key its own, and has each side keys?"
    return ""


def _dealer(context: "zmq.Context[Socket]", url: str, address: Address) -> Socket:
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.ipv6 = "[" in url
    socket.sndhwm = socket.rcvhwm = 0  # the window and the limits of the protocol bound what is queued
    socket.sndbuf = SNDBUF_BYTES
    socket.maxmsgsize = wire.MAX_CONTROL_BYTES
    socket.handshake_ivl = HANDSHAKE_MS
    socket.reconnect_ivl, socket.reconnect_ivl_max = 100, 5000
    socket.tcp_keepalive = 1
    socket.tcp_keepalive_idle = 30
    socket.tcp_keepalive_intvl = 10
    if address.server_key is not None and address.pair is not None:
        socket.curve_serverkey = address.server_key.encode("ascii")
        socket.curve_publickey, socket.curve_secretkey = address.pair.public, address.pair.secret
    return socket


def _parse(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme == "tcp" and host and port and port < 65535 and not parts.path:
            return host, port
    except ValueError:
        pass
    raise ConfigError(f"ingest.url {url!r}: expected tcp://HOST:PORT, for example tcp://127.0.0.1:{wire.DEFAULT_PORT}")
