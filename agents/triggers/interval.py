"""`interval`: captured time is cut at the multiples of a length, and everything is kept."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from sensorium.agents.triggers.config import TriggerConfig
from sensorium.agents.triggers.trigger import EpisodeSpan, Placement, Trigger
from sensorium.drivers.stream import StreamSpec


class IntervalConfig(TriggerConfig):
    """`trigger: {kind: interval, length_s: 10}`."""

    kind: Literal["interval"]
    length_s: float = Field(gt=0.01, le=86_400)

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        """Needs no stream in particular."""
        del specs
        return Interval(round(self.length_s * 1e9))


class Interval(Trigger):
    """Spans [k * length_ns, (k + 1) * length_ns)."""

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns

    def place(self, stamp_ns: int) -> Placement:
        """
        >>> placement = Interval(10).place(25)
        >>> placement.span.start_ns, placement.span.end_ns, placement.until_ns
        (20, 30, 30)
        """
        start_ns = stamp_ns // self._length_ns * self._length_ns
        end_ns = start_ns + self._length_ns
        return Placement(end_ns, EpisodeSpan(start_ns, end_ns, closed=True))
