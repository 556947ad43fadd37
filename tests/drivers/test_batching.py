"""Rows become valid blocks; nothing is lost on the way, and what was lost stays where it was."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.batching import BLOCK_NS, Batcher, batches, estimate_rate_hz, rows_source, to_the_end
from sensorium.drivers.pacing import Due, Source
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

SPEC = StreamSpec(name="a", modality="test", dtype="float64", shape=(1,))
OTHER = StreamSpec(name="b", modality="test", dtype="uint8", shape=(2, 3))


def source(stamps: list[int], lost: dict[int, int], lost_at: list[tuple[int, int]] | None = None) -> Source:
    lost_before = np.array([lost.get(row, 0) for row in range(len(stamps) + 1)], np.int64)
    data = np.arange(len(stamps), dtype=np.float64)[:, None]
    return rows_source("a", np.array(stamps, np.int64), data, lost_before, lost_at or [])


@given(st.lists(st.integers(-(10**8), 10**8)), st.dictionaries(st.integers(0, 30), st.integers(0, 5)))
def test_rows_become_valid_blocks_with_every_loss_in_its_place(stamps: list[int], lost: dict[int, int]) -> None:
    blocks = [block for _, block in source(stamps, lost)]
    for block in blocks:
        block.check(SPEC)
        if len(block):
            assert block.captured_ns[-1] - block.captured_ns[0] < BLOCK_NS
    assert [stamp for block in blocks for stamp in block.captured_ns.tolist()] == stamps
    places, row = {}, 0
    for block in blocks:
        if block.lost_before:
            places[row] = block.lost_before
        row += len(block)
    assert places == {row: count for row, count in lost.items() if count and row <= len(stamps)}


def test_batches_of_nothing() -> None:
    assert batches(np.zeros(0, np.int64)) == []


def test_rate_is_the_median_interval() -> None:
    assert estimate_rate_hz(np.array([0, 5_000_001, 9_999_999, 90_000_000, 95_000_000], np.int64)) == 200.0
    assert estimate_rate_hz(np.array([0, 1], np.int64)) is None
    assert estimate_rate_hz(np.array([5, 5, 5, 5], np.int64)) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.sampled_from([-(2 * 10**9), -1000, 0, 10**6, 2 * 10**7, 10**9]), st.integers(0, 2)
        )
    )
)
def test_a_window_delivers_every_row_in_order_with_losses_in_place(rows: list[tuple[str, int, int]]) -> None:
    batcher, now = Batcher([SPEC, OTHER]), 10**18
    out: list[tuple[int, Block]] = []
    put: dict[str, list[int | None]] = {"a": [], "b": []}
    for stream, step, lost in rows:
        now += step
        if lost:
            batcher.lose(stream, lost)
        out.extend(batcher.add(stream, now, [0.5] if stream == "a" else np.full((2, 3), 7)))
        put[stream].extend([None] * lost + [now])
    batcher.lose("a", 3)
    put["a"].extend([None] * 3)
    out.extend(batcher.end())
    for spec in (SPEC, OTHER):
        got: list[int | None] = []
        for due, block in out:
            if block.stream == spec.name:
                block.check(spec)
                assert not len(block) or due == block.captured_ns[-1]
                got.extend([None] * block.lost_before + block.captured_ns.tolist())
        assert got == put[spec.name]


FAR_NS = 2**62


@pytest.mark.parametrize("read", ["batcher", "rows"])
@pytest.mark.parametrize(
    ("told", "placed"),
    [
        ([21, 22], [21, 22]),
        ([25, 21], [25, 21]),
        ([5, -FAR_NS], [20, 20]),
        ([FAR_NS, 22], [30, 22]),
        ([2**63, 22], [None, 22]),
    ],
)
def test_a_loss_is_at_its_stamp_if_that_lies_between_the_rows_around_it(
    read: str, told: list[int], placed: list[int | None]
) -> None:
    """One that cannot be right is where it stood; what is due is in order whatever stamps say."""
    if read == "rows":
        delivered = list(source([10, 20, 30], {}, [(2, at_ns) for at_ns in told if at_ns < 2**63]))
        placed = [at_ns for at_ns in placed if at_ns is not None]
    else:
        batcher = Batcher([SPEC])
        for stamp_ns in (10, 20):
            assert not list(batcher.add("a", stamp_ns, [0.0]))
        for at_ns in told:
            batcher.lose("a", 1, at_ns)
        assert not list(batcher.add("a", 30, [0.0]))
        delivered = batcher.end()
    assert [due for due, _ in delivered] == sorted(due for due, _ in delivered)
    assert [block.lost_at_ns for _, block in delivered if not len(block)] == [at for at in placed if at is not None]
    assert [block.lost_before for _, block in delivered if len(block)] == [0, int(None in placed)]


@pytest.mark.parametrize("read", ["batcher", "rows"])
def test_a_loss_that_no_row_follows_is_at_its_stamp(read: str) -> None:
    if read == "rows":
        delivered = list(source([10, 20], {2: 3}, [(2, 25), (2, 26)]))
    else:
        batcher = Batcher([SPEC])
        delivered = [due for stamp_ns in (10, 20) for due in batcher.add("a", stamp_ns, [0.0])]
        batcher.lose("a", 1, 25)
        batcher.lose("a", 3)
        batcher.lose("a", 1, 26)
        delivered += batcher.end()
    losses = [(block.lost_before, block.lost_at_ns) for _, block in delivered if not len(block)]
    assert losses == [(1, 25), (1, 26), (3, None)]
    for _, block in delivered:
        block.check(SPEC)


def test_a_slow_stream_does_not_wait_for_its_next_row() -> None:
    batcher = Batcher([SPEC, OTHER])
    assert list(batcher.add("b", 0, np.zeros((2, 3)))) == []
    out = [block.stream for stamp in range(1, 200) for _, block in batcher.add("a", stamp * 10**6, [0.0])]
    assert out[:3] == ["b", "a", "a"]


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_read_before_an_error_is_delivered_with_the_losses_known_by_then(fails: bool) -> None:
    batcher = Batcher([SPEC])

    def read() -> Iterator[Due]:
        for stamp in range(3):
            yield from batcher.add("a", stamp * 10**6, [0.0])
        batcher.lose("a", 4)
        if fails:
            raise ConfigError("the file cannot be read on")

    got: list[tuple[int, int]] = []
    with pytest.raises(ConfigError, match="cannot be read on") if fails else nullcontext():
        got.extend((block.lost_before, len(block)) for _, block in to_the_end(read(), batcher.end))
    assert got == [(0, 3), (4, 0)]


def test_closing_ends_what_is_read() -> None:
    closed = []

    def read() -> Iterator[Due]:
        try:
            yield 0, Block("a", np.zeros(1, np.int64), np.zeros((1, 1)))
            yield 1, Block("a", np.ones(1, np.int64), np.zeros((1, 1)))
        finally:
            closed.append(True)

    source = to_the_end(read(), list)
    next(source)
    source.close()
    assert closed == [True]
