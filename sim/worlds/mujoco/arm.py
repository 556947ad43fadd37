"""The world `sim-arm`: an arm at a table, with wrist and overview cameras, depth, joints, torques and touch."""

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Block
from sensorium.sim.worlds.mujoco.arm_config import ArmConfig
from sensorium.sim.worlds.mujoco.arm_scene import (
    ARM_LABELS,
    ARM_MOUNTS,
    HOME,
    JOINTS,
    PUCK_M,
    RANGES,
    TIP_M,
    ArmScene,
    arm_scene,
)
from sensorium.sim.worlds.mujoco.contacts import contacts_spec
from sensorium.sim.worlds.mujoco.optics import intrinsics
from sensorium.sim.worlds.mujoco.physics import Physics
from sensorium.sim.worlds.mujoco.renderer import Labels
from sensorium.sim.worlds.mujoco.simulation import Earned, Simulation, sensor_reader
from sensorium.sim.worlds.mujoco.specs import POSE, camera_spec, depth_spec, labels_spec
from sensorium.sim.worlds.mujoco.taps import Taps, longest_look_s
from sensorium.sim.worlds.row_spec import row_spec
from sensorium.sim.worlds.senses.faults import Faults
from sensorium.sim.worlds.senses.ranging import RangeSense
from sensorium.sim.worlds.senses.rows import RowSense
from sensorium.sim.worlds.world import Action, WorldSpecs

Floats = npt.NDArray[np.float64]

STEP_NS = 50_000_000
FASTEST_RAD_S = 1.5
REACHED_M, PUSHED_M = 0.02, 0.025
TASK = ("goal_x", "goal_y", "goal_z", "distance", "success")
FACTS = ("puck_kg", "friction", "payload_kg", "sun_azimuth_rad", "sun_elevation_rad", "sun", "sky")
_HIGH_M, _LOW_M = 0.12, 0.022
_SETTLE = 250


class Arm(Simulation):
    version = ArmConfig.version
    tasks: Mapping[str, str] = {
        "reach": f"Bring the tip within {REACHED_M * 100:.0f} cm of the mark in the air.",
        "push": f"Push the puck within {PUSHED_M * 100:.1f} cm of the mark on the table.",
    }

    def __init__(self, config: ArmConfig) -> None:
        self._config = config
        self.specs = arm_specs(config)
        super().__init__(config, config.size, config.shadows, longest_look_s(config.camera, config.camera_hz) + 0.01)
        self._scene: ArmScene
        self._servo: Servo
        self._approach: Approach

    def _grow(self, seed: int, task: str) -> tuple[Any, Labels]:
        self._scene = arm_scene(self._config, seed, task)
        self._approach = Approach(self._scene.target, task == "reach")
        return self._scene.model, self._scene.geom_labels

    def _settle(self) -> None:
        """The arm is at home, and what lies on the table has come to rest."""
        physics = self.physics
        places = [int(physics.model.joint(name).qposadr[0]) for name in JOINTS]
        physics.data.qpos[places] = HOME
        self._servo = Servo(physics)
        mujoco.mj_step(physics.model, physics.data, _SETTLE)

    def _tapped(self, taps: Taps) -> None:
        config, physics, scene, size = self._config, self.physics, self._scene, self._config.size
        taps.beside(self._servo)
        for name in ARM_MOUNTS:
            beside = (config.depth_hz, config.depth) if name == "overview" else None
            seen = self._camera(name, size, beside, config.camera.is_ideal)
            taps.camera(name, config.camera, intrinsics(size, config.fov_deg), seen)
        overview = scene.model.camera("overview").id
        depth = RangeSense(config.depth, taps.rng("depth"))
        taps.frames("depth", lambda t_ns: depth.measure(self._survey(t_ns, overview, size)[0]))
        taps.frames("segmentation", lambda t_ns: self._survey(t_ns, overview, size)[1])
        read = {kind: [f"{kind}_{name}" for name in JOINTS] for kind in "qvt"}
        joints = RowSense(config.joints, taps.rng("joints"), config.joints_hz, 2 * len(JOINTS))
        taps.rows("joints", sensor_reader(physics, *read["q"], *read["v"]), joints.measure)
        torques = RowSense(config.torques, taps.rng("torques"), config.joints_hz, len(JOINTS))
        taps.rows("torques", sensor_reader(physics, *read["t"]), torques.measure)
        touch = RowSense(config.touch, taps.rng("touch"), config.touch_hz, 1)
        taps.rows("touch", sensor_reader(physics, "touch"), touch.measure)
        state = sensor_reader(physics, "tip", "puck")
        taps.rows("task", lambda: self._approach.row(state()))
        taps.rows("tip", sensor_reader(physics, "tip", "tip_turn", "tip_speed"))
        taps.rows("puck", sensor_reader(physics, "puck", "puck_turn"))
        taps.rows("true_joints", sensor_reader(physics, *read["q"], *read["v"]))
        mounts = np.concatenate([mount.pose for mount in scene.mounts.values()])
        taps.once("scene", np.concatenate([[scene.facts[name] for name in FACTS], mounts]))
        taps.bursts("contacts", config.touch_hz, self._contacts(scene.geom_labels))

    def _act(self, action: Action) -> None:
        self._servo.asked = action

    def _judge(self, now_ns: int) -> Earned:
        approach = self._approach
        effort = float(np.square(self.physics.data.actuator_force).sum())
        rewards = {"progress": 10 * approach.came_m(), "done": 5.0 * approach.success, "effort": -1e-5 * effort}
        if approach.success:
            return Earned(rewards, "terminated")
        return Earned(rewards, "truncated" if now_ns >= self._config.limit_s * 1e9 else "")

    def scripted(self) -> Action:
        """Joint speeds that move the tip as the task needs it, with the tool downwards where it can."""
        approach = self._approach
        if approach.reach:
            speed = 3.0 * (approach.target - approach.tip)
            speed *= min(1.0, 0.3 / max(float(np.linalg.norm(speed)), 1e-9))
        else:
            speed = pushing(approach.tip, approach.puck, approach.target)
        return self.specs.clipped(self._servo.speeds(speed))


class Approach:
    """How far what the task moves is from its mark, `target` [3]: of a `reach` the tip in the air, else the puck on the
    table."""

    def __init__(self, target: Floats, reach: bool) -> None:
        self.target, self.reach = target, reach
        self.tip, self.puck = np.zeros(3), np.zeros(3)
        self._distance_m = 0.0
        self._before_m: float | None = None

    def row(self, state: Floats) -> Floats:
        """How the task stands, as a row of truth, where tip and puck are at `state`, [6]."""
        self.tip, self.puck = state[:3], state[3:]
        away = self.target - self.tip if self.reach else (self.target - self.puck)[:2]
        self._distance_m = float(np.linalg.norm(away))
        if self._before_m is None:
            self._before_m = self._distance_m
        return np.array([*self.target, self._distance_m, float(self.success)])

    @property
    def success(self) -> bool:
        return self._distance_m < (REACHED_M if self.reach else PUSHED_M)

    def came_m(self) -> float:
        """How much nearer it came since this was asked last, or since the reset."""
        before_m, self._before_m = self._before_m or self._distance_m, self._distance_m
        return before_m - self._distance_m


class Servo:
    """Moves what the position controllers aim at by the joint speeds that are `asked`, rad/s [6], every 10 ms.

    It is a tap that gives no blocks: it only goes on at its own rate.
    """

    def __init__(self, physics: Physics) -> None:
        self._physics = physics
        self._every = round(0.01 * 1e9 / physics.step_ns)
        self._aim = HOME.copy()
        self._site = physics.model.site("tip").id
        self._dofs = [int(physics.model.joint(name).dofadr[0]) for name in JOINTS]
        self.asked: Floats = np.zeros(len(JOINTS))
        self.index = 0
        physics.data.ctrl[:] = self._aim

    def sampled(self, now_ns: int) -> None:  # noqa: ARG002 (it goes on evenly)
        self.index += self._every
        moved = self._aim + self.asked * (self._every * self._physics.step_ns / 1e9)
        self._aim = np.clip(moved, [low for low, _ in RANGES], [high for _, high in RANGES])
        self._physics.data.ctrl[:] = self._aim

    def blocks(self, now_ns: int) -> list[Block]:  # noqa: ARG002
        return []

    def speeds(self, tip_m_s: Floats) -> Floats:
        """Joint speeds [6], rad/s, for a speed of the tip [3], m/s: damped least squares, tool downwards."""
        model, data = self._physics.model, self._physics.data
        shift, turn = np.zeros((3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jacSite(model, data, shift, turn, self._site)
        axis = data.site_xmat[self._site].reshape(3, 3)[:, 2]
        upright = 1.5 * np.cross(axis, [0.0, 0.0, -1.0])
        weight = 0.25
        jacobian = np.vstack([shift[:, self._dofs], weight * turn[:, self._dofs]])
        wanted = np.concatenate([tip_m_s, weight * upright])
        damped = jacobian @ jacobian.T + 1e-3 * np.eye(6)
        speeds: Floats = jacobian.T @ np.linalg.solve(damped, wanted)
        return speeds


def pushing(tip: Floats, puck: Floats, target: Floats) -> Floats:
    """The speed of the tip [3], m/s, to push the puck to the target: over it, down behind it, and on."""
    along = (target - puck)[:2]
    along = along / max(float(np.linalg.norm(along)), 1e-9)
    off = tip[:2] - puck[:2]
    ahead, aside = float(off @ along), float(along[0] * off[1] - along[1] * off[0])
    touching = PUCK_M + TIP_M
    behind = puck[:2] - along * (touching + 0.02)
    if tip[2] < 0.5 * _HIGH_M and ahead < 0 and abs(aside) < 0.02:
        sideways = -2.5 * aside * np.array([-along[1], along[0]])
        return np.array([*(0.07 * along + sideways), 3.0 * (_LOW_M - tip[2])])
    away = behind - tip[:2]
    if np.linalg.norm(away) < 0.012:
        return np.array([*(3.0 * away), -0.15])
    speed = 3.0 * away
    speed *= min(1.0, 0.25 / float(np.linalg.norm(speed)))
    # First up, where it is not, lest it push the puck aside.
    return np.array([*(speed * (tip[2] > 0.7 * _HIGH_M)), float(np.clip(4.0 * (_HIGH_M - tip[2]), -0.2, 0.25))])


def arm_specs(config: ArmConfig) -> WorldSpecs:
    """The specs of a world so configured.

    Raises:
        ConfigError: a fault is planned for a stream that there is not, or that cannot have it.
    """
    step_hz = 1e9 / STEP_NS
    size, fov_deg = config.size, config.fov_deg
    states = [f"{kind}_{name}" for kind in ("angle", "speed") for name in JOINTS]
    units = ", ".join(["rad"] * len(JOINTS) + ["rad/s"] * len(JOINTS))
    sensed = (
        camera_spec("overview", size, fov_deg, config.camera_hz, ARM_MOUNTS["overview"], config.camera),
        camera_spec("wrist", size, fov_deg, config.camera_hz, ARM_MOUNTS["wrist"], config.camera),
        depth_spec("depth", size, fov_deg, config.depth_hz, ARM_MOUNTS["overview"], "overview"),
        row_spec("joints", "joints", states, units, config.joints_hz),
        row_spec("torques", "torque", JOINTS, "N m", config.joints_hz),
        row_spec("touch", "touch", ("tip",), "N", config.touch_hz),
    )
    placed = [f"{name}.{channel}" for name in ARM_MOUNTS for channel in POSE[:7]]
    pose_unit = "m, m, m, , , , "
    truth = [
        row_spec("task", "truth", TASK, "m, m, m, m, ", step_hz),
        row_spec("scene", "truth", (*FACTS, *placed), "", None),
    ]
    if config.truth:
        truth += [
            row_spec("tip", "truth", POSE[:10], pose_unit + ", m/s, m/s, m/s", config.joints_hz),
            row_spec("puck", "truth", POSE[:7], pose_unit, config.joints_hz),
            row_spec("true_joints", "truth", states, units, config.joints_hz),
            labels_spec("segmentation", size, config.depth_hz, ARM_LABELS, "overview"),
            contacts_spec(ARM_LABELS),
        ]
    planned = Faults(config.faults, sensed, np.random.default_rng(0)).spec
    return WorldSpecs(
        sensed=sensed,
        truth=(*truth, *([] if planned is None else [planned])),
        action=row_spec("action", "action", JOINTS, "rad/s", step_hz),
        low=np.full(len(JOINTS), -FASTEST_RAD_S),
        high=np.full(len(JOINTS), FASTEST_RAD_S),
        step_ns=STEP_NS,
    )
