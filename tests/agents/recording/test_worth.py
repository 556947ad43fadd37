"""What an episode is worth is in its SEAL: the scores of its own units, less what it lacks."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.agents.triggers.stretches import note_of
from sensorium.agents.triggers.trigger import EpisodeSpan, Placement, Trigger
from sensorium.episode.documents import Seal
from sensorium.episode.unit import Decision
from sensorium.episode.value import Chance, Evicted, Worth
from tests.agents.building import ROWS, add, manifest, records_in, rows
from tests.agents.selection.test_value import BASE

SECOND = 10**9


class Judged(Trigger):
    """One span of four seconds, whose units have the scores 1, 2, 4 and 8, each decided when its time has come."""

    def __init__(self, **last: Any) -> None:
        self._last = last
        self._span = EpisodeSpan(0, 4 * SECOND, closed=True, decisions=[])

    def place(self, stamp_ns: int) -> Placement:
        number = stamp_ns // SECOND
        decisions = self._span.decisions
        assert decisions is not None
        while len(decisions) <= min(number, 3):
            n = len(decisions)
            decisions.append(decision(n, **(self._last if n == 3 else {})))
        return Placement((number + 1) * SECOND, self._span if number < 4 else None)


def decision(number: int, **changes: Any) -> Decision:
    said = {name: getattr(BASE, name) for name in BASE.__struct_fields__}
    at = {"start_ns": number * SECOND, "end_ns": (number + 1) * SECOND, "score": float(2**number)}
    return Decision(**{**said, **at, **changes})


@pytest.fixture
def pool() -> Iterator[EncoderPool]:
    made = EncoderPool()
    yield made
    made.close()


def sealed(spool: Spool, pool: EncoderPool, trigger: Trigger, lost: int = 0, **options: Any) -> list[dict[str, Any]]:
    made = Recorder(spool, trigger, manifest(ROWS, spool_id=spool.spool_id), pool=pool, grace_ns=None, **options)
    for second in range(5):
        assert add(made, rows(second * SECOND, 100, lost=lost if second == 1 else 0)) is None
    made.sensor_ended("imu")
    made.stop()
    spool.flush()
    seals = [records_in(path)[-1].header for path in sorted(spool.path.rglob("*.episode"))]
    return [seal.summary for seal in seals if isinstance(seal, Seal)]


def test_the_scores_of_its_units_are_its_value(spool: Spool, pool: EncoderPool) -> None:
    (summary,) = sealed(spool, pool, Judged())
    assert Worth.of(summary) == Worth(15.0)
    (waiting,) = spool.waiting()
    assert waiting.value == 15.0 / waiting.size


def test_where_it_is_cut_each_part_has_its_own(spool: Spool, pool: EncoderPool) -> None:
    found = sealed(spool, pool, Judged(drawn=True, draw=0.1, p=0.5), max_episode_ns=2 * SECOND)
    assert [Worth.of(summary) for summary in found] == [Worth(3.0), Worth(12.0, Chance(0.1, 0.5))]


def test_without_decisions_there_is_no_value(spool: Spool, pool: EncoderPool) -> None:
    assert all("value" not in summary for summary in sealed(spool, pool, Interval(SECOND)))
    assert {each.value for each in spool.waiting()} == {0.0}


def test_what_was_lost_of_it_lowers_its_value(spool: Spool, pool: EncoderPool) -> None:
    (summary,) = sealed(spool, pool, Judged(), lost=400)
    assert Worth.of(summary).value == pytest.approx(15.0 / 2, rel=0.01)


class Noted(Judged):
    """The same, and each unit is noted in its episode."""

    def place(self, stamp_ns: int) -> Placement:
        placed = super().place(stamp_ns)
        known = {note.start_ns for note in self._noted}
        fresh = [note_of(each) for each in self._span.decisions or () if each.start_ns not in known]
        self._noted += fresh
        self._span.notes += fresh
        return placed

    def __init__(self, **last: Any) -> None:
        super().__init__(**last)
        self._noted: list[Any] = []


def killed(folder: Path, pool: EncoderPool, trigger: Trigger, seconds: int) -> Path:
    """The spool of a recorder that was killed in the middle of an episode."""
    spool = Spool(folder / "spool", "rig")
    made = Recorder(spool, trigger, manifest(ROWS, spool_id=spool.spool_id), pool=pool, grace_ns=None)
    for second in range(seconds):
        assert add(made, rows(second * SECOND, 100)) is None
    made.tick(None)
    spool.flush()
    shutil.copytree(folder / "spool", folder / "killed")
    spool.close()
    return folder / "killed"


@pytest.mark.parametrize(("seconds", "expected"), [(3, Worth(7.0)), (4, Worth(15.0, Chance(1 / 7, 1 / 3)))])
def test_one_that_a_kill_cut_has_its_value_and_its_draw(
    tmp_path: Path, pool: EncoderPool, seconds: int, expected: Worth
) -> None:
    """Up to what is there of it; so it goes, and gives way, in its place, and what was drawn stays an honest sample."""
    left = killed(tmp_path, pool, Noted(drawn=True, draw=1 / 7, p=1 / 3), seconds)
    for _ in range(2):  # the ledger says the same when it is opened again
        spool = Spool(left, "rig")
        (path,) = (left / "episodes").iterdir()
        seal = records_in(path)[-1].header
        assert isinstance(seal, Seal)
        assert (seal.reason, Worth.of(seal.summary)) == ("interrupted", expected)
        victim = spool._pending.least()
        assert victim is not None
        assert (Evicted.of(victim.why) is not None) == (expected.chance is not None)
        assert (spool.waiting()[0].value > 0) == (expected.chance is None), "chance goes by age"
        spool.close()


def test_without_notes_of_units_one_that_was_cut_is_not_judged(tmp_path: Path, pool: EncoderPool) -> None:
    spool = Spool(killed(tmp_path, pool, Interval(10 * SECOND), 3), "rig")
    assert [each.value for each in spool.waiting()] == [0.0]
    spool.close()
