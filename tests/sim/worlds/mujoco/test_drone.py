"""The drone: as every world promises, sensors that agree with the truth, and tasks that can be done."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.mujoco.drone_config import DroneConfig
from sensorium.sim.worlds.playing import Played, by_script, steps
from sensorium.sim.worlds.testing import WorldTests
from tests.sim.worlds.asked import asked_of
from tests.sim.worlds.mujoco.drawing import needs_drawing

pytestmark = [needs_drawing, pytest.mark.slow]


def drone(**options: Any) -> DroneConfig:
    small = {"size": (48, 36), "event_size": (32, 24), "event_hz": 50, "objects": 4, "truth": True}
    return DroneConfig(**{**small, **options})


class TestDrone(WorldTests):
    early_ns = 20_000_000  # events come with the frame behind them
    length = 6
    most_steps = 400

    def config(self) -> WorldConfig:
        return drone()

    def check_truth(self, played: Played) -> None:
        pose, at = played.data("pose"), played.stamps("pose")
        then = np.searchsorted(played.stamps("imu"), at)
        imu = played.data("imu")[then] - played.data("bias")[then]
        assert np.abs(imu[:, :3] - pose[:, 10:]).max() < 0.15 + 0.1 * np.abs(pose[:, 10:]).max()
        assert np.linalg.norm(imu[:, 3:], axis=1).mean() == pytest.approx(9.8, abs=1.5)
        height = 44330.8 * (1 - (played.data("barometer")[:, 0] / played.data("scene")[0, 8]) ** 0.190263)
        there = pose[np.searchsorted(at, played.stamps("barometer")), 2]
        assert np.abs(height - there).mean() < 0.5
        assert (np.abs(played.data("magnetometer")).max(axis=1) < 65).all()


def test_the_rangefinder_sees_what_is_below() -> None:
    """Level, over ground without blocks, it is the height over the ground, which a hover does not change much."""
    world = drone(objects=0, wind_m_s=0, rangefinder={}, camera_hz=1, event_hz=1, randomise=()).make()
    played = Played.of(steps(world, 0, "hover", lambda _, __: np.zeros(4), 20))
    pose, found = played.data("pose")[-1], played.data("range")[-1, 0]
    scene = world._scene  # type: ignore[attr-defined]
    assert found == pytest.approx(pose[2] - float(scene.ground.at(pose[0], pose[1])) - 0.04, abs=0.05)
    assert np.abs(pose[7:10]).max() < 0.05
    world.close()


def test_events_are_where_the_picture_changes() -> None:
    world = drone(size=(64, 48), event_size=(64, 48), camera_hz=100, event_hz=100, events={}).make()
    played = Played.of(steps(world, 2, "route", by_script, 30))
    stamps, rows, frames = played.stamps("events"), played.data("events"), played.data("cam")
    assert (np.diff(stamps) >= 0).all()
    assert set(np.unique(rows[:, 2])) == {-1, 1}
    assert rows[:, 0].max() < 64
    assert rows[:, 1].max() < 48
    at = played.stamps("cam")
    light = np.log(frames @ np.array([0.299, 0.587, 0.114]) / 255 + 0.02)
    first, last = 100, 150
    mine = rows[(stamps > at[first]) & (stamps <= at[last])]
    gained = np.zeros((48, 64))
    np.add.at(gained, (mine[:, 1], mine[:, 0]), 0.2 * mine[:, 2])
    # What was gained is the change of light, to within one threshold at either end.
    assert np.abs(gained - (light[last] - light[first])).max() < 0.4
    assert len(mine) > 200
    world.close()


@pytest.mark.parametrize(("task", "seeds"), [("hover", 1), pytest.param("route", 4, marks=pytest.mark.slow)])
def test_its_own_motion_does_the_task(task: str, seeds: int) -> None:
    world = drone(camera_hz=0.1, event_hz=0.1).make()
    for seed in range(seeds):
        played = Played.of(steps(world, seed, task))
        assert played.data("task")[-1, -1] == 1.0, f"seed {seed}: {played.data('task')[-1]}"
        assert played.done == "terminated"
    world.close()


def test_it_crashes_where_it_is_flown_into_the_ground() -> None:
    world = drone(camera_hz=0.1, event_hz=0.1).make()
    played = Played.of(steps(world, 0, "route", lambda _, __: np.array([0.0, 0, -2, 0])))
    assert played.done == "terminated"
    assert played.data("task")[-1, -1] == 0.0
    assert played.rewards[-1]["crashed"] < 0
    world.close()


def test_events_have_no_faults_of_their_own() -> None:
    with pytest.raises(ValidationError, match="set those of `cam`"):
        drone(faults=[{"sensor": "events", "kind": "dropout", "start_s": 1}])


def sendable(**options: Any) -> DroneConfig:
    return drone(**{"odometry": {}, "camera_hz": 2.0, "event_hz": 2.0, "limit_s": 300.0, **options})


class TestDroneSent(TestDrone):
    early_ns = 600_000_000
    asked_steps = 700

    def config(self) -> WorldConfig:
        return sendable()


def test_it_flies_where_it_is_sent_by_its_odometry() -> None:
    played, note = asked_of(sendable().make(), "route", {"x_m": 3.0, "y_m": -2.0, "z_m": 4.0, "yaw_rad": -1.0}, 1500)
    did, there = note.value["did"], played.data("pose")[-1]
    assert note.value["why"] == ""
    assert [did[name] for name in ("x_m", "y_m", "z_m")] == pytest.approx([3.0, -2.0, 4.0], abs=0.6)
    assert there[:3] == pytest.approx([did[name] for name in ("x_m", "y_m", "z_m")], abs=0.5)
    assert did["yaw_rad"] == pytest.approx(-1.0, abs=0.2)
