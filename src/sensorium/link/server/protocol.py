"""The server's end of the link without I/O: messages and `now_ns` in, messages and jobs out.

The pumps call one method at a time (under their lock), send what `take_messages` gives and do what `take_jobs` asks,
reporting back to `arrivals` how each job ended. At most one job of an episode is under way, so that its effects on the
store are in order. A session lives from its HELLO to an error, silence, a revoked key or the next HELLO of its spool.
"""

from collections.abc import Callable
from uuid import UUID

from sensorium.drivers.stream import check_name
from sensorium.errors import ConfigError
from sensorium.link import wire
from sensorium.link.server.credit import CreditPool
from sensorium.link.server.outbox import Outbox
from sensorium.link.server.transfer import SECOND, Job, Ledger, Limits, SawSpool, Session, State, Transfer
from sensorium.link.server.transfers import Known, Transfers

MAX_LEDGERING = 16


class ServerLink:
    """The server's sessions, transfers and credit.

    `known(episode)` looks an episode up in the store; `new_number()` gives unguessable session numbers; `utc_ns()`
    is the server's clock for probes. `secure` says that `user_id` is `name/key` from the handshake and must agree
    with HELLO's device; otherwise the device is what it says it is.
    """

    def __init__(
        self,
        known: Callable[[UUID], Known | None],
        new_number: Callable[[], int],
        utc_ns: Callable[[], int],
        limits: Limits | None = None,
        secure: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        self.sessions: dict[int, Session] = {}
        self.out = Outbox()
        self.pool = CreditPool(self.limits.pool_bytes)
        self.arrivals = Transfers(known, self.limits, self.pool, self.out)
        self._next_sweep_ns = 0
        self._new_number, self._utc_ns, self._secure = new_number, utc_ns, secure
        self._handlers: dict[type, Callable[..., None]] = {
            wire.Offer: self._offer,
            wire.Sealed: self._sealed,
            wire.Discarded: self._discarded,
            wire.Probe: self._probe,
            wire.Status: self._status,
        }

    def take_messages(self) -> list[tuple[bytes, wire.Message]]:
        """The (route, message) pairs to send on the control socket, in order."""
        messages, self.out.messages = self.out.messages, []
        return messages

    def take_jobs(self) -> list[Job]:
        """The work on the store to start now."""
        jobs, self.out.jobs = self.out.jobs, []
        return jobs

    # --- control -------------------------------------------------------------------------------------------------

    def receive(self, route: bytes, user_id: str, message: wire.DeviceMessage, now_ns: int) -> None:
        """A message from the control socket; `user_id` is the handshake's, "" without one."""
        if isinstance(message, wire.Hello):
            self._hello(route, user_id, message, now_ns)
            return
        session = self._session_of(route, user_id, message.session)
        if session is None:
            self.out.counters["stale_messages"] += 1
            text = "no such session here: say HELLO again"
            self.out.messages.append((route, wire.Error(session=message.session, code="session", reason=text)))
            return
        session.heard_ns = self.out.figures(session.device).heard_ns = now_ns
        handler = self._handlers.get(type(message))
        if handler is None:
            self._end(session, now_ns, "violation", f"{type(message).__name__} does not belong on the control socket")
            return
        handler(session, message, now_ns)

    def misunderstood(self, route: bytes, user_id: str, error: Exception, now_ns: int) -> None:
        """A control frame did not decode: an unknown type is answered, rubbish ends its sender's session."""
        if isinstance(error, wire.UnknownMessage):
            session = self._session_of(route, user_id, error.session)
            if session is not None:
                self.out.counters["unknown_messages"] += 1
                self.out.say(session, wire.Error(session=session.number, code="unknown", reason=str(error)))
            return
        self.out.counters["violations"] += 1
        for session in [s for s in self.sessions.values() if s.route == route]:
            self._end(session, now_ns, "violation", str(error)[:500])

    def _session_of(self, route: bytes, user_id: str, number: int) -> Session | None:
        session = self.sessions.get(number)
        return session if session and session.route == route and session.user_id == user_id else None

    def _hello(self, route: bytes, user_id: str, hello: wire.Hello, now_ns: int) -> None:
        name = user_id.partition("/")[0]
        refusal = self._hello_refusal(name, hello)
        if refusal is not None:
            code, reason = refusal
            self.out.counters["refused_hellos"] += 1
            self.out.lines.append(f"device {hello.device!r} (key of {name or 'nobody'!r}) refused: {reason}")
            self.out.messages.append((route, wire.Error(session=0, code=code, reason=reason, nonce=hello.nonce)))
            return
        identity = name if self._secure else f"insecure:{hello.spool_id}"
        for old in [s for s in self.sessions.values() if (s.identity, s.spool_id) == (identity, hello.spool_id)]:
            self._end(old, now_ns)
        session = Session(
            self._new_number(),
            route,
            user_id,
            identity,
            hello.device,
            hello.spool_id,
            heard_ns=now_ns,
            progress_ns=now_ns,
        )
        self.sessions[session.number] = session
        self.out.counters["sessions"] += 1
        self.out.figures(hello.device).heard_ns = now_ns
        limits = self.limits
        self.out.say(session, wire.Welcome(session=session.number, nonce=hello.nonce, max_offers=limits.offers))
        self.out.jobs.append(SawSpool(hello.device, hello.spool_id, hello.oldest, hello.next_ordinal))

    def _hello_refusal(self, name: str, hello: wire.Hello) -> tuple[str, str] | None:
        if hello.version != wire.VERSION:
            return "version", (
                f"the device speaks link version {hello.version}, the ingest {wire.VERSION}:"
                " install the same release on both"
            )
        if self._secure and hello.device != name:
            return "identity", f"the device calls itself {hello.device!r} but its key is that of {name!r}"
        try:
            check_name(hello.device, "device")
            check_name(hello.spool_id, "spool_id")
        except ConfigError as error:
            return "identity", str(error)
        if len(self.sessions) >= self.limits.sessions:
            return "busy", f"the ingest has {len(self.sessions)} sessions, its limit"
        others = [s for s in self.sessions.values() if s.identity == name and s.spool_id != hello.spool_id]
        if self._secure and len(others) >= self.limits.sessions_of_device:
            return "busy", f"{len(others)} other spools of this device have sessions, the limit"
        return None

    def _offer(self, session: Session, offer: wire.Offer, now_ns: int) -> None:
        if offer.episode not in session.offers and len(session.offers) >= self.limits.offers:
            self._end(session, now_ns, "violation", f"more than {self.limits.offers} offers are open")
        else:
            self.arrivals.offer(session, offer, now_ns)

    def _sealed(self, session: Session, sealed: wire.Sealed, now_ns: int) -> None:
        transfer = session.offers.get(sealed.episode)
        if transfer is None or transfer.state in (State.COMMITTING, State.DROPPING):
            return
        if sealed.recoveries == transfer.offer.recoveries:
            transfer.sealed = sealed
            self.arrivals.complete(transfer, now_ns)

    def _discarded(self, session: Session, discarded: wire.Discarded, _: int) -> None:
        for transfer in list(session.offers.values()):
            if transfer.owner[2] in discarded.ordinals and transfer.state is not State.COMMITTING:
                self.arrivals.drop(transfer)
        if session.ledgering < MAX_LEDGERING and discarded.ordinals:  # the device repeats what is not answered
            session.ledgering += 1
            job = Ledger(session.number, session.device, session.spool_id, discarded.ordinals, discarded.reason)
            self.out.jobs.append(job)

    def _probe(self, session: Session, probe: wire.Probe, _: int) -> None:
        utc_ns = self._utc_ns()
        reply = wire.ProbeReply(
            session=session.number, sent_ns=probe.sent_ns, server_received_ns=utc_ns, server_sent_ns=utc_ns
        )
        self.out.say(session, reply)

    def _status(self, session: Session, status: wire.Status, _: int) -> None:
        session.status = status.document

    # --- bulk ----------------------------------------------------------------------------------------------------

    def data(self, user_id: str, data: wire.Data, size: int, now_ns: int) -> Transfer | None:
        """DATA of `size` bytes came in: the transfer to append it to (then call `written` or another), or None."""
        session = self.sessions.get(data.session)
        if session is None or session.user_id != user_id:
            self.out.counters["stale_bytes"] += size
            return None
        session.heard_ns = session.progress_ns = now_ns
        if session.taken + size > session.limit or not 0 < size <= wire.MAX_DATA_BYTES:
            text = f"DATA of {size} bytes at {session.taken} of {session.limit} bytes of credit"
            self._end(session, now_ns, "violation", text)
            return None
        transfer = session.offers.get(data.episode)
        if transfer and transfer.state is State.TAKING and data.want == transfer.number:
            if data.offset + size > self.limits.episode_bytes:
                self.arrivals.refused(transfer.episode, "too_large", f"over {self.limits.episode_bytes} bytes", now_ns)
            elif data.offset == transfer.accepted:
                transfer.writing = True
                return transfer
            else:  # a gap: what follows under the old number is dropped, so it is asked for once
                self.arrivals.want(transfer)
        self.pool.used(session, size)
        self.out.counters["dropped_bytes"] += size
        return None

    def written(self, transfer: Transfer, session_number: int, size: int, now_ns: int) -> None:
        """The bytes that `data` accepted are in the staging file."""
        transfer.accepted += size
        self.out.counters["written_bytes"] += size
        self.out.figures(transfer.owner[0]).written_bytes += size
        self.unwritten(transfer, session_number, size)
        if transfer.state is not State.TAKING:
            return
        if transfer.restart_due:
            self.arrivals.restart(transfer)
        self.arrivals.complete(transfer, now_ns)

    def unwritten(self, transfer: Transfer, session_number: int, size: int) -> None:
        """The bytes that `data` accepted could not be appended; `damaged`, `refused` or `failed` says what follows."""
        transfer.writing = False
        session = self.sessions.get(session_number)
        if session is not None:
            self.pool.used(session, size)

    # --- answers from the store ----------------------------------------------------------------------------------

    def ledgered(
        self, session: int, ordinals: tuple[int, ...], committed: list[tuple[bytes, int, bytes]], _: int
    ) -> None:
        """`Ledger` is done; `committed` are those (episode, ordinal, digest) that the store holds after all."""
        if session in self.sessions:
            self.sessions[session].ledgering -= 1
            for episode, ordinal, digest in committed:
                self.out.say_committed(self.sessions[session], episode, ordinal, digest)
            if ordinals:
                self.out.say(self.sessions[session], wire.Ledgered(session=session, ordinals=ordinals))

    # --- time ----------------------------------------------------------------------------------------------------

    def poll(self, now_ns: int) -> None:
        """Give credit; end what was silent or stalled for too long; try again what was put off. Call it often."""
        if now_ns >= self._next_sweep_ns:
            self._next_sweep_ns = now_ns + SECOND // 4
            self._sweep(now_ns)
        for session in self.pool.turn():
            self.out.say(session, wire.Credit(session=session.number, limit=session.limit, taken=session.taken))

    def _sweep(self, now_ns: int) -> None:
        limits = self.limits
        for session in list(self.sessions.values()):
            if not session.outstanding or not session.demand:
                session.progress_ns = now_ns
            if now_ns - session.heard_ns > limits.silent_s * SECOND:
                self._end(session, now_ns, "session", "silent for too long")
            elif now_ns - session.progress_ns > limits.stall_s * SECOND:
                self._end(session, now_ns, "session", "credit was not used for too long")
        for transfer in list(self.arrivals.by_episode.values()):
            if transfer.retry_ns and now_ns >= transfer.retry_ns:
                self.arrivals.commit(transfer)
            elif transfer.session is None and now_ns - transfer.idle_ns > limits.staging_s * SECOND:
                self.arrivals.drop(transfer)

    def unreachable(self, route: bytes, now_ns: int) -> None:
        """The control socket could not deliver to `route`: its sessions are over."""
        for session in [s for s in self.sessions.values() if s.route == route]:
            self._end(session, now_ns)

    def revoke(self, allowed: Callable[[str], bool], now_ns: int) -> None:
        """End every session whose key is not allowed any more."""
        for session in [s for s in self.sessions.values() if not allowed(s.user_id)]:
            self.out.lines.append(f"device {session.device!r}: key revoked, session ended")
            self._end(session, now_ns, "identity", "this key was revoked")

    # --- within --------------------------------------------------------------------------------------------------

    def _end(self, session: Session, now_ns: int, code: str = "", reason: str = "") -> None:
        """The session is over: its credit is revoked, its transfers wait for the next one; with `code` it is told."""
        del self.sessions[session.number]
        session.is_open = False
        self.pool.close(session)
        if code:
            self.out.counters["violations" if code == "violation" else "sessions_ended"] += 1
            self.out.lines.append(f"{session.device}: session ended, {code}: {reason}")
            self.out.say(session, wire.Error(session=session.number, code=code, reason=reason[:1000]))
        for transfer in list(session.offers.values()):
            transfer.session, transfer.idle_ns = None, now_ns
            if transfer.state is State.WAITING:
                self.arrivals.forget(transfer, now_ns)
