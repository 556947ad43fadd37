"""Gathering: however blocks come, the same samples come out in the same order, under the host's names and stamps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.stream import Block
from sensorium.sim.rollouts.gathering import MOST_BYTES, MOST_S, Gathering

BASE = 5 * 10**9


@given(st.lists(st.tuples(st.sampled_from(["rows", "cam"]), st.integers(0, 4), st.integers(0, 2)), max_size=30))
def test_nothing_is_lost_or_changed(pieces: list[tuple[str, int, int]]) -> None:
    gathering, at = Gathering("world.", BASE), 0
    given_stamps: dict[str, list[int]] = {}
    lost: dict[str, int] = {}
    for stream, n, missing in pieces:
        stamps = np.arange(at, at + n, dtype=np.int64)
        shape = (n, 2) if stream == "rows" else (n, 3, 2)
        data = np.broadcast_to(stamps.reshape(n, *(1,) * (len(shape) - 1)), shape).astype(np.float64)
        gathering.add(Block(stream, stamps, data, missing))
        gathering.row("action", at, [float(at)])
        given_stamps.setdefault(f"world.{stream}", []).extend((stamps + BASE).tolist())
        lost[f"world.{stream}"] = lost.get(f"world.{stream}", 0) + missing
        at += n + 1
    blocks = gathering.take()
    for stream, expected in given_stamps.items():
        mine = [block for block in blocks if block.stream == stream]
        assert [stamp for block in mine for stamp in block.captured_ns.tolist()] == expected
        values = [block.data.reshape(len(block), -1)[:, 0] + BASE for block in mine if len(block)]
        assert [value for part in values for value in part.tolist()] == expected
        assert sum(block.lost_before for block in mine) == lost[stream]
    actions = [block for block in blocks if block.stream == "world.action"]
    assert len(actions) == bool(pieces)
    assert sum(map(len, actions)) == len(pieces)
    assert gathering.take() == []


def test_a_loss_stays_where_it_was() -> None:
    gathering = Gathering("w.", 0)
    for at, missing in ((0, 0), (1, 0), (5, 3), (6, 0)):
        gathering.add(Block("rows", np.array([at]), np.zeros((1, 2)), missing))
    assert [(block.captured_ns.tolist(), block.lost_before) for block in gathering.take()] == [([0, 1], 0), ([5, 6], 3)]


def test_the_sensors_own_counter_stays() -> None:
    gathering = Gathering("w.", BASE)
    for at in range(2):
        gathering.add(Block("rows", np.array([at]), np.zeros((1, 2)), sensor_ns=np.array([at + 7])))
    assert [block.sensor_ns.tolist() for block in gathering.take() if block.sensor_ns is not None] == [[7], [8]]


def test_it_is_due_by_size_and_by_age() -> None:
    now = [0.0]
    gathering = Gathering("w.", 0, lambda: now[0])
    gathering.row("action", 0, [1.0])
    due = [gathering.is_due]
    now[0] = MOST_S
    due.append(gathering.is_due)
    gathering.take()
    due.append(gathering.is_due)
    gathering.add(Block("cam", np.array([0]), np.zeros((1, MOST_BYTES), np.uint8)))
    due.append(gathering.is_due)
    assert due == [False, True, False, True]
