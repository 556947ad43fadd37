"""A smooth, seeded 6-dof trajectory with exact derivatives, so that IMU and camera of a world agree."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GRAVITY = 9.80665
"""Standard gravity, m/s^2; the world's z axis points up."""

_WAVES = 3
_POSITION_M = (0.45, 0.45, 0.12)
_ATTITUDE_RAD = (0.05, 0.05, 0.25)


@dataclass(frozen=True, slots=True)
class BodyMotion:
    """The body's state at n moments: position and velocity [n, 3] in the world (m, m/s), `rotation` [n, 3, 3] and
    `quaternion` [n, 4] (w x y z) from body to world, and as an ideal IMU at the body's origin has them, in body axes,
    `angular_velocity` [n, 3] (rad/s) and `specific_force` [n, 3] (m/s^2, at rest +g upwards)."""

    position: Floats
    velocity: Floats
    rotation: Floats
    quaternion: Floats
    angular_velocity: Floats
    specific_force: Floats


class Trajectory:
    """Hovering around (0, 0, `height_m`): each of x, y, z, roll, pitch, yaw is a sum of three seeded sines.

    It is `pace` times as lively as a hand is.
    """

    def __init__(self, seed: int, height_m: float = 2.0, pace: float = 1.0) -> None:
        rng = np.random.default_rng([seed, 0])
        scale = np.array([*_POSITION_M, *_ATTITUDE_RAD])[:, None]
        self._amplitude = scale * rng.uniform(0.5, 1.0, (6, _WAVES))
        self._angular_hz = 2 * np.pi * rng.uniform(0.08, 0.45, (6, _WAVES)) * pace
        self._phase = rng.uniform(0.0, 2 * np.pi, (6, _WAVES))
        self._mean = np.array([0.0, 0.0, height_m, 0.0, 0.0, 0.0])

    def at(self, time_s: Floats) -> BodyMotion:
        """The state at `time_s` [n], seconds since the start."""
        return body_motion(*self.derivatives(time_s))

    def derivatives(self, time_s: Floats) -> tuple[Floats, Floats, Floats]:
        """x, y, z, roll, pitch, yaw [n, 6] at these moments, and their first and second derivatives."""
        angle = self._angular_hz * time_s[:, None, None] + self._phase
        value = (self._amplitude * np.sin(angle)).sum(-1) + self._mean
        first = (self._amplitude * self._angular_hz * np.cos(angle)).sum(-1)
        second = (-self._amplitude * self._angular_hz**2 * np.sin(angle)).sum(-1)
        return value, first, second


def body_motion(value: Floats, first: Floats, second: Floats) -> BodyMotion:
    """The state where x, y, z, roll, pitch, yaw are `value` [n, 6], with these first and second derivatives."""
    rotation, quaternion = _attitude(value[:, 3:])
    upwards = second[:, :3] + np.array([0.0, 0.0, GRAVITY])
    return BodyMotion(
        position=value[:, :3],
        velocity=first[:, :3],
        rotation=rotation,
        quaternion=quaternion,
        angular_velocity=_body_rates(value[:, 3:], first[:, 3:]),
        specific_force=np.einsum("nij,ni->nj", rotation, upwards),
    )


def _attitude(euler: Floats) -> tuple[Floats, Floats]:
    """Rotation Rz(yaw) Ry(pitch) Rx(roll) of `euler` [n, 3] (roll, pitch, yaw), as matrices and as quaternions."""
    half = euler / 2
    (cr, cp, cy), (sr, sp, sy) = np.cos(half).T, np.sin(half).T
    w, x = cr * cp * cy + sr * sp * sy, sr * cp * cy - cr * sp * sy
    y, z = cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return np.moveaxis(matrix, -1, 0), np.stack([w, x, y, z], -1)


def _body_rates(euler: Floats, rates: Floats) -> Floats:
    """Angular velocity in body axes from the rates of roll, pitch and yaw."""
    roll, pitch, _ = euler.T
    roll_rate, pitch_rate, yaw_rate = rates.T
    return np.stack(
        [
            roll_rate - yaw_rate * np.sin(pitch),
            pitch_rate * np.cos(roll) + yaw_rate * np.cos(pitch) * np.sin(roll),
            -pitch_rate * np.sin(roll) + yaw_rate * np.cos(pitch) * np.cos(roll),
        ],
        -1,
    )
