"""Estimates from what chance kept are right on average, and their intervals as often as they say."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.perception.sampling import FEW, Estimate, mean, mean_beside, total, total_beside

SEEDS = 2000
Floats = npt.NDArray[np.float64]


def world(units: int = 3000) -> tuple[Floats, Floats, Floats]:
    """Novelty of units in bursts, an f that goes with it, and p, which does not know either."""
    rng = np.random.default_rng(0)
    novelty = np.where(rng.random(units) < 0.2, rng.uniform(0.5, 2.0, units), 0.1 * rng.random(units))
    f = 1.0 + 2.0 * novelty + 0.3 * rng.random(units)
    p = np.clip(0.06 * (1.0 + 0.5 * np.sin(np.arange(units) / 90)), 0.0, 1.0)
    p[400:500] = 0.0  # starved
    return novelty, f, p


def kept(draws: Floats, p: Floats, most: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The units that are left after eviction down to `most`, and what p has fallen to."""
    drawn = np.flatnonzero(draws < p)
    ranks = draws[drawn] / p[drawn]
    limit = float(np.sort(ranks)[most]) if len(ranks) > most else 1.0
    left = drawn[ranks < limit]
    return left, p[left] * limit


@pytest.mark.parametrize("most", [10_000, 60])
def test_totals_and_means_over_2000_seeds(most: int) -> None:
    novelty, f, p = world()
    there = p > 0
    model, rng = 1.0 + 1.8 * novelty, np.random.default_rng(1)
    truth = {"total": f[there].sum(), "mean": f[there].mean()}
    found: dict[str, list[Estimate]] = {"total": [], "mean": [], "total beside": [], "mean beside": []}
    for _ in range(SEEDS):
        left, fallen = kept(rng.random(len(f)), p, most)
        found["total"].append(total(f[left], fallen))
        found["mean"].append(mean(f[left], fallen))
        found["total beside"].append(total_beside(f[left], fallen, model[left], float(model[there].sum())))
        found["mean beside"].append(mean_beside(f[left], fallen, model[left], float(model[there].mean())))
    for name, estimates in found.items():
        true = float(truth[name.split()[0]])
        values = np.array([each.value for each in estimates])
        error = values.std() / math.sqrt(SEEDS)
        # Hajek's ratio is off by its variance over the sum: by less than a draw's share
        assert abs(values.mean() - true) < 3 * error + (0.002 * true if name == "mean" else 0), name
        held = [each.interval[0] <= true <= each.interval[1] for each in estimates if each.interval is not None]
        assert len(held) == SEEDS
        assert 0.93 <= np.mean(held) <= 0.97, name
        claimed = math.sqrt(np.mean([each.error**2 for each in estimates]))
        assert claimed == pytest.approx(values.std(), rel=0.06), name
    assert np.std([e.value for e in found["total beside"]]) < 0.7 * np.std([e.value for e in found["total"]])


@given(st.integers(0, 60))
def test_no_interval_under_thirty_draws(draws: int) -> None:
    f, p = np.linspace(1, 2, draws), np.full(draws, 0.5)
    for estimate in (total(f, p), mean(f, p), total_beside(f, p, f, 1.0), mean_beside(f, p, f, 1.0)):
        assert estimate.draws == draws
        assert (estimate.interval is None) == (draws < FEW)


def test_what_was_certain_has_no_error() -> None:
    f = np.arange(40.0)
    assert total(f, np.ones(40))[:2] == (780.0, 0.0)
    assert mean(f, np.ones(40))[:2] == (19.5, 0.0)


def test_nothing_drawn_is_no_mean() -> None:
    none = np.empty(0)
    assert total(none, none)[:3] == (0.0, 0.0, 0)
    assert math.isnan(mean(none, none).value)


@pytest.mark.parametrize("p", [0.0, -0.1, 1.5, math.nan])
def test_what_cannot_have_been_drawn_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="within"):
        total(np.array([1.0]), np.array([p]))


def test_one_p_a_unit() -> None:
    with pytest.raises(ValueError, match="expected one of each"):
        mean(np.ones(3), np.ones(2))
