"""The kernel's stamps of frames, each held against its arrival: one that cannot be right costs no frame and no time."""

from collections import deque
from statistics import median
from typing import NamedTuple

AHEAD_NS, STALE_NS = 100_000_000, 60 * 10**9
"""How far from its arrival a stamp may be and be right: some kernel drivers state the end of a frame which they have
not waited for, and a machine that is busy takes frames late."""


class FrameTime(NamedTuple):
    """When a frame was captured, in boottime; with `is_guess` its own stamp was of no use."""

    captured_ns: int
    is_guess: bool


class FrameStamps:
    """Of one camera, mapped to boottime, in the order of arrival.

    A stamp is right if it is neither ahead of its arrival by more than `ahead_ns`, nor old, nor before that of the last
    frame. For one that is not, its arrival tells, less what others took to arrive, never before the last. Equal stamps
    are right.

    >>> stamps = FrameStamps(ahead_ns=20)
    >>> [tuple(stamps.take(stamp_ns, arrival_ns)) for stamp_ns, arrival_ns in ((95, 100), (5_000, 200), (295, 300))]
    [(95, False), (195, True), (295, False)]
    """

    def __init__(self, ahead_ns: int = AHEAD_NS) -> None:
        self._ahead_ns = ahead_ns
        self._delays: deque[int] = deque(maxlen=15)
        self._right_ns: int | None = None
        self._captured_ns: int | None = None

    def is_near(self, stamp_ns: int, arrival_ns: int) -> bool:
        """Whether it may be of this frame."""
        return arrival_ns - STALE_NS < stamp_ns <= arrival_ns + self._ahead_ns

    def take(self, stamp_ns: int, arrival_ns: int) -> FrameTime:
        """That of the next frame."""
        is_right = self.is_near(stamp_ns, arrival_ns) and (self._right_ns is None or stamp_ns >= self._right_ns)
        if is_right:
            self._right_ns = stamp_ns
            self._delays.append(arrival_ns - stamp_ns)
        else:
            stamp_ns = arrival_ns - round(median(self._delays or [0]))
        if self._captured_ns is not None:
            stamp_ns = max(stamp_ns, self._captured_ns)
        self._captured_ns = stamp_ns
        return FrameTime(stamp_ns, not is_right)
