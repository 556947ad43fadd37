"""Campaigns as a store knows them: which devices were asked, what they answered, and what was found."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sensorium.corpus.corpus import Corpus, open_store
from sensorium.corpus.directives import DirectiveEntry, DirectiveShelf
from sensorium.corpus.episode import Episode
from sensorium.corpus.fleet import reports
from sensorium.corpus.previewed import BYTES_AT, DEVICE
from sensorium.corpus.traces import traces
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError

KIND = "campaign"
_UNASKED = {
    "own": ("own", ""),
    "asked": ("elsewhere", "another store has asked for it; `campaign stop STORE NAME DEVICE` ends it"),
    "None": ("ended", "this store has not asked for it, and it runs there no more"),
}
_HELD = f"{BYTES_AT} = '{DEVICE}'"


class CampaignOnDevice(NamedTuple):
    """How a campaign stands on a device, by what it was asked last: waits, runs, stopped, ended, refused, expired or
    failed, and why; `spool` is whose answer that is."""

    name: str
    device: str
    state: str
    why: str
    shadow: bool
    where: str
    until_utc: str | None
    directive: str
    spool: str = ""


def campaigns(store: Path) -> list[CampaignOnDevice]:
    """The last of each name on each device; where several devices have one name, of each that has answered."""
    shelf, now_ns = DirectiveShelf(store), time.time_ns()
    found: dict[tuple[str, str], list[CampaignOnDevice]] = {}
    for device in shelf.devices():
        for entry in shelf.all(device):
            if entry.document is None or entry.document.kind != KIND:
                continue
            body = entry.document.body
            name, rules = str(body.get("name", "")), body.get("rules")
            rules = rules if isinstance(rules, dict) else {}
            before = found.get((name, device))
            if before is not None and body.get("stop"):
                rules = {"shadow": before[0].shadow, "where": before[0].where}
            found[name, device] = [_standing(each, name, rules, now_ns) for each in entry.apart()]
    return [each for key in sorted(found) for each in found[key]]


def _standing(entry: DirectiveEntry, name: str, rules: Mapping[str, Any], now_ns: int) -> CampaignOnDevice:
    body = entry.document.body if entry.document is not None else {}
    until_ns, state = body.get("until_ns"), entry.state(now_ns)
    if state == "done":
        over = isinstance(until_ns, int) and now_ns >= until_ns
        state = "stopped" if body.get("stop") else "ended" if over else "runs"
    return CampaignOnDevice(
        name,
        entry.device,
        state,
        entry.answer.why if entry.answer is not None and state not in ("runs", "stopped", "ended") else "",
        bool(rules.get("shadow", False)),
        str(rules.get("where", "")),
        utc_text(until_ns) if isinstance(until_ns, int) else None,
        entry.name,
        "" if entry.answer is None else entry.answer.spool,
    )


def unasked(store: Path, name: str, devices: Iterable[str]) -> list[CampaignOnDevice]:
    """How a campaign stands on devices that this store has not asked for it, by what they said last: `own`, of the
    device's file; `elsewhere`, asked for by another store; `ended` of one that does not run any more."""
    said = {each.device: each.state.get("campaigns") for each in reports(store)}
    found = []
    for device in devices:
        now = said.get(device)
        state, why = "unasked", "this store has not asked for it, and the device does not say whose it is"
        if isinstance(now, Mapping):
            state, why = _UNASKED.get(str(now.get(name)), _UNASKED["None"])
        found.append(CampaignOnDevice(name, device, state, why, False, "", None, ""))
    return found


def found_by(store: Path, name: str) -> dict[str, dict[str, Any]]:
    """By device, of the time in which a campaign was asked of units: `judged_s`, the seconds that were judged, `true_s`
    those in which it was true, `times` how often it became so, `true_bytes` what keeping those takes, as the device
    estimates; `episodes` and `bytes` of those in the store that carry its name, `held` and `held_bytes` of those that
    are on the device alone, by their previews. Of a row of the trace that stands for units of both kinds half
    counts, and by `unsure_s` seconds it may be more or less."""
    corpus, score = open_store(store), f"campaign.{name}"
    found: dict[str, dict[str, Any]] = {}
    before: dict[tuple[str, str, str], float] = {}
    for unit in traces(corpus):
        value = unit.judged.unit.scores.get(score)
        if value is None:
            continue
        if unit.count > 1:
            value = (unit.least.get(f"scores/{score}", value) + unit.greatest.get(f"scores/{score}", value)) / 2
        none: dict[str, Any] = {"judged_s": 0.0, "true_s": 0.0, "unsure_s": 0.0, "times": 0, "true_bytes": 0}
        mine = found.setdefault(unit.device, none)
        length_s = unit.judged.unit.length_ns / 1e9
        mine["judged_s"] = round(mine["judged_s"] + length_s, 3)
        mine["true_s"] = round(mine["true_s"] + length_s * value, 3)
        mine["unsure_s"] = round(mine["unsure_s"] + length_s * min(value, 1 - value), 3)
        mine["true_bytes"] += round(unit.judged.unit.estimate_bytes * unit.count * value)
        of = unit.device, unit.spool_id, unit.judged.unit.boot
        mine["times"] += value > 0 and before.get(of, 0.0) == 0
        before[of] = value
    for episode in _carrying(corpus, name, "kind = 'full'"):
        mine = found.setdefault(episode.device, {})
        mine["episodes"] = mine.get("episodes", 0) + 1
        mine["bytes"] = mine.get("bytes", 0) + int(episode.row["bytes"])
    held = {each.preview: each for each in corpus.previewed(_HELD)}
    for preview in _carrying(corpus, name, _HELD) if held else ():
        mine = found.setdefault(preview.device, {})
        mine["held"] = mine.get("held", 0) + 1
        mine["held_bytes"] = mine.get("held_bytes", 0) + held[preview.id].bytes
    return found


def _carrying(corpus: Corpus, name: str, which: str) -> list[Episode]:
    """The episodes for which `which` is true that carry a campaign's name."""
    try:
        found = corpus.query(f"recorded_label('{KIND}') is not null and {which}")
    except ConfigError:  # a catalog of an earlier release knows of no labels
        return []
    return [each for each in found if name in str(each.labels.get(KIND, "")).split(", ")]
