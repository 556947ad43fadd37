"""A loop of one's own is recorded: the same streams as the driver's, and the loop notices nothing of it."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from sensorium.agents.spool.folder import Folder
from sensorium.agents.spool.spool import Spool
from sensorium.errors import ConfigError, SensoriumError
from sensorium.sim import record
from sensorium.sim.gym.stored_rollout import StoredRollout, stored_rollout
from sensorium.sim.gym.vectors import MODES
from tests.sim.gym.conftest import Delivered
from tests.sim.gym.odd_envs import Odd, Reusing


def loop(env: Any, seeds: list[int | None], most: int = 1000) -> list[list[Any]]:
    """A loop of one's own; what each episode gave: observations, actions, rewards."""
    found = []
    env.action_space.seed(4)
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        seen, acted, rewards = [np.array(observation)], [], []
        for _ in range(most):
            acted.append(env.action_space.sample())
            observation, reward, terminated, truncated, _ = env.step(acted[-1])
            seen.append(np.array(observation))
            rewards.append(reward)
            if terminated or truncated:
                break
        found.append([seen, acted, rewards])
    return found


def is_stored(stored: StoredRollout, gave: list[Any]) -> bool:
    seen, acted, rewards = gave
    return (
        [stored.observation(n).tobytes() for n in range(len(stored) + 1)] == [each.tobytes() for each in seen]
        and [stored.action(n).tolist() for n in range(len(stored))] == [np.asarray(each).tolist() for each in acted]
        and stored.rewards.tolist() == rewards
    )


def test_a_loop_is_recorded_as_it_went(delivered: Delivered) -> None:
    seeds = [3, None, 8]
    expected = loop(gymnasium.make("CartPole-v1"), seeds)
    options: Any = {"ingest": delivered.url, "mission": "try", "labels": {"operator": "me"}}
    with record(gymnasium.make("CartPole-v1"), delivered.folder / "spool", device="desk", **options) as env:
        assert isinstance(env, gymnasium.Env)
        assert [each[1:] for each in loop(env, seeds)] == [each[1:] for each in expected]
    rollouts = [stored_rollout(each) for each in delivered.episodes("device = 'desk' and mission = 'try'")]
    assert len(rollouts) == 3
    assert all(map(is_stored, rollouts, expected))
    assert [each.outcome for each in rollouts] == ["terminated"] * 3
    wanted: list[dict[str, Any]] = [{"seed": 3}, {"seeded_with": 3, "resets_since": 1}, {"seed": 8}]
    for number, (each, seeded) in enumerate(zip(rollouts, wanted, strict=True)):
        said = {"world": "CartPole-v1", "operator": "me", "index": number, **seeded}
        assert said == {name: value for name, value in each.labels.items() if name != "world_version"}


@pytest.mark.parametrize("mode", MODES)
def test_each_part_of_a_vector_loop_has_episodes_of_its_own(delivered: Delivered, mode: Any) -> None:
    envs = SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * 3, autoreset_mode=MODES[mode])
    with record(envs, delivered.folder / "spool", ingest=delivered.url, device="many") as recorded:
        recorded.action_space.seed(2)
        recorded.reset(seed=20)
        for _ in range(60):
            _, _, terminated, truncated, _ = recorded.step(recorded.action_space.sample())
            if mode == "disabled" and (terminated | truncated).any():
                recorded.reset(options={"reset_mask": terminated | truncated})
    rollouts = [stored_rollout(each) for each in delivered.episodes("device = 'many'")]
    for sub in range(3):
        env: Any = gymnasium.make("CartPole-v1")
        own = sorted((r for r in rollouts if r.labels["recorder"] == f"env.{sub}"), key=lambda r: r.labels["index"])
        assert len(own) > 1
        for each in own:
            observation, _ = env.reset(seed=each.labels.get("seed"))
            for step in range(len(each)):
                assert each.observation(step).tobytes() == observation.tobytes()
                observation, *_ = env.step(each.action(step))
            assert each.observation(len(each)).tobytes() == observation.tobytes()
        assert {each.outcome for each in own[:-1]} == {"terminated"}
        resets = len(own) - 1 if mode == "next_step" else 0
        assert sum(map(len, own)) == 60 - resets, "a reset is no transition"


def test_a_loop_that_resets_before_the_end_leaves_an_unfinished_episode(delivered: Delivered) -> None:
    with record(gymnasium.make("CartPole-v1"), delivered.folder / "spool", ingest=delivered.url) as env:
        gave = loop(env, [1, 2], most=5)
        env.reset()
    rollouts = [stored_rollout(each) for each in delivered.episodes()]
    assert [(len(each), each.outcome) for each in rollouts] == [(5, "unfinished"), (5, "unfinished"), (0, "unfinished")]
    assert all(map(is_stored, rollouts, gave))


def test_what_cannot_be_recorded_fails_the_episode_and_never_the_loop(delivered: Delivered) -> None:
    for what in ("NaN", "shape"):
        with record(Odd(what), delivered.folder / "spool", ingest=delivered.url, device="odd") as env:
            for seed in (0, 1, 2):
                env.reset(seed=seed)
                for _ in range(5):
                    env.step(env.action_space.sample())
    found = delivered.episodes()
    assert [each.outcome for each in found] == ["terminated", "failed", "terminated"] * 2
    assert [len(stored_rollout(each)) for each in found] == [5, 2, 5] * 2


def test_an_error_of_the_environment_fails_the_episode_and_is_raised_on(delivered: Delivered) -> None:
    with record(Odd("raises"), delivered.folder / "spool", ingest=delivered.url) as env:
        loop(env, [0])
        with pytest.raises(RuntimeError, match="stuck"):
            loop(env, [1])
        loop(env, [2])
    assert [each.outcome for each in delivered.episodes()] == ["terminated", "failed", "terminated"]


def test_one_that_cannot_draw_is_recorded_without_pictures(
    delivered: Delivered, caplog: pytest.LogCaptureFixture
) -> None:
    with record(Odd(render_mode="rgb_array"), delivered.folder / "spool", ingest=delivered.url) as env:
        loop(env, [0, 1])
    found = delivered.episodes()
    assert [len(stored_rollout(each)) for each in found] == [5, 5]
    assert "env.render" not in found[0].streams
    assert [line for line in caplog.messages if "cannot draw" in line and "no display" in line]


def test_an_environment_that_writes_to_what_it_gave_changes_nothing_that_was_recorded(delivered: Delivered) -> None:
    with record(Reusing(), delivered.folder / "spool", ingest=delivered.url) as env:
        loop(env, [1, 2], most=3)
    first, second = delivered.episodes()
    assert stored_rollout(first).observations[()][:, 0].tolist() == [1, 2, 3, 4]
    assert first.streams["env.final_obs"][:][:, 0].tolist() == [4]
    assert stored_rollout(second).observations[()][:, 0].tolist() == [5, 6, 7, 8]


def test_without_an_ingest_episodes_stay_in_the_spool_and_nothing_is_left_running(tmp_path: Path) -> None:
    env = record(gymnasium.make("CartPole-v1"), tmp_path / "spool")
    loop(env, [1, 2])
    env.close()
    env.close()
    spool = Spool(tmp_path / "spool", "gym")
    assert [each.sealed for each in spool.waiting()] == [True, True]
    spool.close()


def test_what_is_wrong_is_said_before_the_loop_begins(tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"ingest": "localhost"},
        {"labels": {"a": "x" * 300}},
        {"encodings": {"env.observation": {"codec": "jepg"}}},
        {"name": "../up"},
    ]
    for options in wrong:
        with pytest.raises(ConfigError) as said:
            record(gymnasium.make("CartPole-v1"), tmp_path / "spool", **options)
        assert "\n" not in str(said.value)
    space = gymnasium.spaces.Graph(gymnasium.spaces.Discrete(2), None)
    with pytest.raises(ConfigError, match="Graph has no fixed shape"):
        record(Odd(space=space), tmp_path / "spool")


def test_a_recording_that_cannot_go_on_says_so_in_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, take_lock = Spool(tmp_path / "spool", "gym"), Folder._take_lock
    monkeypatch.setattr(Folder, "_take_lock", lambda self, _: take_lock(self, 0.1))
    env = record(gymnasium.make("CartPole-v1"), tmp_path / "spool")
    with pytest.raises(SensoriumError, match="spool"):
        loop(env, [1] * 100_000)
    with pytest.raises(SensoriumError):
        env.close()
    held.close()
