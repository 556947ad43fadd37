"""Overlap: recordings of one device file that have no moment in common are said, as they can hardly be meant so."""

import logging

from sensorium.agents.capture.arrival import Arrival

log = logging.getLogger(__name__)


class Overlap:
    """Hears what comes of recordings, in the order of its stamps, and says once of a sensor that it begins only behind
    the end of all that came before."""

    def __init__(self) -> None:
        self._ended: dict[str, int] = {}
        self._begun: dict[str, int] = {}

    def hear(self, arrival: Arrival) -> None:
        """Take note of what came."""
        sensor, block = arrival.sensor, arrival.block
        if arrival.change in ("ended", "failed") and sensor in self._begun:
            self._ended[sensor] = self._begun[sensor]
        if block is None or not len(block):
            return
        first_ns, last_ns = int(block.captured_ns[0]), int(block.captured_ns[-1])
        before = {name: at_ns for name, at_ns in self._begun.items() if name != sensor}
        if sensor not in self._begun and before and before.keys() <= self._ended.keys():
            behind_ns = max(before.values())
            if behind_ns < first_ns:
                log.warning(
                    "%s: until %.3f s, %s: since %.3f s: nothing in common; align them by `offset_s` or `utc`",
                    ", ".join(before),
                    behind_ns / 1e9,
                    sensor,
                    first_ns / 1e9,
                )
        self._begun[sensor] = max(last_ns, self._begun.get(sensor, last_ns))
