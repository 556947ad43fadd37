"""Agreement: how far what was scored again is what the device found, unit by unit."""

from collections.abc import Sequence
from typing import NamedTuple

from sensorium.agents.selection.logs import TracedLog
from sensorium.corpus.traces import TracedUnit
from sensorium.episode.unit import Judged


class Agreement(NamedTuple):
    """Of `units` that both have: how many looks are the same bit for bit, how many scores are, and the most that a
    score differs by, in parts of the larger; and of how many it was decided alike."""

    units: int
    looks: int
    scores: int
    off: float
    decided: int

    def __str__(self) -> str:
        return (
            f"agreement with what was traced, of {self.units} units: looks {self.looks}, scores {self.scores}"
            f" (the others within {self.off:.2%}), decisions {self.decided}"
        )


def agreement(again: Sequence[TracedLog], logged: Sequence[TracedLog]) -> Agreement:
    """Compare units that begin and end at the same time in both."""
    traced = {_place(unit): unit.judged for log in logged for unit in log.traced}
    pairs = [
        (unit.judged, before)
        for log in again
        for unit in log.traced
        if (before := traced.get(_place(unit))) is not None
    ]
    off = [_off(one, other) for one, other in pairs]
    return Agreement(
        len(pairs),
        sum(one.looks == other.looks for one, other in pairs),
        sum(each == 0 for each in off),
        max(off, default=0.0),
        sum(one.decision.kept == other.decision.kept for one, other in pairs),
    )


def _place(unit: TracedUnit) -> tuple[str, str, str, int, int]:
    return unit.device, unit.spool_id, unit.judged.unit.boot, unit.start_ns, unit.end_ns


def _off(one: Judged, other: Judged) -> float:
    """The most that a score differs by, as a part of the larger; 1 where one lacks it."""
    found = 0.0
    for name in one.unit.scores.keys() | other.unit.scores.keys():
        a, b = one.unit.scores.get(name), other.unit.scores.get(name)
        if a is None or b is None:
            return 1.0
        if a != b:
            found = max(found, abs(a - b) / max(abs(a), abs(b)))
    return found
