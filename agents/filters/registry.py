"""The registry of filters: entry points of the group `sensorium.filters`, by `kind`."""

from importlib.metadata import EntryPoint
from typing import Any

from sensorium.agents.filters.filter import FilterConfig
from sensorium.drivers.registry import kinds, model_of

GROUP = "sensorium.filters"


def filter_kinds() -> dict[str, EntryPoint]:
    """Every filter that is installed, by kind; nothing is imported."""
    return kinds(GROUP)


def filter_config(kind: str) -> type[FilterConfig[Any]]:
    """The model of the filter `kind`; an unknown kind raises `ConfigError` that suggests the nearest."""
    return model_of(GROUP, kind, FilterConfig)
