"""The contract of a selection policy: units in, decisions out; what is not in a unit it must not know."""

from collections.abc import Sequence
from typing import Protocol

from sensorium.episode.unit import Decision, Unit

GROUP = "sensorium.policies"


class Policy(Protocol):
    """Decides of one unit after the other, in the order of their time; a new `boot`, or a start before the last end, is
    another time. It has no clock and no chance but `draw`: the same units give the same decisions, on a device and in
    every replay, and `state` is all that a restart needs.

    `step` returns the decisions that are final by then, in the order of the units, each unit's once; `waiting` are the
    others, as they are now, and `finish` makes them final. What is kept must fit the budget: what `Purse` affords, it
    spends. A unit with a `gate` is never kept. `p` is fixed before `draw` is looked at, by nothing that the unit shows
    but its gate and what it costs: 0 where it cannot be drawn. Where it is above, `drawn` is `draw < p`, and what is
    drawn is kept. `reason` is one of those that `Decision` names, or a word of its own.
    """

    @property
    def state(self) -> bytes: ...

    @property
    def waiting(self) -> Sequence[Decision]: ...

    def step(self, unit: Unit) -> list[Decision]: ...

    def finish(self) -> list[Decision]: ...
