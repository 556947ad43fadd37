"""One rollout: its streams are aligned as agreed, its labels say what it was, and whatever fails is its outcome."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.stream import Block
from sensorium.sim.rollouts import gathering, holding
from sensorium.sim.rollouts.job import FAILED_BY, WHY, Job
from sensorium.sim.rollouts.rollout import Ended, Rollout, Streams
from sensorium.sim.worlds.cart import STEP_NS, Cart, CartConfig
from sensorium.sim.worlds.world import Action, Done, Observation, World
from tests.sim.rollouts import acts
from tests.sim.worlds.tiny_world import TinyConfig

SECOND = 10**9
BASE = 7 * SECOND


def job(source: str = "scripted", **more: Any) -> Job:
    said: dict[str, Any] = {
        "campaign": "c", "group": 1, "index": 2, "attempt": 1, "world": "w", "kind": "sim-cart", "version": "1",
        "task": "balance", "policy": "p", "source": source, "seed": 5,
    }  # fmt: skip
    return Job(**said | more)


def played(world: World, job: Job, base_ns: int = BASE) -> tuple[list[Delivery], Ended]:
    rollout = Rollout(world, Streams("world", world), job, base_ns)
    said = [each for piece in rollout for each in piece]
    assert rollout.ended is not None
    for each in said:
        if not isinstance(each, Block):
            each.check()
    return said, rollout.ended


def stream(said: Sequence[Delivery], name: str) -> tuple[list[int], Any]:
    blocks = [each for each in said if isinstance(each, Block) and each.stream == name]
    return [int(at) for block in blocks for at in block.captured_ns], np.concatenate([b.data for b in blocks])


def test_actions_stand_where_they_begin_and_rewards_where_they_were_earned() -> None:
    world = CartConfig(limit_s=0.2).make()
    said, ended = played(world, job())
    actions, force = stream(said, "world.action")
    rewards, upright = stream(said, "world.reward")
    states, _ = stream(said, "world.state")
    poses, pose = stream(said, "world.pose")
    assert actions == [BASE + n * STEP_NS for n in range(10)]
    assert rewards == [BASE + (n + 1) * STEP_NS for n in range(10)]
    assert states == poses == [BASE + n * STEP_NS for n in range(11)]
    assert upright.tolist() == [[1.0]] * 10
    assert ended == Ended(BASE + SECOND // 5 + 1, "truncated", 42, "", "")

    again = Cart(CartConfig(limit_s=0.2))
    observation = again.reset(5, "balance")
    for row, at in zip(force, pose, strict=False):
        assert observation.truth[0].data[0].tolist() == at.tolist(), "what was recorded is what acted"
        observation, _ = again.step(row)


def test_its_marks_say_what_it_was_and_what_it_cost() -> None:
    said, _ = played(CartConfig(limit_s=0.2).make(), job())
    begin, end = said[0], said[-1]
    assert isinstance(begin, EpisodeBegin)
    assert begin == EpisodeBegin(
        BASE,
        {
            "campaign": "c", "group": 1, "index": 2, "attempt": 1, "world": "sim-cart", "world_version": "1",
            "task": "balance", "policy": "p", "seed": 5,
        },
        BASE,
    )  # fmt: skip
    assert isinstance(end, EpisodeEnd)
    assert (end.outcome, end.passed) == ("truncated", True)
    labels = dict(end.labels)
    assert {labels.pop(name) is not None for name in ("cost.wall_s", "cost.cpu_s")} == {True}
    assert labels == {"reward": 10.0, "reward.upright": 10.0, "steps": 10, "cost.simulated_s": 0.2}


def test_of_a_task_that_was_not_named_its_episode_says_which_it_was() -> None:
    said, _ = played(CartConfig(limit_s=0.2).make(), job(task=""))
    begin = said[0]
    assert isinstance(begin, EpisodeBegin)
    assert begin.labels["task"] == "balance"


def test_a_rollout_is_by_its_seed_alone() -> None:
    world = CartConfig(limit_s=0.3).make()
    first, other, again = (
        stream(played(world, job("random", seed=seed))[0], "world.action")[1].tolist() for seed in (1, 2, 1)
    )
    assert first == again != other


def test_it_is_cut_after_its_steps() -> None:
    said, ended = played(CartConfig().make(), job(steps=4))
    assert (ended.outcome, len(stream(said, "world.action")[0])) == ("truncated", 4)


def test_pictures_come_as_they_are_made() -> None:
    said, _ = played(TinyConfig(limit_s=1.0).make(), job(task="wander"))
    stamps, pictures = stream(said, "world.cam")
    assert len(stamps) == 11
    assert pictures.shape == (11, 16, 16)
    assert stream(said, "world.reward")[1].shape == (20, 1), "components that specs do not name are summed"


@pytest.mark.parametrize(
    ("name", "steps"),
    [("raises", 0), ("returns_nan", 0), ("returns_two", 0), ("writes", 0), ("nothing", 0), ("late", 1)],
)
def test_a_policy_that_fails_costs_its_rollout(name: str, steps: int) -> None:
    said, ended = played(CartConfig(limit_s=60).make(), job(f"{acts.__name__}:{name}"))
    (note,) = [each for each in said if isinstance(each, SourceNote)]
    end = said[-1]
    assert isinstance(end, EpisodeEnd)
    assert (ended.outcome, ended.failed_by, end.outcome) == ("failed", "policy", "failed")
    assert (note.kind, note.name, note.value["who"]) == ("event", "failed", "policy")
    assert note.value["why"] == ended.why
    assert BASE <= note.start_ns < end.at_ns
    assert (end.labels[FAILED_BY], end.labels[WHY]) == ("policy", ended.why[:200])
    assert int(end.labels["steps"]) >= steps
    assert ended.samples > 0


@pytest.mark.parametrize(("name", "kept"), [("late", {"action", "reward"}), ("raises", {"state"})])
def test_where_failures_are_not_to_be_kept_that_is_left_by_which_it_is_made_again(name: str, kept: set[str]) -> None:
    whole, _ = played(CartConfig(limit_s=60).make(), job(f"{acts.__name__}:{name}"))
    cut, ended = played(CartConfig(limit_s=60).make(), job(f"{acts.__name__}:{name}", keep_failures=False))
    blocks = [each for each in cut if isinstance(each, Block)]
    assert {each.stream for each in blocks} == {f"world.{each}" for each in kept}
    assert ended.samples == sum(map(len, blocks)) > 0
    for each in kept - {"state"}:
        for one, other in zip(stream(cut, f"world.{each}"), stream(whole, f"world.{each}"), strict=True):
            assert np.array_equal(one, other)
    begin, *_, note, end = cut
    assert isinstance(begin, EpisodeBegin)
    assert isinstance(note, SourceNote)
    assert isinstance(end, EpisodeEnd)
    assert (end.labels[FAILED_BY], end.labels["failed.kept"], note.name) == ("policy", "actions, rewards", "failed")


def test_what_did_not_fail_is_kept_whole_and_what_is_too_large_to_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    def streams(policy: str) -> set[str]:
        said, _ = played(CartConfig(limit_s=0.2).make(), job(policy, keep_failures=False))
        return {each.stream for each in said if isinstance(each, Block)}

    every = {f"world.{name}" for name in ("state", "pose", "action", "reward")}
    assert streams("random") == every
    monkeypatch.setattr(holding, "MOST_BYTES", -1)
    monkeypatch.setattr(gathering, "MOST_S", 0.0)
    assert streams(f"{acts.__name__}:late") == every


class Breaks(Cart):
    """It raises in its third step."""

    def __init__(self, how: BaseException) -> None:
        super().__init__(CartConfig())
        self._left, self._how = 3, how

    def step(self, action: Action) -> tuple[Observation, Done]:
        self._left -= 1
        if not self._left:
            raise self._how
        return super().step(action)


@pytest.mark.parametrize(
    "how", [RuntimeError("the engine has diverged"), MemoryError(), SystemExit(2), KeyboardInterrupt()]
)
def test_a_world_that_raises_is_our_failure(how: BaseException) -> None:
    said, ended = played(Breaks(how), job())
    assert (ended.outcome, ended.failed_by) == ("failed", "us")
    assert len(stream(said, "world.action")[0]) == 3, "the action that it failed at too"
    assert len(stream(said, "world.reward")[0]) == 2


class Greedy(Cart):
    """It gives rewards that nobody can keep."""

    def __init__(self, gives: dict[str, float]) -> None:
        super().__init__(CartConfig())
        self._gives = gives

    def step(self, action: Action) -> tuple[Observation, Done]:
        seen, done = super().step(action)
        return Observation(seen.now_ns, seen.sensed, seen.truth, self._gives), done


@pytest.mark.parametrize(
    "gives", [{"upright": float("nan")}, {"bonus": 1.0}, {"upright": 1e300}, {7: 1.0, "upright": 1.0}, {"\ud800": 1.0}]
)
def test_a_reward_that_is_none_is_our_failure(gives: dict[str, float]) -> None:
    _, ended = played(Greedy(gives), job())
    assert (ended.outcome, ended.failed_by) == ("failed", "us")


class Strays(Cart):
    """In its third step it delivers what its specs do not say, or ends as nothing ends."""

    def __init__(self, how: str) -> None:
        super().__init__(CartConfig())
        self._left, self._how = 3, how

    def step(self, action: Action) -> tuple[Observation, Done]:
        self._left -= 1
        seen, done = super().step(action)
        if self._left:
            return seen, done
        (block,) = seen.sensed
        half: Any = seen.now_ns + 0.5
        of_numpy: Any = np.int64(3)
        strange: dict[str, tuple[Observation, Any]] = {
            "shape": (replace(seen, sensed=(Block("state", block.captured_ns, block.data[:, :2]),)), done),
            "truth": (replace(seen, truth=(Block("pose", block.captured_ns, block.data[:, :1]),)), done),
            "clock": (replace(seen, now_ns=STEP_NS), done),
            "half": (replace(seen, now_ns=half), done),
            "note": (replace(seen, notes=(SourceNote("event", "fell", start_ns=of_numpy),)), done),
            "dtype": (replace(seen, sensed=(Block("state", block.captured_ns, block.data.astype(np.float32)),)), done),
            "loss": (replace(seen, sensed=(Block("state", block.captured_ns, block.data, -1),)), done),
            "list": (replace(seen, sensed=(Block("state", block.captured_ns, block.data.tolist()),)), done),
            "unlike": (replace(seen, sensed=(Block("state", block.captured_ns[:0], block.data),)), done),
            "stream": (replace(seen, sensed=(Block("place", block.captured_ns, block.data),)), done),
            "stamps": (replace(seen, sensed=(Block("state", block.captured_ns - 2 * STEP_NS, block.data),)), done),
            "done": (seen, True),
            "word": (seen, "finished"),
        }
        return strange[self._how]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("shape", r"'state' has samples of shape \(2,\), expected \(4,\)"),
        ("clock", "the world's clock steps back, from 40000000 to 20000000 ns"),
        ("half", "TypeError: 'float' object"),
        ("note", "a stamp is np.int64"),
        ("dtype", r"'state': got .*'float32'\), expected .*'float64'\)"),
        ("loss", "'state': lost_before is -1"),
        ("list", "AttributeError"),
        ("unlike", r"'state': got .*\(1, 4\).*expected .*\(0, 4\)"),
        ("truth", r"'pose' has samples of shape \(1,\), expected \(4,\)"),
        ("stream", "'place', which is none of its streams"),
        ("stamps", "'state' has a stamp that steps back"),
        ("done", "done by True, expected terminated or truncated"),
        ("word", "done by 'finished', expected terminated or truncated"),
    ],
)
def test_a_world_that_strays_from_its_specs_is_our_failure(how: str, says: str) -> None:
    said, ended = played(Strays(how), job())
    assert (ended.outcome, ended.failed_by) == ("failed", "us")
    assert re.search(says, ended.why), ended.why
    assert {len(stream(said, f"world.{name}")[0]) for name in ("state", "pose")} <= {3, 4}, "what came before is kept"


class OfNumpy(Cart):
    """Its clock is one of numpy's."""

    def step(self, action: Action) -> tuple[Observation, Done]:
        seen, done = super().step(action)
        now_ns: Any = np.int64(seen.now_ns)
        return replace(seen, now_ns=now_ns), done


def test_a_clock_of_numpys_numbers_is_one() -> None:
    said, ended = played(OfNumpy(CartConfig(limit_s=0.2)), job())
    assert ended.failed_by == ""
    for mark in said:
        if isinstance(mark, EpisodeBegin | EpisodeEnd):
            mark.check()


def test_a_reason_that_is_no_text_is_kept_as_one() -> None:
    said, ended = played(Breaks(ValueError("no \ud800")), job())
    (note,) = [each for each in said if isinstance(each, SourceNote)]
    assert note.value["why"] == ended.why == "ValueError: no ?"


def test_a_lack_of_memory_in_a_policy_is_our_failure() -> None:
    _, ended = played(CartConfig().make(), job(f"{acts.__name__}:out_of_memory"))
    assert ended.failed_by == "us"


def test_an_unknown_task_is_our_failure_and_there_is_no_episode() -> None:
    _, ended = played(CartConfig().make(), job(task="juggle"))
    assert (ended.failed_by, ended.samples) == ("us", 0)
    assert "no task 'juggle'" in ended.why


def test_one_that_is_told_to_stop_is_broken_off() -> None:
    world = CartConfig().make()
    rollout = Rollout(world, Streams("world", world), job(), BASE, lambda: rollout.steps >= 3)
    for _ in rollout:
        pass
    assert rollout.ended is not None
    assert (rollout.ended.failed_by, rollout.steps) == ("us", 3)
