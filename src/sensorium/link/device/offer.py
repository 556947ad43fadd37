"""An open offer: an episode that the device has offered in this session; its states and what moves it.

The spool and the server each know of it at their own pace. Bytes can be sendable before the spool notes the seal that
they end with, and all of them may be sent by then; a file may grow after all of it was sent, and be recovered at any
time. So whatever the spool has to say moves the offer, and each state says what the server has heard.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from sensorium.link.machine import Machine


class Sendable(Protocol):
    """What the spool says of an episode that may be sent: its first `size` bytes are synced."""

    @property
    def episode(self) -> UUID: ...
    @property
    def ordinal(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def sealed(self) -> bool: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def priority(self) -> float: ...
    @property
    def value(self) -> float: ...
    @property
    def recoveries(self) -> int: ...
    @property
    def boot_id(self) -> str | None: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...


class OfferState(StrEnum):
    """Where an open offer stands."""

    OFFERED = "OFFER was said; it is not wanted yet"
    SENDING = "there are bytes to send that are wanted"
    LEVEL = "all that is synced was sent; the end is not known yet"
    PAUSED = "the spool could not read it"
    SEALED = "SEALED was said"
    CLOSED = "it is answered, or put off"


class OfferEvent(StrEnum):
    """What happens to an open offer."""

    WANTED = "WANT"
    ANSWERED = "COMMITTED, REJECTED, LEDGERED or ERROR `busy`"
    GREW = "the spool has more of it, or its seal"
    RECOVERED = "the spool took damage out of it"
    CAUGHT_UP = "the last byte that is synced was sent"
    FINISHED = "the last byte was sent, and the spool has its seal"
    UNREADABLE = "the spool cannot read it"
    PAUSE_OVER = "5 s are over"


def _table() -> dict[OfferState, dict[OfferEvent, OfferState]]:
    s, e = OfferState, OfferEvent
    always = {e.RECOVERED: s.OFFERED, e.ANSWERED: s.CLOSED}
    return {
        s.OFFERED: {e.WANTED: s.SENDING, e.GREW: s.OFFERED, **always},
        s.SENDING: {
            e.CAUGHT_UP: s.LEVEL,
            e.FINISHED: s.SEALED,
            e.UNREADABLE: s.PAUSED,
            **dict.fromkeys((e.WANTED, e.GREW), s.SENDING),
            **always,
        },
        # The seal may be noted when every byte is sent already: that too is a GREW, and it leads to FINISHED.
        s.LEVEL: {**dict.fromkeys((e.WANTED, e.GREW), s.SENDING), **always},
        s.PAUSED: {e.PAUSE_OVER: s.SENDING, **dict.fromkeys((e.WANTED, e.GREW), s.PAUSED), **always},
        s.SEALED: {e.WANTED: s.SENDING, **always},
        s.CLOSED: {},
    }


OFFER = Machine("offer", _table(), of_peer=(OfferEvent.WANTED, OfferEvent.ANSWERED))


@dataclass(eq=False)
class OpenOffer:
    """`item` is what OFFER said last. `want` is the number of the last WANT (0: none yet), `at` the next byte to send;
    nothing from `furthest` on was sent in this session. A pause lasts until `paused_ns`. Since `since_ns` it is for the
    server to say something; `end` is what the session had sent when SEALED was said."""

    item: Sendable
    state: OfferState = OfferState.OFFERED
    want: int = 0
    at: int = 0
    furthest: int = 0
    paused_ns: int = 0
    since_ns: int = 0
    end: int = 0

    def __post_init__(self) -> None:
        self.id = self.item.episode.bytes

    def move(self, event: OfferEvent) -> OfferState:
        """Every transition of an offer."""
        self.state = state = OFFER.after(self.state, event)
        return state
