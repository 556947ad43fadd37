"""What the server of the link knows: its limits, the sessions, the transfers, and the jobs it asks of the store."""

import enum
from dataclasses import dataclass, field
from uuid import UUID

from sensorium.link import wire

SECOND = 1_000_000_000
FIRST_WINDOW_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What bounds the server whatever its peers do."""

    pool_bytes: int = 256 << 20
    sessions: int = 1024
    sessions_of_device: int = 64
    offers: int = wire.MAX_OFFERS
    open_per_session: int = 8
    open_transfers: int = 256
    staged_bytes: int = 64 << 30
    growing_reserve_bytes: int = 256 << 20
    episode_bytes: int = 64 << 30
    silent_s: float = 30.0
    stall_s: float = 30.0
    staging_s: float = 900.0
    retry_s: float = 5.0


class State(enum.Enum):
    WAITING = enum.auto()
    OPENING = enum.auto()
    TAKING = enum.auto()
    COMMITTING = enum.auto()
    DROPPING = enum.auto()


@dataclass(eq=False)
class Session:
    """One HELLO and WELCOME. `route` is the control socket's routing id, `user_id` names the very key."""

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
    is_open: bool = True
    offers: "dict[bytes, Transfer]" = field(default_factory=dict)
    status: dict[str, object] = field(default_factory=dict)

    @property
    def outstanding(self) -> int:
        """Bytes of credit that were given and not used."""
        return self.limit - self.taken

    @property
    def demand(self) -> int:
        """Bytes that the session has to send for the transfers under way."""
        under_way = (t for t in self.offers.values() if t.state is State.TAKING)
        return sum(max(0, t.size - t.accepted) for t in under_way)

    def window(self, pool_bytes: int) -> int:
        """The credit it may hold: what it has delivered already, within reason, so that an idle peer hoards little."""
        return min(max(FIRST_WINDOW_BYTES, self.taken), pool_bytes // 8)


@dataclass(eq=False)
class Transfer:
    """One episode on its way in, of `owner` (device, spool_id, ordinal).

    `accepted` bytes are written, `writing` says that more are being. What cannot be done while bytes are written or a
    job is under way is remembered: `restart_due`, `drop_due` (why, "" for no reason), and an offer that came while the
    transfer was being dropped as `parked`.
    """

    offer: wire.Offer
    owner: tuple[str, str, int]
    identity: str
    idle_ns: int
    session: Session | None = None
    state: State = State.WAITING
    accepted: int = 0
    number: int = 0
    tries: int = 0
    writing: bool = False
    restart_due: bool = False
    drop_due: str | None = None
    retry_ns: int = 0
    sealed: wire.Sealed | None = None
    parked: "tuple[Session, wire.Offer] | None" = None

    @property
    def episode(self) -> UUID:
        return UUID(bytes=self.offer.episode)

    @property
    def size(self) -> int:
        return self.sealed.size if self.sealed else self.offer.size


@dataclass
class DeviceFigures:
    """What a device has done since the ingest started, over all its sessions."""

    written_bytes: int = 0
    committed: int = 0
    heard_ns: int = 0


@dataclass(frozen=True)
class Begin:
    """Discard what is staged of the episode, if anything, and begin it anew; answer `begun` or `failed`."""

    episode: UUID


@dataclass(frozen=True)
class Commit:
    """Commit the episode, whose digest and (device, spool_id, ordinal) must be these.

    Answer `committed`, `damaged`, `refused` or `failed`.
    """

    episode: UUID
    owner: tuple[str, str, int]
    identity: str
    digest: bytes
    probes: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Drop:
    """Discard what is staged of the episode, or quarantine it where `why` says why; answer `dropped`."""

    episode: UUID
    why: str = ""


@dataclass(frozen=True)
class Ledger:
    """Enter the ordinals as discarded; answer `ledgered` with those that turned out to be committed."""

    session: int
    device: str
    spool_id: str
    ordinals: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class SawSpool:
    """Note a spool and its ordinals (a fresh session); no answer."""

    device: str
    spool_id: str
    oldest: int
    next_ordinal: int


Job = Begin | Commit | Drop | Ledger | SawSpool
