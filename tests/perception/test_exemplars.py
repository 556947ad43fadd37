"""Exemplars say what the plain formulas say, hold what is most apart, and are the same after a restart."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.drivers.described import Vectors
from sensorium.perception.exemplars import Exemplars

SMALL = st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=30)
"""So few numbers that many vectors are the same, or point the same way, or have no length."""


def cosine(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    lengths = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / lengths) if lengths else float((one @ one) == (other @ other))


def plain(vectors: Vectors, capacity: int) -> list[list[int]]:
    """One after the other; of the closest pairs the oldest goes, found anew each time."""
    held: list[npt.NDArray[np.float64]] = []
    for vector in vectors.astype(np.float64):
        held.append(vector)
        if len(held) > capacity:
            pairs = [[cosine(a, b) if i != j else -2 for j, b in enumerate(held)] for i, a in enumerate(held)]
            closest = [max(row) for row in pairs]
            held.pop(closest.index(max(closest)))
    return [[int(value) for value in vector] for vector in held]


@settings(max_examples=150, deadline=None)
@given(numbers=SMALL, capacity=st.integers(1, 6))
def test_the_older_of_the_closest_pair_goes(numbers: list[list[int]], capacity: int) -> None:
    vectors = np.array(numbers, np.int8)
    known = Exemplars("m", 3, capacity)
    for vector in vectors:
        known.add(vector)
    assert known.vectors.tolist() == plain(vectors, capacity)
    assert len(known) == min(len(vectors), capacity)


@settings(max_examples=60, deadline=None)
@given(numbers=SMALL, more=SMALL, capacity=st.integers(1, 6))
def test_a_restart_changes_nothing(numbers: list[list[int]], more: list[list[int]], capacity: int) -> None:
    known, again = Exemplars("m", 3, capacity), Exemplars("m", 3, capacity)
    for vector in np.array(numbers, np.int8):
        known.add(vector)
    for vector in known.vectors:
        again.add(vector)
    for vector in np.array(more, np.int8):
        assert known.novelty(vector[None]).tobytes() == again.novelty(vector[None]).tobytes()
        known.add(vector)
        again.add(vector)
    assert known.vectors.tolist() == again.vectors.tolist()


def test_novelty_is_one_minus_the_greatest_cosine() -> None:
    random = np.random.default_rng(0)
    seen, asked = (random.integers(-127, 128, (n, 512)).astype(np.int8) for n in (40, 30))
    known = Exemplars("m", 512)
    assert known.novelty(asked).tolist() == [1.0] * 30
    for vector in seen:
        known.add(vector)
    exact = [1 - max(cosine(a.astype(np.float64), b.astype(np.float64)) for b in seen) for a in asked]
    assert known.novelty(asked).tolist() == exact, "to the last bit: all sums are of whole numbers"
    assert known.novelty(seen).tolist() == [0.0] * 40


def test_what_is_apart_stays_when_copies_come() -> None:
    known = Exemplars("m", 64, capacity=8)
    corners = (np.eye(64)[:8] * 100).astype(np.int8)
    for vector in corners:
        known.add(vector)
    for _ in range(100):
        known.add(corners[3])
    assert known.novelty(corners).tolist() == [0.0] * 8


def test_vectors_of_another_size_are_refused() -> None:
    known = Exemplars("m", 4)
    for call in (lambda: known.add(np.zeros(3, np.int8)), lambda: known.novelty(np.zeros((1, 5), np.int8))):
        with pytest.raises(ValueError, match="'m'"):
            call()
