"""The episodes on their way out in one session: what the spool and the server say moves them, see `offer`."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from sensorium.drivers.clock import SECOND_NS
from sensorium.link import wire
from sensorium.link.device.jobs import PumpJob, Recheck
from sensorium.link.device.offer import OfferEvent, OfferState, OpenOffer, Sendable
from sensorium.link.device.probing import thinned
from sensorium.link.device.session import DeviceSession

PAUSE_S = 5.0
ANSWER_S = 60.0
# For the way of every DATA: in Python 3.11 a member of an enumeration is looked up more slowly than all else there.
_SENDING, _PAUSED = OfferState.SENDING, OfferState.PAUSED

ProbesOf = Callable[[Sendable], Sequence[tuple[int, int, int]]]


class Departures:
    """The open offers by episode id. What is to be said and done is put into `messages` and `jobs`."""

    def __init__(
        self, session: DeviceSession, probes: ProbesOf, messages: deque[wire.Message], jobs: deque[PumpJob]
    ) -> None:
        self.open: dict[bytes, OpenOffer] = {}
        self._order: list[OpenOffer] = []
        self._not_before_ns: dict[bytes, int] = {}
        self._session, self._probes, self._messages, self._jobs = session, probes, messages, jobs

    # --- what the spool says -------------------------------------------------------------------------------------

    def refresh(self, waiting: Sequence[Sendable], now_ns: int) -> None:
        """Offer what `waiting` (in the order to send) has and the server has not heard of yet."""
        most, last = self._session.max_offers, len(waiting)
        rank: dict[bytes, int] = {}
        for place, item in enumerate(waiting):
            episode = item.episode.bytes
            rank[episode] = place
            offer = self.open.get(episode)
            if offer is not None:
                told = offer.item
                if told.size != item.size or told.sealed != item.sealed or told.recoveries != item.recoveries:
                    self._update(offer, item, now_ns)
            elif len(self.open) < most and item.size and now_ns >= self._not_before_ns.get(episode, 0):
                self._not_before_ns.pop(episode, None)
                self.open[episode] = offer = OpenOffer(item)
                self._say(offer, now_ns)
        self._order = sorted(self.open.values(), key=lambda offer: rank.get(offer.id, last))

    def _update(self, offer: OpenOffer, item: Sendable, now_ns: int) -> None:
        """The spool has something else to say of an open offer."""
        if offer.item.recoveries == item.recoveries:
            offer.move(OfferEvent.GREW)
        else:
            offer.move(OfferEvent.RECOVERED)
            offer.want = offer.at = offer.furthest = 0
        offer.item = item
        self._say(offer, now_ns)
        self._settle(offer, now_ns)

    def _say(self, offer: OpenOffer, now_ns: int) -> None:
        item = offer.item
        offer.since_ns = now_ns
        self._messages.append(
            wire.Offer(
                session=self._session.number,
                episode=offer.id,
                ordinal=item.ordinal,
                size=item.size,
                sealed=item.sealed,
                digest=item.digest if item.sealed else b"",
                priority=item.priority,
                value=item.value,
                recoveries=item.recoveries,
            )
        )

    # --- bulk ----------------------------------------------------------------------------------------------------

    def next_data(self, now_ns: int) -> tuple[wire.Data, int] | None:
        """The next DATA to send and how many bytes go with it, then call `sent`. None: nothing, or no room for it."""
        session = self._session
        window = session.window
        room = min(session.limit, session.taken + window.size) - session.sent
        for offer in self._order:
            state = offer.state
            if state is not _SENDING and (state is not _PAUSED or not self._resumes(offer, now_ns)):
                continue
            full = min(offer.item.size - offer.at, window.message_bytes, session.max_data_bytes)
            size = min(full, room)
            # Credit comes back message by message: who sends what there is room for each time sends crumbs ever after.
            if size < full and (size < wire.MIN_DATA_BYTES or (session.in_flight and size < full // 2)):
                window.limited |= session.sent + full > session.taken + window.size
                return None
            return wire.Data(session=session.number, episode=offer.id, offset=offer.at, want=offer.want), size
        return None

    def sent(self, data: wire.Data, size: int, now_ns: int) -> None:
        """What `next_data` said was sent."""
        offer = self.open[data.episode]
        self._session.use(size, now_ns)
        offer.at += size
        if offer.at > offer.furthest:
            offer.furthest = offer.at
        if offer.at >= offer.item.size:
            self._settle(offer, now_ns)

    def pause(self, data: wire.Data, now_ns: int) -> None:
        """The spool could not read what `next_data` said: its episode is left alone for some seconds."""
        offer = self.open[data.episode]
        offer.move(OfferEvent.UNREADABLE)
        offer.paused_ns = now_ns + int(PAUSE_S * SECOND_NS)

    def _resumes(self, offer: OpenOffer, now_ns: int) -> bool:
        """Whether the pause is over, and there is something to send."""
        if now_ns < offer.paused_ns:
            return False
        offer.move(OfferEvent.PAUSE_OVER)
        self._settle(offer, now_ns)
        return offer.state is _SENDING

    def _settle(self, offer: OpenOffer, now_ns: int) -> None:
        """An offer that is SENDING has something to send; this is what it is when it has not.

        More than there is was sent where the server wants bytes from beyond the end: SEALED tells it of that.
        """
        item = offer.item
        if offer.state is not _SENDING or offer.at < item.size:
            return
        if not item.sealed:
            offer.move(OfferEvent.CAUGHT_UP)
            return
        offer.move(OfferEvent.FINISHED)
        offer.since_ns, offer.end = now_ns, self._session.sent
        sealed = wire.Sealed(
            session=self._session.number,
            episode=offer.id,
            size=item.size,
            digest=item.digest,
            recoveries=item.recoveries,
            probes=thinned(self._probes(item), wire.MAX_PROBES),
        )
        self._messages.append(sealed)

    # --- what the server says ------------------------------------------------------------------------------------

    def wanted(self, want: wire.Want, now_ns: int) -> None:
        """WANT came. One of before a later one, or of an offer that is closed, means nothing any more."""
        offer = self.open.get(want.episode)
        if offer is None or want.number <= offer.want:
            return
        offer.move(OfferEvent.WANTED)
        if want.offset < offer.furthest:
            self._jobs.append(Recheck(offer.item.episode))
        offer.want, offer.at, offer.since_ns = want.number, want.offset, now_ns
        self._settle(offer, now_ns)

    def close(self, episode: bytes) -> None:
        """The server has answered an offer; it may have been closed before."""
        offer = self.open.pop(episode, None)
        if offer is not None:
            offer.move(OfferEvent.ANSWERED)
            self._order.remove(offer)

    def close_ordinals(self, ordinals: Iterable[int]) -> None:
        """The server has answered the offers of these ordinals."""
        for offer in [offer for offer in self.open.values() if offer.item.ordinal in ordinals]:
            self.close(offer.id)

    def put_off(self, episode: bytes, until_ns: int) -> None:
        """The server cannot take an episode now; it is offered again, not before this time."""
        self.close(episode)
        self._not_before_ns[episode] = until_ns

    def unanswered(self, now_ns: int, *, held: bool = False) -> str:
        """Of which whole episode the server owes an answer since `ANSWER_S`, in words for people; "" if it owes none.

        One that was sent is to be answered, whatever becomes of others. One that is not wanted yet, or lacks credit,
        may wait for others: as long as the server deals with any. What the spool cannot read is not the server's to
        answer, nor, while the device is held, what is not sent whole.
        """
        session = self._session
        for offer in self.open.values():
            if not offer.item.sealed or offer.state is _PAUSED or (held and offer.state is not OfferState.SEALED):
                continue
            if offer.state is not OfferState.SEALED:
                since_ns = max(offer.since_ns, session.answered_ns, session.progress_ns)
            elif session.taken < offer.end:  # it is on its way
                since_ns = offer.since_ns = now_ns
            else:
                since_ns = offer.since_ns
            if now_ns - since_ns > ANSWER_S * SECOND_NS:
                what = "was sent whole" if offer.state is OfferState.SEALED else "is offered whole"
                return f"episode {offer.item.episode} {what}, and the ingest has not answered for {ANSWER_S:.0f} s"
        return ""
