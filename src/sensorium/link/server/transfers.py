"""The transfers of the link's server, without I/O: one episode each, from its offer to its commit.

A transfer is one episode on its way in. It outlives the session that offered it, so that the next one resumes it:

    state       | left by
    WAITING     | a free place -> OPENING (job Begin); its session ends -> gone
    OPENING     | begun -> TAKING
    TAKING      | all bytes and SEALED -> COMMITTING (job Commit); damage -> OPENING; any refusal or expiry -> DROPPING
    COMMITTING  | committed -> gone; damage -> OPENING; conflict -> DROPPING; store trouble -> COMMITTING, later again
    DROPPING    | dropped (jobs Drop, Quarantine) -> gone, or WAITING when it was offered again meanwhile
"""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from sensorium.link import wire
from sensorium.link.server.credit import CreditPool
from sensorium.link.server.outbox import Outbox
from sensorium.link.server.transfer import SECOND, Begin, Commit, Drop, Limits, Session, State, Transfer

MAX_TRIES = 3


class Known(Protocol):
    """What the store says of an episode that it holds."""

    @property
    def state(self) -> str: ...
    @property
    def digest(self) -> bytes: ...


class Transfers:
    """The episodes on their way in, by id. The store answers its jobs to `begun`, `committed`, `damaged`, ..."""

    def __init__(self, known: Callable[[UUID], Known | None], limits: Limits, pool: CreditPool, out: Outbox) -> None:
        self.by_episode: dict[bytes, Transfer] = {}
        self._known, self._limits, self._pool, self._out = known, limits, pool, out

    # --- what devices say ----------------------------------------------------------------------------------------

    def offer(self, session: Session, offer: wire.Offer, now_ns: int) -> None:
        """A session offers an episode, anew or with changes."""
        owner = (session.device, session.spool_id, offer.ordinal)
        known = self._known(UUID(bytes=offer.episode))
        transfer = self.by_episode.get(offer.episode)
        if known is not None and (transfer is None or transfer.state is not State.COMMITTING):
            if known.state == "deleted":
                self._out.reject(session, offer.episode, "deleted", "this episode was deleted from the store")
            elif offer.sealed and known.digest == offer.digest:
                self._out.say_committed(session, offer.episode, offer.ordinal, known.digest)
            else:
                self._out.reject(
                    session, offer.episode, "conflict", "this episode id is in the store with other content"
                )
            return
        if offer.size > self._limits.episode_bytes:
            self._out.reject(
                session, offer.episode, "too_large", f"{offer.size} bytes, at most {self._limits.episode_bytes}"
            )
        elif transfer is None:
            transfer = Transfer(offer, owner, session.identity, now_ns, session)
            self.by_episode[offer.episode] = session.offers[offer.episode] = transfer
            self._admit(session, now_ns)
        elif transfer.owner != owner:
            self._out.reject(session, offer.episode, "conflict", "this episode id is on its way in from another spool")
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
            self.restart(transfer)
        elif resumed:
            transfer.sealed = None
            self.want(transfer)
        self._pool.touch(session)

    # --- what the store says -------------------------------------------------------------------------------------

    def begun(self, episode: UUID, now_ns: int) -> None:
        """`Begin` is done: the transfer takes bytes from 0."""
        transfer = self.by_episode[episode.bytes]
        transfer.state, transfer.accepted, transfer.restart_due, transfer.idle_ns = State.TAKING, 0, False, now_ns
        if transfer.drop_due is not None:
            self.drop(transfer, transfer.drop_due)
        else:
            self.want(transfer)

    def committed(self, episode: UUID, digest: bytes, now_ns: int) -> None:
        """`Commit` is done."""
        transfer = self.by_episode[episode.bytes]
        self._out.counters["committed"] += 1
        self._out.figures(transfer.owner[0]).committed += 1
        if transfer.session is not None:
            self._out.say_committed(transfer.session, episode.bytes, transfer.owner[2], digest)
        self.forget(transfer, now_ns)

    def damaged(self, episode: UUID, why: str, now_ns: int) -> None:
        """The bytes taken are not those that were sealed: try again from 0, three times, then quarantine them."""
        transfer = self.by_episode[episode.bytes]
        if transfer.state is State.DROPPING:
            return
        transfer.tries += 1
        self._out.counters["damaged"] += 1
        self._out.lines.append(f"{transfer.owner[0]}: episode {episode}: {why} (try {transfer.tries} of {MAX_TRIES})")
        if transfer.tries >= MAX_TRIES:
            self.refused(episode, "corrupt", why, now_ns, quarantine=True)
        else:
            self.restart(transfer)

    def refused(self, episode: UUID, code: str, why: str, _: int, quarantine: bool = False) -> None:
        """The episode cannot be taken, ever; with `quarantine` what came of it is kept aside."""
        transfer = self.by_episode[episode.bytes]
        if transfer.state is State.DROPPING:
            return
        if transfer.state is State.OPENING:  # the answer to Begin: nothing is under way any more
            transfer.state = State.TAKING
        self._out.counters["rejected"] += 1
        self._out.lines.append(f"{transfer.owner[0]}: episode {episode} rejected, {code}: {why}")
        if transfer.session is not None:
            self._out.reject(transfer.session, episode.bytes, code, why)
        self.drop(transfer, why if quarantine else "")

    def failed(self, episode: UUID, why: str, now_ns: int, spoiled: bool = True) -> None:
        """The store is in trouble (full, a failing disk): the device is told busy and will offer the episode again.

        A commit whose bytes are not `spoiled` is tried again here.
        """
        transfer = self.by_episode[episode.bytes]
        if transfer.state is State.DROPPING:
            return
        self._out.counters["busy"] += 1
        self._out.lines.append(f"{transfer.owner[0]}: episode {episode} put off: {why}")
        if transfer.state is State.COMMITTING and not spoiled:
            transfer.retry_ns = now_ns + int(self._limits.retry_s * SECOND)
            return
        self._busy(transfer, why)
        transfer.state = State.TAKING
        self.drop(transfer)

    def dropped(self, episode: UUID, now_ns: int) -> None:
        """`Drop` is done."""
        transfer = self.by_episode[episode.bytes]
        self.forget(transfer, now_ns)
        if transfer.parked is not None and transfer.parked[0].is_open:
            self.offer(*transfer.parked, now_ns)

    def _busy(self, transfer: Transfer, why: str) -> None:
        if transfer.session is not None:
            number, retry_s = transfer.session.number, self._limits.retry_s
            error = wire.Error(
                session=number, code="busy", reason=why[:1000], episode=transfer.offer.episode, retry_s=retry_s
            )
            self._out.say(transfer.session, error)

    # --- steps ---------------------------------------------------------------------------------------------------

    def want(self, transfer: Transfer) -> None:
        """Ask for the bytes from where the transfer stands; one too many, being written now, counts as a gap later."""
        if transfer.session is None or transfer.state is not State.TAKING:
            return
        transfer.number += 1
        session, episode = transfer.session, transfer.offer.episode
        want = wire.Want(session=session.number, episode=episode, offset=transfer.accepted, number=transfer.number)
        self._out.say(session, want)
        self._pool.touch(session)

    def complete(self, transfer: Transfer, now_ns: int) -> None:
        """Commit the transfer if it has come to its end."""
        sealed = transfer.sealed
        if transfer.state is not State.TAKING or transfer.writing or sealed is None:
            return
        if transfer.accepted == sealed.size:
            self.commit(transfer)
        elif transfer.accepted > sealed.size:
            why = f"{transfer.accepted} bytes came of an episode of {sealed.size}"
            self.refused(transfer.episode, "format", why, now_ns)

    def commit(self, transfer: Transfer) -> None:
        """Start a commit, or start it again."""
        if transfer.sealed is not None:
            transfer.state, transfer.retry_ns = State.COMMITTING, 0
            sealed = transfer.sealed
            self._out.jobs.append(
                Commit(transfer.episode, transfer.owner, transfer.identity, sealed.digest, sealed.probes)
            )

    def restart(self, transfer: Transfer) -> None:
        """Begin the episode anew from byte 0."""
        if transfer.state in (State.WAITING, State.OPENING, State.DROPPING):
            return
        transfer.restart_due = transfer.writing
        if not transfer.writing:
            transfer.state, transfer.accepted = State.OPENING, 0
            self._out.jobs.append(Begin(transfer.episode))

    def drop(self, transfer: Transfer, why: str = "") -> None:
        """Give the transfer up; with `why` what came of it goes to quarantine."""
        if transfer.state is State.WAITING:
            self.forget(transfer, transfer.idle_ns)
        elif transfer.state is State.OPENING:
            transfer.drop_due = why
        elif transfer.state is not State.DROPPING:
            transfer.state, transfer.retry_ns = State.DROPPING, 0
            self._out.jobs.append(Drop(transfer.episode, why))

    def forget(self, transfer: Transfer, now_ns: int) -> None:
        """The transfer is over; its place goes to the next."""
        del self.by_episode[transfer.offer.episode]
        if transfer.session is not None:
            transfer.session.offers.pop(transfer.offer.episode, None)
        if transfer.state is not State.WAITING:
            crowded = self._open_transfers() >= self._limits.open_transfers - 1
            behind = self.by_episode.values() if crowded else [transfer]
            for session in {t.session for t in behind if t.session is not None}:
                self._admit(session, now_ns)

    def _open_transfers(self) -> int:
        return sum(t.state is not State.WAITING for t in self.by_episode.values())

    def _admit(self, session: Session, now_ns: int) -> None:
        """Begin what the session offered, in its order, as far as there are places."""
        limits = self._limits
        waiting = sorted(
            (t for t in session.offers.values() if t.state is State.WAITING),
            key=lambda t: (-t.offer.priority, t.offer.ordinal),
        )
        active = sum(t.state in (State.OPENING, State.TAKING) for t in session.offers.values())
        for transfer in waiting[: max(0, limits.open_per_session - active)]:
            opened = [t for t in self.by_episode.values() if t.state is not State.WAITING]
            if len(opened) >= limits.open_transfers:
                left = [t for t in opened if t.session is None and t.state is State.TAKING]
                if left:
                    self.drop(min(left, key=lambda t: t.idle_ns))
                return
            reserved = sum(self._reserve(t) for t in opened)
            if reserved + self._reserve(transfer) > limits.staged_bytes:
                self._busy(transfer, f"{reserved} of {limits.staged_bytes} bytes for staging are taken")
                self.forget(transfer, now_ns)
                continue
            transfer.state = State.OPENING
            self._out.jobs.append(Begin(transfer.episode))

    def _reserve(self, transfer: Transfer) -> int:
        growing = 0 if transfer.offer.sealed or transfer.sealed else self._limits.growing_reserve_bytes
        return max(transfer.size, transfer.accepted, growing)
