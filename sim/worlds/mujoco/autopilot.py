"""What keeps a drone in the air: velocities that are asked for become thrusts of four motors, by the truth."""

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Block
from sensorium.sim.worlds.mujoco.physics import Physics

Floats = npt.NDArray[np.float64]

ARM_M = 0.14
MOST_N = 9.0
YAW_M = 0.016
"""Torque about the axis of a motor per thrust."""
MOTORS = ((1, 1, -1), (-1, 1, 1), (-1, -1, -1), (1, -1, 1))
"""Of each motor the sides, forward and left, and which way it turns."""
_EVERY = 2
_MOTOR_S = 0.02
"""How soon a motor with its propeller turns as it is told: some tens of ms of small ones, so no force jumps."""
_DRAG_N_S_M = 0.25
_GUST_S = 0.8
_TILT = 0.6
_GRAVITY = 9.80665


class Autopilot:
    """Acts every 2 ms, with `asked` [4]: forward, left, up, m/s, and the turn to the left, rad/s; and the wind blows.

    It is a tap that gives no blocks: it only goes on at its own rate.
    """

    def __init__(self, physics: Physics, mass: float, wind_m_s: float, rng: np.random.Generator) -> None:
        self._physics = physics
        self._mass = mass
        self._inertia = physics.model.body("drone").inertia.copy()
        self._body = physics.model.body("drone").id
        x, y, turn = np.array(MOTORS, np.float64).T * [[ARM_M], [ARM_M], [YAW_M]]
        self._thrusts = np.linalg.inv(np.stack([np.ones(4), y, -x, turn]))  # from thrust and torques to each motor's
        self._rng = rng
        self._wind_m_s = wind_m_s
        self.wind = wind_m_s * rng.standard_normal(3) * [1, 1, 0.3]
        self._follows = 1 - np.exp(-_EVERY * physics.step_ns / 1e9 / _MOTOR_S)
        self.asked: Floats = np.zeros(4)
        self.index = 0

    def sampled(self, now_ns: int) -> None:
        self.index += _EVERY
        data = self._physics.data
        rotation = data.xmat[self._body].reshape(3, 3)
        velocity, spin = data.qvel[:3], data.qvel[3:6]
        heading = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
        forward, left, up, turn = self.asked
        along, across = np.cos(heading), np.sin(heading)
        wanted = np.array([along * forward - across * left, across * forward + along * left, up])
        push = 2.5 * (wanted - velocity)
        sideways = float(np.hypot(push[0], push[1]))
        push[:2] *= min(1.0, _TILT * _GRAVITY / max(sideways, 1e-9))
        push[2] = np.clip(push[2], -5.0, 5.0) + _GRAVITY
        upwards = rotation[:, 2]
        lean = rotation.T @ np.cross(upwards, push / np.linalg.norm(push))
        rates = np.array([9.0 * lean[0], 9.0 * lean[1], turn])
        torque = self._inertia * np.array([22.0, 22.0, 8.0]) * (rates - spin)
        thrust = self._mass * max(float(push @ upwards), 1.0)
        told = np.clip(self._thrusts @ [thrust, *torque], 0, MOST_N)
        data.ctrl[:] += (told - data.ctrl) * (1.0 if now_ns == 0 else self._follows)
        self._blow(velocity)

    def blocks(self, now_ns: int) -> list[Block]:  # noqa: ARG002
        return []

    def _blow(self, velocity: Floats) -> None:
        """Gusts are an Ornstein-Uhlenbeck process; drag is linear in the speed through the air."""
        if self._wind_m_s:
            fade = np.exp(-_EVERY * self._physics.step_ns / 1e9 / _GUST_S)
            fresh = self._wind_m_s * np.sqrt(1 - fade**2) * self._rng.standard_normal(3) * [1, 1, 0.3]
            self.wind = fade * self.wind + fresh
        self._physics.data.xfrc_applied[self._body, :3] = _DRAG_N_S_M * (self.wind - velocity)
