"""Rates at a moment. MuJoCo's own are of the step that ended then, so half a step late: that is made up for here."""

from collections.abc import Callable

import mujoco
import numpy as np
import numpy.typing as npt

from sensorium.sim.worlds.mujoco.physics import Physics
from sensorium.sim.worlds.mujoco.simulation import sensor_reader

Floats = npt.NDArray[np.float64]


def imu_reader(physics: Physics) -> Callable[[], Floats]:
    """What an ideal IMU at the site `imu` reads, [6]: rates (rad/s) and specific force (m/s^2), in its axes."""
    read, ahead = sensor_reader(physics, "gyro", "accelerometer"), _half_step(physics, "imu")

    def row() -> Floats:
        found = read()
        found[:3] += ahead(True)[:3]
        return found

    return row


def pose_reader(physics: Physics) -> Callable[[], Floats]:
    """Where the site `body` is, [13]: position and quaternion, velocity in the world (m/s), rates in its own axes."""
    read = sensor_reader(physics, "position", "quaternion", "velocity", "spin")
    ahead, gravity = _half_step(physics, "body"), physics.model.opt.gravity * physics.step_ns / 2e9

    def row() -> Floats:
        found = read()
        found[7:10] += ahead(False)[3:] + gravity
        found[10:] += ahead(True)[:3]
        return found

    return row


def _half_step(physics: Physics, site: str) -> Callable[[bool], Floats]:
    """By how much a site's rates and velocity change in half a step, [6], in its axes or the world's. MuJoCo integrates
    by the velocity at a step's end (semi-implicit Euler): places go on by the mean of those of two states."""
    number, found, half_s = physics.model.site(site).id, np.zeros(6), physics.step_ns / 2e9
    model, data = physics.model, physics.data

    def change(in_its_axes: bool) -> Floats:
        mujoco.mj_objectAcceleration(model, data, mujoco.mjtObj.mjOBJ_SITE, number, found, in_its_axes)
        ahead: Floats = found * half_s
        return ahead

    return change
