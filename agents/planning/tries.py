"""Tries: what was asked for and never came, which counts less at each time."""

from collections.abc import Iterable

from sensorium.agents.planning.notebook import ProposalFate

_NOBODYS = frozenset({"silent", "expired", "gone"})
"""Where a device was not there to do it no place is to blame."""


class Tries:
    """Of all that is proposed one is tried, and only that is to blame where no episode came of it.

    >>> tries = Tries()
    >>> tries.proposed(["a", "b"]), tries.over("a"), tries.factor("a"), tries.factor("b")
    (None, None, 0.5, 1.0)
    >>> tries.proposed(["a", "b"]), tries.came("a"), tries.over("a"), tries.factor("a")
    (None, None, None, 1.0)
    """

    def __init__(self) -> None:
        self._blame: dict[str, int] = {}
        self._came: set[str] = set()

    def proposed(self, places: Iterable[str]) -> None:
        """What came there before does not count any more."""
        self._came.difference_update(places)

    def came(self, place: str) -> None:
        """An episode was there."""
        self._came.add(place)
        self._blame.pop(place, None)

    def over(self, place: str, fate: ProposalFate | None = None) -> None:
        """A proposal to go there was carried out, or refused."""
        if place not in self._came and (fate is None or fate.became not in _NOBODYS):
            self._blame[place] = self._blame.get(place, 0) + 1

    def factor(self, place: str) -> float:
        """What an expectation there is to be multiplied with."""
        return 1 / (1 + self._blame.get(place, 0))
