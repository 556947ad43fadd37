"""The uplink: one thread pumps the spool's episodes to the ingest, for as long as there are any, whatever breaks.

One thread serves both sockets: a send only queues, the encryption and the network are libzmq's own threads.
"""

import logging
import random
import threading
from functools import partial
from typing import Any

import zmq

from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.budget import Budget
from sensorium.agents.uplink.obeys import Obeys, Reports, pass_on, report, tell
from sensorium.agents.uplink.sockets import Address, Socket, Sockets, refusal
from sensorium.agents.uplink.spool_end import REFRESH_S, SpoolEnd
from sensorium.agents.uplink.told_sessions import ToldSessions
from sensorium.drivers.clock import boottime_ns
from sensorium.errors import PeerViolation, SensoriumError, SpoolError, ThreadDied
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.protocol import DeviceLink
from sensorium.link.directive import FORMAT
from sensorium.link.keys import Pair
from sensorium.link.lines import SeldomLog
from sensorium.link.wake import Wake
from sensorium.threads import Restart, Thread

log = logging.getLogger(__name__)

MAX_POLL_MS = 500
BURST_BYTES = 8 << 20
LAST_WORD_MS = 200
PASS_NS = 5_000_000_000
"""So often who obeys is told that time has passed."""
CUT = "the connection was cut"


class Uplink:
    """Delivers what is in `spool` to the ingest at `url` until `stop`; a plain class, its thread is its own.

    Args:
        spool: It stays the caller's to close, after `stop`.
        url: tcp://HOST:PORT of the ingest's control socket; bulk goes to the next port.
        server_key: The ingest's public key, Z85. None: no CURVE, which is for loopback, or `insecure`.
        keypair: This device's pair; with `server_key`, both or neither.
        insecure: Without keys, send to any address: whoever is on the way may read and change it.
        of: Deliver what is in the spool of this former spool_id; empty: of its present one.
        budget: What may be sent, in common with others; None: whatever there is.
        obeys: Who obeys directives, and tells of them; None: nobody.
        reports: Who says the device's state; None: nobody.
    """

    def __init__(
        self,
        spool: Spool,
        url: str,
        server_key: str | None = None,
        keypair: Pair | None = None,
        insecure: bool = False,
        of: str = "",
        budget: Budget | None = None,
        obeys: Obeys | None = None,
        reports: Reports | None = None,
    ) -> None:
        self._address = Address.of(url, server_key, keypair, insecure)
        self._spool, self._spool_end = spool, SpoolEnd(spool, of)
        self._link = DeviceLink(
            spool.device,
            of or spool.spool_id,
            self._spool_end.boot_id,
            partial(spool.ordinals, of),
            self._spool_end.probes,
            random.SystemRandom().random,
            directives=FORMAT if obeys is not None else 0,
        )
        self._budget, self._obeys, self._reports = budget, obeys, reports
        self._stop_requested = threading.Event()
        self._wake = Wake()
        self._thread: Thread | None = None
        self._sockets: Sockets | None = None
        self._figures = {"sent_bytes": 0, "sessions": 0, "handshakes_refused": 0}
        self._passed_ns = 0
        self._seldom = SeldomLog(log)
        self._told = ToldSessions(self._seldom)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._spool.subscribe(self._spool_changed)
        if self._obeys is not None:
            self._obeys.subscribe(self._wake.set)
        self._spool_end.changed()
        # The spool may be in trouble for a while. It keeps the data, so this end tries again, for ever.
        again = Restart(self._stop_requested)
        self._thread = Thread("sensorium-uplink", "delivers the spool", self._run, self._broke, restart=again)

    def stop(self) -> None:
        """End the thread; what is in flight stays in the spool. May be called twice."""
        self._stop_requested.set()
        if self._thread is not None:
            self._wake.set()
            if not self._thread.join():
                return  # it may still wait for a call
            self._thread = None
            self._spool_end.settle()
        self._wake.close()

    def stats(self) -> dict[str, Any]:
        """`state` (down, greeting, up), sent_bytes, in_flight, committed, rejected, sessions, last_error; `unanswered`:
        how often a session was renewed because a whole episode had no answer."""
        return {
            "state": self._link.state.name.lower(),
            "in_flight": self._link.in_flight,
            "last_error": self._told.last_error,
            "committed": self._spool_end.committed,
            "rejected": self._spool_end.rejected,
            "noted_between": self._link.noted_between,
            "unanswered": self._link.unanswered,
            **self._figures,
        }

    def budget_is(self, budget: Budget | None) -> None:
        """What may be sent from now on."""
        self._budget = budget
        self._wake.set()

    def _spool_changed(self) -> None:
        self._spool_end.changed()
        self._wake.set()

    # --- the pump ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        context = zmq.Context(io_threads=1)
        try:
            while not (self._stop_requested.is_set() or self._spool_end.finished):
                self._step(context)
        except OSError as error:
            raise SpoolError(f"uplink: {error}") from error
        finally:
            if self._sockets is not None:
                said = {} if self._reports is None else {"device": self._reports.last()}
                self._link.status(wire.leaving() | said)
                self._say(self._sockets)
                self._sockets.close(LAST_WORD_MS)
                self._sockets = None
            context.destroy(linger=0)

    def _broke(self, why: SensoriumError) -> None:
        if not isinstance(why, ThreadDied):  # which is said already
            log.error("%s", why)
        self._told.last_error = str(why)
        self._link.lost(str(why), boottime_ns())

    def _step(self, context: "zmq.Context[Socket]") -> None:
        link = self._link
        now_ns = boottime_ns()
        link.poll(now_ns)
        self._do_jobs(context)  # first what was committed leaves the spool, then the rest is offered
        self._spool_end.settle(now_ns)
        if self._obeys is not None and now_ns >= self._passed_ns + PASS_NS:
            self._passed_ns = now_ns
            self._obeys.pass_time()
        if link.is_up:
            self._spool_end.offer(link, now_ns)
            if self._obeys is not None:
                tell(self._obeys, link, now_ns)
            if self._reports is not None:
                report(self._reports, link, now_ns)
        hold = None if self._budget is None else self._budget.held(now_ns)
        link.hold("" if hold is None else hold.why, now_ns)
        blocked = self._send(context)
        wait_ms = 0
        if not blocked or self._sockets is None:
            wait_ms = max(0, min(MAX_POLL_MS, (link.next_timer_ns(now_ns) - boottime_ns()) // 1_000_000 + 1))
            if self._budget is not None and (short_ns := self._budget.wait_ns(now_ns)):
                wait_ms = min(wait_ms, short_ns // 1_000_000 + 1)
            if self._spool_end.has_answers or (self._spool_end.has_news and link.is_up):
                wait_ms = min(wait_ms, int(REFRESH_S * 1000))
        self._receive(wait_ms)

    def _send(self, context: "zmq.Context[Socket]") -> bool:
        """Do and send what is due; whether there may be more to send at once."""
        link = self._link
        self._do_jobs(context)
        sent = 0
        while self._sockets is not None:
            self._say(self._sockets)
            if self._sockets.gone:
                return False
            if sent >= BURST_BYTES:
                return True
            due = link.next_data(boottime_ns())
            if due is None or (size := self._allowed(due[1])) == 0:
                self._say(self._sockets)
                return False
            sent += self._send_data(self._sockets, due[0], size)
        return False

    def _allowed(self, size: int) -> int:
        """How much of `size` bytes the budget has now; 0 if it is not worth a message."""
        if self._budget is None:
            return size
        return min(size, self._budget.allows(self, boottime_ns()))

    def _say(self, sockets: Sockets) -> None:
        for message in self._link.take_messages():
            sockets.say(message)

    def _send_data(self, sockets: Sockets, data: wire.Data, size: int) -> int:
        payload = self._spool_end.read(data, size)
        if payload is None:
            self._link.pause(data, boottime_ns())
            return 0
        sockets.send(data, payload)
        if sockets.gone:
            return 0
        self._link.sent(data, size, boottime_ns())
        self._figures["sent_bytes"] += size
        if self._budget is not None:
            self._budget.spend(self, size, boottime_ns())
        return size

    def _receive(self, wait_ms: int) -> None:
        sockets = self._sockets
        if sockets is None:
            self._wake.wait(wait_ms)
            return
        has_frames, befell = sockets.wait(wait_ms)
        if has_frames:
            self._receive_control(sockets)
        for event in befell:
            why = refusal(event)
            if why:
                self._figures["handshakes_refused"] += 1
            self._link.lost(why or CUT, boottime_ns())
        if sockets.gone:  # why is told before it is, but for what nobody foresaw
            self._link.lost(CUT, boottime_ns())

    def _receive_control(self, sockets: Sockets) -> None:
        for frame in sockets.frames():
            now_ns = boottime_ns()
            try:
                self._link.receive(wire.decode_from_server(frame), now_ns)
            except wire.UnknownMessage as error:
                self._seldom.say("unknown here", f"uplink: ignored from the ingest: {error}")
            except PeerViolation as error:
                self._link.lost(f"from the ingest: {error}", now_ns, "no message")
                return

    # --- jobs ----------------------------------------------------------------------------------------------------

    def _do_jobs(self, context: "zmq.Context[Socket]") -> None:
        for job in self._link.take_jobs():
            match job:
                case jobs.Connect():
                    self._sockets = Sockets(context, self._address, self._wake)
                case jobs.Disconnect(why, cause):
                    if self._sockets is not None:
                        self._sockets.close()
                        self._sockets = None
                    self._told.ended(why, cause)
                case jobs.OfferAll():
                    self._figures["sessions"] += 1
                    self._told.begun(self._address.control)
                    if self._reports is not None:
                        self._reports.begin()
                case jobs.Log(cause, text):
                    self._seldom.say(cause, f"uplink: {text}")
            if self._obeys is not None:
                pass_on(self._obeys, job)
            self._spool_end.do(job, self._link)
