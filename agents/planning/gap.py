"""The planner `gap`: to where most is missing, by an upper confidence bound over cells, for what the way costs."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import Cell, CellAxes, GainBook, Price
from sensorium.agents.planning.missions import MissionGaps, key_of_mission
from sensorium.agents.planning.notebook import ProposalFate
from sensorium.agents.planning.planner import PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.reachable import Floats, reachable
from sensorium.agents.planning.tries import Tries
from sensorium.agents.planning.whereabouts import Whereabouts, in_turns, there

_FADING = 0.97
"""What is met counts less by so much at each that comes after it: light changes with the day."""
_MOST = 1e9
_DOUBT = 10
"""So many visits are taken to have met nothing new, or the first one would say that all is new each time."""


class GapConfig(PlannerConfig):
    """`{kind: gap, boldness: 0.3}`: `boldness` is the factor of the bound's width; 0 goes by the mean alone."""

    kind: Literal["gap"] = "gap"
    cells: CellAxes = CellAxes()
    price: Price = Price()
    boldness: float = Field(default=0.3, ge=0, allow_inf_nan=False)

    def make(self, reaches: Sequence[Reach], seed: int) -> "GapPlanner":
        return GapPlanner(self, reaches, seed)


class GapPlanner:
    """A cell is a place, and what is met there: task, light, motion, looks.

    A place that nobody was at brings whatever is met there. Of one that was visited, what is missing is met with the
    probability with which it was met elsewhere of late, or that it is something never met: the share of what was met
    once alone (I. J. Good, "The population frequencies of species", 1953). The bound is `boldness` times the deviation
    of that, by the logarithm of all visits over those here. Where it was sent to a place and no episode came of it, the
    place counts less from then on. Where a charter names missions, one under which what was recorded last would be new
    is proposed too.
    """

    def __init__(self, config: GapConfig, reaches: Sequence[Reach], seed: int) -> None:
        del seed  # it draws nothing
        self._config = config
        self._at = config.cells.axes.index("place") if "place" in config.cells.axes else None
        self._places = reachable(reaches)
        self._book = GainBook(config.cells, reaches)
        self._texts = [self._book.places(each) for each in self._places]
        self._known: set[str] = set()
        self._missions = MissionGaps(config.cells, reaches)
        self._whereabouts = Whereabouts(config.price)
        self._tries = Tries()
        self._visits: dict[str, int] = {}
        self._had: dict[str, set[Cell]] = {}
        self._met: dict[Cell, float] = {}
        self._counts = 1.0
        self._times: dict[Cell, int] = {}

    def ingest(self, card: EpisodeCard) -> None:
        if card.kind != "full" or card.episode in self._known:
            return
        self._known.add(card.episode)
        self._whereabouts.saw(card)
        cells = self._book.cells_of(card)
        self._book.take_in(card)
        self._missions.saw(card, cells)
        self._tries.came(key_of_mission(card.device, card.mission))
        if not cells:
            return
        place = self._book.place(card)
        self._visits[place] = self._visits.get(place, 0) + 1
        self._tries.came(place)
        for met in sorted({self._without_place(cell) for cell in cells}):
            self._met[met] = self._met.get(met, 0.0) + self._counts
            self._times[met] = self._times.get(met, 0) + 1
            self._had.setdefault(place, set()).add(met)
            self._counts /= _FADING  # which is as if all others counted less
        if self._counts > _MOST:
            self._met = {each: share / self._counts for each, share in self._met.items()}
            self._counts = 1.0

    def suggest(self, n: int) -> list[Proposal]:
        found: list[list[tuple[float, Proposal]]] = []
        for places, texts in zip(self._places, self._texts, strict=True):
            means, bounds = self._values(texts)
            fading = np.array([self._tries.factor(text) for text in texts])
            worth = bounds * fading / self._whereabouts.costs(places)
            best = np.argsort(-worth, kind="stable")[: max(0, n)]
            rows = [row for row in best.tolist() if worth[row] > 0]
            gains = [float(means[row] * fading[row]) for row in rows]
            why = [self._why(texts[row]) for row in rows]
            made = self._whereabouts.proposals("gap", places, rows, gains, why)
            found.append([(float(worth[row]), each) for row, each in zip(rows, made, strict=True)])
            self._tries.proposed([texts[row] for row in rows])
        found += [self._other_missions(device, n) for device in self._missions.devices]
        return in_turns(found, n)

    def learn(self, outcome: ProposalFate) -> None:
        asked = outcome.proposal
        if asked.plan == "mission":
            self._tries.over(key_of_mission(asked.device, str(asked.parameters.get("name"))), outcome)
        else:
            self._tries.over(self._book.place(there(asked)), outcome)

    def _other_missions(self, device: str, n: int) -> list[tuple[float, Proposal]]:
        """What the device would bring where it is, were it there for something else; each with its worth."""
        seconds, n_bytes = self._whereabouts.episode(device)
        cost, found = self._config.price.of(seconds, n_bytes), []
        for mission, new in self._missions.gains(device, self._book.cells):
            gain = new * self._tries.factor(key_of_mission(device, mission))
            made = Proposal(
                plan="mission",
                planner="gap",
                parameters={"name": mission},
                device=device,
                gain=gain,
                cost_s=round(seconds, 6),
                cost_bytes=round(n_bytes, 3),
                rationale=f"mission {mission}: what was recorded last would be new under it",
            )
            found.append((gain / cost, made))
        best = sorted(found, key=lambda each: -each[0])[: max(0, n)]
        self._tries.proposed([key_of_mission(device, str(each.parameters["name"])) for _, each in best])
        return best

    def report(self) -> dict[str, Any]:
        return {
            "cards": sum(self._visits.values()),
            "cells": len(self._book.cells),
            "places": sum(map(len, self._places)),
            "visited": len(self._visits),
            "met": len(self._times),
        }

    def _values(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """By place what a visit brings in the mean, and its upper bound."""
        whole, all_visits = sum(self._met.values()), sum(self._visits.values())
        worth = {met: share * self._weight(met) for met, share in self._met.items()}
        brings = sum(worth.values()) / whole if whole else 1.0
        once = sum(times == 1 for times in self._times.values()) / (_DOUBT + sum(self._times.values()))
        first = 1.0 if self._at is not None or not whole else max(once, 1 / (1 + all_visits))
        spread = math.sqrt(0.25 * math.log1p(all_visits))
        means = np.full(len(texts), brings * first)
        bounds = means * (1 + self._config.boldness * spread)
        for row, text in enumerate(texts):
            if text in self._visits:
                missing = brings - sum(worth[met] for met in self._had[text]) / whole if self._at is not None else 0.0
                part = min(1.0, max(0.0, missing) / brings + once * first) if brings else 0.0
                spread = math.sqrt(part * (1 - part) * math.log1p(all_visits) / (1 + self._visits[text]))
                means[row] = part * brings
                bounds[row] = brings * (part + self._config.boldness * spread)
        return means, bounds

    def _why(self, text: str) -> str:
        visits = self._visits.get(text, 0)
        if not visits:
            return f"place {text}: nobody was there"
        return f"place {text}: {visits} episodes, {len(self._had[text])} of {len(self._met)} kinds of what is met"

    def _without_place(self, cell: Cell) -> Cell:
        return cell if self._at is None else (*cell[: self._at], *cell[self._at + 1 :])

    def _weight(self, met: Cell) -> float:
        if self._at is None:
            return self._config.cells.weight(met)
        return self._config.cells.weight((*met[: self._at], "", *met[self._at :]))
