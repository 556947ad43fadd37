"""A real recording that is healthy has no alarm, and neither has a flight of the drone."""

from pathlib import Path

import pytest

from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig
from sensorium.sim.verifiers.health import Health, alarms
from sensorium.sim.worlds.mujoco.drone_config import DroneConfig
from tests.sim.verifiers.recorded import record
from tests.sim.worlds.mujoco.drawing import needs_drawing


def test_euroc_has_no_alarm(recordings: Path) -> None:
    verdict = Health().verify(record(ReplayEurocConfig(path=recordings / "euroc" / "mav0", pace="fast")).episode)
    assert alarms(verdict.components) == []
    assert verdict.passed
    assert {"rig.imu0.noise", "rig.cam0.frozen", "rig.cam1.jitter"} <= verdict.components.keys()


@needs_drawing
@pytest.mark.slow
@pytest.mark.parametrize("seed", [31, 34])
def test_a_flight_that_turns_at_its_stops_has_no_alarm(seed: int) -> None:
    """Motors follow what they are told: no force jumps, as where a bias did."""
    flight = DroneConfig(task="route", pace="fast", duration_s=10, size=(32, 24), seed=seed, camera_hz=2)
    verdict = Health().verify(record(flight).episode)
    assert alarms(verdict.components) == []
    assert verdict.components["rig.imu.bias_step"] < 0.5
