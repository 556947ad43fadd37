"""Blocks come in the order and at the pace of their own time; `close` ends every wait."""

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.batching import rows_source
from sensorium.drivers.clock import Clock
from sensorium.drivers.pacing import Pace, Paced, Pacer, Source, merge
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

STEP = 100_000_000
SPEC = StreamSpec(name="a", modality="test", dtype="float64", shape=(1,))


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_ns = 7_000
        self.slept: list[float] = []

    def wait(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += round(seconds * 1e9)


def source(stream: str, stamps: list[int], lost: dict[int, int] | None = None) -> Source:
    rows = len(stamps)
    lost_before = np.array([(lost or {}).get(row, 0) for row in range(rows + 1)], np.int64)
    return rows_source(stream, np.array(stamps, np.int64), np.arange(rows, dtype=np.float64)[:, None], lost_before)


@pytest.mark.parametrize(("pace", "total_s"), [(1.0, 2.0), (4.0, 0.5), (0.5, 4.0), ("fast", 0.0)])
def test_pace_is_that_of_the_stamps(pace: Pace, total_s: float) -> None:
    time = Time()
    pacer = Pacer(pace, lambda: time.now_ns, time.wait)
    driver = Paced([SPEC], Clock(kind="recording"), source("a", [10**18 + row * 10**8 for row in range(21)]), pacer)
    while driver.read(100.0) is not None:
        pass
    assert sum(time.slept) == pytest.approx(total_s)


def test_read_waits_no_longer_than_its_timeout_and_then_delivers() -> None:
    time = Time()
    driver = Paced([SPEC], Clock(kind="recording"), source("a", [0, 10**9]), Pacer(1.0, lambda: time.now_ns, time.wait))
    assert len(driver.read(0.1) or ()) == 1
    assert [len(driver.read(0.3) or ()) for _ in range(4)] == [0, 0, 0, 1]
    assert sum(time.slept) == pytest.approx(1.0)
    assert driver.read(0.3) is None


def test_a_stamp_that_jumps_back_does_not_stall() -> None:
    time = Time()
    pacer = Pacer(1.0, lambda: time.now_ns, time.wait)
    for due_ns in (10**9, 2 * 10**9, 0, 2 * 10**9, 3 * 10**9):
        assert pacer.until(due_ns, 10.0)
    assert sum(time.slept) == pytest.approx(2.0)


def test_close_ends_a_wait_from_another_thread() -> None:
    pacer = Pacer(1.0)
    assert pacer.until(0, 1.0)
    outcome = []
    waiting = threading.Thread(target=lambda: outcome.append(pacer.until(50 * 10**9, 1e6)), daemon=True)
    waiting.start()
    pacer.close()
    waiting.join(60)
    assert outcome == [False]


def test_close_ends_what_the_source_opened() -> None:
    ended = []

    def opens() -> Source:
        try:
            yield 0, Block("a", np.zeros(1, np.int64), np.zeros((1, 1)))
        finally:
            ended.append(True)

    driver = Paced([SPEC], Clock(kind="recording"), merge([opens(), source("b", [1])]), Pacer("fast"))
    driver.read(0)
    driver.close()
    assert ended == [True]
    assert driver.read(0) is None


@given(st.lists(st.lists(st.integers(-(10**9), 10**9)), max_size=4))
def test_merge_orders_sources_and_loses_nothing(all_stamps: list[list[int]]) -> None:
    sources = [source(f"s{number}", sorted(stamps)) for number, stamps in enumerate(all_stamps)]
    dues = list(merge(sources))
    assert [due for due, _ in dues] == sorted(due for due, _ in dues)
    for number, stamps in enumerate(all_stamps):
        got = [stamp for _, block in dues if block.stream == f"s{number}" for stamp in block.captured_ns.tolist()]
        assert got == sorted(stamps)


def test_a_source_that_fails_ends_all_and_what_was_read_by_then_is_delivered() -> None:
    def fails() -> Source:
        yield 10 * STEP, Block("a", np.full(1, 10 * STEP, np.int64), np.zeros((1, 1)))
        raise ConfigError("cannot be read on")

    got: list[tuple[str, int]] = []
    merged = merge([source("b", [5 * STEP, 20 * STEP, 30 * STEP]), fails(), source("c", [7 * STEP, 40 * STEP])])
    with pytest.raises(ConfigError, match="cannot be read on"):
        got.extend((block.stream, due // STEP) for due, block in merged)
    assert got == [("b", 5), ("c", 7), ("a", 10), ("b", 20), ("c", 40)], "each had read one on"


def test_what_is_due_before_a_moment_does_not_wait_and_what_follows_does() -> None:
    time = Time()
    pacer = Pacer(1.0, lambda: time.now_ns, time.wait)
    driver = Paced([SPEC], Clock(kind="recording"), source("a", [0, 10**9, 2 * 10**9, 3 * 10**9]), pacer)
    driver.hurry(2 * 10**9)
    while driver.read(10.0) is not None:
        pass
    assert sum(time.slept) == pytest.approx(1.0)


def test_a_recording_that_jumps_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    waits: list[float] = []
    pacer = Pacer(2.0, now_ns=lambda: 0, wait=waits.append)
    for due_s, waited in ((0, 0), (100, 50.0), (1_700_000_000, 0), (1_700_000_010, 5.0), (3_000_000_000, 0)):
        waits.clear()
        assert pacer.until(due_s * 10**9, 1000.0)
        assert waits == [waited] * bool(waited)
    assert len([message for message in caplog.messages if "jumps by 850000000 s" in message]) == 1
    assert len(caplog.messages) == 1
