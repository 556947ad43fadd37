"""The rules of a charter over devices as they said last that they are: what planners may reach, and what is refused.

A device judges once more, by its own charter and as it is then: what is refused here is only refused earlier.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from sensorium.agents.charter import Charter
from sensorium.agents.planning.log import PlanAsked, PlanningLine
from sensorium.agents.planning.planner import Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.plans.asked import DEVICE_WIDE, AskedPlan
from sensorium.agents.plans.kill_switch import is_killed
from sensorium.agents.plans.limits import PlanState, refuses_plan
from sensorium.agents.plans.spent import DAY_NS, HOUR_NS, PlanCost, PlanSpent
from sensorium.corpus.device_report import DeviceReport
from sensorium.drivers.controls import Control, as_number
from sensorium.errors import ConfigError
from sensorium.link.operators import read_operator

Controls = Mapping[str, tuple[Control, ...]]


def asked_plan(proposal: Proposal, seconds: float | None, **more: Any) -> AskedPlan:
    """What a device is asked for by a proposal that has an id.

    Raises:
        ConfigError: no device can be asked so.
    """
    return AskedPlan.of(plan_body(proposal, seconds, **more))


def plan_body(proposal: Proposal, seconds: float | None, **more: Any) -> dict[str, Any]:
    """The same as the body of a directive."""
    said: dict[str, Any] = {"proposal": proposal.id or "unnamed", "planner": proposal.planner, "plan": proposal.plan}
    said |= {"parameters": dict(proposal.parameters), "cost_bytes": proposal.cost_bytes, **more}
    return said if seconds is None else said | {"seconds": seconds}


class PlanRules:
    """What a charter says of devices: `heard` tells of each how it is, `asked` what was asked of it.

    `seconds` is how long what a plan causes is to be.
    """

    def __init__(
        self, charter: Charter, seconds: float | None = None, now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.charter, self.seconds = charter, seconds
        self.now_ns = now_ns
        self._reports: dict[str, DeviceReport] = {}
        self._controls: dict[str, Controls] = {}
        self._asked: list[tuple[int, str, PlanCost]] = []

    @property
    def digest(self) -> str:
        """Tells a charter from another, 16 hexadecimal digits."""
        return hashlib.blake2b(self.charter.model_dump_json().encode(), digest_size=8).hexdigest()

    def heard(self, reports: Iterable[DeviceReport]) -> None:
        """What devices said last."""
        self._reports = {each.device: each for each in reports}
        self._controls = {name: controls_by_sensor(each.state) for name, each in self._reports.items()}

    def remember(self, lines: Iterable[PlanningLine]) -> None:
        """What was asked before, as the log has it."""
        for line in lines:
            if isinstance(line, PlanAsked):
                at_ns = int(datetime.fromisoformat(line.utc).timestamp()) * 10**9
                self._asked.append((at_ns, line.device, line.cost))

    def asked(self, device: str, cost: PlanCost) -> None:
        """Something was asked of a device now."""
        self._asked.append((self.now_ns(), device, cost))

    def reaches(self) -> list[Reach]:
        """What can be asked of devices that are there, by name; nothing of several that have one name."""
        now_ns, found, whole = self.now_ns(), [], self.charter.plans.whole()
        for device, controls in sorted(self._controls.items()):
            if self._reports[device].is_silent(now_ns) or self._reports[device].also:
                continue
            limits = self.charter.plans
            narrowed = {name: limits.reach(name, those) for name, those in controls.items()}
            those = one_name_each({name: each for name, each in narrowed.items() if each})
            its = {plan: each for plan, each in whole.items() if plan in _allowed(self._reports[device].state)}
            if those or its:
                found.append(Reach(device=device, controls=those, areas=limits.areas, whole=its))
        return found

    def refuses(self, proposal: Proposal, approved: bool = False) -> str:
        """Which rule is against a proposal; empty if none is."""
        report = self._reports.get(proposal.device)
        if report is None or report.is_silent(self.now_ns()):
            return f"reach: device {proposal.device!r} is not there"[:200]
        if report.also:  # one that is silent since may be no more
            several = f"more than one device has this name (spools {', '.join(report.namesakes)}), and each would do it"
            return f"reach: device {proposal.device!r}: {several}; give each a key, and a name of its own"
        try:
            plan = asked_plan(proposal, self.seconds)
        except ConfigError as error:
            return str(error)
        return refuses_plan(
            self.charter.plans, plan, self._state(report), self.spent(proposal.device), approved=approved
        )

    def cost(self, proposal: Proposal) -> PlanCost:
        """What one that is lawful takes at the most."""
        plan, report = asked_plan(proposal, self.seconds), self._reports.get(proposal.device)
        state = PlanState() if report is None else self._state(report)
        return self.charter.plans.cost(plan.on(state.controls), state)

    def placed(self, proposal: Proposal, busy: frozenset[str]) -> Proposal:
        """One that is for whichever device can, for the first that has all its controls, or may be asked for such of it
        as a whole; better one that is free."""
        if proposal.device:
            return proposal
        asked = {name.rpartition(".")[2] for name in proposal.parameters}
        if proposal.plan in DEVICE_WIDE:
            can = [each.device for each in self.reaches() if proposal.plan in each.whole]
        else:
            can = [each.device for each in self.reaches() if asked <= {_bare(control) for control in each.controls}]
        best = next((device for device in can if device not in busy), can[0] if can else "")
        return msgspec.structs.replace(proposal, device=best)

    def _state(self, report: DeviceReport) -> PlanState:
        state = report.state
        plans = _plans(state)
        said = plans.get("where")
        numbers = {str(name): as_number(value) for name, value in (said.items() if isinstance(said, Mapping) else ())}
        where = {name: value for name, value in numbers.items() if value is not None}
        celsius, free = state.get("temperature_c"), state.get("disk_free_bytes")
        killed = str(self.charter.kill) if is_killed(self.charter.kill) else str(plans.get("killed") or "")
        return PlanState(
            controls=self._controls.get(report.device, {}),
            where=where,
            celsius=float(celsius) if isinstance(celsius, int | float) else None,
            free_bytes=free if isinstance(free, int) else None,
            privacy=self.charter.plans.privacy,  # which the device alone knows, and judges by
            killed=killed,
        )

    def spent(self, device: str) -> PlanSpent:
        """What plans have taken of a device in the last hour and day, as far as it was asked for here."""
        now_ns = self.now_ns()
        self._asked = [each for each in self._asked if each[0] > now_ns - DAY_NS]
        hour, day = PlanCost(), PlanCost()
        for at_ns, of, cost in self._asked:
            if of == device:
                day += cost
                hour += cost if at_ns > now_ns - HOUR_NS else PlanCost()
        return PlanSpent(hour=hour, day=day)


def controls_by_sensor(state: Mapping[str, Any]) -> dict[str, tuple[Control, ...]]:
    """What a device said of its controls; what cannot be read is left out."""
    found: dict[str, tuple[Control, ...]] = {}
    said = _plans(state).get("controls")
    for name, each in said.items() if isinstance(said, Mapping) else ():
        try:
            found[str(name)] = msgspec.convert(each, tuple[Control, ...])
        except msgspec.ValidationError:
            continue
    return found


def one_name_each(controls: Controls) -> tuple[Control, ...]:
    """The controls of a device: `SENSOR.CONTROL` where several of its sensors have some."""
    if len(controls) == 1:
        return next(iter(controls.values()))
    named = ((name, control) for name, those in sorted(controls.items()) for control in those)
    return tuple(msgspec.structs.replace(control, name=f"{name}.{control.name}") for name, control in named)


def approvers_of(charter: Charter) -> dict[bytes, str]:
    """Who may approve, by public key.

    Raises:
        ConfigError: a key that the charter names cannot be read.
    """
    found = [read_operator(path) for path in charter.plans.approvers]
    return {each.public: each.name for each in found}


def _plans(state: Mapping[str, Any]) -> Mapping[str, Any]:
    said = state.get("plans")
    return said if isinstance(said, Mapping) else {}


def _allowed(state: Mapping[str, Any]) -> Sequence[Any]:
    """The kinds of plans that a device's own charter lets through, as it says."""
    said = _plans(state).get("allowed")
    return said if isinstance(said, list | tuple) else ()


def _bare(control: Control) -> str:
    return control.name.rpartition(".")[2]


def names_of(reaches: Sequence[Reach]) -> frozenset[str]:
    """The devices."""
    return frozenset(each.device for each in reaches)
