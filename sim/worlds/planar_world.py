"""The planar world as it is acted on: a camera and an IMU that are flown over a textured plane, to places marked on it.

An action is the velocity that is asked for, ahead, to the left, up, and how fast to turn; it is reached at a bounded
acceleration, which is constant within a step, so that IMU, camera and truth agree exactly.
"""

from collections.abc import Mapping

import numpy as np

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.controls import Control, Value
from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.errors import ConfigError
from sensorium.sim.worlds.planar_sensors import PlanarSensors
from sensorium.sim.worlds.row_spec import row_spec
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.senses.camera import CameraSense, Frame, Render
from sensorium.sim.worlds.senses.clock import ClockErrors, SenseClock
from sensorium.sim.worlds.senses.faults import Faults
from sensorium.sim.worlds.senses.imu import ImuSense
from sensorium.sim.worlds.senses.odometry import STREAM, Sent, odometry_spec, place_controls, turn_of
from sensorium.sim.worlds.senses.port import Port
from sensorium.sim.worlds.ticks import ticks
from sensorium.sim.worlds.trajectory import BodyMotion, Floats, body_motion
from sensorium.sim.worlds.world import Action, Done, Observation, World, WorldSpecs

STEP_NS = 50_000_000
_MOST = np.array([1.5, 1.5, 0.8, 1.5])
"""The fastest it goes: m/s, and rad/s around the vertical."""
_PUSH = np.array([4.0, 4.0, 3.0, 5.0])
"""How fast that may change: m/s^2, rad/s^2."""
_LOW, _HIGH = np.array([-3.5, -3.5, 0.8]), np.array([3.5, 3.5, 4.0])
"""Within these it flies, m; towards them it is only let so fast that it can stop."""
_MARK_M = 0.3
_NEAR_M, _SLOW = 0.25, 0.3
ROAMED = 12
"""So many square metres make a roam a success."""
_TASK_CHANNELS = ("goal_x", "goal_y", "distance_m", "reached", "cells")
_STEP_S = STEP_NS / SECOND_NS
_CONTROLS = place_controls((-3.4, -3.4, 0.9), (3.4, 3.4, 3.9), cell_m=1.0, s_per_m=1.2)


class PlanarWorld(World):
    """`reach` ends where it is over the place that is marked, within 25 cm and slower than 0.3 m/s. The truth stream
    `task` has, each step, where the goal is, how far, whether it was reached, and how many square metres were visited.
    """

    version = "1"
    tasks: Mapping[str, str] = {
        "reach": "Come to rest over the place that is marked by a white disc in a black ring.",
        "roam": f"Pass over as many square metres of the plane as there is time for, at least {ROAMED}.",
    }

    def __init__(self, config: PlanarSensors, limit_s: float) -> None:
        self._config = config
        self._limit_ns = round(limit_s * SECOND_NS)
        camera, imu, truth = config.specs()
        self._streams = {"cam": camera, "imu": imu, "truth": truth}
        hz = SECOND_NS / STEP_NS
        task = row_spec("task", "truth", _TASK_CHANNELS, "m, m, m, , ", hz)
        action = row_spec("action", "action", ("ahead", "left", "up", "turn"), "m/s, m/s, m/s, rad/s", hz)
        struck = Faults(config.faults, (camera, imu), np.random.default_rng(0)).spec
        told = ((truth, task) if struck is None else (truth, task, struck)) if config.truth else ()
        sensed: tuple[StreamSpec, ...] = (camera, imu)
        if config.odometry is not None:
            self._streams[STREAM] = odometry_spec(config.odometry, [control.name for control in _CONTROLS])
            sensed += (self._streams[STREAM],)
        self.specs = WorldSpecs(sensed, told, action, -_MOST, _MOST.copy(), STEP_NS)
        self._flight: _Flight | None = None

    def reset(self, seed: int, task: str) -> Observation:
        """Draw another plane, place and goal; the texture takes most of it, about 0.15 s."""
        if task not in self.tasks:
            raise ConfigError(f"sim-planar: no task {task!r}, expected one of {', '.join(self.tasks)}")
        self._flight = _Flight(self._config, self._streams, seed, task, self._limit_ns)
        return self._flight.begun()

    @property
    def controls(self) -> tuple[Control, ...]:
        return () if self._config.odometry is None else _CONTROLS

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        flight = self._going()
        flight.sent.ask(name, asked, flight.now_ns)

    def step(self, action: Action) -> tuple[Observation, Done]:
        flight = self._going()
        if flight.done:
            raise RuntimeError(f"sim-planar: {flight.done}; reset it")
        return flight.step(self.specs.clipped(action)), flight.done

    def scripted(self) -> Action:
        """Straight to the goal, turning towards it, or to one place after the other."""
        return self.specs.clipped(self._going().towards_goal())

    def _going(self) -> "_Flight":
        if self._flight is None:
            raise RuntimeError("sim-planar: reset it first")
        return self._flight


class _Flight:
    """All that is between one reset and the next."""

    def __init__(
        self, config: PlanarSensors, streams: Mapping[str, StreamSpec], seed: int, task: str, limit_ns: int
    ) -> None:
        self._task, self._limit_ns = task, limit_ns
        self._scene = PlanarScene(seed, *config.size, config.fov_deg, config.color)
        self._rng = np.random.default_rng([seed, 10])
        start = [*self._rng.uniform(-2, 2, 2), self._rng.uniform(1.5, 2.5), self._rng.uniform(-np.pi, np.pi)]
        self._at = _Pose(np.array(start), np.zeros(4))
        self._goal = self._another_goal()
        if task == "reach":
            self._scene.mark(self._goal, _MARK_M)
        self._cells: set[tuple[int, ...]] = set()
        self.sent = Sent(config.odometry, np.random.default_rng([seed, 13]), _CONTROLS, _NEAR_M)
        self._senses = _Senses(config, streams, self._scene, seed, self.sent)
        self.now_ns = 0
        self.done: Done = ""

    def begun(self) -> Observation:
        """What stands at 0."""
        self._visit()
        return self._seen(-1, np.zeros(4), {})

    def step(self, action: Action) -> Observation:
        """Fly for one step."""
        was, push = self._at, self._at.push(action)
        before_ns, before_m = self.now_ns, self._distance_m()
        self.now_ns += STEP_NS
        self._at = was.after(push)
        new = self._visit()
        rewards = {"cells": float(new)}
        if self._task == "reach":
            rewards = {"nearer": before_m - self._distance_m(), "reached": float(self._is_there())}
        if self._task == "reach" and self._is_there():
            self.done = "terminated"
        elif self.now_ns >= self._limit_ns:
            self.done = "truncated"
        seen = self._senses.between(before_ns, self.now_ns, was, push, bool(self.done))
        row = self._row()
        if self._task == "roam" and self._distance_m() < _NEAR_M:
            self._goal = self._another_goal()
        return self._observation(seen, row, rewards)

    def towards_goal(self) -> Action:
        """The velocity, ahead, left, up and turning, by which it comes nearer and to rest."""
        if self.sent.goal is not None:
            return self._as_sent(self.sent.goal, self.sent.odometry.here)
        position, yaw = self._at.value[:3], self._at.value[3]
        way = np.array([*(self._goal - position[:2]), 2.0 - position[2]])
        speed = np.minimum(1.2, 1.5 * np.linalg.norm(way[:2])) * way[:2] / max(float(np.linalg.norm(way[:2])), 1e-9)
        heading = np.arctan2(way[1], way[0]) if np.linalg.norm(way[:2]) > 0.5 else yaw
        off = (heading - yaw + np.pi) % (2 * np.pi) - np.pi
        return np.array([*_turned(speed, -yaw), way[2], 1.5 * off])

    @staticmethod
    def _as_sent(goal: Floats, here: Floats) -> Action:
        """Straight to where it was sent, by its odometry, turning on the way."""
        way = goal[:3] - here[:3]
        speed = np.minimum(1.2, 1.5 * np.linalg.norm(way[:2])) * way[:2] / max(float(np.linalg.norm(way[:2])), 1e-9)
        turn = 0.0 if np.isnan(goal[3]) else 1.5 * turn_of(goal[3] - here[3])
        return np.array([*_turned(speed, -float(here[3])), way[2], turn])

    def _seen(self, before_ns: int, push: Floats, rewards: Mapping[str, float]) -> Observation:
        seen = self._senses.between(before_ns, self.now_ns, self._at, push)
        return self._observation(seen, self._row(), rewards)

    def _observation(
        self, seen: tuple[list[Block], list[Block]], row: Floats, rewards: Mapping[str, float]
    ) -> Observation:
        notes = self._senses.faults.notes(self.now_ns)
        self.sent.judge(self.now_ns)
        return Observation(self.now_ns, *self._told(seen, row), rewards, notes, self.sent.asking.told())

    def _told(self, seen: tuple[list[Block], list[Block]], row: Floats) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
        sensed, truth = seen
        if not self._senses.truth:
            return tuple(sensed), ()
        struck = self._senses.faults.until(self.now_ns)
        told = (*truth, Block("task", np.array([self.now_ns], np.int64), row[None]))
        return tuple(sensed), told if struck is None else (*told, struck)

    def _row(self) -> Floats:
        there = self._task == "reach" and self._is_there()
        return np.array([*self._goal, self._distance_m(), float(there), float(len(self._cells))])

    def _distance_m(self) -> float:
        return float(np.linalg.norm(self._goal - self._at.value[:2]))

    def _is_there(self) -> bool:
        return self._distance_m() < _NEAR_M and float(np.linalg.norm(self._at.speed[:3])) < _SLOW

    def _another_goal(self) -> Floats:
        """Far enough that it is a way, at least 1.5 m."""
        while True:
            goal = self._rng.uniform(-3, 3, 2)
            if np.linalg.norm(goal - self._at.value[:2]) >= 1.5:
                return goal

    def _visit(self) -> bool:
        cell = tuple(np.floor(self._at.value[:2]).astype(int).tolist())
        known = cell in self._cells
        self._cells.add(cell)
        return not known


class _Pose:
    """x, y, z, yaw and their velocities, float64 [4] each, in the world."""

    def __init__(self, value: Floats, speed: Floats) -> None:
        self.value, self.speed = value, speed

    def push(self, action: Action) -> Floats:
        """The acceleration of a step that is asked for these velocities, ahead, left, up and turning."""
        wanted = np.array([*_turned(action[:2], float(self.value[3])), *action[2:]])
        room_up, room_down = (np.maximum(room, 0) for room in (_HIGH - self.value[:3], self.value[:3] - _LOW))
        most = 0.8 * np.sqrt(2 * _PUSH[:3])
        wanted[:3] = np.clip(wanted[:3], -most * np.sqrt(room_down), most * np.sqrt(room_up))
        push: Floats = np.clip((wanted - self.speed) / _STEP_S, -_PUSH, _PUSH)
        return push

    def after(self, push: Floats) -> "_Pose":
        """One step later."""
        value = self.value + self.speed * _STEP_S + push * _STEP_S**2 / 2
        return _Pose(value, self.speed + push * _STEP_S)

    def at(self, after_s: Floats, push: Floats) -> Floats:
        """x, y, z, yaw [n, 4] `after_s` [n] from here."""
        value: Floats = self.value + self.speed * after_s[:, None] + push * after_s[:, None] ** 2 / 2
        return value

    def motion(self, after_s: Floats, push: Floats) -> BodyMotion:
        """The body `after_s` [n] from here, level all the time."""
        value, first, second = np.zeros((3, len(after_s), 6))
        columns = [0, 1, 2, 5]
        value[:, columns] = self.at(after_s, push)
        first[:, columns] = self.speed + push * after_s[:, None]
        second[:, columns] = push
        return body_motion(value, first, second)


class _Senses:
    """Camera, IMU and truth, as they come out of one flight."""

    def __init__(
        self, config: PlanarSensors, streams: Mapping[str, StreamSpec], scene: PlanarScene, seed: int, sent: Sent
    ) -> None:
        self._config, self._scene, self._odometry = config, scene, sent.odometry
        self.truth = config.truth
        self.faults = Faults(config.faults, (streams["cam"], streams["imu"]), np.random.default_rng([seed, 11]))
        drops, *rngs = np.random.default_rng([seed, 12]).spawn(5)
        self._drops = drops
        self._camera = CameraSense(config.camera_errors(), rngs[0], scene.intrinsics)
        self._imu = ImuSense(config.imu_errors, rngs[1], config.imu_hz)
        clocks = (*config.clocks(), ClockErrors())
        self._ports = {
            name: Port(streams[name], SenseClock(clock, rng), self.faults)
            for name, clock, rng in zip(("cam", "imu", "truth"), clocks, (rngs[2], rngs[3], rngs[3]), strict=True)
        }
        if STREAM in streams:
            self._ports[STREAM] = Port(
                streams[STREAM], SenseClock(ClockErrors(), np.random.default_rng([seed, 14])), self.faults
            )

    def between(
        self, before_ns: int, now_ns: int, pose: _Pose, push: Floats, is_last: bool = False
    ) -> tuple[list[Block], list[Block]]:
        """What came out in (before_ns, now_ns] of a step that began at `pose`: sensed, and true; in the last all."""
        began_ns = max(before_ns, 0)
        for moment in ticks(self._config.camera_hz, before_ns, now_ns):
            frame = self._camera.expose(self._view(pose, push, began_ns), int(moment))
            if frame is None:
                self._ports["cam"].lose()
            else:
                self._ports["cam"].put(np.array([moment], np.int64), frame[None])
        stamps = ticks(self._config.imu_hz, before_ns, now_ns)
        motion = pose.motion((stamps - began_ns) / SECOND_NS, push)
        ideal = np.concatenate([motion.angular_velocity, motion.specific_force], axis=1)
        self._rows(stamps, self._imu.measure(ideal))
        if self.truth:
            columns = (motion.position, motion.quaternion, motion.velocity, motion.angular_velocity, self._imu.bias)
            self._ports["truth"].put(stamps, np.concatenate(columns, axis=1))
        if self._config.odometry is not None:
            stamps = ticks(self._config.odometry.hz, before_ns, now_ns)
            self._ports[STREAM].put(stamps, self._odometry.measure(pose.at((stamps - began_ns) / SECOND_NS, push)))
        came = {name: port.rest() if is_last else port.until(now_ns) for name, port in self._ports.items()}
        return [block for name, blocks in came.items() if name != "truth" for block in blocks], came["truth"]

    def _view(self, pose: _Pose, push: Floats, began_ns: int) -> Render:
        """What is seen as it flies on so; a shutter that is open beyond the step sees it fly on still."""

        def seen(t_ns: int) -> Frame:
            motion = pose.motion(np.array([(t_ns - began_ns) / SECOND_NS]), push)
            return self._scene.render(motion.position[0], motion.rotation[0])

        return seen

    def _rows(self, stamps: Stamps, rows: Samples) -> None:
        """Out of the IMU's port, but for those that are dropped."""
        if not self._config.imu_drop:
            self._ports["imu"].put(stamps, rows)
            return
        for row, kept in enumerate(self._drops.random(len(stamps)) >= self._config.imu_drop):
            if kept:
                self._ports["imu"].put(stamps[row : row + 1], rows[row : row + 1])
            else:
                self._ports["imu"].lose()


def _turned(vector: Floats, angle: float) -> Floats:
    """[2], turned to the left."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * vector[0] - sin * vector[1], sin * vector[0] + cos * vector[1]])
