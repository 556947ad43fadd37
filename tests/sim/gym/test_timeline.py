"""The timeline, and the driver that is fed: what is put in comes out, in order, within bounds."""

import threading

import numpy as np
import pytest

from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.stream import Block, StreamSpec, loss_alone
from sensorium.sim.gym import fed, timeline
from sensorium.sim.gym.fed import Fed
from sensorium.sim.gym.timeline import Timeline
from sensorium.threads import Thread

SPEC = StreamSpec(name="env.x", modality="m", dtype="float64", shape=(), rate_hz=10.0)
SECOND = 1_000_000_000


def block(*stamps: int) -> Block:
    return Block("env.x", np.array(stamps, np.int64), np.array(stamps, np.float64))


def episode(n: int) -> list[Delivery]:
    """Stamps since its reset, 0 to n."""
    return [
        EpisodeBegin(0, {"n": n}, 0),
        block(0, n // 2),
        SourceNote("info", "half", n, start_ns=n // 2),
        loss_alone(SPEC, 1, n // 2),
        block(n),
        EpisodeEnd(n + 1, "terminated", passed=True),
    ]


def check(placed: list[Delivery], base_ns: int, n: int) -> None:
    begin, first, note, lost, last, end = placed
    assert begin == EpisodeBegin(base_ns, {"n": n}, base_ns)
    assert isinstance(first, Block)
    assert first.captured_ns.tolist() == [base_ns, base_ns + n // 2]
    assert first.data.tolist() == [0, n // 2]
    assert note == SourceNote("info", "half", n, start_ns=base_ns + n // 2)
    assert isinstance(lost, Block)
    assert (lost.lost_at_ns, lost.lost_before) == (base_ns + n // 2, 1)
    assert isinstance(last, Block)
    assert last.captured_ns.tolist() == [base_ns + n]
    assert end == EpisodeEnd(base_ns + n + 1, "terminated", passed=True)


def test_of_one_alone_all_is_placed_at_once_a_second_behind_the_end_before() -> None:
    line = Timeline(5, 1)
    first = [each for given in episode(2 * SECOND) for each in line.place(0, [given])]
    check(first, 5, 2 * SECOND)
    check(line.place(0, episode(10)), 4 * SECOND, 10)
    check(line.place(0, episode(10)), 6 * SECOND, 10)


@pytest.mark.parametrize("most_bytes", [0, 20, 1 << 20], ids=["in files", "partly", "in memory"])
def test_those_side_by_side_come_whole_in_the_order_of_their_ends(
    most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "MAX_HELD_BYTES", most_bytes)
    line = Timeline(0, 2)
    long, short = episode(3 * SECOND), episode(SECOND)
    assert line.place(0, long[:-1]) == []
    assert line.place(1, short[:-1]) == []
    check(line.place(1, short[-1:]), 0, SECOND)
    assert line.place(1, episode(7)[:-1]) == []
    check(line.place(0, long[-1:]), 3 * SECOND, 3 * SECOND)
    check(line.place(1, episode(7)[-1:]), 8 * SECOND, 7)


def test_what_is_put_comes_out_and_then_the_end() -> None:
    driver = Fed([SPEC])
    assert driver.put([block(1), block(2)])
    assert driver.put([])
    assert driver.put([block(3)])
    driver.end()
    read = [driver.read(1.0) for _ in range(3)]
    assert [[each.captured_ns.tolist() for each in got or () if isinstance(each, Block)] for got in read] == [
        [[1], [2]],
        [[3]],
        [],
    ]
    assert read[2] is None
    assert driver.read(0) is None


def test_an_error_comes_behind_what_was_put_before_it() -> None:
    driver = Fed([SPEC])
    driver.put([block(1)])
    driver.end(OSError("gone"))
    assert driver.read(1.0)
    with pytest.raises(OSError, match="gone"):
        driver.read(1.0)
    assert driver.read(0) is None


def test_who_puts_waits_for_room_and_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fed, "MAX_QUEUED_BYTES", 10)
    closed: list[bool] = []
    driver = Fed([SPEC], lambda: closed.append(True))
    assert driver.put([block(1, 2, 3)]), "one that is too large is taken where nothing waits"
    assert not driver.put([block(4)], timeout_s=0.01)
    assert driver.read(1.0)
    assert driver.put([block(4, 5)])
    waiting = threading.Event()
    taken: list[bool] = []

    def put() -> None:
        waiting.set()
        taken.append(driver.put([block(6)]))

    thread = Thread("driver-put", "puts", put, lambda _: None)
    waiting.wait(60)
    driver.close()
    driver.close()
    assert thread.join(60)
    assert (taken, closed) == ([False], [True])
    assert driver.read(1.0) is None
    assert driver.is_closed
