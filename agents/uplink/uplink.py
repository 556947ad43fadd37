"""The uplink: one thread pumps the spool's episodes to the ingest, for as long as there are any, whatever breaks.

One thread serves both sockets: a send only queues, the encryption and the network are libzmq's own threads.
"""

import ctypes
import logging
import os
import random
import select
import threading
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import zmq
from zmq.utils.monitor import parse_monitor_message

from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import boot_id, boottime_ns
from sensorium.errors import ConfigError, Corrupt, PeerViolation, SensoriumError, SpoolError
from sensorium.link import wire
from sensorium.link.device import events as events
from sensorium.link.device.events import Offered
from sensorium.link.device.protocol import DeviceLink, State
from sensorium.link.keys import Pair, is_loopback

log = logging.getLogger(__name__)

MAX_POLL_MS = 500
REFRESH_S = 0.02
DISCARDS_EVERY_S = 1.0
CONSIDERED = 256
BURST_BYTES = 8 << 20
COPY_BELOW = 64 << 10
SNDBUF_BYTES = 256 << 10
HANDSHAKE_MS = 30_000
_CUT = zmq.EVENT_DISCONNECTED
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_TIME_ERROR = 5

Socket = zmq.Socket[bytes]


class Uplink:
    """Delivers what is in `spool` to the ingest at `url` until `stop`; a plain class, its thread is its own.

    Args:
        spool: It stays the caller's to close, after `stop`.
        url: tcp://HOST:PORT of the ingest's control socket; bulk goes to the next port.
        server_key: The ingest's public key, Z85. None: no CURVE, which is for loopback, or `insecure`.
        keypair: This device's pair; with `server_key`, both or neither.
        insecure: Without keys, send to any address: whoever is on the way may read and change it.
    """

    def __init__(
        self,
        spool: Spool,
        url: str,
        server_key: str | None = None,
        keypair: Pair | None = None,
        insecure: bool = False,
    ) -> None:
        if (server_key is None) != (keypair is None):
            raise ConfigError(
                "ingest: server_key and key belong together: give both, or neither for a link without keys"
            )
        self._urls = _urls(url)
        if server_key is None and not insecure and not is_loopback(urlsplit(url).hostname or ""):
            raise ConfigError(
                f"ingest.url {url!r}: without keys only loopback is allowed; give server_key and key"
                " (`sensorium keys new NAME --dir DIR` makes one), or insecure: true"
            )
        self._spool, self._server_key, self._pair = spool, server_key, keypair
        self._boot_id = boot_id()
        self._link = DeviceLink(
            spool.device, spool.spool_id, self._boot_id, spool.ordinals, self._probes_for, random.SystemRandom().random
        )
        self._stop_requested = threading.Event()
        self._dirty = threading.Event()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None
        self._sockets: _Sockets | None = None
        self._refreshed_ns = self._discards_ns = 0
        self._figures = {"sent_bytes": 0, "committed": 0, "rejected": 0, "sessions": 0, "handshakes_refused": 0}
        self._last_error = ""

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._spool.subscribe(self._spool_changed)
        self._dirty.set()
        self._thread = threading.Thread(target=self._run, name="sensorium-uplink", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is in flight stays in the spool. May be called twice."""
        self._stop_requested.set()
        if self._thread is not None:
            self._wake()
            self._thread.join()
            self._thread = None
            os.close(self._wake_fd)
            self._wake_fd = -1

    def stats(self) -> dict[str, Any]:
        """`state` (down, greeting, up), sent_bytes, in_flight, committed, rejected, sessions, last_error."""
        return {
            "state": self._link.state.name.lower(),
            "in_flight": self._link.in_flight,
            "last_error": self._last_error,
            **self._figures,
        }

    # --- the pump ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        context = zmq.Context(io_threads=1)
        try:
            while not self._stop_requested.is_set():
                try:
                    self._step(context)
                except Exception as error:
                    # The spool may be in trouble for a while. It keeps the data, so this end tries again, for ever.
                    expected = isinstance(error, SensoriumError | OSError)
                    log.error("uplink: %s", error, exc_info=None if expected else error)
                    self._link.lost(str(error), boottime_ns())
                    self._stop_requested.wait(1.0)
        finally:
            if self._sockets is not None:
                self._sockets.close()
            context.destroy(linger=0)

    def _step(self, context: "zmq.Context[Socket]") -> None:
        link = self._link
        now_ns = boottime_ns()
        link.poll(now_ns)
        self._do_events(context)  # first what was committed leaves the spool, then the rest is offered
        self._refresh(now_ns)
        blocked = self._send(context)
        wait_ms = 0
        if not blocked or self._sockets is None:
            wait_ms = max(0, min(MAX_POLL_MS, (link.next_timer_ns(now_ns) - boottime_ns()) // 1_000_000 + 1))
            if self._dirty.is_set() and link.state is State.UP:
                wait_ms = min(wait_ms, int(REFRESH_S * 1000))
        self._receive(wait_ms)

    def _refresh(self, now_ns: int) -> None:
        """Tell the link what the spool has, at most every 20 ms unless it has places free for more offers."""
        link = self._link
        if link.state is not State.UP:
            return
        if self._dirty.is_set() and (now_ns - self._refreshed_ns >= REFRESH_S * 1e9 or link.is_hungry):
            self._dirty.clear()
            self._refreshed_ns = now_ns
            link.refresh(self._spool.waiting(CONSIDERED), now_ns)
        if now_ns - self._discards_ns >= DISCARDS_EVERY_S * 1e9:
            self._discards_ns = now_ns
            link.discard(self._spool.discards())
            self._dirty.set()  # what was put off may be due

    def _send(self, context: "zmq.Context[Socket]") -> bool:
        """Do and send what is due; whether there may be more to send at once."""
        link = self._link
        self._do_events(context)
        sent = 0
        while self._sockets is not None:
            for message in link.take_messages():
                self._sockets.control.send(wire.encode(message))
            if sent >= BURST_BYTES:
                return True
            due = link.next_data(boottime_ns())
            if due is None:
                for message in link.take_messages():
                    self._sockets.control.send(wire.encode(message))
                return False
            sent += self._send_data(*due)
        return False

    def _send_data(self, data: wire.Data, size: int) -> int:
        try:
            payload = self._spool.read(UUID(bytes=data.episode), data.offset, size)
            if len(payload) != size:
                raise SpoolError(f"{len(payload)} bytes at {data.offset}, expected {size}")
        except (SpoolError, Corrupt) as error:
            log.error("uplink: episode %s: %s", UUID(bytes=data.episode), error)
            self._link.pause(UUID(bytes=data.episode), boottime_ns())
            return 0
        if self._sockets is not None:
            self._sockets.bulk.send(wire.encode(data), zmq.SNDMORE)
            self._sockets.bulk.send(payload, 0, size < COPY_BELOW)
        self._link.sent(data, size, boottime_ns())
        self._figures["sent_bytes"] += size
        return size

    def _receive(self, wait_ms: int) -> None:
        sockets = self._sockets
        if sockets is None:
            _wait(self._wake_fd, wait_ms)
            return
        ready = dict(sockets.poller.poll(wait_ms))
        if self._wake_fd in ready:
            os.eventfd_read(self._wake_fd)
        if sockets.control in ready:
            self._receive_control(sockets.control)
        for monitor in sockets.monitors:
            if monitor in ready:
                self._connection_event(monitor)

    def _receive_control(self, control: Socket) -> None:
        while True:
            try:
                frame = control.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            now_ns = boottime_ns()
            try:
                self._link.receive(wire.decode_from_server(frame), now_ns)
            except wire.UnknownMessage as error:
                log.warning("uplink: ignored from the ingest: %s", error)
            except PeerViolation as error:
                self._link.lost(f"from the ingest: {error}", now_ns)
                return

    def _connection_event(self, monitor: Socket) -> None:
        event = parse_monitor_message(monitor.recv_multipart())
        if event["event"] & _REFUSED:
            self._figures["handshakes_refused"] += 1
            self._link.lost(
                "the ingest refused the handshake: is this key allowed there, and server_key its own?", boottime_ns()
            )
        else:
            self._link.lost("the connection was cut", boottime_ns())

    # --- events --------------------------------------------------------------------------------------------------

    def _do_events(self, context: "zmq.Context[Socket]") -> None:
        for event in self._link.take_events():
            match event:
                case events.Connect():
                    self._sockets = _Sockets(context, self._urls, self._wake_fd, self._server_key, self._pair)
                case events.Disconnect(why):
                    if self._sockets is not None:
                        self._sockets.close()
                        self._sockets = None
                    if why != self._last_error:
                        log.warning("uplink: %s", why)
                    self._last_error = why
                case events.Connected():
                    self._figures["sessions"] += 1
                    self._last_error = ""
                    self._refreshed_ns = self._discards_ns = 0
                    self._dirty.set()
                    log.info("uplink: session with %s", self._urls[0])
                case events.Committed(episode, ordinal):
                    self._spool.committed(episode)
                    self._spool.ledgered([ordinal])
                    self._figures["committed"] += 1
                    self._dirty.set()
                case events.Rejected(episode, code, reason):
                    log.error("uplink: episode %s rejected (%s): %s", episode, code, reason)
                    self._spool.rejected(episode, code, reason)
                    self._figures["rejected"] += 1
                    self._dirty.set()
                case events.Recheck(episode):
                    self._spool.recheck(episode)
                    self._link.refresh(self._spool.waiting(CONSIDERED), boottime_ns())
                case events.Ledgered(ordinals):
                    self._spool.ledgered(list(ordinals))
                case events.Probed(device_ns, server_ns, round_trip_ns):
                    self._spool.add_probe(
                        self._boot_id, device_ns, server_ns, round_trip_ns, time.time_ns(), _clock_is_synchronised()
                    )
                case events.Told(text):
                    log.warning("uplink: %s", text)
                case events.Directed(directive):
                    log.warning("uplink: directive %r is not known to this version", directive.kind)
                    self._link.status({"unknown_directive": directive.kind, "version": directive.version})

    def _probes_for(self, waiting: Offered) -> list[tuple[int, int, int]]:
        boot = waiting.boot_id
        return [] if boot is None else list(self._spool.probes_around(boot, waiting.start_ns, waiting.end_ns))

    def _spool_changed(self) -> None:
        self._dirty.set()
        self._wake()

    def _wake(self) -> None:
        # After `stop` the spool may still call; there is nobody to wake then.
        if self._wake_fd >= 0:
            os.eventfd_write(self._wake_fd, 1)


class _Sockets:
    """The two sockets of one session, and the monitors that tell when a connection is cut or refused."""

    def __init__(
        self,
        context: "zmq.Context[Socket]",
        urls: tuple[str, str],
        wake_fd: int,
        server_key: str | None,
        pair: Pair | None,
    ) -> None:
        self.control, self.bulk = (self._dealer(context, url, server_key, pair) for url in urls)
        self.monitors = [s.get_monitor_socket(_CUT | _REFUSED) for s in (self.control, self.bulk)]
        self.poller = zmq.Poller()
        for source in (self.control, wake_fd, *self.monitors):
            self.poller.register(source, zmq.POLLIN)
        for socket, url in zip((self.control, self.bulk), urls, strict=True):
            socket.connect(url)

    def close(self) -> None:
        """Close everything, dropping what is queued: the spool has it."""
        for socket, monitor in zip((self.control, self.bulk), self.monitors, strict=True):
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=0)

    @staticmethod
    def _dealer(context: "zmq.Context[Socket]", url: str, server_key: str | None, pair: Pair | None) -> Socket:
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
        if server_key is not None and pair is not None:
            socket.curve_serverkey = server_key.encode("ascii")
            socket.curve_publickey, socket.curve_secretkey = pair.public, pair.secret
        return socket


def _urls(url: str) -> tuple[str, str]:
    """The control and the bulk address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme == "tcp" and host and port and port < 65535 and not parts.path:
            host = f"[{host}]" if ":" in host else host
            return f"tcp://{host}:{port}", f"tcp://{host}:{port + 1}"
    except ValueError:
        pass
    raise ConfigError(f"ingest.url {url!r}: expected tcp://HOST:PORT, for example tcp://127.0.0.1:{wire.DEFAULT_PORT}")


def _wait(descriptor: int, wait_ms: int) -> None:
    """Wait until the eventfd was written, and reset it, or until the time is over."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if poll.poll(wait_ms):
        os.eventfd_read(descriptor)


def _clock_is_synchronised() -> bool:
    """Whether the kernel says that this machine's clock is disciplined (adjtimex does not return TIME_ERROR)."""
    query = (ctypes.c_char * 512)()  # struct timex, all zero: only ask
    return bool(ctypes.CDLL(None).adjtimex(query) != _TIME_ERROR)
