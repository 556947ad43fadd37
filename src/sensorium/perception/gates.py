"""Gates: what is never worth keeping, told from the scores of a sample, whatever else is said of it."""

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from sensorium.drivers.stream import Scores

NOISE, EXPOSURE, FROZEN = "noise", "exposure", "frozen"


class Gates(BaseModel):
    """The limits; a score that is absent or NaN closes no gate.

    `exposure`: a picture whose mean is outside of `min_mean` to `max_mean` (0 black, 1 white), or of which more than
    `max_clipped` is at either, shows nothing. `frozen`: so many pictures that came before again, one after the other,
    and the camera is stuck; one that shows nothing but black is covered. `noise`: the most noise (`perception.noise`)
    that a picture may have.

    >>> Gates().closed({"noise": np.array([0.3, 19.0]), "frozen": np.array([7.0, 0.0])})
    ['frozen', 'noise']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_noise: float = Field(default=4.0, gt=0)
    min_mean: float = Field(default=0.02, ge=0, le=1)
    max_mean: float = Field(default=0.98, ge=0, le=1)
    max_clipped: float = Field(default=0.9, ge=0, le=1)
    max_frozen: int = Field(default=3, ge=1)

    def __str__(self) -> str:
        """
        >>> str(Gates())
        'exposure (mean below 0.02 or above 0.98, or above 0.9 clipped), frozen (3 times or more), noise (above 4)'
        """
        mean = f"mean below {self.min_mean:g} or above {self.max_mean:g}, or above {self.max_clipped:g} clipped"
        return f"exposure ({mean}), frozen ({self.max_frozen} times or more), noise (above {self.max_noise:g})"

    def closed(self, scores: Mapping[str, Scores]) -> list[str]:
        """By sample, the gate that it does not pass, the cheapest first; "" where it passes all.

        `scores` are those of one block, by name, float64 [n].
        """
        n = len(next(iter(scores.values()), ()))
        unknown = np.full(n, np.nan)
        mean, clipped = scores.get("exposure_mean", unknown), scores.get("exposure_clipped", unknown)
        gates = {
            EXPOSURE: (mean < self.min_mean) | (mean > self.max_mean) | (clipped > self.max_clipped),
            FROZEN: scores.get("frozen", unknown) >= self.max_frozen,
            NOISE: scores.get("noise", unknown) > self.max_noise,
        }
        found = [""] * n
        for name, shut in gates.items():
            for row in np.flatnonzero(shut):
                found[row] = found[row] or name
        return found
