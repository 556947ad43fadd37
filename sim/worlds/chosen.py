"""Which worlds are installed, and one of them by its kind and what is set of it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sensorium.drivers.registry import driver_config, driver_kinds, nearest
from sensorium.errors import ConfigError
from sensorium.sim.worlds.config import WorldConfig

PREFIX = "sim-"


def world_kinds() -> list[str]:
    """The kinds of all worlds that are installed, in order; one that cannot be imported is among them."""
    return sorted(kind for kind in driver_kinds() if kind.startswith(PREFIX) and _may_be(kind))


def world_config(kind: str, settings: Mapping[str, Any] | None = None) -> WorldConfig:
    """The configuration of the world `kind`, whose prefix `sim-` may be left out, with `settings` by field.

    Raises:
        ConfigError: there is no such world, or it cannot be set so.
    """
    known = world_kinds()
    name = kind if kind in known else PREFIX + kind
    if name not in known:
        raise ConfigError(f"no world {kind!r}{nearest(name, known)} (installed: {', '.join(known)})")
    model = driver_config(name)
    try:
        config = model.model_validate({**(settings or {}), "kind": name})
    except ValidationError as error:
        raise ConfigError("\n".join(f"world {name}: {line}" for line in _lines(error, model))) from error
    if not isinstance(config, WorldConfig):
        raise ConfigError(f"{name!r} is no world: its model is not a WorldConfig; tell its author")
    return config


def _may_be(kind: str) -> bool:
    """Whether it is a world, or cannot be told: its own error says why when it is asked for."""
    try:
        return issubclass(driver_config(kind), WorldConfig)
    except ConfigError:
        return True


def _lines(error: ValidationError, model: type[Any]) -> list[str]:
    lines = []
    for problem in error.errors():
        place = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
            lines.append(f"{place}: unknown{nearest(place, model.model_fields)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {message[:1].lower()}{message[1:]}" if place else message)
    return lines
