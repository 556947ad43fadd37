"""A session as the server sees it: one HELLO and WELCOME, what was offered in it, and its credit."""

from dataclasses import dataclass, field
from enum import StrEnum

from sensorium.drivers.clock import SECOND_NS
from sensorium.link import wire
from sensorium.link.machine import Machine
from sensorium.link.server.transfer import Transfer

FIRST_WINDOW_BYTES = 1 << 20
LEAST_BYTES, LEAST_SHARE = 1 << 10, 32
"""Of credit for what it was asked for a session uses so much within the time that it may stall; of what it has beyond
the first window, which it has got for being quick, a share."""
NEW_ORDINALS, NEW_ORDINALS_A_SECOND = 1000, 1000
"""So many, and so many more a second, a device may begin after the HELLO that says its next."""


class SessionState(StrEnum):
    """Where a session stands."""

    OPEN = "WELCOME was said"
    LEAVING = "its device has said that it leaves: what is under way is taken in, its silence is no surprise"
    OVER = "its credit is revoked, its messages are ignored, its transfers wait for the next one"


class SessionEvent(StrEnum):
    """What ends a session."""

    LEAVES = "STATUS: nothing more comes in it"
    REPLACED = "HELLO of the same spool"
    SILENT = "nothing heard for 30 s"
    STALLED = "of credit for wanted bytes less than 1 KiB, or than a 32nd of what is beyond 1 MiB, used in 30 s"
    REVOKED = "its key was revoked"
    VIOLATED = "a rule was broken"
    UNREACHABLE = "a message could not be delivered"
    STOPPED = "the ingest stops"


_ENDS: dict[SessionEvent, SessionState] = {
    event: SessionState.OVER for event in SessionEvent if event is not SessionEvent.LEAVES
}
SESSION: Machine[SessionState, SessionEvent] = Machine(
    "session",
    {
        SessionState.OPEN: {SessionEvent.LEAVES: SessionState.LEAVING, **_ENDS},
        SessionState.LEAVING: {SessionEvent.LEAVES: SessionState.LEAVING, **_ENDS},
        SessionState.OVER: {},
    },
    of_peer=[SessionEvent.LEAVES],
)
ERROR_CODES = {
    SessionEvent.SILENT: "session",
    SessionEvent.STALLED: "session",
    SessionEvent.REVOKED: "identity",
    SessionEvent.VIOLATED: "violation",
    SessionEvent.STOPPED: "stopped",
}
"""What ERROR says of the end of a session. Who has a new one, or cannot be reached, is told nothing."""


@dataclass
class SessionTally:
    """What a session is held to. Its spool had given out ordinals up to `next_ordinal` when it began, at `begun_ns`;
    `marked` is what was taken when there was progress last; of it `ledgering` things are being noted, totals among them
    where it is `telling`."""

    next_ordinal: int = 0
    begun_ns: int = 0
    marked: int = 0
    ledgering: int = 0
    telling: bool = False


@dataclass(eq=False)
class ServerSession:
    """`route` is the control socket's routing id, `user_id` names the very key. `limit` and `taken` count bytes.

    One that is `held` says that it may send nothing for a while: it is given no credit and no place. Credit that it
    does not use all the same ends it as it does any other.

    `looking` are the offers of what the store is asked about."""

    number: int
    route: bytes
    user_id: str
    identity: str
    device: str
    spool_id: str
    heard_ns: int
    progress_ns: int
    limit: int = 0
    taken: int = 0
    state: SessionState = SessionState.OPEN
    offers: dict[bytes, Transfer] = field(default_factory=dict)
    looking: dict[bytes, wire.Offer] = field(default_factory=dict)
    held: bool = False
    tally: SessionTally = field(default_factory=SessionTally)

    def move(self, event: SessionEvent) -> SessionState:
        """Every transition of a session."""
        self.state = state = SESSION.after(self.state, event)
        return state

    @property
    def outstanding(self) -> int:
        """Bytes of credit that were given and not used."""
        return self.limit - self.taken

    @property
    def demand(self) -> int:
        """Bytes that the session has to send for the transfers under way."""
        return sum([max(0, t.size - t.accepted) for t in self.offers.values() if t.under_way])

    def owner_of(self, offer: wire.Offer) -> tuple[str, str, int]:
        """Whose an episode is that is offered in it: (device, spool_id, ordinal)."""
        return self.device, self.spool_id, offer.ordinal

    def used(self, size: int) -> None:
        """Bytes of its credit were used, which came when it was heard last: progress, if they are enough."""
        self.taken += size
        least = max(LEAST_BYTES, (self.limit - self.tally.marked - FIRST_WINDOW_BYTES) // LEAST_SHARE)
        if self.taken - self.tally.marked >= least:
            self.rested(self.heard_ns)

    def rested(self, now_ns: int) -> None:
        """From now on its progress is looked at."""
        self.progress_ns, self.tally.marked = now_ns, self.taken

    def may_have_begun(self, ordinal: int, now_ns: int) -> bool:
        """Whether its spool can have given out an ordinal by now."""
        since = NEW_ORDINALS + (now_ns - self.tally.begun_ns) * NEW_ORDINALS_A_SECOND // SECOND_NS
        return ordinal < self.tally.next_ordinal + since

    def window(self, pool_bytes: int) -> int:
        """The credit it may hold: what it has delivered already, within reason, so that an idle peer hoards little."""
        return min(max(FIRST_WINDOW_BYTES, self.taken), pool_bytes // 8)
