"""Several queries in one order: after any number of windows each has had its share, to within one window.

Tijdeman's rule (The chairman assignment problem, Discrete Mathematics 32, 1980): of those that are due, the one whose
time ends first. Shares are ratios of whole numbers, so that the order repeats after their sum and any position is found
at once.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from numbers import Rational
from typing import Any

import numpy as np

from sensorium.corpus.asked_for import is_number
from sensorium.corpus.order import Numbers
from sensorium.errors import ConfigError

MOST_PARTS = 1 << 14
_NEAR = Fraction(1, 10**12)


class Mix:
    """The turns of queries whose shares are `parts`, whole numbers.

    >>> mix = Mix((3, 1))
    >>> mix.at(np.arange(8))[0].tolist()
    [0, 0, 1, 0, 0, 0, 1, 0]
    >>> mix.at(np.arange(8))[1].tolist()
    [0, 1, 0, 2, 3, 4, 1, 5]
    >>> mix.position(1, 1)
    6
    """

    def __init__(self, parts: tuple[int, ...]) -> None:
        self.parts = parts
        self._turns = np.array(_turns(parts), np.int64)
        self._ranks = np.zeros(len(self._turns), np.int64)
        self._places = [np.flatnonzero(self._turns == query) for query in range(len(parts))]
        for places in self._places:
            self._ranks[places] = np.arange(len(places))

    def at(self, positions: Numbers) -> tuple[Numbers, Numbers]:
        """Whose turn it is at `positions`, and which of its turns that is, from 0."""
        rounds, within = np.divmod(positions, len(self._turns))
        queries = self._turns[within]
        return queries, rounds * np.array(self.parts, np.int64)[queries] + self._ranks[within]

    def position(self, query: int, turn: int) -> int:
        """Where a query has its turn number `turn`."""
        rounds, within = divmod(turn, self.parts[query])
        return rounds * len(self._turns) + int(self._places[query][within])


def shares(quotas: Sequence[float]) -> tuple[int, ...]:
    """Quotas in any unit as the smallest whole numbers in the same ratios.

    >>> shares([0.75, 0.25]), shares([1 / 3, 2 / 3]), shares([10, 20, 10])
    ((3, 1), (1, 2), (1, 2, 1))

    Raises:
        ConfigError: one is not above 0, or they are in no such ratio.
    """
    if not all(is_number(quota) and 0 < quota < math.inf for quota in quotas):
        raise ConfigError(f"quotas {list(quotas)}: expected a number above 0 for each query")
    exact = [_exact(quota) for quota in quotas]
    ratios = [quota / sum(exact) for quota in exact]
    near = [ratio.limit_denominator(MOST_PARTS) for ratio in ratios]
    whole = math.lcm(*(ratio.denominator for ratio in near))
    far = any(abs(ratio - to) > _NEAR for ratio, to in zip(ratios, near, strict=True))
    if far or whole > MOST_PARTS or sum(near) != 1 or not all(near):
        raise ConfigError(
            f"quotas {list(quotas)}: expected ratios of whole numbers of at most {MOST_PARTS} together, such as 3 and 1"
        )
    return tuple(int(ratio * whole) for ratio in near)


def _exact(quota: Any) -> Fraction:
    return Fraction(quota if isinstance(quota, Rational) else float(quota))


def _turns(parts: Sequence[int]) -> list[int]:
    """Whose turn it is, until all have had as many as their parts. In units of 1 / (sum * scale) windows."""
    whole, scale = sum(parts), max(1, 2 * len(parts) - 2)
    had = [0] * len(parts)
    found = []
    for turn in range(1, whole + 1):
        behind = [(part * turn - whole * count) * scale for part, count in zip(parts, had, strict=True)]
        due = (query for query in range(len(parts)) if behind[query] >= whole)
        # The time left until one would be too far behind: a part of a window, less what it lacks, by its share.
        query = min(due, key=lambda each: (Fraction(whole * (scale - 1) - behind[each], parts[each]), each), default=0)
        had[query] += 1
        found.append(query)
    return found
