"""An encoder: counts of a shaft that turns, of which some are missed."""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sensorium.sim.worlds.imperfections import NonNegative, Probability
from sensorium.sim.worlds.senses.sense import Floats, SenseErrors


class EncoderErrors(SenseErrors):
    """`counts_per_turn` counts a turn; `offset_counts` is one sigma of where it stands at the reset; of its counts the
    share `missed` is never counted, in either direction."""

    counts_per_turn: Annotated[int, Field(ge=1)] = 4096
    offset_counts: NonNegative = 0.0
    missed: Probability = 0.0


class EncoderSense:
    """Turns angles of `shafts` shafts into counts; what was missed stays missing."""

    def __init__(self, config: EncoderErrors, rng: np.random.Generator, shafts: int) -> None:
        self._config = config
        self._rng = rng
        self._offset = np.rint(config.offset_counts * rng.standard_normal(shafts)).astype(np.int64)
        self._before: npt.NDArray[np.int64] | None = None

    def measure(self, angle_rad: Floats) -> npt.NDArray[np.int64]:
        """Counts, int64 [n, shafts], of angles [n, shafts] in radians that go on beyond a turn."""
        counts = np.floor(angle_rad * (self._config.counts_per_turn / (2 * np.pi))).astype(np.int64)
        if not len(counts):
            return counts
        if self._config.missed:
            moved = np.diff(counts, axis=0, prepend=counts[:1] if self._before is None else self._before)
            missed = self._rng.binomial(np.abs(moved), self._config.missed) * np.sign(moved)
            self._before = counts[-1:]
            lost = np.cumsum(missed, axis=0)
            result = counts + self._offset - lost
            self._offset = self._offset - lost[-1]
            return result
        return counts + self._offset
