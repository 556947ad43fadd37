"""The plan: every group with its N and its seeds is beside the episodes before it begins; later ones go where odds are
even, and enter no earlier estimate."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.errors import ConfigError
from sensorium.ingest.store import Store
from sensorium.sim.rollouts.attempts import Attempt
from sensorium.sim.rollouts.campaign import closing
from sensorium.sim.rollouts.plan import ClosedGroup, Group, GroupPlan, read_campaigns
from sensorium.sim.rollouts.report import first_numbers
from tests.sim.rollouts.building import attempt, task_file

MANY: dict[str, Any] = {
    "tasks": {"even": {"world": "calm", "task": "balance"}, "sure": {"world": "calm", "task": "balance"}},
    "group": 8,
    "budget": {"rollouts": 40, "group": 4},
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store").close()
    return tmp_path / "store"


def closed(group: Group, passed: int) -> ClosedGroup:
    attempts: dict[int, Attempt] = {n: attempt(group.group, n, reward=float(n < passed)) for n in range(group.n)}
    made = closing(group, attempts, {}, judged=True)
    return ClosedGroup(
        **{name: getattr(made, name) for name in made.__struct_fields__} | {"passed": passed, "unknown": 0}
    )


def test_the_first_groups_are_of_every_task_and_policy_and_are_kept(store: Path) -> None:
    file = task_file(policies=["random", "scripted"], **MANY)
    planner = GroupPlan(store, file, None)
    groups = planner.first()
    assert [group.cell for group in groups] == [
        ("even", "random"), ("even", "scripted"), ("sure", "random"), ("sure", "scripted"),
    ]  # fmt: skip
    assert all(group.n == len(set(group.seeds)) == 8 for group in groups)
    assert groups[0].seeds == groups[1].seeds != groups[2].seeds, "policies are compared on the same seeds"
    planner.close()
    known = read_campaigns(store)["carts"]
    assert list(known.groups.values()) == groups
    again = GroupPlan(store, file, known)
    assert again.first() == []
    again.close()


def test_budget_goes_to_where_the_odds_are_even(store: Path) -> None:
    file = task_file(**MANY)
    planner = GroupPlan(store, file, None)
    assert planner.odds() == {}
    even, sure = planner.first()
    assert planner.more() is None, "nothing is known yet"
    planner.close_group(closed(even, 4))
    planner.close_group(closed(sure, 8))
    more = []
    while (group := planner.more()) is not None:
        more.append(group)
    planner.close()
    assert [group.n for group in more] == [4] * 10
    assert sum(group.task == "even" for group in more) >= 8
    assert {group.task for group in more} == {"even", "sure"}, "what seems sure is looked at still"
    assert not any(group.first for group in more)
    seeds = [seed for group in (even, *more) if group.task == "even" for seed in group.seeds]
    assert len(set(seeds)) == len(seeds)
    assert [group.group for group in (even, sure, *more)] == list(range(12))
    assert more[0].why == "odds: 4 of 8 accepted"


@settings(max_examples=30)
@given(st.integers(0, 8), st.integers(0, 4))
def test_later_groups_enter_no_estimate(passed: int, later: int) -> None:
    group = Group(group=0, task="t", policy="p", n=8, seeds=tuple(range(8)), first=True, why="first")
    first = closed(group, passed)
    before = first_numbers(first)
    assert before["accepted"] == passed
    assert before["n"] == 8
    assert before["pass_at"]["1"] == pytest.approx(passed / 8)
    assert set(before["pass_at"]) == {"1", "2", "4", "8"}


def test_without_a_verifier_nothing_is_accepted_or_not() -> None:
    group = Group(group=0, task="t", policy="p", n=2, seeds=(0, 1), first=True, why="first")
    made = closing(group, {0: attempt(0, 0), 1: attempt(0, 1, failed_by="policy")}, {}, judged=False)
    assert (made.passed, made.unknown, made.failed, made.given_up) == (0, 1, 1, 0)
    assert first_numbers(made)["pass_at"] == {"1": None, "2": None}
    assert first_numbers(None) == {"n": None, "accepted": None, "pass_at": {}, "mean": None, "deviation": None}


def test_what_was_given_up_is_in_no_number() -> None:
    group = Group(group=0, task="t", policy="p", n=4, seeds=(0, 1, 2, 3), first=True, why="first")
    made = closing(group, {n: attempt(0, n, reward=n) for n in (1, 3)}, {}, judged=False)
    assert (made.rewards, made.mean, made.given_up) == ((1, 3), 2.0, 2)
    assert first_numbers(made)["pass_at"]["4"] is None


def test_another_campaign_of_the_same_name_is_refused(store: Path) -> None:
    GroupPlan(store, task_file(), None).close()
    known = read_campaigns(store)["carts"]
    GroupPlan(store, task_file(workers=7, budget={"rollouts": 400}), known).close()
    with pytest.raises(ConfigError, match="was begun with other group, seed than the task file has now"):
        GroupPlan(store, task_file(group=9, seed=3), known)
