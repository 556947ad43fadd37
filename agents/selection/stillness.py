"""Stillness: how much a stream changes while nothing happens, in which its novelty is counted."""

import bisect
import math
from collections import deque

import msgspec

WINDOW = 1024
"""Units that count as the long run."""
LATE = 256
"""Units in which the most novel is looked for: what was new long ago says little of what is to be expected."""
LEAST_SPREAD = 0.005
"""Of a stream without any noise, in cosine: descriptors are not more exact."""
_EVERY = 16
_FEW = 8
_GAUSS = 1.4826
"""A normal distribution's deviation over its median absolute deviation."""


class StillnessState(msgspec.Struct):
    """What a restart needs: changes in their order, scale, and the most novel of late, by unit."""

    changes: list[float]
    counted: int
    middle: float
    spread: float
    peaks: list[tuple[int, float]]
    units: int


class Stillness:
    """The median of a stream's changes from unit to unit, and their spread, over a long window.

    >>> quiet = Stillness()
    >>> for change in [0.02, 0.03, 0.04] * 16:
    ...     quiet.saw(0.0, change)
    >>> round(quiet.middle, 3), round(quiet.counted_in(0.33), 1), quiet.counted_in(0.01)
    (0.03, 20.2, 0.0)
    """

    def __init__(self, state: StillnessState | None = None) -> None:
        state = state or StillnessState([], 0, 0.0, LEAST_SPREAD, [], 0)
        self._changes = deque(state.changes, WINDOW)
        self._sorted = sorted(state.changes)
        self._counted, self.middle, self.spread = state.counted, state.middle, state.spread
        self._peaks, self._units = deque(state.peaks), state.units

    @property
    def state(self) -> StillnessState:
        """For `Stillness` after a restart."""
        return StillnessState(
            list(self._changes), self._counted, self.middle, self.spread, list(self._peaks), self._units
        )

    @property
    def most_novel(self) -> float:
        """The greatest novelty of late, in units of the noise; 0 before there was any."""
        return self.counted_in(self._peaks[0][1]) if self._peaks else 0.0

    def counted_in(self, novelty: float) -> float:
        """Novelty above the median, in units of the spread; 0 below, and where it is not known (NaN)."""
        return max(0.0, (novelty - self.middle) / self.spread) if math.isfinite(novelty) else 0.0

    def saw(self, novelty: float, change: float) -> None:
        """Take in one unit, whose neighbour is known: without one, all that is new is the beginning."""
        self._units += 1
        if math.isfinite(novelty):
            while self._peaks and self._peaks[-1][1] <= novelty:
                self._peaks.pop()
            self._peaks.append((self._units, novelty))
        while self._peaks and self._peaks[0][0] <= self._units - LATE:
            self._peaks.popleft()
        if not math.isfinite(change):
            return
        if len(self._changes) == WINDOW:
            del self._sorted[bisect.bisect_left(self._sorted, self._changes[0])]
        self._changes.append(change)
        bisect.insort(self._sorted, change)
        self._counted += 1
        if self._counted >= _FEW and (self._counted % _EVERY == 0 or self._counted < _EVERY):
            self._measure()

    def _measure(self) -> None:
        middle = _median(self._sorted)
        off = sorted(abs(change - middle) for change in self._sorted)
        self.middle, self.spread = middle, max(_GAUSS * _median(off), LEAST_SPREAD)


def _median(ordered: list[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
