"""The value of an episode is the sum of what is new in it; one that holds a drawn unit is one of chance."""

import msgspec
import pytest

from sensorium.agents.selection.value import worth_of
from sensorium.episode.unit import Decision
from sensorium.episode.value import NOTHING, Chance, Worth

BASE = Decision(
    start_ns=0,
    end_ns=10,
    boot="b",
    kept=True,
    reason="novelty",
    by="cam",
    score=4.0,
    threshold=3.0,
    p=0.5,
    draw=0.9,
    drawn=False,
    tie=-1.0,
    policy="v",
    cost_ns=10,
    cost_bytes=1,
)


def decision(at: int, **changes: object) -> Decision:
    return msgspec.structs.replace(BASE, start_ns=at * 10, end_ns=at * 10 + 10, **changes)


def test_scores_of_kept_units_add_up_and_quality_weighs_them() -> None:
    units = [decision(0), decision(1, kept=False, reason="dull", score=2.0), decision(2, score=6.0)]
    assert worth_of(units, 0, 100) == Worth(10.0)
    assert worth_of(units, 0, 100, quality=0.5) == Worth(5.0)
    assert worth_of(units, 0, 100, quality=7.0) == Worth(10.0)


def test_of_an_episode_that_was_cut_each_part_has_its_own_units() -> None:
    units = [decision(0), decision(1, score=6.0)]
    assert [worth_of(units, 0, 10), worth_of(units, 10, 20)] == [Worth(4.0), Worth(6.0)]


def test_what_a_rule_keeps_is_worth_what_just_passes() -> None:
    assert worth_of([decision(0, reason="always", score=0.0)], 0, 10).value == 3.0
    assert worth_of([decision(0, reason="always", score=9.0)], 0, 10).value == 9.0
    assert worth_of([decision(0, reason="roll", score=0.5)], 0, 10).value == 0.5


def test_nothing_kept_is_worth_nothing() -> None:
    assert worth_of([], 0, 10) == Worth(0.0)
    assert worth_of([], 0, 10) != NOTHING


@pytest.mark.parametrize("reason", ["floor", "novelty", "always"])
def test_a_drawn_unit_whatever_kept_it_makes_the_episode_one_of_chance(reason: str) -> None:
    """Else those of them that are novel would be evicted by what they hold."""
    drawn = [decision(1, reason=reason, drawn=True, draw=0.4, p=0.5), decision(2, drawn=True, draw=0.1, p=0.2)]
    assert worth_of([decision(0), *drawn], 0, 100).chance == Chance(0.1, 0.2)
    assert worth_of([decision(0), *drawn], 0, 20).chance == Chance(0.4, 0.5)
    assert worth_of([decision(0), *drawn], 0, 10).chance is None
