"""The queues of an agent's sensors: together no more than the agent may, and what had no room is counted."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.capture import queue_room
from sensorium.agents.capture.intake import MAX_QUEUED_BYTES, Intake
from sensorium.agents.capture.queue_room import MAX_AGENT_BYTES, has_room
from sensorium.drivers.clock import Clock, live_clock
from sensorium.drivers.driver import Delivery
from sensorium.drivers.stream import Block, StreamSpec
from tests.agents.building import fresh_account

SENSORS, BLOCKS, BLOCK_BYTES, ROOM_BYTES = 24, 40, 1000, 60_000


class Burst:
    """Delivers all that it has, and is silent then."""

    def __init__(self, name: str) -> None:
        self.specs = (StreamSpec(name=name, modality="x", dtype="uint8", shape=(BLOCK_BYTES,), rate_hz=100.0),)
        self.clock: Clock = live_clock()
        self._closed = threading.Event()
        self._left = BLOCKS

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        if not self._left:
            return None if self._closed.wait(timeout_s) else ()
        self._left -= 1
        return [Block(self.specs[0].name, np.array([BLOCKS - self._left]), np.zeros((1, BLOCK_BYTES), np.uint8))]

    def close(self) -> None:
        self._closed.set()


def test_what_all_sensors_deliver_waits_in_one_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_room, "MAX_AGENT_BYTES", ROOM_BYTES)
    account, names = fresh_account(), [f"cam-{number}" for number in range(SENSORS)]
    made = Intake({name: Burst(name) for name in names}, {}, account, live=True)
    made.start()
    try:
        pause = threading.Event()
        while any(account.held().get(name, 0) < BLOCKS for name in names):
            pause.wait(0.01)
        waiting = lost = size = 0
        while waiting + lost < SENSORS * BLOCKS:  # what was lost behind the last block is told once that is taken
            arrival = made.take(60.0)
            assert arrival is not None
            size += arrival.nbytes
            waiting += 0 if arrival.block is None else len(arrival.block)
            lost += arrival.lost.account().lost.get("overrun", 0)
    finally:
        made.stop()
    assert 0 < size <= ROOM_BYTES
    assert waiting + lost == SENSORS * BLOCKS
    assert waiting == size // BLOCK_BYTES


@given(st.lists(st.tuples(st.integers(0, 23), st.integers(1, 32 << 20)), max_size=200))
def test_no_order_of_what_comes_has_them_hold_more(blocks: list[tuple[int, int]]) -> None:
    queued = [0] * 24
    for sensor, size in blocks:
        if has_room(queued[sensor], size, queued, MAX_QUEUED_BYTES):
            queued[sensor] += size
        assert sum(queued) <= MAX_AGENT_BYTES
        assert max(queued) <= MAX_QUEUED_BYTES


def test_one_that_is_behind_leaves_room_for_others() -> None:
    block = 1 << 20
    queued = [0, 0]
    while has_room(queued[0], block, queued, MAX_AGENT_BYTES):
        queued[0] += block
    assert queued[0] == MAX_AGENT_BYTES // 2
    assert has_room(queued[1], MAX_AGENT_BYTES // 4, queued, MAX_AGENT_BYTES)
