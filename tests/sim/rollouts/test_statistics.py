"""Statistics of groups: what they are by definition, whatever the rewards; pass@k without bias."""

import itertools
import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.sim.rollouts.statistics import even_odds, group_statistics, pass_at

REWARDS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40)


@given(REWARDS)
def test_mean_and_deviation_are_those_of_the_sample(rewards: list[float]) -> None:
    found = group_statistics(rewards)
    exact = [Fraction(reward) for reward in rewards]
    mean = sum(exact) / len(exact)
    variance = sum((reward - mean) ** 2 for reward in exact) / (len(exact) - 1)
    assert found.mean == pytest.approx(float(mean), rel=1e-9, abs=1e-9)
    assert found.deviation == pytest.approx(float(variance) ** 0.5, rel=1e-6, abs=1e-9)
    assert found.deviation == pytest.approx(statistics.stdev(exact), rel=1e-6, abs=1e-9)


@given(REWARDS)
def test_advantages_are_centred_and_as_long_as_the_group(rewards: list[float]) -> None:
    found = group_statistics(rewards)
    assert len(found.advantages) == len(rewards)
    assert sum(found.advantages) == pytest.approx(0.0, abs=1e-6)
    if found.deviation and max(rewards) - min(rewards) > 1e-3:
        assert statistics.stdev(found.advantages) == pytest.approx(1.0, rel=1e-6)
        best = max(range(len(rewards)), key=rewards.__getitem__)
        assert found.advantages[best] == max(found.advantages)


@given(st.floats(-1e300, 1e300), st.integers(1, 50))
def test_where_all_are_equal_nobody_has_an_advantage(reward: float, n: int) -> None:
    found = group_statistics([reward] * n)
    assert found.advantages == (0.0,) * n
    assert (found.mean, found.deviation) == (reward, None if n == 1 else 0.0)


def test_of_nothing_nothing_is_known() -> None:
    assert group_statistics([]) == type(group_statistics([]))(0, None, None, ())


@given(st.integers(1, 8), st.data())
def test_pass_at_k_is_the_share_of_draws_with_one_that_passes(n: int, data: st.DataObject) -> None:
    passed, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(itertools.combinations(range(n), k))
    share = sum(any(index < passed for index in draw) for draw in draws) / len(draws)
    assert pass_at(k, n, passed) == pytest.approx(share)


def test_pass_at_k_is_not_known_from_fewer_than_k() -> None:
    assert pass_at(9, 8, 8) is None
    assert pass_at(1, 0, 0) is None


@given(st.integers(1, 200), st.data())
def test_odds_are_evenest_in_the_middle_and_never_nothing(n: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, n))
    assert 0 < even_odds(passed, n) <= even_odds(n // 2, n) + 1 / n
    assert even_odds(passed, n) == pytest.approx(even_odds(n - passed, n))
