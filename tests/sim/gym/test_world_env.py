"""Every world that is installed is an environment of Gymnasium, and shows what its sensors delivered."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from sensorium.drivers.registry import driver_config, driver_kinds
from sensorium.errors import ConfigError
from sensorium.sim.gym.driver import GymnasiumConfig
from sensorium.sim.gym.registered import env_id_of, register_worlds
from sensorium.sim.gym.world_env import WorldEnv
from tests.sim.gym.told import told_by
from tests.sim.worlds.tiny_world import TinyConfig

SMALL: dict[str, Any] = {"size": (64, 48)}
"""What makes pictures of a world small enough for tests."""

WORLDS = sorted(kind for kind in driver_kinds() if kind.startswith("sim-"))


def made(kind: str, **options: Any) -> gymnasium.Env[Any, Any]:
    """Its environment, or the test is skipped where what it is built on is absent."""
    register_worlds()
    has_pictures = driver_config(kind).model_fields.get("size")
    small: dict[str, Any] = SMALL if has_pictures is not None and has_pictures.default == (320, 240) else {}
    try:
        return gymnasium.make(env_id_of(kind), **small, **options)
    except ConfigError as error:
        if "install" in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("kind", WORLDS)
@pytest.mark.filterwarnings("ignore:.*(recommend using a symmetric|infinity. This is probably):UserWarning")
def test_gymnasiums_own_checker_finds_nothing_wrong(kind: str) -> None:
    env = made(kind)
    check_env(env.unwrapped)
    env.close()


def test_what_is_seen_is_the_newest_of_each_stream_and_all_of_a_step_is_at_hand() -> None:
    world = TinyConfig(truth=True).make()
    env = WorldEnv(TinyConfig(truth=True))
    came = world.reset(9, "centre")
    seen, info = env.reset(seed=9)
    newest: dict[str, tuple[int, Any]] = {}
    ages = set()
    for step in range(30):
        for block in (*came.sensed, *came.truth):
            if len(block):
                newest[block.stream] = int(block.captured_ns[-1]), block.data[-1]
        assert {name: each.tobytes() for name, each in seen.items()} == {
            name: newest[name][1].tobytes() for name in ("place", "cam")
        }
        assert info["age_ns"] == {name: came.now_ns - newest[name][0] for name in ("place", "cam")}
        ages |= set(info["age_ns"].values())
        assert info["truth"]["bead"].tolist() == newest["bead"][1].tolist()
        assert [len(block) for block in env.blocks] == [len(block) for block in (*came.sensed, *came.truth)]
        action = np.array([np.sin(step)])
        came, done = world.step(action)
        seen, reward, terminated, truncated, info = env.step(action)
        assert reward == pytest.approx(sum(came.rewards.values()))
        assert (terminated, truncated) == (done == "terminated", done == "truncated")
    assert ages == {0, 50_000_000}, "the camera is half as fast as steps are"


def test_options_are_those_of_the_world_and_wrong_ones_are_one_line() -> None:
    for options, why in (({"siz": 3}, "sim-planar: siz: "), ({"size": (1, 1)}, "sim-planar: size.0: ")):
        with pytest.raises(ConfigError, match=why) as said:
            gymnasium.make("sensorium/Planar-v0", **options)
        assert "\n" not in str(said.value)
    with pytest.raises(ConfigError, match="no task 'fly'"):
        made("sim-planar").reset(options={"task": "fly"})
    with pytest.raises(ConfigError, match="render_mode 'human': expected rgb_array"):
        made("sim-planar", render_mode="human")


def test_what_is_drawn_is_its_camera_in_rgb() -> None:
    env = made("sim-planar", color=True, render_mode="rgb_array")
    seen, _ = env.reset(seed=1)
    drawn: Any = env.render()
    assert drawn.shape == (48, 64, 3)
    assert drawn.tobytes() == np.ascontiguousarray(seen["cam"][..., ::-1]).tobytes()
    env.close()


def test_a_world_is_recorded_like_any_environment_and_shows_its_task() -> None:
    options = {"size": [64, 48], "task": "reach"}
    config = GymnasiumConfig(id="sensorium/Planar-v0", policy="scripted", episodes=2, options=options)
    beside = config.model_copy(update={"num_envs": 2, "episodes": 3})
    for each in told_by(config.open("env", Path())) + told_by(beside.open("env", Path())):
        assert each.labels["world"] == "sensorium/Planar-v0"
        assert each.outcome == "terminated"
        assert each["observation.cam"].shape[1:] == (48, 64)
        assert each.count("observation.imu") == each.count("action") + 1
        assert each.count("info.rewards.nearer") == each.count("action")


@pytest.mark.parametrize(
    "program",
    [
        "import gymnasium, sensorium; gymnasium.make('sensorium/Planar-v0', size=(16, 16)).reset()",
        "import gymnasium; gymnasium.make('sensorium.sim.gym:sensorium/Planar-v0', size=(16, 16)).reset()",
        """import sensorium, sys; assert 'gymnasium' not in sys.modules
try: sensorium.sim.recrod
except AttributeError as e: assert 'recrod' in str(e)
from sensorium.sim import record; assert sensorium.sim.record is record
import gymnasium; gymnasium.spec('sensorium/Planar-v0')""",
    ],
)
def test_it_is_there_however_it_is_imported(program: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


def test_what_is_no_world_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.sim.gym.world_env import make_world_env

    with warnings.catch_warnings(), pytest.raises(ConfigError, match="is no world that can be acted on"):
        make_world_env("replay-csv")
