"""The threshold that novelty must pass: it follows what the budget can pay for."""

import math

LEAST = 3.0
"""Below so many spreads above the median, what looks new may be a stream's own noise."""
_OF_MOST = 0.75
_SLOWNESS = 10.0
_RISE = 0.2
_LOWEST = 0.02


class Threshold:
    """Two ends, and where between them: what must be passed with a full bucket, and with an empty one.

    With an empty bucket it is three quarters of the most novel that was seen of late: what little comes in is for what
    is really new. With a full one it is `part` of that; `part` falls while budget is wasted, to an e-th for each ten
    units that it would have paid for, and rises again more slowly. Between them it falls as the square of what is
    missing: what is saved up is spent before it runs over.

    >>> threshold = Threshold()
    >>> threshold.value(most_novel=100.0, fullness=1.0)
    75.0
    >>> threshold.follow(earned=1.0, wasted=10.0)
    >>> round(threshold.value(100.0, 1.0)), threshold.value(100.0, 0.0), threshold.value(0.0, 1.0)
    (28, 75.0, 3.0)
    """

    def __init__(self, part: float = 1.0) -> None:
        self.part = part

    def value(self, most_novel: float, fullness: float) -> float:
        """What must be passed now."""
        high = _OF_MOST * most_novel
        low = self.part * high
        return max(LEAST, low + (high - low) * (1.0 - fullness) ** 2)

    def follow(self, earned: float, wasted: float) -> None:
        """So many units the budget could have paid for since the last time, and so many more it could not save."""
        step = -wasted if wasted > 0 else _RISE * earned
        self.part = min(1.0, max(_LOWEST, self.part * math.exp(min(max(step / _SLOWNESS, -1.0), 1.0))))
