"""Where one stream of a recorder is: how far it has come, and what waits for the trigger to decide."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sensorium.agents.encode import encoder
from sensorium.agents.episode_writer import EpisodeWriter, Piece, Tally
from sensorium.drivers.stream import Samples
from sensorium.ingest.episode import StreamEntry

BEFORE_ALL = -(2**63)
"""Earlier than any stamp."""


@dataclass(slots=True)
class StreamState:
    """Where one stream is: the last stamp seen, and the pieces that wait for the trigger to decide.

    While its sensor is `lost`, the time since `away_ns` is in no account yet. `unplaced` counts came without a stamp.
    """

    entry: StreamEntry
    epoch: int = 0
    passed_ns: int = BEFORE_ALL
    ended: bool = False
    lost: bool = False
    away_ns: int | None = None
    unplaced: list[tuple[dict[str, int], dict[str, int]]] = field(default_factory=list)
    queue: deque[Piece] = field(default_factory=deque)
    totals: Tally = field(default_factory=Tally)
    encode: Callable[[Samples], bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.encode = encoder(self.entry)

    def passed(self, episode: EpisodeWriter) -> bool:
        """Whether no sample of `episode` can come any more, as far as order tells."""
        return self.ended or (self.epoch, self.passed_ns) >= (episode.epoch, episode.end_ns)
