"""Descriptors stay with their samples, whatever is picked of a block."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.described import Described
from sensorium.drivers.stream import Block, StreamSpec

SPEC = StreamSpec(name="s", modality="imu", dtype="float64", shape=(1,))


def block(rows: list[int], n: int) -> Block:
    at = np.array(rows, np.int64)
    vectors = np.stack([at, at + 1], axis=1).astype(np.int8)
    described = Described("maker", at, vectors, np.stack([at, at], axis=1).astype(np.uint64))
    scores = {"one": np.arange(n, dtype=np.float64)}
    return Block("s", np.arange(n) + 100, np.zeros((n, 1)), scores=scores, described=described)


@given(data=st.data(), n=st.integers(0, 20))
def test_each_keeps_its_own(data: st.DataObject, n: int) -> None:
    rows = sorted(data.draw(st.sets(st.integers(0, n - 1)))) if n else []
    whole = block(rows, n)
    whole.check(SPEC)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), np.bool_)
    bounds = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    for picked in (mask, np.flatnonzero(mask), slice(*bounds)):
        part = whole.take(picked, 0)
        part.check(SPEC)
        assert part.described is not None
        stamps = part.captured_ns[part.described.rows] - 100
        assert stamps.tolist() == [row for row in rows if row in np.arange(n)[picked]]
        assert part.described.vectors[:, 0].tolist() == part.described.hashes[:, 1].tolist() == stamps.tolist()


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": np.array([0, 9])},
        {"rows": np.array([1, 1])},
        {"rows": np.array([-1, 1])},
        {"rows": np.array([0])},
        {"vectors": np.zeros((2, 3))},
        {"vectors": np.zeros(2, np.int8)},
        {"hashes": np.zeros((1, 2), np.uint64)},
    ],
)
def test_what_describes_no_samples_of_it_is_refused(changed: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "rows": np.array([0, 1]),
        "vectors": np.zeros((2, 3), np.int8),
        "hashes": np.zeros((2, 2), np.uint64),
    }
    Described("maker", **good).check(2)
    with pytest.raises(ValueError, match="descriptors by 'maker'"):
        Described("maker", **good | changed).check(2)


def test_a_score_is_one_number_a_sample() -> None:
    with pytest.raises(ValueError, match="score 'one'"):
        Block("s", np.arange(2), np.zeros((2, 1)), scores={"one": np.zeros(3)}).check(SPEC)
