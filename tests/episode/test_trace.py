"""The trace: what comes back is what went in, bit for bit; merged rows say how many they are, and between what."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.drivers.stream import Stamps
from sensorium.episode.trace import ABSENT_BITS, About, Column, Layout, Words, read_trace
from sensorium.episode.trace_row import REASONS, TraceRow, merged
from sensorium.episode.unit import Judged, Look, encoded
from sensorium.errors import Corrupt
from tests.episode.judged import SECOND_NS, any_judged, judged, same

ABOUT = About(boot="boot-a", policy="policy-1", document={"budget": {"share": 0.05}})


def rows_of(units: Sequence[Judged]) -> list[TraceRow]:
    return [TraceRow(judged=each) for each in units]


def there_and_back(
    rows: Sequence[TraceRow], about: About = ABOUT, chunk: int = 4
) -> tuple[About, list[TraceRow], list[Column]]:
    """As a device writes them, in parts, each with the words that it needs noted before."""
    layout, words = Layout().widened(rows), Words()
    entries = layout.entries(chunk)
    notes, parts = [about.note(0)], []
    stamps: list[Stamps] = []
    for first in range(0, len(rows), chunk):
        some, arrays = layout.arrays(rows[first : first + chunk], words)
        stamps.append(some)
        parts.append(arrays)
        notes += [note for note in [words.note(0)] if note is not None]
        words.fresh.clear()
    columns = [
        Column(entry.spec, np.concatenate(stamps), np.concatenate([part[number] for part in parts]))
        for number, entry in enumerate(entries)
    ]
    plain = msgspec.json.decode(msgspec.json.encode(notes))  # as the store has them
    return *read_trace(columns, plain), columns


@st.composite
def units(draw: st.DrawFn) -> list[Judged]:
    starts = sorted(draw(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=9)))
    return [draw(any_judged(start_ns, "boot-a", "policy-1")) for start_ns in starts]


@settings(deadline=None, max_examples=50)
@given(units())
def test_what_comes_back_is_what_went_in_bit_for_bit(some: list[Judged]) -> None:
    about, rows, _ = there_and_back(rows_of(some))
    assert about == ABOUT
    assert same([row.judged for row in rows], some)
    assert [encoded(row.judged.decision) for row in rows] == [encoded(each.decision) for each in some]
    assert all(row.count == 1 and not row.reasons and not row.least for row in rows)


@settings(deadline=None, max_examples=30)
@given(units(), st.data())
def test_merged_rows_come_back_too_and_count_every_unit_once(some: list[Judged], data: st.DataObject) -> None:
    rows = rows_of(some)
    while len(rows) > 1 and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(rows) - 2))
        rows[at : at + 2] = [merged(rows[at], rows[at + 1])]
    _, back, _ = there_and_back(rows)
    assert same(back, rows)
    assert sum(row.count for row in back) == len(some)
    for reason in REASONS:
        assert sum(row.by_reason.get(reason, 0) for row in back) == sum(u.decision.reason == reason for u in some)


def test_a_merged_row_spans_its_units_and_has_the_extremes_of_each_number() -> None:
    look = Look(by="maker", vector=b"\x01\x02", hashes=(7, 2**64 - 1))
    first = judged(0, score=2.0, scores={"front.blur": 1.0}, booked_bytes=5, looks={"front": look}, begun=True)
    second = judged(SECOND_NS, score=9.0, scores={"front.blur": float("nan")}, reason="budget", booked_bytes=-2)
    third = judged(3 * SECOND_NS, score=4.0, scores={"rear.blur": 8.0}, saved=True)
    row = merged(merged(*rows_of([first, second])), TraceRow(judged=third))
    assert (row.count, row.start_ns, row.end_ns) == (3, 0, 4 * SECOND_NS)
    assert row.by_reason == {"dull": 2, "budget": 1}
    assert (row.least["score"], row.greatest["score"]) == (2.0, 9.0)
    assert (row.least["novelty/front"], row.greatest["novelty/front"]) == (0.2, 0.9)
    assert row.least["scores/front.blur"] == row.greatest["scores/front.blur"] == 1.0
    assert row.least["scores/rear.blur"] == 8.0
    shown = row.judged
    assert (shown.decision.score, shown.decision.reason) == (9.0, "budget")
    assert (shown.unit.booked_bytes, shown.saved, shown.begun) == (3, True, True)
    assert shown.looks == {"front": look}
    assert (shown.decision.start_ns, shown.decision.end_ns) == (0, 4 * SECOND_NS)


def test_a_plain_reader_finds_the_channels_by_their_names() -> None:
    """As docs/store-format.md says: nothing of this package is needed to know why a unit was dropped."""
    one = judged(5, score=2.5, by="noise", reason="never", scores={"front.noise": 7.0}, change={"front": 0.25})
    other = judged(SECOND_NS, reason="budget", novelty={}, looks={"front": Look(by="m", vector=b"\xff", hashes=(1,))})
    _, _, columns = there_and_back(rows_of([one, other]))
    held = {column.spec.name: column for column in columns}
    assert list(held) == ["trace.unit", "trace.values", "trace.extremes", "trace.look.front"]
    unit, values = (dict(zip(c.spec.channels, c.data.T, strict=True)) for c in list(held.values())[:2])
    assert held["trace.unit"].captured_ns.tolist() == [5, SECOND_NS]
    assert (unit["length_ns"] == SECOND_NS).all()
    assert unit["kept"].tolist() == [0, 0]
    assert unit["reason"].tolist() == [5, 7]
    assert unit["by"][0] == 8
    assert unit["count"].tolist() == [1, 1]
    assert unit["hashes/front"].tolist() == [-1, 1]
    assert unit["hash/front/0"].tolist() == [0, 1]
    assert values["score"].tolist() == [2.5, 1.0]
    assert values["scores/front.noise"][0] == 7.0
    assert values["change/front"][0] == 0.25
    assert np.isnan(values["change/front"][1])
    assert values["novelty/front"].view(np.uint64)[1] == ABSENT_BITS
    assert np.isnan(held["trace.extremes"].data).all()
    look = held["trace.look.front"]
    assert look.data.tolist() == [[0], [-1]]
    assert look.spec.derived_from == "front"


def test_of_streams_that_a_crash_left_of_unequal_length_the_rows_that_all_have_are_read() -> None:
    some = rows_of([judged(n * SECOND_NS, by="") for n in range(9)])
    _, _, columns = there_and_back(some)
    cut = [column._replace(captured_ns=column.captured_ns[:n]) for column, n in zip(columns, (8, 8, 4), strict=True)]
    cut = [column._replace(data=column.data[: len(column.captured_ns)]) for column in cut]
    _, rows = read_trace(cut, [])
    assert [row.start_ns for row in rows] == [n * SECOND_NS for n in range(4)]


@pytest.mark.parametrize("name", ["x" * 100, "0-" + "x" * 80, "x" * 80])
def test_a_stream_of_any_name_has_a_descriptor(name: str) -> None:
    some = rows_of([judged(0, looks={each: Look(by="m", vector=b"ab") for each in (name, "x" * 99)})])
    _, rows, columns = there_and_back(some)
    assert same(rows, some)
    assert len({column.spec.name for column in columns}) == len(columns)


def test_what_cannot_be_held_is_refused_before_anything_is_written() -> None:
    layout = Layout().widened(rows_of([judged(0)]))
    for wrong in (
        judged(0, scores={"front.new": 1.0}),
        judged(0, looks={"front": Look(by="m", vector=b"a")}),
        judged(0, estimate_bytes=2**63),
        msgspec.structs.replace(judged(0), decision=judged(1).decision),
    ):
        with pytest.raises(ValueError, match="unit at 0"):
            layout.arrays(rows_of([wrong]), Words())
    with_hash = Layout().widened(rows_of([judged(0, looks={"front": Look(by="m", vector=b"a", hashes=(1,))})]))
    with pytest.raises(ValueError, match="64 bits"):
        with_hash.arrays(rows_of([judged(0, looks={"front": Look(by="m", vector=b"a", hashes=(-1,))})]), Words())


def test_what_is_no_trace_is_corrupt() -> None:
    _, _, columns = there_and_back(rows_of([judged(0, by="of a rule")]))
    with pytest.raises(Corrupt, match="not a trace"):
        read_trace(columns[:2], [])
    with pytest.raises(Corrupt, match="not a trace"):
        read_trace(columns, [])  # the word was never noted
    with pytest.raises(Corrupt, match="notes of a trace"):
        read_trace(columns, [{"kind": "trace", "name": "words", "value": 7}])
