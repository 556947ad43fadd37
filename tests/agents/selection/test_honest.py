"""What the selector draws by chance gives right estimates: through restarts, starvation and eviction, 2,000 seeds."""

import math

import numpy as np
import pytest

from sensorium.agents.selection.chance import evicted_down_to, rank
from sensorium.agents.selection.selector import Selector
from sensorium.episode.unit import Decision, Unit
from sensorium.perception.sampling import Estimate, mean, total, total_beside
from tests.agents.selection.test_selector import decided, policy, unit

UNITS = 400
SEEDS = 2000
KEPT = 40


def units_of_a_day() -> list[Unit]:
    """Novelty in bursts, stretches that are gated, and rules that starve what chance has."""
    rng = np.random.default_rng(0)
    novelty = np.where(rng.random(UNITS) < 0.3, rng.uniform(0.2, 0.9, UNITS), rng.uniform(0, 0.03, UNITS))
    return [unit(n, float(novelty[n]), float(rng.uniform(0, 0.03)), gate="noise" * (n % 50 == 0)) for n in range(UNITS)]


def decisions_of(units: list[Unit], seed: int) -> list[Decision]:
    """Half of the units before a restart, half behind."""
    chosen = policy(share=0.3, floor=0.5, burst_s=5.0, seed=seed)
    first = Selector(chosen, "spool")
    before = decided(first, units[: UNITS // 2])
    return [*before, *decided(Selector(chosen, "spool", first.state), units[UNITS // 2 :])]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_estimates_are_right_through_restarts_starvation_and_eviction() -> None:
    units = units_of_a_day()
    novelty = np.array([each.novelty["cam"] for each in units])
    f = 1.0 + 3.0 * novelty + np.random.default_rng(1).random(UNITS) / 5
    model = 1.0 + 2.5 * novelty
    off: dict[str, list[tuple[Estimate, float]]] = {"total": [], "mean": [], "beside": []}
    starved, evicted = 0, 0
    for seed in range(SEEDS):
        decisions = decisions_of(units, seed)
        p = np.array([each.p for each in decisions])
        there = p > 0
        starved += int((~there).sum()) - UNITS // 50
        drawn = [n for n, each in enumerate(decisions) if each.drawn]
        ranks = {n: rank(decisions[n].draw, decisions[n].p) for n in drawn}
        limit = sorted(ranks.values())[KEPT] if len(drawn) > KEPT else 1.0
        evicted += limit < 1.0
        left = np.array([n for n in drawn if ranks[n] < limit], np.int64)
        fallen = np.array([evicted_down_to(limit, float(p[n])) for n in left])
        off["total"].append((total(f[left], fallen), float(f[there].sum())))
        off["mean"].append((mean(f[left], fallen), float(f[there].mean())))
        beside = total_beside(f[left], fallen, model[left], float(model[there].sum()))
        off["beside"].append((beside, float(f[there].sum())))
    assert starved > SEEDS * 5
    assert evicted > SEEDS / 2
    for name, pairs in off.items():
        errors = np.array([estimate.value - true for estimate, true in pairs])
        assert abs(errors.mean()) < 3 * errors.std() / math.sqrt(SEEDS), name
        held = [e.interval[0] <= true <= e.interval[1] for e, true in pairs if e.interval is not None]
        assert len(held) > 0.95 * SEEDS
        assert 0.93 <= np.mean(held) <= 0.97, name
