"""Quotas hold after any number of windows, to within one."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.corpus.loaders.quotas import MOST_PARTS, Mix, shares
from sensorium.errors import ConfigError


@settings(deadline=None, max_examples=60)
@given(parts=st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_each_has_its_share_of_any_beginning(parts: list[int]) -> None:
    whole = sum(parts)
    queries, turns = Mix(tuple(parts)).at(np.arange(3 * whole))
    for query, part in enumerate(parts):
        had = np.cumsum(queries == query)
        asked = np.arange(1, 3 * whole + 1) * part / whole
        assert np.abs(had - asked).max() < 1
        assert np.array_equal(turns[queries == query], np.arange(3 * part)), "its turns are counted"


@settings(deadline=None, max_examples=60)
@given(parts=st.lists(st.integers(1, 40), min_size=1, max_size=6), data=st.data())
def test_where_a_turn_is(parts: list[int], data: st.DataObject) -> None:
    mix = Mix(tuple(parts))
    query = data.draw(st.integers(0, len(parts) - 1))
    turn = data.draw(st.integers(0, 10**12))
    position = mix.position(query, turn)
    assert [int(each[0]) for each in mix.at(np.array([position]))] == [query, turn]


@settings(deadline=None, max_examples=60)
@given(parts=st.lists(st.integers(1, 1000), min_size=1, max_size=5), scale=st.floats(1e-3, 1e3))
def test_quotas_in_any_unit_are_the_same_shares(parts: list[int], scale: float) -> None:
    found = shares([part * scale for part in parts])
    assert [Fraction(each, sum(found)) for each in found] == [Fraction(each, sum(parts)) for each in parts]


@pytest.mark.parametrize("quotas", [[0.0, 1.0], [-1.0], [float("nan"), 1.0], [float("inf")]])
def test_what_is_no_quota_says_so(quotas: list[float]) -> None:
    with pytest.raises(ConfigError, match="above 0"):
        shares(quotas)


def test_what_has_no_such_ratio_says_so() -> None:
    with pytest.raises(ConfigError, match="whole numbers"):
        shares([1.0, 2**0.5])
    with pytest.raises(ConfigError, match="whole numbers"):
        shares([1, MOST_PARTS])
    assert shares([1, MOST_PARTS - 1]) == (1, MOST_PARTS - 1)


def test_quotas_are_numbers_of_any_kind() -> None:
    quotas: list[Any] = [np.float32(0.75), np.float16(0.25), np.int64(1), Fraction(2)]
    assert shares(quotas) == (3, 1, 4, 8)
