"""A stage: the axes along which a device measures, the points on them, its instruments, and what measuring costs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.agents.planning.planner import Reach
from sensorium.agents.planning.reachable import anywhere, bare
from sensorium.drivers.controls import Control, PlanKind, Value

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

KINDS: tuple[PlanKind, ...] = ("measure", "viewpoint")
_MOST_PAIRS = 1 << 22
_FAR = 2.0
"""Of the longest axis: what is farther off was measured elsewhere, or by what is broken."""


@dataclass(frozen=True)
class MeasuringStage:
    """Of the `device`. `axes` are numbers that say where; `instrument` is what can be chosen, if anything; `dwell` how
    long it measures, if that can be set: what is counted in seconds is no axis. `points` [m, d] are in parts of the
    longest axis, as steps of `side` a point. What is `said` is the same at each: a charter has a plan say it."""

    device: str
    plan: PlanKind
    axes: tuple[Control, ...]
    instrument: Control | None
    dwell: Control | None
    points: Floats
    said: tuple[Control, ...] = ()

    @classmethod
    def of(cls, reach: Reach, most_points: int) -> "MeasuringStage | None":
        """The stage of a device: of what it measures, or else of where it looks from; None where it has neither."""
        for plan in KINDS:
            controls = [each for each in reach.controls if each.plan == plan]
            axes = tuple(each for each in controls if not each.choices and each.unit != "s" and each.high > each.low)
            if axes:
                chosen = next((each for each in controls if each.choices), None)
                dwell = next((each for each in controls if each.unit == "s" and each.high > each.low), None)
                used = (*axes, chosen, dwell)
                said = tuple(each for each in controls if each.bounded and each not in used)
                return cls(reach.device, plan, axes, chosen, dwell, _grid(axes, most_points), said)
        return None

    @property
    def instruments(self) -> tuple[str, ...]:
        """The names of those there are; one without a name, where nothing can be chosen."""
        return ("",) if self.instrument is None else self.instrument.choices

    def place(self, where: Mapping[str, float]) -> Floats | None:
        """[d] of a card's `where`; None where it does not say, or is far from the stage."""
        found = np.array([where.get(bare(axis.name), np.nan) for axis in self.axes], np.float64)
        place: Floats = (found - self._low) / self._longest
        return place if (np.abs(place) < _FAR).all() else None

    def nearest(self, places: Floats) -> Indices:
        """The point that each of the places [n, d] is nearest to, [n]."""
        found = np.zeros(len(places), np.int64)
        block = max(_MOST_PAIRS // len(self.points), 1)
        for first in range(0, len(places), block):
            some = places[first : first + block]
            squares = (self.points**2).sum(axis=1)[None] - 2 * some @ self.points.T
            found[first : first + block] = squares.argmin(axis=1)
        return found

    def parameters(self, point: int, instrument: str, dwell_s: float) -> dict[str, Value]:
        """What is asked for so that it is measured there."""
        values = self.points[point] * self._longest + self._low
        asked: dict[str, Value] = {axis.name: float(value) for axis, value in zip(self.axes, values, strict=True)}
        asked |= {each.name: anywhere(each) for each in self.said}
        if self.instrument is not None:
            asked[self.instrument.name] = instrument
        if self.dwell is not None:
            asked[self.dwell.name] = self.dwelt_s(dwell_s)
        return asked

    def dwelt_s(self, dwell_s: float) -> float:
        """As long as that, within what can be set; 0 where nothing can."""
        return 0.0 if self.dwell is None else float(np.clip(dwell_s, self.dwell.low, self.dwell.high))

    def ways_s(self, start: Floats | None) -> Floats:
        """How long the way takes to each point [m] from a place [d], straight on, as the axes say it."""
        return np.zeros(len(self.points)) if start is None else self._took_s(self.points - start)

    def way_s(self, start: Floats, end: Floats) -> float:
        """The same from one place [d] to another."""
        return float(self._took_s((end - start)[None])[0])

    def swap_s(self, before: str | None, after: str) -> float:
        """How long the change from one instrument to another takes; None: it is not known which is in place."""
        return 0.0 if self.instrument is None or before == after else self.instrument.cost_s

    def _took_s(self, way: Floats) -> Floats:
        way = np.abs(way) * self._longest
        rates = np.array([axis.cost_s_per_unit for axis in self.axes])
        fixed = np.array([axis.cost_s for axis in self.axes])
        took: Floats = np.linalg.norm(way * rates, axis=1) + ((way > 0) * fixed).max(axis=1)
        return took

    @property
    def _low(self) -> Floats:
        return np.array([axis.low for axis in self.axes])

    @property
    def _longest(self) -> float:
        return max(axis.high - axis.low for axis in self.axes)


def _grid(axes: Sequence[Control], most_points: int) -> Floats:
    """Points in the middle of cells, as even along all axes as there are points for."""
    spans = np.array([axis.high - axis.low for axis in axes])
    side = float((np.prod(spans) / most_points) ** (1 / len(spans)))
    while np.prod(_counts(spans, side)) > most_points:
        side *= 1.02
    counts = _counts(spans, side)
    longest = float(spans.max())
    middles = list(_middles(spans / longest, counts))
    return np.stack([each.ravel() for each in np.meshgrid(*middles, indexing="ij")], axis=1)


def _counts(spans: Floats, side: float) -> Indices:
    found: Indices = np.maximum(np.floor(spans / side + 1e-9), 1).astype(np.int64)
    return found


def _middles(spans: Floats, counts: Indices) -> Iterator[Floats]:
    for span, count in zip(spans.tolist(), counts.tolist(), strict=True):
        yield (np.arange(count) + 0.5) * (span / count)
