"""Seeds: which episodes can be had again, and how: by the seed of their reset, or by as many resets after one."""

from sensorium.drivers.marks import Label

_MOST = 1 << 62


class Seeds:
    """Of one environment: what it was seeded with last, and how often it was reset since."""

    def __init__(self) -> None:
        self._seed: int | None = None
        self._resets = 0

    def reset(self, seed: int | None) -> dict[str, Label]:
        """The labels of the episode that a reset begins: `seed`, or else `seeded_with` and `resets_since`, if known."""
        if seed is not None:
            self._seed, self._resets = (int(seed) if abs(int(seed)) < _MOST else None), 0
            return {} if self._seed is None else {"seed": self._seed}
        self._resets += 1
        return {} if self._seed is None else {"seeded_with": self._seed, "resets_since": self._resets}
