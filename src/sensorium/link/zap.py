"""The gate of the link: answers ZeroMQ's authentication requests (ZAP), and fails closed.

libzmq asks on inproc://zeromq.zap.01 at every CURVE handshake. The sockets set ZAP_DOMAIN and ZAP_ENFORCE_DOMAIN, so
that with no gate, or a dead one, every handshake is refused. By itself libzmq fails open: where nobody answers there,
it lets in every key, known or not. pyzmq's own authenticator, set up for all domains, "*", does not take a domain that
has a name for one of them, and refuses everyone.
"""

import logging
import threading
import time
from collections.abc import Callable

import zmq
from zmq.utils import z85

from sensorium.link.keys import AllowedKeys, Pair
from sensorium.threads import Thread, Told

log = logging.getLogger(__name__)

DOMAIN = b"sensorium"
POLL_MS = 100
LOG_EVERY_S = 10.0
MAX_PEERS = 1024


class Refusals:
    """One log line for each refused peer, at most every ten seconds."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, int]] = {}

    def note(self, peer: str, why: str) -> None:
        """Log it, or count it for the next line. `peer` is where from, or, if that is not known, where to."""
        now = time.monotonic()
        last, held = self._last.get(peer, (-LOG_EVERY_S, 0))
        if now - last < LOG_EVERY_S:
            self._last[peer] = (last, held + 1)
            return
        if len(self._last) >= MAX_PEERS:
            self._last.clear()
        self._last[peer] = (now, 0)
        log.warning("connection %s %s%s", peer, why, f" ({held} more since)" if held else "")


def secure(socket: "zmq.Socket[bytes]", pair: Pair) -> None:
    """Make a server socket accept only CURVE, and only whom the gate lets in."""
    socket.curve_server = True
    socket.curve_secretkey = pair.secret
    # It takes both: without a domain there is nothing to enforce, and without enforcing, no gate means no check.
    socket.zap_domain = DOMAIN
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def sender(frame: zmq.Frame, allowed: AllowedKeys | None) -> str | None:
    """Who sent a frame, by the handshake; "" where none is asked for; None: nobody whom we may listen to any more.

    Asked of every message, since ZeroMQ reconnects unseen and a key may be revoked while its connection lives.
    """
    if allowed is None:
        return ""
    try:
        user_id = str(frame.get("User-Id"))
    except zmq.ZMQError:
        return None
    return user_id if allowed.allows(user_id) else None


class Gate:
    """A thread answers; it also looks at the folder of keys ten times a second and calls `on_change`.

    When it dies `died` is told: nobody new is let in, and it would not be seen that a key was revoked.
    """

    def __init__(
        self,
        context: "zmq.Context[zmq.Socket[bytes]]",
        allowed: AllowedKeys,
        on_change: Callable[[], None],
        died: Told,
    ) -> None:
        self._allowed, self._on_change = allowed, on_change
        self._refusals = Refusals()
        self._unreadable = ""
        self._say_s = self._looked_s = 0.0
        self._stop_requested = threading.Event()
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind("inproc://zeromq.zap.01")
        self._thread = Thread("sensorium-gate", "lets devices in", self._run, died)

    def stop(self) -> bool:
        """End the thread, from then on nobody is let in; False if it hangs."""
        self._stop_requested.set()
        return self._thread.join()

    def _run(self) -> None:
        """Answer until stopped. Whatever ends this thread closes the socket, so nobody is let in unasked."""
        # Left open it would take requests that nobody answers; closed, libzmq has nobody to ask, and refuses.
        with self._socket as socket:
            while not self._stop_requested.is_set():
                if socket.poll(POLL_MS):
                    socket.send_multipart(self._answer(socket.recv_multipart()))
                if time.monotonic() - self._looked_s >= POLL_MS / 1000:  # of a thousand devices there are as many files
                    self._look()

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        try:
            changed = self._allowed.refresh()
        except OSError as error:
            why = error.strerror or str(error)
            if why != self._unreadable and self._looked_s >= self._say_s:  # descriptors may run out again and again
                log.error("the folder of allowed keys cannot be read: %s", why)
                self._unreadable, self._say_s = why, self._looked_s + LOG_EVERY_S
            return
        self._unreadable = ""
        if changed:
            self._on_change()

    def _answer(self, request: list[bytes]) -> list[bytes]:
        if len(request) < 6 or request[0] != b"1.0":
            return [b"1.0", request[1] if len(request) > 1 else b"", b"500", b"not ZAP 1.0", b"", b""]
        _, number, domain, address, _, mechanism, *credentials = request
        user_id, why = None, ""
        if domain != DOMAIN or mechanism != b"CURVE" or len(credentials) != 1 or len(credentials[0]) != 32:
            why = f"refused: mechanism {mechanism.decode('ascii', 'replace')[:20]} in place of CURVE"
        else:
            public = z85.encode(credentials[0]).decode("ascii")
            if not self._allowed.is_current(public):  # it may have been allowed, or revoked, a moment ago
                self._look()
            user_id = self._allowed.user_id(public)
            why = f"refused: key {public} is not allowed"
        if user_id is None:
            self._refusals.note("from " + address.decode("ascii", "replace"), why)
            return [b"1.0", number, b"400", b"not allowed", b"", b""]
        return [b"1.0", number, b"200", b"OK", user_id.encode("ascii"), b""]
