"""Rates of a state: how fast the body turned and went around it, not in the step before."""

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco")

from sensorium.sim.worlds.mujoco.midway import imu_reader, pose_reader  # noqa: E402
from sensorium.sim.worlds.mujoco.physics import Physics, compiled  # noqa: E402

SPUN = """
<mujoco><option timestep="0.01" gravity="0 0 -10" integrator="Euler"/>
<worldbody><body pos="0 0 100"><freejoint/><geom size=".1" mass="1"/>
<site name="body" euler="90 0 0"/><site name="imu" euler="90 0 0"/></body></worldbody>
<actuator><motor site="body" gear="0 0 0 0 .01 0" ctrlrange="0 1"/></actuator>
<sensor><gyro name="gyro" site="imu"/><accelerometer name="accelerometer" site="imu"/>
<framepos name="position" objtype="site" objname="body"/><framequat name="quaternion" objtype="site" objname="body"/>
<framelinvel name="velocity" objtype="site" objname="body"/><gyro name="spin" site="body"/></sensor></mujoco>"""


@pytest.mark.parametrize("ahead", [True, False])
def test_rates_are_those_of_their_moment(ahead: bool) -> None:
    """Whether or not the state is a step ahead of what is derived."""
    physics = Physics(compiled("w", SPUN), 1_000_000_000)
    imu, pose = imu_reader(physics), pose_reader(physics)
    physics.begin()
    physics.data.ctrl[:] = 1.0
    felt, known = [], []
    for index in range(1, 40):
        (physics.at if ahead else physics.until)(index)
        felt.append(imu())
        known.append(pose())
    rows, places = np.array(felt), np.array(known)
    fell_m_s = (places[2:, 2] - places[:-2, 2]) / 0.02
    assert places[1:-1, 9] == pytest.approx(fell_m_s)
    for before, row, after in zip(places[:-2], rows[1:-1], places[2:], strict=True):
        turned = np.zeros(3)
        mujoco.mju_subQuat(turned, after[3:7], before[3:7])
        assert np.abs(turned).max() > 0
        assert row[:3] == pytest.approx(turned / 0.02)
    assert rows[:, :3] == pytest.approx(places[:, 10:])
