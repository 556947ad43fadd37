"""What a model is told of coverage: by device and control how often each part was recorded, and what was not at all."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.planner import Reach
from sensorium.drivers.controls import Control

MOST_PARTS = 12
MOST_GAPS = 12


class _Parts(NamedTuple):
    """A control's range in equal parts: as many as it has cells, and no more than can be told."""

    control: Control
    parts: int

    @classmethod
    def of(cls, control: Control) -> "_Parts":
        cells = (control.high - control.low) / control.cell if control.cell > 0 else 1.0
        return cls(control, max(1, min(MOST_PARTS, math.ceil(cells)) if math.isfinite(cells) else 1))

    def part_of(self, value: float) -> int | None:
        """Which part a value is in: of one up to a cell outside the nearest, as a source gets to where it is sent but
        about, and a charter may leave of a range one value; None farther away."""
        low, high, cell = self.control.low, self.control.high, self.control.cell
        if not low - cell <= value <= high + cell:
            return None
        return max(0, min(int((value - low) / (high - low) * self.parts), self.parts - 1)) if high > low else 0

    def middle(self, index: int) -> float:
        return round(self.control.low + (index + 0.5) * (self.control.high - self.control.low) / self.parts, 4)


class Coverage:
    """What of a device's reach its episodes cover, along up to three of its controls that have cells."""

    def __init__(self, reach: Reach) -> None:
        ranged = [each for each in reach.controls if each.cell > 0 and not each.choices]
        self._parts = [_Parts.of(each) for each in ranged][:3]
        self._counts: Counter[tuple[int, ...]] = Counter()

    def count(self, card: EpisodeCard) -> None:
        """One more episode of the device."""
        found = []
        for each in self._parts:
            value = card.where.get(bare(each.control.name))
            index = None if value is None else each.part_of(value)
            if index is None:
                return
            found.append(index)
        if found:
            self._counts[tuple(found)] += 1

    def told(self, *, counts: bool = True, gaps: int = MOST_GAPS) -> dict[str, Any]:
        """As JSON: `visited` of `parts`; up to so many `gaps`, values by control, the farthest from all that is
        covered first; `counts`, of one or two controls, how often each part was recorded."""
        parts = self._parts
        if not parts:
            return {}
        found: dict[str, Any] = {
            "controls": [each.control.name for each in parts],
            "visited": len(self._counts),
            "parts": math.prod(each.parts for each in parts),
            "gaps": [
                {part.control.name: part.middle(index) for part, index in zip(parts, at, strict=True)}
                for at in _gaps(parts, self._counts, gaps)
            ],
        }
        if counts and len(parts) == 1:
            found["counts"] = [self._counts[index,] for index in range(parts[0].parts)]
        if counts and len(parts) == 2:
            across, along = (range(each.parts) for each in parts)
            found["counts"] = [[self._counts[first, second] for second in along] for first in across]
        return found


def _gaps(parts: Sequence[_Parts], counts: Counter[tuple[int, ...]], most: int) -> list[tuple[int, ...]]:
    """Parts without a card, each the farthest from what is covered and from those before it."""
    every = np.indices([each.parts for each in parts]).reshape(len(parts), -1).T
    far = np.full(len(every), np.inf)
    for at in counts:
        np.minimum(far, np.linalg.norm(every - at, axis=1), out=far)
    found: list[tuple[int, ...]] = []
    while len(found) < most and (far > 0).any():
        at = every[int(far.argmax())]
        found.append(tuple(at.tolist()))
        np.minimum(far, np.linalg.norm(every - at, axis=1), out=far)
    return found


def bare(name: str) -> str:
    """A control's name without that of its sensor, as cards have it."""
    return name.rpartition(".")[2]
