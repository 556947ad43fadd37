"""What the device's end of the link is told of the spool, and what it asks of its pump."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from sensorium.link import wire


class Offered(Protocol):
    """What the spool says of an episode that may be sent (`Waiting`): its first `size` bytes are synced."""

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
    def recoveries(self) -> int: ...
    @property
    def boot_id(self) -> str | None: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...


@dataclass(frozen=True)
class Connect:
    """Open both sockets; HELLO follows among the messages."""


@dataclass(frozen=True)
class Connected:
    """A session is open: `refresh` it with what there is."""


@dataclass(frozen=True)
class Disconnect:
    """Close both sockets, dropping what they hold; `why` is for the log."""

    why: str


@dataclass(frozen=True)
class Committed:
    """The store has the episode: tell the spool."""

    episode: UUID
    ordinal: int


@dataclass(frozen=True)
class Rejected:
    """The server refuses the episode for good: tell the spool."""

    episode: UUID
    code: str
    reason: str


@dataclass(frozen=True)
class Recheck:
    """The server asks again for bytes that it had: read the file for damage, then `refresh`."""

    episode: UUID


@dataclass(frozen=True)
class Ledgered:
    """The server has noted these discards: tell the spool."""

    ordinals: tuple[int, ...]


@dataclass(frozen=True)
class Probed:
    """The best of a burst of clock probes, in the device's and the server's nanoseconds."""

    device_ns: int
    server_ns: int
    round_trip_ns: int


@dataclass(frozen=True)
class Told:
    """Something for the log: what the server said that is no fault of the session."""

    text: str


@dataclass(frozen=True)
class Directed:
    """The server asks something of the device."""

    directive: wire.Directive


Event = Connect | Connected | Disconnect | Committed | Rejected | Recheck | Ledgered | Probed | Told | Directed
