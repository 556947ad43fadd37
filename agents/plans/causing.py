"""Causing: which of the plans in force is the cause of what is recorded; also of what is on the way to its place."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sensorium.drivers.controls import PlanKind

PHASE, ON_THE_WAY, AT_PLACE = "phase", "on_the_way", "at_place"
"""What its note says of a plan that moves its source: since it was begun, and since it took effect."""
MOVING: tuple[PlanKind, ...] = ("viewpoint", "measure")
"""The plans that lead somewhere; what others change is changed within a picture or two, and has no way."""


class Effect(NamedTuple):
    """From `at_ns` of the captured time on (to `until_ns`) episodes come to be by this proposal; `value` is what their
    note says. Empty: by none."""

    proposal: str
    at_ns: int
    until_ns: int | None = None
    value: Mapping[str, Any] | None = None

    @property
    def is_on_the_way(self) -> bool:
        """Whether its source has not come yet to where the plan leads."""
        return self.value is not None and self.value.get(PHASE) == ON_THE_WAY

    @property
    def sensor(self) -> str:
        """Whose plan it is; empty: one of the device as a whole."""
        return "" if self.value is None else str(self.value.get("sensor") or "")


class Causing:
    """The plans that are in force, in the order in which they were begun, or took effect: the last is the cause. Of one
    sensor there is one.

    >>> causing = Causing()
    >>> hall, door = Effect("hall", 10), Effect("door", 20, 30)
    >>> causing.put(hall).proposal, causing.put(door).proposal
    ('hall', 'door')
    >>> [(each.proposal, each.at_ns) for each in causing.over("door", 25)], causing.over("door", 26)
    ([('hall', 25)], [])
    >>> causing.over("hall", 40)
    [Effect(proposal='', at_ns=40, until_ns=None, value=None)]
    """

    def __init__(self) -> None:
        self._held: dict[str, Effect] = {}

    def put(self, effect: Effect) -> Effect:
        """One is begun, or has taken effect."""
        sensor = effect.sensor
        left = {name: each for name, each in self._held.items() if not sensor or each.sensor != sensor}
        left.pop(effect.proposal, None)
        self._held = left | {effect.proposal: effect}
        return effect

    def over(self, proposal: str, at_ns: int) -> list[Effect]:
        """It is in force no more: if it was the cause, then from this stamp on that one is which was before, if one
        still holds."""
        was_last = next(reversed(self._held), "") == proposal
        gone = self._held.pop(proposal, None)
        if gone is None or not was_last:
            return []
        for effect in reversed(self._held.values()):
            if effect.until_ns is None or effect.until_ns > at_ns:
                return [effect._replace(at_ns=max(at_ns, effect.at_ns))]
        return [Effect("", at_ns)]

    def clear(self) -> bool:
        """None is in force any more; whether one was."""
        held, self._held = self._held, {}
        return bool(held)
