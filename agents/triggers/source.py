"""`source`: episodes as the source itself marks them, with its labels and its word on how they ended."""

import heapq
import itertools
import logging
from collections.abc import Sequence
from typing import Literal

from sensorium.agents.triggers.config import TriggerConfig
from sensorium.agents.triggers.trigger import FOREVER_NS, EpisodeSpan, Placement, Trigger
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, Mark
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

KEPT_SPANS = 64
MAX_WAITING = 4096


class SourceConfig(TriggerConfig):
    """`trigger: {kind: source}`. With `sensor: NAME` its marks alone count, and others are not waited for; without, all
    sensors' do, and what is known of a moment is what they all have passed."""

    kind: Literal["source"]
    sensor: str | None = None

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        """Find the streams of the sensor."""
        # a derived stream comes as far as the one that it is made of
        captured = [spec.name for spec in specs if not spec.derived_from]
        if self.sensor is None:
            return Marked(captured, None)
        watched = [name for name in captured if name == self.sensor or name.startswith(f"{self.sensor}.")]
        if not watched:
            hint = nearest(self.sensor, [*captured, *(name.partition(".")[0] for name in captured)])
            raise ConfigError(
                f"trigger.sensor: no sensor {self.sensor!r}{hint} (streams are: {', '.join(sorted(captured))})"
            )
        return Marked(watched, self.sensor)


class Marked(Trigger):
    """Spans from a begin to the next end, or the next begin of any.

    A mark is known when its sensor's samples come to it, those of any of its streams, so a stamp is decided once all
    watched sensors have passed it. Of one that has not marked yet each stream has to.
    Marks are then taken in the order of their stamps. One that comes too late counts from what is not decided yet.
    """

    def __init__(self, watched: Sequence[str], sensor: str | None) -> None:
        self._sensor = sensor
        self._passed_ns = dict.fromkeys(watched, -FOREVER_NS)
        self._sensor_of = dict.fromkeys(watched if sensor else (), sensor or "")
        self._begin()

    def _begin(self) -> None:
        self._passed_ns = dict.fromkeys(self._passed_ns, -FOREVER_NS)
        self._ended: set[str] = set()
        self._seen_ns = -FOREVER_NS
        self._known_ns = -FOREVER_NS
        self._spans: list[EpisodeSpan] = []
        self._waiting: list[tuple[int, str, int, Mark]] = []
        self._count = itertools.count()

    def mark(self, sensor: str, mark: Mark) -> bool:
        """Keep it until its turn."""
        if self._sensor not in (None, sensor):
            return False
        for stream in self._passed_ns:
            if (stream == sensor or stream.startswith(f"{sensor}.")) and len(self._sensor_of.get(stream, "")) < len(
                sensor
            ):
                self._sensor_of[stream] = sensor
        heapq.heappush(self._waiting, (mark.at_ns, sensor, next(self._count), mark))
        if len(self._waiting) > MAX_WAITING:
            log.error("over %d marks of sensor %r wait for its samples; the latest is ignored", MAX_WAITING, sensor)
            self._waiting.remove(max(self._waiting))
            heapq.heapify(self._waiting)
        return True

    def passed(self, stream: str, stamp_ns: int) -> None:
        """All marks up to what the watched streams have passed are known."""
        self._seen_ns = max(self._seen_ns, stamp_ns)
        if stream in self._passed_ns:
            self._passed_ns[stream] = stamp_ns
            self._ended.discard(stream)
        self._advance()

    def ended(self, stream: str) -> None:
        """No mark comes for now when all watched streams have ended; an episode that is open ends with its samples."""
        if stream not in self._passed_ns:
            return
        self._ended.add(stream)
        if len(self._ended) == len(self._passed_ns):
            while self._waiting:  # the end of the last episode stands behind its last sample
                self._apply(heapq.heappop(self._waiting)[-1])
            self._end(max(self._passed_ns.values()) + 1, "")
        self._advance()

    def place(self, stamp_ns: int) -> Placement:
        """In the span that holds it, once no mark can change that any more."""
        if stamp_ns >= self._known_ns:
            return Placement(FOREVER_NS, decided=False)
        following_ns = self._known_ns
        for span in reversed(self._spans):
            if span.start_ns <= stamp_ns < span.end_ns:
                return Placement(min(span.end_ns, following_ns), span)
            if stamp_ns >= span.end_ns:
                break
            following_ns = span.start_ns
        return Placement(following_ns)

    def reset(self) -> None:
        """Marks of the old clock are void."""
        if self._current is not None:
            self._current.closed = True
        self._begin()

    @property
    def _current(self) -> EpisodeSpan | None:
        """The span that is not closed."""
        return self._spans[-1] if self._spans and not self._spans[-1].closed else None

    def _advance(self) -> None:
        here: dict[str, int] = {}  # how far each sensor is, by its furthest stream: a mark comes before any of them
        for name, passed_ns in self._passed_ns.items():
            if name not in self._ended:
                sensor = self._sensor_of.get(name, name)
                here[sensor] = max(passed_ns, here.get(sensor, passed_ns))
        # where nobody marks for now, what came so far is decided, but no more
        passed_ns = min(here.values(), default=self._seen_ns)
        while self._waiting and self._waiting[0][0] <= passed_ns:
            mark = heapq.heappop(self._waiting)[-1]
            if mark.at_ns < self._known_ns:
                log.warning("a mark at %d ns comes %d ns late", mark.at_ns, self._known_ns - mark.at_ns)
            self._apply(mark)
        self._known_ns = max(self._known_ns, passed_ns + 1)

    def _apply(self, mark: Mark) -> None:
        match mark:
            case EpisodeBegin(at_ns, labels, base_ns):
                self._end(at_ns, "")
                previous_ns = self._spans[-1].end_ns if self._spans else -FOREVER_NS
                start_ns = max(at_ns, self._known_ns, previous_ns)
                span = EpisodeSpan(start_ns, FOREVER_NS, event="source", labels=dict(labels), base_ns=base_ns)
                self._spans = [*self._spans[-KEPT_SPANS:], span]
            case EpisodeEnd(at_ns, outcome, labels):
                if self._current is not None:
                    self._current.labels = dict(self._current.labels) | dict(labels)
                self._end(at_ns, outcome)

    def _end(self, at_ns: int, outcome: str) -> None:
        """Close what is open; samples that were placed in it stay, and one that none can be in is none."""
        current = self._current
        if current is None:
            return
        current.end_ns = max(at_ns, self._known_ns)
        current.outcome, current.closed = outcome, True
        if current.end_ns <= current.start_ns:
            self._spans.pop()
