"""A sensor's own clock, mapped onto this machine's by what arrives: it cannot arrive before it was captured."""

from collections import deque

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
    """Guesses what is missing between stamps of a source that delivers at a steady rate.

    The period is that of the last steady stretch; of a source that was never steady, what its shorter intervals say.
    Those of a burst, far below the mean, say nothing. One that gets faster, or is steady at another rate, is believed
    soon. A gap of more than 1.5 periods is rounded to whole samples; the first dozen intervals count nothing. No more
    are missing than the stated rate, if there is one, leaves room for, and none where the source stood still.

    >>> gaps = Gaps()
    >>> [gaps.missing(ns) for ns in (*range(0, 130, 10), 150, 160)][-3:]
    [0, 2, 0]
    >>> gaps = Gaps()
    >>> sum(gaps.missing(burst * 1000 + ns) for burst in range(50) for ns in (0, 1))
    0
    """

    STEADY, EQUAL = 12, 1.6
    """So many intervals of which none is longer than the others by more than this are a steady stretch."""
    BURST, MOST, MOST_NS = 8, 16, 60 * 10**9
    """An interval of less than the mean by so much is of a burst; and no gap may have more samples than this for each
    that was there before it, or be longer."""

    def __init__(self, window: int = 32, rate_hz: float | None = None) -> None:
        self._intervals: deque[int] = deque(maxlen=window)
        self._least_ns = 1e9 / rate_hz if rate_hz else 0.0
        self._first_ns: int | None = None
        self._last_ns = 0
        self._counted = 0
        self._period_ns = 0.0

    def missing(self, stamp_ns: int) -> int:
        """How many samples are missing just before the one of `stamp_ns`."""
        self._counted += 1
        if self._first_ns is None:
            self._first_ns = self._last_ns = stamp_ns
            return 0
        interval = stamp_ns - self._last_ns
        if interval < 0:
            return 0
        self._last_ns = stamp_ns
        count = 0
        if len(self._intervals) >= self.STEADY and interval <= self.MOST_NS:
            period = self._period()
            if period > 0 and interval > 1.5 * period:
                count = min(round(interval / period) - 1, self.MOST * self._counted)
        if count and self._least_ns:
            count = max(0, min(count, int((stamp_ns - self._first_ns) / self._least_ns) + 1 - self._counted))
        self._intervals.append(interval)
        self._counted += count
        return count

    def _period(self) -> float:
        every = sorted(self._intervals)
        least_ns = sum(every) / len(every) / self.BURST
        recent = list(self._intervals)[-self.STEADY :]
        if least_ns <= min(recent) and max(recent) <= self.EQUAL * min(recent):
            self._period_ns = sum(recent) / len(recent)
            return self._period_ns
        alone = [each for each in every if each >= least_ns]
        short_ns = float(alone[len(alone) // 5])
        whole = [each for each in alone if short_ns / self.EQUAL <= each <= short_ns * self.EQUAL]
        short_ns = sum(whole) / len(whole)
        is_full = len(every) == self._intervals.maxlen
        if not self._period_ns or short_ns < self._period_ns / 1.5 or (is_full and alone[0] > 1.5 * self._period_ns):
            self._period_ns = short_ns
        return self._period_ns
