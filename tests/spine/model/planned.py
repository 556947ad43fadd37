"""Both ends with plans between them: a shelf and its courier, a device that obeys within its charter, and one sensor.

The witness of plans knows what was asked, what the charter says of it and what the sensor was made to do, over all
lives of the device, and believes nothing that either end says of itself.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from sensorium.agents.device_file import check_device
from sensorium.agents.directives import obeying as obeying_module
from sensorium.agents.directives.obeying import Obeying
from sensorium.agents.directives.rules import Rules
from sensorium.agents.plans import carrying as carrying_module
from sensorium.agents.plans.carrying import Carrying
from sensorium.agents.plans.limits import PlanState
from sensorium.agents.uplink.uplink import Uplink
from sensorium.corpus import directives as directives_module
from sensorium.corpus.directives import DirectiveShelf, GivenAnswer, issue
from sensorium.drivers.clock import Clock as DriverClock
from sensorium.drivers.clock import live_clock
from sensorium.drivers.controls import CONTROL, Control, Value, check_asked
from sensorium.drivers.driver import Delivery, Driver
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.stream import StreamSpec
from sensorium.errors import SensoriumError
from sensorium.ingest import courier as courier_module
from sensorium.ingest.courier import Courier
from sensorium.link.operators import new_operator, read_pair
from tests.spine.model.ends import SECOND, Device, Server
from tests.spine.model.machine import TwoEnds
from tests.spine.model.witness import Invariant, Witness

MOST_PLANS = 4
PLACES = st.sampled_from([0.0, 1.0, 2.0, 5.0])
LOW, HIGH = -1.0, 2.0
CHARTER = f"""
plans:
  allow: [viewpoint]
  controls: {{x_m: {{at_least: {LOW}, at_most: {HIGH}}}}}
  per_day: {{plans: {MOST_PLANS}}}
kill: KILL
"""
TIGHTENED = (None, "", "plans: {allow: [stop]}", "plans: {allow: [viewpoint]", "plans: {allow: [fly]}")
"""None: it is gone."""


class PlansWitness:
    """Told of what is asked of the sensor, and of what the store says."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self.killed = False
        self.allowed = True
        """By the device's charter, as it is now."""
        self.wanted: dict[str, float] = {}
        self.begun: list[str] = []
        self.this_life: set[str] = set()
        self.did: set[str] = set()
        self.answers: dict[str, GivenAnswer] = {}

    def begins(self, proposal: str, x_m: float) -> None:
        """The sensor is asked."""
        check = self._witness.check
        lawful = x_m == self.wanted.get(proposal) and LOW <= x_m <= HIGH
        check(lawful, Invariant.LAWFUL, f"{proposal}: {x_m}, asked was {self.wanted.get(proposal)}")
        check(not self.killed, Invariant.LAWFUL, f"{proposal} is begun, and plans are killed")
        check(self.allowed, Invariant.LAWFUL, f"{proposal} is begun, and its charter allows none any more, or is gone")
        again = proposal in self.this_life or proposal in self.answers
        check(not again, Invariant.PLAN_ONCE, f"{proposal} is begun again, in the same life, or though it is answered")
        self.begun.append(proposal)
        self.this_life.add(proposal)
        most = len(self.begun) <= MOST_PLANS
        check(most, Invariant.LAWFUL, f"{len(self.begun)} plans were begun, {MOST_PLANS} a day are let through")

    def causes(self, proposal: str) -> None:
        """From now on what is recorded is by this one, or, empty, by none."""
        asked = not proposal or (proposal in self.this_life and proposal == self.begun[-1])
        self._witness.check(asked, Invariant.PLAN_CAUSES, f"{proposal} causes what is recorded, and was not asked last")

    def answered(self, proposal: str, answer: GivenAnswer) -> None:
        """An answer is in the store."""
        before = self.answers.setdefault(proposal, answer)
        same = (before.state, before.why) == (answer.state, answer.why)
        self._witness.check(same, Invariant.PLAN_ONCE, f"{proposal} was {before.state}, and is {answer.state}")
        done = answer.state != "done" or proposal in self.did
        self._witness.check(done, Invariant.PLAN_TRUE, f"{proposal} is answered as done, and was not")


class Sensor:
    """One that goes where it is asked to, by the next turn."""

    specs: tuple[StreamSpec, ...] = ()
    controls = (Control(name="x_m", plan="viewpoint", low=-9, high=9),)

    def __init__(self, witness: PlansWitness) -> None:
        self._witness = witness
        self.open: tuple[str, float] | None = None

    @property
    def clock(self) -> DriverClock:
        return live_clock()

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        checked = check_asked(self.controls, asked)
        if checked:
            self._witness.begins(name, float(checked["x_m"]))
            self.open = name, float(checked["x_m"])

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        return ()

    def close(self) -> None:
        """Nothing is open."""


class PlannedEnd(Device):
    """A device that obeys an operator in plans. `folder` has its charter, and the operator's key."""

    folder: Path
    plans: PlansWitness

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        super().stand_in(patch)
        patch.setattr(obeying_module, "boottime_ns", self.clock.device_ns)
        patch.setattr(carrying_module, "LOOK_S", 0.0)

    def start(self) -> None:
        super().start()
        if not self.up:
            return
        self.plans.this_life.clear()
        self.sensor = Sensor(self.plans)
        obey = {"operator": str(self.folder / "anna.operator"), "may": ["plan"]}
        document = {
            "device": "rig",
            "sensors": {"base": {"kind": "sim-planar"}},
            "obey": obey,
            "charter": "charter.yaml",
        }
        file = check_device({**document, "trigger": {"kind": "interval", "length_s": 10}}, self.folder)
        rules = Rules(file)
        self.carrying = Carrying("rig", rules.permit, self.disk.root / "plans" / "spent")
        self.obeying = Obeying(
            self.disk.root / "directives",
            file,
            rules=rules,
            clock=None,
            doing={},
            change=lambda _, settled: settled("there are no settings here"),
            plan=lambda asked, operator, settled: self.carrying.take(asked.body, operator, settled),
        )
        self.uplink = Uplink(self.spool, "tcp://127.0.0.1:7707", obeys=self.obeying)
        self.uplink.start()

    def turn(self) -> None:
        """And one of the thread that collects."""
        super().turn()
        if not self.up:
            return
        if self.sensor.open is not None:
            (name, x_m), self.sensor.open = self.sensor.open, None
            self.plans.did.add(name)
            now_ns = self.clock.device_ns()
            value = {"asked": {"x_m": x_m}, "did": {"x_m": x_m}, "why": ""}
            effect = self.carrying.heard("base", SourceNote(CONTROL, name, value, start_ns=now_ns, end_ns=now_ns))
            if effect is not None:
                self.plans.causes(effect.proposal)
        for effect in self.carrying.step(self)[-1:]:
            self.plans.causes(effect.proposal)

    # --- as plans see it -----------------------------------------------------------------------------------------

    def drivers(self) -> Mapping[str, Driver]:
        return {"base": self.sensor}

    def passed_ns(self) -> int:
        return self.clock.device_ns()

    def condition(self) -> PlanState:
        return PlanState()

    def change_mission(self, name: str, settled: Callable[[str], None]) -> None:
        settled(f"no mission {name!r} here")


class CourierEnd(Server):
    """A store, whose courier has its turn with the pump's."""

    plans: PlansWitness

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        super().stand_in(patch)
        for module in (courier_module, directives_module):
            patch.setattr(module, "time", self.clock)

    def start(self) -> None:
        super().start()
        if self.up:
            shared = self._control._shared
            self.courier = Courier(self.store, self.link, shared.lock, lambda: None, shared.stop)

    def turn(self) -> None:
        super().turn()
        if not self.up:
            return
        try:
            self.courier.step()
        except (OSError, SensoriumError):
            return
        for entry in DirectiveShelf(self.store.path).all("rig"):
            if entry.document is not None and entry.answer is not None:
                self.plans.answered(entry.document.body["proposal"], entry.answer)


class EndsThatPlan(TwoEnds):
    """The same, where plans are asked for, told, carried out and answered: a machine of its own."""

    device: PlannedEnd
    server: CourierEnd
    makes = (PlannedEnd, CourierEnd)

    def __init__(self) -> None:
        super().__init__()
        folder = self.base / "own"
        folder.mkdir()
        self.plans = PlansWitness(self.witness)
        self.device.folder, self.device.plans, self.server.plans = folder, self.plans, self.plans
        (folder / "charter.yaml").write_text(CHARTER)
        self.pair = read_pair(new_operator("anna", folder)[1])

    flips_a_bit = file_rots = staging_rots = wrong_word = sync_is_late = None  # type: ignore[assignment]
    loses_bulk = overtakes_a_write = sync_thread_waits = gives_up = None  # type: ignore[assignment]

    @rule(places=st.lists(PLACES, min_size=1, max_size=3), turns=st.integers(0, 12))
    def asks_for_plans(self, places: list[float], turns: int) -> None:
        """Of some places, of which one is outside the charter; and it goes well for a while."""
        for x_m in places:
            self.asks(x_m)
        self.run(turns)

    @rule(x_m=PLACES, turns=st.integers(8, 14), calls=st.integers(0, 30), power=st.booleans())
    def dies_in_a_plan(self, x_m: float, turns: int, calls: int, power: bool) -> None:
        """The device is killed, or loses power, at one of its next calls to the disk, once it may know of one."""
        self.run(turns)
        self.asks(x_m)
        self.device.disk.calls_left = calls
        self.until_it_dies(self.device, power, 6)

    def asks(self, x_m: float) -> None:
        if self.server.up:
            proposal = f"p{len(self.plans.wanted)}"
            self.plans.wanted[proposal] = x_m
            body = {"proposal": proposal, "plan": "viewpoint", "sensor": "base", "parameters": {"x_m": x_m}}
            self.act(self.server, self._issue, body)

    @rule(x_m=PLACES, turns=st.integers(1, 14))
    def is_killed_for_a_while(self, x_m: float, turns: int) -> None:
        """The kill switch is there, and gone again; a plan is asked for meanwhile."""
        switch = self.device.folder / "KILL"
        switch.touch()
        self.plans.killed = True
        self.asks(x_m)
        self.run(turns)
        switch.unlink()
        self.plans.killed = False

    @rule(x_m=PLACES, before=st.integers(0, 8), turns=st.integers(1, 14), now=st.sampled_from(TIGHTENED))
    def its_charter_is_tightened_for_a_while(self, x_m: float, before: int, turns: int, now: str | None) -> None:
        """Its owner lets plans do no more, or the file is gone, or none; a plan is on its way, or asked for then."""
        charter = self.device.folder / "charter.yaml"
        self.asks(x_m)
        self.run(before)
        if now is None:
            charter.unlink()
        else:
            charter.write_text(now)
        self.plans.allowed = False
        self.run(turns)
        charter.write_text(CHARTER)
        self.plans.allowed = True

    @rule(x_m=PLACES, turns=st.integers(0, 3), seen=st.booleans())
    def its_answer_is_lost(self, x_m: float, turns: int, seen: bool) -> None:
        """What the device says at one moment never comes, and the connection breaks: it is told again of the plan."""
        self.asks(x_m)
        self.run(turns)
        for _ in range(3):
            self.act(self.device, self.device.turn)
        if self.network.open is not None:
            self.network.open.sever(seen)
        self.clock.now_ns += (2 if seen else 21) * SECOND
        self.run(14)

    def drain(self) -> None:
        """And every plan is answered: what was lost unseen is told in another session, which heartbeats see to."""
        super().drain()
        for turn in range(450):
            if len(self.plans.answers) == len(self.plans.wanted):
                break
            if turn % 150 == 0 and self.network.open is not None:
                self.network.open.sever(seen=True)
            self.run(1)
            self.clock.now_ns += (
                SECOND // 5
            )  # the server's time is known once eight probes are answered within five seconds
        left = sorted(set(self.plans.wanted) - set(self.plans.answers))
        self.witness.check(not left, Invariant.PLAN_ANSWERED, f"no answer to {left}")

    def _issue(self, body: Mapping[str, Any]) -> None:
        try:
            issue(self.server.store.path, ["rig"], "plan", body, self.pair, life_s=86_400)
        except SensoriumError:
            self.plans.wanted.pop(body["proposal"])
