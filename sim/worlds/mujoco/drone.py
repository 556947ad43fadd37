"""The world `sim-drone`: a drone with a fast IMU, a camera and an event camera looking down, and height."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.drivers.controls import Control, Value
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.stream import StreamSpec
from sensorium.sim.worlds.mujoco.autopilot import Autopilot
from sensorium.sim.worlds.mujoco.contacts import contacts_spec
from sensorium.sim.worlds.mujoco.drone_config import DroneConfig
from sensorium.sim.worlds.mujoco.drone_scene import DRONE_MOUNTS, LABELS, SEEN, STOPS, DroneScene, drone_scene
from sensorium.sim.worlds.mujoco.events import EVENT, EventCamera
from sensorium.sim.worlds.mujoco.lidar import Caster
from sensorium.sim.worlds.mujoco.midway import imu_reader, pose_reader
from sensorium.sim.worlds.mujoco.optics import calibration, intrinsics
from sensorium.sim.worlds.mujoco.renderer import Labels
from sensorium.sim.worlds.mujoco.simulation import Earned, Simulation
from sensorium.sim.worlds.mujoco.specs import IMU, IMU_UNIT, POSE, POSE_UNIT, camera_spec, imu_spec, labels_spec
from sensorium.sim.worlds.mujoco.taps import Taps, longest_look_s
from sensorium.sim.worlds.mujoco.terrain import TerrainRays
from sensorium.sim.worlds.row_spec import row_spec
from sensorium.sim.worlds.senses.faults import Faults
from sensorium.sim.worlds.senses.imu import ImuSense
from sensorium.sim.worlds.senses.odometry import STREAM, Sent, odometry_spec, place_controls, turn_of
from sensorium.sim.worlds.senses.ranging import RangeSense
from sensorium.sim.worlds.senses.rows import RowSense
from sensorium.sim.worlds.world import Action, WorldSpecs

Floats = npt.NDArray[np.float64]

STEP_NS = 50_000_000
FASTEST = np.array([3.0, 3.0, 2.0, 1.5])
NEAR_M = 0.5
"""As near as this a stop is reached, or a place held."""
HELD_S = 5.0
"""So long it must hold its place."""
TASK = ("goal_x", "goal_y", "goal_z", "distance", "done_stops", "held_s", "success")
FACTS = (
    "drone_kg", "sun_azimuth_rad", "sun_elevation_rad", "sun", "sky", "field_x", "field_y", "field_z", "sea_level_hpa",
)  # fmt: skip
DRONE_CONTROLS = place_controls((-7.0, -7.0, 3.5), (7.0, 7.0, 6.5), cell_m=1.5, s_per_m=1.0)
"""Higher than all that stands there."""
_CRASHED_M = 0.1
_REACH_M = 20.0


class Drone(Simulation):
    version = DroneConfig.version
    tasks: Mapping[str, str] = {
        "hover": f"Go to a place and hold it, within {NEAR_M} m, for {HELD_S:.0f} s.",
        "route": f"Pass {STOPS} stops in their order, each within {NEAR_M} m.",
    }

    def __init__(self, config: DroneConfig) -> None:
        self._config = config
        self.specs = drone_specs(config)
        largest = (max(config.size[0], config.event_size[0]), max(config.size[1], config.event_size[1]))
        super().__init__(config, largest, config.shadows, longest_look_s(config.camera, config.camera_hz) + 0.01)
        self._scene: DroneScene
        self._goal: Route
        self._pilot: Autopilot
        self._seed = 0

    def _grow(self, seed: int, task: str) -> tuple[Any, Labels]:
        self._scene, self._seed = drone_scene(self._config, seed), seed
        sent = Sent(self._config.odometry, np.random.default_rng([seed, 251]), DRONE_CONTROLS, NEAR_M)
        self._goal = Route(self._scene, hold=task == "hover", sent=sent)
        return self._scene.model, self._scene.geom_labels

    def _settle(self) -> None:
        """It hangs in the air, at rest."""
        config, scene = self._config, self._scene
        seed = self._seed if "wind" in config.randomise else 0
        rng = np.random.default_rng([seed, 250])
        self._pilot = Autopilot(self.physics, scene.facts["drone_kg"], config.wind_m_s, rng)
        self.physics.derive()
        self._pilot.sampled(0)

    def _tapped(self, taps: Taps) -> None:
        config, physics, scene = self._config, self.physics, self._scene
        taps.beside(self._pilot)
        seen = self._camera("cam", config.size, is_ideal=config.camera.is_ideal)
        taps.camera("cam", config.camera, intrinsics(config.size, config.fov_deg), seen)
        below = scene.model.camera("cam").id
        taps.frames("segmentation", lambda t_ns: self._survey(t_ns, below, config.size)[1])
        events = EventCamera(config.events, taps.rng("events"), config.event_size)
        look = self._camera("events", config.event_size)
        taps.bursts("events", config.event_hz, lambda now_ns: events.seen(look(now_ns), now_ns))
        imu = ImuSense(config.imu, taps.rng("imu"), config.imu_hz)
        taps.rows("imu", imu_reader(physics), imu.measure)
        taps.rows("bias", lambda: np.zeros(6), lambda _: imu.bias)
        rangefinder = RangeSense(config.rangefinder, taps.rng("range"))
        taps.rows("range", self._beam(), rangefinder.measure)
        facts, data, body = scene.facts, physics.data, scene.model.body("drone").id
        field = np.array([facts["field_x"], facts["field_y"], facts["field_z"]])
        compass = RowSense(config.magnetometer, taps.rng("magnetometer"), config.magnetometer_hz, 3)
        taps.rows("magnetometer", lambda: field @ data.xmat[body].reshape(3, 3), compass.measure)
        weather = RowSense(config.barometer, taps.rng("barometer"), config.barometer_hz, 1)
        taps.rows("barometer", lambda: pressure_hpa(data.xpos[body, 2:3], facts["sea_level_hpa"]), weather.measure)
        pose = pose_reader(physics)
        taps.rows(STREAM, lambda: _placed(pose()), self._goal.sent.odometry.measure)
        taps.rows("pose", pose)
        taps.rows("task", lambda: self._goal.row(pose(), physics.derived_ns))
        taps.rows("wind", lambda: self._pilot.wind)
        mounts = np.concatenate([mount.pose for mount in scene.mounts.values()])
        taps.once("scene", np.concatenate([[facts[name] for name in FACTS], mounts]))
        taps.bursts("contacts", 50.0, self._contacts(scene.geom_labels))

    def _beam(self) -> Callable[[], Floats]:
        """How far it is, straight down from the rangefinder, as one row."""
        scene, data = self._scene, self.physics.data
        caster, ground = Caster(scene.model, SEEN, _REACH_M), TerrainRays(scene.ground, _REACH_M)
        site = scene.model.site("range").id

        def read() -> Floats:
            origin = data.site_xpos[site]
            ray = -data.site_xmat[site].reshape(3, 3)[:, 2:].astype(np.float32)
            found = np.minimum(caster.ranges(data, origin, ray), ground.ranges(origin, ray))
            metres: Floats = np.where(found < _REACH_M, found, 0).astype(np.float64)
            return metres

        return read

    def _act(self, action: Action) -> None:
        self._pilot.asked = action

    def _judge(self, now_ns: int) -> Earned:
        goal = self._goal
        rewards = goal.earned()
        if goal.crashed or goal.success:
            return Earned(rewards, "terminated")
        return Earned(rewards, "truncated" if now_ns >= self._config.limit_s * 1e9 else "")

    @property
    def controls(self) -> tuple[Control, ...]:
        return () if self._config.odometry is None else DRONE_CONTROLS

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        if self._done is None:
            raise ValueError("sim-drone: no task was begun; reset it, then ask")
        self._goal.sent.ask(name, asked, self.physics.derived_ns)

    def scripted(self) -> Action:
        """Straight to where it should be, slower as it comes near, and slowly turning towards it, or as it was sent."""
        sent = self._goal.sent
        here, goal, yaw = _placed(self._goal.pose), self._goal.place, float("nan")
        if sent.goal is not None:
            here, goal, yaw = sent.odometry.here, sent.goal[:3], float(sent.goal[3])
        away, heading = goal - here[:3], here[3]
        speed = 1.2 * away * min(1.0, 2.0 / max(float(np.linalg.norm(away)), 1e-9))
        along, across = np.cos(heading), np.sin(heading)
        forward, left = along * speed[0] + across * speed[1], along * speed[1] - across * speed[0]
        turn = 0.8 * np.sin(float(np.arctan2(away[1], away[0])) - heading) if np.hypot(*away[:2]) > 1 else 0.3
        if sent.goal is not None:
            turn = 0.0 if np.isnan(yaw) else float(np.clip(1.2 * turn_of(yaw - heading), -1.0, 1.0))
        return self.specs.clipped(np.array([forward, left, speed[2], turn]))

    def _told(self, now_ns: int) -> tuple[SourceNote, ...]:
        self._goal.sent.judge(now_ns)
        return self._goal.sent.asking.told()


def _placed(pose: Floats) -> Floats:
    """x, y, z, yaw of a pose [13]."""
    w, i, j, k = pose[3:7]
    return np.array([*pose[:3], np.arctan2(2 * (w * k + i * j), 1 - 2 * (j * j + k * k))])


class Route:
    """How the task stands: which stop is next, how long the place was held, whether it has crashed."""

    def __init__(self, scene: DroneScene, hold: bool, sent: Sent) -> None:
        self.sent = sent
        self._ground = scene.ground
        self._stops = scene.stops[:1] if hold else scene.stops
        self._hold = hold
        self._next = 0
        self._since_ns: int | None = None
        self._before: tuple[float, int] | None = None
        self._held_s = 0.0
        self.pose: Floats = np.zeros(13)
        self.distance = 0.0
        self.crashed = False

    @property
    def place(self) -> Floats:
        """Where it should be."""
        place: Floats = self._stops[min(self._next, len(self._stops) - 1)]
        return place

    @property
    def success(self) -> bool:
        return self._held_s >= HELD_S if self._hold else self._next >= len(self._stops)

    def row(self, pose: Floats, now_ns: int) -> Floats:
        """The row of truth for a drone with this `pose` [13]."""
        self.pose = pose
        place = self.place
        self.distance = float(np.linalg.norm(place - pose[:3]))
        near = self.distance < NEAR_M
        if near and not self._hold and self._next < len(self._stops):
            self._next += 1
        self._since_ns = (now_ns if self._since_ns is None else self._since_ns) if near else None
        self._held_s = 0.0 if self._since_ns is None else (now_ns - self._since_ns) / 1e9
        self.crashed = bool(pose[2] - float(self._ground.at(pose[0], pose[1])) < _CRASHED_M)
        if self._before is None:
            self._before = (self.distance, self._next)
        return np.array([*place, self.distance, self._next, self._held_s, float(self.success)], np.float64)

    def earned(self) -> dict[str, float]:
        """What the step that has passed was worth."""
        distance, stops = self._before or (self.distance, self._next)
        self._before = (self.distance, self._next)
        rewards = {"crashed": -10.0 * self.crashed}
        if self._hold:
            return {**rewards, "near": -0.05 * min(self.distance, 4.0), "held": 5.0 * self.success}
        passed = self._next - stops
        # At a stop the next is further: what it has come nearer counts within one leg alone.
        return {**rewards, "progress": 0.0 if passed else distance - self.distance, "passed": 2.0 * passed}


def pressure_hpa(height_m: Floats, sea_level_hpa: float) -> Floats:
    """Of the International Standard Atmosphere (ISO 2533) at heights below 11 km."""
    pressure: Floats = sea_level_hpa * (1 - 2.25577e-5 * height_m) ** 5.25588
    return pressure


def drone_specs(config: DroneConfig) -> WorldSpecs:
    """The specs of a world so configured.

    Raises:
        ConfigError: a fault is planned for a stream that there is not, or that cannot have it.
    """
    step_hz = 1e9 / STEP_NS
    size, fov_deg, down = config.size, config.fov_deg, DRONE_MOUNTS["cam"]
    sees = {**calibration(config.event_size, fov_deg, down), "contrast": config.events.contrast}
    reach = {"T_BS": DRONE_MOUNTS["range"].matrix}
    sensed: tuple[StreamSpec, ...] = (
        camera_spec("cam", size, fov_deg, config.camera_hz, down, config.camera),
        row_spec("events", "events", EVENT, "px, px, ", None, "int16", sees),
        imu_spec("imu", config.imu, config.imu_hz, DRONE_MOUNTS["imu"]),
        row_spec("range", "range", ("range",), "m", config.range_hz, "float32", reach),
        row_spec("magnetometer", "magnetometer", ("x", "y", "z"), "uT", config.magnetometer_hz),
        row_spec("barometer", "pressure", ("pressure",), "hPa", config.barometer_hz),
    )
    if config.odometry is not None:
        sensed += (odometry_spec(config.odometry, [control.name for control in DRONE_CONTROLS]),)
    placed = [f"{name}.{channel}" for name in DRONE_MOUNTS for channel in POSE[:7]]
    truth = [
        row_spec("task", "truth", TASK, "m, m, m, m, , s, ", step_hz),
        row_spec("scene", "truth", (*FACTS, *placed), "", None),
    ]
    if config.truth:
        truth += [
            row_spec("pose", "truth", POSE, POSE_UNIT, min(config.imu_hz, 200.0)),
            row_spec("bias", "truth", IMU, IMU_UNIT, config.imu_hz),
            row_spec("wind", "truth", ("x", "y", "z"), "m/s", step_hz),
            labels_spec("segmentation", size, config.camera_hz, LABELS, "cam"),
            contacts_spec(LABELS),
        ]
    planned = Faults(config.faults, sensed, np.random.default_rng(0)).spec
    return WorldSpecs(
        sensed=sensed,
        truth=(*truth, *([] if planned is None else [planned])),
        action=row_spec("action", "action", ("forward", "left", "up", "turn"), "m/s, m/s, m/s, rad/s", step_hz),
        low=-FASTEST,
        high=FASTEST.copy(),
        step_ns=STEP_NS,
    )
