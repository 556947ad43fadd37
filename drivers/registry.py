"""The registry: configuration models by `kind`, found as entry points; drivers are one group of them."""

import difflib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from sensorium.drivers.driver import DriverConfig
from sensorium.errors import ConfigError
from sensorium.threads import reason

log = logging.getLogger(__name__)

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
    except (Exception, SystemExit) as error:  # importing runs what its author wrote
        why = error if isinstance(error, ImportError | AttributeError) else reason(error)
        raise ConfigError(f"{group} {kind!r}: cannot import {known[kind].value}: {why}; install it again") from error
    if not (isinstance(model, type) and issubclass(model, contract)):
        raise ConfigError(f"{group} {kind!r}: {known[kind].value} is not a {contract.__name__}; tell its author")
    return model


@dataclass(frozen=True, slots=True)
class ByKind:
    """Validates a mapping with the model that its `kind` (or another `key`) names; in its context, if it has one."""

    group: str
    contract: type[BaseModel]
    key: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_before_validator_function(self._validated, handler(source))

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """That of the installed kind which a document names, so that what is wrong is told of that one alone."""
        found: dict[str, dict[str, Any]] = {}
        for kind in sorted(kinds(self.group)):
            try:
                model = model_of(self.group, kind, self.contract, self.key)
            except ConfigError as error:
                log.warning("schema without %s %r: %s", self.key, kind, error)
            else:
                found[kind] = handler(model.__pydantic_core_schema__)
        of_each = [{"if": self._is(kind), "then": each} for kind, each in found.items()]
        return {
            "type": "object",
            "required": [self.key],
            "properties": {self.key: {"enum": list(found)}},
            **({"allOf": of_each} if found else {}),
        }

    def _is(self, kind: str) -> dict[str, Any]:
        return {"properties": {self.key: {"const": kind}}, "required": [self.key]}

    def _validated(self, value: object, info: ValidationInfo) -> object:
        if isinstance(value, self.contract):
            return value
        if not isinstance(value, Mapping) or not isinstance(value.get(self.key), str):
            raise ValueError(f"expected a mapping with `{self.key}`, got {value!r}")
        model = model_of(self.group, value[self.key], self.contract, self.key)
        return model.model_validate(value, context=info.context)


def by_kind(group: str, contract: type[BaseModel], key: str = "kind") -> ByKind:
    """The annotation of a field that holds what one of a group of models makes."""
    return ByKind(group, contract, key)


def driver_config(kind: str) -> type[DriverConfig]:
    """The configuration model of the driver `kind`; an unknown kind raises `ConfigError` that suggests the nearest."""
    return model_of(GROUP, kind, DriverConfig)
