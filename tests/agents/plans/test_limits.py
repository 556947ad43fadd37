"""Whatever is proposed, nothing outside a charter is let through: hostile, random, and at each edge."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from sensorium.agents.charter import Charter, read_charter
from sensorium.agents.plans.area import PlanArea
from sensorium.agents.plans.asked import AskedPlan
from sensorium.agents.plans.limits import AWAITS, PlanLimits, PlanState, refuses_plan
from sensorium.agents.plans.spent import PlanCost, PlanSpent
from sensorium.drivers.controls import Control
from sensorium.errors import ConfigError

PLACE = (
    Control(name="x_m", plan="viewpoint", unit="m", low=-5, high=5, cost_s_per_unit=2.0),
    Control(name="y_m", plan="viewpoint", unit="m", low=-5, high=5, cost_s_per_unit=2.0),
    Control(name="yaw_rad", plan="viewpoint", unit="rad", low=-3, high=3),
)
STAGE = (
    Control(name="x_mm", plan="measure", unit="mm", low=0, high=30, cost_s=0.1),
    Control(name="instrument", plan="measure", choices=("probe", "thermal")),
)
STATE = PlanState(
    controls={"base": PLACE, "lab": STAGE, "front": ()},
    celsius=40.0,
    free_bytes=10**10,
    privacy="redacted",
)
NOTHING = PlanSpent()
CORNERS = ((-3.0, -3.0), (3.0, -3.0), (0.0, 4.0))
LIMITS = PlanLimits.model_validate(
    {
        "allow": ["viewpoint", "measure", "mission", "duration"],
        "controls": {"lab.x_mm": {"at_least": 5, "at_most": 20}, "mission.name": {"one_of": ["hall", "yard"]}},
        "areas": [
            {"name": "yard", "of": ["x_m", "y_m"], "polygon": CORNERS},
            {"name": "shed", "of": ["x_m", "y_m"], "box": [[3, 4], [3, 4]]},
            {"name": "pond", "of": ["y_m", "x_m"], "box": [[-1, 1], [0, 1]], "forbidden": True},
        ],
        "per_hour": {"plans": 10, "seconds": 1000, "bytes": 10**6, "joules": 5000},
        "per_day": {"plans": 100, "seconds": 5000},
        "watts": 4,
        "most_s": 300,
        "hottest_c": 60,
        "least_free_bytes": 10**9,
        "privacy": "redacted",
        "approve": ["mission"],
        "approvers": ["ben.operator"],
    }
)


def body(plan: str = "viewpoint", **more: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"proposal": "p1", "plan": plan, "planner": "gap", "sensor": "base", "seconds": 10.0}
    said["parameters"] = {"x_m": -1.0, "y_m": -2.0}
    return said | more


def judged(said: object, state: PlanState = STATE, spent: PlanSpent = NOTHING, **how: bool) -> str:
    """The rule, or what is wrong with what was said."""
    try:
        return refuses_plan(LIMITS, AskedPlan.of(said), state, spent, **how)
    except ConfigError as error:
        return str(error)


def test_what_is_within_is_let_through() -> None:
    assert judged(body()) == ""
    assert judged(body(parameters={"base.x_m": -1, "base.y_m": -2}, sensor="")) == ""
    assert judged(body("measure", sensor="lab", parameters={"x_mm": 5, "instrument": "probe"})) == ""
    assert judged(body("duration", sensor="", parameters={"seconds": 300})) == ""


def test_a_person_approves_what_is_else_in_order() -> None:
    mission = body("mission", sensor="", parameters={"name": "hall"})
    assert judged(mission).startswith(AWAITS)
    assert judged(mission, approved=True) == ""
    assert "mission.name" in judged({**mission, "parameters": {"name": "attic"}}, approved=True)


REFUSED = {
    "plans.allow": body("stop", sensor="", parameters={}),
    "is forbidden": body(parameters={"x_m": 0.5, "y_m": 0.5}),
    "expected within yard or shed": body(parameters={"x_m": 2.9, "y_m": 2.9}),
    "together": body(parameters={"x_m": -1.0}),
    "expected -5 to 5 m": body(parameters={"x_m": -5.1, "y_m": 0.0}),
    "lab.x_mm": body("measure", sensor="lab", parameters={"x_mm": 4.999}),
    "one of probe, thermal": body("measure", sensor="lab", parameters={"instrument": "laser"}),
    "lab.x_mm: expected x_mm, which is left out": body("measure", sensor="lab", parameters={"instrument": "probe"}),
    "expected x_m, y_m together": body(parameters={"yaw_rad": 0.0}),
    "no control 'z_m'": body(parameters={"x_m": 0.0, "y_m": -2.0, "z_m": 1.0}),
    "is of the plan measure": body(sensor="lab", parameters={"x_mm": 6.0}),
    "has no controls": body(sensor="front"),
    "'camera' has no controls": body(sensor="camera"),
    "expected parameters": body(parameters={}),
    "most_s": body(seconds=301.0),
    "most_s: expected seconds": body(seconds=None),
    "one sensor": body(parameters={"lab.x_mm": 6.0}),
    "per_hour: bytes": body(cost_bytes=1_000_001),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_each_rule_refuses_by_its_name(rule: str) -> None:
    assert rule in judged(REFUSED[rule])


def test_what_a_device_is_like_refuses_too_and_what_is_not_known_does() -> None:
    for changed, rule in (
        ({"killed": "KILL"}, "charter: kill: KILL"),
        ({"celsius": 60.1}, "hottest_c"),
        ({"celsius": None}, "hottest_c"),
        ({"celsius": math.nan}, "hottest_c"),
        ({"free_bytes": 10**9 - 1}, "least_free_bytes"),
        ({"free_bytes": None}, "least_free_bytes"),
        ({"privacy": "any"}, "privacy"),
        ({"privacy": None}, "privacy"),
    ):
        assert rule in judged(body(), msgspec.structs.replace(STATE, **changed)), changed


@pytest.mark.parametrize("spent", ["hour", "day"])
@pytest.mark.parametrize(("name", "hour", "day"), [("plans", 9, 99), ("seconds", 950, 4950), ("joules", 4800, None)])
def test_at_the_edge_of_a_budget(spent: str, name: str, hour: float, day: float | None) -> None:
    """The plan takes 1, 50 s (two ways of up to 20 s, and 10 s) and 200 J: just so much is let through, no more."""
    left = hour if spent == "hour" else day
    if left is None:
        return
    for more, expected in ((0.0, ""), (1e-6, name)):
        found = judged(body(), spent=PlanSpent(**{spent: PlanCost(**{name: left + more})}))
        assert (expected in found) if expected else not found


def test_what_may_be_asked_of_a_device_as_a_whole_is_said_within_the_charter() -> None:
    whole = LIMITS.whole()
    assert sorted(whole) == ["duration", "mission"], "stop is not allowed"
    (name,), (seconds,) = whole["mission"], whole["duration"]
    assert (name.name, name.choices, name.bounded) == ("name", ("hall", "yard"), True)
    assert (seconds.name, seconds.low, seconds.high) == ("seconds", 1.0, 300.0), "most_s bounds it"
    anything = PlanLimits(allow=("mission", "duration", "stop")).whole()
    assert (anything["mission"][0].choices, anything["duration"][0].high, anything["stop"]) == ((), 86_400.0, ())
    for bound in ({"one_of": [3]}, {"at_least": 1}):
        none = PlanLimits.model_validate({"allow": ["mission"], "controls": {"mission.*": bound}})
        assert none.whole() == {}, "no name can be within"


@given(st.sampled_from(["mission", "duration"]), st.data())
def test_what_is_said_of_a_device_as_a_whole_is_let_through_and_nothing_beyond(plan: Any, data: st.DataObject) -> None:
    (control,) = LIMITS.whole()[plan]
    value: Any = data.draw(
        st.sampled_from([*control.choices, "attic", ""]) if control.choices else st.floats(-10, 400) | odd_numbers
    )
    is_number = not isinstance(value, bool | str) and control.low <= value <= control.high
    within = value in control.choices if control.choices else is_number
    seconds = 300.0 if plan == "mission" else None  # a mission is taken back then
    found = judged(body(plan, sensor="", parameters={control.name: value}, seconds=seconds), approved=True)
    if within:
        assert found == ""
    elif plan == "mission" or isinstance(value, bool) or not 0 < value <= 300:
        assert found


def test_a_charter_that_says_nothing_of_plans_lets_none_through() -> None:
    assert "plans.allow" in refuses_plan(Charter().plans, AskedPlan.of(body()), STATE)


def test_a_charter_file_s_paths_are_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "charter.yaml"
    path.write_text("plans: {allow: [viewpoint], approve: [stop], approvers: [ben.operator]}\nkill: HALT\n")
    charter = read_charter(path)
    assert charter.kill == tmp_path / "HALT"
    assert charter.plans.approvers == (tmp_path / "ben.operator",)


@pytest.mark.parametrize(
    "wrong",
    [
        {"approve": ["stop"]},
        {"per_hour": {"joules": 1}},
        {"allow": ["fly"]},
        {"areas": [{"of": ["x_m"], "polygon": CORNERS}]},
        {"areas": [{"of": ["x_m", "y_m"]}]},
        {"areas": [{"of": ["x_m"], "box": [[2, 1]]}]},
        {"areas": [{"of": ["x_m"], "box": [[math.nan, 1]]}]},
        {"controls": {"x_m": {"at_most": math.inf}}},
        {"per_day": {"seconds": math.nan}},
        {"hottest_c": math.inf},
        {"hottest_c": -300},
        {"most_s": -1},
        {"per_hour": {"plans": -1}},
        {"per_day": {"bytes": -1}},
        {"least_free_bytes": "-1GB"},
        {"controls": {"x_m": {"at_least": True}}},
        {"controls": {"x_m": {"one_of": [math.nan]}}},
        {"areas": [{"of": ["x_m", "y_mm"], "box": [[0, 1], [0, 1]]}]},
    ],
)
def test_a_charter_that_would_bound_nothing_is_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PlanLimits.model_validate(wrong)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "plans:\n  controls:\n    x_m: {at_least: 3, at_most: -3}\n",
            "line 3: plans.controls.x_m: at_least 3 is above at_most -3",
        ),
        (
            "plans:\n  controls:\n    x_m: {one_of: []}\n",
            "line 3: plans.controls.x_m: one_of: expected one value at least",
        ),
        (
            "plans:\n  controls:\n    x_m: {one_of: [1, 2], at_most: 0}\n",
            "line 3: plans.controls.x_m: one_of: no value of these is within",
        ),
        (
            "plans:\n  allow: [viewpoint]\n  controls: {x_m: {at_most: .nan}}\n",
            "line 3: plans.controls.x_m.at_most: Input should be a finite number, got nan",
        ),
        (
            "plans:\n  areas:\n    - {of: [x_m, y_m], box: [[0, 1], [1, 1]]}\n",
            "line 3: plans.areas.0: box: is of no size: y_m from 1 to 1",
        ),
        (
            "plans:\n  areas:\n    - {of: [x_m, y_m], polygon: [[0, 1], [1, 1], [2, 1]]}\n",
            "line 3: plans.areas.0: polygon: is of no size",
        ),
        (
            "plans:\n  controls:\n    x_m: {at_least: 3}\n    base.x_m: {at_most: 1}\n",
            "plans: controls: x_m and base.x_m: at least 3 and at most 1: no value is within both",
        ),
        (
            "plans:\n  controls: {'*.x_m': {at_least: 5}}\n  areas: [{name: yard, of: [base.x_m], box: [[0, 1]]}]\n",
            "plans: areas: yard: base.x_m: at least 5 and at most 1, by controls: *.x_m: no place is within both",
        ),
        (
            "plans:\n  controls: {x_m: {one_of: [7]}}\n  areas: [{name: yard, of: [x_m], box: [[0, 1]]}]\n",
            "plans: areas: yard: x_m: one of 7, which the other refuses",
        ),
        ("plans:\n  controls: {mission.name: {one_of: [1]}}\n", "controls: mission.name: expected one_of, with names"),
        ("plans:\n  controls: {mission.name: {at_most: 1}}\n", "controls: mission.name: expected one_of, with names"),
        ("plans:\n  controls: {duration.seconds: {one_of: [9 s]}}\n", "duration.seconds: expected numbers, of seconds"),
        (
            "plans:\n  most_s: 5\n  controls: {duration.seconds: {at_least: 9}}\n",
            "controls: duration.seconds: at_least 9 is above most_s, 5",
        ),
        ("plans:\n  per_hour:\n    plans: -1\n", "line 3: plans.per_hour.plans: Input should be greater"),
        ("bounds:\n  a.b: {at_least: 3, at_most: 2}\n", "line 2: bounds.a.b: at_least 3 is above at_most 2"),
    ],
)
def test_a_charter_to_which_nothing_can_keep_is_refused_with_the_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "charter.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_charter(path)
    assert str(raised.value).startswith(f"charter {path}: ")
    assert says in str(raised.value)


def test_what_is_tight_and_yet_possible_is_a_charter() -> None:
    controls = {"z_m": {"at_least": 2, "at_most": 2}, "*": {"at_least": -9}, "base.x_m": {"at_most": -9}}
    areas = [{"of": ["x_m"], "box": [[-9, 9]]}, {"of": ["x_m"], "box": [[-12, -10]], "forbidden": True}]
    found = PlanLimits.model_validate({"controls": controls, "areas": areas})
    assert (len(found.controls), len(found.areas)) == (3, 2)


@pytest.mark.parametrize("part", ["controls", "areas"])
def test_a_rule_in_another_unit_than_the_device_has_refuses_what_it_would_not_have_bound(part: str) -> None:
    rules: dict[str, Any] = {"controls": {"base.x_mm": {"at_most": 3000}}}
    if part == "areas":
        rules = {"areas": [{"name": "yard", "of": ["x_mm", "y_mm"], "box": [[0, 3000], [0, 3000]]}]}
    limits = PlanLimits.model_validate({"allow": ["viewpoint"], **rules})
    asked = AskedPlan.of({"proposal": "p", "plan": "viewpoint", "sensor": "base", "parameters": {"x_m": 4, "y_m": 4}})
    alone = PlanState(controls={"base": PLACE})
    named = "base.x_mm" if part == "controls" else "x_mm"
    assert (
        refuses_plan(limits, asked, alone) == f"charter: plans.{part}: {named}: expected the unit of the control, x_m"
    )
    both = {"controls": {"x_mm": {"at_most": 5}, "x_m": {"at_most": 5}}}
    assert refuses_plan(PlanLimits.model_validate({"allow": ["viewpoint"], **both}), asked, alone) == ""
    stage = {"controls": {"x_mm": {"at_most": 5}}}
    assert refuses_plan(PlanLimits.model_validate({"allow": ["viewpoint"], **stage}), asked, STATE) == "", "the lab's"


odd_numbers = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 5.0, -5.0, 5.000000000000001, 1e308, True, False, 0.0, -0.0, 1.0, 4.0]),
    st.sampled_from([corner for pair in CORNERS for corner in pair]),
)
odd_names = st.one_of(
    st.sampled_from(
        ["x_m", "y_m", "yaw_rad", "base.x_m", "lab.x_mm", "x_mm", "instrument", "name", "seconds", "*", "", "base."]
    ),
    st.text(max_size=8),
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), odd_numbers, st.text(max_size=5), st.binary(max_size=5), odd_names),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_names, inner, max_size=3)),
    max_leaves=6,
)
proposals = st.one_of(
    anything,
    st.fixed_dictionaries(
        {
            "proposal": st.one_of(st.just("p"), anything),
            "plan": st.one_of(
                st.sampled_from(["viewpoint", "measure", "mission", "duration", "stop", "rate"]), anything
            ),
        },
        optional={
            "planner": anything,
            "sensor": st.one_of(st.sampled_from(["base", "lab", "front", "", "ba\u0455e"]), anything),
            "parameters": st.one_of(st.dictionaries(odd_names, st.one_of(odd_numbers, anything), max_size=4), anything),
            "seconds": st.one_of(odd_numbers, anything),
            "cost_bytes": st.one_of(odd_numbers, anything),
            "approved_by": anything,
            "allow": anything,
        },
    ),
    st.builds(
        lambda some: body("measure", sensor="lab", parameters=some),
        st.dictionaries(st.sampled_from(["x_mm", "instrument"]), st.sampled_from([4, 5, 6, "probe", "laser"])),
    ),
    st.builds(
        lambda plan, of, some, s: body(plan, sensor=of, parameters=some, seconds=s),
        st.sampled_from(["mission", "duration", "stop"]),
        st.sampled_from(["", "", "base", "mission"]),
        st.dictionaries(
            st.sampled_from(["name", "seconds", "mission.name", "x_m"]),
            st.one_of(st.sampled_from(["hall", "yard", "hall ", "HALL", "attic", 300, 300.1, 0, 1, True]), odd_numbers),
            max_size=2,
        ),
        st.one_of(st.none(), odd_numbers, st.just(5)),
    ),
    st.builds(
        lambda x, y, s, c: body(parameters={"x_m": x, "y_m": y}, seconds=s, cost_bytes=c),
        st.one_of(st.floats(-5, 5), odd_numbers),
        st.one_of(st.floats(-5, 5), odd_numbers),
        st.one_of(st.floats(0, 400), odd_numbers),
        st.one_of(st.floats(0, 2e6), st.just(0)),
    ),
)
costs = st.builds(PlanCost, plans=st.floats(0, 12), seconds=st.floats(0, 1200), joules=st.floats(0, 6000))


@given(proposals, costs, costs, st.booleans())
@example(body(parameters={"x_m": 0.0, "y_m": 4.0}), PlanCost(), PlanCost(), False)
@example(body(parameters={"x_m": 10**400, "y_m": 0}), PlanCost(), PlanCost(), True)
@example(body("measure", sensor="lab", parameters={"instrument": "probe"}), PlanCost(), PlanCost(), True)
@example(body(parameters={"yaw_rad": 0.0}), PlanCost(), PlanCost(), True)
@example(body(parameters={"x_m": math.nan, "y_m": math.nan}), PlanCost(), PlanCost(), True)
@example(body("mission", sensor="", parameters={"name": "hall"}), PlanCost(), PlanCost(), True)
@example(body("duration", sensor="", parameters={"seconds": 300}, seconds=None), PlanCost(), PlanCost(), True)
@example(body("duration", sensor="", parameters={"seconds": True}, seconds=None), PlanCost(), PlanCost(), True)
@example(body("stop", sensor="", parameters={}, seconds=None), PlanCost(), PlanCost(), True)
def test_no_violation_is_ever_let_through(said: object, hour: PlanCost, day: PlanCost, approved: bool) -> None:
    """What is let through is within by every rule, judged once more in another way."""
    if judged(said, spent=PlanSpent(hour=hour, day=day), approved=approved):
        return
    assert isinstance(said, dict)
    plan, seconds = said["plan"], said.get("seconds")
    assert plan in ("viewpoint", "measure", "mission", "duration")
    given_names = {name.rpartition(".")[2]: value for name, value in said.get("parameters", {}).items()}
    takes_s = float(seconds or 0)
    if plan == "viewpoint":
        assert {"x_m", "y_m"} <= set(given_names) <= {"x_m", "y_m", "yaw_rad"}
        x, y = (float(given_names[name]) for name in ("x_m", "y_m"))
        assert -5 <= x <= 5
        assert -5 <= y <= 5
        assert not (0 <= x <= 1 and -1 <= y <= 1)
        corners = np.array(CORNERS, np.float32)
        near = cv2.pointPolygonTest(corners.reshape(-1, 1, 2), (x, y), True) > -1e-5
        assert near or (3 <= x <= 4 and 3 <= y <= 4)
        takes_s += 40
    elif plan == "measure":
        assert {"x_mm"} <= set(given_names) <= {"x_mm", "instrument"}
        assert 5 <= float(given_names["x_mm"]) <= 20
        assert given_names.get("instrument", "probe") in ("probe", "thermal")
        takes_s += 0.1
    elif plan == "mission":
        assert approved
        assert given_names["name"] in ("hall", "yard")
    else:
        assert 0 < float(given_names["seconds"]) <= 300
        takes_s += float(given_names["seconds"])
    if plan in ("viewpoint", "measure"):
        assert 0 < float(seconds or 0) <= 300
    assert hour.plans + 1 <= 10
    assert day.plans + 1 <= 100
    assert hour.seconds + takes_s <= 1000 + 1e-6
    assert day.seconds + takes_s <= 5000 + 1e-6
    assert hour.joules + 4 * takes_s <= 5000 + 1e-6
    assert float(said.get("cost_bytes", 0)) <= 10**6


@given(
    st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=3, max_size=7),
    st.tuples(st.integers(-7, 7), st.integers(-7, 7)),
)
def test_a_polygon_holds_what_is_in_it_and_its_border(corners: list[tuple[int, int]], place: tuple[int, int]) -> None:
    """On whole numbers OpenCV is exact; it knows a border, and of what crosses itself the even-odd rule."""
    polygon = tuple((float(x), float(y)) for x, y in corners)
    if np.linalg.matrix_rank(np.array(corners) - np.array(corners[0])) < 2:
        with pytest.raises(ValidationError, match="of no size"):
            PlanArea(of=("x", "y"), polygon=polygon)
        return
    area = PlanArea(of=("x", "y"), polygon=polygon)
    found = cv2.pointPolygonTest(np.array(corners, np.int32).reshape(-1, 1, 2), tuple(map(float, place)), False)
    assert area.holds(place) == (found >= 0)
