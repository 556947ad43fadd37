"""The value of an episode: how new what it holds is, and how well it holds it; of one kept by chance, its draw."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sensorium.agents.selection.chance import rank
from sensorium.agents.selection.selector import ALWAYS
from sensorium.episode.account import Place
from sensorium.episode.documents import Note
from sensorium.episode.unit import Decision
from sensorium.episode.value import NOTHING, Chance, Worth

DECISION = "decision"
"""The kind of an episode's notes of its units."""


class _Noted(msgspec.Struct, frozen=True):
    """What such a note says, as far as it counts here."""

    reason: str
    score: float
    threshold: float
    p: float
    drawn: bool
    draw: float | None = None


def worth_of(decisions: Sequence[Decision], start_ns: int, end_ns: int, quality: float = 1.0) -> Worth:
    """Of what an episode from `start_ns` to `end_ns` keeps of units: those that begin in it.

    Its value is the sum of their scores, which count novelty in the stream's own noise, times `quality` in [0, 1]; what
    a rule keeps counts no less than what just passes the threshold. Units that chance drew, whatever else kept them,
    make it one of chance: it stays while that of the lowest rank would.
    """
    kept = [each for each in decisions if each.kept and start_ns <= each.start_ns < end_ns]
    value = sum(_value(each) for each in kept)
    return Worth(value * min(max(quality, 0.0), 1.0), _lowest(Chance(each.draw, each.p) for each in kept if each.drawn))


def worth_noted(notes: Iterable[Note], last_ns: int, quality: float = 1.0) -> Worth:
    """The same of an episode that was cut off, by its notes of units, of which there is something up to `last_ns`.

    Nothing is known of one without such notes, or where a drawn unit's does not say its draw, as those of a former
    release: by its value it must not be evicted then.
    """
    kept = []
    for note in notes:
        if note.kind == DECISION and note.start_ns is not None and note.start_ns <= last_ns:
            try:
                kept.append(msgspec.convert(note.value, _Noted))
            except msgspec.ValidationError:
                return NOTHING
    drawn = [_chance(each) for each in kept if each.drawn]
    if not kept or None in drawn:
        return NOTHING
    return Worth(sum(map(_value, kept)) * min(max(quality, 0.0), 1.0), _lowest(filter(None, drawn)))


def _value(unit: Decision | _Noted) -> float:
    return max(unit.score, unit.threshold) if unit.reason == ALWAYS else unit.score


def _chance(unit: _Noted) -> Chance | None:
    return Chance(unit.draw, unit.p) if unit.draw is not None and 0 <= unit.draw < unit.p <= 1 else None


def _lowest(drawn: Iterable[Chance]) -> Chance | None:
    return min(drawn, key=lambda each: rank(each.draw, each.p), default=None)


def quality_of(place: Place, health: Mapping[str, Mapping[str, Any]]) -> float:
    """How well an episode holds what was captured, in [0, 1]: of its worst stream the part of the samples that was not
    lost, times the part of its values that is not saturated. What a filter dropped is no lack."""
    found = [1.0]
    for stream, tally in place.items():
        lost = sum(tally.lost.values())
        whole = tally.stored / (tally.stored + lost) if lost else 1.0
        saturated = health.get(stream, {}).get("saturated_share") or 0.0
        found.append(whole * (1.0 - saturated))
    return min(found)
