"""Mapping: which fields of a recording make up a stream, and the units they are in, as the device file says it."""

import logging
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from sensorium.drivers.batching import estimate_rate_hz
from sensorium.drivers.replay.units import to_si
from sensorium.drivers.stream import Stamps, StreamSpec

log = logging.getLogger(__name__)

_AGREES = 0.1

FieldName = str | int
"""A column by its title or its number from 0, or a field by its path."""


def _either_name(schema: dict[str, Any]) -> None:
    """Of two names of a field a JSON Schema would have the first alone."""
    schema["properties"]["column"] = schema["properties"]["field"]
    schema["oneOf"] = [{"required": [name]} for name in ("field", "column")]
    del schema["required"]


def rate_of(what: str, stated_hz: float | None, captured_ns: Stamps) -> float | None:
    """The rate that was stated, with a warning where these stamps of the stream contradict it, else what they show."""
    seen_hz = estimate_rate_hz(captured_ns)
    if stated_hz is not None and seen_hz is not None and abs(stated_hz / seen_hz - 1) > _AGREES:
        log.warning("%s: rate_hz says %g Hz, its stamps show %g Hz; which is right?", what, stated_hz, seen_hz)
    return stated_hz or seen_hz


class Channel(BaseModel):
    """One column or field and the unit it is in; a known unit becomes SI (deg/s: rad/s, g: m/s^2, uT: T, ...)."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_either_name)

    field: FieldName = Field(validation_alias=AliasChoices("field", "column"))
    unit: str = ""


class MappedStream(BaseModel):
    """A float64 stream made of `channels`: {channel's name: field, or {field, unit}}."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: dict[str, FieldName | Channel] = Field(min_length=1)
    modality: str = "table"
    rate_hz: float | None = Field(default=None, gt=0)
    frame: str = ""

    @property
    def fields(self) -> list[FieldName]:
        """Where each channel comes from."""
        return [one.field if isinstance(one, Channel) else one for one in self.channels.values()]

    @property
    def factors(self) -> list[float]:
        """What each channel's values are multiplied by to be SI."""
        return [to_si(unit)[1] for unit in self._units]

    def spec(self, name: str, **more: Any) -> StreamSpec:
        """The stream's spec under the name `name`, with `more` of what is known."""
        units = [to_si(unit)[0] for unit in self._units]
        return StreamSpec(
            name=name,
            modality=self.modality,
            dtype="float64",
            shape=(len(self.channels),),
            unit=", ".join(units) if any(units) else "",
            channels=tuple(self.channels),
            **{"rate_hz": self.rate_hz, "frame": self.frame, "stamps_from": "source", **more},
        )

    @property
    def _units(self) -> list[str]:
        return [one.unit if isinstance(one, Channel) else "" for one in self.channels.values()]
