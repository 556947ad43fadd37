"""The device's end of the link without I/O: messages and `now_ns` in, messages and events out.

The pump calls `poll`, sends what `take_messages` gives, does what `take_events` asks, and sends bulk as `next_data`
says. Between sessions it waits, longer each time, with jitter.

    state     | left by
    DOWN      | the wait is over -> GREETING (event Connect, HELLO)
    GREETING  | WELCOME -> UP; ERROR or no answer -> DOWN (event Disconnect)
    UP        | ERROR of the session, silence, no progress, a cut -> DOWN (event Disconnect)
"""

import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sensorium.link import wire
from sensorium.link.device import events as events
from sensorium.link.device.events import Offered
from sensorium.link.device.probing import Probing
from sensorium.link.device.window import Window

SECOND = 1_000_000_000
GREETING_S = 10.0
SILENT_S = 20.0
STALL_S = 20.0
PAUSE_S = 5.0
FIRST_WAIT_S = 0.25
MAX_WAIT_S = 30.0


class State(enum.Enum):
    DOWN = enum.auto()
    GREETING = enum.auto()
    UP = enum.auto()


@dataclass(eq=False)
class Transfer:
    """An offered episode. `want` is the number of the last WANT (0: none yet), `at` the next byte to send."""

    waiting: Offered
    want: int = 0
    at: int = 0
    furthest: int = 0
    finished: bool = False
    paused_ns: int = 0


@dataclass
class _Session:
    number: int = 0
    limit: int = 0
    sent: int = 0
    taken: int = 0
    max_offers: int = wire.MAX_OFFERS
    max_data_bytes: int = wire.MAX_DATA_BYTES
    heard_ns: int = 0
    progress_ns: int = 0
    open: dict[UUID, Transfer] = field(default_factory=dict)
    order: list[Transfer] = field(default_factory=list)
    window: Window = field(default_factory=Window)
    probing: Probing = field(default_factory=Probing)


class DeviceLink:
    """The device's session, offers, credit and probes.

    `ordinals()` gives (oldest, next) of the spool; `probes(waiting)` the clock probes to send with a sealed episode;
    `random()` is uniform in [0, 1), for the jitter of waits and the nonce of HELLO.
    """

    def __init__(
        self,
        device: str,
        spool_id: str,
        boot_id: str,
        ordinals: Callable[[], tuple[int, int]],
        probes: Callable[[Offered], Sequence[tuple[int, int, int]]],
        random: Callable[[], float],
    ) -> None:
        self.state = State.DOWN
        self._device, self._spool_id, self._boot_id = device, spool_id, boot_id
        self._ordinals, self._probes, self._random = ordinals, probes, random
        self._session = _Session()
        self._nonce = 0
        self._since_ns = 0
        self._retry_ns = 0
        self._failures = 0
        self._put_off: dict[UUID, int] = {}
        self._messages: deque[wire.Message] = deque()
        self._events: deque[events.Event] = deque()
        self._handlers: dict[type, Callable[..., None]] = {
            wire.Want: self._want,
            wire.Credit: self._credit,
            wire.Committed: self._committed,
            wire.Rejected: self._rejected,
            wire.Ledgered: self._ledgered,
            wire.ProbeReply: self._probe_reply,
            wire.Directive: self._directive,
        }

    @property
    def is_hungry(self) -> bool:
        """Whether fewer than half of the offers that may be open are."""
        return self.state is State.UP and len(self._session.open) < self._session.max_offers // 2

    @property
    def in_flight(self) -> int:
        """Bytes sent in this session that the server has not dealt with."""
        return self._session.sent - self._session.taken

    def take_messages(self) -> list[wire.Message]:
        """What to send on the control socket, in order."""
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def take_events(self) -> list[events.Event]:
        """What to do, in order. A Disconnect comes before the Connect of the next session."""
        events = list(self._events)
        self._events.clear()
        return events

    # --- time ----------------------------------------------------------------------------------------------------

    def poll(self, now_ns: int) -> None:
        """Let time pass: connect, give up, probe."""
        session = self._session
        if self.state is State.DOWN:
            if now_ns >= self._retry_ns:
                self._greet(now_ns)
        elif self.state is State.GREETING:
            if now_ns - self._since_ns > GREETING_S * SECOND:
                self.lost("no answer from the ingest", now_ns)
        elif now_ns - session.heard_ns > SILENT_S * SECOND:
            self.lost("the ingest fell silent", now_ns)
        elif self.in_flight and now_ns - session.progress_ns > STALL_S * SECOND:
            self.lost(f"no progress with {self.in_flight} bytes in flight", now_ns)
        else:
            sent_ns = session.probing.due(now_ns)
            if sent_ns is not None:
                self._messages.append(wire.Probe(session=session.number, sent_ns=sent_ns))

    def next_timer_ns(self, now_ns: int) -> int:
        """When to call `poll` at the latest."""
        if self.state is State.DOWN:
            return self._retry_ns
        if self.state is State.GREETING:
            return self._since_ns + int(GREETING_S * SECOND)
        return min(now_ns + SECOND, self._session.probing.next_ns)

    def lost(self, why: str, now_ns: int) -> None:
        """The session, or the attempt at one, is over (the pump calls this when a connection was cut)."""
        if self.state is State.DOWN:
            return
        wait_s = min(FIRST_WAIT_S * 2**self._failures, MAX_WAIT_S) * (0.5 + self._random() / 2)
        self._failures = min(self._failures + 1, 10)
        self.state = State.DOWN
        self._retry_ns = now_ns + int(wait_s * SECOND)
        self._session = _Session()
        self._messages.clear()
        self._events.append(events.Disconnect(why))

    def _greet(self, now_ns: int) -> None:
        self.state, self._since_ns = State.GREETING, now_ns
        self._nonce = int(self._random() * 2**53)
        oldest, following = self._ordinals()
        self._events.append(events.Connect())
        hello = wire.Hello(
            session=0,
            version=wire.VERSION,
            nonce=self._nonce,
            device=self._device,
            spool_id=self._spool_id,
            boot_id=self._boot_id,
            oldest=oldest,
            next_ordinal=following,
        )
        self._messages.append(hello)

    # --- what the spool has --------------------------------------------------------------------------------------

    def refresh(self, waiting: Sequence[Offered], now_ns: int) -> None:
        """Offer what `waiting` (in the order to send) has and the server has not heard of yet."""
        if self.state is not State.UP:
            return
        session = self._session
        for item in waiting:
            transfer = session.open.get(item.episode)
            if transfer is None:
                if (
                    len(session.open) >= session.max_offers
                    or now_ns < self._put_off.get(item.episode, 0)
                    or not item.size
                ):
                    continue
                session.open[item.episode] = Transfer(item)
                self._offer(item)
            elif (transfer.waiting.size, transfer.waiting.sealed) != (item.size, item.sealed) or (
                transfer.waiting.recoveries != item.recoveries
            ):
                if transfer.waiting.recoveries != item.recoveries:
                    session.open[item.episode] = Transfer(item)
                else:
                    transfer.waiting = item
                self._offer(item)
                self._finish(session.open[item.episode])  # the spool may note the seal after the last byte was sent
        rank = {item.episode: place for place, item in enumerate(waiting)}
        session.order = sorted(session.open.values(), key=lambda t: rank.get(t.waiting.episode, len(rank)))

    def _offer(self, item: Offered) -> None:
        offer = wire.Offer(
            session=self._session.number,
            episode=item.episode.bytes,
            ordinal=item.ordinal,
            size=item.size,
            sealed=item.sealed,
            digest=item.digest if item.sealed else b"",
            priority=item.priority,
            recoveries=item.recoveries,
        )
        self._messages.append(offer)

    def discard(self, discards: Sequence[tuple[str, Sequence[int]]]) -> None:
        """Report what the spool will never deliver; repeat it every few seconds until it is Ledgered."""
        if self.state is State.UP:
            for reason, ordinals in discards:
                for first in range(0, len(ordinals), wire.MAX_ORDINALS):
                    some = tuple(ordinals[first : first + wire.MAX_ORDINALS])
                    message = wire.Discarded(session=self._session.number, ordinals=some, reason=reason[:1000])
                    self._messages.append(message)

    def status(self, document: dict[str, object]) -> None:
        """Report the device's state."""
        if self.state is State.UP:
            self._messages.append(wire.Status(session=self._session.number, document=document))

    # --- bulk ----------------------------------------------------------------------------------------------------

    def next_data(self, now_ns: int) -> tuple[wire.Data, int] | None:
        """The next DATA to send and how many bytes go with it, then call `sent`. None: nothing, or no room for it."""
        session = self._session
        if self.state is not State.UP:
            return None
        room = min(session.limit, session.taken + session.window.size) - session.sent
        for transfer in session.order:
            left = transfer.waiting.size - transfer.at
            if not transfer.want or transfer.finished or left <= 0 or now_ns < transfer.paused_ns:
                continue
            full = min(left, session.window.message_bytes, session.max_data_bytes)
            size = min(full, room)
            if size < full and size < wire.MIN_DATA_BYTES:
                session.window.limited |= session.sent + full > session.taken + session.window.size
                return None
            episode = transfer.waiting.episode.bytes
            return wire.Data(session=session.number, episode=episode, offset=transfer.at, want=transfer.want), size
        return None

    def sent(self, data: wire.Data, size: int, now_ns: int) -> None:
        """What `next_data` said was sent."""
        session, transfer = self._session, self._session.open[UUID(bytes=data.episode)]
        if not self.in_flight:
            session.progress_ns = now_ns
        transfer.at += size
        transfer.furthest = max(transfer.furthest, transfer.at)
        session.sent += size
        session.window.sent(session.sent, now_ns)
        self._finish(transfer)

    def pause(self, episode: UUID, now_ns: int) -> None:
        """The spool could not read the episode: leave it alone for some seconds."""
        transfer = self._session.open.get(episode)
        if transfer is not None:
            transfer.paused_ns = now_ns + int(PAUSE_S * SECOND)

    def _finish(self, transfer: Transfer) -> None:
        item = transfer.waiting
        if not transfer.want or transfer.finished or not item.sealed or transfer.at != item.size:
            return
        transfer.finished = True
        sealed = wire.Sealed(
            session=self._session.number,
            episode=item.episode.bytes,
            size=item.size,
            digest=item.digest,
            recoveries=item.recoveries,
            probes=_thinned(self._probes(item), wire.MAX_PROBES),
        )
        self._messages.append(sealed)

    # --- what the server says ------------------------------------------------------------------------------------

    def receive(self, message: wire.ServerMessage, now_ns: int) -> None:
        """A message from the control socket. What belongs to another session is ignored."""
        session = self._session
        if self.state is State.GREETING:
            if isinstance(message, wire.Welcome) and message.nonce == self._nonce:
                self._welcome(message, now_ns)
            elif isinstance(message, wire.Error) and message.nonce == self._nonce:
                self._failures = max(self._failures, 5)  # the same HELLO would get the same answer: no hurry
                self.lost(f"the ingest refused the session ({message.code}): {message.reason}", now_ns)
        elif self.state is State.UP and message.session == session.number:
            session.heard_ns = now_ns
            if isinstance(message, wire.Error):
                self._error(message, now_ns)
            else:
                handler = self._handlers.get(type(message))
                if handler is not None:
                    handler(message, now_ns)

    def _welcome(self, message: wire.Welcome, now_ns: int) -> None:
        self.state = State.UP
        self._session = _Session(
            message.session,
            max_offers=min(message.max_offers, wire.MAX_OFFERS),
            max_data_bytes=min(max(message.max_data_bytes, wire.MIN_DATA_BYTES), wire.MAX_DATA_BYTES),
            heard_ns=now_ns,
            progress_ns=now_ns,
        )
        self._put_off.clear()
        self._events.append(events.Connected())

    def _want(self, want: wire.Want, _: int) -> None:
        transfer = self._session.open.get(UUID(bytes=want.episode))
        if transfer is None or want.number <= transfer.want or want.offset > transfer.waiting.size:
            return
        if want.offset < transfer.furthest:
            self._events.append(events.Recheck(transfer.waiting.episode))
        transfer.want, transfer.at, transfer.finished = want.number, want.offset, False
        self._finish(transfer)  # it may have all the bytes already

    def _credit(self, credit: wire.Credit, now_ns: int) -> None:
        session = self._session
        session.limit = max(session.limit, credit.limit)
        if session.taken < credit.taken <= session.sent:
            session.taken, session.progress_ns = credit.taken, now_ns
            session.window.taken(credit.taken, now_ns)
            self._failures = 0

    def _committed(self, message: wire.Committed, _: int) -> None:
        episode = UUID(bytes=message.episode)
        transfer = self._session.open.get(episode)
        if transfer and transfer.waiting.sealed and transfer.waiting.digest != message.digest:
            self._events.append(
                events.Told(f"episode {episode} was committed with another digest than the spool has; kept")
            )
            return
        self._close_offer(episode)
        self._failures = 0
        self._events.append(events.Committed(episode, message.ordinal))

    def _close_offer(self, episode: UUID) -> None:
        transfer = self._session.open.pop(episode, None)
        if transfer is not None:
            self._session.order.remove(transfer)

    def _rejected(self, message: wire.Rejected, _: int) -> None:
        episode = UUID(bytes=message.episode)
        self._close_offer(episode)
        self._events.append(events.Rejected(episode, message.code, message.reason))

    def _ledgered(self, message: wire.Ledgered, _: int) -> None:
        for transfer in [t for t in self._session.open.values() if t.waiting.ordinal in message.ordinals]:
            self._close_offer(transfer.waiting.episode)
        self._events.append(events.Ledgered(message.ordinals))

    def _probe_reply(self, reply: wire.ProbeReply, now_ns: int) -> None:
        best = self._session.probing.reply(reply, now_ns)
        if best is not None:
            self._events.append(events.Probed(*best))

    def _directive(self, directive: wire.Directive, _: int) -> None:
        self._events.append(events.Directed(directive))

    def _error(self, error: wire.Error, now_ns: int) -> None:
        if error.code == "unknown":
            self._events.append(events.Told(f"the ingest does not know a message: {error.reason}"))
        elif error.episode:
            episode = UUID(bytes=error.episode)
            self._close_offer(episode)
            self._put_off[episode] = now_ns + int(max(error.retry_s, 0.1) * SECOND)
            self._events.append(events.Told(f"the ingest put episode {episode} off ({error.code}): {error.reason}"))
        else:
            self.lost(f"the ingest ended the session ({error.code}): {error.reason}", now_ns)


def _thinned(probes: Sequence[tuple[int, int, int]], most: int) -> tuple[tuple[int, int, int], ...]:
    """At most so many, evenly over the whole, the first and the last among them."""
    step = max(1, -(-(len(probes) - 1) // (most - 1)))
    return (*probes[:-1:step], *probes[-1:])
