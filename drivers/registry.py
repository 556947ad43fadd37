"""The registry of drivers: entry points of the group `sensorium.drivers`, by `kind`."""

import difflib
from importlib.metadata import EntryPoint, entry_points

from sensorium.drivers.driver import DriverConfig
from sensorium.errors import ConfigError

GROUP = "sensorium.drivers"


def driver_kinds() -> dict[str, EntryPoint]:
    """Every driver that is installed, by kind; nothing is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def driver_config(kind: str) -> type[DriverConfig]:
    """The configuration model of `kind`; an unknown kind raises `ConfigError` that suggests the nearest."""
    kinds = driver_kinds()
    if kind not in kinds:
        near = difflib.get_close_matches(kind, kinds, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "see `sensorium devices`"
        raise ConfigError(f"unknown kind {kind!r}: {hint} (installed: {', '.join(sorted(kinds))})")
    model = kinds[kind].load()
    if not (isinstance(model, type) and issubclass(model, DriverConfig)):
        raise ConfigError(f"driver {kind!r}: {kinds[kind].value} is not a DriverConfig; tell its author")
    return model
