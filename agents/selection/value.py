"""The value of an episode: how new what it holds is, and how well it holds it; of one kept by chance, its draw."""

from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.agents.selection.chance import rank
from sensorium.agents.selection.selector import ALWAYS
from sensorium.episode.account import Place
from sensorium.episode.unit import Decision
from sensorium.episode.value import Chance, Worth


def worth_of(decisions: Sequence[Decision], start_ns: int, end_ns: int, quality: float = 1.0) -> Worth:
    """Of what an episode from `start_ns` to `end_ns` keeps of units: those that begin in it.

    Its value is the sum of their scores, which count novelty in the stream's own noise, times `quality` in [0, 1]; what
    a rule keeps counts no less than what just passes the threshold. Units that chance drew, whatever else kept them,
    make it one of chance: it stays while that of the lowest rank would.
    """
    kept = [each for each in decisions if each.kept and start_ns <= each.start_ns < end_ns]
    value = sum(max(each.score, each.threshold) if each.reason == ALWAYS else each.score for each in kept)
    drawn = min((each for each in kept if each.drawn), key=lambda each: rank(each.draw, each.p), default=None)
    chance = None if drawn is None else Chance(drawn.draw, drawn.p)
    return Worth(value * min(max(quality, 0.0), 1.0), chance)


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
