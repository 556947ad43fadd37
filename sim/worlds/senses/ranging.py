"""Ranges: what a lidar, a depth camera or a rangefinder makes of true distances; 0 where there is no echo."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.imperfections import NonNegative, Positive, Probability
from sensorium.sim.worlds.senses.sense import SenseErrors

_RANGE_PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Velodyne 63-9243 rev. D (VLP-16 user manual): up to +-3 cm typical, taken as two sigma; 2 mm per count; 100 m.
    "vlp-16": {"noise_m": 0.015, "step_m": 0.002, "nearest_m": 0.5, "farthest_m": 100.0, "missing": 0.002},
    # Benewake SJ-PM-TFmini-S: +-6 cm below 6 m taken as two sigma, 1 cm resolution, 0.1 to 12 m.
    "tfmini-s": {"noise_m": 0.03, "step_m": 0.01, "nearest_m": 0.1, "farthest_m": 12.0},
    # Intel 337029 (RealSense D400 data sheet): depth error is z^2 * subpixel error / (focal length * baseline); 0.08
    # px, 50 mm and 420 px at 848x480 give 0.0038 per metre; 1 mm units; holes are what stereo does not match.
    "d435": {"noise_per_m2": 0.0038, "step_m": 0.001, "nearest_m": 0.2, "farthest_m": 10.0, "missing": 0.01},
}


class RangeErrors(SenseErrors):
    """Noise, one sigma, is `noise_m` and `noise_per_m2` times the square of the distance (as stereo has it), together;
    ranges come in whole numbers of `step_m`; the share `missing` has no echo, and all nearer than `nearest_m` or
    farther than `farthest_m`."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _RANGE_PRESETS

    noise_m: NonNegative = 0.0
    noise_per_m2: NonNegative = 0.0
    step_m: NonNegative = 0.0
    nearest_m: NonNegative = 0.0
    farthest_m: Positive | None = None
    missing: Probability = 0.0


class RangeSense:
    """Turns true distances, in metres, of any shape, into ranges; what is no number or not above 0 has no echo."""

    def __init__(self, config: RangeErrors, rng: np.random.Generator) -> None:
        self._config = config
        self._rng = rng

    def measure(self, true_m: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Ranges, float32 of the same shape, 0 where there is no echo."""
        config = self._config
        with np.errstate(invalid="ignore"):
            seen = (true_m > 0) & (true_m < np.inf)
        ranges = np.where(seen, true_m, np.float32(0)).astype(np.float32, copy=False)
        if config.noise_m or config.noise_per_m2:
            sigma = np.float32(config.noise_m)
            if config.noise_per_m2:
                sigma = np.hypot(sigma, np.float32(config.noise_per_m2) * ranges * ranges)
            ranges += sigma * self._rng.standard_normal(ranges.shape, np.float32)
        if config.step_m:
            ranges = np.rint(ranges / np.float32(config.step_m)) * np.float32(config.step_m)
        if config.noise_m or config.noise_per_m2 or config.step_m:
            seen &= ranges > 0
        if config.nearest_m:
            seen &= ranges >= config.nearest_m
        if config.farthest_m is not None:
            seen &= ranges <= config.farthest_m
        if config.missing:
            seen &= self._rng.random(ranges.shape, np.float32) >= config.missing
        kept: npt.NDArray[np.float32] = np.where(seen, ranges, np.float32(0))
        return kept
