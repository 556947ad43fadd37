"""Environments of Gymnasium itself, recorded into a store: their seeds and stored actions give the same again."""

import os
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from typer.testing import CliRunner

from sensorium.cli.main import app
from sensorium.errors import ConfigError
from sensorium.sim.gym.made_again import replay_rollout
from sensorium.sim.gym.stored_rollout import StoredRollout, sensor_of, stored_rollout
from tests.sim.gym import odd_envs
from tests.sim.gym.conftest import Delivered

ENVIRONMENTS = {
    "CartPole-v1": 500,
    "Acrobot-v1": 60,
    "MountainCar-v0": 80,
    "MountainCarContinuous-v0": 80,
    "Pendulum-v1": 80,
    "Blackjack-v1": None,
    "Taxi-v4": 100,
    "CliffWalking-v1": 100,
    "CliffWalkingSlippery-v1": 100,
    "FrozenLake-v1": None,
    "FrozenLake8x8-v1": None,
    "LunarLander-v3": 80,
    "BipedalWalker-v3": 60,
    "sensorium/Planar-v0": 10,
}
"""Each with where it is cut."""


def same(found: Any, expected: Any) -> bool:
    """Whether two values are the same to the last bit, in whatever parts they come."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, tuple):
        return len(found) == len(expected) and all(map(same, found, expected))
    return np.asarray(found).tobytes() == np.asarray(expected).tobytes()


def replay(stored: StoredRollout) -> None:
    """Step by step, from nothing but what is stored."""
    env = gymnasium.make(EnvSpec.from_json(stored.said["spec"]))
    observation, info = env.reset(seed=int(stored.labels["seed"]))
    assert env.observation_space == stored.observation_space
    assert env.action_space == stored.action_space
    for step in range(len(stored)):
        assert same(stored.observation(step), observation)
        observation, reward, terminated, truncated, info = env.step(stored.action(step))
        ends = stored.terminated[step], stored.truncated[step]
        assert (stored.rewards[step], *ends) == (reward, terminated, truncated)
        for path, (at, rows) in stored.infos.items():
            told: Any = info
            for key in path:
                told = told[key]
            assert same(rows[at == step + 1][0], np.asarray(told, rows.dtype))
    assert same(stored.observation(len(stored)), observation)
    assert (terminated, truncated) == (stored.outcome == "terminated", bool(stored.truncated[-1]))
    env.close()


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_what_is_stored_is_what_the_environment_gives_again(env_id: str, delivered: Delivered) -> None:
    if env_id.startswith(("Lunar", "Bipedal")):
        pytest.importorskip("Box2D", reason="box2d is not installed")
    options: Any = {"options": {"size": [32, 24]}} if env_id.startswith("sensorium/") else {}
    episodes = delivered.collect(id=env_id, episodes=2, seed=11, max_steps=ENVIRONMENTS[env_id], **options)
    assert [sensor_of(each) for each in episodes] == ["env", "env"]
    rollouts = [stored_rollout(each) for each in episodes]
    assert [each.labels["seed"] for each in rollouts] == [11, 12]
    for each in rollouts:
        replay(each)
    for episode in episodes:
        again = replay_rollout(episode)
        assert again.differences == []
        assert again.is_same
        assert set(again.same) == set(episode.streams)


def test_what_is_not_the_same_is_said_and_where(delivered: Delivered) -> None:
    odd_envs.register()
    (episode,) = delivered.collect(id="odd/Fickle-v0", episodes=1)
    odd_envs.Fickle.bias += 1
    again = replay_rollout(episode)
    assert not again.is_same
    first = again.differences[0]
    assert (first.stream, first.row, first.at_s) == ("env.observation", 3, 0.3)
    assert again.same["env.action"] == 5
    ran = CliRunner().invoke(app, ["sim", "replay", str(delivered.folder / "store"), episode.id])
    assert ran.exit_code == 1
    assert "env.observation differs first: row 3, 0.300000 s after the reset" in ran.stdout
    (_, second) = delivered.collect("side", id="CartPole-v1", episodes=2, num_envs=2)
    assert replay_rollout(second).is_same
    *_, last = delivered.collect("next", id="CartPole-v1", episodes=3, num_envs=2)
    with pytest.raises(ConfigError, match="its reset had no seed of its own"):
        replay_rollout(last)


def test_one_that_failed_before_its_first_observation_is_said_to_have(delivered: Delivered) -> None:
    """Nothing of it is damaged."""
    odd_envs.register()
    episodes = delivered.collect(id="odd/Odd-v0", episodes=2, options={"what": "raises at reset"})
    failed = next(each for each in episodes if each.outcome == "failed")
    says = "failed before its first observation, .*: the environment did not begin: OSError: no such world"
    with pytest.raises(ConfigError, match=says):
        replay_rollout(failed)


def test_an_environment_that_was_registered_by_its_class_is_made_again(delivered: Delivered) -> None:
    if "odd/Class-v0" not in gymnasium.registry:
        maker: Any = odd_envs.Odd
        gymnasium.register("odd/Class-v0", entry_point=maker)
    (episode,) = delivered.collect(id="odd/Class-v0", episodes=1)
    assert replay_rollout(episode).is_same
    (_, second) = delivered.collect("side", id="odd/Class-v0", episodes=2, num_envs=2)
    assert replay_rollout(second).is_same


def test_an_environment_of_ones_own_is_made_again_from_the_folder_that_it_is_in(
    delivered: Delivered, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"own_env_{delivered.folder.parent.name}_{os.getpid()}".replace("-", "_")
    (delivered.folder / f"{module}.py").write_text(
        "import gymnasium\nfrom tests.sim.gym.odd_envs import Odd\n\n\nclass Own(Odd):\n    pass\n\n\n"
        f"gymnasium.register('own/Own-v0', '{module}:Own')\n"
    )
    monkeypatch.setattr("sys.path", list(sys.path))
    (episode,) = delivered.collect(id=f"{module}:own/Own-v0", episodes=1)
    monkeypatch.setattr("sys.path", [each for each in sys.path if each != str(delivered.folder.resolve())])
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(gymnasium.registry, "own/Own-v0")
    arguments = ["sim", "replay", str(delivered.folder / "store"), episode.id]
    with pytest.raises(ConfigError, match=r"No module named 'own_env.*; `sim replay` looks for modules in the folder"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    monkeypatch.chdir(delivered.folder)
    ran = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output


def test_an_episode_is_cut_by_nothing_but_its_end(delivered: Delivered) -> None:
    """A minute is no bound of a rollout: steps of toy texts are a quarter of a second each."""
    (episode,) = delivered.collect(id="CliffWalking-v1", episodes=1, max_steps=400)
    assert episode.duration_s == pytest.approx(100)
    assert len(stored_rollout(episode)) == 400
