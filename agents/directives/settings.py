"""Settings from afar: what `--set` can change, put over a device file, and checked by its models and the charter."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sensorium.agents.charter import CHANGEABLE, OWN, Charter, ObeyPart
from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument

MOST = 200
Plain = Mapping[str, Any]


class Refused(ConfigError):
    """A rule of the device does not let it be done."""


def said_of(body: Plain) -> tuple[dict[str, Any], bool]:
    """What the body of a settings directive says: values by place, and whether former ones are taken back, all of them;
    of some alone `taken_back` tells.

    Raises:
        ConfigError: it says something else.
    """
    said, reset, back = body.get("set", {}), body.get("reset", False), taken_back(body)
    known = set(body) <= {"set", "reset", "back"}
    if not known or not isinstance(said, dict) or not isinstance(reset, bool) or len(said) > MOST:
        raise ConfigError(f"settings: expected `set` with at most {MOST} values by place, `reset`, and `back`")
    if not said and not reset and not back:
        raise ConfigError("settings: expected something to set")
    if wrong := [place for place in said if not isinstance(place, str) or not all(place.split("."))]:
        raise ConfigError(f"settings: {wrong[0]!r}: expected a place such as trigger.length_s")
    return said, reset


def taken_back(body: Plain) -> frozenset[str]:
    """The ids of former settings directives that one takes back: what they set is as if they had not come.

    Raises:
        ConfigError: it says something else.
    """
    names = body.get("back", [])
    if not isinstance(names, list) or len(names) > MOST or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"settings: back: expected a list of at most {MOST} ids of directives")
    return frozenset(names)


def standing(documents: Sequence[DirectiveDocument]) -> list[DirectiveDocument]:
    """Of settings directives, the earlier first, those that no later one of them has taken back.

    Raises:
        ConfigError: one says something else.
    """
    found: list[DirectiveDocument] = []
    for document in documents:
        back = taken_back(document.body)
        found = [] if document.body.get("reset") else [each for each in found if each.id not in back]
        found.append(document)
    return found


def asked_of(body: Plain) -> dict[str, Any]:
    """The values by place that settings ask for, once none is the device's own: to be asked before they are put over a
    device file, which has its own in forms that may not take them.

    Raises:
        Refused: one is.
        ConfigError: the body says something else.
    """
    said, _ = said_of(body)
    _check_own(_leaves(said))
    return said


def with_settings(device: DeviceFile, bodies: Sequence[Plain]) -> DeviceFile:
    """A device file as the bodies of settings directives, the earlier first, change it.

    Raises:
        ConfigError: what comes of it is no device file.
    """
    document = device.model_dump(mode="json", serialize_as_any=True, exclude_unset=True)
    merged: dict[str, Any] = {}
    for body in bodies:
        said, reset = said_of(body)
        merged = said if reset else {place: value for place, value in merged.items() if place not in said} | said
    if not merged:
        return device
    for place, value in merged.items():
        _put(document, place, value)
    return check_device(document, device.base, "with these settings")


def check_settings(
    given: DeviceFile, before: DeviceFile, after: DeviceFile, said: Plain, operator: ObeyPart, charter: Charter
) -> None:
    """Raise `Refused` where a rule is against what settings `said` make of a device file, which was `given` by hand and
    is as `before` now."""
    places = dict.fromkeys(_leaves(said)) | dict.fromkeys(changed(before, after))
    _check_own(places)
    if (asked := _campaigns(after)) and asked != _campaigns(before) and (why := charter.refuses_kind("campaign")):
        raise Refused(why)
    if why := operator.allows("settings", places) or charter.refuses_change(places, plain(after)):
        raise Refused(why)
    if charter.keep_redaction and (lost := _redaction(given).items() - _redaction(after).items()):
        raise Refused(f"charter: keep_redaction: filters.{min(lost)[0]} would take less out of pictures")


def changed(before: DeviceFile, after: DeviceFile) -> list[str]:
    """The places at which two device files differ."""
    old, new = _leaves(plain(before)), _leaves(plain(after))
    return [place for place in {**old, **new} if (place in old, old.get(place)) != (place in new, new.get(place))]


def plain(device: DeviceFile) -> dict[str, Any]:
    """A device file as a document, with all that it does not say."""
    plain: dict[str, Any] = device.model_dump(mode="json", serialize_as_any=True)
    return plain


def _check_own(places: Iterable[str]) -> None:
    for place in places:
        if place.partition(".")[0] not in CHANGEABLE or any(_meet(place, own) for own in OWN):
            raise Refused(
                f"{place} is the device's own: settings may change {', '.join(CHANGEABLE)}, but not {', '.join(OWN)}"
            )


def _meet(one: str, other: str) -> bool:
    """Whether one of two places is the other, or within it."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _leaves(document: Plain, above: str = "") -> dict[str, Any]:
    """What a document holds by place, down to what is no mapping, or an empty one."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        place = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            found |= _leaves(value, f"{place}.")
        else:
            found[place] = value
    return found


def _put(document: dict[str, Any], place: str, value: Any) -> None:
    *above, last = place.split(".")
    at = document
    for key in above:
        following = at.setdefault(key, {})
        if not isinstance(following, dict):
            raise ConfigError(f"settings: {place}: {key!r} is no mapping in the device file")
        at = following
    at[last] = value


def _campaigns(device: DeviceFile) -> Sequence[object]:
    return device.trigger.campaigns if isinstance(device.trigger, WorthConfig) else ()


def _redaction(device: DeviceFile) -> dict[str, str]:
    """By stream, its filters up to the last that redacts, as one text."""
    found = {}
    for stream, filters in device.filters.items():
        last = max((number for number, each in enumerate(filters, 1) if each.redacts), default=0)
        if last:
            found[stream] = repr([each.model_dump(mode="json") for each in filters[:last]])
    return found
