"""The value of an episode is the sum of what is new in it; one that holds a drawn unit is one of chance."""

import msgspec
import pytest

from sensorium.agents.selection.value import worth_noted, worth_of
from sensorium.agents.triggers.stretches import note_of
from sensorium.episode.documents import Note
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


def noted(*units: Decision, without: str = "") -> list[Note]:
    """As they stand in a file; of a former release `without` something."""
    said = [note_of(each) for each in units]
    values = [{name: value for name, value in note.value.items() if name != without} for note in said]
    return [
        Note(kind=note.kind, name=note.name, value=value, start_ns=note.start_ns, end_ns=note.end_ns)
        for note, value in zip(said, values, strict=True)
    ]


UNITS = (
    decision(0, score=1 / 3),
    decision(1, reason="always", score=0.0),
    decision(2, drawn=True, draw=1 / 7, p=1 / 3),
    decision(3, reason="floor", drawn=True, draw=2 / 7, p=1 / 3),
)


def test_what_is_noted_of_units_says_the_same_and_of_the_draw_to_the_last_bit() -> None:
    """What was evicted is told by the last that went: a hair's breadth would be a unit too few or too many."""
    for last in range(4):
        expected = worth_of(UNITS[: last + 1], 0, 100, quality=0.5)
        found = worth_noted([*noted(*UNITS), Note(kind="event", name="n", start_ns=0)], last * 10, quality=0.5)
        assert found.chance == expected.chance
        assert found.value == pytest.approx(expected.value, rel=1e-5)


def test_of_notes_that_do_not_say_enough_nothing_is_known() -> None:
    assert worth_noted([], 100) == NOTHING
    assert worth_noted(noted(*UNITS), -1) == NOTHING
    assert worth_noted(noted(*UNITS, without="draw"), 100) == NOTHING
    assert worth_noted(noted(*UNITS, without="draw"), 19) != NOTHING, "none that is there was drawn"
    assert worth_noted(noted(*UNITS, without="score"), 100) == NOTHING
    assert worth_noted(noted(decision(0, drawn=True, draw=0.5, p=0.5)), 100) == NOTHING
