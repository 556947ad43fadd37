"""Streams that join a recorder, and a trigger that takes over: what began before is as it was."""

from collections.abc import Iterator

import pytest

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.recording.stream_state import BEFORE_ALL, StreamState
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import Interval
from sensorium.agents.triggers.trigger import Placement, Trigger
from sensorium.agents.triggers.waiting import WaitingTrigger
from sensorium.drivers.marks import SourceNote
from sensorium.episode.account import Tally
from sensorium.episode.documents import Note, Open, Seal
from tests.agents.building import FRAMES, ROWS, add, entry, fresh_account, manifest, records_in, rows

SECOND = 10**9


@pytest.fixture
def pool() -> Iterator[EncoderPool]:
    made = EncoderPool()
    yield made
    made.close()


def found(spool: Spool) -> list[tuple[Open, Seal, list[Note]]]:
    spool.flush()
    read = [[record.header for record in records_in(path)] for path in sorted(spool.path.rglob("*.episode"))]
    episodes = []
    for headers in read:
        opening, closing = headers[0], headers[-1]
        assert isinstance(opening, Open)
        assert isinstance(closing, Seal)
        episodes.append((opening, closing, [each for each in headers if isinstance(each, Note)]))
    return episodes


def test_an_episode_that_was_open_says_nothing_of_streams_that_joined(spool: Spool, pool: EncoderPool) -> None:
    """Their samples, losses and absences in its time are between; the next one has them."""
    opening = manifest(ROWS, spool_id=spool.spool_id, absent={"cam": "unplugged"})
    made = Recorder(spool, Interval(SECOND), opening, pool=pool, grace_ns=None)
    assert add(made, rows(0, 50)) is None
    made.join((entry(FRAMES),), {}, -SECOND, SECOND // 2)
    assert add(made, rows(600_000_000, 2, step_ns=100_000_000, spec=FRAMES)) is None
    made.account.enter("cam", 3)
    made.count("cam", Tally(lost={"overrun": 3}))
    made.note(SourceNote("event", "x", stream="cam", start_ns=650_000_000))
    made.note(SourceNote("event", "y", start_ns=650_000_000))
    made.sensor_away("cam")
    made.sensor_back("cam")
    assert add(made, rows(SECOND // 2, 100)) is None
    assert add(made, rows(1_100_000_000, 1, spec=FRAMES)) is None
    made.sensor_ended("imu")
    made.sensor_failed("cam")
    made.stop()
    first, second = found(spool)
    assert (first[0].absent, second[0].absent) == ({"cam": "unplugged"}, {})
    assert (first[1].rows, second[1].rows) == ({"imu": 100}, {"imu": 50, "cam": 1})
    assert [(note.name, note.stream) for note in first[2]] == [("y", "")]
    between = second[0].between["cam"]
    assert (between.lost["absent"], between.lost["overrun"], between.captured) == (2, 3, sum(between.lost.values()))
    assert between.lost_interval_ns == (-SECOND, SECOND // 2)
    assert spool.between_totals().streams["cam"].lost_interval_ns == (-SECOND, SECOND)
    totals = made.account.totals()["cam"]
    assert totals.balances
    assert totals.stored == 1
    assert not made.account.held()


class Heard(Trigger):
    """Keeps everything, in spans of ten seconds, and whom it was told of."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.causes: list[tuple[int, str]] = []
        self._spans = Interval(10 * SECOND)

    def place(self, stamp_ns: int) -> Placement:
        return self._spans.place(stamp_ns)

    def ended(self, stream: str) -> None:
        self.told.append(stream)

    def cause(self, at_ns: int, proposal: str) -> None:
        self.causes.append((at_ns, proposal))


def test_what_was_decided_stands_when_another_trigger_takes_over(spool: Spool, pool: EncoderPool) -> None:
    """Its episodes begin behind what was left out, and it knows who has ended or is away."""
    opening = manifest(ROWS, FRAMES, spool_id=spool.spool_id)
    made = Recorder(spool, WaitingTrigger(), opening, pool=pool, grace_ns=None)
    assert add(made, rows(0, 100)) is None
    made.sensor_ended("cam")
    heard = Heard()
    made.replace_trigger(heard)
    assert heard.told == ["cam"]
    assert add(made, rows(SECOND, 50)) is None
    made.sensor_ended("imu")
    made.stop()
    ((begun, sealed, _),) = found(spool)
    assert begun.start_ns == 99 * 10_000_000 + 1
    assert begun.between["imu"].filtered == {"trigger": 100}
    assert sealed.rows["imu"] == 50
    assert made.account.totals()["imu"].balances


def test_a_trigger_that_takes_over_is_told_of_the_plan_in_force(spool: Spool, pool: EncoderPool) -> None:
    """On the way to where it leads it is none for a trigger, which judges what is met there as ever."""
    made = Recorder(spool, WaitingTrigger(), manifest(ROWS, spool_id=spool.spool_id), pool=pool, grace_ns=None)
    made.notes.cause(0, "p1", SECOND, 3 * SECOND)
    made.notes.cause(0, "p2", 2 * SECOND, on_the_way=True)
    made.notes.cause(0, "p2", 5 * SECOND, 9 * SECOND)
    heard = Heard()
    made.replace_trigger(heard)
    assert heard.causes == [(SECOND, "p1"), (2 * SECOND, ""), (5 * SECOND, "p2"), (9 * SECOND, "")]
    made.stop()


def test_a_stream_that_joined_others_ahead_of_its_own_step_back_is_not_an_epoch_further() -> None:
    state = StreamState(entry(ROWS), fresh_account())
    state.passed_ns = SECOND
    state.begin_anew()
    assert (state.epoch, state.passed_ns) == (1, BEFORE_ALL)
    state.passed_ns = SECOND
    state.join(4)
    state.begin_anew()
    assert (state.epoch, state.joined, state.passed_ns) == (4, False, BEFORE_ALL)
    state.begin_anew()
    assert state.epoch == 5
