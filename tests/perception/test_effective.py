"""Effective episodes and coverage: copies change nothing, and greedy k-centre is what its author proved it to be."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.perception.coverage import coverage, k_centre, regret, unit_vectors
from sensorium.perception.effective import effective_episodes, representatives, vendi


def vectors(seed: int, n: int = 40, d: int = 12) -> npt.NDArray[np.int8]:
    return np.random.default_rng(seed).integers(-127, 128, (n, d)).astype(np.int8)


copies = st.lists(st.integers(0, 39), max_size=200)


@given(seed=st.integers(0, 20), copied=copies, order=st.randoms())
@settings(max_examples=50, deadline=None)
def test_copying_any_episodes_any_number_of_times_changes_nothing(seed: int, copied: list[int], order: Any) -> None:
    each = vectors(seed)
    cells = [{number // 3, number % 5} for number in range(len(each))]
    rows = [*range(len(each)), *copied]
    order.shuffle(rows)
    mean = np.linspace(-0.1, 0.1, each.shape[1])
    assert effective_episodes(each[rows], mean) == effective_episodes(each, mean)
    chosen = [place for place, row in enumerate(rows) if row < 20]
    assert coverage([cells[row] for row in rows], chosen) == coverage(cells, range(20))


def test_near_copies_are_copies_too() -> None:
    each = vectors(1, 30, 64)
    near = each[np.arange(300) % 30].astype(np.int64) + np.random.default_rng(2).integers(-3, 4, (300, 64))
    assert len(representatives(each)) == 30
    both = np.concatenate([each, np.clip(near, -127, 127).astype(np.int8)])
    assert effective_episodes(both) == pytest.approx(effective_episodes(each), rel=0.01)
    assert vendi(both[:0]) == 0.0


@given(seed=st.integers(0, 50), n=st.integers(1, 40), d=st.integers(2, 30))
@settings(max_examples=50, deadline=None)
def test_vendi_is_the_entropy_of_the_whole_kernel(seed: int, n: int, d: int) -> None:
    unit = unit_vectors(vectors(seed, n, d))
    values = np.linalg.eigvalsh(unit @ unit.T / n)
    values = values[values > 1e-12]
    assert vendi(vectors(seed, n, d)) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-6)
    assert 1 - 1e-9 <= vendi(vectors(seed, n, d)) <= n + 1e-9


def test_what_all_have_in_common_says_nothing() -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(0, 1, 32)
    alike = common + 0.1 * rng.normal(0, 1, (50, 32))
    mean = unit_vectors(common[None])[0]
    assert vendi(alike) < 2 < 15 < vendi(alike, mean)


@given(seed=st.integers(0, 200), k=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_no_choice_has_less_than_half_the_radius(seed: int, k: int) -> None:
    unit = unit_vectors(vectors(seed, 9, 3))
    chosen = k_centre(unit, k)
    assert len(set(chosen.tolist())) == k
    chords = np.linalg.norm(unit[:, None] - unit[None], axis=2)
    ours = chords[:, chosen].min(axis=1).max()
    rng = np.random.default_rng(seed)
    for _ in range(200):
        other = rng.choice(9, k, replace=False)
        assert ours <= 2 * chords[:, other].min(axis=1).max() + 1e-9


def test_k_centre_of_copies_and_of_few() -> None:
    same = np.ones((4, 3), np.int8)
    assert sorted(k_centre(same, 9).tolist()) == [0, 1, 2, 3]
    assert k_centre(same, 0).tolist() == []
    assert k_centre(same[:0], 3).tolist() == []


def test_regret_is_what_hindsight_would_have_had_more() -> None:
    spots = unit_vectors(vectors(5, 12, 6))
    cells = [{number} for number in range(12)]
    assert regret(cells, spots, range(6)) == 0.0
    assert regret(cells, spots, [0, 0, 1, 1]) == 0.0, "copies are no choice"
    assert regret([{0}] * 11 + [{1}], np.repeat([[1, 0], [0, 1]], [11, 1], axis=0), [0, 1]) == 0.5
