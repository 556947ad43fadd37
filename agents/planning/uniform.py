"""The planner `uniform`: places that can be reached, drawn with replacement, whatever is known of them."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import CellAxes, GainBook, Price
from sensorium.agents.planning.planner import PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.reachable import reachable
from sensorium.agents.planning.whereabouts import Whereabouts


class UniformConfig(PlannerConfig):
    """`{kind: uniform}`: what others are measured against."""

    kind: Literal["uniform"] = "uniform"
    cells: CellAxes = CellAxes()
    price: Price = Price()

    def make(self, reaches: Sequence[Reach], seed: int) -> "UniformPlanner":
        return UniformPlanner(self, reaches, seed)


class UniformPlanner:
    """Draws places; what it expects of each is the mean of what its last draws had a chance to bring."""

    def __init__(self, config: UniformConfig, reaches: Sequence[Reach], seed: int) -> None:
        self._places = reachable(reaches)
        self._rng = np.random.default_rng([seed, 1])
        self._book = GainBook(config.cells, reaches)
        self._whereabouts = Whereabouts(config.price)
        self._mean, self._cards, self._drawn = 1.0, 0, 0

    def ingest(self, card: EpisodeCard) -> None:
        """Of what it learns it only expects more or less."""
        self._whereabouts.saw(card)
        gained = self._book.take_in(card)
        if card.kind == "full":
            self._cards += 1
            self._mean += max(0.02, 1 / (self._cards + 1)) * (gained.gain - self._mean)

    def suggest(self, n: int) -> list[Proposal]:
        """`n` places, drawn anew at each call; none where nothing can be reached."""
        sizes = [len(each) for each in self._places]
        if not sum(sizes):
            return []
        found: list[Proposal] = []
        for row in self._rng.integers(0, sum(sizes), max(0, n)).tolist():
            of = 0
            while row >= sizes[of]:
                row, of = row - sizes[of], of + 1
            found += self._whereabouts.proposals("uniform", self._places[of], [row], [self._mean], ["drawn by chance"])
        self._drawn += len(found)
        return found

    def report(self) -> dict[str, Any]:
        return {"cards": self._cards, "drawn": self._drawn, "places": sum(map(len, self._places))}
