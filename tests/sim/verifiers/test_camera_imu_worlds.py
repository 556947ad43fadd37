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


def holds(recorded: Recorded, offset_s: float) -> None:
    """Each camera's is claimed, is right, and in its interval."""
    verdict = CameraImu().verify(recorded.episode)
    cameras = [name.removesuffix(".offset_s") for name in verdict.components if name.endswith(".offset_s")]
    pictures = [name for name, each in recorded.streams.items() if name.rpartition(".")[2] in ("left", "right", "cam")]
    assert len(cameras) == len(pictures) > 0, verdict
    for camera in cameras:
        found, low, high = (verdict.components[f"{camera}.{key}"] for key in ("offset_s", "low_s", "high_s"))
        assert abs(found - offset_s) <= TOO_FAR_S, verdict
        assert low <= offset_s <= high, verdict


@pytest.mark.parametrize("offset_s", [-0.05, 0.0, 0.04, 0.08])
@pytest.mark.parametrize("seed", [1, 2, 3, 5, 9])
def test_offsets_of_what_drives(seed: int, offset_s: float) -> None:
    """Of seeds 2 and 5 what is near passes by much: it was taken for turns, and told 3 to 12 ms wrong."""
    holds(shifted(driven(seed), offset_s), offset_s)


@pytest.mark.parametrize("offset_s", [-0.05, 0.0, 0.04, 0.08])
@pytest.mark.parametrize("seed", [1, 2])
def test_offsets_of_what_flies(seed: int, offset_s: float) -> None:
    holds(shifted(flown(seed), offset_s), offset_s)


def test_an_offset_of_the_worlds_own_clock() -> None:
    said = {"seed": 5, "task": "route", "pace": "fast", "duration_s": 12.0, "event_hz": 20.0}
    holds(record(DroneConfig.model_validate({**said, "clocks": {"cam": {"offset_s": -0.05}}})), -0.05)


@pytest.mark.parametrize("readout_s", [0.02, 0.0466])
def test_offsets_through_a_rolling_shutter(readout_s: float) -> None:
    """The flight of seed 1 was told 8 ms late by 20 ms of read-out: as if all rows were of one moment."""
    said: dict[str, Any] = {"pace": "fast", "duration_s": 11.0, "size": (240, 180)}
    said["camera"] = {"readout_s": readout_s, "exposure_s": 0.005}
    flight = record(DroneConfig(seed=1, task="route", event_hz=20.0, **said))
    for recorded in (flight, record(RoverConfig(seed=33, **ROVER, **said))):
        for offset_s in (0.0, -0.05):
            holds(shifted(recorded, offset_s) if offset_s else recorded, offset_s)


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
