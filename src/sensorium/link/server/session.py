"""A session as the server sees it: one HELLO and WELCOME, what was offered in it, and its credit."""

from dataclasses import dataclass, field
from enum import StrEnum

from sensorium.link.machine import Machine
from sensorium.link.server.transfer import Transfer

FIRST_WINDOW_BYTES = 1 << 20


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
    STALLED = "credit for wanted bytes not used for 30 s"
    REVOKED = "its key was revoked"
    VIOLATED = "a rule was broken"
    UNREACHABLE = "a message could not be delivered"


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
}
"""What ERROR says of the end of a session. Who has a new one, or cannot be reached, is told nothing."""


@dataclass(eq=False)
class ServerSession:
    """`route` is the control socket's routing id, `user_id` names the very key. `limit` and `taken` count bytes.

    One that is `held` says that it may send nothing for a while: it is given no credit and no place. Credit that it
    does not use all the same ends it as it does any other."""

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
    deficit: int = 0
    ledgering: int = 0
    state: SessionState = SessionState.OPEN
    offers: dict[bytes, Transfer] = field(default_factory=dict)
    held: bool = False

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

    def window(self, pool_bytes: int) -> int:
        """The credit it may hold: what it has delivered already, within reason, so that an idle peer hoards little."""
        return min(max(FIRST_WINDOW_BYTES, self.taken), pool_bytes // 8)
