"""What stamps alone tell of a sensor that should be steady: samples missing, jitter, a clock that jumps or runs off."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Stamps

Floats = npt.NDArray[np.float64]

LEAST_ROWS = 12
MISSING = 3.0
"""Samples that are missing, as their stamps tell."""
JITTER_PERIODS = 0.1
"""One sigma of the stamps' error, in periods, over some 40 of them."""
OFFSET_PERIODS = 0.4
"""By how much stamps jump, and stay; but for whole periods, which are samples missing."""
DRIFT_PPM = 1000.0
"""By how much the clock of a sensor runs differently in one part of an episode than in another."""
_WINDOW = 40
_WHOLE = 0.2
_DRIFT_ROWS = 20
_EXACT = 0.05


class StampFaults(NamedTuple):
    """What was found, each over its limit, so that 1 and more is a fault."""

    dropout: float
    jitter: float
    time_offset: float
    drift: float


def stamp_faults(captured_ns: Stamps, rate_hz: float) -> StampFaults | None:
    """Look at the stamps [n] of a stream with a nominal rate; None of so few that nothing can be told.

    What stamps are off a steady clock has steps where samples are missing (whole periods) or the clock was set (any
    other); it rises where the clock runs fast, and is spread where stamps jitter.

    >>> steady = np.arange(300) * 10_000_000
    >>> max(stamp_faults(steady, 100.0)) < 1e-9
    True
    >>> stamp_faults(np.delete(steady, [100, 101, 102]), 100.0).dropout
    1.0
    >>> round(stamp_faults(steady + 6_000_000 * (np.arange(300) > 150), 100.0).time_offset, 1)
    1.5
    """
    if len(captured_ns) < LEAST_ROWS:
        return None
    at = (captured_ns - captured_ns[0]) / 1e9
    period = _period(np.diff(at), 1 / rate_hz)
    off = at / period - np.arange(len(at))
    jumps = np.diff(off)
    gaps = (jumps > 0.5) & (np.abs(jumps - np.rint(jumps)) < _EXACT)
    jitter = _jitter(off - np.concatenate([[0], np.cumsum(np.where(gaps, jumps, 0))]))
    if jitter >= JITTER_PERIODS:  # of stamps that are anywhere nothing else can be told
        return StampFaults(0.0, jitter / JITTER_PERIODS, 0.0, 0.0)
    far = np.abs(jumps) > max(OFFSET_PERIODS / 2, 5 * jitter)
    missing, offsets = _told_apart(_steps(jumps, far), jitter)
    rest = off - np.concatenate([[0], np.cumsum(np.where(far, jumps, 0))])
    return StampFaults(
        missing / MISSING, jitter / JITTER_PERIODS, offsets / OFFSET_PERIODS, _drift_ppm(rest, jitter) / DRIFT_PPM
    )


def _period(intervals: Floats, nominal: float) -> float:
    """The period: what is stated, unless a sensor has a steady one of its own near it."""
    middle = float(np.median(intervals))
    near = intervals[np.abs(intervals - middle) <= 0.2 * middle]
    found = float(near.mean()) if len(near) else nominal
    return found if 0.5 * nominal < found < 1.5 * nominal else nominal


def _jitter(off: Floats) -> float:
    """The greatest sigma of a stretch of stamps, by the middle half of what their neighbours leave."""
    bent = off[1:-1] - (off[:-2] + off[2:]) / 2
    spread = []
    size = min(_WINDOW, len(bent))
    for first in range(0, len(bent) - size + 1, max(1, size // 2)):
        low, high = np.percentile(bent[first : first + size], [25, 75])
        spread.append((high - low) / 1.349 / np.sqrt(1.5))
    return float(max(spread, default=0.0))


def _steps(jumps: Floats, far: npt.NDArray[np.bool_]) -> Floats:
    """By how much stamps jump, [n - 1], where they do; a jump back is spread over stamps that do not step back, and is
    taken together where it began."""
    found = np.zeros(len(jumps))
    for row in np.flatnonzero(far).tolist():
        back = jumps[row] < 0 and row and far[row - 1] and jumps[row - 1] < 0
        first = row
        while back and first and far[first - 1] and jumps[first - 1] < 0:
            first -= 1
        found[first] += jumps[row]
    return found


def _told_apart(steps: Floats, jitter: float) -> tuple[float, float]:
    """Samples that are missing, and the largest jump of the clock. A jump by whole periods is that many samples, unless
    it is taken back by another."""
    near = max(_WHOLE, 4 * jitter)
    forth = [float(step) for step in steps[steps > 0]]
    largest = 0.0
    for step in (float(-step) for step in steps[steps < 0]):
        if step < OFFSET_PERIODS:
            continue
        largest = max(largest, step)
        twin = min(forth, key=lambda other: abs(other - step), default=None)
        if twin is not None and abs(twin - step) <= near:
            forth.remove(twin)
    missing = 0.0
    for step in forth:
        whole = float(np.rint(step))
        if whole >= 1 and abs(step - whole) <= near:
            missing += whole
        else:
            largest = max(largest, step)
    return missing, largest


def _drift_ppm(off: Floats, jitter: float) -> float:
    """How differently the clock ran in parts of the episode, beyond what jitter makes of it."""
    if len(off) < 3 * _DRIFT_ROWS:
        return 0.0
    parts = np.array_split(np.arange(len(off)), max(3, min(12, len(off) // _DRIFT_ROWS)))
    slopes = [float(np.polyfit(part, off[part], 1)[0]) for part in parts]
    size = min(map(len, parts))
    doubt = jitter * float(np.sqrt(12.0 / size**3))
    return max(0.0, max(slopes) - min(slopes) - 8 * doubt) * 1e6
