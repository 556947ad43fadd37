"""Scores of other packages, told of every picture; what one raises costs that one score."""

import logging
import math
from collections.abc import Sequence

from sensorium.perception.score import Picture, ScoreConfig
from sensorium.threads import reason

log = logging.getLogger(__name__)


class OwnScores:
    """The scores that `also` names, each with what it started with.

    >>> OwnScores(()).of(Picture((4, 4)))
    {}
    """

    def __init__(self, configs: Sequence[ScoreConfig]) -> None:
        self._configs = [(each, each.start()) for each in configs]
        self._failed: dict[str, int] = {}

    def of(self, picture: Picture) -> dict[str, float]:
        """By kind; NaN of one that raises or gives no number."""
        found = {}
        for config, state in self._configs:
            try:
                found[config.kind] = float(config.score(state, picture))
            except Exception as error:  # what others wrote
                found[config.kind] = math.nan
                count = self._failed[config.kind] = self._failed.get(config.kind, 0) + 1
                if count & (count - 1) == 0:  # 1, 2, 4, 8, ...
                    log.warning("score %r: %s; it is unknown (%d times so far)", config.kind, reason(error), count)
        return found
