"""Looks: which pictures of a stream are looked at, and what is said of those between."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Scores

OF_STEPS = frozenset({"shift_x", "shift_y", "shift_s"})
"""Scores of the way from one look to the next: of what is between there is none."""


@dataclass(frozen=True, slots=True)
class LastLook:
    """In which period it was, and what was said."""

    period: int | None = None
    said: tuple[float, ...] = ()


def due(stamps: Sequence[int], last: LastLook, max_hz: float | None) -> tuple[npt.NDArray[np.int64], int | None]:
    """Which pictures are looked at, rising, and the period of the last: the first of each period of a fixed grid, so
    that who scores a recording from somewhere on looks at the same. Without `max_hz` all are.

    >>> due([100_000_000, 210_000_000, 390_000_000, 400_000_000], LastLook(), 5)
    (array([0, 1, 3]), 2)
    """
    if max_hz is None:
        return np.arange(len(stamps)), last.period
    period_ns = max(1, round(1e9 / max_hz))
    found, period = [], last.period
    for place, stamp in enumerate(stamps):
        if stamp // period_ns != period:
            found.append(place)
            period = stamp // period_ns
    return np.array(found, np.int64), period


def held(
    names: Sequence[str], said: Sequence[tuple[float, ...]], places: npt.NDArray[np.int64], n: int, last: LastLook
) -> dict[str, Scores]:
    """The scores of n pictures, of which those at `places` were looked at: the others have those of the look before.

    >>> held(["sharpness", "shift_x"], [(7.0, 0.5)], np.array([1]), 3, LastLook(0, (5.0, 0.1)))
    {'sharpness': array([5., 7., 7.]), 'shift_x': array([nan, 0.5, nan])}
    """
    known = np.array([last.said or (np.nan,) * len(names), *said], np.float64)
    at = np.searchsorted(places, np.arange(n), side="right")
    scores = {name: known[at, column] for column, name in enumerate(names)}
    between = np.isin(np.arange(n), places, invert=True)
    for name in OF_STEPS.intersection(names):
        scores[name][between] = np.nan
    return scores
