"""Any sensor of rows: bias, bias walk, noise, scale, saturation and quantisation of each channel on its own."""

import numpy as np

from sensorium.sim.worlds.imperfections import NonNegative, Positive
from sensorium.sim.worlds.senses.sense import Floats, SenseErrors


class RowErrors(SenseErrors):
    """In the unit u of the stream: `bias` (one sigma of a constant drawn per channel), `random_walk` (u/s/sqrt(Hz)),
    `noise_density` (u/sqrt(Hz)), `noise` (one sigma per reading, whatever the rate), `scale_error` (one sigma,
    relative); readings clip at plus and minus `full_scale` and come in whole numbers of `step`.
    """

    bias: NonNegative = 0.0
    random_walk: NonNegative = 0.0
    noise_density: NonNegative = 0.0
    noise: NonNegative = 0.0
    scale_error: NonNegative = 0.0
    full_scale: Positive | None = None
    step: NonNegative = 0.0


class RowSense:
    """Turns ideal rows of `channels` values, read at `rate_hz`, into those of a sensor; biases walk on."""

    def __init__(self, config: RowErrors, rng: np.random.Generator, rate_hz: float, channels: int) -> None:
        self._config = config
        self._rng = rng
        self._interval_s = 1 / rate_hz
        self._bias = config.bias * rng.standard_normal(channels)
        self._scale = 1 + config.scale_error * rng.standard_normal(channels)

    def measure(self, ideal: Floats) -> Floats:
        """Readings [n, channels] of `ideal` [n, channels]."""
        config, n = self._config, len(ideal)
        if not n:
            return ideal
        steps = config.random_walk * np.sqrt(self._interval_s) * self._rng.standard_normal(ideal.shape)
        bias = self._bias + np.cumsum(steps, axis=0)
        self._bias = bias[-1]
        sigma = np.hypot(config.noise, config.noise_density / np.sqrt(self._interval_s))
        read = ideal * self._scale + bias + sigma * self._rng.standard_normal(ideal.shape)
        return digitised(read, config.full_scale, config.step)


def digitised(read: Floats, full_scale: Floats | float | None, step: Floats | float) -> Floats:
    """Readings rounded to whole steps (0: as they are), within plus and minus full scale (None: any).

    >>> digitised(np.array([0.14, -7.0]), 2.0, 0.1).round(3).tolist()
    [0.1, -2.0]
    """
    steps = np.where(np.asarray(step) > 0, step, 1.0)
    rounded = np.where(np.asarray(step) > 0, np.rint(read / steps) * steps, read)
    limit = np.inf if full_scale is None else full_scale
    clipped: Floats = np.clip(rounded, -np.asarray(limit), limit)
    return clipped
