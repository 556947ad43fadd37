"""Where one stream of a recorder is: how far it has come, and what waits for the trigger to decide."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sensorium.agents.recording.between import Between
from sensorium.agents.recording.encode import encoder
from sensorium.agents.recording.episode_writer import EpisodeWriter, Piece, Tally
from sensorium.agents.triggers.trigger import FOREVER_NS
from sensorium.drivers.stream import Samples
from sensorium.episode.documents import StreamEntry

BEFORE_ALL = -(2**63)
"""Earlier than any stamp."""


@dataclass(slots=True)
class StreamState:
    """Where one stream is: the last stamp seen, and the pieces that wait for the trigger to decide.

    While its sensor is `lost`, the time since `away_ns` is in no account yet; once it delivered again, from `back_ns`,
    the first sample placed ends that. `unplaced` counts came without a stamp.
    """

    entry: StreamEntry
    epoch: int = 0
    passed_ns: int = BEFORE_ALL
    ended: bool = False
    lost: bool = False
    away_ns: int | None = None
    back_ns: int | None = None
    unplaced: list[tuple[dict[str, int], dict[str, int]]] = field(default_factory=list)
    queue: deque[Piece] = field(default_factory=deque)
    totals: Tally = field(default_factory=Tally)
    encode: Callable[[Samples], bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.encode = encoder(self.entry)

    @property
    def by_frame(self) -> bool:
        """Whether each sample is encoded by itself."""
        return self.entry.is_blob or self.entry.spec.is_frames

    def passed(self, episode: EpisodeWriter) -> bool:
        """Whether no sample of `episode` can come any more, as far as order tells."""
        return self.ended or (self.epoch, self.passed_ns) >= (episode.epoch, episode.end_ns)

    def begin_absence(self, episodes: Sequence[EpisodeWriter], between: Between) -> None:
        """The sensor is lost: it misses what comes after the last stamp."""
        self.end_absence(episodes, between)
        self.lost = True
        self.away_ns = self.passed_ns + 1 if self.passed_ns > BEFORE_ALL else None

    def delivers(self, stamp_ns: int) -> None:
        """The sensor's first sample after an absence has this stamp."""
        if self.away_ns is not None and self.back_ns is None:
            self.back_ns = stamp_ns

    def absent(self, episode: EpisodeWriter, between: Between, until_ns: int) -> None:
        """Count in `episode` what is missing before `until_ns`, by the rate; what was before it, in `between`."""
        if self.away_ns is None or self.epoch != episode.epoch:
            return
        until_ns = until_ns if self.back_ns is None else min(until_ns, self.back_ns)
        self._miss(between, min(episode.start_ns, until_ns))
        start_ns, end_ns = max(self.away_ns, episode.start_ns), min(episode.end_ns, until_ns)
        episode.miss(self.entry.spec.name, start_ns, end_ns)
        self.totals.miss(self.entry.spec.rate_hz, start_ns, end_ns)
        self.away_ns = max(start_ns, end_ns)

    def end_absence(self, episodes: Sequence[EpisodeWriter], between: Between, until_ns: int = FOREVER_NS) -> None:
        """Count what was missed before `until_ns`, and be done if the sensor was back by then; `episodes` are open."""
        if self.away_ns is None or self.back_ns is None:
            return
        until_ns = min(until_ns, self.back_ns)
        for episode in sorted(episodes, key=lambda e: e.start_ns):
            if episode.start_ns < until_ns:
                self.absent(episode, between, until_ns)
        self._miss(between, until_ns)
        self.away_ns = max(self.away_ns, until_ns)
        if until_ns == self.back_ns:
            self.away_ns = self.back_ns = None

    def _miss(self, between: Between, until_ns: int) -> None:
        if self.away_ns is not None and self.away_ns < until_ns:
            between[self.entry.spec.name].miss(self.entry.spec.rate_hz, self.away_ns, until_ns)
            self.totals.miss(self.entry.spec.rate_hz, self.away_ns, until_ns)
