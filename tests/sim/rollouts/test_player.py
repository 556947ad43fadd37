"""The player: a policy that does not answer costs its rollout, and keeps neither the worker nor a core."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.stream import Block
from sensorium.patience import LeftBehind, Patience
from sensorium.sim.rollouts import player
from sensorium.sim.rollouts.job import CPU_S, WALL_S, Job
from sensorium.sim.rollouts.source import Jobs, RolloutsConfig, RolloutSource
from sensorium.sim.worlds.cart import CartConfig
from tests.sim.rollouts import acts

LIMIT_S = 30.0
ACTS = acts.__name__


def job(policy: str, index: int = 0, timeout_s: float = 0.1, seed: int = 3) -> Job:
    return Job(
        campaign="c", group=0, index=index, attempt=1, world="calm", kind="sim-cart", version="1", task="balance",
        policy="mine", source=policy, seed=seed, policy_timeout_s=timeout_s,
    )  # fmt: skip


@pytest.fixture
def released() -> Iterator[None]:
    acts.released.clear()
    yield
    acts.released.set()


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def source(released: None, jobs: Jobs) -> Iterator[RolloutSource]:
    made = RolloutsConfig.of("calm", CartConfig(limit_s=0.3), jobs).open("world", Path())
    assert isinstance(made, RolloutSource)
    yield made
    acts.released.set()
    made.close()


def delivered(source: RolloutSource) -> list[Delivery]:
    """All of one rollout."""
    until_s, said = time.monotonic() + LIMIT_S, list[Delivery]()
    while not (said and isinstance(said[-1], EpisodeEnd)):
        assert time.monotonic() < until_s, said
        said += source.read(0.05) or ()
    return said


@pytest.mark.parametrize("policy", ["hangs", "spins", "NeverReady"])
def test_a_policy_that_does_not_answer_has_failed_and_the_next_rollout_begins(
    source: RolloutSource, jobs: Jobs, policy: str
) -> None:
    jobs.give([job(f"{ACTS}:{policy}"), job(f"{ACTS}:holds", 1, 60.0)])
    failed = delivered(source)
    (note,) = [each for each in failed if isinstance(each, SourceNote)]
    end = failed[-1]
    assert isinstance(end, EpisodeEnd)
    assert (end.outcome, end.labels["failed.by"], end.labels["steps"]) == ("failed", "policy", 0)
    assert note.value["who"] == "policy"
    assert note.value["why"] == "policy 'mine' did not answer within 0.1 s (`policy_timeout_s`)"
    assert float(end.labels[WALL_S]) >= 0.1
    assert float(end.labels[CPU_S]) > 0
    assert {each.stream for each in failed if isinstance(each, Block)} == {"world.state", "world.pose"}
    begin, *_, end = delivered(source)
    assert isinstance(begin, EpisodeBegin)
    assert isinstance(end, EpisodeEnd)
    assert (begin.labels["index"], end.outcome) == (1, "truncated")
    assert begin.at_ns > note.start_ns
    assert (jobs.done, jobs.recorded) == (2, 2)


def test_one_that_runs_in_circles_is_ended_and_costs_no_core(source: RolloutSource, jobs: Jobs) -> None:
    jobs.give([job(f"{ACTS}:holds", 0, 60.0), job(f"{ACTS}:spins", 1)])
    delivered(source)
    players = [thread for thread in threading.enumerate() if thread.name == "player-world"]
    assert players
    delivered(source)
    until_s = time.monotonic() + LIMIT_S
    while any(thread.is_alive() for thread in players):
        assert time.monotonic() < until_s, "it runs still"
        time.sleep(0.01)


def test_what_answers_when_nobody_waits_any_more_changes_nothing(source: RolloutSource, jobs: Jobs) -> None:
    jobs.give([job(f"{ACTS}:holds", 0, 60.0), job(f"{ACTS}:hangs", 1), job(f"{ACTS}:holds", 2, 60.0)])
    delivered(source)
    players = [thread for thread in threading.enumerate() if thread.name == "player-world"]
    assert players
    delivered(source)
    acts.released.set()
    for thread in players:
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    assert sum(isinstance(each, EpisodeEnd) for each in delivered(source)) == 1


def test_a_source_is_closed_though_its_policy_hangs(
    source: RolloutSource, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player, "CLOSE_S", 0.1)
    jobs.give([job(f"{ACTS}:hangs", timeout_s=3600.0)])
    acts.asked.clear()
    until_s = time.monotonic() + LIMIT_S
    while not acts.asked.is_set():
        assert source.read(0.05) == ()
        assert time.monotonic() < until_s
    begun_s = time.monotonic()
    source.close()
    assert time.monotonic() < begun_s + 60.0
    assert (jobs.done, jobs.unrecorded[0].why) == (1, "it was broken off")
    assert source.read(0.1) is None


def test_patience_runs_out_for_what_is_waited_for_and_for_good() -> None:
    patience = Patience(0.0)
    assert not patience.has_run_out(), "nothing is waited for"
    with pytest.raises(LeftBehind), patience:
        assert patience.has_run_out()
    assert patience.has_run_out()
    long = Patience(60.0)
    with long:
        assert not long.has_run_out()
    assert not long.has_run_out()
