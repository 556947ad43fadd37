"""Checking: what a device file would do here, found out by opening its sensors and recording nothing."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from sensorium.agents.absent import filters_of
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.joining import Joining
from sensorium.agents.recording.manifest import entries_of
from sensorium.agents.sensors import open_sensors
from sensorium.episode.documents import StreamEntry


@dataclass(frozen=True, slots=True)
class Checked:
    """A device file that fits its sensors: how each stream would be stored, behind which `filters`; why sensors are
    `absent`; what it asks for that cannot be had, a line of `advice` each."""

    clock: str
    entries: tuple[StreamEntry, ...]
    filters: Mapping[str, tuple[str, ...]]
    absent: Mapping[str, str]
    advice: tuple[str, ...]

    def raw_bytes_per_s(self, entry: StreamEntry) -> float | None:
        """What a stream brings before it is encoded, if its rate is known."""
        rate_hz = entry.spec.rate_hz
        return None if rate_hz is None else rate_hz * entry.spec.sample_bytes


def check(device: DeviceFile) -> Checked:
    """Open the sensors as a run would, make what is configured for them, and close them again.

    Raises:
        SensoriumError: a run could not begin: a sensor that has to be there is not, or the file does not fit it.
    """
    with ExitStack() as stack:
        sensors = open_sensors(device)
        stack.callback(sensors.close)
        filters = filters_of(device, sensors.specs, sensors.absent)
        chain = FilterChain(sensors.specs, filters)
        Joining(device, sensors, chain)
        return Checked(
            sensors.clock.kind,
            entries_of(device, chain.specs, sensors.absent, chain.redactions),
            {stream: tuple(each.kind for each in mine) for stream, mine in filters.items()},
            sensors.absent,
            tuple(device.trigger.advice(chain.specs)),
        )
