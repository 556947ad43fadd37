"""Curves of what is known over simulated time, and the area under them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """What share (0 to 1) is had from `time_s` [n] on, each until the next; the last one stays. `ended_s` [p] is when
    each proposal was over."""

    time_s: Sequence[float]
    share: Sequence[float]
    ended_s: Sequence[float]

    def area(self, until_s: float) -> float:
        """The mean share from the beginning until then.

        >>> Curve([0.0, 1.0], [0.0, 0.5], []).area(2.0)
        0.25
        """
        times = np.array([*self.time_s, np.inf])
        lengths = np.diff(np.minimum(times, until_s))
        return float((lengths * np.array(self.share)).sum() / until_s)

    def first(self, proposals: int) -> "Curve":
        """With so many proposals alone."""
        ended_s = self.ended_s[:proposals]
        count = int(np.searchsorted(np.array(self.time_s), ended_s[-1], side="right"))
        return Curve(self.time_s[:count], self.share[:count], ended_s)

    @property
    def end_s(self) -> float:
        return self.ended_s[-1]

    @property
    def last(self) -> float:
        return self.share[-1]


def over(ours: Curve, against: Curve) -> float:
    """The area under one over that under the other, until the one that takes longer has spent its proposals."""
    until_s = max(ours.end_s, against.end_s)
    return ours.area(until_s) / max(against.area(until_s), 1e-9)
