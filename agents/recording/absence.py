"""An absence: what a stream misses while its sensor is away is estimated by its rate, where it is missed."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from sensorium.agents.recording.episode_writer import EpisodeWriter
from sensorium.agents.triggers.trigger import FOREVER_NS
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.device_account import DeviceAccount

SEEN = 32
"""Of pictures that state no rate, so many of the last blocks say one."""
OPENING = 3
"""So many blocks behind each beginning say none: what a sender had kept comes at once."""


@dataclass(slots=True)
class Absence:
    """Of one stream. The time since `away_ns` is in no account yet; once the sensor delivered again, from `back_ns`,
    the first sample placed ends the absence. Both are None while it is there. Where pictures state no rate,
    that of the last blocks since it was away counts, which is `seen`: the first stamp of each, and its samples."""

    spec: StreamSpec
    account: DeviceAccount
    epoch: int = 0
    away_ns: int | None = None
    back_ns: int | None = None
    seen: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SEEN))
    opening: int = OPENING

    def begin(self, epoch: int, away_ns: int) -> None:
        """The sensor is away: it misses what comes from `away_ns` on, if it was not away before."""
        if self.away_ns is None:
            self.epoch, self.away_ns = epoch, away_ns

    def delivers(self, stamp_ns: int, samples: int) -> None:
        """Samples have come, with this stamp the first: of the first ones it says when the sensor was back."""
        if self.away_ns is not None and self.back_ns is None:
            self.back_ns = stamp_ns
        if self.away_ns is None and self.spec.rate_hz is None and self.spec.is_frames:
            if not self.opening:
                self.seen.append((stamp_ns, samples))
            self.opening = max(0, self.opening - 1)

    @property
    def rate_hz(self) -> float | None:
        """As stated, or as seen before it was away."""
        if self.spec.rate_hz is not None or len(self.seen) < 3:
            return self.spec.rate_hz
        span_ns = self.seen[-1][0] - self.seen[0][0]
        return sum(samples for _, samples in list(self.seen)[:-1]) * 1e9 / span_ns if span_ns > 0 else None

    def forget(self) -> None:
        """The clock was set back: how long it was is not known."""
        self._is_there()

    def _is_there(self) -> None:
        """It is not away; what is seen from here on is its rate."""
        self.seen.clear()
        self.opening = OPENING
        self.away_ns = self.back_ns = None

    def count_in(self, episode: EpisodeWriter, until_ns: int) -> None:
        """Count in `episode` what is missing before `until_ns`; what was before it, between."""
        if self.away_ns is None or self.epoch != episode.epoch:
            return
        until_ns = until_ns if self.back_ns is None else min(until_ns, self.back_ns)
        self._count_between(min(episode.start_ns, until_ns))
        start_ns, end_ns = max(self.away_ns, episode.start_ns), min(episode.end_ns, until_ns)
        tally = episode.place.get(self.spec.name)  # an episode that began before its stream joined does not tell of it
        self.account.absent(self.spec.name, self.rate_hz, (self.epoch, start_ns), end_ns, tally)
        self.away_ns = max(start_ns, end_ns)

    def end(self, episodes: Iterable[EpisodeWriter], until_ns: int = FOREVER_NS) -> None:
        """Count what was missed before `until_ns`, and be done if the sensor was back by then; `episodes` are open."""
        if self.away_ns is None or self.back_ns is None:
            return
        until_ns = min(until_ns, self.back_ns)
        for episode in sorted(episodes, key=lambda e: e.start_ns):
            if episode.start_ns < until_ns:
                self.count_in(episode, until_ns)
        self._count_between(until_ns)
        self.away_ns = max(self.away_ns, until_ns)
        if until_ns == self.back_ns:
            self._is_there()

    def stop(self, now_ns: int) -> None:
        """Nothing more comes, and no episode is open: what was missed up to `now_ns` is in none."""
        if self.away_ns is not None:
            self._count_between(now_ns if self.back_ns is None else min(now_ns, self.back_ns))
            self.forget()

    def _count_between(self, until_ns: int) -> None:
        if self.away_ns is not None and self.away_ns < until_ns:
            self.account.absent(self.spec.name, self.rate_hz, (self.epoch, self.away_ns), until_ns)
            self.away_ns = until_ns
