"""Who shares a sketch, and was there lately: among them chance is divided, as far as devices are told."""

from sensorium.perception.sketch import MOST_AMONG, SketchOf

COUNTED_S = 3600.0
"""Who was there so lately counts: a device on a poor link comes and goes."""


class Sharers:
    """By sketch, when each device was there last; of more than are told of some.

    >>> sharers, of = Sharers(), SketchOf("maker", "hall", 2)
    >>> sharers.saw(of, "rig-1", 0.0), sharers.saw(of, "rig-2", 60.0)
    (None, None)
    >>> sharers.count(of, 61.0), sharers.count(of, 3601.0), sharers.count(of, 9000.0)
    (2, 1, 1)
    """

    def __init__(self) -> None:
        self._seen_s: dict[SketchOf, dict[str, float]] = {}

    def saw(self, of: SketchOf, device: str, now_s: float) -> None:
        """A device is there that has this sketch, or is to have it."""
        self._seen_s.setdefault(of, {})[device] = now_s

    def count(self, of: SketchOf, now_s: float) -> int:
        """Among how many it is shared; of more than `MOST_AMONG` that is what is said, and at least 1."""
        lately = [each for each in self._seen_s.get(of, {}).items() if now_s - each[1] <= COUNTED_S]
        self._seen_s[of] = dict(lately[-MOST_AMONG:])
        return max(len(self._seen_s[of]), 1)
