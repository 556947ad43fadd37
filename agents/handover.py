"""A handover: from one moment on the samples of all sensors go to another line, and none is lost in between.

What lies before the moment goes on to the old line, as sensors are not equally far; what lies behind it waits. Once
every stream has come to it, or a grace is over, the old line ends, and the new one takes what has waited.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace

from sensorium.agents.capture.arrival import Arrival
from sensorium.agents.line import Parts
from sensorium.agents.orders import Change
from sensorium.episode.account import Tally

GRACE_S = 1.0
MOST_WAITING_BYTES = 64 << 20


class Handover:
    """To what `change` says, for which `parts` are made, at `border_ns` of the device's clock, of these `streams` (of
    sensors, by name). It may take until `deadline_s`; None: as long as it takes. One thread calls it."""

    def __init__(
        self, change: Change, parts: Parts, border_ns: int, streams: Collection[str], deadline_s: float | None
    ) -> None:
        self.change, self.parts, self.border_ns = change, parts, border_ns
        self._deadline_s = deadline_s
        self._behind = set(streams)
        self._sensors: set[str] = set()
        self._streams: set[str] = set()
        self._waiting: deque[Arrival] = deque()
        self._waiting_bytes = 0

    def is_over(self, now_s: float) -> bool:
        """Whether the old line can end."""
        late = self._deadline_s is not None and now_s >= self._deadline_s
        return late or not self._behind or self._waiting_bytes > MOST_WAITING_BYTES

    def before(self, arrival: Arrival, streams: Collection[str]) -> Arrival | None:
        """What of an arrival the old line is still to have; the rest waits. `streams` are those of its sensor."""
        if arrival.change and arrival.change != "opened":
            self._behind -= set(streams)
        follows = arrival.stream in self._streams if arrival.stream else arrival.sensor in self._sensors
        if follows or arrival.change == "opened":
            self._wait(arrival)
            return None
        block = arrival.block
        if block is None or not len(block):
            return arrival
        rows = int(block.captured_ns.searchsorted(self.border_ns))
        if rows == len(block):
            return arrival
        if not rows:
            self._wait(arrival)
            return None
        self._wait(replace(arrival, block=block.between(rows, len(block)), lost=Tally(), said=None, unheard=0))
        return replace(arrival, block=block.between(0, rows))

    def waited(self) -> Iterator[Arrival]:
        """What the new line is to have first."""
        while self._waiting:
            yield self._waiting.popleft()

    def _wait(self, arrival: Arrival) -> None:
        self._sensors.add(arrival.sensor)
        if arrival.block is not None:
            self._streams.add(arrival.stream)
            self._behind.discard(arrival.stream)
        self._waiting.append(arrival)
        self._waiting_bytes += arrival.nbytes
