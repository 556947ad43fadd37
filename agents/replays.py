"""Replays: which recordings or worlds a device file plays, and how; by that a run is known again."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from sensorium.agents.device_file import DeviceFile
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.identity import Identity
from sensorium.episode.starts import start_word
from sensorium.errors import SensoriumError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Replay:
    """`sources` tells by sensor what is played, `source` is a digest of that, and `configuration` one of how: sensors,
    filters and trigger, but not the pace. Both are empty where one of the sensors is new each time. `start` is the
    ordinal with which this start begins, of what cannot be taken up again: each start is in a time of its own."""

    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = ""
    configuration: str = ""
    ends: bool = False
    start: int = 0

    @property
    def time(self) -> str:
        """What the time is called in which it plays, as a boot's is by its id."""
        return start_word(self.source, self.start)

    @property
    def run(self) -> str:
        """What a run is known by, empty if it cannot be taken up again: what never ends has no beginning either."""
        return f"{self.source}-{self.configuration}" if self.ends and self.source else ""


def replay_of(device: DeviceFile) -> Replay:
    """What a device file plays, if its sensors are recordings or worlds."""
    found = {name: _identity(name, config, device.base) for name, config in device.sensors.items()}
    identities = {name: identity for name, identity in found.items() if identity is not None}
    sources = {name: identity.said for name, identity in identities.items()}
    if len(identities) < len(found):
        return Replay(sources)
    how = {
        "sensors": {name: _how(config, sources[name]) for name, config in device.sensors.items()},
        "filters": {name: [_with_files(each) for each in filters] for name, filters in device.filters.items()},
        "trigger": _plain(device.trigger),
    }
    ends = all(identity.ends for identity in identities.values())
    return Replay(sources, _digest(sorted(_digest(said) for said in sources.values())), _digest(how), ends)


def _identity(name: str, config: DriverConfig, base: Path) -> Identity | None:
    try:
        return config.identity(base)
    except (OSError, SensoriumError) as error:
        log.warning("sensor %r: cannot be told from others: %s", name, error)
        return None


def _how(config: DriverConfig, said: Mapping[str, Any]) -> dict[str, Any]:
    """What is set of a sensor beside what its source is told by, and what changes nothing that is recorded."""
    return {
        name: value
        for name, value in _plain(config).items()
        if name == "kind" or name not in {*said, "pace", "required"}
    }


def _with_files(config: Any) -> dict[str, Any]:
    """A filter's configuration, and what is in the files that it names, such as a mask or a model."""
    files = {str(path): _content(path) for path in _paths(config.model_dump(serialize_as_any=True))}
    return _plain(config) | ({"files": files} if files else {})


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _paths(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _paths(each)


def _content(path: Path) -> str:
    try:
        return blake3(path.read_bytes()).hexdigest(length=16)
    except OSError:
        return ""  # the filter says what is wrong with it


def _plain(config: Any) -> dict[str, Any]:
    plain: dict[str, Any] = config.model_dump(mode="json", serialize_as_any=True)
    return plain


def _digest(said: Any) -> str:
    return blake3(msgspec.json.encode(said, order="sorted")).hexdigest(length=16)
