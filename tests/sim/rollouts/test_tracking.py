"""Tracking: each slot is counted once, by its first complete attempt, whatever is lost, late or said twice."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace

from sensorium.sim.rollouts.attempts import Attempt, counted
from sensorium.sim.rollouts.job import Job, Slot
from sensorium.sim.rollouts.plan import Group
from sensorium.sim.rollouts.tracking import Tracking
from tests.sim.rollouts.building import attempt, task_file

ATTEMPTS = 3


def group(number: int = 0, n: int = 3) -> Group:
    return Group(
        group=number, task="balance", policy="scripted", n=n, seeds=tuple(range(n)), first=True, why="first"
    )  # fmt: skip


@pytest.fixture
def tracking() -> Tracking:
    made = Tracking(task_file(attempts=ATTEMPTS))
    made.open(group())
    return made


def test_a_job_says_all_of_its_rollout(tracking: Tracking) -> None:
    (first,) = tracking.jobs("calm", 1)
    assert (first.slot, first.attempt, first.seed, first.kind, first.version) == ((0, 0), 1, 0, "sim-cart", "1")
    assert (first.task, first.policy, first.source, first.world) == ("balance", "scripted", "scripted", "calm")
    assert [job.index for job in tracking.jobs("calm", 9)] == [1, 2]
    assert list(tracking.jobs("calm", 9)) == []
    assert list(tracking.jobs("rough", 9)) == []


def test_a_task_that_does_not_name_one_is_what_its_world_is_set_to() -> None:
    worlds = {"set": {"kind": "sim-cart", "task": "catch"}}
    tasks = {"balance": {"world": "set"}, "named": {"world": "set", "task": "balance"}}
    made = Tracking(task_file(worlds=worlds, tasks=tasks))
    for number, name in enumerate(tasks):
        made.open(replace(group(number, 1), task=name))
    assert [job.task for job in made.jobs("set", 2)] == ["catch", "balance"]


def test_what_failed_for_our_reasons_is_tried_again_and_then_given_up(tracking: Tracking) -> None:
    for number in range(1, ATTEMPTS + 1):
        jobs = [job for job in tracking.jobs("calm", 9) if job.index == 0]
        assert [job.attempt for job in jobs] == [number]
        tracking.came(attempt(0, 0, number, failed_by="us", why="no memory"))
    assert not [job for job in tracking.jobs("calm", 9) if job.index == 0]
    for index in (1, 2):
        tracking.came(attempt(0, index))
    assert tracking.settled() == [group()]
    assert set(tracking.counted(0)) == {1, 2}
    assert tracking.why(0) == ["no memory"]
    tracking.close(0)
    assert tracking.uncounted == ATTEMPTS


def test_after_a_start_that_was_killed_no_number_is_given_again() -> None:
    """The one before may have begun some of which nothing is known yet: they are in a spool."""
    again = Tracking(task_file(attempts=ATTEMPTS))
    again.open(group(), starts=2)
    again.open(group(1))
    again.came(attempt(0, 1, 1001, failed_by="us"))
    given = {job.slot: job.attempt for job in again.jobs("calm", 9)}
    assert given == {(0, 0): 2001, (0, 1): 2001, (0, 2): 2001, (1, 0): 1, (1, 1): 1, (1, 2): 1}
    again.came(attempt(0, 0, 1))
    again.came(attempt(0, 0, 2001))
    assert again.counted(0)[0].attempt == 1, "the first complete one, whenever it came"


def test_what_failed_for_its_policy_is_counted_as_nothing(tracking: Tracking) -> None:
    list(tracking.jobs("calm", 1))
    tracking.came(attempt(0, 0, failed_by="policy", reward=9.0))
    assert tracking.counted(0)[0].reward == 0
    assert not [job for job in tracking.jobs("calm", 9) if job.index == 0]


def test_a_later_attempt_changes_nothing_and_an_earlier_one_wins(tracking: Tracking) -> None:
    tracking.came(attempt(0, 0, 2))
    tracking.came(attempt(0, 0, 3))
    assert tracking.counted(0)[0].attempt == 2
    tracking.came(attempt(0, 0, 1))
    assert tracking.counted(0)[0].attempt == 1
    assert counted([attempt(0, 0, 1, episode="b"), attempt(0, 0, 1, episode="a")]) == attempt(0, 0, 1, episode="a")


def test_a_loss_of_an_attempt_that_nobody_is_at_is_nothing(tracking: Tracking) -> None:
    list(tracking.jobs("calm", 3))
    tracking.lost((0, 0), 7, "x")
    tracking.lost((5, 0), 1, "x")
    assert list(tracking.jobs("calm", 3)) == []
    tracking.lost((0, 0), 1, "its worker was killed")
    assert [(job.index, job.attempt) for job in tracking.jobs("calm", 3)] == [(0, 2)]


def test_who_waited_behind_one_that_killed_its_worker_is_not_blamed(tracking: Tracking) -> None:
    for number in range(1, ATTEMPTS + 1):
        given = [(job.slot, job.attempt) for job in tracking.jobs("calm", 3)]
        assert [slot for slot, _ in given][-2:] != [(0, 0), (0, 0)]
        given.sort()
        tracking.killed(given, "its worker was killed")
        assert given[0] == ((0, 0), number)
    assert {job.slot for job in tracking.jobs("calm", 9)} == {(0, 1), (0, 2)}, "the first alone is given up"


def test_one_whose_broken_episode_came_is_blamed_once(tracking: Tracking) -> None:
    given = [(job.slot, job.attempt) for job in tracking.jobs("calm", 3)]
    tracking.came(attempt(0, 0))
    tracking.came(attempt(0, 1, is_complete=False, why="interrupted"))
    tracking.killed(given, "its worker was killed")
    assert sorted((job.index, job.attempt) for job in tracking.jobs("calm", 3)) == [(1, 2), (2, 2)]
    for number in range(2, ATTEMPTS):
        tracking.lost((0, 1), number, "again")
        list(tracking.jobs("calm", 3))
    tracking.lost((0, 1), ATTEMPTS, "again")
    tracking.lost((0, 2), 2, "for the first time")
    assert [job.index for job in tracking.jobs("calm", 3)] == [2]


class Campaigns(RuleBasedStateMachine):
    """Workers that finish, fail, vanish and come back, in any order: in the end each slot has one that counts, or was
    tried as often as it may be."""

    def __init__(self) -> None:
        super().__init__()
        self.tracking = Tracking(task_file(attempts=ATTEMPTS))
        self.tracking.open(group(0, 3))
        self.tracking.open(group(1, 2))
        self.at: dict[tuple[Slot, int], Job] = {}
        self.gone: list[Job] = []
        self.store: list[Attempt] = []

    @rule(n=st.integers(1, 3))
    def give(self, n: int) -> None:
        for job in self.tracking.jobs("calm", n):
            assert (job.slot, job.attempt) not in self.at, "twice the same attempt"
            assert not any(at == job.slot for at, _ in self.at), "two are at one slot"
            self.at[job.slot, job.attempt] = job

    def _pick(self, data: st.DataObject) -> Job:
        return self.at.pop(data.draw(st.sampled_from(sorted(self.at))))

    def _ends(self, job: Job, failed_by: str) -> None:
        found = attempt(*job.slot, job.attempt, failed_by=failed_by)
        self.store.append(found)
        self.tracking.came(found)

    @precondition(lambda self: self.at)
    @rule(data=st.data(), failed_by=st.sampled_from(["", "", "us", "policy"]))
    def end(self, data: st.DataObject, failed_by: str) -> None:
        self._ends(self._pick(data), failed_by)

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        job = self._pick(data)
        self.gone.append(job)
        self.tracking.lost(job.slot, job.attempt, "killed")

    @precondition(lambda self: self.gone)
    @rule()
    def come_back(self) -> None:
        self._ends(self.gone.pop(), "")

    @precondition(lambda self: self.store)
    @rule(data=st.data())
    def say_again(self, data: st.DataObject) -> None:
        assert not self.tracking.came(data.draw(st.sampled_from(self.store)))

    @invariant()
    def counts_once(self) -> None:
        for number, of in self.tracking.open_groups.items():
            found = self.tracking.counted(number)
            for index in range(of.n):
                mine = [each for each in self.store if each.slot == (number, index) and each.is_complete]
                assert found.get(index) == min(mine, key=lambda each: each.attempt, default=None)

    def teardown(self) -> None:
        for _ in range(ATTEMPTS + 1):
            self.give(99)
            for key in list(self.at):
                self._ends(self.at.pop(key), "")
        assert not self.tracking.unsettled
        assert {of.group for of in self.tracking.settled()} == {0, 1}


Campaigns.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestCampaigns: Callable[..., object] = Campaigns.TestCase
