"""Notes of sources: in the episode that holds their start whenever they come, within bounds, or dropped and counted."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.recording import episode_writer, notes
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.events import EventSpans
from sensorium.agents.triggers.interval import Interval
from sensorium.agents.triggers.manual import Manual
from sensorium.agents.triggers.trigger import Trigger
from sensorium.drivers.marks import MAX_NOTE_BYTES, STATE, SourceNote
from sensorium.drivers.stream import Block
from sensorium.episode.account import Tally
from sensorium.episode.documents import Note, Open, Seal
from sensorium.errors import SpoolError
from sensorium.ingest import record_order
from tests.agents.building import ROWS, manifest, records, records_in, rows

SECOND = 10**9
Make = Callable[..., Recorder]


@pytest.fixture
def make(spool: Spool) -> Iterator[Make]:
    pool = EncoderPool()

    def recorder(trigger: Trigger | None = None, **options: Any) -> Recorder:
        opening = manifest(ROWS, spool_id=spool.spool_id)
        return Recorder(spool, trigger or Interval(SECOND), opening, pool=pool, grace_ns=None, **options)

    yield recorder
    pool.close()


def give(recorder: Recorder, block: Block) -> None:
    recorder.account.enter(block.stream, len(block))
    span_ns = (int(block.captured_ns[0]), int(block.captured_ns[-1]))
    assert recorder.add(block.stream, block, Tally(), span_ns) is None


def event(at_ns: int, value: Any = None, name: str = "x") -> SourceNote:
    return SourceNote("event", name, value, start_ns=at_ns)


def finish(recorder: Recorder) -> None:
    recorder.sensor_ended("imu")
    recorder.stop()


def found(spool: Spool) -> list[tuple[int, list[int]]]:
    """Of every episode its start and the starts of its notes; each is inside of it."""
    spool.flush()
    all_of_it = []
    for path in sorted((spool.path / "episodes").glob("*.episode")):
        headers = [record.header for record in records(path, UUID(path.stem.partition("-")[2]))]
        opening, seal = headers[0], headers[-1]
        assert isinstance(opening, Open)
        assert isinstance(seal, Seal)
        starts = [each.start_ns for each in headers if isinstance(each, Note) and each.kind == "event"]
        end_ns = opening.end_ns if seal.end_ns is None else seal.end_ns
        assert all(start is not None and opening.start_ns <= start < end_ns for start in starts)
        all_of_it.append((opening.start_ns, [start for start in starts if start is not None]))
    return all_of_it


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_note_is_where_its_start_is_whenever_it_comes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Twelve blocks of a quarter of a second; a note comes at any time before the block that seals its episode."""
    spool, pool = Spool(tmp_path_factory.mktemp("spool"), "rig"), EncoderPool()
    try:
        opening = manifest(ROWS, spool_id=spool.spool_id)
        made = Recorder(spool, Interval(SECOND), opening, pool=pool, grace_ns=None)
        starts = data.draw(st.lists(st.integers(0, 3 * SECOND - 1), max_size=12, unique=True))
        due = {start: data.draw(st.integers(0, start // SECOND * 4 + 4)) for start in starts}
        for number in range(13):
            for start in [each for each, when in due.items() if when == number]:
                made.note(event(start))
            if number < 12:
                give(made, rows(number * SECOND // 4, 25))
        finish(made)
        expected = [
            (first, sorted(each for each in starts if first <= each < first + SECOND))
            for first in (0, SECOND, 2 * SECOND)
        ]
        assert [(first, sorted(inside)) for first, inside in found(spool)] == expected
        assert made.notes.dropped == 0
    finally:
        spool.close()
        pool.close()


def test_a_note_of_an_episode_that_is_sealed_is_dropped_and_counted(
    make: Make, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    made = make()
    give(made, rows(0, 150))
    made.note(event(SECOND // 2))
    made.note(event(SECOND + SECOND // 2))
    finish(made)
    assert found(spool) == [(0, []), (SECOND, [SECOND + SECOND // 2])]
    assert made.notes.dropped == 1
    assert caplog.messages == ["note 'x' (event) at 500000000 ns is dropped: it is in no episode"]


def test_a_note_where_nothing_is_kept_waits_for_no_more_than_is_decided(make: Make, spool: Spool) -> None:
    made = make(Manual(EventSpans(SECOND // 2, 0, 60 * SECOND)))
    give(made, rows(0, 25))
    made.note(event(100_000_000))
    made.note(event(800_000_000))
    assert made.notes.dropped == 0, "a word may still claim them by its pre-roll"
    give(made, rows(250_000_000, 75))
    assert made.notes.dropped == 1, "of the first that is decided"
    made.command("open", "", SECOND)
    give(made, rows(SECOND, 50))
    made.command("close", "", SECOND + SECOND // 4)
    made.note(event(SECOND + SECOND // 8))
    finish(made)
    assert found(spool) == [(SECOND // 2, [800_000_000, SECOND + SECOND // 8])]
    assert made.notes.dropped == 1


def test_a_note_behind_a_cut_is_in_the_episode_that_goes_on_there(make: Make, spool: Spool) -> None:
    """It was written to neither before it was known where the first ends; `found` sees that each is inside."""
    made = make(Interval(100 * SECOND), max_episode_bytes=20_000)
    for number in range(40):
        made.note(event(number * SECOND + SECOND // 2))
    for number in range(40):
        give(made, rows(number * SECOND, 100))
    finish(made)
    episodes = found(spool)
    assert len(episodes) > 2
    assert sorted(start for _, inside in episodes for start in inside) == [
        number * SECOND + SECOND // 2 for number in range(40)
    ]
    assert made.notes.dropped == 0


def test_notes_of_an_old_clock_go_with_its_episode_or_not_at_all(make: Make, spool: Spool) -> None:
    made = make()
    give(made, rows(5 * SECOND, 50))
    made.note(event(5 * SECOND + SECOND // 4))
    made.note(event(7 * SECOND))
    give(made, rows(0, 50))  # the clock was set back
    assert made.notes.dropped == 1, "no episode of the old time begins any more"
    made.note(event(SECOND // 4))
    finish(made)
    assert found(spool) == [(5 * SECOND, [5 * SECOND + SECOND // 4]), (0, [SECOND // 4])]


def test_an_episode_takes_no_more_bytes_of_notes_than_its_bound(
    make: Make, spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(episode_writer, "MAX_NOTE_BYTES", 1000)
    made = make()
    give(made, rows(0, 50))
    for number in range(10):
        made.note(event(number, "v" * 200))
    made.note(event(100, "small"))
    give(made, rows(SECOND, 50))
    made.note(event(SECOND, "v" * 200))
    finish(made)
    (_, first), (_, second) = found(spool)
    assert 2 <= len(first) < 6
    assert first[-1] == 100, "a smaller one still fits"
    assert second == [SECOND], "the next has a bound of its own"
    assert made.notes.dropped == 11 - len(first)
    assert len([line for line in caplog.messages if "too many in its episode" in line]) == made.notes.dropped


@pytest.mark.parametrize(("bound", "value"), [("MAX_WAITING", 3), ("MAX_WAITING_BYTES", 3 * 102)])
def test_what_waits_is_bounded(
    make: Make, spool: Spool, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(notes, bound, value)
    made = make()
    for number in range(5):
        made.note(event(number, "v" * 100))
    assert made.notes.dropped == 2
    give(made, rows(0, 50))
    made.note(event(10, "v" * 100))
    finish(made)
    assert found(spool) == [(0, [0, 1, 2, 10])], "those that were written wait no more"


def test_a_note_that_the_disk_does_not_take_is_dropped(
    make: Make, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make()
    give(made, rows(0, 50))

    def full(self: Any, header: Any, payload: bytes = b"") -> int:
        raise SpoolError("no room")

    with monkeypatch.context() as patched:
        patched.setattr("sensorium.agents.spool.episode_file.EpisodeFile.append", full)
        made.note(event(10))
    assert made.notes.dropped == 1
    finish(made)
    assert found(spool) == [(0, [])]


def test_what_was_lost_on_the_way_is_counted_with_them(make: Make) -> None:
    made = make()
    made.count_unheard(3)
    assert made.notes.dropped == 3
    made.stop()


def test_the_bound_is_far_below_what_a_server_takes() -> None:
    assert MAX_NOTE_BYTES < episode_writer.MAX_NOTE_BYTES <= record_order.MAX_DOCUMENT_BYTES // 4


def test_how_things_are_is_told_to_each_episode_at_its_start_until_it_changes(make: Make, spool: Spool) -> None:
    """By what was said last before it; a change in the midst is where it was; nothing between episodes is dropped."""
    recorder = make()
    recorder.note(SourceNote(STATE, "camera", 1, "imu", start_ns=0))
    give(recorder, rows(0, 150))
    recorder.note(SourceNote(STATE, "camera", 2, "imu", start_ns=int(1.45 * SECOND)))
    recorder.note(SourceNote(STATE, "camera", 9, start_ns=int(1.2 * SECOND)))
    give(recorder, rows(int(1.5 * SECOND), 100))
    give(recorder, rows(9 * SECOND, 20))
    recorder.note(SourceNote(STATE, "camera", 3, "imu", start_ns=99 * SECOND))
    finish(recorder)
    spool.flush()
    said = []
    for path in sorted((spool.path / "episodes").glob("*.episode")):
        headers = [record.header for record in records_in(path)]
        said.append([((h.start_ns or 0) / SECOND, h.value) for h in headers if isinstance(h, Note) and h.kind == STATE])
    assert [sorted(each) for each in said] == [
        [(0.0, 1)], [(1.0, 1), (1.2, 9), (1.45, 2)], [(2.0, 2), (2.0, 9)], [(9.0, 2), (9.0, 9)],
    ]  # fmt: skip
    assert recorder.notes.dropped == 0
