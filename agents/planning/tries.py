"""Tries: what was asked for and never came, which counts less at each time."""

from collections.abc import Collection

from sensorium.agents.planning.notebook import ProposalFate

NOBODYS = frozenset({"silent", "expired", "gone"})
"""Where a device was not there to do it no place is to blame, and no planner."""
_REFUSED = "refused"


class Tries:
    """Of all that is proposed one is tried, and that is to blame where no episode came of it. A whole round that is
    refused is to blame as much as one that is tried: what is refused now may be allowed from elsewhere, and yet the
    same must not be proposed for ever.

    >>> tries = Tries()
    >>> tries.proposed(["a", "b"]), tries.over("a"), tries.factor("a"), tries.factor("b")
    (None, None, 0.5, 1.0)
    >>> tries.proposed(["a", "b"]), tries.came("a"), tries.over("a"), tries.factor("a")
    (None, None, None, 1.0)
    >>> fate = ProposalFate(proposal=Proposal(plan="viewpoint", planner="gap"), became="refused")
    >>> tries.proposed(["c", "d"]), tries.over("c", fate), round(tries.factor("c"), 3), tries.factor("d")
    (None, None, 0.667, 1.0)
    """

    def __init__(self) -> None:
        self._blame: dict[str, float] = {}
        self._shares: dict[str, float] = {}
        self._came: set[str] = set()

    def proposed(self, places: Collection[str]) -> None:
        """What came there before does not count any more."""
        self._came.difference_update(places)
        self._shares |= dict.fromkeys(places, 1 / max(1, len(places)))

    def came(self, place: str) -> None:
        """An episode was there."""
        self._came.add(place)
        self._blame.pop(place, None)

    def over(self, place: str, fate: ProposalFate | None = None) -> None:
        """A proposal to go there was carried out, or refused."""
        if place in self._came or (fate is not None and fate.became in NOBODYS):
            return
        part = self._shares.get(place, 1.0) if fate is not None and fate.became == _REFUSED else 1.0
        self._blame[place] = self._blame.get(place, 0.0) + part

    def factor(self, place: str) -> float:
        """What an expectation there is to be multiplied with."""
        return 1 / (1 + self._blame.get(place, 0))
