"""The kernel's clocks beside that of the agent: their distance, which only changes where one was set or slept."""

import time

STEP_NS = 1_000_000
"""A distance that changes by less has not: to read two clocks takes time, and their difference is as uncertain."""

_TRIES = 3


class KernelClock:
    """The distance of CLOCK_BOOTTIME from another clock of the kernel's, by its number.

    It stays the same to the nanosecond while it stays within `STEP_NS`, so that intervals between stamps are the
    kernel's own.

    >>> abs(KernelClock(time.CLOCK_BOOTTIME).offset_ns()) < 10**9
    True
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._offset_ns: int | None = None

    def offset_ns(self) -> int:
        """What to add to a stamp of that clock."""
        _, now_ns = min(self._measured() for _ in range(_TRIES))
        if self._offset_ns is None or abs(now_ns - self._offset_ns) > STEP_NS:
            self._offset_ns = now_ns
        return self._offset_ns

    def _measured(self) -> tuple[int, int]:
        """How long the reading took, and the distance in the middle of it."""
        before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        there_ns = time.clock_gettime_ns(self._number)
        taken_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - before_ns
        return taken_ns, before_ns + taken_ns // 2 - there_ns
