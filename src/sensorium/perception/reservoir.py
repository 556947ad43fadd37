"""A reservoir: an even sample of a sequence of any length, in bounded memory."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
FIRST_ROOM = 64


class Reservoir:
    """Up to `capacity` of all values that were added, each with the same chance: J. Vitter's algorithm R, seeded.

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
        self._kept = np.empty(min(capacity, FIRST_ROOM))  # most sequences are short, and there are many of them
        self._random: np.random.Generator | None = None

    @property
    def values(self) -> Values:
        """What is kept, float64 [min(seen, capacity)]; all of it, in order, while there is room."""
        return self._kept[: self.seen]

    def add(self, values: Values) -> None:
        """Add float64 [n]."""
        n, room = len(values), max(self._capacity - self.seen, 0)
        self._make_room(self.seen + min(n, room))
        self._kept[self.seen : self.seen + min(n, room)] = values[:room]
        if n > room:
            if self._random is None:
                self._random = np.random.default_rng(self._seed)
            later = values[room:]
            places = self._random.integers(0, np.arange(self.seen + room, self.seen + n) + 1)
            kept = places < self._capacity
            self._kept[places[kept]] = later[kept]
        self.seen += n

    def add_one(self, value: float) -> None:
        """Add one value, as `add` does, in a fifth of the time while there is room."""
        if self.seen < self._capacity:
            self._make_room(self.seen + 1)
            self._kept[self.seen] = value
            self.seen += 1
        else:
            self.add(np.array([value]))

    def percentiles(self, *percents: float) -> dict[str, float] | None:
        """{"p50": ...} to six digits, or None if nothing was added."""
        return percentiles(self.values, *percents)

    def _make_room(self, n: int) -> None:
        if n > len(self._kept):
            grown = np.empty(min(self._capacity, max(n, 2 * len(self._kept))))
            grown[: self.seen] = self._kept[: self.seen]
            self._kept = grown


def percentiles(values: Values, *percents: float) -> dict[str, float] | None:
    """{"p50": ...} of float64 [n] to six digits, or None of nothing.

    It gives what `np.percentile` gives, which on a few values takes ten times as long.

    >>> percentiles(np.array([4.0, 1.0, 2.0]), 50, 99)
    {'p50': 2.0, 'p99': 3.96}
    """
    if not len(values):
        return None
    ordered = np.sort(values).tolist()
    return {f"p{percent:g}": float(f"{_percentile(ordered, percent):.6g}") for percent in percents}


def median(values: Values) -> float:
    """Of float64 [n], n > 0."""
    ordered = np.sort(values).tolist()
    if ordered[-1] != ordered[-1]:
        return float("nan")
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _percentile(ordered: list[float], percent: float) -> float:
    """Linear between the two nearest, reckoned from the nearer, as numpy does; one NaN, which sorts last, makes all."""
    if ordered[-1] != ordered[-1]:
        return ordered[-1]
    place = (len(ordered) - 1) * (percent / 100)
    below = min(int(place), len(ordered) - 1)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    part = place - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)
