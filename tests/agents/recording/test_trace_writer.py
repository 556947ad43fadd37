"""The trace writer: every unit is in exactly one row, within its budget; a crash costs what was not synced."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sensorium
from sensorium.agents.recording import trace_writer
from sensorium.agents.recording.trace_bucket import Left
from sensorium.agents.recording.trace_rows import TraceRows
from sensorium.agents.recording.trace_writer import TraceStatus
from sensorium.agents.spool.spool import Spool
from sensorium.corpus.traces import TracedUnit
from sensorium.corpus.verify import verify
from sensorium.episode import durable
from sensorium.episode.account import Tally
from sensorium.episode.trace_row import REASONS
from sensorium.episode.unit import Judged, Look, encoded
from sensorium.errors import ConfigError, SpoolFull
from tests.agents.building import ROWS, begin, manifest
from tests.agents.recording.tracing import AMPLE, delivered, files, writer
from tests.agents.spool.test_together import killed
from tests.episode.judged import SECOND_NS, any_judged, judged, same

DROPPED = ("dull", "budget", "never")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool", "rig")
    yield made
    made.close()


def look(number: int, dimensions: int = 32) -> Look:
    return Look(
        by="thumbnail 1", vector=bytes((number * 37 + n * 101) % 251 for n in range(dimensions)), hashes=(number,)
    )


def seen(number: int, reason: str = "dull", **more: Any) -> Judged:
    """A second of a camera."""
    shown: dict[str, Any] = {"looks": {"front": look(number)}, "scores": {"front.blur": number / 7}}
    return judged(number * SECOND_NS, reason=reason, **({**shown, "score": number % 5} | more))


def traced(spool: Spool, store: Path, units: Sequence[Judged], **how: Any) -> list[TracedUnit]:
    """Logged, and read from a store."""
    trace = writer(spool, **how)
    for each in units:
        trace.log(each)
    trace.stop()
    assert spool.account.held() == {}
    spool.close()
    return delivered(spool.path, store)


def assert_in_one_row_each(found: Sequence[TracedUnit], units: Sequence[Judged]) -> None:
    """Rows are apart, in order, and hold all units with their reasons."""
    left = list(units)
    for row in found:
        mine, left = left[: row.count], left[row.count :]
        assert row.start_ns == mine[0].unit.start_ns
        assert row.end_ns == max(each.unit.end_ns for each in mine)
        assert row.by_reason == Counter(each.decision.reason for each in mine)
    assert not left


def test_with_bytes_enough_every_unit_is_there_as_it_was_judged(spool: Spool, tmp_path: Path) -> None:
    units = [seen(n, saved=n % 10 == 9, begun=n == 0) for n in range(150)]
    document = {"budget": {"share": 0.05}}
    found = traced(spool, tmp_path / "store", units, documents={"policy-1": document})
    assert [each.judged for each in found] == units
    assert {each.count for each in found} == {1}
    assert found[0].policy == document
    corpus = sensorium.open(tmp_path / "store")
    episodes = corpus.query("kind = 'trace'", "start_ns")
    assert [each.duration_s for each in episodes] == [60.0, 60.0, 30.0]
    assert {each.row["reason"] for each in episodes} == {"complete"}
    for episode in episodes:
        assert all(
            each["captured"] == each["stored"] == len(episode.streams["trace.unit"])
            for each in episode.account.values()
        )
    assert list(verify(tmp_path / "store", deep=True)) == []


@settings(deadline=None, max_examples=6)
@given(st.data())
def test_any_units_come_through_the_spool_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever they show: new names, no names, numbers that are none."""
    path = tmp_path_factory.mktemp("trace")
    starts = range(0, data.draw(st.integers(1, 12)) * 10**12, 10**12)
    units = [data.draw(any_judged(start_ns, "boot-a", "policy-1")) for start_ns in starts]
    found = traced(Spool(path / "spool", "rig"), path / "store", units, bytes_per_s=1e9, chunk_rows=3)
    assert [encoded(each.judged.decision) for each in found] == [encoded(each.decision) for each in units]
    assert same([each.judged for each in found], units)


@settings(deadline=None, max_examples=12)
@given(
    st.floats(1.0, 2000.0),
    st.lists(st.tuples(st.sampled_from(REASONS), st.integers(1, 3), st.floats(0, 9)), min_size=1, max_size=200),
    st.integers(1, 12),
)
@example(1.0, [("dull", 1, 1.0), ("novelty", 1, 9.0), ("budget", 1, 5.0)] * 100, 4)
@example(40.0, [("dull", 3, 1.0), ("never", 1, 9.0)] * 100, 12)
def test_every_unit_is_in_one_row_and_the_budget_holds_with_its_burst(
    tmp_path_factory: pytest.TempPathFactory, bytes_per_s: float, said: list[tuple[str, int, float]], chunk_rows: int
) -> None:
    path = tmp_path_factory.mktemp("trace")
    spool = Spool(path / "spool", "rig")
    trace = writer(spool, bytes_per_s, chunk_rows=chunk_rows)
    units: list[Judged] = []
    at_ns = 0
    for number, (reason, length, score) in enumerate(said):
        units.append(seen(number, reason, score=score, length_ns=length * SECOND_NS))
        moved = {"start_ns": at_ns, "end_ns": at_ns + length * SECOND_NS}
        unit, decision = (msgspec.structs.replace(each, **moved) for each in (units[-1].unit, units[-1].decision))
        units[-1] = msgspec.structs.replace(units[-1], unit=unit, decision=decision)
        at_ns = moved["end_ns"]
        trace.log(units[-1])
        assert trace.status.bytes <= bytes_per_s * at_ns / SECOND_NS + trace._bucket.capacity
    trace.stop()
    allowed = bytes_per_s * at_ns / SECOND_NS + trace._bucket.capacity
    spool.close()
    assert trace.status.bytes == sum(file.stat().st_size for file in files(spool.path)) <= allowed
    found = delivered(spool.path, path / "store")
    assert_in_one_row_each(found, units)
    assert (trace.status.units, trace.status.rows, trace.status.waiting) == (len(units), len(found), 0)


def test_where_bytes_are_short_neighbours_are_merged_those_that_were_kept_last(spool: Spool, tmp_path: Path) -> None:
    """Sixty bytes a second are less than a row and its share of an episode: what was kept is still told apart."""
    units = [seen(n, "novelty" if n % 40 == 20 else DROPPED[n // 100 % 3]) for n in range(600)]
    found = traced(spool, tmp_path / "store", units, bytes_per_s=60)
    assert_in_one_row_each(found, units)
    assert len(found) < 200
    alone = [each for each in found if each.count == 1 and each.judged.decision.kept]
    assert len(alone) == sum(each.decision.kept for each in units)
    assert max(each.count for each in found) > 10
    for each in found:
        if each.count > 1:
            assert each.least["score"] <= each.judged.decision.score == each.greatest["score"]
            assert each.judged.looks["front"].vector


def test_without_a_budget_there_is_no_trace(spool: Spool, tmp_path: Path) -> None:
    assert traced(spool, tmp_path / "store", [seen(0)], bytes_per_s=0) == []
    assert files(spool.path) == []


def test_another_boot_policy_clock_or_size_begins_another_episode(spool: Spool, tmp_path: Path) -> None:
    units = [seen(n) for n in range(5)]
    units += [seen(n, boot="boot-b") for n in range(3)]
    units += [seen(n, boot="boot-b", score=2.0) for n in range(3)]  # set back
    units += [seen(n, boot="boot-b", policy="policy-2") for n in range(4, 6)]
    units += [seen(n, boot="boot-b", policy="policy-2", looks={"front": look(n, 8)}) for n in range(6, 9)]
    units += [seen(n, boot="boot-b", policy="policy-2", looks={"rear": look(n)}) for n in range(9, 12)]
    found = traced(spool, tmp_path / "store", units, documents={"policy-2": {"seed": 2}})
    assert [each.judged for each in found] == units
    assert [each.resets for each in found] == [0] * 8 + [1] * (len(units) - 8)
    assert [each.policy for each in found][10:12] == [{}, {"seed": 2}]
    episodes = sensorium.open(tmp_path / "store").query("kind = 'trace'", "ordinal")
    reasons = [each.row["reason"] for each in episodes]
    assert reasons == ["clock_reset", "clock_reset", "complete", "complete", "complete"]


def test_a_new_name_begins_another_episode_with_more_channels(spool: Spool, tmp_path: Path) -> None:
    units = [seen(n, scores={} if n < 20 else {"front.new": 1.0}) for n in range(40)]
    found = traced(spool, tmp_path / "store", units)
    assert [each.judged for each in found] == units
    one, other = sensorium.open(tmp_path / "store").query("kind = 'trace'", "ordinal")
    assert "scores/front.new" not in one.streams["trace.values"].spec.channels
    assert "scores/front.new" in other.streams["trace.values"].spec.channels


def test_of_sensors_samples_in_no_episode_the_next_full_one_tells_alone(spool: Spool) -> None:
    tally = Tally()
    tally.count("trigger", 7)
    spool.account.enter("imu", 7)
    spool.account.between("imu", tally)
    trace = writer(spool)
    for n in range(20):
        trace.log(seen(n))
    trace.stop()
    told: list[Any] = []
    spool.create(lambda n, between: told.append(between) or manifest(ROWS, spool_id=spool.spool_id, ordinal=n))  # type: ignore[func-returns-value]
    assert told[0]["imu"].filtered == {"trigger": 7}
    assert "trace.unit" not in told[0]
    spool.persist()
    assert spool.between_totals().streams["imu"].captured == 7
    totals = spool.account.totals()
    assert totals["trace.unit"].captured == totals["trace.unit"].stored == 20
    assert totals["imu"].balances


def test_a_trace_is_of_no_run(spool: Spool) -> None:
    """Who takes a replay up records anew what its run began; what was seen stays seen."""
    spool.runs.take_up("source-configuration")
    trace = writer(spool)
    for n in range(9):
        trace.log(seen(n))
    spool.flush()
    of_run, _ = begin(spool)
    spool.flush()
    assert spool._ledger.runs.unsealed("source-configuration") == [of_run]
    trace.stop()


def test_a_kill_costs_no_more_than_what_was_not_synced(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = writer(spool)
    units = [seen(n) for n in range(99)]
    for each in units[:84]:
        trace.log(each)
    assert spool.flush()
    monkeypatch.setattr(Spool, "flush", lambda _: True)
    for each in units[84:]:
        trace.log(each)
    killed(spool)
    again = Spool(spool.path, "rig")
    trace = writer(again)
    for n in range(200, 220):
        trace.log(seen(n, begun=n == 200))
    trace.stop()
    again.close()
    found = [each.judged for each in delivered(spool.path, tmp_path / "store")]
    before = [each for each in found if each.unit.start_ns < 150 * SECOND_NS]
    assert before == units[: len(before)]
    assert 80 <= len(before) <= 96
    assert found[len(before) :] == [seen(n, begun=n == 200) for n in range(200, 220)]
    reasons = [each.row["reason"] for each in sensorium.open(tmp_path / "store").query("kind = 'trace'", "ordinal")]
    assert reasons == ["complete", "interrupted", "complete"]
    (ledger,) = sensorium.open(tmp_path / "store").ledger()
    assert (ledger.committed, ledger.pending) == (3, 0)
    assert list(verify(tmp_path / "store", deep=True)) == []


class Full:
    """A spool that takes nothing while it is `full`."""

    def __init__(self, patch: pytest.MonkeyPatch, spool: Spool) -> None:
        self.full = False
        require = spool.require

        def refuse(more_bytes: int) -> None:
            if self.full:
                raise SpoolFull("no room here")
            require(more_bytes)

        patch.setattr(spool, "require", refuse)


def test_while_the_spool_is_full_units_wait_merged_and_none_is_lost(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, trace = Full(monkeypatch, spool), writer(spool)
    units = [seen(n) for n in range(200)]
    for number, each in enumerate(units):
        disk.full = 50 <= number < 150
        trace.log(each)
        assert trace.status.waiting <= 8 or disk.full
    trace.stop()
    spool.close()
    found = delivered(spool.path, tmp_path / "store")
    assert_in_one_row_each(found, units)
    assert trace.status.lost == 0
    assert len(found) < 120


@pytest.mark.parametrize("logged", [20, 4])
def test_what_a_full_spool_never_takes_is_lost_and_counted(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: int
) -> None:
    """What is open takes the last rows and its SEAL, as that of any episode; no other begins."""
    monkeypatch.setattr(trace_writer, "LAST_PAUSES_S", (0.0,))
    disk, trace = Full(monkeypatch, spool), writer(spool)
    for n in range(logged):
        trace.log(seen(n))
    disk.full = True
    trace.log(seen(logged))
    trace.stop()
    spool.persist()
    assert spool.account.held() == {}
    totals = spool.account.totals()["trace.unit"]
    assert totals.balances
    lost = 5 if logged == 4 else 0
    assert (trace.status.lost, totals.lost) == (lost, {"spool_full": lost} if lost else {})
    assert spool.between_totals().streams.get("trace.unit", totals).lost == totals.lost
    spool.close()
    assert sum(each.count for each in delivered(spool.path, tmp_path / "store")) == logged + 1 - lost


def test_a_failing_disk_is_tried_again_with_all_that_waits(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = writer(spool)
    units = [seen(n, looks={"front": look(n, 9000)}) for n in range(60)]  # more than what is held in memory at first
    real, failing = durable.append, True

    def append(*arguments: Any, **named: Any) -> Any:
        if failing:
            raise OSError(5, "Input/output error")
        return real(*arguments, **named)

    monkeypatch.setattr(durable, "append", append)
    for number, each in enumerate(units):
        failing = 10 < number < 30
        trace.log(each)
    trace.stop()
    spool.close()
    assert_in_one_row_each(delivered(spool.path, tmp_path / "store"), units)


def test_a_sensor_that_is_called_as_the_trace_is_refused(spool: Spool) -> None:
    of_sensor = msgspec.structs.replace(ROWS, name="trace.unit")
    with pytest.raises(ConfigError, match=r"'trace.unit'.*rename the sensor"):
        trace_writer.TraceWriter(spool, manifest(of_sensor), bytes_per_s=AMPLE)


def test_what_loses_least_is_merged_first() -> None:
    waiting = TraceRows(4)
    for number, reason in enumerate(("dull", "dull", "budget", "novelty", "budget", "dull")):
        waiting.add(seen(number, reason))
    reasons = [row.by_reason for row in waiting.rows]
    assert reasons == [{"dull": 2}, {"budget": 1}, {"novelty": 1}, {"budget": 1, "dull": 1}]


def test_what_is_left_of_the_budget_survives_restarts(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    """A device that is started again and again has no burst each time."""
    file = spool.path / "selection" / "trace"

    def run(first: int, left: Path | None) -> TraceStatus:
        trace = writer(spool, 150.0, left=left)
        for number in range(first, first + 20):
            trace.log(seen(number))
        trace.stop()
        return trace.status

    assert [run(20 * n, None).rows for n in range(4)] == [20] * 4
    first, *others = [run(20 * n, file) for n in range(4)]
    assert first.rows == 20
    assert all(each.units == 20 > 10 > each.rows for each in others[1:])
    left = msgspec.msgpack.decode(file.read_bytes(), type=Left).level
    assert writer(spool, 150.0, left=file)._bucket.level == left < 150 * 60
    later = run(4000, file)
    assert later.rows == 20, "what came in meanwhile is there"
    left = msgspec.msgpack.decode(file.read_bytes(), type=Left).level
    other_boot = writer(spool, 150.0, left=file)
    other_boot.log(seen(9000, boot="other"))
    assert other_boot._bucket.level == pytest.approx(min(left + 150, 150 * 60)), "nobody knows how long it was off"
    other_boot.stop()
    for content in (b"torn", msgspec.msgpack.encode(Left(math.nan))):
        file.write_bytes(content)
        assert 0 < run(5000, file).rows < 10
        assert "what was left cannot be read" in caplog.text
        caplog.clear()
