"""The suite of the policy contract passes the built-in one, and fails those that do not keep it."""

from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.errors import HypothesisException
from my_sensors.patrol import Patrol, PatrolPolicy

from sensorium.agents.selection.chooser import Chooser
from sensorium.agents.selection.contract import Policy
from sensorium.agents.selection.policy import PolicyConfig, SelectionBudget, SelectionPolicy
from sensorium.agents.selection.selector import Selector
from sensorium.agents.selection.testing import PolicyTests
from sensorium.episode.unit import Decision, Unit
from sensorium.errors import ConfigError


class Novelty(PolicyConfig):
    """The built-in one, as if it were another's."""

    kind: str = "novelty"

    def open(self, policy: SelectionPolicy, spool_id: str, state: bytes | None) -> Policy:
        return Selector(policy, spool_id, state)


class TestNovelty(PolicyTests):
    def config(self) -> Novelty:
        return Novelty()

    def policy(self, budget: SelectionBudget, seed: int = 0) -> SelectionPolicy:
        return SelectionPolicy(
            budget=budget, seed=seed, decided_by=Novelty(), pre_roll_s=2.0, post_roll_s=2.0, always=("cam.noise = 1",)
        )


class Broken(Patrol):
    """A patrol that keeps one promise less."""

    broken: str = ""

    def open(self, policy: SelectionPolicy, spool_id: str, state: bytes | None) -> PatrolPolicy:
        return BrokenPolicy(self, policy, spool_id, state)


class BrokenPolicy(PatrolPolicy):
    def __init__(self, config: Broken, policy: SelectionPolicy, spool_id: str, state: bytes | None) -> None:
        self._broken = config.broken
        super().__init__(config, policy, spool_id, None if self._broken == "forgets" else state)

    def step(self, unit: Unit) -> list[Decision]:
        (made,) = super().step(unit)
        replace = msgspec.structs.replace
        match self._broken:
            case "spends too much":
                return [replace(made, kept=not unit.gate)]
            case "opens gates":
                return [replace(made, kept=True)]
            case "looks":
                return [replace(made, p=min(made.p + unit.novelty.get("cam", 0.0) / 10, 1.0))]
            case "drops draws":
                return [replace(made, kept=made.kept and not made.drawn)]
            case "says another":
                return [replace(made, policy="mine")]
            case "loses units":
                return [made] if unit.start_ns % 3 else []
        return [made]


class Suite(PolicyTests):
    """Not collected as such; driven below."""

    broken = ""

    def config(self) -> Broken:
        return Broken(broken=self.broken)


ONCE, CEILING = "every_unit_is_decided_of_once_in_order", "the_ceiling_is_never_overrun_beyond_its_burst"
RESTART, CHANCE = "a_restart_at_any_point_changes_nothing", "chance_knows_nothing_of_what_a_unit_shows"


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        ("spends too much", CEILING),
        ("opens gates", ONCE),
        ("forgets", RESTART),
        ("looks", CHANCE),
        ("drops draws", ONCE),
        ("says another", ONCE),
        ("loses units", ONCE),
    ],
)
def test_who_breaks_a_promise_is_found(broken: str, test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    suite: Any = Suite()
    suite.broken = broken
    told = getattr(PolicyTests, f"test_{test}")
    name = "_hypothesis_internal_use_settings"  # nobody reads the failure: it need not be made small
    monkeypatch.setattr(told, name, settings(getattr(told, name), phases=[Phase.generate], database=None))
    with pytest.raises((AssertionError, HypothesisException, ExceptionGroup)):
        getattr(suite, f"test_{test}")()


def test_who_keeps_them_passes() -> None:
    suite: Any = Suite()
    for test in (ONCE, CEILING, RESTART, CHANCE):
        getattr(suite, f"test_{test}")()


def test_a_policy_that_does_not_exist_is_one_line() -> None:
    budget: Any = {"share": 0.05}
    with pytest.raises((ConfigError, ValueError), match="unknown kind 'no-such'"):
        SelectionPolicy.model_validate({"budget": budget, "decided_by": {"kind": "no-such"}})


def test_a_chooser_decides_by_it_and_finds_one_that_decides_of_another_unit() -> None:
    rule = SelectionPolicy(budget=SelectionBudget(share=1.0, floor=0), decided_by=Patrol(every_s=2))
    chooser = Chooser(rule, "spool")
    units = [Unit(start_ns=n * 10**9, end_ns=(n + 1) * 10**9) for n in range(4)]
    found = [each for unit in units for each in chooser.step(unit, {})]
    assert [each.decision.reason for each in found] == ["patrol", "dull", "patrol", "dull"]
    other = Chooser(
        SelectionPolicy(budget=SelectionBudget(share=1.0), decided_by=Broken(broken="loses units")), "spool"
    )
    other.step(units[0], {})
    with pytest.raises(ValueError, match="decided of 1000000000 ns where 0 ns was next"):
        other.step(units[1], {})
