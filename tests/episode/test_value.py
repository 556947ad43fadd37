"""What an episode is worth is read as it was said, and of what evictions tell p falls as it must."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.episode.value import NOTHING, Chance, Evicted, Worth, p_left
from sensorium.perception.sampling import total

drawn = st.floats(1e-12, 1).flatmap(lambda p: st.floats(0, p, exclude_max=True).map(lambda draw: Chance(draw, p)))
worths = st.builds(Worth, st.none() | st.floats(0, 1e300), st.none() | drawn)


@given(worths)
def test_a_worth_is_what_its_summary_said(worth: Worth) -> None:
    said = msgspec.msgpack.decode(msgspec.msgpack.encode({"health": {}, **worth.summary()}))
    assert Worth.of(said) == worth


@pytest.mark.parametrize(
    "summary",
    [
        {"value": float("nan")},
        {"value": "5"},
        {"value": True},
        {"chance": {"draw": 0.5, "p": 0.5}},
        {"chance": {"draw": 0.5}},
        {"chance": {"draw": -0.1, "p": 0.5}},
        {"chance": {"draw": 0.0, "p": float("inf")}},
        {"chance": 7},
    ],
)
def test_what_is_no_worth_counts_as_none(summary: dict[str, Any]) -> None:
    assert Worth.of(summary) == NOTHING


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 2**63), st.integers(0, 2**63))
def test_an_eviction_is_read_as_it_was_told(limit: float, first: int, last: int) -> None:
    told = Evicted(limit, first, last)
    assert Evicted.of(told.why) == told
    assert len(told.why) < 200


@given(st.text())
def test_other_reasons_tell_of_none(why: str) -> None:
    assert Evicted.of(why) is None


def test_totals_stay_right_where_some_ordinals_were_evicted_from_and_others_not() -> None:
    """Two in a hundred ordinals are left of each half; of the second half all that was drawn is there."""
    rng = np.random.default_rng(3)
    f = rng.random(400) + np.arange(400) / 200
    errors = []
    for _ in range(500):
        draws, p = rng.random(400), np.full(400, 0.2)
        units = [Chance(float(d), float(q)) for d, q in zip(draws, p, strict=True)]
        ranks = sorted(each.rank for each in units[:200] if each.rank < 1)
        evictions = [Evicted(limit, 0, 199) for limit in ranks[15:]]
        left = np.array([p_left(each, n, evictions) if each.rank < 1 else 0.0 for n, each in enumerate(units)])
        errors.append(total(f[left > 0], left[left > 0]).value - f.sum())
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors))
