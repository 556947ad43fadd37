"""A sensor's own clock, mapped onto this machine's by what arrives: it cannot arrive before it was captured."""

from collections import deque
from statistics import median

DRIFT_PPM = 100
"""How fast the mapping may rise, parts per million: above the drift between two ordinary oscillators."""


class SensorClock:
    """Maps a sensor's own stamps onto the arrival clock, one after the other.

    The offset is the lower envelope of `arrival - sensor`: the sample that waited least sets it, and it rises by
    `DRIFT_PPM` so that it follows a sensor whose clock is slow. What remains is the least delay between capture and
    arrival, which one-way traffic cannot show: stamps are late by that, and never later than their arrival. They
    never step back.

    >>> clock = SensorClock()
    >>> [clock.map(0, 5_000), clock.map(1_000, 8_000), clock.map(2_000, 6_000)]
    [5000, 6000, 6000]
    """

    def __init__(self) -> None:
        self._offset_ns: float | None = None
        self._sensor_ns = 0
        self._captured_ns = 0

    def map(self, sensor_ns: int, arrival_ns: int) -> int:
        """The arrival clock's time of `sensor_ns`, which arrived at `arrival_ns`; `sensor_ns` must not step back."""
        delay_ns = arrival_ns - sensor_ns
        if self._offset_ns is None:
            self._offset_ns = delay_ns
        rise_ns = (sensor_ns - self._sensor_ns) * DRIFT_PPM / 1e6
        self._offset_ns = min(delay_ns, self._offset_ns + rise_ns)
        self._sensor_ns = sensor_ns
        self._captured_ns = max(self._captured_ns, sensor_ns + int(self._offset_ns))
        return self._captured_ns


class Gaps:
    """Counts what is missing between stamps of a source that delivers at a steady rate.

    The period is the median of the last intervals, so a source that changes its rate is believed after half a
    window. A gap of more than 1.5 periods is rounded to whole samples; the first few stamps count nothing.

    >>> gaps = Gaps(window=4)
    >>> [gaps.missing(ns) for ns in (0, 10, 20, 30, 40, 70, 80)]
    [0, 0, 0, 0, 0, 2, 0]
    """

    def __init__(self, window: int = 32) -> None:
        self._intervals: deque[int] = deque(maxlen=window)
        self._last_ns: int | None = None

    def missing(self, stamp_ns: int) -> int:
        """How many samples are missing just before the one of `stamp_ns`."""
        if self._last_ns is None:
            self._last_ns = stamp_ns
            return 0
        interval, self._last_ns = stamp_ns - self._last_ns, stamp_ns
        count = 0
        if len(self._intervals) >= 4:
            period = median(self._intervals)
            if period > 0 and interval > 1.5 * period:
                count = round(interval / period) - 1
        self._intervals.append(interval)
        return count
