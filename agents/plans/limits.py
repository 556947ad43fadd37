"""The limits of plans, as a charter sets them, and the one function that judges by them. It decides nothing else.

Whatever a planner says: a plan is refused unless all of it is known to be within. The rule that refuses is the answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ByteSize, ConfigDict, Field, model_validator

from sensorium.agents.bound import SettingBound
from sensorium.agents.plans.area import PlanArea
from sensorium.agents.plans.asked import DEVICE_WIDE, MOST_S, AskedPlan
from sensorium.agents.plans.contradictions import contradictions
from sensorium.agents.plans.spent import PlanBudget, PlanCost, PlanSpent
from sensorium.agents.plans.units import in_another_unit, means
from sensorium.drivers.controls import Control, PlanKind, as_number, check_asked

Privacy = Literal["any", "redacted", "no-pictures"]
"""How private what a device records is: pictures as they are, pictures that a filter takes something out of, none."""
_PRIVACY: tuple[Privacy, ...] = ("any", "redacted", "no-pictures")
NOTHING_SPENT = PlanSpent()
AWAITS = "charter: plans.approve"
"""How the rule begins of a plan that lacks nothing but a person's approval."""


class PlanLimits(BaseModel):
    """`plans` of a charter file. What is left out of `allow` nobody may do; the rest bounds what is said there.

    allow: [viewpoint, measure, rate]
    controls: {"*.x_m": {at_least: -3, at_most: 3}, mission.name: {one_of: [hall, yard]}}
    areas:
      - {of: [x_m, y_m], polygon: [[-3, -3], [3, -3], [0, 3]]}
      - {name: pond, of: [x_m, y_m], box: [[0, 1], [-1, 1]], forbidden: true}
    per_hour: {plans: 120, seconds: 3000, bytes: 1GB, joules: 50000}
    per_day: {seconds: 20000}
    most_s: 600                                # how long one may hold; that it must say how long, too
    watts: 12                                  # what the device takes, for joules
    hottest_c: 75
    least_free_bytes: 2GB
    privacy: redacted
    approve: [mission, stop]                   # kinds that a person must approve
    approvers: [keys/ben.operator]             # who may, but never who asks

    Rules of `controls` name `CONTROL`, `SENSOR.CONTROL` or, of `mission` and `duration`, `PLAN.PARAMETER`. A plan has
    to say each control of its kind that they or areas bound: of what is left out the sensor would choose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow: tuple[PlanKind, ...] = ()
    controls: dict[str, SettingBound] = {}
    areas: tuple[PlanArea, ...] = ()
    per_hour: PlanBudget = PlanBudget()
    per_day: PlanBudget = PlanBudget()
    most_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    watts: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    hottest_c: Annotated[float, Field(ge=-273.15, allow_inf_nan=False)] | None = None
    least_free_bytes: ByteSize | None = None
    privacy: Privacy = "any"
    approve: tuple[PlanKind, ...] = ()
    approvers: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _possible(self) -> "PlanLimits":
        if self.watts is None and (self.per_hour.joules is not None or self.per_day.joules is not None):
            raise ValueError("joules are bounded; expected watts, what the device takes")
        if self.approve and not self.approvers:
            raise ValueError("approve: expected approvers, files of operators' public keys")
        if wrong := list(contradictions(self.controls, self.areas, self.most_s)):
            raise ValueError("; ".join(wrong))
        return self

    def within(self, folder: Path) -> "PlanLimits":
        """The same, with paths from that folder."""
        return self.model_copy(update={"approvers": tuple(folder / each for each in self.approvers)})

    def reach(self, sensor: str, controls: Sequence[Control]) -> tuple[Control, ...]:
        """Of a sensor's controls those that plans may change at all, within the bounds of the charter."""
        return tuple(
            narrowed
            for control in controls
            if control.plan in self.allow and (narrowed := self._narrowed(sensor, control)) is not None
        )

    def whole(self) -> dict[PlanKind, tuple[Control, ...]]:
        """The plans of a device as a whole that may be asked for, each with its parameters, within the bounds of the
        charter; a name without choices may be any."""
        most_s = MOST_S if self.most_s is None else min(MOST_S, self.most_s)
        seconds = Control(name="seconds", plan="duration", unit="s", low=1.0, high=most_s, cost_s_per_unit=1.0)
        found: dict[PlanKind, tuple[Control, ...]] = {}
        for plan, control in (("mission", self._missions()), ("duration", self._narrowed("duration", seconds))):
            if plan in self.allow and control is not None:
                found[control.plan] = (control,)
        return found | ({"stop": ()} if "stop" in self.allow else {})

    def _missions(self) -> Control | None:
        names: list[str] | None = None
        for rule, bound in self.controls.items():
            if means(rule, "mission", "name"):
                some = [each for each in bound.one_of or () if isinstance(each, str)] if names is None else names
                names = [each for each in some if not bound.refuses(each)]
        if names is not None and not names:
            return None
        return Control(name="name", plan="mission", choices=tuple(names or ()), bounded=names is not None)

    def _narrowed(self, sensor: str, control: Control) -> Control | None:
        low, high, choices, bounded = control.low, control.high, control.choices, control.bounded
        bounded = bounded or any(control.name == _bare(name, sensor) for area in self.areas for name in area.of)
        for rule, bound in self.controls.items():
            if not means(rule, sensor, control.name):
                continue
            bounded = True
            low = low if bound.at_least is None else max(low, bound.at_least)
            high = high if bound.at_most is None else min(high, bound.at_most)
            choices = tuple(each for each in choices if not bound.refuses(each))
        if low > high or (control.choices and not choices):
            return None
        return msgspec.structs.replace(control, low=low, high=high, choices=choices, bounded=bounded)

    def cost(self, plan: AskedPlan, state: "PlanState") -> PlanCost:
        """What a plan takes at the most, by what the device says of its controls; what its planner says of time counts
        for nothing."""
        seconds = plan.seconds or 0.0
        known = {control.name: control for control in state.controls.get(plan.sensor, ())}
        for name, value in plan.parameters.items():
            number = as_number(value)
            if name == "seconds" and plan.plan == "duration":
                seconds += number or 0.0
            if (control := known.get(name)) is not None and not plan.is_device_wide:
                here = 0.0 if control.unit == "s" else state.where.get(f"{plan.sensor}.{name}")
                far = control.high - control.low if here is None or number is None else abs(number - here)
                seconds += control.cost_s + control.cost_s_per_unit * far
        return PlanCost(plans=1.0, seconds=seconds, bytes=float(plan.cost_bytes), joules=seconds * (self.watts or 0.0))


class PlanState(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules ask of a device: its `controls` by sensor; `where` it is, by `SENSOR.CONTROL`, as far as it has
    said; its temperature, the room on its disk and its privacy (None: not known); `killed`: by what, if it is."""

    controls: Mapping[str, tuple[Control, ...]] = {}
    where: Mapping[str, float] = {}
    celsius: float | None = None
    free_bytes: int | None = None
    privacy: Privacy | None = None
    killed: str = ""


def refuses_plan(
    limits: PlanLimits, plan: AskedPlan, state: PlanState, spent: PlanSpent = NOTHING_SPENT, *, approved: bool = False
) -> str:
    """Which rule refuses a plan; empty if none does. What a rule needs and nobody knows refuses it too.

    Args:
        plan: As `AskedPlan.of` reads it.
        spent: What plans have taken of the device until now.
        approved: Whether one of the charter's approvers, who is not the proposer, has signed this very plan. That it
            lacks this is found last: then the rule begins with `AWAITS`.
    """
    for rule in _rules(limits, plan.on(state.controls), state, spent):
        if rule:
            return rule
    if plan.plan in limits.approve and not approved:
        return f"{AWAITS}: {plan.plan}: a person must approve it (`sensorium approve`)"
    return ""


def _rules(limits: PlanLimits, plan: AskedPlan, state: PlanState, spent: PlanSpent) -> Iterator[str]:
    """What each rule says against it; what comes first may be needed by what follows."""
    yield f"charter: kill: {state.killed}" if state.killed else ""
    if plan.plan not in limits.allow:
        yield f"charter: plans.allow: {plan.plan}: expected one of {', '.join(limits.allow) or 'none at all'}"
    yield _beyond_reach(plan, state)
    yield from _other_units(limits, plan, state)
    yield from _bounds(limits, plan)
    yield from _left_out(limits, plan, state)
    yield from _areas(limits, plan, state)
    yield from _device(limits, plan, state)
    cost = limits.cost(plan, state)
    for name, budget, before in (("per_hour", limits.per_hour, spent.hour), ("per_day", limits.per_day, spent.day)):
        yield f"charter: plans.{name}: {why}" if (why := budget.refuses(before, cost)) else ""


def _beyond_reach(plan: AskedPlan, state: PlanState) -> str:
    """What of it the device has no control for."""
    if plan.is_device_wide:
        expected = DEVICE_WIDE[plan.plan]
        if plan.sensor or sorted(plan.parameters) != sorted(expected):
            return f"plan: {plan.plan}: expected the parameters {', '.join(expected) or '(none)'}, and no sensor"
        if plan.plan == "mission":
            name = plan.parameters["name"]
            return "" if isinstance(name, str) and name and name.isprintable() else "plan: mission: expected a name"
        if plan.plan == "duration" and not 0 < (as_number(plan.parameters["seconds"]) or 0.0) <= MOST_S:
            return "plan: duration: expected seconds, more than 0, up to a day"
        return ""
    controls = state.controls.get(plan.sensor)
    if not controls:
        able = ", ".join(name for name, found in state.controls.items() if found)
        return f"plan: sensor {plan.sensor[:60]!r} has no controls (those that have: {able or 'none'})"
    if not plan.parameters:
        return f"plan: {plan.plan}: expected parameters"
    others = {control.name: control.plan for control in controls if control.plan != plan.plan}
    if wrong := [name for name in plan.parameters if name in others]:
        return f"plan: {wrong[0]}: is of the plan {others[wrong[0]]}, not of {plan.plan}"
    try:
        check_asked(controls, plan.parameters)
    except ValueError as error:
        return f"plan: sensor {plan.sensor!r}: {error}"[:300]
    return ""


def _other_units(limits: PlanLimits, plan: AskedPlan, state: PlanState) -> Iterator[str]:
    """Of what the plan may change, what rules or areas mean in another unit, and so would not bound."""
    for control, why in () if plan.is_device_wide else in_other_units(limits, plan.sensor, state.controls):
        if control.plan == plan.plan:
            yield f"charter: {why}"[:300]


def in_other_units(
    limits: PlanLimits, sensor: str, controls: Mapping[str, tuple[Control, ...]]
) -> Iterator[tuple[Control, str]]:
    """Of a sensor's controls, by sensor all that the device has, those that a rule or an area means in another unit:
    which, and what was expected. Plans that may change them are refused."""
    known = [(name, control.name) for name, those in controls.items() for control in those]
    of_areas = sorted({name for area in limits.areas for name in area.of})
    for control in controls.get(sensor, ()):
        for part, rules in (("controls", [*limits.controls]), ("areas", of_areas)):
            if rule := in_another_unit(sensor, control.name, known, rules):
                yield control, f"plans.{part}: {rule}: expected the unit of the control, {control.name}"


def _bounds(limits: PlanLimits, plan: AskedPlan) -> Iterator[str]:
    own = plan.plan if plan.is_device_wide else plan.sensor
    for name, value in plan.parameters.items():
        for rule, bound in limits.controls.items():
            if means(rule, own, name) and (why := bound.refuses(value)):
                yield f"charter: plans.controls: {rule}: expected {why}"[:300]


def _left_out(limits: PlanLimits, plan: AskedPlan, state: PlanState) -> Iterator[str]:
    """Of what rules bound, what the plan does not say."""
    for control in () if plan.is_device_wide else state.controls.get(plan.sensor, ()):
        if control.plan != plan.plan or control.name in plan.parameters:
            continue
        for rule in limits.controls:
            if means(rule, plan.sensor, control.name):
                yield f"charter: plans.controls: {rule}: expected {control.name}, which is left out"[:300]


def _areas(limits: PlanLimits, plan: AskedPlan, state: PlanState) -> Iterator[str]:
    own = {control.name for control in state.controls.get(plan.sensor, ()) if control.plan == plan.plan}
    allowed: dict[frozenset[str], list[tuple[PlanArea, bool]]] = {}
    for area in limits.areas if not plan.is_device_wide else ():
        names = [_bare(each, plan.sensor) for each in area.of]
        if not any(name in plan.parameters or name in own for name in names):
            continue
        place = [as_number(plan.parameters.get(name)) for name in names]
        known = [each for each in place if each is not None]
        if len(known) < len(place):
            yield f"charter: plans.areas: {area.says()}: expected {', '.join(area.of)} together, as numbers"
            return
        if area.forbidden:
            yield f"charter: plans.areas: {area.says()} is forbidden" if area.holds(known) else ""
        else:
            allowed.setdefault(frozenset(names), []).append((area, area.holds(known)))
    for found in allowed.values():
        if not any(held for _, held in found):
            yield f"charter: plans.areas: expected within {' or '.join(area.says() for area, _ in found)}"


def _bare(name: str, sensor: str) -> str:
    """The name of a control, as parameters of this sensor have it."""
    return name.removeprefix(f"{sensor}.")


def _device(limits: PlanLimits, plan: AskedPlan, state: PlanState) -> Iterator[str]:
    if limits.most_s is not None and plan.plan != "stop":
        longest = as_number(plan.parameters["seconds"]) if plan.plan == "duration" else plan.seconds
        if longest is None or longest > limits.most_s:
            yield f"charter: plans.most_s: expected seconds, at most {limits.most_s:g}, got {longest}"
    if limits.hottest_c is not None:
        hot = state.celsius is None or not state.celsius <= limits.hottest_c
        yield f"charter: plans.hottest_c: expected at most {limits.hottest_c:g}, got {state.celsius}" if hot else ""
    if limits.least_free_bytes is not None:
        full = state.free_bytes is None or not state.free_bytes >= limits.least_free_bytes
        yield (
            f"charter: plans.least_free_bytes: expected {limits.least_free_bytes}, got {state.free_bytes}"
            if full
            else ""
        )
    private = 0 if state.privacy is None else _PRIVACY.index(state.privacy)
    if private < _PRIVACY.index(limits.privacy):
        yield f"charter: plans.privacy: expected {limits.privacy}, the device records {state.privacy}"
