"""The device's end of the link without I/O: messages and `now_ns` in, messages and jobs out.

The pump calls `poll`, sends what `take_messages` gives, does what `take_jobs` asks, and sends bulk as `next_data`
says. Between sessions it waits, longer each time, with jitter. What becomes of an offered episode is in `departures`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from uuid import UUID

import msgspec

from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.documents import BetweenTotals
from sensorium.link import wire
from sensorium.link.device import jobs
from sensorium.link.device.departures import Departures, ProbesOf
from sensorium.link.device.offer import Sendable
from sensorium.link.device.session import DeviceSession
from sensorium.link.machine import Machine

GREETING_S = 10.0
SILENT_S = 20.0
STALL_S = 20.0
FIRST_WAIT_S = 0.25
MAX_WAIT_S = 30.0
MIN_RETRY_S, MAX_RETRY_S = 0.1, 3600.0
EPISODE_ID_BYTES = 16
_ANSWERS = (wire.Want, wire.Committed, wire.Rejected, wire.Error)


class LinkState(StrEnum):
    """Where the device's end stands."""

    DOWN = "between sessions; the sockets are closed"
    GREETING = "the sockets are open, HELLO was said"
    UP = "a session is open"


class Hold(StrEnum):
    """Whether the device may send; a hold has its effect on credit once."""

    NONE = "bulk goes as there is credit"
    BEGUN = "nothing is sent; credit that is left goes back once all that is in flight was dealt with"
    SETTLED = "nothing is sent, and no credit was left, or it went back"


class LinkEvent(StrEnum):
    """What happens to the device's end."""

    WAIT_OVER = "the wait is over"
    WELCOMED = "WELCOME with the `nonce`"
    REFUSED = "ERROR with the `nonce`"
    HELD = "the device may send nothing for a while: a session without credit is to follow"
    LOST = "a cut, no answer for 10 s, silence or no progress for 20 s, no answer for 60 s, ERROR, a broken rule"


LINK = Machine(
    "link",
    {
        # Both connections tell of a cut, and more may go wrong before the pump has closed them: one LOST is enough.
        LinkState.DOWN: {LinkEvent.WAIT_OVER: LinkState.GREETING, LinkEvent.LOST: LinkState.DOWN},
        LinkState.GREETING: {
            LinkEvent.WELCOMED: LinkState.UP,
            **dict.fromkeys((LinkEvent.REFUSED, LinkEvent.LOST), LinkState.DOWN),
        },
        LinkState.UP: dict.fromkeys((LinkEvent.HELD, LinkEvent.LOST), LinkState.DOWN),
    },
    of_peer=(LinkEvent.WELCOMED, LinkEvent.REFUSED),
)


class DeviceLink:
    """The device's sessions, one after the other: offers, credit and probes.

    `ordinals()` gives (oldest, next) of the spool; `probes(item)` the clock probes to send with a sealed episode;
    `random()` is uniform in [0, 1), for the jitter of waits and the nonce of HELLO.
    `unanswered` counts the sessions given up because a whole episode had no answer. `directives` is the format of
    those that it takes, 0: none.
    """

    def __init__(
        self,
        device: str,
        spool_id: str,
        boot_id: str,
        ordinals: Callable[[], tuple[int, int]],
        probes: ProbesOf,
        random: Callable[[], float],
        directives: int = 0,
    ) -> None:
        self.state = LinkState.DOWN
        self._names = (device, spool_id, boot_id, directives)
        self._ordinals, self._probes, self._random = ordinals, probes, random
        self._messages: deque[wire.Message] = deque()
        self._jobs: deque[jobs.PumpJob] = deque()
        self._begin(DeviceSession())
        self._nonce = 0
        self._due_ns = 0
        self._failures = 0
        self._hold = Hold.NONE
        self.unanswered = 0
        self._handlers: dict[type, Callable[..., None]] = {
            wire.Welcome: self._welcome,
            wire.Want: self._want,
            wire.Credit: self._credit,
            wire.Committed: self._committed,
            wire.Rejected: self._rejected,
            wire.Ledgered: self._ledgered,
            wire.ProbeReply: self._probe_reply,
            wire.Directive: self._directive,
            wire.Error: self._error,
        }

    def move(self, event: LinkEvent) -> LinkState:
        """Every transition of this end."""
        self.state = state = LINK.after(self.state, event)
        return state

    @property
    def is_up(self) -> bool:
        """Whether a session is open."""
        return self.state is LinkState.UP

    @property
    def is_hungry(self) -> bool:
        """Whether fewer than half of the offers that may be open are."""
        return self.is_up and len(self._departures.open) < self._session.max_offers // 2

    @property
    def in_flight(self) -> int:
        """Bytes sent in this session that the server has not dealt with."""
        return self._session.in_flight

    def take_messages(self) -> list[wire.Message]:
        """What to send on the control socket, in order."""
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def take_jobs(self) -> list[jobs.PumpJob]:
        """What to do, in order. A Disconnect comes before the Connect of the next session."""
        asked = list(self._jobs)
        self._jobs.clear()
        return asked

    # --- time ----------------------------------------------------------------------------------------------------

    def poll(self, now_ns: int) -> None:
        """Let time pass: connect, give up, probe."""
        session = self._session
        if self.state is LinkState.DOWN:
            if now_ns >= self._due_ns:
                self._greet(now_ns)
        elif self.state is LinkState.GREETING:
            if now_ns > self._due_ns:
                self.lost("no answer from the ingest", now_ns)
        elif now_ns - session.heard_ns > SILENT_S * SECOND_NS:
            self.lost("the ingest fell silent", now_ns)
        elif session.in_flight and now_ns - session.progress_ns > STALL_S * SECOND_NS:
            self.lost(f"no progress with {session.in_flight} bytes in flight", now_ns, "no progress")
        elif why := self._departures.unanswered(now_ns, held=self._hold is not Hold.NONE):
            self.unanswered += 1
            self.lost(why, now_ns, "no answer")
        else:
            sent_ns = session.probing.due(now_ns)
            if sent_ns is not None:
                self._messages.append(wire.Probe(session=session.number, sent_ns=sent_ns))

    def next_timer_ns(self, now_ns: int) -> int:
        """When to call `poll` at the latest."""
        if not self.is_up:
            return self._due_ns
        return min(now_ns + SECOND_NS, self._session.probing.timer_ns)

    def lost(self, why: str, now_ns: int, cause: str = "") -> None:
        """The session, or the attempt at one, is over (the pump calls this when a connection was cut).

        Where `why` has words that are another each time, or the other side's, `cause` is what they have in common.
        """
        self._leave(LinkEvent.LOST, why, now_ns, cause)

    def _leave(self, event: LinkEvent, why: str, now_ns: int, cause: str = "") -> None:
        was = self.state
        if self.move(event) is was:
            return
        wait_s = min(FIRST_WAIT_S * 2**self._failures, MAX_WAIT_S) * (0.5 + self._random() / 2)
        self._failures = min(self._failures + 1, 10)
        self._due_ns = now_ns + int(wait_s * SECOND_NS)
        self._begin(DeviceSession())
        self._messages.clear()
        self._jobs.append(jobs.Disconnect(why, cause or why))

    def _greet(self, now_ns: int) -> None:
        self.move(LinkEvent.WAIT_OVER)
        self._due_ns = now_ns + int(GREETING_S * SECOND_NS)
        self._nonce = int(self._random() * 2**53)
        (device, spool_id, boot_id, directives), (oldest, following) = self._names, self._ordinals()
        self._jobs.append(jobs.Connect())
        hello = wire.Hello(
            session=0,
            version=wire.VERSION,
            nonce=self._nonce,
            device=device,
            spool_id=spool_id,
            boot_id=boot_id,
            oldest=oldest,
            next_ordinal=following,
            directives=directives,
        )
        self._messages.append(hello)

    def _begin(self, session: DeviceSession) -> None:
        self._session = session
        self._departures = Departures(session, self._probes, self._messages, self._jobs)

    # --- what the spool has --------------------------------------------------------------------------------------

    def refresh(self, waiting: Sequence[Sendable], now_ns: int) -> None:
        """Offer what `waiting` (in the order to send) has and the server has not heard of yet."""
        if self.is_up:
            self._departures.refresh(waiting, now_ns)

    def discard(self, discards: Sequence[tuple[str, Sequence[int]]]) -> None:
        """Report what the spool will never deliver; repeat it every few seconds until it is to be forgotten."""
        if self.is_up:
            for reason, ordinals in discards:
                for first in range(0, len(ordinals), wire.MAX_ORDINALS):
                    some = tuple(ordinals[first : first + wire.MAX_ORDINALS])
                    message = wire.Discarded(session=self._session.number, ordinals=some, reason=reason[:1000])
                    self._messages.append(message)

    def status(self, document: dict[str, object]) -> None:
        """Report the device's state."""
        if self.is_up:
            self._messages.append(wire.Status(session=self._session.number, document=document))

    def report_between(self, totals: BetweenTotals) -> None:
        """Report the samples in no episode, those of the oldest changes first, as far as a message goes; call it every
        few seconds, as the rest follows once the server has noted this."""
        fresh = sorted((n, stream) for stream, n in totals.numbers.items() if n > self._session.between)
        number, size = 0, 0
        streams: dict[str, object] = {}
        for n, stream in fresh:
            account = msgspec.to_builtins(totals.streams[stream])
            size += len(wire.ENCODER.encode({stream: account}))
            if streams and size > wire.MAX_BETWEEN_BYTES:
                break
            number, streams[stream] = n, account
        if streams:
            self.status({"between": {"number": number, "streams": streams}})

    @property
    def noted_between(self) -> int:
        """Up to which number the server has noted, in this session, the samples in no episode."""
        return self._session.between

    # --- bulk ----------------------------------------------------------------------------------------------------

    def hold(self, why: str, now_ns: int) -> None:
        """Nothing may be sent for a while, and why, or, where that is empty, again; call it before `next_data`.

        The server is told, so that nobody waits for what does not come. Credit that is left is given back, which only
        the end of a session does: it would be missing to others, or be taken away.
        """
        session = self._session
        if bool(why) is (self._hold is Hold.NONE):
            self._hold = Hold.BEGUN if why else Hold.NONE
            session.answered_ns = now_ns  # of what was not sent meanwhile no answer was due
            self._say_hold()
        if self._hold is Hold.BEGUN and self.is_up and not session.in_flight:
            self._hold = Hold.SETTLED
            if session.limit > session.sent:
                self._leave(LinkEvent.HELD, why, now_ns)

    def _say_hold(self) -> None:
        self.status({"uplink": {"held": self._hold is not Hold.NONE}})

    def next_data(self, now_ns: int) -> tuple[wire.Data, int] | None:
        """The next DATA to send and how many bytes go with it, or fewer, then call `sent`. None: nothing, or no room
        for it, or the device is held."""
        return None if self._hold is not Hold.NONE else self._departures.next_data(now_ns)

    def sent(self, data: wire.Data, size: int, now_ns: int) -> None:
        """What `next_data` said was sent."""
        self._departures.sent(data, size, now_ns)

    def pause(self, data: wire.Data, now_ns: int) -> None:
        """The spool could not read what `next_data` said: its episode is left alone for some seconds."""
        self._departures.pause(data, now_ns)

    # --- what the server says ------------------------------------------------------------------------------------

    def receive(self, message: wire.ServerMessage, now_ns: int) -> None:
        """A message from the control socket. What belongs to another session, or to none, is ignored."""
        if self.state is LinkState.GREETING:
            if isinstance(message, wire.Welcome) and message.nonce == self._nonce:
                self._welcome(message, now_ns)
            elif isinstance(message, wire.Error) and message.nonce == self._nonce:
                self._failures = max(self._failures, 5)  # the same HELLO would get the same answer: no hurry
                why = f"the ingest refused the session ({message.code}): {message.reason}"
                self._leave(LinkEvent.REFUSED, why, now_ns, "refused")
        elif self.state is LinkState.UP and message.session == self._session.number:
            self._session.heard_ns = now_ns
            if isinstance(message, _ANSWERS):
                self._session.answered_ns = now_ns
            handler = self._handlers.get(type(message))
            if handler is not None:
                handler(message, now_ns)

    def _welcome(self, message: wire.Welcome, now_ns: int) -> None:
        self.move(LinkEvent.WELCOMED)
        self._begin(
            DeviceSession(
                message.session,
                max_offers=min(message.max_offers, wire.MAX_OFFERS),
                max_data_bytes=min(max(message.max_data_bytes, wire.MIN_DATA_BYTES), wire.MAX_DATA_BYTES),
                heard_ns=now_ns,
                progress_ns=now_ns,
                answered_ns=now_ns,
            )
        )
        if self._hold is not Hold.NONE:
            self._say_hold()
        self._jobs.append(jobs.OfferAll())

    def _want(self, want: wire.Want, now_ns: int) -> None:
        self._departures.wanted(want, now_ns)

    def _credit(self, credit: wire.Credit, now_ns: int) -> None:
        if self._session.credit(credit, now_ns):
            self._failures = 0

    def _committed(self, message: wire.Committed, _: int) -> None:
        episode = UUID(bytes=message.episode)
        offer = self._departures.open.get(message.episode)
        if offer and offer.item.sealed and offer.item.digest != message.digest:
            text = f"episode {episode} was committed with another digest than the spool has; kept"
            self._jobs.append(jobs.Log("another digest", text))
            return
        self._departures.close(message.episode)
        self._failures = 0
        self._jobs.append(jobs.Delete(episode, message.ordinal, message.digest))

    def _rejected(self, message: wire.Rejected, _: int) -> None:
        self._departures.close(message.episode)
        self._jobs.append(jobs.SetAside(UUID(bytes=message.episode), message.code, message.reason))

    def _ledgered(self, message: wire.Ledgered, _: int) -> None:
        self._departures.close_ordinals(message.ordinals)
        self._session.between = max(self._session.between, message.between)
        if message.ordinals:
            self._jobs.append(jobs.ForgetDiscards(message.ordinals))
        if message.directives:
            self._jobs.append(jobs.ForgetAnswers(message.directives))

    def _probe_reply(self, reply: wire.ProbeReply, now_ns: int) -> None:
        best = self._session.probing.reply(reply, now_ns)
        if best is not None:
            self._jobs.append(jobs.KeepProbe(*best))

    def _directive(self, directive: wire.Directive, _: int) -> None:
        self._jobs.append(jobs.Obey(directive))

    def _error(self, error: wire.Error, now_ns: int) -> None:
        if error.code == "unknown":
            self._jobs.append(jobs.Log("unknown there", f"the ingest does not know a message: {error.reason}"))
        elif error.episode:
            if len(error.episode) != EPISODE_ID_BYTES:
                why = f"from the ingest: ERROR {error.code!r} of an id of {len(error.episode)} bytes"
                self.lost(why, now_ns, "no message")
                return
            # Whatever it says: NaN is as good as nothing, and nothing is put off for ever.
            retry_s = min(error.retry_s, MAX_RETRY_S) if error.retry_s > MIN_RETRY_S else MIN_RETRY_S
            self._departures.put_off(error.episode, now_ns + int(retry_s * SECOND_NS))
            episode = UUID(bytes=error.episode)
            self._jobs.append(
                jobs.Log("put off", f"the ingest put episode {episode} off ({error.code}): {error.reason}")
            )
        else:
            self.lost(f"the ingest ended the session ({error.code}): {error.reason}", now_ns, "ended")
