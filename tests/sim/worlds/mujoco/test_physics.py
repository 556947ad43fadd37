"""A model in motion: where it is, where it was, and what is said where it cannot be."""

import sys

import numpy as np
import pytest

from sensorium.errors import ConfigError, SensoriumError

mujoco = pytest.importorskip("mujoco")

from sensorium.sim.worlds.mujoco.needed import load  # noqa: E402
from sensorium.sim.worlds.mujoco.physics import Physics, compiled  # noqa: E402
from sensorium.sim.worlds.mujoco.sampling import Ticker  # noqa: E402

FALLING = """
<mujoco><option timestep="0.01" gravity="0 0 -10" integrator="Euler"/>
<worldbody><body pos="0 0 100"><freejoint/><geom size=".1" mass="1"/></body></worldbody></mujoco>"""


def test_what_is_derived_belongs_to_its_moment() -> None:
    physics = Physics(compiled("w", FALLING), 1_000_000_000)
    physics.begin()
    heights = {}
    for index in (3, 10, 11):
        physics.at(index)
        assert physics.derived_ns == index * 10_000_000
        heights[index] = float(physics.data.xpos[1, 2])
    physics.until(20)
    heights[20] = float(physics.data.xpos[1, 2])
    for index, height in heights.items():
        assert height == pytest.approx(100 - 10 * 0.01**2 * index * (index + 1) / 2)  # semi-implicit Euler


def test_a_view_of_what_was_lies_between_what_is_remembered() -> None:
    physics = Physics(compiled("w", FALLING), 1_000_000_000)
    physics.begin()
    for index in range(1, 30):
        physics.at(index)
    now = float(physics.data.xpos[1, 2])
    for moment_ns in (0, 55_000_000, 123_456_789, 290_000_000):
        seconds = moment_ns / 1e9
        seen = float(physics.view(moment_ns).xpos[1, 2])
        assert seen == pytest.approx(100 - 5 * seconds * (seconds + 0.01), abs=2e-3)
    assert float(physics.view(-5).xpos[1, 2]) == 100.0  # before the reset it rested
    assert float(physics.data.xpos[1, 2]) == now


def test_a_model_that_does_not_compile_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"w: its model does not compile: .*size 0 must be positive") as refused:
        compiled("w", FALLING.replace('size=".1"', 'size="-1"'))
    assert "\n" not in str(refused.value)


def test_physics_without_bounds_is_said() -> None:
    physics = Physics(compiled("w", FALLING), 0)
    physics.begin()
    physics.data.qvel[:] = np.nan
    with pytest.raises(SensoriumError, match="diverged"):
        physics.until(3)


def test_without_mujoco_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("sensorium.sim.worlds.mujoco.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(ConfigError, match=r"sim-rover needs MuJoCo.*pip install 'sensorium\[sim\]'") as refused:
        load("sim-rover", "rover")
    assert "\n" not in str(refused.value)


def test_a_mujoco_that_cannot_load_what_is_asked_of_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(ConfigError, match=r"sim-rover: MuJoCo cannot be loaded .*unset MUJOCO_GL"):
        load("sim-rover", "rover")


def test_ticks_of_a_rate_that_does_not_divide_the_physics() -> None:
    ticker = Ticker(30.0, 2_500_000)
    indices = []
    for _ in range(4):
        indices.append((ticker.tick_ns, ticker.index))
        ticker.advance()
    assert indices == [(0, 0), (33_333_333, 14), (66_666_666, 27), (100_000_000, 40)]
