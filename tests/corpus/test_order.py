"""The shuffle is a permutation of any number of things, that its key alone decides."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.corpus.order import Shuffle

PINNED = [7, 1, 6, 4, 5, 9, 2, 8, 0, 3]


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 5000), key=st.binary(max_size=8))
def test_each_number_comes_once(count: int, key: bytes) -> None:
    numbers = Shuffle(count, key).at(np.arange(count))
    assert np.array_equal(np.sort(numbers), np.arange(count))


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 1 << 62), key=st.binary(max_size=8), data=st.data())
def test_a_position_is_found_alone(count: int, key: bytes, data: st.DataObject) -> None:
    """Of as many as there may be, nothing is listed; and no two positions have one number."""
    some = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=20, unique=True))
    together = Shuffle(count, key).at(np.array(some))
    assert len(set(together.tolist())) == len(some)
    assert 0 <= together.min() <= together.max() < count
    alone = [int(Shuffle(count, key).at(np.array([each]))[0]) for each in some]
    assert alone == together.tolist()


def test_it_is_this_one_for_ever() -> None:
    """A position that was saved is of this order: another one would need another version of the state."""
    assert Shuffle(10, b"key").at(np.arange(10)).tolist() == PINNED
    assert Shuffle(10, b"yek").at(np.arange(10)).tolist() != PINNED


def test_it_looks_drawn() -> None:
    """Neighbours are as far apart as if drawn, and no half of the positions prefers a half of the numbers."""
    count = 100_000
    numbers = Shuffle(count, b"any").at(np.arange(count))
    apart = np.abs(np.diff(numbers)).mean() / count
    assert abs(apart - 1 / 3) < 0.01
    assert abs(numbers[: count // 2].mean() / count - 0.5) < 0.01
    assert abs(np.corrcoef(np.arange(count), numbers)[0, 1]) < 0.02
    parity = (numbers[:-1] ^ numbers[1:]) & 1
    assert abs(parity.mean() - 0.5) < 0.01
