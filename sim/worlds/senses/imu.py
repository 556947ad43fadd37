"""An IMU: what gyroscopes and accelerometers make of true rates and forces."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from sensorium.sim.worlds.imperfections import NonNegative, Positive
from sensorium.sim.worlds.senses.rows import digitised
from sensorium.sim.worlds.senses.sense import Floats, SenseErrors

_DEG = float(np.pi / 180)
_MG = 9.80665e-3
_IMU_PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Bosch BST-BMI088-DS001: 2,000 deg/s and 24 g, 16 bits; noise of the accelerometer is the mean of its axes. Not
    # stated, so taken from a part of its class: the walks (see adis16448).
    "bmi088": {
        "gyro_noise_density": 0.014 * _DEG,
        "gyro_random_walk": 2e-5,
        "gyro_bias": 1.0 * _DEG,
        "gyro_scale_error": 0.01,
        "gyro_misalignment_rad": 0.01,
        "gyro_full_scale": 2000 * _DEG,
        "gyro_step": _DEG / 16.384,
        "accel_noise_density": 0.175 * _MG,
        "accel_random_walk": 3e-3,
        "accel_bias": 20 * _MG,
        "accel_scale_error": 0.004,
        "accel_misalignment_rad": 0.005,
        "accel_full_scale": 24_000 * _MG,
        "accel_step": 24_000 / 32_768 * _MG,
    },
    # Analog Devices ADIS16448 data sheet, table 1: 1,000 deg/s and 18 g, factory calibrated. The walks are what the
    # EuRoC MAV dataset (Burri et al. 2016, sensor.yaml of imu0, an ADIS16448) gives.
    "adis16448": {
        "gyro_noise_density": 0.0135 * _DEG,
        "gyro_random_walk": 1.9393e-5,
        "gyro_bias": 0.5 * _DEG,
        "gyro_scale_error": 0.01,
        "gyro_misalignment_rad": 0.05 * _DEG,
        "gyro_full_scale": 1000 * _DEG,
        "gyro_step": 0.04 * _DEG,
        "accel_noise_density": 0.23 * _MG,
        "accel_random_walk": 3e-3,
        "accel_bias": 20 * _MG,
        "accel_scale_error": 0.01,
        "accel_misalignment_rad": 0.2 * _DEG,
        "accel_full_scale": 18_000 * _MG,
        "accel_step": 0.833 * _MG,
    },
    # TDK InvenSense DS-000189 rev. 1.3, tables 1 and 2: 2,000 deg/s and 16 g, as on a board. Not stated: the walks (see
    # adis16448).
    "icm-20948": {
        "gyro_noise_density": 0.015 * _DEG,
        "gyro_random_walk": 2e-5,
        "gyro_bias": 5.0 * _DEG,
        "gyro_scale_error": 0.015,
        "gyro_misalignment_rad": 0.02,
        "gyro_full_scale": 2000 * _DEG,
        "gyro_step": _DEG / 16.4,
        "accel_noise_density": 0.230 * _MG,
        "accel_random_walk": 3e-3,
        "accel_bias": 50 * _MG,
        "accel_scale_error": 0.005,
        "accel_misalignment_rad": 0.02,
        "accel_full_scale": 16_000 * _MG,
        "accel_step": 1000 / 2048 * _MG,
    },
}


class ImuErrors(SenseErrors):
    """The usual IMU model (as in Kalibr): biases are one sigma of a constant drawn per axis, in rad/s and m/s^2; random
    walks are in rad/s^2/sqrt(Hz) and m/s^3/sqrt(Hz); noise densities in rad/s/sqrt(Hz) and m/s^2/sqrt(Hz); readings
    clip at plus and minus full scale.

    Scale errors are one sigma, relative, drawn per axis; misalignments one sigma of the angle, rad, at which an axis
    leans towards each other one; readings come in whole numbers of `step`, rad/s and m/s^2.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = _IMU_PRESETS

    gyro_bias: NonNegative = 0.0
    gyro_random_walk: NonNegative = 0.0
    gyro_noise_density: NonNegative = 0.0
    gyro_full_scale: Positive | None = None
    accel_bias: NonNegative = 0.0
    accel_random_walk: NonNegative = 0.0
    accel_noise_density: NonNegative = 0.0
    accel_full_scale: Positive | None = None
    gyro_scale_error: NonNegative = 0.0
    gyro_misalignment_rad: NonNegative = 0.0
    gyro_step: NonNegative = 0.0
    accel_scale_error: NonNegative = 0.0
    accel_misalignment_rad: NonNegative = 0.0
    accel_step: NonNegative = 0.0

    def full_scale(self) -> tuple[float, ...] | None:
        """Of each channel, for the stream's spec; None where either is not set."""
        return _each(self.gyro_full_scale, self.accel_full_scale)

    def noise_density(self) -> tuple[float, ...] | None:
        """Of each channel, for the stream's spec; None where either is not set."""
        return _each(self.gyro_noise_density, self.accel_noise_density)


class ImuSense:
    """Turns ideal readings, taken at `rate_hz`, into those of an IMU with `errors`; the biases walk on from call to
    call, and `bias` [n, 6] is what they were in the last call: the truth of it."""

    def __init__(self, errors: ImuErrors, rng: np.random.Generator, rate_hz: float) -> None:
        self._rng = rng
        self._rate_hz = rate_hz
        self._walked = _six(errors.gyro_bias, errors.accel_bias) * rng.standard_normal(6)
        self._walk = _six(errors.gyro_random_walk, errors.accel_random_walk)
        self._density = _six(errors.gyro_noise_density, errors.accel_noise_density)
        self._full_scale = _six(errors.gyro_full_scale or np.inf, errors.accel_full_scale or np.inf)
        self._step = _six(errors.gyro_step, errors.accel_step)
        (apart,) = rng.spawn(1)  # so that an IMU which is straight draws what it always drew
        self._gyro = _mounting(errors.gyro_scale_error, errors.gyro_misalignment_rad, apart)
        self._accel = _mounting(errors.accel_scale_error, errors.accel_misalignment_rad, apart)
        self.bias: Floats = self._walked[None]

    def measure(self, ideal: Floats, rate_hz: float | None = None) -> Floats:
        """Readings [n, 6] of `ideal` [n, 6] (gx gy gz ax ay az, rad/s and m/s^2); the rate may change for a call."""
        if not len(ideal):
            self.bias = np.empty((0, 6))
            return ideal
        interval_s = 1 / (rate_hz or self._rate_hz)
        steps = self._walk * np.sqrt(interval_s) * self._rng.standard_normal(ideal.shape)
        self.bias = self._walked + np.cumsum(steps, axis=0)
        self._walked = self.bias[-1]
        noise = self._density / np.sqrt(interval_s) * self._rng.standard_normal(ideal.shape)
        if self._gyro is not None or self._accel is not None:
            sides = [_through(self._gyro, ideal[:, :3]), _through(self._accel, ideal[:, 3:])]
            ideal = np.concatenate(sides, axis=1)
        return digitised(ideal + self.bias + noise, self._full_scale, self._step)


def _mounting(scale: float, lean: float, rng: np.random.Generator) -> Floats | None:
    """What three axes make of a vector, [3, 3]; None for axes that are what they should be."""
    matrix = np.eye(3) + lean * rng.standard_normal((3, 3)) * (1 - np.eye(3)) + scale * np.diag(rng.standard_normal(3))
    return matrix if scale or lean else None


def _through(mounting: Floats | None, vectors: Floats) -> Floats:
    return vectors if mounting is None else vectors @ mounting.T


def _six(gyro: float, accel: float) -> Floats:
    return np.repeat(np.array([gyro, accel], np.float64), 3)


def _each(gyro: float | None, accel: float | None) -> tuple[float, ...] | None:
    return (gyro,) * 3 + (accel,) * 3 if gyro and accel else None
