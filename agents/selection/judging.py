"""Judging: a unit's scores against the gates, the rules, and the stillness of each stream."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from sensorium.agents.selection.policy import SelectionPolicy, condition
from sensorium.agents.selection.stillness import Stillness, StillnessState
from sensorium.episode.unit import Unit
from sensorium.episode.where import Where


class Impression(NamedTuple):
    """What a unit is like: the gate that is `closed` or "", the `rule` that keeps it or "", the `score` and the
    `stream` it is of, and the `most_novel` score of late."""

    closed: str
    rule: str
    score: float
    stream: str
    most_novel: float


class Judge:
    """Holds the stillness of every stream that has a novelty; a stream that is not judged counts for nothing."""

    def __init__(self, policy: SelectionPolicy, stillness: Mapping[str, StillnessState]) -> None:
        self._weights = policy.streams
        self._never = [condition(text) for text in policy.never]
        self._always = [condition(text) for text in policy.always]
        self._streams = {name: Stillness(state) for name, state in stillness.items()}

    @property
    def stillness(self) -> dict[str, StillnessState]:
        """For a `Judge` after a restart."""
        return {name: stream.state for name, stream in self._streams.items()}

    def judge(self, unit: Unit) -> Impression:
        """Look at the next unit. What is gated moves no stillness: noise is not how still a stream is."""
        closed = unit.gate or _first(self._never, unit)
        if closed:
            return Impression(closed, "", 0.0, "", 0.0)
        score, most_novel, of = 0.0, 0.0, ""
        for name in sorted(unit.novelty):
            if self._weights and name not in self._weights:
                continue
            weight = self._weights.get(name, 1.0)
            stream = self._streams.setdefault(name, Stillness())
            novelty, change = unit.novelty[name], unit.change.get(name, math.nan)
            if math.isfinite(change):
                stream.saw(novelty, change)
            counted = weight * stream.counted_in(novelty)
            most_novel = max(most_novel, weight * stream.most_novel)
            if counted > score:
                score, of = counted, name
        return Impression("", _first(self._always, unit), score, of, most_novel)


def _first(conditions: list[Where], unit: Unit) -> str:
    """The first condition that is true of the unit's scores, or ""; a score that it lacks is NULL."""
    for each in conditions:
        row: dict[str, Any] = {name: unit.scores.get(name) for name in each.columns}
        if each.evaluate(row, unit.novelty):
            return each.source
    return ""
