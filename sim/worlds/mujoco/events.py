"""An event camera made of frames: where the logarithm of light has changed by a threshold, an event, when it did.

As ESIM has it (Rebecq, Gehrig, Scaramuzza, "ESIM: an Open Event Camera Simulator", CoRL 2018, section 3.1): each pixel
keeps the level of its last event, and between two frames light is taken to change evenly, so that events have times of
their own. Frames come at a fixed rate: what passes within one interval is one change.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from sensorium.sim.worlds.imperfections import NonNegative
from sensorium.sim.worlds.senses.sense import SenseErrors

EVENT = ("x", "y", "polarity")
_DARK = 0.02
"""Added to light in 0..1 before the logarithm: no pixel sees a change in the dark."""
_MOST_A_PIXEL = 32

_PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Lichtsteiner, Posch, Delbruck, "A 128x128 120 dB 15 us latency asynchronous temporal contrast vision sensor",
    # IEEE JSSC 43 (2008): the threshold can be set down to 15% contrast, its mismatch is 2.1% contrast, one sigma.
    "dvs128": {"contrast": 0.15, "mismatch": 0.021},
}


class EventErrors(SenseErrors):
    """`contrast` is the change of log light for an event, `mismatch` one sigma of each pixel's own; after an event a
    pixel is blind for `refractory_s`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _PRESETS

    contrast: float = Field(default=0.2, gt=0.01, le=2)
    mismatch: NonNegative = 0.0
    refractory_s: NonNegative = 0.0


class EventCamera:
    """Events of one camera since the reset, from its frames; the first frame sets the levels and gives none."""

    def __init__(self, errors: EventErrors, rng: np.random.Generator, size: tuple[int, int]) -> None:
        width, height = size
        own = errors.contrast + errors.mismatch * rng.standard_normal((height, width))
        self._contrast = np.maximum(own, 0.01).astype(np.float32)
        self._refractory_ns = round(errors.refractory_s * 1e9)
        self._level: npt.NDArray[np.float32] | None = None
        self._light: npt.NDArray[np.float32] | None = None
        self._last_ns = np.full((height, width), -(1 << 62), np.int64)
        self._now_ns = 0

    def seen(self, frame: npt.NDArray[np.uint8], now_ns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int16]]:
        """Events since the frame before: stamps [n] in (before, now], and rows [n, 3] x y polarity (1 or -1).

        `frame` is RGB uint8 [h, w, 3].
        """
        light = np.log(frame @ np.array([0.299, 0.587, 0.114], np.float32) / np.float32(255) + np.float32(_DARK))
        before, level = self._light, self._level
        self._light, since_ns, self._now_ns = light, self._now_ns, now_ns
        if before is None or level is None:
            self._level = light.copy()
            return np.empty(0, np.int64), np.empty((0, 3), np.int16)
        change = light - level
        counts = np.minimum(np.abs(change) / self._contrast, _MOST_A_PIXEL).astype(np.int32)
        rows, columns = np.nonzero(counts)
        many = counts[rows, columns]
        sign = np.sign(change[rows, columns]).astype(np.float32)
        contrast = self._contrast[rows, columns]
        start, end, base = before[rows, columns], light[rows, columns], level[rows, columns]
        level[rows, columns] = base + sign * many * contrast
        pixel = np.repeat(np.arange(len(many)), many)
        number = np.arange(len(pixel)) - np.repeat(np.cumsum(many) - many, many) + 1
        crossed = base[pixel] + sign[pixel] * number * contrast[pixel]
        moved = end[pixel] - start[pixel]
        share = np.clip((crossed - start[pixel]) / np.where(np.abs(moved) > 1e-6, moved, 1), 0, 1).astype(np.float64)
        share[np.abs(moved) <= 1e-6] = 1.0
        stamps = since_ns + np.maximum(np.ceil(share * (now_ns - since_ns)), 1).astype(np.int64)
        kept = self._not_blind(rows[pixel], columns[pixel], stamps)
        order = kept[np.argsort(stamps[kept], kind="stable")]
        told = np.stack([columns[pixel], rows[pixel], sign[pixel]], axis=1).astype(np.int16)
        return stamps[order], told[order]

    def _not_blind(
        self, rows: npt.NDArray[Any], columns: npt.NDArray[Any], stamps: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.intp]:
        """Which events come, at pixels that were not blind; those of one pixel are in their order."""
        if not self._refractory_ns:
            return np.arange(len(stamps))
        kept = []
        for event, (row, column, stamp) in enumerate(zip(rows, columns, stamps, strict=True)):
            if stamp - self._last_ns[row, column] >= self._refractory_ns:
                self._last_ns[row, column] = stamp
                kept.append(event)
        return np.array(kept, np.intp)
