"""Tries: what was asked for and never came, which counts less at each time."""

from collections.abc import Iterable


class Tries:
    """Of a round's places either one came, and the others were not tried; or none did, and each is to blame in part.

    >>> tries = Tries()
    >>> tries.asked(["a"]), tries.next_round(), tries.factor("a"), tries.factor("b")
    (None, None, 0.5, 1.0)
    >>> tries.asked(["a", "b"]), tries.came("b"), tries.next_round(), tries.factor("a"), tries.factor("b")
    (None, None, None, 0.5, 1.0)
    """

    def __init__(self) -> None:
        self._blame: dict[str, float] = {}
        self._asked: dict[str, None] = {}
        self._one_came = False

    def asked(self, places: Iterable[str]) -> None:
        """These are proposed in this round."""
        self._asked |= dict.fromkeys(places)

    def came(self, place: str) -> None:
        """An episode was there."""
        self._one_came = self._one_came or place in self._asked
        self._blame.pop(place, None)

    def next_round(self) -> None:
        """What was asked in the last one is over."""
        if self._asked and not self._one_came:
            for place in self._asked:
                self._blame[place] = self._blame.get(place, 0.0) + 1 / len(self._asked)
        self._asked, self._one_came = {}, False

    def factor(self, place: str) -> float:
        """What an expectation there is to be multiplied with."""
        return 1 / (1 + self._blame.get(place, 0.0))
