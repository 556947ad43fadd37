"""The planner contract: cards in, proposals out.

A planner sees cards and nothing else, and may be anybody's code: whoever hosts it bounds its time, checks what it
proposes, and sets it aside when it raises. It decides nothing: an adjudicator under a charter does.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.plans.area import PlanArea
from sensorium.drivers.controls import Control, PlanKind

PATIENCE_S = 60.0


class Planner(Protocol):
    """One planner, from one thread. The same cards in the same order, and the same seed, give the same proposals."""

    def ingest(self, card: EpisodeCard) -> None:
        """One more episode is known. A card of an episode that is known already replaces it."""
        ...

    def suggest(self, n: int) -> list[Proposal]:
        """Up to `n` proposals, the best first; none where it has nothing to say."""
        ...

    def report(self) -> dict[str, Any]:
        """What it knows and has spent (tokens, seconds), as JSON can say it."""
        ...


class Reach(BaseModel):
    """What can be asked of one device: its controls, as it states them, within what its charter allows; of
    places, what `areas` allow. `whole` has the plans of the device as a whole (mission, duration, stop), each with its
    parameters; a name without choices may be any."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    device: str
    controls: tuple[Control, ...] = ()
    areas: tuple[PlanArea, ...] = ()
    whole: Mapping[PlanKind, tuple[Control, ...]] = {}


class PlannerConfig(BaseModel):
    """What is set of a planner, told apart by `kind`: the name of its entry point in `sensorium.planners`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    @property
    def patience_s(self) -> float:
        """For how long who hosts it waits for one answer, before it is set aside."""
        return PATIENCE_S

    def make(self, reaches: Sequence[Reach], seed: int) -> Planner:
        """A planner over what can be asked of these devices.

        Raises:
            ConfigError: something that it needs is absent: what, and how to install it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to make its planner")
