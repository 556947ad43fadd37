"""The streams of `sim-rover`: what it senses, what only the truth knows, and what moves it."""

import numpy as np

from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.mujoco.contacts import contacts_spec
from sensorium.sim.worlds.mujoco.lidar import Lidar
from sensorium.sim.worlds.mujoco.rover_config import RoverConfig
from sensorium.sim.worlds.mujoco.rover_scene import INSIDE_M, MOUNTS, WHEELS, label_names
from sensorium.sim.worlds.mujoco.specs import (
    IMU,
    IMU_UNIT,
    POSE,
    POSE_UNIT,
    camera_spec,
    depth_spec,
    imu_spec,
    labels_spec,
)
from sensorium.sim.worlds.row_spec import row_spec
from sensorium.sim.worlds.senses.faults import Faults
from sensorium.sim.worlds.senses.odometry import odometry_spec, place_controls
from sensorium.sim.worlds.world import WorldSpecs

STEP_NS = 50_000_000
WHEEL_RAD_S = 10.0
FACTS = (
    "sun_azimuth_rad", "sun_elevation_rad", "sun", "sky", "chassis_kg", "wheel_kg", "friction", "crate_kg", "charge",
)  # fmt: skip
TASK = ("goal_x", "goal_y", "goal_z", "distance", "explored", "upright", "success")
BATTERY = ("voltage", "current", "charge")
ROVER_CONTROLS = place_controls((-INSIDE_M, -INSIDE_M), (INSIDE_M, INSIDE_M), cell_m=1.0, s_per_m=2.0)
"""Two seconds a metre, as it goes around things."""


def rover_specs(config: RoverConfig, lidar: Lidar) -> WorldSpecs:
    """The specs of a world so configured.

    Raises:
        ConfigError: a fault is planned for a stream that there is not, or that cannot have it.
    """
    labels = label_names(config.rocks, config.crates)
    step_hz = 1e9 / STEP_NS
    size, fov_deg = config.size, config.fov_deg
    counts = {"counts_per_turn": config.wheels.counts_per_turn}
    sensed: tuple[StreamSpec, ...] = (
        camera_spec("left", size, fov_deg, config.camera_hz, MOUNTS["left"], config.camera),
        camera_spec("right", size, fov_deg, config.camera_hz, MOUNTS["right"], config.camera),
        depth_spec("depth", size, fov_deg, config.depth_hz, MOUNTS["left"], "left"),
        lidar.spec("lidar", MOUNTS["lidar"]),
        imu_spec("imu", config.imu, config.imu_hz, MOUNTS["imu"]),
        row_spec("wheels", "encoder", WHEELS, "counts", config.wheels_hz, "int64", counts),
        row_spec("battery", "battery", BATTERY, "V, A, ", config.battery_hz),
    )
    if config.odometry is not None:
        sensed += (odometry_spec(config.odometry, [control.name for control in ROVER_CONTROLS]),)
    placed = [f"{name}.{channel}" for name in MOUNTS for channel in POSE[:7]]
    truth = [
        row_spec("task", "truth", TASK, "m, m, m, m, , , ", step_hz),
        row_spec("scene", "truth", (*FACTS, *placed), "", None),
    ]
    if config.truth and config.crates:
        channels = [f"{number}.{name}" for number in range(config.crates) for name in POSE[:7]]
        truth.append(row_spec("crates", "truth", channels, "", step_hz))
    if config.truth:
        truth += [
            row_spec("pose", "truth", POSE, POSE_UNIT, config.imu_hz),
            row_spec("bias", "truth", IMU, IMU_UNIT, config.imu_hz),
            labels_spec("segmentation", size, config.depth_hz, labels, "left"),
            contacts_spec(labels),
        ]
    planned = Faults(config.faults, sensed, np.random.default_rng(0)).spec
    return WorldSpecs(
        sensed=sensed,
        truth=(*truth, *([] if planned is None else [planned])),
        action=row_spec("action", "action", ("left", "right"), "rad/s", step_hz),
        low=np.full(2, -WHEEL_RAD_S),
        high=np.full(2, WHEEL_RAD_S),
        step_ns=STEP_NS,
    )
