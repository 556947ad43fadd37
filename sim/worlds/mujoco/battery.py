"""A battery: what motors and the rest draw of it, and what that leaves."""

import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.mujoco.physics import Physics

Floats = npt.NDArray[np.float64]

_FULL_J = 20 * 3600.0
_IDLE_W = 14.0
_EFFICIENCY = 0.75
_HEAT_W_PER_NM2 = 0.4
_INTERNAL_OHM = 0.12
_EMPTY_V, _FULL_V = 13.2, 16.6
"""Four lithium cells in a row."""


class Battery:
    """Feeds the motors of `actuators`; what it gave since it was last read is taken from what they do then."""

    def __init__(self, physics: Physics, actuators: list[str], charge: float) -> None:
        self._physics = physics
        self._actuators = [physics.model.actuator(name).id for name in actuators]
        self._charge = charge
        self._read_ns = 0

    def read(self) -> Floats:
        """Voltage, V, current, A, and the share of its charge that is left."""
        data, now_ns = self._physics.data, self._physics.derived_ns
        torque, speed = data.actuator_force[self._actuators], data.actuator_velocity[self._actuators]
        moving_w = float(np.maximum(torque * speed, 0).sum()) / _EFFICIENCY
        drawn_w = _IDLE_W + moving_w + _HEAT_W_PER_NM2 * float((torque * torque).sum())
        self._charge = max(0.0, self._charge - drawn_w * (now_ns - self._read_ns) / 1e9 / _FULL_J)
        self._read_ns = now_ns
        open_v = _EMPTY_V + (_FULL_V - _EMPTY_V) * self._charge
        # P = V I with V = open - R I: the smaller root.
        current = (open_v - np.sqrt(max(open_v**2 - 4 * _INTERNAL_OHM * drawn_w, 0.0))) / (2 * _INTERNAL_OHM)
        return np.array([open_v - _INTERNAL_OHM * current, current, self._charge])
