"""The device file: what a device is, checked once, with mistakes named by their path in the file."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    SkipValidation,
    ValidationError,
    field_validator,
    model_validator,
)

from sensorium.agents.charter import ObeyPart
from sensorium.agents.device_text import DeviceText, read_text, refuse_blank
from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.order import check_order
from sensorium.agents.filters.registry import GROUP as FILTERS
from sensorium.agents.triggers.config import GROUP as TRIGGERS
from sensorium.agents.triggers.config import TriggerConfig
from sensorium.agents.uplink.hours import HoursOfDay
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.marks import check_labels
from sensorium.drivers.registry import GROUP as DRIVERS
from sensorium.drivers.registry import by_kind, model_of, nearest
from sensorium.drivers.stream import check_name
from sensorium.episode.codecs.contract import CodecConfig
from sensorium.episode.codecs.registry import GROUP as CODECS
from sensorium.episode.documents import MAX_TEXT
from sensorium.errors import ConfigError
from sensorium.perception.detector import GROUP as DETECTORS
from sensorium.perception.encoder import GROUP as ENCODERS

OWN = "x-"
"""How keys at the top begin that are the user's own, to hold what others refer to by anchors."""
Text = Annotated[str, Field(max_length=MAX_TEXT)]
_DAY_S = 86_400.0
_BOUND = ("uplink", "trigger")
"""Where what is left out bounds nothing."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IngestPart(_Part):
    """Where to deliver. Keys are pyzmq certificates; without them only a server on this machine will do, or one to
    which `insecure: true` agrees."""

    url: str
    server_key: Path | None = None
    key: Path | None = None
    insecure: bool = False

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme != "tcp" or not parts.hostname or not re.search(r":\d+$", url):
            raise ValueError(f"expected tcp://HOST:PORT, got {url!r}")
        return url


class UplinkPart(_Part):
    """How much may be sent, and when, by the device's local time; what is not given bounds nothing.

    `bytes_per_s` adds up for ten seconds; `bytes_per_day` is for each day, from midnight to midnight; `hours` are like
    22:00-06:00. Episodes wait in the spool meanwhile; the link stays up.
    """

    bytes_per_s: ByteSize | None = Field(default=None, ge=256)
    bytes_per_day: ByteSize | None = Field(default=None, ge=100_000)
    hours: tuple[str, ...] | None = None

    @field_validator("hours")
    @classmethod
    def _check_hours(cls, hours: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if hours is not None and not hours:
            raise ValueError("expected stretches of the day, such as 22:00-06:00, got none; leave it out for all day")
        for each in hours or ():
            HoursOfDay.of(each)
        return hours


class SpoolPart(_Part):
    """Where episodes wait, and how much room they may take."""

    path: Path = Path("spool")
    max_bytes: ByteSize = Field(default=ByteSize(20 * 10**9), ge=16 << 20)
    min_free_bytes: ByteSize = ByteSize(0)
    when_full: Literal["block", "evict"] = "block"


class PreviewsPart(_Part):
    """Of each full episode a small one goes ahead: a picture of each camera every `every_s`, its longer side `side`
    pixels, what rows come to in as much time, and scores. With `hold` the full one stays here until it is fetched,
    released or, as the spool is full, evicted."""

    every_s: float = Field(default=1.0, ge=0.1, le=60.0)
    side: int = Field(default=96, ge=16, le=640)
    quality: int = Field(default=50, ge=1, le=95)
    hold: bool = True


class MissionPart(_Part):
    """What is recorded, and how urgent its delivery is (the larger first). An episode that reaches `max_episode_s` or
    `max_episode_bytes` is cut, whatever its trigger says, and goes on in the next. Each has the `labels`."""

    name: Text = "default"
    domain: Text = ""
    priority: float = Field(default=1.0, allow_inf_nan=False)
    max_episode_s: float = Field(default=60.0, gt=0, le=_DAY_S)
    max_episode_bytes: ByteSize = Field(default=ByteSize(256_000_000), ge=1_000_000)
    labels: dict[str, bool | int | float | str] = {}

    @field_validator("labels", mode="before")
    @classmethod
    def _plain_labels(cls, labels: object) -> object:
        """A day or a time, which YAML knows, is the text that it was."""
        if not isinstance(labels, Mapping):
            return labels
        plain = {name: str(value) if isinstance(value, date) else value for name, value in labels.items()}
        check_labels(plain)
        return plain

    def bounds(self, *, rollouts: bool = False) -> dict[str, int]:
        """As the recorder takes them; `rollouts`, which a simulation marks, last up to a day if nothing is said."""
        longest_s = _DAY_S if rollouts and "max_episode_s" not in self.model_fields_set else self.max_episode_s
        return {"max_episode_ns": round(longest_s * 1e9), "max_episode_bytes": int(self.max_episode_bytes)}


class ProvenancePart(_Part):
    """Under what terms the data was recorded."""

    licence: Text = ""
    consent: Text = ""


class DeviceFile(_Part):
    """A device file, checked. `base` is the folder that its relative paths start at."""

    device: str
    sensors: dict[str, Annotated[DriverConfig, by_kind(DRIVERS, DriverConfig)]] = Field(min_length=1)
    trigger: Annotated[TriggerConfig, by_kind(TRIGGERS, TriggerConfig)]
    ingest: IngestPart | None = None
    spool: SpoolPart = SpoolPart()
    uplink: UplinkPart = UplinkPart()
    filters: dict[str, list[Annotated[FilterConfig[Any], SkipValidation(), by_kind(FILTERS, FilterConfig)]]] = {}
    encodings: dict[str, Annotated[CodecConfig, by_kind(CODECS, CodecConfig, "codec")]] = {}
    mission: MissionPart = MissionPart()
    previews: PreviewsPart | None = None
    provenance: ProvenancePart = ProvenancePart()
    obey: tuple[ObeyPart, ...] = ()
    charter: Path | None = None
    base: Path = Field(default=Path(), exclude=True)

    @field_validator("device")
    @classmethod
    def _check_device(cls, name: str) -> str:
        return check_name(name, "device")

    @field_validator("obey", mode="before")
    @classmethod
    def _one_or_more(cls, obey: object) -> object:
        """Of one operator no list is needed."""
        return [obey] if isinstance(obey, Mapping) else obey

    @field_validator("filters")
    @classmethod
    def _check_filters(cls, filters: dict[str, list[FilterConfig[Any]]]) -> dict[str, list[FilterConfig[Any]]]:
        check_order(filters)
        return filters

    @field_validator("sensors")
    @classmethod
    def _check_sensors(cls, sensors: dict[str, DriverConfig]) -> dict[str, DriverConfig]:
        for name in sensors:
            check_name(name, "sensor")
        return sensors

    @model_validator(mode="after")
    def _check_previews(self) -> "DeviceFile":
        if self.previews is not None and self.previews.hold and self.spool.when_full != "evict":
            raise ValueError(
                "previews.hold: what is held would fill the spool for good; expected spool.when_full: evict, or"
                " hold: false"
            )
        return self

    def at(self, path: Path) -> Path:
        """A path of the file, from its folder."""
        return path if path.is_absolute() else self.base / path


def load_device_file(path: Path, overrides: Sequence[str] = ()) -> DeviceFile:
    """Read and check a device file; `overrides` are `a.b=c`, with `c` in YAML.

    Raises:
        ConfigError: one line a mistake: the file, the path in it, what was expected, the nearest valid name.
    """
    text = read_text(path, "device file")
    document = text.document
    if not isinstance(document, dict):
        raise ConfigError(f"device file {path}: expected a mapping with `device`, `sensors` and `trigger`")
    for override in overrides:
        set_in(document, override, "device file")
    refuse_blank(text, f"device file {path}", _BOUND, overrides)

    def where(place: Sequence[str | int]) -> str:
        for override in reversed(overrides):
            keys = override.partition("=")[0].strip().split(".")
            if [*map(str, place[: len(keys)])] == keys:
                return f"--set {override}: "
        line = text.line(place)
        return "" if line is None else f"line {line}: "

    return check_device(document, path.resolve().parent, str(path), where)


def check_device(
    document: Mapping[str, Any],
    base: Path,
    name: str = "device",
    where: Callable[[Sequence[str | int]], str] = lambda _: "",
) -> DeviceFile:
    """Check a device file's content; `base` is where its relative paths start, `name` what errors call it, `where` says
    how what is at a place of it begins. Keys that begin with `x-` are the user's own."""
    known = {key: value for key, value in document.items() if not str(key).startswith(OWN)}
    try:
        return DeviceFile.model_validate({**known, "base": base}, context={"base": base})
    except ValidationError as error:
        lines = (f"device file {name}: {where(place)}{line}" for place, line in _mistakes(error, document))
        raise ConfigError("\n".join(lines)) from error


def set_in(document: dict[str, Any], override: str, what: str) -> None:
    """Put what `a.b=c` says, `c` in YAML, into a document, which messages call `what`.

    Raises:
        ConfigError: it does not say so, or what is at `a` is no mapping.
    """
    place, equals, text = override.partition("=")
    keys = place.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {override}: expected a.b=c")
    at = document
    for key in keys[:-1]:
        following = at.setdefault(key, {})
        if not isinstance(following, dict):
            raise ConfigError(f"--set {override}: {key!r} is not a mapping in the {what}")
        at = following
    try:
        at[keys[-1]] = DeviceText(text, os.environ).document
    except ConfigError as error:
        first = str(error).splitlines()[0].removeprefix("line 1, ")
        raise ConfigError(f"--set {override}: {text!r}: {first}") from error


def _mistakes(error: ValidationError, document: Mapping[str, Any]) -> Iterator[tuple[Sequence[str | int], str]]:
    """Each with its place."""
    for problem in error.errors():
        where = list(problem["loc"])
        place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in where).lstrip(".")
        if problem["type"] == "extra_forbidden":
            known = _known_keys(where[:-1], document)
            hint = nearest(str(where[-1]), known)
            yield where, f"{place}: unknown key{hint} (known: {', '.join(sorted(known))})"
        elif problem["type"] == "missing":
            yield where, f"{place}: is missing"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            got = "" if isinstance(problem["input"], dict | list) or "got" in message else f", got {problem['input']!r}"
            at = f"{place}: " if place else ""  # what several parts make together has no place of its own
            yield where, f"{at}{message[:1].lower() + message[1:]}{got}"


def _known_keys(where: Sequence[str | int], document: Mapping[str, Any]) -> set[str]:
    """The keys that the format has at `where`: those of the last model on the way there."""
    model: type[BaseModel] = DeviceFile
    value: Any = document
    group = name = ""
    for key in where:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            value = None
        group, name = _KINDS.get(str(key), (group, name))
        if str(key) not in _KINDS and (part := _part(model, str(key))) is not None:
            model, group = part, ""
        elif group and isinstance(value, Mapping) and isinstance(value.get(name), str):
            model = model_of(group, value[name], BaseModel)
    return set(model.model_fields) - {"base"}


def _part(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The model of a part that is a mapping of known keys."""
    said = model.model_fields[key].annotation if key in model.model_fields else None
    parts = (each for each in (said, *get_args(said)) if isinstance(each, type) and issubclass(each, BaseModel))
    return next(parts, None)


_KINDS = {
    "sensors": (DRIVERS, "kind"),
    "filters": (FILTERS, "kind"),
    "trigger": (TRIGGERS, "kind"),
    "encodings": (CODECS, "codec"),
    "encoder": (ENCODERS, "kind"),
    "detector": (DETECTORS, "kind"),
}
