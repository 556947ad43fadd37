"""A transfer: one episode on its way into the store, from its offer to its commit; its states and what moves it.

Bytes are written by one thread while messages and the store's answers come in by others, so much of what happens cannot
be done at once: the store has one job of an episode at a time, and nothing of its file is touched while bytes are
appended to it. What has to wait is not remembered beside the state, it is the state: OPENING and WRITING each have
their THEN_ states, which say what follows the job or the write. A transfer in a state of LEAVING is nobody's offer
any more: an offer of the same episode is a new transfer, which waits until what was staged is gone.
"""

import functools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from sensorium.link import wire
from sensorium.link.machine import Machine

if TYPE_CHECKING:
    from sensorium.link.server.session import ServerSession


class TransferState(StrEnum):
    """Where a transfer stands."""

    WAITING = "offered, without a place, or what was staged of it before is not gone yet"
    OPENING = "job Begin: a file is begun in staging"
    OPENING_THEN_DROP = "job Begin, and then it is dropped"
    TAKING = "bytes are taken in"
    WRITING = "bytes that came are being appended"
    WRITING_THEN_WANT = "the same, and then WANT tells the new session from where on"
    WRITING_THEN_BEGIN = "the same, and then it begins anew"
    WRITING_THEN_DROP = "the same, and then it is dropped"
    COMMITTING = "job Commit"
    COMMIT_PUT_OFF = "complete; the store could not commit it, and will be asked again"
    DROPPING = "job Drop: what is staged is discarded or quarantined"
    GONE = "committed, dropped, or never begun"


class TransferEvent(StrEnum):
    """What happens to a transfer."""

    OFFERED = "OFFER"
    RESUMED = "OFFER in a new session"
    RECOVERED = "OFFER with other `recoveries`"
    SEALED = "SEALED"
    DATA = "DATA in turn"
    GAP = "DATA out of turn"
    UNWANTED = "DISCARDED, or an OFFER that cannot be taken"
    SESSION_OVER = "its session ends"
    EXPIRED = "15 minutes without a session; or its room is needed, and it has none, its device is held or has most"
    PLACE = "a free place"
    NO_ROOM = "no room in staging (ERROR `busy`)"
    BEGUN = "Begin is done"
    WRITTEN = "the bytes are appended"
    UNWRITTEN = "the bytes could not be appended"
    COMPLETE = "all bytes and SEALED are there"
    COMMITTED = "Commit is done (COMMITTED)"
    DAMAGED = "the bytes are damaged, for the first or the second time"
    REFUSED = "it cannot be taken, ever (REJECTED)"
    FAILED = "the store is in trouble (ERROR `busy`)"
    PUT_OFF = "the store is in trouble, the bytes are whole"
    RETRY = "5 s are over"
    DROPPED = "Drop is done"


def _table() -> dict[TransferState, dict[TransferEvent, TransferState]]:
    s, e = TransferState, TransferEvent
    offers = (e.OFFERED, e.RESUMED, e.RECOVERED)
    given_up = (e.UNWANTED, e.EXPIRED)
    deaf = (*offers, e.SEALED, e.UNWANTED, e.SESSION_OVER)  # a commit under way is not called off
    return {
        s.WAITING: {
            e.PLACE: s.OPENING,
            **dict.fromkeys((e.NO_ROOM, e.UNWANTED, e.SESSION_OVER), s.GONE),
            **dict.fromkeys((e.OFFERED, e.RECOVERED), s.WAITING),
        },
        s.OPENING: {
            e.BEGUN: s.TAKING,
            **dict.fromkeys(given_up, s.OPENING_THEN_DROP),
            **dict.fromkeys((e.REFUSED, e.FAILED), s.DROPPING),
            # A new file is what a recovery asks for; a SEALED of before is said again after the next WANT.
            **dict.fromkeys((*offers, e.SEALED, e.SESSION_OVER), s.OPENING),
        },
        s.OPENING_THEN_DROP: dict.fromkeys((e.BEGUN, e.REFUSED, e.FAILED), s.DROPPING),
        s.TAKING: {
            e.DATA: s.WRITING,
            e.COMPLETE: s.COMMITTING,
            **dict.fromkeys((e.RECOVERED, e.DAMAGED), s.OPENING),
            **dict.fromkeys((*given_up, e.REFUSED, e.FAILED), s.DROPPING),
            **dict.fromkeys((e.OFFERED, e.RESUMED, e.GAP, e.SEALED, e.SESSION_OVER), s.TAKING),
        },
        s.WRITING: {
            **dict.fromkeys((e.WRITTEN, e.UNWRITTEN), s.TAKING),
            e.RESUMED: s.WRITING_THEN_WANT,
            e.RECOVERED: s.WRITING_THEN_BEGIN,
            **dict.fromkeys(given_up, s.WRITING_THEN_DROP),
            **dict.fromkeys((e.OFFERED, e.SEALED, e.SESSION_OVER), s.WRITING),
        },
        s.WRITING_THEN_WANT: {
            **dict.fromkeys((e.WRITTEN, e.UNWRITTEN), s.TAKING),
            e.SESSION_OVER: s.WRITING,
            e.RECOVERED: s.WRITING_THEN_BEGIN,
            **dict.fromkeys(given_up, s.WRITING_THEN_DROP),
            **dict.fromkeys((e.OFFERED, e.SEALED), s.WRITING_THEN_WANT),
        },
        s.WRITING_THEN_BEGIN: {
            **dict.fromkeys((e.WRITTEN, e.UNWRITTEN), s.OPENING),
            **dict.fromkeys(given_up, s.WRITING_THEN_DROP),
            **dict.fromkeys((*offers, e.SEALED, e.SESSION_OVER), s.WRITING_THEN_BEGIN),
        },
        s.WRITING_THEN_DROP: dict.fromkeys((e.WRITTEN, e.UNWRITTEN), s.DROPPING),
        s.COMMITTING: {
            e.COMMITTED: s.GONE,
            e.DAMAGED: s.OPENING,
            e.PUT_OFF: s.COMMIT_PUT_OFF,
            **dict.fromkeys((e.REFUSED, e.FAILED), s.DROPPING),
            **dict.fromkeys((*deaf, e.EXPIRED), s.COMMITTING),
        },
        s.COMMIT_PUT_OFF: {
            e.RETRY: s.COMMITTING,
            e.EXPIRED: s.DROPPING,
            **dict.fromkeys(deaf, s.COMMIT_PUT_OFF),
        },
        s.DROPPING: {e.DROPPED: s.GONE},
        s.GONE: {},
    }


TRANSFER = Machine(
    "transfer",
    _table(),
    of_peer=(
        TransferEvent.OFFERED,
        TransferEvent.RESUMED,
        TransferEvent.RECOVERED,
        TransferEvent.SEALED,
        TransferEvent.DATA,
        TransferEvent.GAP,
        TransferEvent.UNWANTED,
    ),
)
DATA, WRITTEN = TransferEvent.DATA, TransferEvent.WRITTEN
WAITING, OPENING = TransferState.WAITING, TransferState.OPENING
TAKING, WRITING = TransferState.TAKING, TransferState.WRITING
"""For the way of every DATA, and to count: in Python 3.11 a member of an enumeration is looked up more slowly than all
else there."""
UNDER_WAY = frozenset(
    {
        TAKING,
        WRITING,
        TransferState.WRITING_THEN_WANT,
        TransferState.WRITING_THEN_BEGIN,
    }
)
"""Bytes are to come."""
ACTIVE = UNDER_WAY | {OPENING}
"""It has a place of its session's."""
LEAVING = frozenset({TransferState.OPENING_THEN_DROP, TransferState.WRITING_THEN_DROP, TransferState.DROPPING})
"""Given up, but not gone yet."""
COMPLETE = frozenset({TransferState.COMMITTING, TransferState.COMMIT_PUT_OFF})
"""The device has nothing more to send."""


@dataclass(eq=False)
class Transfer:
    """One episode on its way in, of `owner` (device, spool_id, ordinal).

    `accepted` bytes are in the file; `number` is that of the last WANT; for it `reserved` bytes of staging are kept.
    Without a `session` it has had none since `idle_ns`. `retry_ns`, of a commit that was put off: when to ask again.
    `quarantine`: why what is staged shall be kept aside, or "" to discard it. `under_way` says whether its state is one
    of those, `active` whether it has a place of its session's.
    """

    offer: wire.Offer
    owner: tuple[str, str, int]
    identity: str
    idle_ns: int
    session: "ServerSession | None" = None
    state: TransferState = TransferState.WAITING
    accepted: int = 0
    number: int = 0
    tries: int = 0
    retry_ns: int = 0
    quarantine: str = ""
    reserved: int = 0
    sealed: wire.Sealed | None = None
    under_way: bool = field(init=False)
    active: bool = field(init=False)

    def __post_init__(self) -> None:
        self.under_way, self.active = self.state in UNDER_WAY, self.state in ACTIVE

    def move(self, event: TransferEvent) -> TransferState:
        """Every transition of a transfer."""
        self.state = state = TRANSFER.after(self.state, event)
        self.under_way, self.active = state in UNDER_WAY, state in ACTIVE  # asked of all of a session, often: kept
        return state

    @functools.cached_property
    def episode(self) -> UUID:
        return UUID(bytes=self.offer.episode)

    @property
    def size(self) -> int:
        return self.sealed.size if self.sealed else self.offer.size

    @property
    def turn(self) -> tuple[float, float, int]:
        """By what those that wait are sorted: larger priority first, then larger value, then older."""
        return -self.offer.priority, -self.offer.value, self.offer.ordinal
