"""The fleet as a store knows it: what each device said last of its state, and when.

STORE/fleet/DEVICE.json is the last report, DEVICE.jsonl and DEVICE.jsonl.before the history.
"""

import contextlib
import fnmatch
from collections.abc import Sequence
from pathlib import Path

from sensorium.corpus.corpus import open_store
from sensorium.corpus.device_report import BEFORE, FLEET, HISTORY, DeviceReport, number_of, report_of
from sensorium.corpus.directives import DirectiveShelf
from sensorium.drivers.registry import nearest
from sensorium.episode import durable
from sensorium.errors import ConfigError

_MAGIC, _SAID = "*?[", 8
LITTLE_ROOM = 0.03
MUCH_OFFSET_S = 60.0
_YEARS_S = 300 * 86_400.0
"""Episodes have the server's time whatever the device's clock says; what is off by so much is set wrong."""


def wrong(report: DeviceReport, now_ns: int) -> list[str]:
    """What is wrong with a device, the worst first, a clause each."""
    state, found = report.state, []
    if report.is_silent(now_ns):
        found.append(f"silent since {str(report.heard_utc)[:19]}Z")
    if report.also:
        found.append(f"another device has this name, with the spool {', '.join(report.also)}")
    if state.get("error"):
        found.append(str(state["error"]))
    if report.mapping("plans").get("killed"):
        found.append("its plans are killed")
    for key, what in (("away", "is away"), ("absent", "is absent")):
        found += [f"{name} {what}: {why}" for name, why in report.mapping(key).items()]
    offset_s = number_of(report.mapping("clock").get("offset_s"))
    if offset_s is not None and abs(offset_s) > MUCH_OFFSET_S:
        side, other = ("ahead of", "behind") if offset_s > 0 else ("behind", "ahead")
        of = f"; or the ingest's is {other}" if abs(offset_s) > _YEARS_S else ""
        found.append(f"its clock is {abs(offset_s):.0f} s {side} the ingest's{of}")
    free, whole = report.number("disk_free_bytes"), report.number("disk_bytes")
    if free is not None and whole is not None and free < whole * LITTLE_ROOM:
        found.append(f"{free / max(whole, 1):.1%} of its disk is free")
    return found


def known_devices(store: Path) -> list[str]:
    """The devices that the store has heard of, by name."""
    found = {path.stem for path in (store / FLEET).glob("*.json") if not path.name.startswith(".")}
    found |= set(DirectiveShelf(store).devices())
    return sorted(found | {each.device for each in open_store(store).ledger()})


def named_devices(store: Path, names: Sequence[str], *, unknown: bool = False) -> list[str]:
    """Those that `names` are of, and those that patterns (rig-*) among them stand for, each once.

    Args:
        unknown: A name may be that of a device which the store has not heard of, and may hear of one day.

    Raises:
        ConfigError: it knows none of a pattern, or no device of a name; a line for each.
    """
    known = known_devices(store)
    found: dict[str, None] = {}
    wrong: dict[str, None] = {}
    for name in names:
        if unknown and not _is_pattern(name):
            found[name] = None
            continue
        try:
            found |= dict.fromkeys(_matching(name, known, " (one that is still to come is asked with --unknown)"))
        except ConfigError as error:
            wrong[str(error)] = None
    if wrong:
        raise ConfigError("\n".join(wrong))
    return list(found)


def namesakes(store: Path, names: Sequence[str]) -> list[str]:
    """Of which of these names there is more than one device, as each of them said last, a line each."""
    found = {each.device: each.namesakes for each in reports(store) if each.namesakes}
    return [
        f"{name}: more than one device has this name (spools {', '.join(spools)}); each is asked"
        " until that expires, and answers for itself"
        for name in names
        if (spools := found.get(name)) is not None
    ]


def devices_like(store: Path, name: str) -> list[str]:
    """The device of that name, or those of that pattern.

    Raises:
        ConfigError: the store knows none.
    """
    return _matching(name, known_devices(store))


def _is_pattern(name: str) -> bool:
    return bool(set(name) & set(_MAGIC))


def _matching(name: str, known: Sequence[str], hint: str = "") -> list[str]:
    if found := [each for each in known if each == name or (_is_pattern(name) and fnmatch.fnmatchcase(each, name))]:
        return found
    if _is_pattern(name):
        raise ConfigError(f"{name}: the store knows no such device ({_some(known)})")
    near = nearest(name, known) or f"; it knows {_some(known)}"
    raise ConfigError(f"{name}: the store knows no such device{hint}{near}")


def _some(known: Sequence[str]) -> str:
    more = f" and {len(known) - _SAID} more" if len(known) > _SAID else ""
    return f"{', '.join(known[:_SAID]) or 'none'}{more}"


def reports(store: Path) -> list[DeviceReport]:
    """What each device said last, by name; what cannot be read is left out."""
    found = []
    for path in (store / FLEET).glob("*.json"):
        if not path.name.startswith("."):
            with contextlib.suppress(OSError):
                found.append(report_of(durable.read_whole(path)))
    return sorted(filter(None, found), key=lambda each: each.device)


def by_spool(found: Sequence[DeviceReport]) -> list[DeviceReport]:
    """The same, and behind each what others of its name said last, by spool."""
    return [said for each in found for said in (each, *sorted(each.others, key=lambda other: other.spool_id))]


def history(store: Path, device: str) -> list[DeviceReport]:
    """What is kept of what a device said earlier, the earlier first."""
    found: list[DeviceReport | None] = []
    for name in (f"{device}{HISTORY}{BEFORE}", f"{device}{HISTORY}"):
        with contextlib.suppress(OSError):
            found += map(report_of, durable.read_whole(store / FLEET / name).splitlines())
    return [each for each in found if each is not None]
