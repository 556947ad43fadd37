"""Campaigns from afar: what operators have a device look for, as more rules of its trigger `worth`, for a time."""

from collections.abc import Sequence
from typing import Any

import msgspec

from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.agents.directives.settings import Refused
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.errors import ConfigError
from sensorium.link.directive import DirectiveDocument

Documents = Sequence[DirectiveDocument]
MOST = 32
"""So many run on a device at once."""


class AskedCampaign(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a directive of the kind `campaign`: from `from_ns` to `until_ns` (UTC; None: without bounds) its
    `rules` hold, those of `SelectionCampaign` without the name; or, with `stop`, the one of this name ends."""

    name: str
    rules: dict[str, Any] = {}
    stop: bool = False
    from_ns: int | None = None
    until_ns: int | None = None

    def is_over(self, utc_ns: int | None) -> bool:
        """Whether its time has passed; while that is not known it has not."""
        return utc_ns is not None and self.until_ns is not None and utc_ns >= self.until_ns

    def is_to_come(self, utc_ns: int | None) -> bool:
        """Whether its time has not begun."""
        return self.from_ns is not None and (utc_ns is None or utc_ns < self.from_ns)


def asked_campaign(document: DirectiveDocument) -> AskedCampaign:
    """What a directive says.

    Raises:
        ConfigError: it says something else.
    """
    try:
        return msgspec.convert(dict(document.body), AskedCampaign)
    except msgspec.ValidationError as error:
        raise ConfigError(f"campaign: {error}") from error


def running_now(documents: Sequence[DirectiveDocument], utc_ns: int | None) -> dict[str, DirectiveDocument]:
    """By the name of a campaign the directive that has it run now, of those that were obeyed, the earlier first."""
    found: dict[str, DirectiveDocument] = {}
    for document in documents:
        asked = asked_campaign(document)
        found.pop(asked.name, None)
        if not asked.stop and not asked.is_over(utc_ns):
            found[asked.name] = document
    return found


def needed(documents: Sequence[DirectiveDocument], utc_ns: int | None) -> set[str]:
    """The ids of those that must not be forgotten: of each name the last, as long as it runs, or there is one before
    it that would run again."""
    found = {each.id for each in running_now(documents, utc_ns).values()}
    last: dict[str, str] = {}
    for document in documents:
        name = asked_campaign(document).name
        if name in last:
            found.add(document.id)
        last[name] = document.id
    return found


def running_with(
    document: DirectiveDocument, done: Documents, utc_ns: int | None, *, stops_one: bool
) -> list[DirectiveDocument]:
    """The directives by which campaigns run once this one is obeyed too, of those that were; `stops_one`: it stops some
    that have not begun.

    Raises:
        Refused: a newer one of its name was obeyed.
        ConfigError: it is none, its time has passed, or there is nothing to stop.
    """
    asked, running = asked_campaign(document), running_now(done, utc_ns)
    of_name = [each for each in done if asked_campaign(each).name == asked.name]
    if of_name and (newer := of_name[-1]).order > document.order:
        is_now = "is in force" if asked.name in running else "was obeyed"
        raise Refused(f"version {newer.version} of this campaign, which is newer, {is_now} ({newer.id})")
    if asked.stop and asked.name not in running and not stops_one:
        raise ConfigError(f"campaign {asked.name!r} does not run here")
    if asked.is_over(utc_ns):
        raise ConfigError(f"campaign {asked.name!r}: its time has passed")
    others = [each for name, each in running.items() if name != asked.name]
    return others if asked.stop else [*others, document]


def stops(document: DirectiveDocument, other: DirectiveDocument) -> bool:
    """Whether it stops a campaign that another, which was made before, has asked for."""
    try:
        asked, before = asked_campaign(document), asked_campaign(other)
    except ConfigError:  # the other is answered so when it is done
        return False
    return asked.stop and other.kind == "campaign" and before.name == asked.name and other.order < document.order


def is_to_come(document: DirectiveDocument, utc_ns: int | None) -> bool:
    """Whether it is a campaign whose time has not begun; one that says something else is answered so when it is
    done."""
    try:
        return document.kind == "campaign" and asked_campaign(document).is_to_come(utc_ns)
    except ConfigError:
        return False


def with_campaigns(device: DeviceFile, documents: Sequence[DirectiveDocument]) -> DeviceFile:
    """A device file with these campaigns among its trigger's, in place of its own of the same names.

    Raises:
        Refused: its trigger takes none, or they are too many.
        ConfigError: what comes of it is no device file.
    """
    if not documents:
        return device
    trigger = device.trigger
    if not isinstance(trigger, WorthConfig):
        raise Refused(f"campaign: this device's trigger is {trigger.kind!r}; campaigns are rules of `worth`")
    asked = {each.name: each.rules | {"name": each.name} for each in map(asked_campaign, documents)}
    own = [each.model_dump(mode="json") for each in trigger.campaigns if each.name not in asked]
    every = [*own, *asked.values()]
    if len(every) > MOST:
        raise Refused(f"campaign: {len(every)} at once, at most {MOST} run on a device; stop one")
    document = device.model_dump(mode="json", serialize_as_any=True, exclude_unset=True)
    document["trigger"]["campaigns"] = every
    return check_device(document, device.base, "with these campaigns")
