"""What happens to samples on their way out of a world: pixel noise, jittered stamps, dropped samples; all seeded."""

import itertools
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sensorium.drivers.pacing import Source
from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, lt=1)]


def with_noise(frame: npt.NDArray[np.uint8], sigma: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The frame with independent noise of `sigma` gray levels in each value; the same array where that is 0."""
    if not sigma:
        return frame
    noise = rng.standard_normal(frame.shape, np.float32) * np.float32(sigma)
    noisy: npt.NDArray[np.uint8] = np.rint(np.clip(frame + noise, 0, 255)).astype(np.uint8)
    return noisy


class Outlet:
    """The way of one stream's samples out of the world: stamped, some of them dropped.

    Stamps never step back, however much they jitter.
    """

    def __init__(
        self,
        spec: StreamSpec,
        rng: np.random.Generator,
        shift_ns: int,
        jitter_ns: float = 0.0,
        drop: float = 0.0,
    ) -> None:
        self._spec = spec
        self._rng = rng
        self._shift_ns = shift_ns
        self._jitter_ns = jitter_ns
        self._drop = drop
        self._last_ns = np.iinfo(np.int64).min
        self._missing = 0

    def admit(self, since_ns: Stamps) -> tuple[Stamps, npt.NDArray[np.bool_]]:
        """Stamps [n] of samples taken at `since_ns` [n] of true time, and which of them get out."""
        n = len(since_ns)
        kept = self._rng.random(n) >= self._drop
        jitter = np.rint(self._jitter_ns * self._rng.standard_normal(n)).astype(np.int64)
        stamps = np.maximum.accumulate(np.maximum(since_ns + self._shift_ns + jitter, self._last_ns))
        self._last_ns = int(stamps[-1])
        return stamps, kept

    def blocks(self, stamps: Stamps, kept: npt.NDArray[np.bool_], data: Samples) -> Source:
        """Blocks of the kept samples; `data` holds those alone, [kept.sum(), ...]."""
        rows = np.flatnonzero(kept)
        if not len(rows):
            self._missing += len(kept)
            return
        gaps = np.diff(rows, prepend=-1) - 1
        gaps[0] += self._missing
        self._missing = len(kept) - 1 - int(rows[-1])
        bounds = sorted({0, len(rows), *np.flatnonzero(gaps).tolist()})
        for start, stop in itertools.pairwise(bounds):
            captured_ns = stamps[rows[start:stop]]
            yield int(captured_ns[-1]), Block(self._spec.name, captured_ns, data[start:stop], int(gaps[start]))

    def end(self, end_ns: int) -> Source:
        """What was missing when the world ended, at `end_ns` of true time."""
        if self._missing:
            none = np.empty((0, *self._spec.shape), self._spec.dtype)
            yield end_ns + self._shift_ns, Block(self._spec.name, np.empty(0, np.int64), none, self._missing)
