"""What an episode is worth, as its SEAL says, and how what was evicted of those kept by chance is told.

Within a mission the larger value per byte goes first and is evicted last. Those kept by chance are not weighed: they
are evicted in the order of draw / p, and of that the reason of DISCARDED tells, so that p can be lowered.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard


class Chance(NamedTuple):
    """The draw, in [0, 1), of a unit that chance kept, and the probability that it was below."""

    draw: float
    p: float

    @property
    def rank(self) -> float:
        """Its place in the order of eviction, in [0, 1): the highest goes first."""
        return self.draw / self.p


class Worth(NamedTuple):
    """`value` is None where nothing was judged: mission and age alone tell the place of such an episode. `chance` is
    that of its drawn unit with the lowest rank; None if there is none."""

    value: float | None = None
    chance: Chance | None = None

    def summary(self) -> dict[str, Any]:
        """As it stands in the summary of SEAL."""
        said: dict[str, Any] = {} if self.value is None else {"value": self.value}
        return said if self.chance is None else said | {"chance": self.chance._asdict()}

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> "Worth":
        """What a summary says; of what is no number nothing."""
        value, chance = summary.get("value"), summary.get("chance")
        drawn = None
        if isinstance(chance, Mapping):
            draw, p = chance.get("draw"), chance.get("p")
            if _is_number(draw) and _is_number(p) and 0 <= draw < p <= 1:
                drawn = Chance(float(draw), float(p))
        return cls(float(value) if _is_number(value) else None, drawn)


NOTHING = Worth()


class Evicted(NamedTuple):
    """Of the episodes kept by chance with ordinals from `first` to `last` none is left whose rank is `limit` or above:
    of units in those, p has fallen to `limit` times what it was, and what has a rank of `limit` or above is no longer
    in the sample, even where it was delivered before."""

    limit: float
    first: int
    last: int

    @property
    def why(self) -> str:
        """The reason of DISCARDED."""
        return f"evicted: by chance, draw/p {self.limit!r}, of ordinals {self.first} to {self.last}"

    @classmethod
    def of(cls, why: str) -> "Evicted | None":
        """What a reason tells; None of one that tells of no such eviction.

        >>> Evicted.of(Evicted(0.25, 3, 9).why)
        Evicted(limit=0.25, first=3, last=9)
        >>> Evicted.of("evicted") is None
        True
        """
        found = _WHY.fullmatch(why)
        if found is None:
            return None
        limit, first, last = float(found[1]), int(found[2]), int(found[3])
        return cls(limit, first, last) if 0 <= limit < 1 else None


def p_left(chance: Chance, ordinal: int, evictions: Iterable[Evicted]) -> float:
    """What p of a drawn unit in the episode `ordinal` has fallen to; 0 if it is no longer in the sample.

    >>> p_left(Chance(0.01, 0.1), 5, [Evicted(0.5, 0, 9), Evicted(0.05, 6, 9)])
    0.05
    >>> p_left(Chance(0.06, 0.1), 5, [Evicted(0.5, 0, 9)])
    0.0
    """
    limit = min((each.limit for each in evictions if each.first <= ordinal <= each.last), default=1.0)
    return chance.p * limit if chance.rank < limit else 0.0


_WHY = re.compile(r"evicted: by chance, draw/p ([0-9.e-]+), of ordinals ([0-9]+) to ([0-9]+)")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
