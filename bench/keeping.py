"""How much of what is captured is kept, at equal bytes: evenly over time, or by what selection thinks of it."""

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.chooser import Chooser
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.episode.unit import Look, Unit
from sensorium.perception.descriptor import BY
from sensorium.sim.agency.body import Captured

BURST_S, FLOOR = 60.0, 0.02
"""Chance has little: it is for those who estimate what was not kept, and nobody does here."""
ASKED = "plan.asked"


class Evenly:
    """So many bytes over so many seconds: a picture is kept whenever there is enough for it."""

    def __init__(self, all_bytes: float, all_s: float) -> None:
        self._per_ns = all_bytes / all_s / 1e9
        self._spent = 0

    def __call__(self, captured: Captured) -> bool:
        if captured.end_ns * self._per_ns - self._spent < captured.size_bytes:
            return False
        self._spent += captured.size_bytes
        return True


class Selected:
    """Selection under a ceiling of the same bytes, what it may save up among them; where there is a
    planner a rule keeps what was asked for, if the budget has it."""

    def __init__(self, all_bytes: float, all_s: float, seed: int, *, planned: bool) -> None:
        budget = SelectionBudget(bytes_per_s=all_bytes / (all_s + BURST_S), burst_s=BURST_S, floor=FLOOR)
        always = (f"{ASKED} > 0",) if planned else ()
        self._chooser = Chooser(SelectionPolicy(unit="frame", always=always, budget=budget, seed=seed), "bench")

    def __call__(self, captured: Captured) -> bool:
        unit = Unit(
            start_ns=captured.start_ns,
            end_ns=captured.end_ns,
            scores={ASKED: float(captured.asked)},
            estimate_bytes=captured.size_bytes,
        )
        [judged] = self._chooser.step(unit, {"left": Look(by=BY, vector=captured.look)})
        return judged.decision.kept
