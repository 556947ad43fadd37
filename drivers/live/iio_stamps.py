"""When the scans of an IIO buffer were captured, and how many are missing where the buffer was full."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.drivers.live.kernel_clock import KernelClock
from sensorium.drivers.stream import Stamps
from sensorium.errors import SensorLost

log = logging.getLogger(__name__)

BACK_NS = 10**9
"""By how much a stamp may step back before it is another time, and not this row out of order."""
_AHEAD_NS = 100_000_000
_STALE_NS = 60 * 10**9
_CLOCKS = {"monotonic": time.CLOCK_MONOTONIC, "realtime": time.CLOCK_REALTIME}


@dataclass(frozen=True, slots=True)
class ScanRows:
    """Scans that follow one another, by their numbers among those given; `sensor_ns` is what the kernel said, where
    that is another clock."""

    captured_ns: Stamps
    picked: npt.NDArray[np.intp]
    lost_before: int
    sensor_ns: Stamps | None = None


class KernelStamps:
    """The kernel's stamps in `clock`, in the agent's; without a `clock`, all of one reading have that of its arrival.

    A row whose stamp steps back by no more than a second, or cannot be right, is lost; further back, time was reset.
    """

    def __init__(self, clock: str, rate_hz: float | None, title: str) -> None:
        self.clock = clock
        self._kernel = KernelClock(_CLOCKS[clock]) if clock in _CLOCKS else None
        self._rate_hz = rate_hz
        self._title = title
        self._last_ns: int | None = None
        self._was_full = False
        self._full_period_ns = 0.0
        self._pending = 0
        self._said = False

    @property
    def has_sensor_ns(self) -> bool:
        """Whether the kernel's own stamps are kept beside."""
        return bool(self.clock) and self.clock != "boottime"

    def take(self, times: Stamps | None, count: int, arrived_ns: int, was_full: bool) -> list[ScanRows]:
        """Of `count` rows that arrived together, with the kernel's `times` int64 [count]; `was_full`: they had filled
        the buffer, so that rows may be missing behind them.

        Raises:
            SensorLost: no stamp of them can be right.
        """
        captured_ns = np.full(count, arrived_ns) if times is None else times + self._offset_ns()
        sensor_ns = times if self.has_sensor_ns else None
        if self._was_full and times is not None:
            self._pending += self._missing(int(captured_ns[0]), 1)
        missing_behind = self._missing(arrived_ns, count) if was_full and times is None else 0
        sound = (captured_ns <= arrived_ns + _AHEAD_NS) & (captured_ns > arrived_ns - _STALE_NS)
        if not sound.any():
            off_s = (int(captured_ns[-1]) - arrived_ns) / 1e9
            raise SensorLost(f"{self._title}: its stamps are {off_s:+.1f} s from now; use `stamps: arrival`")
        found = list(self._runs(captured_ns, sound, sensor_ns))
        self._pending += missing_behind
        self._was_full = was_full
        if was_full and count > 2:
            self._full_period_ns = float(np.median(np.diff(captured_ns)))
        return found

    def _runs(self, captured_ns: Stamps, sound: npt.NDArray[np.bool_], sensor_ns: Stamps | None) -> Iterator[ScanRows]:
        """Cut where rows are left out, which the next rows, or nothing but a loss, tell of."""
        kept: list[int] = []
        first_ns = int(captured_ns[0])
        if bool(sound.all()) and not bool((np.diff(captured_ns) < 0).any()) and first_ns >= (self._last_ns or first_ns):
            kept, self._last_ns = list(range(len(captured_ns))), int(captured_ns[-1])
            yield from self._run(captured_ns, kept, sensor_ns)
            return
        for row, (stamp_ns, good) in enumerate(zip(captured_ns.tolist(), sound.tolist(), strict=True)):
            last_ns = self._last_ns
            steps_back = last_ns is not None and stamp_ns < last_ns
            if not good or (steps_back and last_ns is not None and last_ns - stamp_ns <= BACK_NS):
                yield from self._run(captured_ns, kept, sensor_ns)
                kept = []
                self._pending += 1
                self._say_once()
                continue
            if steps_back:
                yield from self._run(captured_ns, kept, sensor_ns)
                kept = []
            self._last_ns = stamp_ns
            kept.append(row)
        yield from self._run(captured_ns, kept, sensor_ns)
        if self._pending:
            yield ScanRows(np.empty(0, np.int64), np.empty(0, np.intp), self._pending)
            self._pending = 0

    def _run(self, captured_ns: Stamps, kept: list[int], sensor_ns: Stamps | None) -> Iterator[ScanRows]:
        if kept:
            picked = np.array(kept, np.intp)
            lost, self._pending = self._pending, 0
            yield ScanRows(captured_ns[picked], picked, lost, None if sensor_ns is None else sensor_ns[picked])

    def _missing(self, until_ns: int, count: int) -> int:
        """How many rows beside `count` there must have been from the last one until then."""
        period_ns = self._full_period_ns or (1e9 / self._rate_hz if self._rate_hz else 0.0)
        if self._last_ns is None or period_ns <= 0:
            return 0
        return max(0, round((until_ns - self._last_ns) / period_ns) - count)

    def _offset_ns(self) -> int:
        """The agent's clock less the kernel's: it changes where one was set, or the machine slept."""
        return self._kernel.offset_ns() if self._kernel else 0

    def _say_once(self) -> None:
        if not self._said:
            log.warning("%s: a row's stamp steps back or cannot be right; such rows are counted as lost", self._title)
            self._said = True
