"""The server's end of the link without I/O: messages and `now_ns` in, messages and jobs out.

The pumps call one method at a time (under their lock), send what `take_messages` gives and do what `take_jobs` asks,
reporting back how each job ended. At most one job of an episode is under way, so its effects on the store are in order.

A transfer is one episode on its way in. It outlives the session that offered it, so that the next one resumes it:

    state       | left by
    WAITING     | a free place -> OPENING (job Begin); its session ends -> gone
    OPENING     | begun -> TAKING
    TAKING      | all bytes and SEALED -> COMMITTING (job Commit); damage -> OPENING; any refusal or expiry -> DROPPING
    COMMITTING  | committed -> gone; damage -> OPENING; conflict -> DROPPING; store trouble -> COMMITTING, later again
    DROPPING    | dropped (jobs Drop, Quarantine) -> gone, or WAITING when it was offered again meanwhile
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from sensorium.drivers.stream import check_name
from sensorium.errors import ConfigError
from sensorium.ingest import wire
from sensorium.ingest.credit import CreditPool
from sensorium.ingest.transfer import (
    SECOND,
    Begin,
    Commit,
    DeviceFigures,
    Drop,
    Job,
    Ledger,
    Limits,
    SawSpool,
    Session,
    State,
    Transfer,
)

MAX_TRIES = 3


class Known(Protocol):
    """What the store says of an episode that it holds."""

    @property
    def state(self) -> str: ...
    @property
    def digest(self) -> bytes: ...


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
        self.transfers: dict[bytes, Transfer] = {}
        self.devices: dict[str, DeviceFigures] = {}
        self.counters: Counter[str] = Counter()
        self.log: list[str] = []
        self._next_sweep_ns = 0
        self._known, self._new_number, self._utc_ns, self._secure = known, new_number, utc_ns, secure
        self.pool = CreditPool(self.limits.pool_bytes)
        self._messages: list[tuple[bytes, wire.Message]] = []
        self._jobs: list[Job] = []
        self._handlers: dict[type, Callable[..., None]] = {
            wire.Offer: self._offer,
            wire.Sealed: self._sealed,
            wire.Discarded: self._discarded,
            wire.Probe: self._probe,
            wire.Status: self._status,
        }

    def take_messages(self) -> list[tuple[bytes, wire.Message]]:
        """The (route, message) pairs to send on the control socket, in order."""
        messages, self._messages = self._messages, []
        return messages

    def take_jobs(self) -> list[Job]:
        """The work on the store to start now."""
        jobs, self._jobs = self._jobs, []
        return jobs

    # --- control -------------------------------------------------------------------------------------------------

    def receive(self, route: bytes, user_id: str, message: wire.DeviceMessage, now_ns: int) -> None:
        """A message from the control socket; `user_id` is the handshake's, "" without one."""
        if isinstance(message, wire.Hello):
            self._hello(route, user_id, message, now_ns)
            return
        session = self._session_of(route, user_id, message.session)
        if session is None:
            self.counters["stale_messages"] += 1
            text = "no such session here: say HELLO again"
            self._messages.append((route, wire.Error(session=message.session, code="session", reason=text)))
            return
        session.heard_ns = self._figures(session.device).heard_ns = now_ns
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
                self.counters["unknown_messages"] += 1
                self._say(session, wire.Error(session=session.number, code="unknown", reason=str(error)))
            return
        self.counters["violations"] += 1
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
            self.counters["refused_hellos"] += 1
            self.log.append(f"device {hello.device!r} (key of {name or 'nobody'!r}) refused: {reason}")
            self._messages.append((route, wire.Error(session=0, code=code, reason=reason, nonce=hello.nonce)))
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
        self.counters["sessions"] += 1
        self._figures(hello.device).heard_ns = now_ns
        limits = self.limits
        self._say(session, wire.Welcome(session=session.number, nonce=hello.nonce, max_offers=limits.offers))
        self._jobs.append(SawSpool(hello.device, hello.spool_id, hello.oldest, hello.next_ordinal))

    def _hello_refusal(self, name: str, hello: wire.Hello) -> tuple[str, str] | None:
        if hello.version != wire.VERSION:
            return "version", (
                f"the device speaks link version {hello.version}, the ingest {wire.VERSION}: install the same release on both"
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
        return None

    def _offer(self, session: Session, offer: wire.Offer, now_ns: int) -> None:
        owner = (session.device, session.spool_id, offer.ordinal)
        known = self._known(UUID(bytes=offer.episode))
        transfer = self.transfers.get(offer.episode)
        if known is not None and (transfer is None or transfer.state is not State.COMMITTING):
            if known.state == "deleted":
                self._reject(session, offer.episode, "deleted", "this episode was deleted from the store")
            elif offer.sealed and known.digest == offer.digest:
                self._say_committed(session, offer.episode, offer.ordinal, known.digest)
            else:
                self._reject(session, offer.episode, "conflict", "this episode id is in the store with other content")
            return
        if offer.size > self.limits.episode_bytes:
            self._reject(
                session, offer.episode, "too_large", f"{offer.size} bytes, at most {self.limits.episode_bytes}"
            )
        elif transfer is None:
            if len(session.offers) >= self.limits.offers:
                self._end(session, now_ns, "violation", f"more than {self.limits.offers} offers are open")
                return
            transfer = Transfer(offer, owner, session.identity, now_ns, session)
            self.transfers[offer.episode] = session.offers[offer.episode] = transfer
            self._admit(session, now_ns)
        elif transfer.owner != owner:
            self._reject(session, offer.episode, "conflict", "this episode id is on its way in from another spool")
        elif transfer.state is State.DROPPING:
            transfer.parked = (session, offer)
        else:
            self._reoffer(session, transfer, offer)

    def _reoffer(self, session: Session, transfer: Transfer, offer: wire.Offer) -> None:
        resumed, changed = transfer.session is not session, transfer.offer.recoveries != offer.recoveries
        transfer.session = session
        session.offers[offer.episode] = transfer
        if transfer.state is State.COMMITTING:
            return
        transfer.offer = offer
        if changed:
            transfer.sealed, transfer.tries = None, 0
            self._restart(transfer)
        elif resumed:
            transfer.sealed = None
            self._want(transfer)
        self.pool.touch(session)

    def _sealed(self, session: Session, sealed: wire.Sealed, now_ns: int) -> None:
        transfer = session.offers.get(sealed.episode)
        if transfer is None or transfer.state in (State.COMMITTING, State.DROPPING):
            return
        if sealed.recoveries == transfer.offer.recoveries:
            transfer.sealed = sealed
            self._complete(transfer, now_ns)

    def _discarded(self, session: Session, discarded: wire.Discarded, now_ns: int) -> None:
        for transfer in list(session.offers.values()):
            if transfer.owner[2] in discarded.ordinals and transfer.state is not State.COMMITTING:
                self._drop(transfer)
        if not session.ledgering and discarded.ordinals:  # the device repeats what is not answered
            session.ledgering = True
            job = Ledger(session.number, session.device, session.spool_id, discarded.ordinals, discarded.reason)
            self._jobs.append(job)

    def _probe(self, session: Session, probe: wire.Probe, now_ns: int) -> None:
        utc_ns = self._utc_ns()
        reply = wire.ProbeReply(
            session=session.number, sent_ns=probe.sent_ns, server_received_ns=utc_ns, server_sent_ns=utc_ns
        )
        self._say(session, reply)

    def _status(self, session: Session, status: wire.Status, now_ns: int) -> None:
        session.status = status.document

    # --- bulk ----------------------------------------------------------------------------------------------------

    def data(self, user_id: str, data: wire.Data, size: int, now_ns: int) -> Transfer | None:
        """DATA of `size` bytes came in: the transfer to append it to (then call `written` or another), or None."""
        session = self.sessions.get(data.session)
        if session is None or session.user_id != user_id:
            self.counters["stale_bytes"] += size
            return None
        session.heard_ns = session.progress_ns = now_ns
        if session.taken + size > session.limit or not 0 < size <= wire.MAX_DATA_BYTES:
            text = f"DATA of {size} bytes at {session.taken} of {session.limit} bytes of credit"
            self._end(session, now_ns, "violation", text)
            return None
        transfer = session.offers.get(data.episode)
        if transfer and transfer.state is State.TAKING and data.want == transfer.number:
            if data.offset + size > self.limits.episode_bytes:
                self.refused(transfer.episode, "too_large", f"over {self.limits.episode_bytes} bytes", now_ns)
            elif data.offset == transfer.accepted:
                transfer.writing = True
                return transfer
            else:  # a gap: what follows under the old number is dropped, so it is asked for once
                self._want(transfer)
        self.pool.used(session, size)
        self.counters["dropped_bytes"] += size
        return None

    def written(self, transfer: Transfer, session_number: int, size: int, now_ns: int) -> None:
        """The bytes that `data` accepted are in the staging file."""
        transfer.accepted += size
        self.counters["written_bytes"] += size
        self._figures(transfer.owner[0]).written_bytes += size
        self.unwritten(transfer, session_number, size)
        if transfer.state is not State.TAKING:
            return
        if transfer.restart_due:
            self._restart(transfer)
        elif transfer.want_due:
            self._want(transfer)
        self._complete(transfer, now_ns)

    def unwritten(self, transfer: Transfer, session_number: int, size: int) -> None:
        """The bytes that `data` accepted could not be appended; `damaged`, `refused` or `failed` says what follows."""
        transfer.writing = False
        session = self.sessions.get(session_number)
        if session is not None:
            self.pool.used(session, size)

    # --- answers from the store ----------------------------------------------------------------------------------

    def begun(self, episode: UUID, now_ns: int) -> None:
        """`Begin` is done: the transfer takes bytes from 0."""
        transfer = self.transfers[episode.bytes]
        transfer.state, transfer.accepted, transfer.restart_due, transfer.idle_ns = State.TAKING, 0, False, now_ns
        if transfer.drop_due is not None:
            self._drop(transfer, transfer.drop_due)
        else:
            self._want(transfer)

    def committed(self, episode: UUID, digest: bytes, now_ns: int) -> None:
        """`Commit` is done."""
        transfer = self.transfers[episode.bytes]
        self.counters["committed"] += 1
        self._figures(transfer.owner[0]).committed += 1
        if transfer.session is not None:
            self._say_committed(transfer.session, episode.bytes, transfer.owner[2], digest)
        self._forget(transfer, now_ns)

    def damaged(self, episode: UUID, why: str, now_ns: int) -> None:
        """The bytes taken are not those that were sealed: try again from 0, three times, then quarantine them."""
        transfer = self.transfers[episode.bytes]
        if transfer.state is State.DROPPING:
            return
        transfer.tries += 1
        self.counters["damaged"] += 1
        self.log.append(f"{transfer.owner[0]}: episode {episode}: {why} (try {transfer.tries} of {MAX_TRIES})")
        if transfer.tries >= MAX_TRIES:
            self.refused(episode, "corrupt", why, now_ns, quarantine=True)
        else:
            self._restart(transfer)

    def refused(self, episode: UUID, code: str, why: str, now_ns: int, quarantine: bool = False) -> None:
        """The episode cannot be taken, ever; with `quarantine` what came of it is kept aside."""
        transfer = self.transfers[episode.bytes]
        if transfer.state is State.DROPPING:
            return
        if transfer.state is State.OPENING:  # the answer to Begin: nothing is under way any more
            transfer.state = State.TAKING
        self.counters["rejected"] += 1
        self.log.append(f"{transfer.owner[0]}: episode {episode} rejected, {code}: {why}")
        if transfer.session is not None:
            self._reject(transfer.session, episode.bytes, code, why)
        self._drop(transfer, why if quarantine else "")

    def failed(self, episode: UUID, why: str, now_ns: int, spoiled: bool = True) -> None:
        """The store is in trouble (full, a failing disk): the device is told busy and will offer the episode again.

        A commit whose bytes are not `spoiled` is tried again here.
        """
        transfer = self.transfers[episode.bytes]
        if transfer.state is State.DROPPING:
            return
        self.counters["busy"] += 1
        self.log.append(f"{transfer.owner[0]}: episode {episode} put off: {why}")
        if transfer.state is State.COMMITTING and not spoiled:
            transfer.retry_ns = now_ns + int(self.limits.retry_s * SECOND)
            return
        self._busy(transfer, why)
        transfer.state = State.TAKING
        self._drop(transfer)

    def dropped(self, episode: UUID, now_ns: int) -> None:
        """`Drop` is done."""
        transfer = self.transfers[episode.bytes]
        self._forget(transfer, now_ns)
        if transfer.parked is not None and transfer.parked[0].number in self.sessions:
            self._offer(*transfer.parked, now_ns)

    def ledgered(
        self, session: int, ordinals: tuple[int, ...], committed: list[tuple[bytes, int, bytes]], now_ns: int
    ) -> None:
        """`Ledger` is done; `committed` are those (episode, ordinal, digest) that the store holds after all."""
        if session in self.sessions:
            self.sessions[session].ledgering = False
            for episode, ordinal, digest in committed:
                self._say_committed(self.sessions[session], episode, ordinal, digest)
            if ordinals:
                self._say(self.sessions[session], wire.Ledgered(session=session, ordinals=ordinals))

    # --- time ----------------------------------------------------------------------------------------------------

    def poll(self, now_ns: int) -> None:
        """Give credit; end what was silent or stalled for too long; try again what was put off. Call it often."""
        if now_ns >= self._next_sweep_ns:
            self._next_sweep_ns = now_ns + SECOND // 4
            self._sweep(now_ns)
        for session in self.pool.turn():
            self._say(session, wire.Credit(session=session.number, limit=session.limit, taken=session.taken))

    def _sweep(self, now_ns: int) -> None:
        limits = self.limits
        for session in list(self.sessions.values()):
            if not session.outstanding or not session.demand:
                session.progress_ns = now_ns
            if now_ns - session.heard_ns > limits.silent_s * SECOND:
                self._end(session, now_ns, "session", "silent for too long")
            elif now_ns - session.progress_ns > limits.stall_s * SECOND:
                self._end(session, now_ns, "session", "credit was not used for too long")
        for transfer in list(self.transfers.values()):
            if transfer.retry_ns and now_ns >= transfer.retry_ns:
                self._commit(transfer)
            elif transfer.session is None and now_ns - transfer.idle_ns > limits.staging_s * SECOND:
                self._drop(transfer)

    def unreachable(self, route: bytes, now_ns: int) -> None:
        """The control socket could not deliver to `route`: its sessions are over."""
        for session in [s for s in self.sessions.values() if s.route == route]:
            self._end(session, now_ns)

    def revoke(self, allowed: Callable[[str], bool], now_ns: int) -> None:
        """End every session whose key is not allowed any more."""
        for session in [s for s in self.sessions.values() if not allowed(s.user_id)]:
            self.log.append(f"device {session.device!r}: key revoked, session ended")
            self._end(session, now_ns, "identity", "this key was revoked")

    # --- within --------------------------------------------------------------------------------------------------

    def _say(self, session: Session, message: wire.Message) -> None:
        self._messages.append((session.route, message))

    def _say_committed(self, session: Session, episode: bytes, ordinal: int, digest: bytes) -> None:
        self._say(session, wire.Committed(session=session.number, episode=episode, ordinal=ordinal, digest=digest))

    def _reject(self, session: Session, episode: bytes, code: str, why: str) -> None:
        self._say(session, wire.Rejected(session=session.number, episode=episode, code=code, reason=why[:1000]))

    def _busy(self, transfer: Transfer, why: str) -> None:
        if transfer.session is not None:
            number, retry_s = transfer.session.number, self.limits.retry_s
            error = wire.Error(
                session=number, code="busy", reason=why[:1000], episode=transfer.offer.episode, retry_s=retry_s
            )
            self._say(transfer.session, error)

    def _want(self, transfer: Transfer) -> None:
        transfer.want_due = transfer.writing
        if transfer.session is None or transfer.state is not State.TAKING or transfer.writing:
            return
        transfer.number += 1
        session, episode = transfer.session, transfer.offer.episode
        want = wire.Want(session=session.number, episode=episode, offset=transfer.accepted, number=transfer.number)
        self._say(session, want)
        self.pool.touch(session)

    def _complete(self, transfer: Transfer, now_ns: int) -> None:
        sealed = transfer.sealed
        if transfer.state is not State.TAKING or transfer.writing or sealed is None:
            return
        if transfer.accepted == sealed.size:
            self._commit(transfer)
        elif transfer.accepted > sealed.size:
            why = f"{transfer.accepted} bytes came of an episode of {sealed.size}"
            self.refused(transfer.episode, "format", why, now_ns)

    def _commit(self, transfer: Transfer) -> None:
        if transfer.sealed is not None:
            transfer.state, transfer.retry_ns = State.COMMITTING, 0
            sealed = transfer.sealed
            self._jobs.append(Commit(transfer.episode, transfer.owner, transfer.identity, sealed.digest, sealed.probes))

    def _restart(self, transfer: Transfer) -> None:
        if transfer.state in (State.WAITING, State.OPENING, State.DROPPING):
            return
        transfer.restart_due = transfer.writing
        if not transfer.writing:
            transfer.state, transfer.accepted = State.OPENING, 0
            self._jobs.append(Begin(transfer.episode))

    def _drop(self, transfer: Transfer, why: str = "") -> None:
        if transfer.state is State.WAITING:
            self._forget(transfer, transfer.idle_ns)
        elif transfer.state is State.OPENING:
            transfer.drop_due = why
        elif transfer.state is not State.DROPPING:
            transfer.state, transfer.retry_ns = State.DROPPING, 0
            self._jobs.append(Drop(transfer.episode, why))

    def _forget(self, transfer: Transfer, now_ns: int) -> None:
        del self.transfers[transfer.offer.episode]
        if transfer.session is not None:
            transfer.session.offers.pop(transfer.offer.episode, None)
        if transfer.state is not State.WAITING:
            crowded = self._open_transfers() >= self.limits.open_transfers - 1
            for session in list(self.sessions.values()) if crowded else filter(None, [transfer.session]):
                self._admit(session, now_ns)

    def _figures(self, device: str) -> DeviceFigures:
        if device not in self.devices:
            if len(self.devices) >= 4 * self.limits.sessions:  # only names made up without keys come to so many
                del self.devices[min(self.devices, key=lambda name: self.devices[name].heard_ns)]
            self.devices[device] = DeviceFigures()
        return self.devices[device]

    def _open_transfers(self) -> int:
        return sum(t.state is not State.WAITING for t in self.transfers.values())

    def _admit(self, session: Session, now_ns: int) -> None:
        """Begin what the session offered, in its order, as far as there are places."""
        limits = self.limits
        waiting = sorted(
            (t for t in session.offers.values() if t.state is State.WAITING),
            key=lambda t: (-t.offer.priority, t.offer.ordinal),
        )
        active = sum(t.state in (State.OPENING, State.TAKING) for t in session.offers.values())
        for transfer in waiting[: max(0, limits.open_per_session - active)]:
            opened = [t for t in self.transfers.values() if t.state is not State.WAITING]
            if len(opened) >= limits.open_transfers:
                left = [t for t in opened if t.session is None and t.state is State.TAKING]
                if left:
                    self._drop(min(left, key=lambda t: t.idle_ns))
                return
            reserved = sum(self._reserve(t) for t in opened)
            if reserved + self._reserve(transfer) > limits.staged_bytes:
                self._busy(transfer, f"{reserved} of {limits.staged_bytes} bytes for staging are taken")
                self._forget(transfer, now_ns)
                continue
            transfer.state = State.OPENING
            self._jobs.append(Begin(transfer.episode))

    def _reserve(self, transfer: Transfer) -> int:
        growing = 0 if transfer.offer.sealed or transfer.sealed else self.limits.growing_reserve_bytes
        return max(transfer.size, transfer.accepted, growing)

    def _end(self, session: Session, now_ns: int, code: str = "", reason: str = "") -> None:
        """The session is over: its credit is revoked, its transfers wait for the next one; with `code` it is told."""
        del self.sessions[session.number]
        self.pool.close(session)
        if code:
            self.counters["violations" if code == "violation" else "sessions_ended"] += 1
            self.log.append(f"{session.device}: session ended, {code}: {reason}")
            self._say(session, wire.Error(session=session.number, code=code, reason=reason[:1000]))
        for transfer in list(session.offers.values()):
            transfer.session, transfer.idle_ns = None, now_ns
            if transfer.state is State.WAITING:
                self._forget(transfer, now_ns)
