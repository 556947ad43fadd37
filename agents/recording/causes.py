"""Causes: from which stamp on episodes come to be by which proposal, and what they came to."""

from bisect import bisect_right
from collections import deque

from sensorium.agents.triggers.trigger import Trigger

_FAR_NS = 1 << 62
_MOST = 256


class Causes:
    """By epoch and stamp, in order; where nothing was said there is no cause. One may be `on_the_way` to where it
    leads, which triggers do not take for its time. `paid` is bytes by proposal, of episodes that were sealed since they
    were last taken."""

    def __init__(self) -> None:
        self._said: list[tuple[int, int, str, bool]] = []
        self.paid: deque[tuple[str, int]] = deque(maxlen=_MOST)

    def put(self, epoch: int, at_ns: int, proposal: str, on_the_way: bool = False) -> None:
        """From here on it is this one; what was said of later is taken back."""
        self._said = [each for each in self._said if each[:2] < (epoch, at_ns)][-_MOST:]
        self._said.append((epoch, at_ns, proposal, on_the_way))

    def of(self, epoch: int, at_ns: int) -> str:
        """What was the cause at a stamp; empty where nothing was."""
        place = self._place(epoch, at_ns)
        return self._said[place - 1][2] if place else ""

    def around(self, epoch: int, at_ns: int) -> tuple[int, int]:
        """The stamps of this epoch between which the cause at a stamp is the same."""
        place = self._place(epoch, at_ns)
        before, behind = self._said[:place][-1:], self._said[place : place + 1]
        return (
            before[0][1] if before and before[0][0] == epoch else -_FAR_NS,
            behind[0][1] if behind and behind[0][0] == epoch else _FAR_NS,
        )

    def tell(self, epoch: int, trigger: Trigger) -> None:
        """Tell a trigger that takes over all that was said of an epoch, in order; on the way none is for it."""
        for of, at_ns, proposal, on_the_way in self._said:
            if of == epoch:
                trigger.cause(at_ns, "" if on_the_way else proposal)

    def now(self) -> str:
        """What is the cause by what was said last."""
        return self._said[-1][2] if self._said else ""

    def sealed(self, proposal: str, nbytes: int) -> None:
        """An episode was sealed."""
        if proposal:
            self.paid.append((proposal, nbytes))

    def _place(self, epoch: int, at_ns: int) -> int:
        return bisect_right(self._said, (epoch, at_ns), key=lambda each: each[:2])
