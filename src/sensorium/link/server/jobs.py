"""What the server of the link asks of the store; each is answered once, but for `NoteSpool`."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from sensorium.episode.documents import BetweenReport


class Stored(Protocol):
    """What the store says of an episode that it holds."""

    @property
    def state(self) -> str: ...
    @property
    def digest(self) -> bytes: ...


class Unseen:
    """The store may hold an episode; what, it says only when it is asked by `LookUp`, as that takes time."""


UNSEEN = Unseen()


@dataclass(frozen=True)
class LookUp:
    """Say what the store holds of the episode; answer `looked_up`."""

    session: int
    device: str
    episode: UUID


@dataclass(frozen=True)
class Begin:
    """Discard what is staged of the episode, if anything, and begin it anew, or where an earlier run left it.

    That only if what was left is of this `owner` (device, spool_id, ordinal), of so many `recoveries`, and no longer
    than `size`. Answer `begun`, `refused` or `failed`.
    """

    episode: UUID
    owner: tuple[str, str, int] = ("", "", 0)
    size: int = 0
    recoveries: int = 0


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
class NoteDiscards:
    """Enter the ordinals as discarded; answer `ledgered` with those that turned out to be committed."""

    session: int
    device: str
    spool_id: str
    ordinals: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class NoteBetween:
    """Keep what a spool says of its samples in no episode; answer `noted_between` with its number, 0 if it failed."""

    session: int
    device: str
    spool_id: str
    report: BetweenReport


@dataclass(frozen=True)
class NoteSpool:
    """Note a spool and its ordinals (a fresh session); no answer."""

    device: str
    spool_id: str
    oldest: int
    next_ordinal: int


StoreJob = LookUp | Begin | Commit | Drop | NoteDiscards | NoteBetween | NoteSpool
