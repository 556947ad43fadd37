"""Claims: why episodes that wait here were kept as new, to be asked again what the fleet has by then.

An episode is judged when it is sealed, before it is offered, and whenever more is known of the fleet: where each unit
that was kept for its novelty would be dull by now, it stays here as `held`. What a rule or chance has kept is delivered
whatever the fleet has, and so is what has no such unit.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sensorium.episode.unit import Decision, Judged, Look

MOST = 4096
"""Of so many episodes it is remembered; those before are delivered."""


@dataclass(frozen=True, slots=True)
class NoveltyClaim:
    """That a unit is new: it is dull where its `look` has no more novelty to the fleet than `dull_at`. Without a look
    nothing makes it dull."""

    start_ns: int
    dull_at: float
    look: Look | None


def claim_of(judged: Judged) -> NoveltyClaim | None:
    """What a kept unit claims; None of one that is there for its neighbours.

    The score falls with the novelty, and by more than in proportion: what is dull by this is dull.
    """
    decision = judged.decision
    if decision.drawn or decision.reason not in ("novelty", "roll"):
        return NoveltyClaim(decision.start_ns, -1.0, None)
    if decision.reason == "roll":
        return None
    look, novelty = judged.looks.get(decision.by), judged.unit.novelty.get(decision.by, 0.0)
    return NoveltyClaim(decision.start_ns, novelty * _part(decision), look)


def _part(decision: Decision) -> float:
    """Of its score that which would have been the threshold."""
    return min(1.0, decision.threshold / decision.score) if decision.score > 0 else 0.0


class FleetClaims:
    """Those of episodes that wait. From any thread. `novelty` is that of a look to what the fleet has, if known."""

    def __init__(self, novelty: Callable[[Look], float | None]) -> None:
        self._novelty = novelty
        self._guard = threading.Lock()
        self._claims: dict[UUID, tuple[NoveltyClaim, ...]] = {}

    def sealed(self, episode: UUID, claims: Sequence[NoveltyClaim]) -> bool:
        """An episode is whole: whether the fleet has what it claims; if not, it is asked again."""
        mine = tuple(claims)
        if not mine or any(each.look is None for each in mine):
            return False
        if self._is_had(mine):
            return True
        with self._guard:
            self._claims[episode] = mine
            if len(self._claims) > MOST:
                del self._claims[next(iter(self._claims))]
        return False

    def had(self) -> list[UUID]:
        """The episodes whose claims the fleet has by now; they are not asked again."""
        with self._guard:
            claims = dict(self._claims)
        found = [episode for episode, mine in claims.items() if self._is_had(mine)]
        self.forget(found)
        return found

    def forget(self, episodes: Sequence[UUID]) -> None:
        """These need not be asked again."""
        with self._guard:
            for episode in episodes:
                self._claims.pop(episode, None)

    def _is_had(self, claims: Sequence[NoveltyClaim]) -> bool:
        for each in claims:
            novelty = None if each.look is None else self._novelty(each.look)
            if novelty is None or novelty > each.dull_at:
                return False
        return True
