"""Scores of other packages, told of every picture; what one raises, or if it never answers, costs that one score."""

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from sensorium.agents.filters.guarded_call import GuardedCall, in_line
from sensorium.errors import ConfigError
from sensorium.perception.score import Picture, ScoreConfig
from sensorium.threads import Thread

log = logging.getLogger(__name__)

WITHIN_S = 1.0


class OwnScores:
    """The scores that `also` names, each with what it started with, and asked in a thread of its own.

    While a call of one has not returned no other is made of it. A pickle is the configurations, and starts them anew.

    >>> OwnScores(()).of(Picture((4, 4)))
    {}
    """

    def __init__(self, configs: Sequence[ScoreConfig], within_s: float = WITHIN_S) -> None:
        self._configs = tuple(configs)
        self._within_s = within_s
        self._started = [(each, _started(each), GuardedCall(partial(_asking, each.kind))) for each in configs]
        self._failed: dict[str, int] = {}

    def __reduce__(self) -> tuple[type["OwnScores"], tuple[Any, ...]]:
        return type(self), (self._configs, self._within_s)

    def of(self, picture: Picture) -> dict[str, float]:
        """By kind; NaN of one that raises, gives no number, or has not answered in time."""
        found = {}
        for config, state, asking in self._started:
            found[config.kind] = math.nan
            if asking.busy:
                continue
            # a call that comes too late looks at a picture that is long gone
            outcome = asking.outcome(partial(_number, config, state, picture.copy()), self._within_s)
            if isinstance(outcome, float) and not math.isinf(outcome):
                found[config.kind] = outcome
                continue
            why = f"has not answered within {self._within_s:g} s" if outcome is None else _no_number(outcome)
            count = self._failed[config.kind] = self._failed.get(config.kind, 0) + 1
            if count & (count - 1) == 0:  # 1, 2, 4, 8, ...
                log.warning("score %r: %s; it is unknown (%d times so far)", config.kind, why, count)
        return found


def _no_number(outcome: float | BaseException) -> str:
    return in_line(outcome) if isinstance(outcome, BaseException) else f"is {outcome}, which is no number"


def _asking(kind: str, run: Any) -> Thread:
    return Thread("score", f"asks the score {kind!r}", run, lambda _: None)


def _started(config: ScoreConfig) -> Any:
    try:
        return config.start()
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"score {config.kind!r} cannot be started: {in_line(error)}; mend it, or leave it out"
        ) from error


def _number(config: ScoreConfig, state: Any, picture: Picture) -> float:
    return float(config.score(state, picture))
