"""The arm: as every world promises, sensors that agree with the truth, and tasks that can be done."""

from typing import Any

import numpy as np
import pytest

from sensorium.sim.verifiers.health import Health, alarms
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.mujoco.arm_config import ArmConfig
from sensorium.sim.worlds.playing import Played, by_script, steps
from sensorium.sim.worlds.testing import WorldTests
from tests.sim.verifiers.recorded import record
from tests.sim.worlds.mujoco.drawing import needs_drawing

pytestmark = [needs_drawing, pytest.mark.slow]


def arm(**options: Any) -> ArmConfig:
    return ArmConfig(**{"size": (48, 36), "blocks": 2, "truth": True, **options})


class TestArm(WorldTests):
    length = 6
    most_steps = 100

    def config(self) -> WorldConfig:
        return arm()

    def check_truth(self, played: Played) -> None:
        wrong = played.data("joints") - played.data("true_joints")
        assert np.abs(wrong).max() < 0.001  # half a step
        moved = np.linalg.norm(np.diff(played.data("tip")[:, :3], axis=0), axis=1) * 100
        speed = np.linalg.norm(played.data("tip")[1:, 7:10], axis=1)
        assert np.abs(moved - speed).max() < 0.1
        held = np.abs(played.data("torques")[:, 1])
        assert held.max() > 1.0  # the shoulder carries the arm


def test_what_is_on_its_way_and_what_was_lost_comes_with_the_last_step() -> None:
    faults = [{"sensor": "joints", "kind": "dropout", "start_s": 0.2}]
    settings = {"limit_s": 0.4, "camera_hz": 0.1, "depth_hz": 0.1, "faults": faults}
    whole, faulty, cut = (
        Played.of(steps(arm(clocks={"torques": {"latency_s": 0.1}}, **said).make(), 5, "push", by_script, most))
        for said, most in ((settings | {"faults": []}, None), (settings, None), (settings, 6))
    )
    assert whole.done == faulty.done == "truncated"
    assert (whole.lost("joints"), len(whole.stamps("joints"))) == (0, 41)
    assert (faulty.lost("joints"), len(faulty.stamps("joints"))) == (21, 20)
    assert len(faulty.blocks["joints"][-1]) == 0, "it is told behind the last that came"
    assert len(faulty.stamps("torques")) == 41
    assert cut.lost("joints") == 0
    assert len(cut.stamps("torques")) == 21, "what is on its way when a world is cut does not come"


def test_touch_and_contacts_and_torques_feel_the_push() -> None:
    world = arm(camera_hz=0.1, depth_hz=0.1).make()
    played = Played.of(steps(world, 1, "push", by_script))
    assert played.done == "terminated"
    labels = next(spec for spec in world.specs.truth if spec.name == "contacts").calibration["labels"]
    pair = {labels.index("tip"), labels.index("puck")}
    contacts = played.data("contacts")
    mine = np.array([{int(a), int(b)} == pair for a, b in contacts[:, :2]])
    force = dict(zip(played.stamps("contacts")[mine].tolist(), contacts[mine, 2], strict=True))
    touch, at = played.data("touch")[:, 0], played.stamps("touch")
    felt = np.array([force.get(int(moment), 0.0) for moment in at])
    assert (felt > 0.05).sum() > 10
    assert np.abs(touch - felt).max() < 0.05
    there, was = played.data("puck")[[-1, 0], :2]
    assert np.linalg.norm(there - was) > 0.05
    world.close()


def test_the_mark_and_the_puck_are_where_they_are_seen() -> None:
    world = arm(size=(160, 120), depth={}, randomise=("objects",)).make()
    played = Played.of(steps(world, 3, "push", by_script, 1))
    spec = next(spec for spec in world.specs.sensed if spec.name == "depth")
    labels = next(spec for spec in world.specs.truth if spec.name == "segmentation").calibration["labels"]
    focal, _, x0, y0 = spec.calibration["intrinsics"]
    mount = np.array(spec.calibration["T_BS"])
    depth, seen = played.data("depth")[0], played.data("segmentation")[0]
    for name, place in (("puck", played.data("puck")[0, :3]), ("mark", played.data("task")[0, :3])):
        rows, columns = np.nonzero(seen == labels.index(name))
        z = depth[rows, columns]
        there = np.stack([(columns - x0) / focal * z, (rows - y0) / focal * z, z], axis=1)
        world_points = there @ mount[:3, :3].T + mount[:3, 3]
        assert len(rows) > 20
        assert np.abs(world_points[:, :2] - place[:2]).max() < 0.06
    world.close()


@pytest.mark.parametrize(("task", "seeds"), [("reach", 3), pytest.param("push", 6, marks=pytest.mark.slow)])
def test_its_own_motion_does_the_task(task: str, seeds: int) -> None:
    world = arm(camera_hz=0.1, depth_hz=0.1).make()
    for seed in range(seeds):
        played = Played.of(steps(world, seed, task))
        assert played.data("task")[-1, -1] == 1.0, f"seed {seed}: {played.data('task')[-1]}"
        assert played.done == "terminated"
    world.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_joints_that_rest_are_not_taken_for_faulty(seed: int) -> None:
    config = ArmConfig(task="push", pace="fast", duration_s=6, size=(32, 24), seed=seed, camera_hz=1, depth_hz=1)
    assert alarms(Health().verify(record(config).episode).components) == []
