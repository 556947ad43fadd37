"""The world `sim-rover`: a rover in rough ground with stereo, depth, lidar, IMU, wheel encoders and a battery."""

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sensorium.drivers.controls import Control, Value
from sensorium.drivers.marks import SourceNote
from sensorium.sim.worlds.mujoco.battery import Battery
from sensorium.sim.worlds.mujoco.lidar import Caster, Lidar
from sensorium.sim.worlds.mujoco.midway import imu_reader, pose_reader
from sensorium.sim.worlds.mujoco.optics import intrinsics
from sensorium.sim.worlds.mujoco.renderer import Labels
from sensorium.sim.worlds.mujoco.rover_config import RoverConfig
from sensorium.sim.worlds.mujoco.rover_pilot import Driving, Pilot, places
from sensorium.sim.worlds.mujoco.rover_scene import SEEN, WHEELS, RoverScene, rover_scene
from sensorium.sim.worlds.mujoco.rover_specs import FACTS, ROVER_CONTROLS, rover_specs
from sensorium.sim.worlds.mujoco.simulation import Earned, Simulation, sensor_reader
from sensorium.sim.worlds.mujoco.taps import Taps, longest_look_s
from sensorium.sim.worlds.mujoco.terrain import TerrainRays
from sensorium.sim.worlds.senses.encoder import EncoderSense
from sensorium.sim.worlds.senses.imu import ImuSense
from sensorium.sim.worlds.senses.odometry import STREAM, Sent
from sensorium.sim.worlds.senses.ranging import RangeSense
from sensorium.sim.worlds.senses.rows import RowSense
from sensorium.sim.worlds.world import Action

Floats = npt.NDArray[np.float64]

NEAR_M = 0.7
"""As near as this the beacon is reached."""
SENT_NEAR_M = 0.35
"""As near as this, by its odometry, it is where it was sent."""
EXPLORED = 12
"""So many squares of a metre make a roam a success."""
_FALLEN = 0.2
"""Of its upright axis: below, it lies on its side."""
_SETTLE = 200


class Rover(Simulation):
    version = RoverConfig.version
    tasks: Mapping[str, str] = {
        "reach": f"Come within {NEAR_M} m of the beacon.",
        "roam": f"Go about, through at least {EXPLORED} squares of a metre, without falling over.",
    }

    def __init__(self, config: RoverConfig) -> None:
        self._config = config
        reach_m = min(config.lidar.farthest_m or 30.0, 30.0)
        self._lidar = Lidar(
            config.lidar_beams, config.lidar_columns, (-15.0, 15.0), config.lidar_hz, config.lidar_sectors, reach_m
        )
        self.specs = rover_specs(config, self._lidar)
        kept_s = max(longest_look_s(config.camera, config.camera_hz), 1 / config.lidar_hz + self.specs.step_ns / 1e9)
        super().__init__(config, config.size, config.shadows, kept_s + 0.01)
        self._scene: RoverScene
        self._goal: Goal
        self._pilot: Driving

    def _grow(self, seed: int, task: str) -> tuple[Any, Labels]:
        scene = rover_scene(self._config, seed)
        self._scene, self._goal = scene, Goal(scene, task == "reach")
        goals = iter([scene.goal[:2]]) if task == "reach" else places(scene, np.random.default_rng([seed, 200]))
        own = Pilot(scene, goals, NEAR_M - 0.1 if task == "reach" else 0.6)
        sent = Sent(self._config.odometry, np.random.default_rng([seed, 201]), ROVER_CONTROLS, SENT_NEAR_M)
        self._pilot = Driving(scene, own, sent)
        return scene.model, scene.geom_labels

    def _settle(self) -> None:
        """It is put down on the ground, and comes to rest with its wheels held."""
        physics, scene = self.physics, self._scene
        x, y, _ = scene.start
        around = [(x + a, y + b) for a in (-0.35, 0, 0.35) for b in (-0.35, 0, 0.35)]
        physics.data.qpos[scene.model.joint("rover").qposadr[0] + 2] = 0.2 + max(
            float(scene.ground.at(*place)) for place in around
        )
        mujoco.mj_step(scene.model, physics.data, _SETTLE)

    def _tapped(self, taps: Taps) -> None:
        config, physics, scene, size = self._config, self.physics, self._scene, self._config.size
        looks = {"left": (config.depth_hz, config.depth), "right": None}
        for name, beside in looks.items():
            seen = self._camera(name, size, beside, config.camera.is_ideal)
            taps.camera(name, config.camera, intrinsics(size, config.fov_deg), seen)
        left = scene.model.camera("left").id
        depth, lidar = RangeSense(config.depth, taps.rng("depth")), RangeSense(config.lidar, taps.rng("lidar"))
        taps.frames("depth", lambda t_ns: depth.measure(self._survey(t_ns, left, size)[0]))
        taps.frames("segmentation", lambda t_ns: self._survey(t_ns, left, size)[1])
        ground, site = TerrainRays(scene.ground, 24.0), scene.model.site("lidar").id
        caster = Caster(scene.model, SEEN, self._lidar.most_m)

        def revolution(start_ns: int) -> npt.NDArray[np.float32]:
            return lidar.measure(self._lidar.revolution(caster, physics.view, site, ground, start_ns))

        taps.frames("lidar", revolution, self._lidar.ends, put_off=True)
        imu = ImuSense(config.imu, taps.rng("imu"), config.imu_hz)
        taps.rows("imu", imu_reader(physics), imu.measure)
        # What the biases were is known once the IMU, a stream before, has measured the same rows.
        taps.rows("bias", lambda: np.zeros(6), lambda _: imu.bias)
        encoder = EncoderSense(config.wheels, taps.rng("wheels"), len(WHEELS))
        taps.rows("wheels", sensor_reader(physics, *(f"angle_{name}" for name in WHEELS)), encoder.measure)
        meter = RowSense(config.battery, taps.rng("battery"), config.battery_hz, 2)
        battery = Battery(physics, [f"wheel_{name}" for name in WHEELS], scene.facts["charge"])
        # The charge is counted, not measured.
        taps.rows("battery", battery.read, lambda rows: np.hstack([meter.measure(rows[:, :2]), rows[:, 2:]]))
        pose = pose_reader(physics)
        taps.rows(STREAM, lambda: _planar(pose()), self._pilot.sent.odometry.measure)
        taps.rows("pose", pose)
        taps.rows("task", lambda: self._goal.row(pose()))
        mounts = np.concatenate([mount.pose for mount in scene.mounts.values()])
        taps.once("scene", np.concatenate([[scene.facts[name] for name in FACTS], mounts]))
        loose = [scene.model.body(f"thing{k}").id for k, thing in enumerate(scene.things) if thing.loose]
        data = physics.data
        taps.rows("crates", lambda: np.concatenate([data.xpos[loose], data.xquat[loose]], axis=1).ravel())
        taps.bursts("contacts", config.wheels_hz, self._contacts(scene.geom_labels))

    def _act(self, action: Action) -> None:
        left, right = action
        self.physics.data.ctrl[:] = (left, right, left, right)

    def _judge(self, now_ns: int) -> Earned:
        goal = self._goal
        rewards = goal.earned()
        if goal.fallen or (goal.success and goal.reach):
            return Earned(rewards, "terminated")
        return Earned(rewards, "truncated" if now_ns >= self._config.limit_s * 1e9 else "")

    @property
    def controls(self) -> tuple[Control, ...]:
        return () if self._config.odometry is None else ROVER_CONTROLS

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        if self._done is None:
            raise ValueError("sim-rover: no task was begun; reset it, then ask")
        self._pilot.ask(name, asked, self.physics.derived_ns)

    def scripted(self) -> Action:
        wheels = self._pilot.wheels(self.physics.derived_ns / 1e9, _planar(self._goal.pose))
        return self.specs.clipped(wheels)

    def _told(self, now_ns: int) -> tuple[SourceNote, ...]:
        self._pilot.sent.judge(now_ns)
        return self._pilot.sent.asking.told()


def _planar(pose: Floats) -> Floats:
    """x, y, yaw of a pose [13]."""
    x, y, _, w, i, j, k = pose[:7]
    return np.array([x, y, np.arctan2(2 * (w * k + i * j), 1 - 2 * (j * j + k * k))])


class Goal:
    """How the task stands: the way to the beacon, what was explored, whether it still stands on its wheels."""

    def __init__(self, scene: RoverScene, reach: bool) -> None:
        self._beacon = scene.goal
        self.reach = reach
        self._squares: set[tuple[int, int]] = set()
        self._before: tuple[float, int] | None = None
        self._told = False
        self.pose: Floats = np.zeros(13)
        self.distance = 0.0
        self.upright = 1.0

    @property
    def fallen(self) -> bool:
        return self.upright < _FALLEN

    @property
    def success(self) -> bool:
        if self.reach:
            return self.distance < NEAR_M
        return len(self._squares) >= EXPLORED and not self.fallen

    def row(self, pose: Floats) -> Floats:
        """The row of truth for a rover with this `pose` [13]."""
        self.pose = pose
        x, y, _, _, i, j, _ = pose[:7]
        self.upright = 1 - 2 * (i * i + j * j)
        self.distance = float(np.hypot(*(self._beacon[:2] - pose[:2])))
        self._squares.add((int(np.floor(x)), int(np.floor(y))))
        if self._before is None:
            self._before = (self.distance, len(self._squares))
        return np.array(
            [*self._beacon, self.distance, len(self._squares), self.upright, float(self.success)], np.float64
        )

    def earned(self) -> dict[str, float]:
        """What the step that has passed was worth."""
        distance, squares = self._before or (self.distance, len(self._squares))
        self._before = (self.distance, len(self._squares))
        rewards = {"fallen": -5.0 * self.fallen}
        if self.reach:
            return {**rewards, "progress": distance - self.distance, "reached": 10.0 * self.success}
        return {**rewards, "explored": float(len(self._squares) - squares)}
