"""An arrival: what the intake hands on of a sensor, one at a time."""

from dataclasses import dataclass, field
from typing import Literal

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.marks import Mark, Passed, SourceNote
from sensorium.drivers.stream import Block
from sensorium.episode.account import Tally

SAID_BYTES = 256
"""More than a mark or a note takes beside its value."""
Change = Literal["", "ended", "failed", "away", "back", "opened"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What came from a sensor: a block, what it says, or a change. `lost` counts samples of `stream` lost before it,
    `unheard` what it said before it and was not taken. `came_ns` is when, in CLOCK_BOOTTIME."""

    sensor: str
    order: int
    block: Block | None = None
    stream: str = ""
    lost: Tally = field(default_factory=Tally)
    change: Change = ""
    said: Mark | SourceNote | Passed | None = None
    unheard: int = 0
    came_ns: int = field(default_factory=boottime_ns)

    @property
    def captured(self) -> int:
        """How many samples it brings, or says are lost."""
        return self.lost.captured + (0 if self.block is None else self.block.lost_before + len(self.block))

    @property
    def nbytes(self) -> int:
        """What it counts for in the queue."""
        note_bytes = self.said.nbytes if isinstance(self.said, SourceNote) else 0
        return (0 if self.block is None else self.block.nbytes) + (SAID_BYTES + note_bytes) * (self.said is not None)
