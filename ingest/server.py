"""The ingest: a thread for each of the two sockets pumps messages between the wire and the `ServerLink`.

The control socket (PORT) carries everything but DATA, the bulk socket (PORT + 1) DATA alone, so that a probe or a
COMMITTED never waits behind megabytes.
"""

import contextlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import zmq
from prometheus_client.registry import CollectorRegistry
from zmq.utils.monitor import parse_monitor_message

from sensorium.errors import ConfigError, PeerViolation
from sensorium.ingest.figures import LinkMetrics, Rates
from sensorium.ingest.staging import Staging
from sensorium.ingest.store import Store
from sensorium.link import wire
from sensorium.link.keys import AllowedKeys, ingest_pair, is_loopback
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.transfer import Limits
from sensorium.link.zap import Gate, Refusals, secure

log = logging.getLogger(__name__)

POLL_MS = 200
BULK_HWM = 16
WAKE_BYTES = 2 << 20
SETTLE_MS = 1
CONTROL_HWM = 1000
_HANDSHAKES = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL  # NO_DETAIL is a peer that hung up half-way

Socket = zmq.Socket[bytes]


class Ingest:
    """Receives episodes into `store`. `start` returns once both ports are bound; `stop` may be called twice.

    Args:
        store: Open for writing; it stays the caller's to close, after `stop`.
        listen: tcp://HOST:PORT of the control socket; the bulk socket takes the next port. Port 0: any free pair.
        keys: Folder with the ingest's own key pair and the allowed devices'. None: no CURVE, only on loopback.
        insecure: Without keys, listen on any address; whoever can reach it may write.
        registry: Where to register Prometheus metrics.
        limits: Bounds on memory, sessions and staging.
    """

    def __init__(
        self,
        store: Store,
        listen: str,
        keys: Path | None = None,
        insecure: bool = False,
        registry: CollectorRegistry | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._host, self._port = _parse(listen)
        if keys is None and not insecure and not is_loopback(self._host):
            raise ConfigError(
                f"listen {listen!r}: without keys only loopback is allowed; give --keys DIR"
                " (`sensorium keys new ingest --dir DIR` makes the first), or --insecure to accept anyone"
            )
        self._pair = ingest_pair(keys) if keys is not None else None
        self._allowed = AllowedKeys(keys) if keys is not None else None
        self._store = store
        self._link = ServerLink(store.state, lambda: secrets.randbits(62) + 1, time.time_ns, limits, keys is not None)
        self._lock = threading.Lock()
        self._stop_requested = threading.Event()
        self._context: zmq.Context[Socket] | None = None
        self._threads: list[threading.Thread] = []
        self._refusals = Refusals()
        self._rates = Rates()
        if registry is not None:
            registry.register(LinkMetrics(self._counts))

    @property
    def address(self) -> str:
        """tcp://HOST:PORT as bound."""
        return _url(self._host, self._port)

    def start(self) -> None:
        """Bind both ports and begin.

        Raises:
            ConfigError: a port is in use or the address is not this machine's.
        """
        self._context = zmq.Context(io_threads=2)
        self._context.set(zmq.MAX_SOCKETS, 4096)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._gate: Gate | None = None
        try:
            if self._allowed is not None:
                self._gate = Gate(self._context, self._allowed, self._keys_changed)
                self._gate.start()
            control, bulk = self._bind(self._context)
        except BaseException:
            self._close()
            raise
        self._staging = Staging(self._store, self._link, self._lock, self._wake)
        monitors = [s.get_monitor_socket(_HANDSHAKES) for s in (control, bulk)]
        for name, run in (
            ("control", lambda: self._run_control(control, monitors)),
            ("bulk", lambda: self._run_bulk(bulk)),
        ):
            thread = threading.Thread(target=self._guarded, args=(run,), name=f"sensorium-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        log.info("ready %s", self.address)

    def stop(self) -> None:
        """End the sessions and threads; commits that were begun are finished, the rest stays with the devices."""
        self._stop_requested.set()
        if self._context is None:
            return
        self._wake()
        for thread in self._threads:
            thread.join()
        self._staging.close()
        self._close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until `stop` was called, or a pump died; whether it was."""
        return self._stop_requested.wait(timeout_s)

    def stats(self) -> dict[str, Any]:
        """For a live table: `devices` {name: sessions, bytes, bytes_per_s, committed, staged, seen_s}, and totals."""
        now_ns = time.monotonic_ns()
        with self._lock:
            return self._rates.table(self._link, now_ns)

    def _counts(self) -> dict[str, int]:
        with self._lock:
            return {**self._link.out.counters, "sessions_open": len(self._link.sessions)}

    # --- pumps ---------------------------------------------------------------------------------------------------

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except Exception:
            log.exception("the ingest stops: a pump failed")
        finally:
            self._stop_requested.set()

    def _run_control(self, control: Socket, monitors: list[Socket]) -> None:
        poller = zmq.Poller()
        for source in (control, self._wake_fd, *monitors):
            poller.register(source, zmq.POLLIN)
        try:
            while not self._stop_requested.is_set():
                ready = dict(poller.poll(POLL_MS))
                if self._wake_fd in ready:
                    os.eventfd_read(self._wake_fd)
                for monitor in monitors:
                    while monitor in ready and monitor.poll(0):
                        self._handshake_failed(monitor)
                self._receive_control(control)
                self._send_control(control)
        finally:
            for monitor in monitors:
                monitor.close(linger=0)
            control.disable_monitor()
            control.close(linger=0)

    def _receive_control(self, control: Socket) -> None:
        for _ in range(1000):  # then let answers out
            try:
                frames = control.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            user_id = self._user_id(frames[-1])
            if user_id is None:
                continue
            route, now_ns = frames[0].bytes, time.monotonic_ns()
            try:
                if len(frames) != 2:
                    raise PeerViolation(f"{len(frames) - 1} frames on the control socket, expected 1")
                message = wire.decode_from_device(frames[1].buffer)
            except PeerViolation as error:
                with self._lock:
                    self._link.misunderstood(route, user_id, error, now_ns)
                continue
            with self._lock:
                self._link.receive(route, user_id, message, now_ns)
                jobs = self._link.take_jobs()
            self._staging.run(jobs)

    def _send_control(self, control: Socket) -> None:
        now_ns = time.monotonic_ns()
        with self._lock:
            self._link.poll(now_ns)
            messages, jobs = self._link.take_messages(), self._link.take_jobs()
            lines, self._link.out.lines = self._link.out.lines, []
        self._staging.run(jobs)
        for line in lines:
            log.warning("%s", line)
        lost = set()
        for route, message in messages:
            try:
                if route not in lost:
                    control.send_multipart([route, wire.encode(message)], zmq.NOBLOCK)
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                    raise
                lost.add(route)
        with self._lock:
            for route in lost:
                self._link.unreachable(route, now_ns)

    def _run_bulk(self, bulk: Socket) -> None:
        poller = zmq.Poller()
        poller.register(bulk, zmq.POLLIN)
        try:
            untold = 0
            while not self._stop_requested.is_set():
                if poller.poll(SETTLE_MS if untold else POLL_MS):
                    untold = self._receive_bulk(bulk, untold)
                elif untold:
                    untold = 0
                    self._wake()
        finally:
            bulk.disable_monitor()
            bulk.close(linger=0)

    def _receive_bulk(self, bulk: Socket, untold: int) -> int:
        """Take what is there. The control pump, which gives credit, is woken every 2 MiB, and by the caller when a
        pause comes: woken for every message it would take half a core from this thread. Returns the bytes untold."""
        link, lock = self._link, self._lock
        while not self._stop_requested.is_set():
            try:
                frames = bulk.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return untold
            user_id = self._user_id(frames[-1])
            if user_id is None:
                continue
            try:
                if len(frames) != 3:
                    raise PeerViolation(f"{len(frames) - 1} frames on the bulk socket, expected 2")
                data = wire.decode_from_device(frames[1].buffer)
                if not isinstance(data, wire.Data):
                    raise PeerViolation(f"{type(data).__name__} on the bulk socket, expected DATA")
            except PeerViolation as error:
                with lock:
                    link.out.counters["violations"] += 1
                self._refusals.note(
                    f"of {user_id.partition('/')[0] or 'a device without a key'}", f"sent what is ignored: {error}"
                )
                continue
            payload = frames[2].buffer
            with lock:
                transfer = link.data(user_id, data, len(payload), time.monotonic_ns())
                jobs = link.take_jobs()
            self._staging.run(jobs)
            if transfer is not None:
                self._staging.append(transfer, data.session, payload)
            untold += max(1, len(payload))
            if untold >= WAKE_BYTES:
                untold = 0
                self._wake()
        return untold

    def _user_id(self, frame: zmq.Frame) -> str | None:
        """Who sent this, by the handshake; "" where there is none; None: nobody whom we may listen to any more."""
        if self._allowed is None:
            return ""
        try:
            user_id = str(frame.get("User-Id"))
        except zmq.ZMQError:
            return None
        return user_id if self._allowed.allows(user_id) else None

    def _keys_changed(self) -> None:
        allowed = self._allowed
        if allowed is not None:
            with self._lock:
                self._link.revoke(allowed.allows, time.monotonic_ns())
            self._wake()

    def _handshake_failed(self, monitor: Socket) -> None:
        event = parse_monitor_message(monitor.recv_multipart())
        where = event["endpoint"].decode("ascii", "replace")
        self._refusals.note(f"to {where}", "refused: the CURVE handshake failed: no key, or another server's key")

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.eventfd_write(self._wake_fd, 1)

    # --- sockets -------------------------------------------------------------------------------------------------

    def _bind(self, context: "zmq.Context[Socket]") -> tuple[Socket, Socket]:
        tries = 1 if self._port else 50
        for left in reversed(range(tries)):
            control, bulk = self._router(context, bulk=False), self._router(context, bulk=True)
            try:
                control.bind(_url(self._host, self._port or "*"))
                port = int(control.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
                bulk.bind(_url(self._host, port + 1))
            except zmq.ZMQError as error:
                control.close(linger=0)
                bulk.close(linger=0)
                if not left or error.errno != zmq.EADDRINUSE:
                    ports = f"{self._port} or {self._port + 1}" if self._port else "any"
                    raise ConfigError(
                        f"cannot listen on {self._host}, port {ports}: {error.strerror};"
                        " stop what uses it or choose another port with --listen"
                    ) from error
            else:
                self._port = port
                return control, bulk
        raise ConfigError(f"no two free ports in a row on {self._host}")

    def _router(self, context: "zmq.Context[Socket]", bulk: bool) -> Socket:
        socket = context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.router_mandatory = True
        socket.ipv6 = ":" in self._host
        socket.rcvhwm = BULK_HWM if bulk else CONTROL_HWM
        socket.sndhwm = CONTROL_HWM
        socket.maxmsgsize = wire.MAX_FRAME_BYTES if bulk else wire.MAX_CONTROL_BYTES
        socket.backlog = 1024
        socket.tcp_keepalive = 1
        socket.tcp_keepalive_idle = 30
        socket.tcp_keepalive_intvl = 10
        if self._pair is not None:
            secure(socket, self._pair)
        return socket

    def _close(self) -> None:
        if self._gate is not None and self._gate.is_alive():
            self._gate.stop()
        if self._context is not None:
            self._context.destroy(linger=0)
            os.close(self._wake_fd)
            self._context = None


def _parse(listen: str) -> tuple[str, int]:
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


def _url(host: str, port: int | str) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
