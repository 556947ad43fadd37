"""The server's end of the link without I/O: messages and `now_ns` in, messages and jobs out.

The pumps call one method at a time (under their lock), send what `take_messages` gives and do what `take_jobs` asks,
reporting back to `arrivals` how each job ended. At most one job of an episode is under way, so that its effects on the
store are in order. What moves a session is in `session`, what moves a transfer in `transfer`.
"""

from collections.abc import Callable
from uuid import UUID

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.stream import check_name
from sensorium.errors import ConfigError, PeerViolation, StoreError
from sensorium.link import wire
from sensorium.link.server.allowance import Allowance, UnderWay
from sensorium.link.server.arrivals import Arrivals
from sensorium.link.server.boots import Boots
from sensorium.link.server.credit import CreditPool
from sensorium.link.server.jobs import NoteBetween, NoteDiscards, NoteSpool, Stored, StoreJob, Unseen
from sensorium.link.server.limits import Limits
from sensorium.link.server.messenger import Messenger
from sensorium.link.server.outbox import Outbox
from sensorium.link.server.session import ERROR_CODES, ServerSession, SessionEvent, SessionState, SessionTally
from sensorium.link.server.transfer import DATA, TAKING, Transfer, TransferEvent

STREAM_WORK = 4


class ServerLink:
    """The server's sessions, transfers and credit.

    `stored(episode)` says what the store holds of an episode, or `UNSEEN` where a job is to ask it. `new_number()` is
    an unguessable session number; `utc_ns()` is the server's clock for probes. `secure` says that `user_id` is
    `name/key` from the handshake and must agree with HELLO's device; otherwise the device is what it says it is.
    """

    def __init__(
        self,
        stored: Callable[[UUID], Stored | Unseen | None],
        new_number: Callable[[], int],
        utc_ns: Callable[[], int],
        limits: Limits | None = None,
        secure: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        self.sessions: dict[int, ServerSession] = {}
        self.out = Outbox()
        self.pool = CreditPool(self.limits.pool_bytes)
        self.arrivals = Arrivals(stored, self.limits, self.pool, self.out)
        self.messenger = Messenger(self.sessions, self.out)
        self._boots = Boots()
        self._hellos = Allowance(self.limits.hellos_of_key, self.limits.hellos_of_key_a_second)
        self._noted_of_key = Allowance(self.limits.noted_of_key, self.limits.noted_of_key_a_second)
        self._noting = UnderWay(self.limits.notes_of_key)
        self._next_sweep_ns = 0
        self._new_number, self._utc_ns, self._secure = new_number, utc_ns, secure
        self._handlers: dict[type, Callable[..., None]] = {
            wire.Offer: self._offer,
            wire.Sealed: self.arrivals.sealed,
            wire.Discarded: self._discarded,
            wire.Probe: self._probe,
            wire.Status: self._status,
        }

    def take_messages(self) -> list[tuple[bytes, wire.Message]]:
        """The (route, message) pairs to send on the control socket, in order."""
        messages, self.out.messages = self.out.messages, []
        return messages

    def take_jobs(self) -> list[StoreJob]:
        """The work on the store to start now."""
        self.arrivals.admit_freed()
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
            self._violated(session, f"{type(message).__name__} does not belong on the control socket", now_ns)
            return
        try:
            handler(session, message, now_ns)
        except PeerViolation as error:
            self._violated(session, str(error), now_ns)

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
            self._violated(session, str(error), now_ns)

    def _session_of(self, route: bytes, user_id: str, number: int) -> ServerSession | None:
        session = self.sessions.get(number)
        return session if session and session.route == route and session.user_id == user_id else None

    def _hello(self, route: bytes, user_id: str, hello: wire.Hello, now_ns: int) -> None:
        name = user_id.partition("/")[0]
        identity = name if self._secure else f"insecure:{hello.spool_id}"
        refusal = self._hello_refusal(name, hello)
        if refusal is None and not self._hellos.take(identity, 1, now_ns):
            refusal = "busy", "it says HELLO too often: wait some seconds"
        if refusal is not None:
            code, reason = refusal
            self.out.counters["refused_hellos"] += 1
            text = f"device {hello.device!r} (key of {name or 'nobody'!r}) refused: {reason}"
            self.out.lines.say(name or hello.device, f"refused, {code}", text, now_ns)
            self.out.messages.append((route, wire.Error(session=0, code=code, reason=reason, nonce=hello.nonce)))
            return
        if self._boots.alternate(hello.device, hello.spool_id, hello.boot_id):
            self.out.counters["copied_spools"] += 1
            text = (
                f"device {hello.device!r}: spool {hello.spool_id} comes from two machines by turns: it was copied"
                " (an image, a backup); stop the copy, or start it with a fresh spool.path"
            )
            self.out.lines.say(hello.device, "copied", text, now_ns)
        for old in [s for s in self.sessions.values() if (s.identity, s.spool_id) == (identity, hello.spool_id)]:
            self._end(old, SessionEvent.REPLACED, now_ns)
        session = ServerSession(
            self._new_number(),
            route,
            user_id,
            identity,
            hello.device,
            hello.spool_id,
            heard_ns=now_ns,
            progress_ns=now_ns,
            tally=SessionTally(hello.next_ordinal, now_ns),
        )
        self.sessions[session.number] = session
        self.out.counters["sessions"] += 1
        self.out.figures(hello.device).heard_ns = now_ns
        if self.out.listens:
            self.out.notes.append(f"device {hello.device!r}: session of spool {hello.spool_id}")
        limits = self.limits
        self.out.say(session, wire.Welcome(session=session.number, nonce=hello.nonce, max_offers=limits.offers))
        self.messenger.begun(session, hello.directives)
        self.out.jobs.append(NoteSpool(hello.device, hello.spool_id, hello.oldest, hello.next_ordinal))

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

    def _offer(self, session: ServerSession, offer: wire.Offer, now_ns: int) -> None:
        is_open = offer.episode in session.offers or offer.episode in session.looking
        if not is_open and len(session.offers) + len(session.looking) >= self.limits.offers:
            raise PeerViolation(f"more than {self.limits.offers} offers are open")
        session.tally.next_ordinal = max(session.tally.next_ordinal, offer.ordinal + 1)
        self.arrivals.offer(session, offer, now_ns)

    def _discarded(self, session: ServerSession, discarded: wire.Discarded, now_ns: int) -> None:
        ordinals = discarded.ordinals
        if not ordinals:
            return
        if not session.may_have_begun(last := max(ordinals), now_ns):
            raise PeerViolation(f"DISCARDED of ordinal {last}, of a spool whose next was {session.tally.next_ordinal}")
        self.arrivals.discarded(session, ordinals)
        # The device repeats what is not answered.
        if self._may_note(session, len(ordinals), now_ns):
            job = NoteDiscards(session.number, session.device, session.spool_id, ordinals, discarded.reason)
            self.out.jobs.append(job)

    def _may_note(self, session: ServerSession, count: int, now_ns: int) -> bool:
        """Whether the store is asked to note so much more: of each key it has so much to do, and no more."""
        if not self._noted_of_key.take(session.identity, count, now_ns):
            return False
        if not self._noting.begin(session.identity, session.number):
            return False
        session.tally.ledgering += 1
        return True

    def _noted(self, number: int) -> ServerSession | None:
        """The session that asked for what is noted, if it is not over."""
        self._noting.end(number)
        session = self.sessions.get(number)
        if session is not None:
            session.tally.ledgering -= 1
        return session

    def _probe(self, session: ServerSession, probe: wire.Probe, _: int) -> None:
        utc_ns = self._utc_ns()
        reply = wire.ProbeReply(
            session=session.number, sent_ns=probe.sent_ns, server_received_ns=utc_ns, server_sent_ns=utc_ns
        )
        self.out.say(session, reply)

    def _status(self, session: ServerSession, status: wire.Status, now_ns: int) -> None:
        held = wire.held_of(status.document)
        if held is not None:
            self.arrivals.hold(session, held=held)
        if wire.leaves(status.document):
            session.move(SessionEvent.LEAVES)
        self.messenger.hear(session, status.document)
        if session.tally.telling:  # it says it again
            return
        report = wire.between_of(status.document)
        if report is not None and self._may_note(session, STREAM_WORK * (1 + len(report.streams)), now_ns):
            session.tally.telling = True
            self.out.jobs.append(NoteBetween(session.number, session.device, session.spool_id, report))

    # --- bulk ----------------------------------------------------------------------------------------------------

    def data(self, user_id: str, data: wire.Data, size: int, now_ns: int) -> Transfer | None:
        """DATA of `size` bytes came in: the transfer to append it to (then call `written` or another), or None."""
        session = self.sessions.get(data.session)
        if session is None or session.user_id != user_id:
            self.out.counters["stale_bytes"] += size
            return None
        session.heard_ns = now_ns
        if session.taken + size > session.limit or not 0 < size <= wire.MAX_DATA_BYTES:
            text = f"DATA of {size} bytes at {session.taken} of {session.limit} bytes of credit"
            self._violated(session, text, now_ns)
            return None
        transfer = session.offers.get(data.episode)
        if transfer and transfer.state is TAKING and data.want == transfer.number:
            if data.offset + size > self.limits.episode_bytes:
                self.arrivals.refused(transfer.episode, "too_large", f"over {self.limits.episode_bytes} bytes", now_ns)
            elif data.offset == transfer.accepted:
                transfer.move(DATA)
                return transfer
            else:  # a gap: what follows under the old number is dropped, so it is asked for once
                transfer.move(TransferEvent.GAP)
                self.arrivals.want(transfer)
        self.pool.used(session, size)
        self.out.counters["dropped_bytes"] += size
        return None

    def written(self, transfer: Transfer, session_number: int, size: int, now_ns: int) -> None:
        """The bytes that `data` accepted are in the staging file."""
        self.out.counters["written_bytes"] += size
        self.out.figures(transfer.owner[0]).written_bytes += size
        self._used(session_number, size)
        self.arrivals.written(transfer, size, now_ns)

    def unwritten(self, transfer: Transfer, session_number: int, size: int) -> bool:
        """The bytes that `data` accepted could not be appended.

        True: now `damaged`, `refused` or `failed` must say why. False: what was written is not wanted any more.
        """
        self._used(session_number, size)
        return self.arrivals.unwritten(transfer)

    def _used(self, session_number: int, size: int) -> None:
        session = self.sessions.get(session_number)
        if session is not None:
            self.pool.used(session, size)

    # --- answers from the store ----------------------------------------------------------------------------------

    def looked_up(self, session: int, episode: UUID, stored: Stored | StoreError | None, now_ns: int) -> None:
        """`LookUp` is done: what the store holds, or why it cannot say."""
        if session in self.sessions:
            self.arrivals.looked_up(self.sessions[session], episode, stored, now_ns)

    def ledgered(
        self, session: int, ordinals: tuple[int, ...], committed: list[tuple[bytes, int, bytes]], _: int
    ) -> None:
        """`NoteDiscards` is done; `committed` are those (episode, ordinal, digest) that the store holds after all."""
        asking = self._noted(session)
        if asking is not None:
            for episode, ordinal, digest in committed:
                self.out.say_committed(asking, episode, ordinal, digest)
            if ordinals:
                self.out.say(asking, wire.Ledgered(session=session, ordinals=ordinals))

    def noted_between(self, session: int, number: int, _: int) -> None:
        """`NoteBetween` is done: what was told under this number is durable; 0 if nothing is."""
        asking = self._noted(session)
        if asking is not None:
            asking.tally.telling = False
            if number:
                self.out.say(asking, wire.Ledgered(session=session, ordinals=(), between=number))

    # --- time ----------------------------------------------------------------------------------------------------

    def poll(self, now_ns: int) -> None:
        """Give credit; end what was silent or stalled for too long; try again what was put off. Call it often."""
        if now_ns >= self._next_sweep_ns:
            self._next_sweep_ns = now_ns + SECOND_NS // 4
            self._sweep(now_ns)
        for session in self.pool.turn(now_ns):
            self.out.say(session, wire.Credit(session=session.number, limit=session.limit, taken=session.taken))

    def _sweep(self, now_ns: int) -> None:
        limits = self.limits
        for session in list(self.sessions.values()):
            if not session.outstanding or not session.demand:
                session.rested(now_ns)
            if now_ns - session.heard_ns > limits.silent_s * SECOND_NS:
                self._end(session, SessionEvent.SILENT, now_ns, "silent for too long")
            elif now_ns - session.progress_ns > limits.stall_s * SECOND_NS:
                self._end(session, SessionEvent.STALLED, now_ns, "credit was not used for too long")
        self.arrivals.poll(now_ns)

    def unreachable(self, route: bytes, now_ns: int) -> None:
        """The control socket could not deliver to `route`: its sessions are over."""
        for session in [s for s in self.sessions.values() if s.route == route]:
            self._end(session, SessionEvent.UNREACHABLE, now_ns)

    def revoke(self, allowed: Callable[[str], bool], now_ns: int) -> None:
        """End every session whose key is not allowed any more."""
        for session in [s for s in self.sessions.values() if not allowed(s.user_id)]:
            text = f"device {session.device!r}: key revoked, session ended"
            self.out.lines.say(session.device, "revoked", text, now_ns)
            self._end(session, SessionEvent.REVOKED, now_ns, "this key was revoked")

    def stop(self, now_ns: int) -> None:
        """End every session, as this end stops; each device is told, so that it need not guess why it is cut off."""
        for session in list(self.sessions.values()):
            self._end(session, SessionEvent.STOPPED, now_ns, "it stops; what it has not confirmed is sent again")

    # --- within --------------------------------------------------------------------------------------------------

    def _violated(self, session: ServerSession, why: str, now_ns: int) -> None:
        self._end(session, SessionEvent.VIOLATED, now_ns, why[:500])

    def _end(self, session: ServerSession, event: SessionEvent, now_ns: int, reason: str = "") -> None:
        """The session is over: its credit is revoked, its transfers wait for the next one; its device is told why."""
        expected = session.state is SessionState.LEAVING and event in (SessionEvent.SILENT, SessionEvent.STALLED)
        session.move(event)
        del self.sessions[session.number]
        self.pool.close(session)
        code = None if expected else ERROR_CODES.get(event)
        if code is not None:
            if event is not SessionEvent.STOPPED:
                self.out.counters["violations" if event is SessionEvent.VIOLATED else "sessions_ended"] += 1
                text = f"{session.device}: session ended, {code}: {reason}"
                self.out.lines.say(session.device, event.name, text, now_ns)
            self.out.say(session, wire.Error(session=session.number, code=code, reason=reason[:1000]))
        self.arrivals.session_over(session, now_ns)
