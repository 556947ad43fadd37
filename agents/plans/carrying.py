"""Carrying out plans: each is judged, paid, asked of its sensor, and answered once that says what it did.

All of it is done by the thread that collects, but `take`, `end` and `status`, which any may call: so a plan is judged
by how the device is when it is begun, and no lock is held while a sensor, or who asked, is called.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from sensorium.agents.plans.asked import AskedPlan
from sensorium.agents.plans.causing import AT_PLACE, MOVING, ON_THE_WAY, PHASE, Causing, Effect
from sensorium.agents.plans.kill_switch import is_killed
from sensorium.agents.plans.limits import PlanLimits, PlanState, refuses_plan
from sensorium.agents.plans.missions import GivenMission, HasMission
from sensorium.agents.plans.permit import PermitNow
from sensorium.agents.plans.spent import SpentPlans
from sensorium.drivers.controls import CONTROL, as_number, controls_of
from sensorium.drivers.driver import Driver
from sensorium.drivers.marks import SourceNote
from sensorium.errors import ConfigError
from sensorium.link.approval import is_approved
from sensorium.link.directive import DirectiveEvent
from sensorium.threads import reason

log = logging.getLogger(__name__)

LOOK_S = 0.2
"""So often it is looked whether the kill switch is there."""
PATIENCE_S = 900.0
"""So long a sensor may take to say what it did."""
OBEYED, REFUSED, BROKE = DirectiveEvent.OBEYED, DirectiveEvent.AGAINST_RULES, DirectiveEvent.BROKE

Settled = Callable[[DirectiveEvent, str], None]
"""Told once what became of a plan."""


class PlannedDevice(HasMission, Protocol):
    """What plans reach in a device, as it is now."""

    def drivers(self) -> Mapping[str, Driver]: ...

    def passed_ns(self) -> int:
        """How far captured time has come."""
        ...

    def condition(self) -> PlanState:
        """Temperature, disk and privacy; nothing of controls."""
        ...

    def stop(self) -> None:
        """Collect no more."""
        ...


class _WaitingPlan(NamedTuple):
    plan: AskedPlan
    digest: str
    operator: bytes
    settled: Settled


class _BegunPlan(NamedTuple):
    """One that was asked of a sensor."""

    waiting: _WaitingPlan
    driver: Driver
    since_s: float
    until_ns: int | None = None
    open: bool = True

    @property
    def proposal(self) -> str:
        return self.waiting.plan.proposal


@dataclass(slots=True)
class _OfWhole:
    """What holds for the device as a whole: the mission that it was given, when it is to end, and whose plan is the
    cause of what is recorded."""

    mission: GivenMission = field(default_factory=GivenMission)
    ends_ns: int | None = None
    causing: Causing = field(default_factory=Causing)


class Carrying:
    """The plans of one device.

    Args:
        device: Its name.
        permit: What its charter lets plans do, looked at again whenever one is judged.
        book: Where what is spent is kept.
    """

    def __init__(self, device: str, permit: PermitNow, book: Path) -> None:
        self._device, self._permit_now, self._permit = device, permit, permit()
        self._waiting: deque[_WaitingPlan] = deque()
        self._guard = threading.Lock()
        self._over = ""
        self._begun: dict[str, _BegunPlan] = {}
        self._where: dict[str, float] = {}
        self._whole = _OfWhole()
        self._looked_s = 0.0
        self._killed = ""
        self._said: Mapping[str, Any] = {}
        self._trouble = ""
        try:
            self._spent: SpentPlans | None = SpentPlans(book)
        except ConfigError as error:
            self._spent, self._trouble = None, str(error)
            log.error("%s", error)

    # --- from any thread -----------------------------------------------------------------------------------------

    def take(self, body: object, operator: bytes, settled: Settled) -> None:
        """A plan was asked for by who has this key; what is none, as its numbers are none, is refused."""
        try:
            plan = AskedPlan.of(body)
        except ConfigError as error:
            settled(REFUSED, str(error))
            return
        with self._guard:
            over = self._over
            if not over:
                self._waiting.append(_WaitingPlan(plan, plan.digest, operator, settled))
        if over:
            settled(BROKE, over)

    def end(self, why: str = "nothing is collected here any more") -> None:
        """Nothing is carried out any more: settle what waits, and what still comes."""
        with self._guard:
            self._over = why
            waiting, self._waiting = [*self._waiting], deque()
        begun, self._begun = self._begun, {}
        for each in waiting:
            each.settled(BROKE, why)
        for one in begun.values():
            if one.open:
                one.waiting.settled(BROKE, why)

    def status(self) -> Mapping[str, Any]:
        """What can be asked of which sensor, within the charter; whose plan is in force; by what all are refused."""
        return self._said

    # --- by who collects -----------------------------------------------------------------------------------------

    def step(self, device: PlannedDevice) -> list[Effect]:
        """Go on: obey the kill switch, take back what is over, begin what waits. What follows for what is recorded."""
        now_s = time.monotonic()
        if now_s < self._looked_s + LOOK_S and not self._waiting and not self._is_timed:
            return []
        effects = self._end_missions(device)
        if now_s >= self._looked_s + LOOK_S:
            self._looked_s = now_s
            self._permit = self._permit_now()
            effects += self._look_for_kill(device)
            effects += self._drop_lost(device, now_s)
            if self._spent is not None:
                _try(self._spent.went_on)
        if self._is_timed:
            effects += self._end_timed(device)
        while (waiting := self._next()) is not None:
            try:
                effects += self._begin(waiting, device, now_s)
            except Exception as error:  # a driver is anybody's code
                waiting.settled(BROKE, reason(error))
        self._say(device.drivers())
        return effects

    def heard(self, sensor: str, note: SourceNote) -> Effect | None:
        """A sensor said something: what follows for what is recorded, if that is of a plan which was begun. Where it
        did nothing of it the plan is the cause of nothing from then on."""
        begun = self._begun.get(sensor)
        if begun is None or note.kind != CONTROL or note.name != begun.proposal or not begun.open:
            return None
        plan, value = begun.waiting.plan, note.value if isinstance(note.value, Mapping) else {}
        did, why = value.get("did"), str(value.get("why") or "")
        did = did if isinstance(did, Mapping) else {}
        at_ns = note.start_ns if note.end_ns is None else note.end_ns
        until_ns = None if plan.seconds is None else at_ns + round(plan.seconds * 1e9)
        numbers = {f"{sensor}.{name}": as_number(each) for name, each in did.items()}
        self._where |= {name: each for name, each in numbers.items() if each is not None}
        self._begun[sensor] = begun._replace(open=False, until_ns=until_ns)
        said = ", ".join(f"{name} {_in_short(each)}" for name, each in did.items())
        begun.waiting.settled(BROKE if why else OBEYED, "; ".join(filter(None, (why, said))))
        if not did:
            return next(iter(self._whole.causing.over(plan.proposal, at_ns)), None)
        told = {**value, **_said_of(plan, note.start_ns, AT_PLACE)}
        return self._whole.causing.put(Effect(plan.proposal, at_ns, until_ns, told))

    def paid(self, proposal: str, nbytes: int) -> None:
        """An episode of so many bytes was sealed that a proposal has caused."""
        if self._spent is not None:
            spent = self._spent
            _try(lambda: spent.caused(proposal, nbytes))

    # --- within --------------------------------------------------------------------------------------------------

    @property
    def _is_timed(self) -> bool:
        timed = self._whole.ends_ns is not None or self._whole.mission.is_due
        return timed or any(begun.until_ns is not None for begun in self._begun.values())

    def _next(self) -> _WaitingPlan | None:
        with self._guard:
            return self._waiting.popleft() if self._waiting else None

    def _end_missions(self, device: PlannedDevice) -> list[Effect]:
        """Where a mission is over, which was the cause of what is recorded, nothing is."""
        over, at_ns = self._whole.mission.over(), device.passed_ns() + 1
        return [effect for proposal in over for effect in self._whole.causing.over(proposal, at_ns)]

    def _look_for_kill(self, device: PlannedDevice) -> list[Effect]:
        """Whether the kill switch is there; then all that plans have asked for is taken back."""
        was, self._killed = self._killed, str(self._permit.kill) if is_killed(self._permit.kill) else ""
        if not self._killed:
            if was:
                log.warning("%s is gone: plans are carried out again", was)
            return []
        if not was:
            log.warning("%s is there: what plans asked for is taken back, none is carried out", self._killed)
        begun, self._begun, self._whole.ends_ns = self._begun, {}, None
        was_cause = self._whole.causing.clear()
        for one in begun.values():
            _take_back(one)
            if one.open:
                one.waiting.settled(BROKE, f"charter: kill: {self._killed}")
        had_mission = self._whole.mission.take_back(device)
        return [Effect("", device.passed_ns() + 1)] if begun or had_mission or was_cause else []

    def _drop_lost(self, device: PlannedDevice, now_s: float) -> list[Effect]:
        """What was asked of a sensor that is another now was not done, or does not hold any more."""
        drivers, effects = device.drivers(), list[Effect]()
        for sensor, begun in list(self._begun.items()):
            lost = drivers.get(sensor) is not begun.driver
            if lost or (begun.open and now_s > begun.since_s + PATIENCE_S):
                del self._begun[sensor]
                effects += self._whole.causing.over(begun.proposal, device.passed_ns() + 1)
                if begun.open:
                    why = "was away meanwhile" if lost else f"has not said what it did in {PATIENCE_S:.0f} s"
                    begun.waiting.settled(BROKE, f"sensor {sensor!r} {why}")
        return effects

    def _end_timed(self, device: PlannedDevice) -> list[Effect]:
        """Take back what was to hold for a time that is over; that none is the cause then was said before."""
        passed_ns, effects = device.passed_ns(), list[Effect]()
        for sensor, begun in list(self._begun.items()):
            if begun.until_ns is not None and passed_ns >= begun.until_ns:
                del self._begun[sensor]
                _take_back(begun)
                effects += [each for each in self._whole.causing.over(begun.proposal, begun.until_ns) if each.proposal]
        self._whole.mission.end_timed(device, passed_ns)
        if self._whole.ends_ns is not None and passed_ns >= self._whole.ends_ns:
            self._whole.ends_ns = None
            device.stop()
        return effects

    def _begin(self, waiting: _WaitingPlan, device: PlannedDevice, now_s: float) -> list[Effect]:
        self._permit = self._permit_now()
        drivers = device.drivers()
        controls = {name: controls_of(driver) for name, driver in drivers.items()}
        plan = waiting.plan.on(controls)
        killed = str(self._permit.kill) if is_killed(self._permit.kill) else ""
        state = msgspec.structs.replace(device.condition(), controls=controls, where=self._where, killed=killed)
        if (why := self._refuses(waiting, plan, state)) or self._spent is None:
            waiting.settled(REFUSED, why)
            return []
        self._spent.take(plan.proposal, self._permit.limits.cost(plan, state))
        waiting = waiting._replace(plan=plan)
        if plan.is_device_wide:
            return self._begin_whole(waiting, plan, device)
        driver = drivers[plan.sensor]
        driver.ask(plan.proposal, dict(plan.parameters))  # type: ignore[attr-defined]
        before, self._begun[plan.sensor] = self._begun.get(plan.sensor), _BegunPlan(waiting, driver, now_s)
        if before is not None and before.open:
            before.waiting.settled(BROKE, f"{plan.proposal} was asked meanwhile")
        if plan.plan not in MOVING:
            return []
        at_ns = device.passed_ns() + 1
        told = {"asked": dict(plan.parameters), "did": {}, "why": "", **_said_of(plan, at_ns, ON_THE_WAY)}
        return [self._whole.causing.put(Effect(plan.proposal, at_ns, None, told))]

    def _begin_whole(self, waiting: _WaitingPlan, plan: AskedPlan, device: PlannedDevice) -> list[Effect]:
        """One of the device as a whole."""
        settled, at_ns, name = waiting.settled, device.passed_ns() + 1, plan.parameters.get("name")
        until_ns = None  # what a mission caused ends with it
        if plan.plan == "stop":
            settled(OBEYED, "it seals what is open, delivers and ends")
            device.stop()
            return []
        if plan.plan == "duration":
            until_ns = self._whole.ends_ns = at_ns - 1 + round(float(plan.parameters["seconds"]) * 1e9)
            settled(OBEYED, f"it ends after {_in_short(plan.parameters['seconds'])} s")
        elif not self._whole.mission.give(
            plan, device, at_ns, lambda why: settled(BROKE if why else OBEYED, why or f"it is for {name}")
        ):
            return []
        value = {"asked": plan.parameters, "did": plan.parameters, "why": "", **_said_of(plan, at_ns)}
        return [self._whole.causing.put(Effect(plan.proposal, at_ns, until_ns, value))]

    def _refuses(self, waiting: _WaitingPlan, plan: AskedPlan, state: PlanState) -> str:
        if self._spent is None:
            return self._trouble
        if self._permit.lost:
            return self._permit.lost
        of = {"proposal": plan.proposal, "digest": waiting.digest, "device": self._device}
        approved = any(
            each.operator in self._permit.approvers and each.operator != waiting.operator and is_approved(each, **of)
            for each in plan.approved_by
        )
        return refuses_plan(self._permit.limits, plan, state, self._spent.now(), approved=approved)

    def _say(self, drivers: Mapping[str, Driver]) -> None:
        limits = PlanLimits() if self._permit.lost else self._permit.limits
        reach = {name: limits.reach(name, controls_of(driver)) for name, driver in drivers.items()}
        begun = {sensor: one.proposal for sensor, one in self._begun.items()}
        self._said = {
            "controls": {name: msgspec.to_builtins(found) for name, found in reach.items() if found},
            "allowed": list(limits.allow),
            "begun": begun,
            "where": dict(self._where),
            "killed": self._killed,
        }


def _said_of(plan: AskedPlan, begun_ns: int, phase: str = "") -> dict[str, Any]:
    """What its note says of a plan, besides what was asked and done."""
    said = {"planner": plan.planner, "plan": plan.plan, "sensor": plan.sensor, "begun_ns": begun_ns}
    return said | {PHASE: phase} if plan.plan in MOVING else said


def _in_short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _take_back(begun: _BegunPlan) -> None:
    try:
        begun.driver.ask(begun.proposal, {})  # type: ignore[attr-defined]
    except Exception as error:  # a driver is anybody's code
        log.error("proposal %s cannot be taken back: %s", begun.proposal, reason(error))


def _try(note: Callable[[], object]) -> None:
    try:
        note()
    except OSError as error:
        log.warning("what plans have spent cannot be noted: %s", error)
