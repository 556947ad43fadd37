"""The transfers of the link's server, without I/O: what devices and the store say moves them, see `transfer`.

A transfer outlives the session that offered it, so that the next one resumes it. What a state asks for is done where
it is entered: OPENING, COMMITTING and DROPPING each begin their job.
"""

from collections.abc import Callable, Iterable
from uuid import UUID

from sensorium.drivers.clock import SECOND_NS
from sensorium.errors import LinkMisused, StoreError
from sensorium.link import wire
from sensorium.link.server.answers import Answers
from sensorium.link.server.credit import CreditPool
from sensorium.link.server.jobs import Begin, Commit, Drop, LookUp, Stored, Unseen
from sensorium.link.server.limits import Limits
from sensorium.link.server.outbox import Outbox
from sensorium.link.server.places import Claim, Places
from sensorium.link.server.session import ServerSession, SessionState
from sensorium.link.server.transfer import (
    COMPLETE,
    LEAVING,
    OPENING,
    TAKING,
    UNDER_WAY,
    WAITING,
    WRITING,
    WRITTEN,
    Transfer,
    TransferEvent,
    TransferState,
)
from sensorium.link.server.turns import Turns

MAX_TRIES = 3
NEEDED = "its room is needed: its device may send nothing, or its key has most"


class Arrivals:
    """The episodes on their way in, by id. The store answers its jobs to `begun`, `committed`, ..."""

    def __init__(
        self, stored: Callable[[UUID], Stored | Unseen | None], limits: Limits, pool: CreditPool, out: Outbox
    ) -> None:
        self.by_episode: dict[bytes, Transfer] = {}
        self.leaving: dict[bytes, Transfer] = {}
        self._places = Places(limits)
        self._freed: dict[ServerSession, None] = {}
        self._turns = Turns(self._places, int(limits.placeless_s * SECOND_NS))
        self._answers = Answers(stored, limits, out)
        self._limits, self._pool, self._out = limits, pool, out
        self._on_entering: dict[TransferState, Callable[[Transfer], None]] = {
            TransferState.OPENING: self._begin,
            TransferState.COMMITTING: self._commit,
            TransferState.DROPPING: self._drop,
            TransferState.GONE: self._forget,
        }

    @property
    def reserved(self) -> int:
        """Bytes that are staged of what was opened, leaving or not."""
        return self._places.reserved

    # --- what devices say ----------------------------------------------------------------------------------------

    def offer(self, session: ServerSession, offer: wire.Offer, now_ns: int) -> None:
        """A session offers an episode, anew or with changes."""
        if offer.episode in session.looking:
            session.looking[offer.episode] = offer
            return
        mine = self._mine(session, offer)
        # Of what is complete the store may show already what this very commit does.
        stored = None if mine is not None and mine.state in COMPLETE else self._answers.known(offer)
        if isinstance(stored, Unseen):
            session.looking[offer.episode] = offer
            self._out.jobs.append(LookUp(session.number, session.device, UUID(bytes=offer.episode)))
        else:
            self._offered(session, offer, stored, now_ns)

    def looked_up(self, session: ServerSession, episode: UUID, stored: Stored | StoreError | None, now_ns: int) -> None:
        """`LookUp` is done: what the store holds of an episode that the session offers, or why it cannot say."""
        if (offer := session.looking.pop(episode.bytes, None)) is not None:
            self._offered(session, offer, stored, now_ns)

    def _mine(self, session: ServerSession, offer: wire.Offer) -> Transfer | None:
        transfer = self.by_episode.get(offer.episode)
        return transfer if transfer is not None and transfer.owner == session.owner_of(offer) else None

    def _offered(
        self, session: ServerSession, offer: wire.Offer, stored: Stored | StoreError | None, now_ns: int
    ) -> None:
        mine = self._mine(session, offer)
        others = mine is None and offer.episode in self.by_episode
        if mine is not None and mine.state in COMPLETE:
            self._reoffer(session, mine, offer)
        elif self._answers.answer(session, offer, stored, mine=mine is not None, others=others):
            if mine is not None:
                self._move(mine, TransferEvent.UNWANTED)
        elif mine is not None:
            self._reoffer(session, mine, offer)
        else:
            transfer = Transfer(offer, session.owner_of(offer), session.identity, now_ns, session)
            self.by_episode[offer.episode] = session.offers[offer.episode] = transfer
            self._admit(session)

    def _reoffer(self, session: ServerSession, transfer: Transfer, offer: wire.Offer) -> None:
        event = TransferEvent.OFFERED if transfer.session is session else TransferEvent.RESUMED
        if offer.recoveries != transfer.offer.recoveries:
            event, transfer.tries = TransferEvent.RECOVERED, 0
        transfer.offer, transfer.session = offer, session
        self._places.see(transfer)
        session.offers[offer.episode] = transfer
        self._move(transfer, event)
        if event is TransferEvent.RESUMED and transfer.state in UNDER_WAY:
            transfer.sealed = None  # the new session says it again, after what it was asked for
            if transfer.state is TAKING:
                self.want(transfer)
        self._places.reserve(transfer)
        self._pool.touch(session)

    def sealed(self, session: ServerSession, sealed: wire.Sealed, now_ns: int) -> None:
        """A session says that it has sent all of an episode; control may overtake bulk.

        Raises:
            PeerViolation: nothing was asked for.
        """
        transfer = session.offers.get(sealed.episode)
        if transfer is None or sealed.recoveries != transfer.offer.recoveries:
            return
        if transfer.move(TransferEvent.SEALED) in UNDER_WAY:
            transfer.sealed = sealed
            self._places.reserve(transfer)
            self._complete(transfer, now_ns)

    def discarded(self, session: ServerSession, ordinals: tuple[int, ...]) -> None:
        """A device gave these ordinals up; a commit under way goes on, and wins."""
        given_up = set(ordinals)
        for transfer in list(session.offers.values()):
            if transfer.owner[2] in given_up:
                self._move(transfer, TransferEvent.UNWANTED)

    def session_over(self, session: ServerSession, now_ns: int) -> None:
        """What the session offered waits for the next one; what was not begun is gone."""
        self._turns.leave(session)
        session.looking.clear()
        for transfer in list(session.offers.values()):
            transfer.idle_ns = now_ns
            self._move(transfer, TransferEvent.SESSION_OVER)
            transfer.session = None
            self._places.see(transfer)

    def hold(self, session: ServerSession, *, held: bool) -> None:
        """The device may send nothing for a while, or again; what it has begun gives place to others meanwhile."""
        session.held = held
        for transfer in session.offers.values():
            self._places.see(transfer)
        self._pool.touch(session)
        self._admit(session)

    # --- what the store says -------------------------------------------------------------------------------------

    def begun(self, episode: UUID, now_ns: int, accepted: int = 0, recoveries: int = 0) -> None:
        """`Begin` is done: the transfer takes bytes from 0, or behind those that an earlier run accepted."""
        transfer = self._with_job(episode)
        transfer.idle_ns, offer = now_ns, transfer.offer
        if transfer.state is OPENING and accepted and (recoveries != offer.recoveries or accepted > offer.size):
            self._begin(transfer)  # the device has changed it meanwhile
            return
        transfer.accepted = accepted
        self._places.reserve(transfer)
        self._out.counters["resumed_bytes"] += accepted
        if self._move(transfer, TransferEvent.BEGUN) is TAKING:
            self.want(transfer)

    def written(self, transfer: Transfer, size: int, now_ns: int) -> None:
        """Bytes were appended."""
        was = transfer.state
        transfer.accepted += size
        self._places.reserve(transfer)
        state = transfer.move(WRITTEN)
        if state is not TAKING:
            self._on_entering[state](transfer)
        else:
            if was is not WRITING:  # but WRITING_THEN_WANT
                self.want(transfer)
            if transfer.sealed is not None:
                self._complete(transfer, now_ns)
        if self._places.overrun:
            self.give_up(self._places.gives_room())

    def unwritten(self, transfer: Transfer) -> bool:
        """Bytes could not be appended; whether that matters, and `damaged`, `refused` or `failed` is to follow."""
        return self._move(transfer, TransferEvent.UNWRITTEN) is TAKING

    def all_committed(self, committed: Iterable[tuple[UUID, bytes]], _: int) -> None:
        """Each `Commit` is done. Who may begin now is looked for once: that is as much work as all else here."""
        were_full = self._places.full
        sessions: dict[ServerSession, None] = {}
        for episode, digest in committed:
            transfer = self._with_job(episode)
            self._out.counters["committed"] += 1
            if self._out.listens:
                self._out.notes.append(f"{transfer.owner[0]}: episode {episode} committed, {transfer.accepted} bytes")
            self._out.figures(transfer.owner[0]).committed += 1
            if transfer.session is not None:
                self._out.say_committed(transfer.session, episode.bytes, transfer.owner[2], digest)
                sessions[transfer.session] = None
            self._move(transfer, TransferEvent.COMMITTED)
        if were_full:  # that held back others too
            self._admit_all()
        else:
            for session in sessions:
                self._admit(session)

    def damaged(self, episode: UUID, why: str, now_ns: int) -> None:
        """The bytes taken are not those that were sealed: try again from 0, three times, then quarantine them."""
        transfer = self._with_job(episode)
        transfer.tries += 1
        self._out.counters["damaged"] += 1
        text = f"{transfer.owner[0]}: episode {episode}: {why} (try {transfer.tries} of {MAX_TRIES})"
        self._out.lines.say(transfer.owner[0], "damaged", text, now_ns)
        if transfer.tries >= MAX_TRIES:
            self.refused(episode, "corrupt", why, now_ns, quarantine=True)
        else:
            self._move(transfer, TransferEvent.DAMAGED)

    def refused(self, episode: UUID, code: str, why: str, now_ns: int, quarantine: bool = False) -> None:
        """The episode cannot be taken, ever; with `quarantine` what came of it is kept aside."""
        transfer = self._with_job(episode)
        self._out.counters["rejected"] += 1
        text = f"{transfer.owner[0]}: episode {episode} rejected, {code}: {why}"
        self._out.lines.say(transfer.owner[0], code, text, now_ns)
        if transfer.session is not None:
            self._out.reject(transfer.session, episode.bytes, code, why)
        transfer.quarantine = why if quarantine else ""
        self._move(transfer, TransferEvent.REFUSED)

    def failed(self, episode: UUID, why: str, now_ns: int, spoiled: bool = True) -> None:
        """The store is in trouble (full, a failing disk): the device is told busy and will offer the episode again.

        A commit whose bytes are not `spoiled` is tried again here.
        """
        transfer = self._with_job(episode)
        self._out.counters["busy"] += 1
        if transfer.state is TransferState.COMMITTING and not spoiled:
            transfer.retry_ns = now_ns + int(self._limits.retry_s * SECOND_NS)
            self._move(transfer, TransferEvent.PUT_OFF)
        else:
            self._answers.busy(transfer.session, transfer.offer.episode, why)
            self._move(transfer, TransferEvent.FAILED)

    def dropped(self, episode: UUID, _: int) -> None:
        """`Drop` is done."""
        self._move(self._with_job(episode), TransferEvent.DROPPED)
        self._admit_all()  # the same episode may have been offered again meanwhile

    def _with_job(self, episode: UUID) -> Transfer:
        """The transfer of which a job can be under way: while one is leaving, the next of its episode has none."""
        transfer = self.leaving.get(episode.bytes) or self.by_episode.get(episode.bytes)
        if transfer is None:
            raise LinkMisused(f"episode {episode}: the store answers for a transfer that there is not")
        return transfer

    # --- time ----------------------------------------------------------------------------------------------------

    def poll(self, now_ns: int) -> None:
        """Ask again for commits that were put off; give up what no session came back for, or others wait for."""
        for transfer in list(self.by_episode.values()):
            if transfer.state is TransferState.COMMIT_PUT_OFF and now_ns >= transfer.retry_ns:
                self._move(transfer, TransferEvent.RETRY)
            elif transfer.session is None and now_ns - transfer.idle_ns > self._limits.staging_s * SECOND_NS:
                self._move(transfer, TransferEvent.EXPIRED)
        for session in self._turns.now_long(now_ns):
            self._admit(session)

    # --- steps ---------------------------------------------------------------------------------------------------

    def want(self, transfer: Transfer) -> None:
        """Ask for the bytes from where a transfer that is TAKING stands.

        Never while bytes are being written: they would count only later, so the WANT would ask for them once more, and
        what came in answer to it would be a gap, to be asked for again.
        """
        if transfer.session is not None:
            transfer.number += 1
            session, episode = transfer.session, transfer.offer.episode
            want = wire.Want(session=session.number, episode=episode, offset=transfer.accepted, number=transfer.number)
            self._out.say(session, want)
            self._pool.touch(session)

    def _complete(self, transfer: Transfer, now_ns: int) -> None:
        """Commit the transfer if it has come to its end."""
        sealed = transfer.sealed
        if transfer.state is not TAKING or sealed is None:
            return
        if transfer.accepted == sealed.size:
            self._move(transfer, TransferEvent.COMPLETE)
            if transfer.session is not None:
                self._freed[transfer.session] = None
        elif transfer.accepted > sealed.size:
            why = f"{transfer.accepted} bytes came of an episode of {sealed.size}"
            self.refused(transfer.episode, "format", why, now_ns)

    def _move(self, transfer: Transfer, event: TransferEvent) -> TransferState:
        """A transition, and what is to be done where it leads."""
        was, state = transfer.state, transfer.move(event)
        if state is not was:
            if state in LEAVING and was not in LEAVING:
                self._leave(transfer)
            if (entering := self._on_entering.get(state)) is not None:
                entering(transfer)
        return state

    def _leave(self, transfer: Transfer) -> None:
        """From now on it is nobody's: the device may offer the episode again, which is another transfer."""
        episode = transfer.offer.episode
        self.leaving[episode] = self.by_episode.pop(episode)
        self._places.goes(transfer)
        if transfer.session is not None:
            del transfer.session.offers[episode]
            transfer.session = None

    def _begin(self, transfer: Transfer) -> None:
        transfer.accepted, transfer.sealed = 0, None  # SEALED comes again, after the bytes
        self._places.take(transfer)
        offer = transfer.offer
        self._out.jobs.append(Begin(transfer.episode, transfer.owner, offer.size, offer.recoveries))

    def _commit(self, transfer: Transfer) -> None:
        sealed = transfer.sealed
        if sealed is None:
            raise LinkMisused(f"episode {transfer.episode}: a commit without SEALED")
        self._out.jobs.append(Commit(transfer.episode, transfer.owner, transfer.identity, sealed.digest, sealed.probes))

    def _drop(self, transfer: Transfer) -> None:
        self._out.jobs.append(Drop(transfer.episode, transfer.quarantine))

    def _forget(self, transfer: Transfer) -> None:
        self._places.leave(transfer)
        episode = transfer.offer.episode
        if self.leaving.get(episode) is transfer:
            del self.leaving[episode]
            return
        del self.by_episode[episode]
        if transfer.session is not None:
            del transfer.session.offers[episode]

    def admit_freed(self) -> None:
        """Sessions some of whose transfers wait for their commit alone begin others, in places that are free."""
        freed, self._freed = self._freed, {}
        for session in freed:
            if session.state is not SessionState.OVER:
                self._admit(session, by_force=False)

    def _admit_all(self) -> None:
        leaving = len(self.leaving)
        for session in self._turns.in_turn():
            self._admit(session, most=1)
            if len(self.leaving) > leaving:  # one gives its place up; the others come when it has
                break

    def _admit(self, session: ServerSession, *, by_force: bool = True, most: int | None = None) -> None:
        """Begin what the session offered, in its order, at `most` so many, as far as there are places, or `by_force`
        may be."""
        key = session.identity
        waiting = [t for t in session.offers.values() if t.state is WAITING]
        if not waiting:
            self._turns.leave(session)
            return
        claim = self._turns.wait(session) if by_force else Claim.FREE
        if session.held or self._places.hopeless(key, claim):
            return
        active = sum([t.active for t in session.offers.values()])
        if self.leaving:
            active += sum(t.owner[:2] == (session.device, session.spool_id) for t in self.leaving.values())
            waiting = [t for t in waiting if t.offer.episode not in self.leaving]
        free = min(self._limits.open_per_session - active, self._limits.open_of_key - self._places.of(key))
        if free <= 0:
            return
        waiting.sort(key=lambda transfer: transfer.turn)
        for transfer in waiting[: free if most is None else min(free, most)]:
            if self._places.full:
                if by_force and not self.leaving:  # or one more would for each offer until it has
                    self.give_up(self._places.gives_place_to(key, claim))
                return
            if lacks := self._places.lacks(transfer):
                self._answers.busy(transfer.session, transfer.offer.episode, lacks)
                self._move(transfer, TransferEvent.NO_ROOM)
                self.give_up(self._places.gives_room_to(transfer))
                continue
            self._move(transfer, TransferEvent.PLACE)
            self._turns.had_one(session)

    def give_up(self, transfer: Transfer | None) -> None:
        """Where bytes of it are to come, no more are taken, as its room is needed: its device will offer it again."""
        if transfer is not None and transfer.under_way:
            self._answers.busy(transfer.session, transfer.offer.episode, NEEDED)
            self._move(transfer, TransferEvent.EXPIRED)
