"""A reservoir: an even sample of a sequence of any length, in bounded memory."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sensorium.perception.percentile import percentile_of_sorted

Values = npt.NDArray[np.float64]
FEW = 64


class Reservoir:
    """Up to `capacity` of all values that were added, each with the same chance: J. Vitter's algorithm R, seeded.

    Most sequences are short, and there are many of them: a few values are a list, as numpy takes longer to begin than
    to do.

    >>> reservoir = Reservoir(100)
    >>> for part in np.array_split(np.arange(10_000.0), 7):
    ...     reservoir.add(part)
    >>> reservoir.seen, len(reservoir.values), bool(abs(np.median(reservoir.values) - 5_000) < 1_000)
    (10000, 100, True)
    """

    def __init__(self, capacity: int = 4096, seed: int = 0) -> None:
        self.seen = 0
        self._capacity = capacity
        self._seed = seed
        self._few: list[float] = []
        self._kept: Values | None = None
        self._random: np.random.Generator | None = None

    @property
    def values(self) -> Values:
        """What is kept, float64 [min(seen, capacity)]; all of it, in order, while there is room."""
        return np.array(self._few, np.float64) if self._kept is None else self._kept[: self.seen]

    def add(self, values: Values) -> None:
        """Add float64 [n]."""
        if self._kept is None and self.seen + len(values) <= min(FEW, self._capacity):
            self._few += values.tolist()
            self.seen += len(values)
            return
        kept = self._many()
        n, room = len(values), max(self._capacity - self.seen, 0)
        kept[self.seen : self.seen + min(n, room)] = values[:room]
        if n > room:
            if self._random is None:
                self._random = np.random.default_rng(self._seed)
            later = values[room:]
            places = self._random.integers(0, np.arange(self.seen + room, self.seen + n) + 1)
            taken = places < self._capacity
            kept[places[taken]] = later[taken]
        self.seen += n

    def add_one(self, value: float) -> None:
        """Add one value, as `add` does, in a fifth of the time while there is room."""
        if self.seen >= self._capacity:
            self.add(np.array([value]))
            return
        if self._kept is None and self.seen < FEW:
            self._few.append(float(value))
        else:
            self._many()[self.seen] = value
        self.seen += 1

    def add_few(self, values: list[float]) -> bool:
        """Add some values, as `add` does, if all that were added are few still."""
        if self._kept is not None or self.seen + len(values) > min(FEW, self._capacity):
            return False
        self._few += values
        self.seen += len(values)
        return True

    def percentiles(self, *percents: float) -> dict[str, float] | None:
        """{"p50": ...} to six digits, or None if nothing was added."""
        return percentiles(self.ordered(), *percents)

    def ordered(self) -> list[float]:
        """What is kept, sorted, unless there is a NaN in it."""
        return sorted(self._few if self._kept is None else self.values.tolist())

    def _many(self) -> Values:
        if self._kept is None:
            self._kept = np.empty(self._capacity)
            self._kept[: self.seen] = self._few
            self._few = []
        return self._kept


def percentiles(values: Sequence[float], *percents: float) -> dict[str, float] | None:
    """{"p50": ...} of values to six digits, or None of nothing.

    >>> percentiles([4.0, 1.0, 2.0], 50, 99)
    {'p50': 2.0, 'p99': 3.96}
    """
    if not values:
        return None
    if any(map(math.isnan, values)):
        return {f"p{percent:g}": math.nan for percent in percents}
    ordered = sorted(values)
    return {f"p{percent:g}": float(f"{percentile_of_sorted(ordered, percent):.6g}") for percent in percents}
