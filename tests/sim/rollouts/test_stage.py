"""The stage: a world that hangs, wherever it does, costs its rollout, and keeps nobody."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from sensorium import patience
from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.errors import ConfigError
from sensorium.sim.rollouts import stage as stage_module
from sensorium.sim.rollouts.report import report_of
from sensorium.sim.rollouts.source import Jobs, RolloutsConfig, RolloutSource
from sensorium.sim.rollouts.stage import Stage
from sensorium.sim.worlds.cart import Cart, CartConfig
from sensorium.sim.worlds.world import Action, Done, Observation, World
from tests.sim.rollouts.building import rolled, task_file
from tests.sim.rollouts.test_player import job

LIMIT_S = 60.0
HOURS_S = 36_000.0
Where = Literal["", "make", "reset", "step", "scripted", "close"]

released = threading.Event()
hung: list[str] = []
"""A world that hangs is one more of the latter, and goes on when the former is set."""


def hang(where: str) -> None:
    hung.append(where)
    released.wait(LIMIT_S)


class StuckConfig(CartConfig):
    """It hangs at one place, with any seed or one."""

    at: Where = ""
    seed_at: int = -1

    def make(self) -> World:
        if self.at == "make":
            hang(self.at)
        return Stuck(self)


class Stuck(Cart):
    def __init__(self, config: StuckConfig) -> None:
        super().__init__(config)
        self._at, self._seed_at = config.at, config.seed_at
        self._hangs = False

    def _passed(self, place: Where) -> None:
        if self._at == place and self._hangs:
            hang(place)

    def reset(self, seed: int, task: str) -> Observation:
        self._hangs = self._seed_at in (-1, seed)
        self._passed("reset")
        return super().reset(seed, task)

    def step(self, action: Action) -> tuple[Observation, Done]:
        self._passed("step")
        return super().step(action)

    def scripted(self) -> Action:
        self._passed("scripted")
        return super().scripted()

    def close(self) -> None:
        self._hangs = True
        self._passed("close")
        super().close()


class Clock:
    """Time as it is, but that hours pass where a world hangs: nothing here depends on how fast anything is."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() + HOURS_S * len(hung)


@pytest.fixture(autouse=True)
def hours(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    hung.clear()
    released.clear()
    monkeypatch.setattr(patience, "time", Clock)
    yield
    released.set()


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


def opened(jobs: Jobs, at: Where, seed_at: int = -1) -> RolloutSource:
    config = StuckConfig(limit_s=0.3, at=at, seed_at=seed_at)
    made = RolloutsConfig.of("calm", config, jobs, LIMIT_S).open("world", Path())
    assert isinstance(made, RolloutSource)
    return made


def delivered(source: RolloutSource) -> list[Delivery]:
    """All of one rollout."""
    until_s, said = time.monotonic() + LIMIT_S, list[Delivery]()
    while not (said and isinstance(said[-1], EpisodeEnd)):
        assert time.monotonic() < until_s, said
        said += source.read(0.05) or ()
    return said


@pytest.mark.parametrize("at", ["reset", "step", "scripted"])
@pytest.mark.parametrize("policy", ["scripted", "tests.sim.rollouts.acts:holds"])
def test_a_world_that_hangs_fails_its_rollout_for_our_reasons_and_the_next_begins(
    jobs: Jobs, at: Where, policy: str
) -> None:
    if at == "scripted" and policy != "scripted":
        pytest.skip("nobody asks it")
    source = opened(jobs, at, seed_at=3)
    jobs.give([job(policy, timeout_s=LIMIT_S), job(policy, 1, LIMIT_S, seed=4)])
    failed = delivered(source)
    assert hung == [at]
    (note,) = [each for each in failed if isinstance(each, SourceNote)]
    assert note.value == {"who": "us", "why": "the world 'calm' did not answer within 60 s (`world_timeout_s`)"}
    end = failed[-1]
    assert isinstance(end, EpisodeEnd)
    assert (end.outcome, end.labels["failed.by"], end.labels["steps"]) == ("failed", "us", 0)
    begin, *_, end = delivered(source)
    assert isinstance(begin, EpisodeBegin)
    assert isinstance(end, EpisodeEnd)
    assert (begin.labels["index"], end.outcome) == (1, "truncated")
    assert jobs.done == 2
    source.close()


def test_one_that_is_not_made_in_time_is_refused_with_what_was_to_be_played_in_it(jobs: Jobs) -> None:
    jobs.give([job("scripted"), job("scripted", 1)])
    config = RolloutsConfig.of("calm", StuckConfig(at="make"), jobs, 0.01)
    with pytest.raises(ConfigError, match=r"sim-cart: was not made within 0\.01 s; see to .* `world_timeout_s`$"):
        config.set_stage("world")
    assert (jobs.done, jobs.refused) == (2, 2)
    assert jobs.unrecorded[0].why.startswith("the world 'calm' cannot be made: sim-cart: was not made within")


def test_where_none_can_be_made_after_one_that_hung_the_source_ends(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(jobs, "step")
    jobs.give([job("scripted"), job("scripted", 1)])
    monkeypatch.setattr(StuckConfig, "make", lambda _: hang("make"))
    monkeypatch.setattr(source._stage, "most_s", 0.01)
    delivered(source)
    assert source.read(0.01) is None
    assert (jobs.done, jobs.world(0.0)) == (1, "calm"), "who comes next begins anew"
    source.close()


def test_one_that_hangs_where_it_is_closed_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "CLOSE_S", 0.01)
    stage = Stage(StuckConfig(at="close"), "world", LIMIT_S)
    before = stage.world
    assert stage.anew(is_left=False)
    assert stage.world is not before
    stage.close()
    stage.close()


def test_one_that_was_left_to_a_thread_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[World] = []
    monkeypatch.setattr(Stuck, "close", lambda world: closed.append(world))
    stage = Stage(StuckConfig(), "world", LIMIT_S)
    first = stage.world
    assert stage.anew(is_left=True)
    second = stage.world
    stage.close()
    assert closed == [second] != [first]


def test_a_campaign_goes_on_beside_a_world_that_hangs(tmp_path: Path) -> None:
    worlds = {"calm": StuckConfig(limit_s=0.3), "stuck": StuckConfig(limit_s=0.3, at="step")}
    tasks = {"good": {"world": "calm"}, "bad": {"world": "stuck"}}
    rolled(task_file(tmp_path, worlds=worlds, tasks=tasks, group=2, attempts=2))
    cells = {row["task"]: row for row in report_of(tmp_path / "store")["cells"]}
    assert (cells["good"]["n"], cells["good"]["failed_by_us"]) == (2, 0)
    assert (cells["bad"]["n"], cells["bad"]["given_up"], cells["bad"]["failed_by_us"]) == (0, 2, 4)
    assert cells["bad"]["why_given_up"] == ["the world 'stuck' did not answer within 60 s (`world_timeout_s`)"]


def test_a_world_that_hangs_where_it_is_made_is_refused_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^task file .*: worlds\.bad: sim-cart: was not made within 0\.01 s; see to"):
        task_file(tmp_path, worlds={"bad": StuckConfig(at="make")}, tasks={"balance": "bad"}, world_timeout_s=0.01)
