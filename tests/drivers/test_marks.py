"""Marks and notes: what can be stored of them, and that the conformance suite holds drivers to their order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.driver import Delivery, Driver
from sensorium.drivers.marks import MAX_NOTE_BYTES, EpisodeBegin, EpisodeEnd, Mark, SourceNote
from sensorium.drivers.testing import NAME, DriverTests
from tests.drivers.marking_source import MS, SAYS, MarkingSource, Tape


class TestMarkingSource(DriverTests):
    expected_rows = {"state": 100, "slow": 10}
    expected_marks = tuple(each for each in SAYS if isinstance(each, Mark))

    def config(self, tmp_path: Path) -> MarkingSource:
        return MarkingSource()


def note(value: Any = None, **more: Any) -> SourceNote:
    return SourceNote(**{"kind": "event", "name": "x", "value": value, "start_ns": 0} | more)


@pytest.mark.parametrize(
    "said",
    [
        EpisodeBegin(-5, {"task": "pour", "attempt": 2, "weight": 0.5, "sim": False, "empty": ""}),
        EpisodeEnd(2**62),
        EpisodeEnd(0, "half full"),
        EpisodeEnd(0, "half full", {"reward": 0.5}, passed=True),
        note({"a": [1, 2.5, None, True, {"b": "c"}]}),
        note(end_ns=0, stream="rig.cam"),
        note("ü" * 8000),
        note(2**64 - 1),
    ],
)
def test_what_can_be_stored(said: Mark | SourceNote) -> None:
    said.check()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (EpisodeBegin(2**62 + 1), "stamp"),
        (EpisodeBegin(np.int64(3)), "stamp"),  # type: ignore[arg-type]  # as anybody's driver may
        (EpisodeEnd(1.5), "stamp"),  # type: ignore[arg-type]
        (EpisodeBegin(0, {"": 1}), "label's name"),
        (EpisodeBegin(0, {"a" * 201: 1}), "label's name"),
        (EpisodeBegin(0, {"a": "b" * 201}), "label 'a'"),
        (EpisodeBegin(0, {"a": float("nan")}), "finite"),
        (EpisodeBegin(0, {"a": 2**63}), "finite"),
        (EpisodeBegin(0, {"a": [1]}), "expected text"),  # type: ignore[dict-item]
        (EpisodeBegin(0, {str(n): n for n in range(65)}), "65 labels"),
        (EpisodeEnd(0, "a" * 201), "the outcome"),
        (EpisodeEnd(0, "\ud800"), "surrogates"),
        (EpisodeEnd(0, "", {"a": float("inf")}), "finite"),
        (note(kind=""), "kind"),
        (note(kind="trigger"), "agent's own"),
        (note(name=""), "name"),
        (note(start_ns=None), "stamp"),
        (note(end_ns=-1), "before its start"),
        (note("a" * MAX_NOTE_BYTES), f"at most {MAX_NOTE_BYTES}"),
        (note([[[[[[[[[1]]]]]]]]]), "nested more than 8"),
        (note(2**64), "64 bits"),
        (note(np.float64(1)), "JSON cannot say"),
        (note(object()), "JSON cannot say"),
    ],
)
def test_what_cannot(said: Mark | SourceNote, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        said.check()


def test_a_value_is_as_json_has_it() -> None:
    assert note({1: (2, float("inf"))}).plain() == {"1": [2, None]}


class Suite(DriverTests):
    """Not collected as such; driven below."""

    bound_s = 2.0
    said: tuple[Delivery, ...] = ()
    shuffle: tuple[int, int] | None = None

    def open_driver(self, tmp_path: Path) -> Driver:
        tape = Tape(NAME, 7, self.said)
        if self.shuffle:
            taken, place = self.shuffle
            tape._left.insert(place, tape._left.pop(taken))
        return tape


@pytest.mark.parametrize(
    ("said", "shuffle", "message"),
    [
        ((EpisodeBegin(100 * MS),), (1, 3), "comes behind a sample"),
        ((EpisodeBegin(40 * MS), EpisodeEnd(55 * MS)), (0, 1), "comes behind EpisodeEnd"),
        ((note("a" * MAX_NOTE_BYTES),), None, "at most"),
        ((note(stream="other"),), None, "no spec announces"),
    ],
)
def test_a_broken_promise_fails(
    tmp_path: Path, said: tuple[Delivery, ...], shuffle: tuple[int, int] | None, message: str
) -> None:
    suite = Suite()
    suite.said, suite.shuffle = said, shuffle
    with pytest.raises((AssertionError, ValueError), match=message):
        suite.test_marks_and_notes(tmp_path)


def test_marks_that_are_not_as_expected_fail(tmp_path: Path) -> None:
    suite = Suite()
    suite.said, suite.expected_marks = SAYS[:1], ()
    with pytest.raises(AssertionError):
        suite.test_marks_and_notes(tmp_path)
