"""What a spool knows of one pending episode, and what the uplink is told of it.

There may be very many, so no more is kept than what they are told apart by; the rest of an OPEN is in the ledger.
"""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sensorium.agents.spool.entries import Brief
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.runs import Position
from sensorium.episode.documents import Kind, Open
from sensorium.episode.value import NOTHING, Worth

SUFFIX = ".episode"
MOST_A_BYTE = 1e9


@dataclass(frozen=True, slots=True)
class Waiting:
    """An episode that the uplink may send. `size` bytes are on disk; more may follow until it is `sealed`. Of the same
    `priority` what has the larger `value` goes first."""

    episode: UUID
    ordinal: int
    size: int
    sealed: bool
    digest: bytes
    priority: float
    value: float
    recoveries: int
    boot_id: str | None
    start_ns: int
    end_ns: int
    kind: Kind = "full"


@dataclass(slots=True)
class Held:
    """A pending episode. While it grows it has a `file`; after that `size`, `digest`, and what its SEAL says of its
    `worth`.

    One that grows and is `refused` (why) is set aside once it is sealed; one that the disk would not give when the
    spool was opened is `unread` until it does: `tries` counts how often it would not. Of one that is held, and not
    offered, `hold` says why. `former` is the spool_id under which it goes, if not the present one. With its seal a
    replay comes to `position`. Whoever recorded it was alive at `alive_ns` of its clock, if that is known.
    """

    folder: Path
    episode: UUID
    said: Brief
    size: int = 0
    digest: bytes = b""
    recoveries: int = 0
    worth: Worth = NOTHING
    file: EpisodeFile | None = None
    hold: str = ""
    refused: str = ""
    tries: int = 0
    former: str = ""
    position: Position | None = None
    alive_ns: int | None = None
    _told: Waiting | None = None

    @classmethod
    def of(cls, folder: Path, said: Open) -> "Held":
        """Of an episode whose file is in `folder`, by its OPEN."""
        return cls(folder, UUID(bytes=said.episode), Brief.of(said))

    @property
    def unread(self) -> bool:
        """Whether the disk has not given it yet."""
        return self.tries > 0

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.said.ordinal:010d}-{self.episode}{SUFFIX}"

    @property
    def path(self) -> Path:
        """Where its file is."""
        return self.folder / self.name

    @property
    def file_name(self) -> str:
        """The same as a text, for what is done to every one: a `Path` takes longer to make than what it is for."""
        return f"{self.folder}/{self.name}"

    @property
    def priority(self) -> float:
        """That of its mission."""
        return self.said.mission.priority

    @property
    def value_per_byte(self) -> float:
        """What a byte of it is worth; 0 while it grows, and of one that was not judged."""
        value = self.worth.value
        return 0.0 if self.file is not None or value is None else min(max(value, 0.0) / max(self.size, 1), MOST_A_BYTE)

    @property
    def sendable(self) -> int:
        """Bytes on disk, from the start of the file."""
        file = self.file
        return self.size if file is None else file.sendable

    def waiting(self, value: float) -> Waiting:
        """What the uplink is told of it; `value` is its place among those of its priority."""
        told, now = self._told, (self.digest, self.recoveries, value)
        if told is not None and told.sealed and (told.digest, told.recoveries, told.value) == now:
            return told
        self._told = told = Waiting(
            self.episode,
            self.said.ordinal,
            self.sendable,
            self.file is None,
            self.digest,
            self.priority,
            value,
            self.recoveries,
            self.said.clock.boot_id,
            self.said.start_ns,
            self.said.end_ns,
            self.said.kind,
        )
        return told
