"""The driver `gymnasium`: every episode is what a plain loop over the same environment gives."""

import copy
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import make, spaces

from sensorium.agents.device_file import check_device
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError
from sensorium.sim.gym.driver import GymnasiumConfig
from sensorium.sim.gym.vectors import MODES
from tests.sim.gym.told import Told, told_by

STEP_NS = 20_000_000


class TestGymnasium(DriverTests):
    def config(self, tmp_path: Path) -> GymnasiumConfig:
        return GymnasiumConfig(id="CartPole-v1", episodes=4, seed=7)


class TestSideBySide(DriverTests):
    def config(self, tmp_path: Path) -> GymnasiumConfig:
        return GymnasiumConfig(id="CartPole-v1", episodes=6, seed=7, num_envs=3)


def told(**options: Any) -> list[Told]:
    return told_by(GymnasiumConfig(**options).open("env", Path()))


def plain(env_id: str, seed: int, **options: Any) -> tuple[list[Any], list[Any], list[float], list[tuple[bool, bool]]]:
    """Observations, actions, rewards and ends of a loop of one's own, with random actions of the same seed."""
    env = make(env_id, **options)
    space = copy.deepcopy(env.action_space)
    space.seed(seed)
    observation, _ = env.reset(seed=seed)
    seen, acted, rewards, ends = [np.array(observation)], [], [], [(False, False)]
    while not any(ends[-1]):
        acted.append(space.sample())
        observation, reward, terminated, truncated, _ = env.step(acted[-1])
        seen.append(np.array(observation))
        rewards.append(float(reward))
        ends.append((terminated, truncated))
    env.close()
    return seen, acted, rewards, ends[1:]


def test_each_episode_is_that_of_a_plain_loop_and_aligned_as_gymnasium_defines_it() -> None:
    found = told(id="CartPole-v1", episodes=3, seed=5)
    assert [each.labels["seed"] for each in found] == [5, 6, 7]
    for number, each in enumerate(found):
        seen, acted, rewards, ends = plain("CartPole-v1", 5 + number)
        steps = len(acted)
        assert each["observation"].tobytes() == np.array(seen).tobytes()
        assert each["action"].tolist() == acted
        assert each["reward"].tolist() == rewards
        assert list(zip(each["terminated"], each["truncated"], strict=True)) == ends
        assert each["final_obs"].tobytes() == seen[-1].tobytes()
        assert each.stamps["observation"] == [n * STEP_NS for n in range(steps + 1)]
        assert each.stamps["action"] == [n * STEP_NS for n in range(steps)]
        assert each.stamps["reward"] == each.stamps["terminated"] == each.stamps["truncated"]
        assert each.stamps["reward"] == [n * STEP_NS for n in range(1, steps + 1)]
        assert each.stamps["final_obs"] == [steps * STEP_NS]
        assert not each["failed"].any()
        assert each.count("failed") == steps + 1
        assert (each.outcome, each.end_ns) == ("terminated", each.base_ns + steps * STEP_NS + 1)
        said = {"world": "CartPole-v1", "policy": "random", "seed": 5 + number, "index": number}
        assert said.items() <= each.labels.items()


def test_what_is_cut_is_truncated_and_steps_are_as_long_as_is_said() -> None:
    (found,) = told(id="Pendulum-v1", episodes=1, max_steps=30, step_s=0.1)
    assert found.outcome == "truncated"
    assert found.stamps["action"] == [n * 100_000_000 for n in range(30)]
    assert found["truncated"].tolist() == [False] * 29 + [True]
    assert not found["terminated"].any()


def test_what_is_drawn_is_recorded_with_each_observation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    (found,) = told(id="CartPole-v1", episodes=1, render=True)
    env = make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=0)
    frames = [env.render()]
    for action in found["action"]:
        env.step(action)
        frames.append(env.render())
    assert found["render"].tobytes() == np.array(frames).tobytes()
    assert found.stamps["render"] == found.stamps["observation"]
    env.close()


@pytest.mark.parametrize("mode", MODES)
def test_each_part_of_a_vector_environment_has_whole_episodes_of_its_own(mode: str) -> None:
    """No reset is a transition, in any mode: each sub-environment gives what it gives alone."""
    found = told(id="CartPole-v1", episodes=9, seed=5, num_envs=3, autoreset=mode)
    assert len(found) == 9
    assert {each.labels["recorder"] for each in found} == {"env.0", "env.1", "env.2"}
    for sub in range(3):
        env = make("CartPole-v1")
        own = sorted(
            (each for each in found if each.labels["recorder"] == f"env.{sub}"), key=lambda t: t.labels["index"]
        )
        assert [each.labels["index"] for each in own] == list(range(len(own)))
        for each in own:
            assert each.labels["autoreset"] == mode
            seed = each.labels.get("seed")
            if mode != "disabled":
                assert (seed is None) == (each.labels["index"] > 0)
                resets = {} if seed is not None else {"seeded_with": 5 + sub, "resets_since": each.labels["index"]}
                assert resets.items() <= each.labels.items()
            observation, _ = env.reset(seed=seed)
            seen, rewards = [observation], []
            for action in each["action"]:
                observation, reward, terminated, truncated, _ = env.step(action)
                seen.append(observation)
                rewards.append(reward)
            assert terminated or truncated
            assert each["observation"].tobytes() == np.array(seen).tobytes()
            assert each["final_obs"].tobytes() == seen[-1].tobytes()
            assert each["reward"].tolist() == rewards
            assert each["terminated"].tolist() == [False] * (len(rewards) - 1) + [terminated]
        env.close()
    if mode == "disabled":
        assert sorted(each.labels["seed"] for each in found) == list(range(5, 14))


def test_a_frame_that_was_replaced_in_the_same_step_is_counted_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    options = {"id": "CartPole-v1", "episodes": 2, "num_envs": 2, "render": True}
    for each in told(**options, autoreset="same_step"):
        assert (each.count("render"), each.lost["render"]) == (each.count("action"), 1)
    for each in told(**options, autoreset="next_step"):
        assert (each.count("render"), each.lost["render"]) == (each.count("action") + 1, 0)


def test_a_policy_of_ones_own_sees_what_the_environment_gave(tmp_path: Path) -> None:
    (tmp_path / "leaning.py").write_text(
        "def acts(observation, rng):\n    return int(observation[2] + 0.001 * rng.standard_normal() > 0)\n"
    )
    config = GymnasiumConfig(id="CartPole-v1", episodes=2, policy="leaning:acts")
    first, second = (told_by(config.open("env", tmp_path)) for _ in range(2))
    assert [each["action"].tolist() for each in first] == [each["action"].tolist() for each in second]
    for each in first:
        leans = each["observation"][:-1, 2]
        clear = np.abs(leans) > 0.01
        assert (each["action"] == (leans > 0))[clear].all()
        assert len(leans) > 15  # it does better than chance
    assert config.identity(tmp_path) is None


def test_an_environment_of_ones_own_is_found_beside_the_device_file(tmp_path: Path) -> None:
    (tmp_path / "my_own_envs.py").write_text(
        "import gymnasium\ngymnasium.register('mine/Pole-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    config = GymnasiumConfig(id="my_own_envs:mine/Pole-v0", episodes=1, max_steps=4, num_envs=1)
    assert [each.count("action") for each in told_by(config.open("env", tmp_path))] == [4]
    beside = config.model_copy(update={"num_envs": 2, "episodes": 2})
    assert [each.count("action") for each in told_by(beside.open("env", tmp_path))] == [4, 4]


def test_what_cannot_be_made_is_said_when_it_is_opened(tmp_path: Path) -> None:
    for options, why in (
        ({"id": "CartPool-v1"}, "id 'CartPool-v1': cannot be made: .*CartPole"),
        ({"id": "CartPole-v1", "policy": "scripted"}, "no script of its own"),
        ({"id": "CartPole-v1", "policy": "nowhere:acts"}, "policy 'nowhere:acts': cannot be imported"),
        ({"id": "CartPole-v1", "policy": "math:pi"}, "cannot be called"),
        ({"id": "CartPole-v1", "options": {"no_such": 1}}, "cannot be made"),
        ({"id": "CartPole-v1", "options": {"no_such": 1}, "num_envs": 2}, "cannot be made"),
    ):
        with pytest.raises(ConfigError, match=why) as said:
            GymnasiumConfig(**options).open("env", tmp_path)
        assert "\n" not in str(said.value)
    sensors = {"env": {"kind": "gymnasium", "id": "CartPole-v1", "policy": "best"}}
    with pytest.raises(ConfigError, match=r"sensors\.env\.policy: expected random, scripted or module:callable"):
        check_device({"device": "d", "sensors": sensors, "trigger": {"kind": "source"}}, tmp_path)


def test_what_is_not_installed_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> str:
        raise PackageNotFoundError

    config = GymnasiumConfig(id="CartPole-v1")
    for found, why in ((absent, "is not installed"), (lambda _: "0.29.1", "Gymnasium 0.29.1 is too old")):
        monkeypatch.setattr("sensorium.sim.gym.driver.version", found)
        with pytest.raises(ConfigError, match=rf"{why}.*pip install 'sensorium\[gym\]'"):
            config.open("env", tmp_path)


def test_it_says_of_its_streams_what_they_are() -> None:
    driver = GymnasiumConfig(id="Taxi-v4", episodes=1, max_steps=3).open("taxi", Path())
    specs = {spec.name: spec for spec in driver.specs}
    driver.close()
    said = specs["taxi.reward"].calibration["gymnasium"]
    assert (said["id"], said["step_from"], said["step_s"]) == ("Taxi-v4", "render_fps", 0.25)
    assert said["observation_space"] == {"space": "Discrete", "n": 500, "start": 0, "dtype": "int64"}
    assert specs["taxi.info.action_mask"].shape == (6,)
    assert specs["taxi.observation"].rate_hz == 4
    assert specs["taxi.final_obs"].rate_hz is None
    assert isinstance(make("Taxi-v4").action_space, spaces.Discrete)
