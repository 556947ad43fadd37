"""What the device's end of the link asks of its pump, in order."""

from dataclasses import dataclass
from uuid import UUID

from sensorium.link import wire


@dataclass(frozen=True)
class Connect:
    """Open both sockets; HELLO follows among the messages."""


@dataclass(frozen=True)
class OfferAll:
    """A session is open: `refresh` it with what there is."""


@dataclass(frozen=True)
class Disconnect:
    """Close both sockets, dropping what they hold; `why` is for the log, of one `cause` now and then."""

    why: str
    cause: str


@dataclass(frozen=True)
class Delete:
    """The server says that the store has the episode, with this digest: tell the spool, which may know better."""

    episode: UUID
    ordinal: int
    digest: bytes


@dataclass(frozen=True)
class SetAside:
    """The server refuses the episode for good: tell the spool."""

    episode: UUID
    code: str
    reason: str


@dataclass(frozen=True)
class Recheck:
    """The server asks again for bytes that it had: read the file for damage, then `refresh`."""

    episode: UUID


@dataclass(frozen=True)
class ForgetDiscards:
    """The server has noted these discards: tell the spool."""

    ordinals: tuple[int, ...]


@dataclass(frozen=True)
class KeepProbe:
    """The best of a burst of clock probes, in the device's and the server's nanoseconds."""

    device_ns: int
    server_ns: int
    round_trip_ns: int


@dataclass(frozen=True)
class Log:
    """What the server said that is no fault of the session is for the log, of one `cause` now and then."""

    cause: str
    text: str


@dataclass(frozen=True)
class Obey:
    """The server asks something of the device."""

    directive: wire.Directive


@dataclass(frozen=True)
class ForgetAnswers:
    """The server has noted what became of the directives of these names."""

    names: tuple[str, ...]


PumpJob = (
    Connect
    | OfferAll
    | Disconnect
    | Delete
    | SetAside
    | Recheck
    | ForgetDiscards
    | KeepProbe
    | Log
    | Obey
    | ForgetAnswers
)
