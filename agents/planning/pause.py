"""A pause between rounds of planning: who has nothing to do is not asked again at once."""

_LONGEST_S = 60.0


class Pause:
    """Where a round brought nothing that is carried out, the next is later: after a second, two, four, up to a minute.

    >>> pause = Pause()
    >>> pause.began(0.0, False), pause.is_over(0.5), pause.is_over(1.0)
    (None, False, True)
    >>> pause.began(1.0, False), pause.is_over(2.5), pause.is_over(3.0)
    (None, False, True)
    """

    def __init__(self) -> None:
        self._until_s, self._length_s = 0.0, 0.0

    def began(self, now_s: float, accepted: bool) -> None:
        """A round was made."""
        self._length_s = 0.0 if accepted else min(_LONGEST_S, max(1.0, 2 * self._length_s))
        self._until_s = now_s + self._length_s

    def is_over(self, now_s: float) -> bool:
        """Whether another may be."""
        return now_s >= self._until_s

    def over(self) -> None:
        """Something is new: it need not be waited for."""
        self._until_s = self._length_s = 0.0
