"""A real recording that is healthy has no alarm."""

from pathlib import Path

from sensorium.drivers.replay.replay_euroc import ReplayEurocConfig
from sensorium.sim.verifiers.health import Health, alarms
from tests.sim.verifiers.recorded import record


def test_euroc_has_no_alarm(recordings: Path) -> None:
    verdict = Health().verify(record(ReplayEurocConfig(path=recordings / "euroc" / "mav0", pace="fast")).episode)
    assert alarms(verdict.components) == []
    assert verdict.passed
    assert {"rig.imu0.noise", "rig.cam0.frozen", "rig.cam1.jitter"} <= verdict.components.keys()
