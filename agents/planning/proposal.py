"""A proposal: what a planner would have a device do next, what it expects of it, and what that costs."""

import math
from collections.abc import Mapping

import msgspec

from sensorium.drivers.controls import PlanKind, Value


class Proposal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One plan for one device, or, where `device` is empty, for whichever can.

    `parameters` are by control (`x_m`, `exposure_s`); of `mission` its `name`, of `duration` its `seconds`. `gain` is
    how many new weighted cells its planner expects, `cost_s` in how many seconds of the device's time, `cost_bytes` in
    how many bytes; all finite, no cost below 0. `id` is its adjudicator's, empty before.
    """

    plan: PlanKind
    planner: str
    parameters: Mapping[str, Value] = {}
    device: str = ""
    gain: float = 0.0
    cost_s: float = 0.0
    cost_bytes: float = 0.0
    rationale: str = ""
    id: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether its numbers are such that it can be compared with others."""
        numbers = (self.gain, self.cost_s, self.cost_bytes)
        values = (value for value in self.parameters.values() if not isinstance(value, str))
        return all(map(math.isfinite, (*numbers, *values))) and min(numbers[1:]) >= 0
