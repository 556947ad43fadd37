"""Noise in rows: a fault comes once or twice, what is shaken again and again is not faulty."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.perception.row_faults import row_faults

ROWS, LASTS = 1200, 100


def noise_of(starts: list[int], times: float = 30.0, seed: int = 0) -> float:
    """What is said of noise where rows are so many `times` as noisy from each of `starts` on."""
    rows = np.random.default_rng(seed).normal(size=(ROWS, 2))
    for start in starts:
        rows[start : start + LASTS, 0] *= times
    found = row_faults(rows, None, True)
    assert found is not None
    assert found.noise is not None
    return found.noise


@pytest.mark.parametrize("starts", [[0], [150], [1100], [150, 700], [300, 400], [0, 1100]])
def test_noise_that_comes_once_or_twice_is_a_fault(starts: list[int]) -> None:
    assert noise_of(starts) > 1


@given(
    starts=st.sets(st.integers(0, 5), min_size=3).map(lambda which: [200 * each for each in which]),
    times=st.floats(1, 1000),
    seed=st.integers(0, 999),
)
def test_what_is_shaken_again_and_again_is_none(starts: list[int], times: float, seed: int) -> None:
    assert noise_of(starts, times, seed) < 1
