"""Rules over devices as they said they are: whatever is proposed, only what the charter allows comes through."""

import math
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.charter import Charter
from sensorium.agents.planning.adjudicator import Adjudicator
from sensorium.agents.planning.gain import Price
from sensorium.agents.planning.log import PlanAsked
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.rules import PlanRules
from sensorium.agents.plans.limits import AWAITS
from sensorium.agents.plans.spent import PlanCost
from sensorium.corpus.device_report import DeviceReport
from sensorium.drivers.controls import Control

BASE = (
    Control(name="x_m", plan="viewpoint", unit="m", low=-5, high=5, cell=1, cost_s_per_unit=1),
    Control(name="y_m", plan="viewpoint", unit="m", low=-5, high=5, cell=1),
    Control(name="mode", plan="rate", choices=("slow", "fast")),
)
ARM = (Control(name="x_m", plan="measure", unit="m", low=0, high=1, cell=0.1),)
LIMITS: dict[str, Any] = {
    "allow": ["viewpoint", "measure"],
    "controls": {"x_m": {"at_least": -2, "at_most": 2}},
    "areas": [{"of": ["x_m", "y_m"], "box": [[-1, 1], [0, 1]], "forbidden": True}],
    "per_hour": {"plans": 5},
}


def report(device: str = "rover", age_s: float = 0.0, **sensors: tuple[Control, ...]) -> DeviceReport:
    controls = {name: msgspec.to_builtins(each) for name, each in (sensors or {"base": BASE}).items()}
    heard_ns = time.time_ns() - round(age_s * 1e9)
    state = {"state": "collecting", "plans": {"controls": controls, "where": {"base.x_m": 0.0}}}
    return DeviceReport(device=device, heard_ns=heard_ns, state=state)


def rules_of(*reports: DeviceReport, **limits: Any) -> PlanRules:
    charter = Charter.model_validate({"plans": {**LIMITS, **limits}, "kill": "/nowhere/KILL"})
    rules = PlanRules(charter, seconds=5.0)
    rules.heard(reports or [report()])
    return rules


def to(x_m: Any, y_m: Any, **more: Any) -> Proposal:
    said: dict[str, Any] = {"plan": "viewpoint", "planner": "gap", "device": "rover"}
    return Proposal(parameters={"x_m": x_m, "y_m": y_m}, **{**said, **more})


_values = st.floats() | st.text(max_size=5) | st.sampled_from([2.0, math.nextafter(2, 3), -2.0, 0.0, 1.0, 5.0, 1e308])
_names = st.sampled_from(["x_m", "y_m", "base.x_m", "arm.x_m", "mode", "name", "seconds", ""]) | st.text(max_size=6)
hostile = st.builds(
    Proposal,
    plan=st.sampled_from(["viewpoint", "measure", "rate", "stop", "mission", "duration", "roi"]),
    planner=st.text(max_size=10),
    parameters=st.dictionaries(_names, _values, max_size=4),
    device=st.sampled_from(["rover", "", "nobody"]) | st.text(max_size=5),
    gain=st.floats(0, 1e6),
    cost_s=st.floats(0, 1e6),
    cost_bytes=st.floats(),
    id=st.text(max_size=5),
)


@given(proposals=st.lists(hostile | st.builds(to, st.floats(-6, 6), st.floats(-6, 6)), max_size=8))
def test_whatever_is_proposed_only_what_is_allowed_is_accepted(proposals: list[Proposal]) -> None:
    rules = rules_of()
    judge = Adjudicator((), rules.refuses, Price())
    placed = [rules.placed(each, frozenset()) for each in proposals]
    for each in judge.decide({"a": [msgspec.structs.replace(p, planner="a") for p in placed if p.is_sound]}, n=9):
        if each.ruling != "accepted":
            assert each.rule
            continue
        said = {name.rpartition(".")[2]: value for name, value in each.proposal.parameters.items()}
        assert (each.proposal.device, each.proposal.plan) == ("rover", "viewpoint")
        assert set(said) <= {"x_m", "y_m"}
        x_m, y_m = said.get("x_m", 0.0), said.get("y_m", 0.0)
        assert isinstance(x_m, float)
        assert isinstance(y_m, float)
        assert -2 <= x_m <= 2
        assert -5 <= y_m <= 5
        assert not (-1 <= x_m <= 1 and 0 <= y_m <= 1)


def test_what_planners_may_reach_is_what_is_allowed_of_what_is_there() -> None:
    rules = rules_of(report(), report("lab", arm=ARM), report("gone", age_s=600), report("both", base=BASE, arm=ARM))
    reaches = {each.device: each for each in rules.reaches()}
    assert sorted(reaches) == ["both", "lab", "rover"]
    assert [(each.name, each.low, each.high) for each in reaches["rover"].controls] == [("x_m", -2, 2), ("y_m", -5, 5)]
    assert [each.name for each in reaches["both"].controls] == ["arm.x_m", "base.x_m", "base.y_m"]
    assert rules_of(allow=[]).reaches() == []


@pytest.mark.parametrize(
    ("proposal", "limits", "told"),
    [
        (to(9.0, 3.0), {}, "x_m"),
        (to(0.5, 0.5), {}, "is forbidden"),
        (to(1.5, 3.0, device="nobody"), {}, "reach: device 'nobody' is not there"),
        (to(1.5, 3.0, plan="stop"), {}, "charter: plans.allow: stop"),
        (to(1.5, [1]), {}, "plan: "),
        (to(1.5, 3.0), {"per_hour": {"plans": 0}}, "per_hour: plans"),
        (to(1.5, 3.0), {"hottest_c": 60}, "hottest_c"),
        (to(1.5, 3.0), {"most_s": 1}, "most_s"),
        (to(1.5, 3.0), {}, ""),
    ],
)
def test_the_rule_is_said(proposal: Proposal, limits: dict[str, Any], told: str) -> None:
    rule = rules_of(**limits).refuses(proposal)
    assert (told in rule) if told else not rule, rule


def test_what_was_asked_before_counts_until_it_is_an_hour_old() -> None:
    lines = [
        PlanAsked(proposal="p", device="rover", directive="d", cost=PlanCost(plans=5.0), utc="2026-01-01T00:00:00Z")
    ]
    charter = Charter.model_validate({"plans": LIMITS, "kill": "/nowhere/KILL"})
    at = [1_767_225_600 * 10**9 + 60 * 10**9]
    rules = PlanRules(charter, now_ns=lambda: at[0])
    said = msgspec.structs.replace(report(), heard_ns=at[0])
    rules.heard([said])
    rules.remember(lines)
    assert "5 are spent" in rules.refuses(to(1.5, 3.0))
    assert rules.refuses(to(1.5, 3.0, device="other")) != ""
    at[0] += 3600 * 10**9
    rules.heard([msgspec.structs.replace(said, heard_ns=at[0])])
    assert rules.refuses(to(1.5, 3.0)) == ""


def test_a_kill_switch_beside_the_charter_and_one_on_the_device_refuse_all(tmp_path: Path) -> None:
    charter = Charter.model_validate({"plans": LIMITS, "kill": str(tmp_path / "KILL")})
    rules = PlanRules(charter)
    rules.heard([report()])
    assert rules.refuses(to(1.5, 3.0)) == ""
    (tmp_path / "KILL").touch()
    assert "kill" in rules.refuses(to(1.5, 3.0))
    (tmp_path / "KILL").unlink()
    killed = report()
    killed.state["plans"]["killed"] = "/etc/KILL"
    rules.heard([killed])
    assert "kill: /etc/KILL" in rules.refuses(to(1.5, 3.0))


def test_approval_lifts_no_other_rule(tmp_path: Path) -> None:
    rules = rules_of(approve=["viewpoint"], approvers=["keys/ben.operator"])
    assert rules.refuses(to(1.5, 3.0)).startswith(AWAITS)
    assert rules.refuses(to(1.5, 3.0), approved=True) == ""
    assert "x_m" in rules.refuses(to(9.0, 3.0), approved=True)


def test_one_that_is_for_whichever_device_can_goes_to_one_that_is_free() -> None:
    rules = rules_of(report("a"), report("b"), report("lab", arm=ARM))
    anywhere = to(1.5, 3.0, device="")
    assert rules.placed(anywhere, frozenset()).device == "a"
    assert rules.placed(anywhere, frozenset({"a"})).device == "b"
    assert rules.placed(to(1, 2, device="", plan="roi"), frozenset()).device == "a"
    assert rules.refuses(rules.placed(Proposal(plan="viewpoint", planner="g", parameters={"z": 1.0}), frozenset()))


def test_a_report_that_says_nonsense_gives_nothing() -> None:
    for plans in ("x", {"controls": "x"}, {"controls": {"a": [{"name": 3}]}}, {"controls": {"a": 1}}, {"where": 1}):
        rules = rules_of(DeviceReport(device="rover", heard_ns=time.time_ns(), state={"plans": plans}))
        assert rules.reaches() == []
        assert rules.refuses(to(1.5, 3.0))


WHOLE = {
    "allow": ["viewpoint", "mission", "duration", "stop"],
    "controls": {"mission.name": {"one_of": ["hall", "yard"]}},
}


def allowing(*kinds: str, device: str = "rover", base: tuple[Control, ...] = BASE) -> DeviceReport:
    made = report(device, base=base)
    return msgspec.structs.replace(made, state={**made.state, "plans": {**made.state["plans"], "allowed": list(kinds)}})


def test_what_can_be_asked_of_a_device_as_a_whole_is_what_both_charters_allow() -> None:
    rules = rules_of(allowing("mission", "stop", "rate"), allowing("duration", device="still", base=()), **WHOLE)
    rover, still = rules.reaches()
    assert sorted(rover.whole) == ["mission", "stop"]
    assert rover.whole["mission"][0].choices == ("hall", "yard")
    assert (still.device, still.controls, sorted(still.whole)) == ("still", (), ["duration"])
    (silent,) = rules_of(report(), **WHOLE).reaches()
    assert silent.whole == {}, "one that does not say what it allows"
    assert rules_of(allowing("mission", base=()), allow=["viewpoint"]).reaches() == []


def test_a_plan_of_a_whole_device_for_whichever_can_goes_to_one_that_is_free() -> None:
    rules = rules_of(
        allowing("mission", device="a"), allowing("stop", device="b"), allowing("mission", device="c"), **WHOLE
    )

    def placed(plan: Any, *busy: str) -> str:
        return rules.placed(Proposal(plan=plan, planner="p", parameters={"name": "hall"}), frozenset(busy)).device

    assert (placed("mission"), placed("mission", "a"), placed("mission", "a", "c")) == ("a", "c", "a")
    assert (placed("stop"), placed("duration")) == ("b", "")


_whole_values = st.sampled_from(["hall", "yard", "hall\u200b", "attic", "", 5.0, 0.0, -1.0, 86_401.0]) | _values


@given(
    proposals=st.lists(
        st.builds(
            Proposal,
            plan=st.sampled_from(["mission", "duration", "stop"]),
            planner=st.just("a"),
            parameters=st.dictionaries(
                st.sampled_from(["name", "seconds", "x_m", "mission.name"]), _whole_values, max_size=2
            ),
            device=st.sampled_from(["rover", "", "nobody"]),
            gain=st.floats(0, 1e6),
            cost_s=st.floats(0, 1e6),
        ),
        max_size=8,
    ),
    allowed=st.sets(st.sampled_from(["mission", "duration", "stop"])),
)
def test_whatever_is_proposed_of_a_whole_device_only_what_is_allowed_is_accepted(
    proposals: list[Proposal], allowed: set[str]
) -> None:
    rules = rules_of(
        allowing("mission", "duration", "stop"), **{**WHOLE, "allow": sorted(allowed), "per_hour": {"plans": 3}}
    )
    judge = Adjudicator((), rules.refuses, Price())
    placed = [rules.placed(each, frozenset()) for each in proposals]
    for each in judge.decide({"a": [one for one in placed if one.is_sound]}, n=9):
        plan, parameters = each.proposal.plan, each.proposal.parameters
        assert each.ruling in ("accepted", "refused")
        if each.ruling == "accepted":
            assert plan in allowed
            assert each.proposal.device == "rover"
            assert sorted(parameters) == {"mission": ["name"], "duration": ["seconds"], "stop": []}[plan]
            assert parameters.get("name", "hall") in ("hall", "yard")
            assert 0 < float(parameters.get("seconds", 1.0)) <= 86_400
        else:
            assert each.rule


def test_of_several_devices_of_one_name_nothing_is_asked() -> None:
    """A plan is for one, and each of them would carry it out, and pay for it."""
    one, other = (msgspec.structs.replace(report(), spool_id=spool) for spool in ("a", "b"))
    rules = rules_of(msgspec.structs.replace(one, also=("b",), others=(other,)), report("alone"))
    assert [each.device for each in rules.reaches()] == ["alone"]
    assert rules.refuses(to(1.5, 3.0)) == (
        "reach: device 'rover': more than one device has this name (spools a, b), and each would do it;"
        " give each a key, and a name of its own"
    )
    assert rules.refuses(to(1.5, 3.0, device="alone")) == ""
    assert rules.placed(to(1.5, 3.0, device=""), frozenset()).device == "alone"
    rules.heard([one])
    assert rules.refuses(to(1.5, 3.0)) == ""
