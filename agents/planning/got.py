"""Got and expected: how what planners promised compares with what came, and the share of the budget that follows."""

from collections.abc import Iterable

import msgspec

FADING = 0.98
"""What was counts less by so much at each outcome, so that a planner that has learnt is believed again."""
_BELIEVED = 2.0
"""New weighted cells that a planner is believed to have promised and brought before it did."""
LEAST_RATIO, MOST_RATIO = 1e-6, 4.0
FLOOR = 0.05
"""Of the budget, what every planner has so that it can show that it is of use."""


class PlannerTally(msgspec.Struct):
    """What became of one planner's proposals. `expected` is what it said itself; what is of `lately` fades with
    its own outcomes, what it has `spent` with those of all."""

    accepted: int = 0
    refused: int = 0
    outcomes: int = 0
    expected: float = 0.0
    got: float = 0.0
    cost: float = 0.0
    seconds: float = 0.0
    bytes: float = 0.0
    lately_expected: float = 0.0
    lately_got: float = 0.0
    lately_cost: float = 0.0
    spent: float = 0.0

    @property
    def ratio(self) -> float:
        """Got to expected, of late: what an expectation of it is to be multiplied with.

        >>> tally = PlannerTally()
        >>> tally.ratio
        1.0
        >>> for _ in range(50): tally.came(expected=3.0, got=1.0, cost=1.0)
        >>> round(tally.ratio, 2)
        0.35
        """
        found = (self.lately_got + _BELIEVED) / (self.lately_expected + _BELIEVED)
        return min(MOST_RATIO, max(LEAST_RATIO, found))

    def came(self, expected: float, got: float, cost: float) -> None:
        """An outcome: what was promised, and came, for what."""
        self.outcomes += 1
        self.expected += expected
        self.got += got
        self.cost += cost
        self.lately_expected = FADING * self.lately_expected + expected
        self.lately_got = FADING * self.lately_got + got
        self.lately_cost = FADING * self.lately_cost + cost

    def was_refused(self, expected: float) -> None:
        """What it promised and nobody may do counts as promised."""
        self.refused += 1
        self.lately_expected = FADING * self.lately_expected + expected
        self.lately_got *= FADING
        self.lately_cost *= FADING


class Shares:
    """The tallies of planners, by name, and how they share what is spent.

    >>> shares = Shares(["good", "bad"])
    >>> for _ in range(30):
    ...     shares.came("good", expected=1.0, got=1.0, cost=1.0)
    ...     shares.came("bad", expected=1.0, got=0.0, cost=1.0)
    >>> {name: round(share, 2) for name, share in shares.of().items()}
    {'good': 0.94, 'bad': 0.06}
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.tallies: dict[str, PlannerTally] = {name: PlannerTally() for name in names}

    def came(self, name: str, expected: float, got: float, cost: float) -> None:
        """An outcome of a planner, which may be new."""
        for each in self.tallies.values():
            each.spent *= FADING
        tally = self.tallies.setdefault(name, PlannerTally())
        tally.came(expected, got, cost)
        tally.spent += cost

    def of(self) -> dict[str, float]:
        """By planner its share of what is spent: by what it brings for what it costs, and whether that can be believed;
        together 1, of each at least a twentieth, or as much as all have, where they are more than twenty."""
        if not self.tallies:
            return {}
        cost = sum(each.lately_cost for each in self.tallies.values())
        times = sum(each.outcomes for each in self.tallies.values())
        usual = cost / times if times and cost > 0 else 1.0
        worth = {
            name: each.ratio * (each.lately_got + _BELIEVED) / (each.lately_cost / usual + _BELIEVED)
            for name, each in self.tallies.items()
        }
        whole, floor = sum(worth.values()), min(FLOOR, 1 / len(worth))
        rest = 1 - floor * len(worth)
        return {name: floor + rest * each / whole for name, each in worth.items()}

    def is_over(self, name: str) -> bool:
        """Whether a planner has spent more than its share, of late."""
        whole = sum(each.spent for each in self.tallies.values())
        return self.tallies[name].spent > self.of()[name] * whole + 1e-12
