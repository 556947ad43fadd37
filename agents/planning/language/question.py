"""The question that a model is asked: what can be done, what is covered, what was seen last, and the notebook."""

import base64
import json
import math
import statistics
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.language.covered import MOST_GAPS, Coverage
from sensorium.agents.planning.language.quoted import card_told, numbers_told, quoted
from sensorium.agents.planning.notebook import NotebookEntry
from sensorium.agents.planning.planner import Reach
from sensorium.drivers.controls import Control, PlanKind, Value, as_number

_RECENT, _MOST_TOLD, _MOST_NOTES = 64, 12, 16
_FIRST_S, _LEAST_GAPS = 1.0, 3
_JPEG = b"\xff\xd8\xff"
_MOST_PICTURE_BYTES = 65_536


class Question:
    """What is known of all episodes, kept small: coverage as counts, and the last cards whole."""

    def __init__(self, reaches: Sequence[Reach], most_chars: int, most_pictures: int) -> None:
        self._reaches, self._most_chars, self._most_pictures = tuple(reaches), most_chars, most_pictures
        self._coverage = {reach.device: Coverage(reach) for reach in reaches}
        self._known: set[str] = set()
        self._recent: deque[EpisodeCard] = deque(maxlen=_RECENT)
        self._previews: deque[EpisodeCard] = deque(maxlen=_RECENT)
        self._last: dict[str, EpisodeCard] = {}
        self._decided: Counter[str] = Counter()
        self._missions: Counter[str] = Counter()

    @property
    def cards(self) -> int:
        """How many episodes are known."""
        return len(self._known)

    def ingest(self, card: EpisodeCard) -> None:
        """One more episode; one that is known already changes nothing but what is told of it."""
        for kept in (self._recent, self._previews):
            if card.episode in self._known and (old := next((e for e in kept if e.episode == card.episode), None)):
                kept[kept.index(old)] = card
        if card.episode in self._known:
            return
        self._known.add(card.episode)
        for name, count in card.decided.items():
            self._decided[name] += count  # type: ignore[assignment]
        if card.kind == "trace":
            return
        (self._previews if card.kind == "preview" else self._recent).append(card)
        self._missions[card.mission] += 1
        if card.kind == "full":
            if card.device in self._coverage:
                self._coverage[card.device].count(card)
            last = self._last.get(card.device)
            if last is None or card.end_ns >= last.end_ns:
                self._last[card.device] = card

    def text(self, n: int, notebook: Sequence[NotebookEntry]) -> str:
        """All of it as one JSON document; where that is too long, less of what was seen and noted."""
        for part in (1.0, 0.5, 0.25, 0.1, 0.0):
            found = json.dumps(self._document(n, notebook, part), ensure_ascii=True, separators=(",", ":"))
            if len(found) <= self._most_chars:
                break
        return found[: self._most_chars]

    def pictures(self) -> list[str]:
        """Thumbnails of previews and of the newest episodes, as `data:` URLs, in the order of `pictures_of`."""
        return [f"data:image/jpeg;base64,{base64.b64encode(card.thumbnail).decode()}" for card in self._pictured()]

    def cost(self, device: str, plan: PlanKind, asked: Mapping[str, Value]) -> tuple[float, float]:
        """About how many seconds and bytes a plan costs: the way, by the device's controls, and an episode as they
        were of late, or as many as fit into a duration."""
        of = [each for each in self._recent if each.kind == "full" and (not device or each.device == device)]
        seconds = statistics.fmean([max(each.seconds, 0.0) for each in of]) if of else _FIRST_S
        n_bytes = statistics.fmean([each.stored_bytes for each in of]) if of else 0.0
        if plan == "duration" and (lasts_s := as_number(asked.get("seconds"))) is not None:
            n_bytes, seconds = n_bytes * max(0.0, lasts_s) / max(seconds, 1e-3), max(0.0, lasts_s)
        last = self._last.get(device)
        for reach in self._reaches:
            if reach.device == device:
                seconds += sum(_way_s(each, asked[each.name], last) for each in reach.controls if each.name in asked)
        return round(seconds, 3), round(n_bytes, 1)

    def _document(self, n: int, notebook: Sequence[NotebookEntry], part: float) -> dict[str, Any]:
        told, noted = round(_MOST_TOLD * part), round(_MOST_NOTES * part)
        gaps = max(_LEAST_GAPS, round(MOST_GAPS * part))
        found: dict[str, Any] = {
            "propose": n,
            "reach": {reach.device: [_control(each) for each in reach.controls] for reach in self._reaches},
            "whole": {reach.device: _whole(reach) for reach in self._reaches if reach.whole},
            "coverage": {device: each.told(counts=part >= 0.5, gaps=gaps) for device, each in self._coverage.items()},
            "at": {device: numbers_told(card.where) for device, card in self._last.items()},
            "episodes_by_mission": {quoted(name, 40): n for name, n in self._missions.most_common(12)},
            "decided": {quoted(name, 40): n for name, n in self._decided.most_common(12)},
            "latest_episodes": [card_told(card) for card in list(self._recent)[-told:]] if told else [],
            "previews": [card_told(card) for card in list(self._previews)[-told // 2 :]] if told else [],
            "notebook": [_noted(each) for each in notebook if each.kind != "spent"][-noted:] if noted else [],
            "pictures_of": [card.episode[-12:] for card in self._pictured()],
        }
        return {name: value for name, value in found.items() if value not in ({}, [])}

    def _pictured(self) -> list[EpisodeCard]:
        those = [*list(self._recent)[::-1], *list(self._previews)[::-1]]
        those = [
            card for card in those if card.thumbnail.startswith(_JPEG) and len(card.thumbnail) <= _MOST_PICTURE_BYTES
        ]
        those.sort(key=lambda card: (card.kind != "preview", -(card.novelty or 0.0)))
        return those[: self._most_pictures]


def _way_s(control: Control, asked: Value, last: EpisodeCard | None) -> float:
    at = None if last is None else last.where.get(control.name.rpartition(".")[2])
    known = at is not None and math.isfinite(at) and not isinstance(asked, str)
    far = abs(float(asked) - float(at or 0.0)) if known else 0.0
    return control.cost_s + control.cost_s_per_unit * min(far, max(control.high - control.low, 0.0))


def _control(control: Control) -> dict[str, Any]:
    return {"plan": control.plan, "control": control.name, **_ranged(control)}


def _ranged(control: Control) -> dict[str, Any]:
    if control.choices:
        return {"choices": list(control.choices)}
    if control.plan == "mission":
        return {"text": "any"}
    return {"from": control.low, "to": control.high, "unit": control.unit}


def _whole(reach: Reach) -> dict[str, Any]:
    """The plans of a device as a whole, with their parameters."""
    return {plan: {each.name: _ranged(each) for each in controls} for plan, controls in reach.whole.items()}


def _noted(entry: NotebookEntry) -> dict[str, Any]:
    return {"kind": entry.kind, "text": quoted(entry.text, 240), **dict(entry.numbers)}
