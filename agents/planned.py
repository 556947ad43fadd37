"""Plans in an agent that collects: they reach its sensors as they are open now, and what it records by them."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sensorium.agents.capture.arrival import Arrival
from sensorium.agents.capture.intake import Intake
from sensorium.agents.delivery import Delivery
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.directed import in_force
from sensorium.agents.directives.rules import Rules
from sensorium.agents.directives.settings import plain
from sensorium.agents.line import RecordingLine
from sensorium.agents.orders import Change, Orders
from sensorium.agents.plans.carrying import Carrying
from sensorium.agents.plans.causing import Effect
from sensorium.agents.plans.limits import PlanState, Privacy
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.reporting import temperature_c
from sensorium.drivers.controls import CONTROL
from sensorium.drivers.driver import Driver
from sensorium.drivers.marks import SourceNote
from sensorium.perception.gray import is_pictures


class Planned:
    """One thread calls it, that which collects. `carrying` has the plans, and `orders` is told what they ask of all; of
    `sensors` some may be asked."""

    def __init__(self, carrying: Carrying, delivery: Delivery, orders: Orders, sensors: Iterable[str]) -> None:
        self._carrying, self._delivery, self._orders = carrying, delivery, orders
        self._sensors = tuple(sensors)

    def go_on(self, intake: Intake, line: RecordingLine) -> None:
        """Do what is due."""
        here = _Here(self._delivery, self._orders, self._sensors, intake, line.recorder)
        for effect in self._carrying.step(here):
            _cause(line, effect)
        paid = line.recorder.episodes.causes.paid
        while paid:
            self._carrying.paid(*paid.popleft())

    def heard(self, arrival: Arrival, line: RecordingLine) -> Arrival | None:
        """What is left of an arrival: nothing of one in which a sensor says what it did of a plan. What it did not do
        is noted where that is known: when it was begun may be in an episode of long ago."""
        said = arrival.said
        if not isinstance(said, SourceNote) or said.kind != CONTROL:
            return arrival
        effect = self._carrying.heard(arrival.sensor, said)
        if effect is not None:
            _cause(line, effect)
        if effect is None or effect.proposal != said.name:
            at_ns = said.start_ns if said.end_ns is None else said.end_ns
            return replace(arrival, said=replace(said, start_ns=at_ns))
        return None

    def end(self) -> None:
        """Nothing is collected any more."""
        self._carrying.end()


def _cause(line: RecordingLine, effect: Effect) -> None:
    recorder, trigger = line.recorder, line.joining.trigger
    on_the_way = effect.is_on_the_way  # which the trigger judges as ever, by what is new
    recorder.notes.cause(
        recorder.epoch, effect.proposal, effect.at_ns, effect.until_ns, effect.value, on_the_way=on_the_way
    )
    trigger.cause(effect.at_ns, "" if on_the_way else effect.proposal)
    if effect.until_ns is not None:
        trigger.cause(effect.until_ns, "")


@dataclass(frozen=True, slots=True)
class _Here:
    """A `PlannedDevice`."""

    delivery: Delivery
    orders: Orders
    sensors: Sequence[str]
    intake: Intake
    recorder: Recorder

    def drivers(self) -> Mapping[str, Driver]:
        return {name: self.intake.driver(name) for name in self.sensors}

    def passed_ns(self) -> int:
        return max((state.passed_ns for state in self.recorder.streams.values()), default=0)

    def condition(self) -> PlanState:
        try:
            free_bytes = shutil.disk_usage(self.delivery.spool.path).free
        except OSError:
            free_bytes = None
        privacy = privacy_of(in_force(self.delivery), self.drivers())
        return PlanState(celsius=temperature_c(), free_bytes=free_bytes, privacy=privacy)

    def change_mission(self, name: str, settled: Callable[[str], None]) -> None:
        delivery, as_set = self.delivery, in_force(self.delivery)
        mission = as_set.mission.model_copy(update={"name": name}) if name else as_set.mission
        after = as_set.model_copy(update={"mission": mission})
        why = Rules(delivery.device).charter.refuses_change({"mission.name": name}, plain(after)) if name else ""

        def changed(why: str) -> None:
            if not why:  # settings may have come meanwhile
                delivery.apply(delivery.device.model_copy(update={"mission": mission}))
            settled(why)

        if why:
            settled(why)
        else:
            self.orders.change(Change(after, changed))

    def stop(self) -> None:
        self.orders.stop()


def privacy_of(device: DeviceFile, drivers: Mapping[str, Driver]) -> Privacy:
    """How private it is what a device records of these sensors."""
    pictures = [spec.name for driver in drivers.values() for spec in driver.specs if is_pictures(spec)]
    if not pictures:
        return "no-pictures"
    redacted = all(any(each.redacts for each in device.filters.get(name, ())) for name in pictures)
    return "redacted" if redacted else "any"
