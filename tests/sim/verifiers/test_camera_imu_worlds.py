"""Camera and gyro of worlds that drive and fly: offsets are found within 5 ms, and what stands says nothing."""

import functools
from typing import Any

import numpy as np
import pytest

from sensorium.sim.verifiers.camera_imu import CameraImu
from sensorium.sim.worlds.mujoco.drone_config import DroneConfig
from sensorium.sim.worlds.mujoco.rover_config import RoverConfig
from tests.sim.verifiers.recorded import Recorded, joined, record, whole
from tests.sim.verifiers.test_camera_imu import TOO_FAR_S, shifted
from tests.sim.worlds.mujoco.drawing import needs_drawing

pytestmark = [needs_drawing, pytest.mark.slow, pytest.mark.timeout(300)]

ROVER: dict[str, Any] = {"lidar_beams": 2, "lidar_columns": 24, "depth_hz": 1.0}


@functools.cache
def driven(seed: int) -> Recorded:
    return record(RoverConfig(seed=seed, pace="fast", duration_s=12.0, **ROVER))


@functools.cache
def flown(seed: int) -> Recorded:
    return record(DroneConfig(seed=seed, task="route", pace="fast", duration_s=12.0, event_hz=20.0))


def tells(recorded: Recorded, offset_s: float) -> bool:
    """Whether the offset of a camera is claimed; each that is must be right."""
    verdict = CameraImu().verify(recorded.episode)
    found = [value for name, value in verdict.components.items() if name.endswith(".offset_s")]
    assert max((abs(each - offset_s) for each in found), default=0.0) <= TOO_FAR_S, verdict
    return bool(found)


# What is near passes by, and is taken for turns: seed 2 is wrong by 5 to 12 ms, and so unknown, though it turns enough.
PASSES_BY = pytest.mark.xfail(strict=True, reason="turns are not told from what passes by")


@pytest.mark.parametrize("offset_s", [-0.05, 0.0, 0.04, 0.08])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=PASSES_BY)])
def test_offsets_of_what_drives(seed: int, offset_s: float) -> None:
    assert tells(shifted(driven(seed), offset_s), offset_s)


@pytest.mark.parametrize("offset_s", [-0.05, 0.0, 0.04, 0.08])
@pytest.mark.parametrize("seed", [1, 2])
def test_offsets_of_what_flies(seed: int, offset_s: float) -> None:
    assert tells(shifted(flown(seed), offset_s), offset_s)


@pytest.mark.parametrize("offset_s", [-0.05, 0.0, 0.04, 0.08])
def test_what_is_claimed_of_what_drives_is_right(offset_s: float) -> None:
    assert sum(tells(shifted(driven(seed), offset_s), offset_s) for seed in (1, 2, 4, 6)) >= 2


def test_an_offset_of_the_worlds_own_clock() -> None:
    said = {"seed": 5, "task": "route", "pace": "fast", "duration_s": 12.0, "event_hz": 20.0}
    assert tells(record(DroneConfig.model_validate({**said, "clocks": {"cam": {"offset_s": -0.05}}})), -0.05)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_rover_that_stands_says_nothing(seed: int) -> None:
    """It rocks and creeps on its slope; it was told to be 7 and 12 ms late."""
    world = RoverConfig(seed=seed, **ROVER).make()
    seen = [world.reset(seed, "reach")]
    seen += [world.step(np.zeros_like(world.specs.low))[0] for _ in range(160)]
    streams = {
        spec.name: joined(spec, [block for each in seen for block in each.sensed if block.stream == spec.name])
        for spec in world.specs.sensed
        if spec.name in ("left", "right", "imu")
    }
    world.close()
    verdict = CameraImu().verify(whole(streams).episode)
    assert (verdict.passed, dict(verdict.components)) == (None, {}), verdict
