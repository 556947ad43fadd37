"""By which proposal episodes come to be: none lies on both sides of a border, each is told, and no sample is lost."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.recording.causes import Causes
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.drivers.controls import CONTROL
from sensorium.episode.account import Tally
from sensorium.episode.documents import Note, Open, Seal
from tests.agents.building import ROWS, manifest, records, rows

MS = 10**6
SECOND = 10**9


def recorded(
    folder: Path, causes: dict[int, tuple[str, int | None]], length_ns: int = SECOND
) -> list[tuple[Open, Seal, list[Note]]]:
    """Four seconds of rows every 50 ms, five a block; before block n what is said under n: (proposal, until)."""
    spool, pool = Spool(folder, "rig"), EncoderPool()
    recorder = Recorder(spool, Interval(length_ns), manifest(ROWS, spool_id=spool.spool_id), pool=pool, grace_ns=None)
    for number in range(16):
        if number in causes:
            proposal, until_ns = causes[number]
            value = {"of": proposal} if proposal else None
            recorder.notes.cause(recorder.epoch, proposal, number * 250 * MS, until_ns, value)
        block = rows(number * 250 * MS, 5, 50 * MS)
        recorder.account.enter(block.stream, len(block))
        span_ns = (int(block.captured_ns[0]), int(block.captured_ns[-1]))
        assert recorder.add(block.stream, block, Tally(), span_ns) is None
    recorder.sensor_ended("imu")
    recorder.stop()
    paid = dict[str, int]()
    for proposal, nbytes in recorder.episodes.causes.paid:
        paid[proposal] = paid.get(proposal, 0) + nbytes
    assert "" not in paid
    spool.flush()
    found = []
    for path in sorted((spool.path / "episodes").glob("*.episode")):
        headers = [record.header for record in records(path, UUID(path.stem.partition("-")[2]))]
        opening, seal = headers[0], headers[-1]
        assert isinstance(opening, Open)
        assert isinstance(seal, Seal)
        found.append((opening, seal, [each for each in headers if isinstance(each, Note) and each.kind == CONTROL]))
    pool.close()
    spool.close()
    found.sort(key=lambda each: each[0].start_ns)
    assert set(paid) == {opening.proposal for opening, _, _ in found if opening.proposal}
    return found


def end_of(opening: Open, seal: Seal) -> int:
    return opening.end_ns if seal.end_ns is None else seal.end_ns


@given(
    st.dictionaries(
        st.integers(0, 15),
        st.tuples(
            st.sampled_from(["p1", "p2", "p3", ""]),
            st.one_of(st.none(), st.integers(0, 4500).map(lambda ms: ms * MS)),
        ),
        max_size=5,
    ),
    st.sampled_from([300 * MS, SECOND, 10 * SECOND]),
)
@settings(deadline=None, max_examples=60)
def test_each_episode_is_of_one_cause_and_told_of_it(
    tmp_path_factory: pytest.TempPathFactory, causes: dict[int, tuple[str, int | None]], length_ns: int
) -> None:
    def cause(at_ns: int) -> str:
        """By what was said last before a stamp."""
        said = [(number * 250 * MS, *each) for number, each in causes.items() if number * 250 * MS <= at_ns]
        if not said:
            return ""
        from_ns, proposal, until_ns = max(said)
        return "" if until_ns is not None and from_ns < until_ns <= at_ns else proposal

    found = recorded(tmp_path_factory.mktemp("spool"), causes, length_ns)
    assert sum(seal.rows["imu"] for _, seal, _ in found) == 80, "each row is in an episode"
    for opening, seal, notes in found:
        for at_ns in range(0, 4 * SECOND, 50 * MS):
            if opening.start_ns <= at_ns < end_of(opening, seal):
                assert cause(at_ns) == opening.proposal
        told = [(note.name, note.value, note.start_ns) for note in notes]
        if opening.proposal:
            assert told == [(opening.proposal, {"of": opening.proposal}, opening.start_ns)]
        else:
            assert told == []


def test_where_others_have_come_further_the_border_is_there(tmp_path: Path) -> None:
    """What is in an episode stays in it."""
    found = recorded(tmp_path, {3: ("p1", None)}, 10 * SECOND)
    assert [(opening.proposal, opening.start_ns) for opening, _, _ in found] == [("", 0), ("p1", 750 * MS)]
    spool = Spool(tmp_path / "other", "rig")
    pool = EncoderPool()
    recorder = Recorder(spool, Interval(SECOND), manifest(ROWS, spool_id=spool.spool_id), pool=pool, grace_ns=None)
    block = rows(0, 2, 400 * MS)
    recorder.account.enter("imu", 2)
    recorder.add("imu", block, Tally(), (0, 400 * MS))
    assert recorder.episodes.cause(0, 100 * MS, "p1") == 400 * MS + 1
    pool.close()
    spool.close()


def test_causes_by_epoch_and_stamp() -> None:
    causes = Causes()
    causes.put(0, 100, "p1")
    causes.put(0, 300, "")
    assert [causes.of(0, at) for at in (99, 100, 299, 300)] == ["", "p1", "p1", ""]
    assert causes.around(0, 150) == (100, 300)
    causes.put(0, 200, "p2")
    assert causes.of(0, 400) == "p2", "what was said of later is taken back"
    assert (causes.of(1, -5), causes.around(1, -5)[0] < -5) == ("p2", True), "a clock that was set back changes nothing"


def test_no_episode_begins_before_a_border_that_it_comes_behind(tmp_path: Path) -> None:
    """Nothing was recorded when it was said, so that no episode ends there."""
    spool, pool = Spool(tmp_path, "rig"), EncoderPool()
    opening = manifest(ROWS, spool_id=spool.spool_id)
    recorder = Recorder(spool, Interval(10 * SECOND), opening, pool=pool, grace_ns=None)
    recorder.notes.cause(0, "p1", 2 * SECOND)
    block = rows(3 * SECOND, 2, 50 * MS)
    recorder.account.enter("imu", 2)
    recorder.add("imu", block, Tally(), (3 * SECOND, 3 * SECOND + 50 * MS))
    (episode,) = recorder.episodes
    assert (episode.start_ns, episode.file.manifest.proposal) == (2 * SECOND, "p1")
    recorder.stop()
    pool.close()
    spool.close()
