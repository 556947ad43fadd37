"""The ingest's two pumps: each moves messages between one socket and the `ServerLink`, in a thread of its own.

The control socket carries everything but DATA, the bulk socket DATA alone, so that a probe or a COMMITTED never waits
behind megabytes.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import parse_monitor_message

from sensorium.errors import PeerViolation
from sensorium.ingest.connections import Connections
from sensorium.ingest.sockets import Router, Socket
from sensorium.ingest.staging import Staging
from sensorium.link import wire
from sensorium.link.keys import AllowedKeys
from sensorium.link.server.allowance import Allowance
from sensorium.link.server.protocol import ServerLink
from sensorium.link.server.transfer import Transfer
from sensorium.link.wake import Wake
from sensorium.link.zap import Refusals, sender

log = logging.getLogger(__name__)

POLL_MS = 200
AT_ONCE = 64
AT_ONCE_BYTES = 256 << 10
WAKE_BYTES = 2 << 20
SETTLE_MS = 1
LAST_WORD_MS = 200
"""So long what was said last may take to go out."""


@dataclass(frozen=True)
class Shared:
    """What the pumps share. `lock` guards `link`; `wake` ends the control pump's poll; `stop` ends both pumps."""

    link: ServerLink
    lock: threading.Lock
    staging: Staging
    allowed: AllowedKeys | None
    refusals: Refusals
    wake: Wake
    stop: threading.Event


class ControlPump:
    """Takes what devices say, gives them the link's answers and credit, and closes its socket at the end."""

    def __init__(
        self, shared: Shared, socket: Router, monitors: Sequence[Socket], connections: Connections | None = None
    ) -> None:
        self._shared, self._socket, self._monitors = shared, socket, monitors
        self._connections = connections
        self._large = Allowance(shared.link.limits.large_of_key, shared.link.limits.large_of_key_a_second)

    def run(self) -> None:
        """Pump until stopped."""
        shared, socket, monitors = self._shared, self._socket, self._monitors
        poller = zmq.Poller()
        for source in (socket, shared.wake.fd, *monitors):
            poller.register(source, zmq.POLLIN)
        try:
            while not shared.stop.is_set():
                ready = dict(poller.poll(POLL_MS))
                if shared.wake.fd in ready:
                    shared.wake.clear()
                for number, monitor in enumerate(monitors):
                    while monitor in ready and monitor.poll(0):
                        self._befell(number, monitor)
                self._receive()
                self._send()
                if self._connections is not None:
                    self._connections.look()
            self.leave()
        finally:
            # Whoever ends the context closes the monitors: without its other end libzmq waits for ever to say a thing.
            socket.disable_monitor()
            socket.close(linger=LAST_WORD_MS)

    def leave(self) -> None:
        """Tell every device that this end stops."""
        with self._shared.lock:
            self._shared.link.stop(time.monotonic_ns())
        self._send()

    def _receive(self) -> None:
        """Take what is there, some at a time, then let answers out: a look at the lock, at the jobs and at what is to
        be said is as much work as a message is, and of small episodes there are thousands a second."""
        shared, link = self._shared, self._shared.link
        came = self._came()
        if not came:
            return
        with shared.lock:
            for route, user_id, message, now_ns in came:
                if isinstance(message, PeerViolation):
                    link.misunderstood(route, user_id, message, now_ns)
                else:
                    link.receive(route, user_id, message, now_ns)
            jobs = link.take_jobs()
        shared.staging.run(jobs)

    def _came(self) -> list[tuple[bytes, str, wire.DeviceMessage | PeerViolation, int]]:
        """What came, by whom and when."""
        came: list[tuple[bytes, str, wire.DeviceMessage | PeerViolation, int]] = []
        while len(came) < AT_ONCE:
            try:
                route, frames = self._socket.frames()
            except zmq.Again:
                break
            user_id = sender(frames[-1], self._shared.allowed)
            if user_id is None:
                continue
            now_ns = time.monotonic_ns()
            message: wire.DeviceMessage | PeerViolation
            try:
                if len(frames) != 1:
                    raise PeerViolation(f"{len(frames)} frames on the control socket, expected 1")
                frame = frames[0].buffer
                self._check_large(user_id or route.hex(), len(frame), now_ns)
                message = wire.decode_from_device(frame)
            except PeerViolation as error:
                message = error
            came.append((route, user_id, message, now_ns))
        return came

    def _check_large(self, key: str, size: int, now_ns: int) -> None:
        """A device says much now and then; what says much all the time would keep this thread from all others."""
        limits = self._shared.link.limits
        if size > limits.large_bytes and not self._large.take(key, size, now_ns):
            a_second = limits.large_of_key_a_second >> 10
            raise PeerViolation(f"more than {a_second} KiB a second of messages over {limits.large_bytes} bytes")

    def _send(self) -> None:
        shared, link = self._shared, self._shared.link
        now_ns = time.monotonic_ns()
        with shared.lock:
            link.poll(now_ns)
            messages, jobs = link.take_messages(), link.take_jobs()
            lines = link.out.lines.take() if link.out.lines else ()
            notes, link.out.notes = link.out.notes, []
        shared.staging.run(jobs)
        for line in lines:
            log.warning("%s", line)
        for note in notes:
            log.info("%s", note)
        lost = set()
        for route, message in messages:
            try:
                if route not in lost:
                    self._socket.say(route, wire.encode(message))
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                    raise
                lost.add(route)
        with shared.lock:
            for route in lost:
                link.unreachable(route, now_ns)

    def _befell(self, number: int, monitor: Socket) -> None:
        event = parse_monitor_message(monitor.recv_multipart())
        if self._connections is not None and self._connections.told(event, number):
            return
        where = event["endpoint"].decode("ascii", "replace")
        self._shared.refusals.note(
            f"to {where}", "refused: the CURVE handshake failed: no key, or another server's key"
        )


class BulkPump:
    """Takes DATA and appends it to staging, which is a write to the page cache; closes its socket at the end."""

    def __init__(self, shared: Shared, socket: Router) -> None:
        self._shared, self._socket = shared, socket
        self._drained = True

    def run(self) -> None:
        """Pump until stopped."""
        shared, socket = self._shared, self._socket
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        try:
            untold = 0
            while not shared.stop.is_set():
                if poller.poll(SETTLE_MS if untold else POLL_MS):
                    untold = self._receive(untold)
                    continue
                with shared.lock:  # what is out now is with devices, or on its way
                    shared.link.pool.read(time.monotonic_ns(), drained=True)
                if untold:
                    untold = 0
                    shared.wake.set()
        finally:
            socket.disable_monitor()
            socket.close(linger=0)

    def _receive(self, untold: int) -> int:
        """Take what is there. The control pump, which gives credit, is woken every 2 MiB, and by the caller when a
        pause comes: woken for every message it would take half a core from this thread. Returns the bytes untold."""
        shared = self._shared
        while not shared.stop.is_set() and (came := self._came()):
            untold += sum([max(1, len(payload)) for _, _, payload in came])
            while came:
                self._append(came)
            if untold >= WAKE_BYTES:
                untold = 0
                shared.wake.set()
        return untold

    def _append(self, came: deque[tuple[str, wire.Data, memoryview]]) -> None:
        """Append the first of what came, and of each other episode that follows the first: what comes next of the same
        has its turn when that is written."""
        shared, link = self._shared, self._shared.link
        wanted: list[tuple[Transfer, int, memoryview]] = []
        episodes: set[bytes] = set()
        with shared.lock:
            now_ns = time.monotonic_ns()
            link.pool.read(now_ns, drained=self._drained)
            self._drained = False
            while came and came[0][1].episode not in episodes:
                user_id, data, payload = came.popleft()
                episodes.add(data.episode)
                transfer = link.data(user_id, data, len(payload), now_ns)
                if transfer is not None:
                    wanted.append((transfer, data.session, payload))
            jobs = link.take_jobs()
        shared.staging.run(jobs)
        if wanted:
            shared.staging.append(wanted)

    def _came(self) -> deque[tuple[str, wire.Data, memoryview]]:
        """What came, some small messages or a large one, and by whom."""
        came: deque[tuple[str, wire.Data, memoryview]] = deque()
        size = 0
        while len(came) < AT_ONCE and size < AT_ONCE_BYTES:
            try:
                _, frames = self._socket.frames()
            except zmq.Again:
                self._drained = True
                break
            user_id = sender(frames[-1], self._shared.allowed)
            if user_id is None:
                continue
            try:
                if len(frames) != 2:
                    raise PeerViolation(f"{len(frames)} frames on the bulk socket, expected 2")
                data = wire.decode_from_device(frames[0].buffer)
                if not isinstance(data, wire.Data):
                    raise PeerViolation(f"{type(data).__name__} on the bulk socket, expected DATA")
            except PeerViolation as error:
                self._ignored(user_id, error)
                continue
            came.append((user_id, data, frames[1].buffer))
            size += len(came[-1][2])
        return came

    def _ignored(self, user_id: str, error: PeerViolation) -> None:
        with self._shared.lock:
            self._shared.link.out.counters["violations"] += 1
        device = user_id.partition("/")[0] or "a device without a key"
        self._shared.refusals.note(f"of {device}", f"sent what is ignored: {error}")
