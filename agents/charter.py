"""The charter of a device: what nobody may have it do from afar; and `obey`, whom it obeys in what else.

Both are files of the device's own hand: no directive changes them. A planner that knows the charter refuses earlier.
"""

import fnmatch
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from sensorium.agents.bound import SettingBound
from sensorium.agents.device_text import DeviceText, read_text
from sensorium.agents.plans.limits import PlanLimits
from sensorium.drivers.registry import nearest
from sensorium.errors import ConfigError

Places = TypeVar("Places", tuple[str, ...], dict[str, SettingBound])
log = logging.getLogger(__name__)

KINDS = ("settings", "stop", "release", "fetch", "campaign", "sketch", "plan")
"""What may be asked of devices; not every version obeys all of them."""
CHANGEABLE = ("trigger", "filters", "encodings", "mission", "uplink", "spool", "previews", "provenance")
"""Parts of a device file that settings may change, and while it runs: what is read from sensors goes on."""
OWN = ("spool.path",)
PARTS = ("device", "sensors", "ingest", "obey", "charter", *CHANGEABLE)
"""Of a device file, all."""
RATE = "rate"
_RATES = ("*.rate_hz", "*.max_hz", "uplink.bytes_per_s", "uplink.bytes_per_day")
"""The settings that `rate` means: how often, and how much."""


class ObeyPart(BaseModel):
    """An operator whom the device obeys: the file of the public key, and in what. `may` has kinds of directives, or
    parts of the device file that settings may change (`trigger`, `filters.front`), or `rate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operator: Path
    may: tuple[str, ...] = Field(min_length=1)

    @field_validator("may")
    @classmethod
    def _check_may(cls, may: tuple[str, ...]) -> tuple[str, ...]:
        for each in may:
            if each not in (*KINDS, RATE) and each.partition(".")[0] not in CHANGEABLE:
                known = ", ".join((*KINDS, RATE, *CHANGEABLE))
                raise ValueError(f"expected one of {known}, or a place in one of the latter, got {each!r}")
        return may

    def allows(self, kind: str, changes: Mapping[str, Any]) -> str:
        """Why a directive of this kind is more than the operator may ask; empty if it is not. `changes` are those of
        settings, by place."""
        if kind in self.may:
            return ""
        places = [each for each in self.may if each not in KINDS]
        if kind != "settings" or not places:
            return f"obey: this operator may ask for {', '.join(self.may)}, not for {kind}"
        for place in changes:
            if not any(_within(place, each) for each in places):
                return f"obey: this operator may change {', '.join(places)}, not {place}"
        return ""


class Charter(BaseModel):
    """A charter file:

    refuse: [stop]                              # kinds that nobody may ask for
    never: [filters.front, mission.name]        # what no settings may change, by place; * for any
    bounds:                                     # what they may change within bounds, by place; * for any
      trigger.budget.share: {at_most: 0.2}
      uplink.bytes_per_s: {at_least: 1000, at_most: 100000}
    most_released: 100                          # episodes that one directive may release
    most_fetched_bytes: 100000000               # bytes of episodes that one directive may fetch
    keep_redaction: true                        # what is taken out of pictures stays taken out
    plans: {allow: [viewpoint]}                 # what planners may have it do, and within what (`PlanLimits`)
    kill: KILL                                  # while there is such a file, beside this one, no plan is carried out
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    refuse: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    bounds: dict[str, SettingBound] = {}
    most_released: int | None = Field(default=None, ge=0)
    most_fetched_bytes: int | None = Field(default=None, ge=0)
    keep_redaction: bool = True
    plans: PlanLimits = PlanLimits()
    kill: Path = Path("KILL")

    @field_validator("refuse")
    @classmethod
    def _check_refuse(cls, refuse: tuple[str, ...]) -> tuple[str, ...]:
        for each in refuse:
            if each not in KINDS:
                raise ValueError(f"expected kinds of directives ({', '.join(KINDS)}), got {each!r}")
        return refuse

    @field_validator("never", "bounds")
    @classmethod
    def _check_places(cls, places: Places) -> Places:
        """What begins with no part of a device file would forbid nothing, and whoever wrote it would not know."""
        for place in places:
            part = place.partition(".")[0]
            if part not in (*PARTS, RATE) and not set(part) & set("*?["):
                hint = nearest(part, PARTS)
                raise ValueError(f"expected places in a device file, which has no {part!r}{hint}, got {place!r}")
        return places

    def refuses_kind(self, kind: str) -> str:
        """Which rule refuses this kind; empty if none does."""
        return f"charter: refuse: {kind}" if kind in self.refuse else ""

    def refuses_change(self, changes: Mapping[str, Any], document: Mapping[str, Any]) -> str:
        """Which rule refuses these changes, by place, of which `document` is the device file that they lead to."""
        for place in changes:
            for rule in self.never:
                if _covers(rule, place):
                    return f"charter: never: {rule}"
        for rule, bound in self.bounds.items():
            bounded = {place: value for place, value in _places(document) if fnmatch.fnmatchcase(place, rule)}
            for place, value in bounded.items():
                if any(_meets(place, each) for each in changes) and (why := bound.refuses(value)):
                    return f"charter: bounds: {place}: expected {why}"
            if not bounded and any(_meets(rule, each) for each in changes):
                return f"charter: bounds: {rule}: expected to stay bounded, and is left out"
        return ""


def read_charter(path: Path) -> Charter:
    """The charter in a file; its paths are relative to that, and stand as they are from there.

    Raises:
        ConfigError: it cannot be read, or says something else; a line for each mistake.
    """
    text = read_text(path, "charter")
    said = text.document
    try:
        charter = Charter.model_validate({} if said is None else said)
    except ValidationError as error:
        lines = (f"charter {path}: {_where(text, each)}" for each in error.errors())
        raise ConfigError("\n".join(lines)) from error
    folder = path.absolute().parent
    return charter.model_copy(update={"kill": folder / charter.kill, "plans": charter.plans.within(folder)})


def kill_switch_of(path: Path) -> Path:
    """Where the kill switch of the charter in a file is, whatever else that says: who needs it may have no time to mend
    a charter first. KILL beside a file that cannot be read."""
    try:
        said = read_text(path, "charter").document
    except ConfigError as error:
        log.warning("%s; KILL beside it is taken for its switch", error)
        said = None
    named = said.get("kill") if isinstance(said, Mapping) else None
    return path.absolute().parent / (named if isinstance(named, str) and named else Charter().kill)


def _where(text: DeviceText, mistake: ErrorDetails) -> str:
    """The line, the place there, and what is wrong with it."""
    place, line = [part for part in mistake["loc"] if part != "ByteSize"], text.line(mistake["loc"])
    said = mistake["msg"].removeprefix("Value error, ")
    got = mistake["input"]
    said += "" if isinstance(got, Mapping | list | tuple) or "got" in said else f", got {got!r}"
    return "".join(f"{each}: " for each in (f"line {line}" if line else "", ".".join(map(str, place))) if each) + said


def _within(place: str, part: str) -> bool:
    """Whether a place is in a part of the device file."""
    if part == RATE:
        return any(fnmatch.fnmatchcase(place, each) for each in _RATES)
    return place == part or place.startswith(f"{part}.")


def _covers(rule: str, place: str) -> bool:
    """Whether a change at a place is in what a rule, which may have patterns, is of, or above it."""
    ways = zip(place.split("."), rule.split("."), strict=False)
    return _within(place, rule) or _fits(place, rule) or all(fnmatch.fnmatchcase(*each) for each in ways)


def _fits(place: str, rule: str) -> bool:
    return any(fnmatch.fnmatchcase(place, each) for each in (rule, f"{rule}.*"))


def _meets(place: str, change: str) -> bool:
    """Whether a change has to do with a place: it is there, in it, or above it."""
    return _within(place, change) or _within(change, place) or fnmatch.fnmatchcase(change, place)


def _places(document: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """All places of a document that hold no mapping, with what they hold."""
    found: list[tuple[str, Any]] = []
    for key, value in document.items():
        place = f"{above}{key}"
        if isinstance(value, Mapping):
            found += _places(value, f"{place}.")
        elif isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
            found += _places({str(number): each for number, each in enumerate(value)}, f"{place}.")
        else:
            found.append((place, value))
    return found
