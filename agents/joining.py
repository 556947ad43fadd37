"""Joining: a sensor that comes late brings its streams into what is recorded, or it alone is refused."""

import logging
from collections.abc import Callable, Sequence

from sensorium.agents.absent import filters_for, filters_of
from sensorium.agents.capture.onlookers import Onlookers
from sensorium.agents.capture.pipeline import Pipeline
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.recording.manifest import entries_of, in_brief
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.sensors import Sensors
from sensorium.agents.triggers.trigger import Trigger
from sensorium.agents.triggers.waiting import WaitingTrigger, start_trigger
from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.driver import Driver
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.documents import StreamEntry
from sensorium.errors import ConfigError

log = logging.getLogger(__name__)

Seat = Callable[[Trigger, Sequence[StreamEntry]], object]
"""What a trigger is given before it decides of streams that are recorded so."""


class Joining:
    """Knows which sensors of a device are absent, and what waits for them. One thread calls it.

    Args:
        sensors: As they were when all began.
        chain: The filters of those that were there; what `device` says of others is added as they come.
    """

    def __init__(self, device: DeviceFile, sensors: Sensors, chain: FilterChain) -> None:
        self._device = device
        self._clock = sensors.clock
        self._captured: list[StreamSpec] = list(sensors.specs)
        self._chain = chain
        self._since_ns = boottime_ns()
        self.absent = sensors.absent
        self.seat: Seat = lambda *_: None
        self.trigger = start_trigger(device.trigger, chain.specs, self.absent, chain.scores)
        for name in sorted(device.filters.keys() - filters_of(device, self._captured, self.absent).keys()):
            log.warning("filters.%s waits for its sensor, which is absent", name)

    def join(self, name: str, driver: Driver, recorder: Recorder, pipeline: Pipeline, onlookers: Onlookers) -> str:
        """A sensor is there: why it is refused, or empty, and then it may be read."""
        device, chain = self._device, self._chain
        others = {each: why for each, why in self.absent.items() if each != name}
        try:
            self._check(name, driver)
            more = FilterChain(driver.specs, filters_for(device, name, driver.specs, self.absent))
            specs = (*chain.specs, *more.specs)
            entries = entries_of(device, specs, others, more.redactions)[len(chain.specs) :]
            trigger = None
            if isinstance(self.trigger, WaitingTrigger):
                trigger = start_trigger(device.trigger, specs, others, {**chain.scores, **more.scores})
            chain.join(more)
        except ConfigError as error:
            self.absent[name] = f"refused: {error}"
            recorder.join((), in_brief(self.absent), 0, 0)
            return f"it does not fit what is recorded: {error}"
        self.absent = others
        self._captured += driver.specs
        recorder.join(entries, in_brief(others), self._since_ns, boottime_ns())
        pipeline.join(name, [spec.name for spec in more.specs])
        onlookers.join(driver.specs)
        if trigger is None:
            self.trigger.join(entries)
        elif not isinstance(trigger, WaitingTrigger):
            self.trigger = trigger
            self.seat(trigger, entries_of(device, specs, others, chain.redactions))
            recorder.replace_trigger(trigger)
        log.warning("sensor %r is there: its streams are in episodes that begin from now on", name)
        return ""

    def _check(self, name: str, driver: Driver) -> None:
        """Raise `ConfigError` if its clock or the names of its streams do not fit."""
        if driver.clock.kind != self._clock.kind:
            raise ConfigError(f"its clock is {driver.clock.kind}, that of the device {self._clock.kind}")
        taken: Sequence[str] = [spec.name for spec in self._chain.specs]
        for spec in driver.specs:
            if spec.name in taken:
                raise ConfigError(f"there is a stream {spec.name!r} already; rename the sensor {name!r}")
