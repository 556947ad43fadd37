"""Gain: the one measure of what an episode brings, new weighted cells per cost, taken when it is known first."""

import bisect
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sensorium.agents.planning.alike import LookGroups
from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.planner import Reach
from sensorium.agents.planning.reachable import Cut, Place, ReachablePlaces, bare, place_of, reachable

Axis = Literal["task", "place", "light", "motion", "look"]
Cell = tuple[str, ...]
"""What an episode is of, along the axes that are asked for."""
BRIGHTNESS, MOTION = ".brightness", ".motion"
"""How measurements of cards end that tell of light (0 to 255), and of motion (rad/s)."""


class CellAxes(BaseModel):
    """What tells one cell from another:

    axes: [task, place, light]         # of task, place, light, motion and look
    light: [40, 110, 180]              # where dark, dim, bright and glaring part, in 0 to 255
    motion: [0.05, 0.6]                # where resting, slow and fast part, in rad/s
    weights: {task: {dock: 3}}         # what else than 1 a cell is worth
    spoilt_by: [health]                # whose verdict takes all worth from an episode

    A place is a cell of a device's controls, a task the label of that name, or the mission. A look is the group of
    pictures (or stretches of rows) that are alike; an episode has several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    axes: tuple[Axis, ...] = Field(default=("task", "place", "light", "motion"), min_length=1)
    light: tuple[float, ...] = (40.0, 110.0, 180.0)
    motion: tuple[float, ...] = (0.05, 0.6)
    weights: dict[Axis, dict[str, float]] = {}
    spoilt_by: tuple[str, ...] = ("health",)
    alike: float = Field(default=0.75, gt=0, lt=1)

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: dict[Axis, dict[str, float]]) -> dict[Axis, dict[str, float]]:
        for axis, of in weights.items():
            for value, weight in of.items():
                if not (math.isfinite(weight) and weight >= 0):
                    raise ValueError(f"{axis}: {value}: expected a weight of at least 0, got {weight}")
        return weights

    def weight(self, cell: Cell) -> float:
        """What a cell is worth: the product over its axes."""
        return math.prod(self.weights.get(axis, {}).get(said, 1.0) for axis, said in zip(self.axes, cell, strict=True))


class Gained(NamedTuple):
    """What an episode brought: the new cells that it has, and what these are worth together."""

    new: tuple[Cell, ...]
    gain: float


class GainBook:
    """The `cells` that are had, and the places `visited`, by the cards that were taken in; a card of a known episode
    changes nothing.

    What of an episode is new is told when it is taken in first, and stands: who judges later than that does not make a
    planner's luck.

    >>> book = GainBook(CellAxes(axes=("task",), weights={"task": {"dock": 3}}), [])
    >>> named = enumerate(["dock", "dock", "hall"])
    >>> [book.take_in(EpisodeCard(episode=str(n), device="a", mission=each)).gain for n, each in named]
    [3.0, 0.0, 1.0]
    """

    def __init__(self, axes: CellAxes, reaches: Sequence[Reach]) -> None:
        self.axes = axes
        self.cells: dict[Cell, int] = {}
        self._places = _axes_of(reaches)
        self._groups = LookGroups(axes.alike)
        self.visited: set[str] = set()
        self._known: set[str] = set()

    @property
    def axes_of_places(self) -> tuple[Cut | str, ...]:
        """Along what places are told apart, in the order of their names."""
        return self._places

    def place(self, card: EpisodeCard) -> str:
        """Where an episode was, as its cells say it; empty where nothing of that is known."""
        return place_text(place_of(self._places, card))

    def places(self, of: ReachablePlaces) -> list[str]:
        """The same of what can be gone to, in its order: devices that have controls in common share their cells."""
        columns = {bare(control.name): column for column, control in enumerate(of.controls)}
        along: list[list[int | str]] = []
        for axis in self._places:
            column = columns.get(axis if isinstance(axis, str) else axis.name)
            if column is None:
                along.append([""] * len(of))
            elif isinstance(axis, str):
                choices = of.controls[column].choices
                along.append([choices[number] for number in of.numbers[:, column].tolist()])
            else:
                along.append([axis.number(value) for value in of.values[:, column].tolist()])
        return [place_text(each) for each in zip(*along, strict=True)] if along else [""] * len(of)

    def take_in(self, card: EpisodeCard) -> Gained:
        """Count an episode: only one that is full, and not spoilt, has cells."""
        if card.episode in self._known:
            return Gained((), 0.0)
        self._known.add(card.episode)
        found = self.cells_of(card)
        new = tuple(each for each in found if each not in self.cells)
        for each in found:
            self.cells[each] = self.cells.get(each, 0) + 1
        if found:
            self.visited.add(self.place(card))
        return Gained(new, math.fsum(map(self.axes.weight, new)))

    def cells_of(self, card: EpisodeCard) -> tuple[Cell, ...]:
        """All cells that an episode has, in order."""
        if card.kind != "full" or any(card.verdicts.get(name) is False for name in self.axes.spoilt_by):
            return ()
        along = [self._along(axis, card) for axis in self.axes.axes]
        return tuple(sorted(set(itertools.product(*along))))

    def _along(self, axis: Axis, card: EpisodeCard) -> Sequence[str]:
        if axis == "task":
            return (str(card.labels.get("task", card.mission)),)
        if axis == "place":
            return (self.place(card),)
        if axis == "look":
            return sorted({str(group) for group in self._groups.groups_of(card.looks)}) or ("",)
        return (light_of(card, self.axes.light) if axis == "light" else motion_of(card, self.axes.motion),)


def place_text(place: Place | None) -> str:
    """A place in a cell.

    >>> place_text((3, "raman", "")), place_text(None)
    ('3,raman,', '')
    """
    return "" if place is None else ",".join(map(str, place))


def light_of(card: EpisodeCard, edges: Sequence[float]) -> str:
    """Between which edges the pictures of an episode lie; empty where it has none."""
    return _binned(card.measured, BRIGHTNESS, edges)


def motion_of(card: EpisodeCard, edges: Sequence[float]) -> str:
    """The same of how fast it turned."""
    return _binned(card.measured, MOTION, edges)


def _binned(measured: Mapping[str, float], ending: str, edges: Sequence[float]) -> str:
    those = [value for name, value in measured.items() if name.endswith(ending) and math.isfinite(value)]
    return str(bisect.bisect_right(sorted(edges), sum(those) / len(those))) if those else ""


def _axes_of(reaches: Sequence[Reach]) -> tuple[Cut | str, ...]:
    """Along what places of all devices are told apart: devices that have a control in common share its cells."""
    found: dict[str, Cut | str] = {}
    for each in reachable(reaches):
        for axis in each.axes:
            found.setdefault(axis if isinstance(axis, str) else axis.name, axis)
    return tuple(found[name] for name in sorted(found))


class Price(BaseModel):
    """What a second of a device's time, and a byte, cost together: `bytes_per_s` bytes are as dear as a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes_per_s: float = Field(default=1e6, gt=0, allow_inf_nan=False)

    def of(self, seconds: float, n_bytes: float) -> float:
        """In seconds, at least a thousandth.

        >>> Price().of(2.0, 500_000)
        2.5
        """
        return max(1e-3, seconds + n_bytes / self.bytes_per_s)
