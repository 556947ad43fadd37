"""Reachable: what controls can be set to, cut into places, and what it costs to go to each of them."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.planner import Reach
from sensorium.agents.plans.area import PlanArea
from sensorium.drivers.controls import Control, PlanKind, Value

MOST_PLACES = 20_000
"""Of one group of controls; where there were more they are cut more coarsely."""
STEPS = 8
"""Into so many is a range cut where no cell is stated."""
WHERE = ("viewpoint", "measure")
"""Plans that lead to another place; what else can be changed is looked at where a device has none of these."""

_FARTHEST = 1e9

Floats = npt.NDArray[np.float64]
Place = tuple[int | str, ...]
"""By control, in the order of their names: the number of its cell, or which choice; empty text where not known."""


def bare(name: str) -> str:
    """A control's name without that of its sensor.

    >>> bare("front.x_m"), bare("x_m")
    ('x_m', 'x_m')
    """
    return name.rpartition(".")[2]


@dataclass(frozen=True)
class Cut:
    """A range cut into `count` equal parts."""

    name: str
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, control: Control, coarser: int = 1) -> "Cut":
        """By its cell, `coarser` times that."""
        span = control.high - control.low
        parts = span / (control.cell * coarser) if control.cell > 0 else STEPS / coarser
        return cls(bare(control.name), control.low, control.high, max(1, math.ceil(parts - 1e-9)) if span > 0 else 1)

    @property
    def size(self) -> float:
        """Of one part."""
        return (self.high - self.low) / self.count

    def number(self, value: float) -> int:
        """Which part holds a value; what is outside is of the nearest.

        >>> cut = Cut("x_m", -1.0, 1.0, 4)
        >>> [cut.number(each) for each in (-9.0, -0.99, 0.0, 1.0)]
        [0, 0, 2, 3]
        """
        if self.size <= 0 or not math.isfinite(value):
            return 0
        return min(self.count - 1, max(0, math.floor((value - self.low) / self.size)))

    def middle(self, number: int) -> float:
        """Of a part."""
        return self.low + (number + 0.5) * self.size


@dataclass(frozen=True)
class ReachablePlaces:
    """The places of controls of one plan of one sensor of a device, all combinations of their cells and choices.

    `numbers` [n, k] has by control the cell, or the choice, of each; the order is that of the controls. What is `said`
    is the same at each of them: a charter has a plan say it, and it makes no place.
    """

    device: str
    plan: PlanKind
    controls: tuple[Control, ...]
    areas: tuple[PlanArea, ...] = ()
    said: tuple[Control, ...] = ()
    cuts: tuple[Cut, ...] = field(init=False)
    numbers: npt.NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        coarser, ranges = 1, [control for control in self.controls if not control.choices]
        while True:
            cuts = tuple(Cut.of(control, coarser) for control in ranges)
            counts = self._counts(cuts)
            if math.prod(counts) <= MOST_PLACES or all(cut.count == 1 for cut in cuts):
                break
            coarser *= 2
        object.__setattr__(self, "cuts", cuts)
        grid = np.indices(counts).reshape(len(counts), -1).T if counts else np.zeros((0, 0), np.int64)
        object.__setattr__(self, "numbers", np.ascontiguousarray(grid[:MOST_PLACES], np.int64))
        if (within := self._within()) is not None:
            self.__dict__.pop("values", None)
            object.__setattr__(self, "numbers", np.ascontiguousarray(self.numbers[within]))

    def __len__(self) -> int:
        return len(self.numbers)

    def _counts(self, cuts: Sequence[Cut]) -> list[int]:
        ranges = iter(cuts)
        return [len(control.choices) if control.choices else next(ranges).count for control in self.controls]

    def _within(self) -> npt.NDArray[np.bool_] | None:
        """Which places are in areas that are allowed, where there are such, and in none that is forbidden."""
        names = {name: at for at, control in enumerate(self.controls) for name in (control.name, bare(control.name))}
        within: npt.NDArray[np.bool_] | None = None
        allowed: dict[tuple[str, ...], npt.NDArray[np.bool_]] = {}
        for area in self.areas:
            columns = [names[name] for name in area.of if name in names]
            if len(columns) < len(area.of):
                continue
            held = np.array([area.holds(place) for place in self.values[:, columns].tolist()], bool)
            if area.forbidden:
                within = ~held if within is None else within & ~held
            else:
                key = tuple(sorted(map(bare, area.of)))
                allowed[key] = held | allowed[key] if key in allowed else held
        for held in allowed.values():
            within = held if within is None else within & held
        return within

    @functools.cached_property
    def values(self) -> Floats:
        """[n, k]: the middle of each cell; of a choice its number."""
        found, cuts = self.numbers.astype(np.float64), iter(self.cuts)
        for column, control in enumerate(self.controls):
            if not control.choices:
                cut = next(cuts)
                found[:, column] = cut.low + (self.numbers[:, column] + 0.5) * cut.size
        return found

    @functools.cached_property
    def places(self) -> list[Place]:
        """Each as a card has it."""
        names = [bare(control.name) for control in self.controls]
        order = sorted(range(len(names)), key=lambda at: names[at])
        said: list[list[int | str]] = []
        for at in order:
            choices, column = self.controls[at].choices, self.numbers[:, at].tolist()
            said.append([choices[number] for number in column] if choices else column)
        return list(zip(*said, strict=True)) if said else []

    def parameters(self, row: int) -> dict[str, Value]:
        """What a device is asked for to go to a place."""
        of_row = zip(self.controls, self.values[row].tolist(), self.numbers[row].tolist(), strict=True)
        return {control.name: anywhere(control) for control in self.said} | {
            control.name: control.choices[number] if control.choices else round(value, 9)
            for control, value, number in of_row
        }

    def place_of(self, card: EpisodeCard) -> Place | None:
        """Where an episode was; None where nothing of that is known."""
        return place_of(self.axes, card)

    @functools.cached_property
    def axes(self) -> tuple[Cut | str, ...]:
        """By control, in the order of names: how it is cut, or the name of one of choices."""
        cuts = {cut.name: cut for cut in self.cuts}
        return tuple(cuts.get(name, name) for name in sorted(bare(control.name) for control in self.controls))

    def seconds_from(self, where: Mapping[str, float], labels: Mapping[str, Any]) -> Floats:
        """[n]: what it costs to go to each place from where the device is, as its controls say; of what is not known
        of that the way counts as nothing."""
        stays_s = sum(each.cost_s_per_unit * each.low for each in self.said if each.unit == "s")
        found = np.zeros(len(self)) + stays_s
        for column, control in enumerate(self.controls):
            name, values = bare(control.name), self.values[:, column]
            if control.choices:
                is_there = np.array([choice == labels.get(name) for choice in control.choices], bool)
                found += control.cost_s * ~is_there[self.numbers[:, column]]
            else:
                at = 0.0 if control.unit == "s" else where.get(name, math.nan)
                way = np.minimum(np.abs(values - at), _FARTHEST) if math.isfinite(at) else np.zeros(len(self))
                found += control.cost_s + control.cost_s_per_unit * way
        return found


def anywhere(control: Control) -> Value:
    """What is said of a control that makes no place: the first choice, the least of a time, else the middle."""
    if control.choices:
        return control.choices[0]
    return control.low if control.unit == "s" else (control.low + control.high) / 2


def place_of(axes: Sequence[Cut | str], card: EpisodeCard) -> Place | None:
    """The place of an episode along some axes; None where it is known along none."""
    found = tuple(_along(axis, card) for axis in axes)
    return None if all(each == "" for each in found) else found


def _along(axis: Cut | str, card: EpisodeCard) -> int | str:
    if isinstance(axis, str):
        return str(card.labels.get(axis, ""))
    value = card.where.get(axis.name)
    return "" if value is None or not math.isfinite(value) else axis.number(value)


def _group(control: Control) -> tuple[PlanKind, str]:
    """Its plan and its sensor."""
    return control.plan, control.name.rpartition(".")[0]


def reachable(reaches: Sequence[Reach]) -> list[ReachablePlaces]:
    """What can be gone to, by device, plan and sensor: plans that lead elsewhere, where there are such."""
    found: list[ReachablePlaces] = []
    for reach in reaches:
        groups: dict[tuple[PlanKind, str], list[Control]] = {}
        for control in reach.controls:
            if control.choices or control.high > control.low:
                groups.setdefault(_group(control), []).append(control)
        wanted = [key for key in groups if key[0] in WHERE] or list(groups)
        for key in sorted(wanted):
            celled = tuple(each for each in groups[key] if each.cell > 0 or each.choices) or tuple(groups[key])
            said = tuple(each for each in reach.controls if key == _group(each) and each.bounded and each not in celled)
            found.append(ReachablePlaces(reach.device, key[0], celled, reach.areas, said))
    return [each for each in found if len(each)]
