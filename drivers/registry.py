"""The registry: configuration models by `kind`, found as entry points; drivers are one group of them."""

import difflib
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationInfo

from sensorium.drivers.driver import DriverConfig
from sensorium.errors import ConfigError
from sensorium.threads import reason

GROUP = "sensorium.drivers"
_Model = TypeVar("_Model", bound=BaseModel)


def kinds(group: str) -> dict[str, EntryPoint]:
    """Everything installed under the entry points `group`, by kind; nothing is imported."""
    return {point.name: point for point in entry_points(group=group)}


def driver_kinds() -> dict[str, EntryPoint]:
    """Every driver that is installed, by kind; nothing is imported."""
    return kinds(GROUP)


def nearest(word: str, known: Iterable[str]) -> str:
    """The hint ", did you mean 'x'?" for a misspelt `word`; empty if nothing known is near it.

    >>> nearest("cam8", ["cam0", "imu0"])
    ", did you mean 'cam0'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else ""


def model_of(group: str, kind: str, contract: type[_Model], word: str = "kind") -> type[_Model]:
    """The model that `group` has under `kind`, which messages call `word`.

    Raises:
        ConfigError: there is none (the nearest is suggested), or it cannot be imported, or is no `contract`.
    """
    known = kinds(group)
    if kind not in known:
        raise ConfigError(f"unknown {word} {kind!r}{nearest(kind, known)} (installed: {', '.join(sorted(known))})")
    try:
        model = known[kind].load()
    except Exception as error:  # importing runs what its author wrote
        why = error if isinstance(error, ImportError | AttributeError) else reason(error)
        raise ConfigError(f"{group} {kind!r}: cannot import {known[kind].value}: {why}; install it again") from error
    if not (isinstance(model, type) and issubclass(model, contract)):
        raise ConfigError(f"{group} {kind!r}: {known[kind].value} is not a {contract.__name__}; tell its author")
    return model


def by_kind(group: str, contract: type[BaseModel], key: str = "kind") -> BeforeValidator:
    """Validate a mapping with the model that its `kind` (or another `key`) names; in its context, if it has one."""

    def validate(value: object, info: ValidationInfo) -> object:
        if isinstance(value, contract):
            return value
        if not isinstance(value, Mapping) or not isinstance(value.get(key), str):
            raise ValueError(f"expected a mapping with `{key}`, got {value!r}")
        return model_of(group, value[key], contract, key).model_validate(value, context=info.context)

    return BeforeValidator(validate)


def driver_config(kind: str) -> type[DriverConfig]:
    """The configuration model of the driver `kind`; an unknown kind raises `ConfigError` that suggests the nearest."""
    return model_of(GROUP, kind, DriverConfig)
