"""The suite of the policy contract passes the built-in one, and fails those that do not keep it."""

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.errors import HypothesisException
from my_sensors.patrol import Patrol
from my_sensors.patrolling import PatrolPolicy

from sensorium.agents.selection import chooser as chooser_module
from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.chooser import Chooser, decider
from sensorium.agents.selection.contract import Policy
from sensorium.agents.selection.policy import PolicyConfig, SelectionPolicy
from sensorium.agents.selection.replay import SpoolLog, decided_again, differing
from sensorium.agents.selection.selector import Selector
from sensorium.agents.selection.testing import PolicyTests
from sensorium.episode.unit import Decision, Look, Unit
from sensorium.errors import ConfigError, Corrupt, SensoriumError
from tests.agents.selecting import Device, balanced, config, walk


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


RELEASED = threading.Event()
"""What hangs goes on."""


class BrokenPolicy(PatrolPolicy):
    def __init__(self, config: Broken, policy: SelectionPolicy, spool_id: str, state: bytes | None) -> None:
        self._broken = config.broken
        super().__init__(config.every_s, policy, spool_id, None if self._broken == "forgets" else state)

        if self._broken == "does not open":
            raise RuntimeError("not today")
        self._steps = 0

    @property
    def state(self) -> bytes:
        if self._broken == "has no state":
            raise RuntimeError("none")
        return super().state

    def finish(self) -> list[Decision]:
        if self._broken == "never ends" and self._steps:
            raise RuntimeError("no end")
        return []

    def step(self, unit: Unit) -> list[Decision]:
        (made,) = super().step(unit)
        self._steps += 1
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
            case "hangs" if self._steps > 70:
                RELEASED.wait(30)
            case "raises" if self._steps > 70:
                raise ZeroDivisionError("by nothing")
            case "never ends" if self._steps > 145:
                self.waiting = (*self.waiting, made)
                return []
            case "says of another time":
                return [replace(made, start_ns=made.start_ns + 1)]
            case "loses units":
                return [made] if unit.start_ns % 3 else []
        return [made]


class Suite(PolicyTests):
    """Not collected as such; driven below."""

    broken = ""

    def config(self) -> Broken:
        return Broken(broken=self.broken)


MANY: Any = {"phases": [Phase.generate], "database": None, "derandomize": True, "max_examples": 200}
"""The first failure ends it, and who reads it here has no use for chance."""
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
    # nobody reads the failure: it need not be made small, but be found, however rare
    name = "_hypothesis_internal_use_settings"
    monkeypatch.setattr(told, name, settings(getattr(told, name), **MANY))
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
    for broken, words in (
        ("says of another time", "decided of 1 ns where 0 ns was next"),
        ("loses units", "of 1 units 0 are final and 0 wait"),
    ):
        other = Chooser(SelectionPolicy(budget=SelectionBudget(share=1.0), decided_by=Broken(broken=broken)), "spool")
        with pytest.raises(ValueError, match=words):
            other.step(units[0], {})


@pytest.mark.parametrize(
    "broken", ["raises", "hangs", "says of another time", "loses units", "opens gates", "never ends"]
)
def test_where_one_breaks_the_built_in_one_decides_from_an_empty_purse(
    broken: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each unit once, within the ceiling, in one line, and again alike from what was logged."""
    RELEASED.clear()
    if broken == "hangs":
        monkeypatch.setattr(chooser_module, "WITHIN_S", 0.5)
    rule = SelectionPolicy(budget=SelectionBudget(share=0.2), decided_by=Broken(broken=broken, every_s=2))
    chooser = Chooser(rule, "spool", contained=True)
    units = [
        Unit(start_ns=n * 10**9 + 3, end_ns=(n + 1) * 10**9 + 3, gate="noise" if n % 50 == 9 else "", scores={"a.b": n})
        for n in range(150)
    ]
    seen = {n: {"cam": Look(by="m", vector=bytes([n % 100 + 1, 100 - n % 100, n % 7, 1]))} for n in range(150)}
    found = [each for n, unit in enumerate(units) for each in chooser.step(unit, seen[n])] + chooser.finish()
    assert [each.unit.start_ns for each in found] == [unit.start_ns for unit in units]
    assert {each.decision.policy for each in found} >= {rule.built_in.version}
    assert not any(each.decision.kept for each in found if each.unit.gate)
    most = 0.0
    for each in found:
        most = max(most - 0.2, 0.0) + each.decision.kept
        assert most <= 0.2 * 60 + 1e-9
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 1
    assert "selection: policy 'patrol' failed at" in caplog.text
    log = SpoolLog("spool", found, {each.version: each for each in (rule, rule.built_in)})
    if broken != "never ends":  # what waited to be kept was known already
        assert differing(log, decided_again(log)) == []
    RELEASED.set()


def test_replayed_it_is_one_line_with_its_name() -> None:
    """Where nothing stands in for it: an answer of another policy would be taken for its."""
    rule = SelectionPolicy(budget=SelectionBudget(share=0.2))
    chooser = Chooser(rule, "spool")
    units = [Unit(start_ns=n * 10**9, end_ns=(n + 1) * 10**9) for n in range(150)]
    logged = [each for unit in units for each in chooser.step(unit, {})] + chooser.finish()
    other = SelectionPolicy(budget=SelectionBudget(share=0.2), decided_by=Broken(broken="raises", every_s=2))
    with pytest.raises(SensoriumError, match=r"^policy 'patrol' raised .*; mend it, or leave it out$"):
        decided_again(SpoolLog("spool", logged, {rule.version: rule}), other)


def test_a_device_whose_policy_raises_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wanted = config(share=0.2, decided_by=Broken(broken="raises", every_s=2))
    device = Device(tmp_path, wanted).feed(walk(110)).stop()
    assert len(device.judged) == 110
    assert {each.decision.policy for each in device.judged} == {wanted.policy.version, wanted.policy.built_in.version}
    left_out = sum(balanced(device, lambda _: 550)["cam"].values())
    assert left_out == 550 - 5 * len(device.kept()) < 550
    assert caplog.text.count("policy 'patrol' failed") == 1


def test_after_a_restart_it_has_its_place_again_and_what_was_known_is(caplog: pytest.LogCaptureFixture) -> None:
    """And of one of another kind what is known is taken, but not its purse."""
    rule = SelectionPolicy(budget=SelectionBudget(share=1.0, floor=0), decided_by=Broken(broken="raises"))
    look = {"cam": Look(by="m", vector=bytes([1, 2, 3, 4]))}
    chooser = Chooser(rule, "spool", contained=True)
    first = [each for n in range(150) for each in chooser.step(Unit(start_ns=n, end_ns=n + 10**9, boot=str(n)), look)]
    assert first[0].decision.kept
    again = Chooser(rule, "spool", chooser.state, contained=True)
    (made,) = again.step(Unit(start_ns=1, end_ns=10**9, boot="b"), look)
    assert made.decision.policy == rule.version
    assert made.unit.novelty["cam"] < 1e-6
    built_in = Chooser(rule.built_in, "spool", again.state)
    (made,) = built_in.step(Unit(start_ns=2, end_ns=3, boot="c", scores={}), look)
    assert not made.decision.kept
    assert made.unit.novelty["cam"] < 1e-6


def test_one_without_a_state_costs_its_state_and_one_line(caplog: pytest.LogCaptureFixture) -> None:
    rule = SelectionPolicy(budget=SelectionBudget(share=1.0), decided_by=Broken(broken="has no state"))
    chooser = Chooser(rule, "spool", contained=True)
    chooser.step(Unit(start_ns=0, end_ns=1), {"cam": Look(by="m", vector=bytes([1, 2, 3, 4]))})
    assert Chooser(rule, "spool", chooser.state).state
    assert "policy 'patrol' has no state: " in caplog.text


def test_one_that_cannot_be_opened_is_one_line() -> None:
    rule = SelectionPolicy(budget=SelectionBudget(share=1.0), decided_by=Broken(broken="does not open"))
    with pytest.raises(ConfigError, match=r"policy 'patrol' cannot be opened: .*not today"):
        Chooser(rule, "spool", contained=True)
    with pytest.raises(Corrupt, match="state of the policy 'patrol'"):
        decider(rule, "spool", b"b\n0\n0")
