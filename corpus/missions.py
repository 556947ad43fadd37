"""Missions across a fleet: one file says what to record and on which devices; each is asked for it by a directive.

STORE/missions/NAME.json    what was asked, of which devices, by which directives
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sensorium.corpus.commits import check_store_version
from sensorium.corpus.corpus import open_store
from sensorium.corpus.directives import DirectiveEntry, DirectiveShelf, UnaskedDirective, put, written
from sensorium.corpus.fleet import by_spool, named_devices, reports
from sensorium.corpus.owner import give_to_owner
from sensorium.episode import durable
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError, StoreError
from sensorium.link.operators import OperatorPair

MISSIONS = Path("missions")
MOST_BACK = 200
"""So many askings, the latest of a device, are taken back; of those before they have been."""


class MissionAsked(BaseModel):
    """What is recorded for, as in a device file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    domain: str | None = None
    priority: float | None = Field(default=None, allow_inf_nan=False)


class MissionFile(BaseModel):
    """A mission for a fleet:

    mission: {name: night-walk, domain: home, priority: 2}
    devices: [rig-1, "rover-*"]             # names, and patterns of those that the store knows
    labels: {site: hall}                    # of these, or of all where none is named, those with such labels
    settings: {trigger.budget.share: 0.1}   # what else is set there, by place

    Labels are those of the mission in the device's own file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mission: MissionAsked
    devices: tuple[str, ...] = ()
    labels: dict[str, bool | int | float | str] = {}
    settings: dict[str, Any] = {}

    def settings_by_place(self) -> dict[str, Any]:
        """What a device is asked to set."""
        said = {f"mission.{key}": value for key, value in self.mission.model_dump(exclude_none=True).items()}
        return {**self.settings, **said}


class MissionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a store has of a mission: as it was asked last, by which directive of each device, and, of those at which it
    was stopped, or that its file names no more, by which. `before` are the directives of earlier askings."""

    name: str
    by: str
    applied_utc: str
    file: dict[str, Any]
    asked: dict[str, str]
    stopped: dict[str, str] = {}
    stopped_utc: str = ""
    before: list[str] = []
    version: int = 1


class MissionProgress(NamedTuple):
    """How a device of a mission stands: `state` of what it was asked last, and what the store has from it by now."""

    device: str
    asked: str
    state: str
    why: str
    episodes: int
    hours: float
    bytes: int


def read_mission(document: object, where: str) -> MissionFile:
    """The mission that a file's text says.

    Raises:
        ConfigError: it is none: what is wrong, and where.
    """
    try:
        found = MissionFile.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        at = f"{where}: {place}" if place else where
        raise ConfigError(f"{at}: {first['msg']}; a mission has mission.name, devices or labels") from error
    if not found.devices and not found.labels:
        raise ConfigError(f"{where}: for which devices? give `devices` (names or patterns), `labels`, or both")
    return found


def devices_of(store: Path, mission: MissionFile, *, unknown: bool = False) -> list[str]:
    """The devices that a mission is for, by name; `unknown` ones too, as `named_devices` has them.

    Raises:
        ConfigError: there is none of a pattern, or of a name, or none with these labels.
    """
    try:
        found = dict.fromkeys(named_devices(store, mission.devices, unknown=unknown))
    except ConfigError as error:
        raise ConfigError(f"devices: {error}") from error
    if mission.labels:
        said = [(each.device, each.mapping("labels")) for each in by_spool(reports(store))]
        wanted = mission.labels.items()
        having = list(dict.fromkeys(name for name, labels in said if wanted <= labels.items()))
        found = {name: None for name in (found or having) if name in having}
        if not found:
            words = ", ".join(f"{name}: {value}" for name, value in wanted)
            raise ConfigError(
                f"labels: no device that has reported has {words}; their files say so under mission.labels"
            )
    return list(found)


def apply_mission(
    store: Path, mission: MissionFile, pair: OperatorPair, *, life_s: float, unknown: bool = False
) -> MissionRecord:
    """Ask the devices of a mission for it, `unknown` ones too; durable when it returns.

    Raises:
        ConfigError: there is no such device.
        StoreError: it is no store, or its disk is in trouble.
    """
    check_store_version(store)
    former = _read(_path(store, mission.mission.name))
    devices = devices_of(store, mission, unknown=unknown)
    gone = {} if former is None else {each: name for each, name in former.asked.items() if each not in devices}
    stopped = {} if former is None else {each: name for each, name in former.stopped.items() if each in gone}
    settings = {device: mission.settings_by_place() for device in devices}
    wanted = settings | {each: {} for each in gone if each not in stopped}
    asked, made = _asked(store, wanted, former, pair, life_s)
    record = MissionRecord(
        name=mission.mission.name,
        by=pair.operator.name,
        applied_utc=utc_text(time.time_ns()) or "",
        file=mission.model_dump(mode="json"),
        asked=gone | {device: made[device] for device in devices},
        stopped=stopped | {each: name for each, name in made.items() if each in gone},
        before=[] if former is None else list(dict.fromkeys([*former.before, *former.asked.values()])),
    )
    _write(store, record)
    put(store, asked)
    return record


def stop_mission(store: Path, name: str, pair: OperatorPair, *, life_s: float) -> MissionRecord:
    """Have its devices go on as if it had not been asked: with what their files, and other directives, say.

    Raises:
        ConfigError: the store has no such mission.
        StoreError: it is no store, or its disk is in trouble.
    """
    record = find_mission(store, name)
    asked, stopped = _asked(store, {device: {} for device in record.asked}, record, pair, life_s)
    ended = msgspec.structs.replace(record, stopped=stopped, stopped_utc=utc_text(time.time_ns()) or "")
    _write(store, ended)
    put(store, asked)
    return ended


def missions(store: Path) -> list[MissionRecord]:
    """All that were ever asked, the latest first; what cannot be read is left out."""
    check_store_version(store)
    found = [_read(path) for path in sorted((store / MISSIONS).glob("*.json"))]
    return sorted(filter(None, found), key=lambda each: each.applied_utc, reverse=True)


def find_mission(store: Path, name: str) -> MissionRecord:
    """The mission of that name.

    Raises:
        ConfigError: the store has none.
    """
    check_store_version(store)
    found = _read(_path(store, name))
    if found is None:
        there = ", ".join(each.name for each in missions(store)) or "none"
        raise ConfigError(f"mission {name!r}: the store has no such mission (there are: {there})")
    return found


def progress_of(store: Path, record: MissionRecord) -> list[MissionProgress]:
    """How each of its devices stands."""
    shelf, now_ns = DirectiveShelf(store), time.time_ns()
    quoted = record.name.replace("'", "''")
    came = {
        row["device"]: row
        for row in open_store(store).aggregate("device", "count, hours, bytes", f"mission = '{quoted}'")
    }
    found = []
    for device in record.asked:
        entries = {each.name: each for each in shelf.all(device)}
        last = entries.get(record.stopped.get(device, record.asked[device]))
        every = [] if last is None else last.apart()
        row = came.get(device, {})
        found.append(
            MissionProgress(
                device,
                "to stop" if device in record.stopped else "to record",
                ", ".join(dict.fromkeys(each.state(now_ns) for each in every)) or "gone",
                _why(every),
                int(row.get("count") or 0),
                float(row.get("hours") or 0.0),
                int(row.get("bytes") or 0),
            )
        )
    return found


def _why(every: Sequence[DirectiveEntry]) -> str:
    """What the devices of a name have answered; of several by their spools."""
    said = [each.answer for each in every if each.answer is not None]
    if len(said) > 1:
        return "; ".join(f"spool {each.spool}: {each.state} {each.why}".strip() for each in said)
    return said[0].why if said else ""


def _asked(
    store: Path,
    settings: Mapping[str, Mapping[str, Any]],
    former: MissionRecord | None,
    pair: OperatorPair,
    life_s: float,
) -> tuple[list[UnaskedDirective], dict[str, str]]:
    """What asks each device for its settings, in place of what `former` askings of the mission have set there, and by
    device its id: whoever dies between its record and its asking leaves what can be asked again, and be stopped."""
    mine = set[str]() if former is None else {*former.before, *former.asked.values()}
    bodies: dict[str, dict[str, Any]] = {}
    for device, said in settings.items():
        back = [name for name in sorted(DirectiveShelf(store).names(device)) if name in mine][-MOST_BACK:]
        bodies[device] = {"set": dict(said), "reset": False, **({"back": back} if back else {})}
    asked = written(store, bodies, "settings", pair, life_s=life_s)
    return asked, {each.document.device: each.document.id for each in asked}


def _path(store: Path, name: str) -> Path:
    """A mission's name may be any text, a file's may not."""
    plain = name.replace("-", "").replace("_", "").isalnum() and name.isascii() and len(name) <= 80
    return store / MISSIONS / f"{name if plain else hashlib.blake2b(name.encode(), digest_size=12).hexdigest()}.json"


def _read(path: Path) -> MissionRecord | None:
    try:
        return msgspec.json.decode(durable.read_whole(path), type=MissionRecord)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _write(store: Path, record: MissionRecord) -> None:
    path = _path(store, record.name)
    try:
        durable.make_folder(path.parent)
        durable.replace(path, path.with_suffix(".new"), [[msgspec.json.encode(record)]])
        give_to_owner(store, [path.relative_to(store)])
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}; see to the disk, then try again") from error
