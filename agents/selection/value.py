"""The value of an episode: how new what it holds is, and how well it holds it; of one kept by chance, its draw."""

from collections.abc import Sequence

from sensorium.agents.selection.chance import rank
from sensorium.agents.selection.selector import ALWAYS
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
