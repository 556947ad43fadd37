"""Absent sensors: which names in a device file are of sensors that are not there yet, and wait with them."""

from collections.abc import Collection, Sequence

from sensorium.agents.device_file import DeviceFile
from sensorium.agents.triggers.config import Filters
from sensorium.drivers.stream import StreamSpec


def sensor_of(device: DeviceFile, stream: str, absent: Collection[str], seen: frozenset[str] = frozenset()) -> str:
    """The sensor, of those absent, that may have a stream of this name, or one that it is derived from; else empty.

    Streams of a sensor are called as it is, or begin with its name and a dot.
    """
    for name in sorted(absent, key=len, reverse=True):
        if stream == name or stream.startswith(f"{name}."):
            return name
    for source, filters in device.filters.items():
        if source not in seen | {stream} and any(config.into == stream for config in filters):
            return sensor_of(device, source, absent, seen | {stream})
    return ""


def filters_of(device: DeviceFile, specs: Sequence[StreamSpec], absent: Collection[str]) -> Filters:
    """The filters of the device file that do not wait, those of `specs` and of streams that no absent sensor has; and
    what its trigger needs besides."""
    here = {spec.name for spec in specs}
    said = {name: each for name, each in device.filters.items() if name in here or not sensor_of(device, name, absent)}
    return device.trigger.filters(specs, said)


def filters_for(device: DeviceFile, sensor: str, specs: Sequence[StreamSpec], absent: Collection[str]) -> Filters:
    """The filters that wait for a sensor of those absent, which has come with `specs`."""
    said = {name: each for name, each in device.filters.items() if sensor_of(device, name, absent) == sensor}
    return device.trigger.filters(specs, said)
