"""Estimates: right through restarts, starvation and eviction, 2,000 seeds; from a store; with what is outside."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.corpus.estimate import Estimated, estimated, numbers, value_of
from sensorium.corpus.traces import TracedUnit, traced
from sensorium.episode.unit import Decision, Judged, Unit
from sensorium.episode.value import Chance, Evicted, p_left
from sensorium.errors import ConfigError
from sensorium.perception.sampling import Estimate
from tests.agents.selection.test_honest import KEPT, SEEDS, decisions_of, units_of_a_day


def f_of(unit: TracedUnit) -> float:
    """What is to be estimated: correlated with novelty, and with something that nothing tells of."""
    hidden = np.random.default_rng(unit.start_ns % (1 << 32)).random() / 5
    return 1.0 + 3.0 * unit.judged.unit.novelty["cam"] + float(hidden)


def a_day(units: Sequence[Unit], seed: int) -> tuple[list[TracedUnit], list[Evicted]]:
    """A trace with a restart in the middle, starved and gated units, and an eviction down to `KEPT` drawn ones."""
    decisions = decisions_of(list(units), seed)
    judged = [Judged(unit=unit, decision=decision) for unit, decision in zip(units, decisions, strict=True)]
    ranks = sorted(Chance(each.draw, each.p).rank for each in decisions if each.drawn)
    evicted = [Evicted(ranks[KEPT], 0, 0)] if len(ranks) > KEPT else []
    return list(traced(judged, device="rig", spool_id="spool")), evicted


def left_of(evicted: Sequence[Evicted]) -> Any:
    return lambda unit: p_left(Chance(unit.judged.decision.draw, unit.judged.decision.p), 0, evicted)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_estimates_are_right_through_restarts_starvation_and_eviction() -> None:
    units = units_of_a_day()
    f = np.array([f_of(each) for each in traced(Judged(unit=unit, decision=NONE) for unit in units)])
    by_start = {unit.start_ns: value for unit, value in zip(units, f.tolist(), strict=True)}
    names = ("total", "mean", "total_beside", "mean_beside")
    off: dict[str, list[tuple[Estimate, float]]] = {name: [] for name in names}
    starved, evictions = 0, 0
    for seed in range(SEEDS):
        day, evicted = a_day(units, seed)
        there = np.array([each.judged.decision.p > 0 for each in day])
        starved += int((~there).sum()) - len(units) // 50
        evictions += len(evicted)
        found = estimated(day, lambda unit: by_start[unit.start_ns], left_of(evicted))
        true = {"total": float(f[there].sum()), "mean": float(f[there].mean())}
        for name in names:
            off[name].append((getattr(found, name), true[name.removesuffix("_beside")]))
        assert found.units == there.sum()
        assert sum(found.outside.values()) == pytest.approx(1 - there.mean())
    assert starved > SEEDS * 5
    assert evictions > SEEDS / 2
    for name, pairs in off.items():
        errors = np.array([each.value - true for each, true in pairs])
        assert abs(errors.mean()) < 3 * errors.std() / math.sqrt(SEEDS), name
        held = [each.interval[0] <= true <= each.interval[1] for each, true in pairs if each.interval is not None]
        assert len(held) > 0.95 * SEEDS
        assert 0.93 <= np.mean(held) <= 0.97, name
    wide = {name: np.std([each.value - true for each, true in pairs]) for name, pairs in off.items()}
    assert wide["total_beside"] < wide["total"] / 3, "scores help"
    assert wide["mean_beside"] < wide["mean"]


def decision(number: int, p: float, draw: float, reason: str = "dull") -> Decision:
    return Decision(
        start_ns=number * 10**9, end_ns=(number + 1) * 10**9, boot="", kept=draw < p, reason=reason, by="", score=0.0,
        threshold=3.0, p=p, draw=draw, drawn=draw < p, tie=-1.0, policy="", cost_ns=10**9, cost_bytes=0,
    )  # fmt: skip


NONE = decision(0, 0.0, 0.5)


def units_with(decisions: Sequence[Decision], scores: Sequence[dict[str, float]] = ()) -> list[TracedUnit]:
    judged = [
        Judged(unit=Unit(start_ns=each.start_ns, end_ns=each.end_ns, scores=scores[n] if scores else {}), decision=each)
        for n, each in enumerate(decisions)
    ]
    return list(traced(judged, device="rig", spool_id="spool"))


def stored(unit: TracedUnit) -> float:
    return unit.judged.decision.p


def test_what_is_outside_is_told_as_a_share_of_time() -> None:
    units = units_with(
        [
            *(decision(n, 0.5, 0.1) for n in range(4)),
            *(decision(n, 0.0, 0.9, "never") for n in range(4, 6)),
            *(decision(n, 0.0, 0.9) for n in range(6, 7)),
            *(decision(n, 0.5, 0.6) for n in range(7, 9)),
        ]
    )
    units.append(msgspec.structs.replace(units[-1], count=3))
    lost = {0, 1}
    found = estimated(units, lambda _: 2.0, lambda unit: None if unit.start_ns // 10**9 in lost else stored(unit))
    assert found.outside == pytest.approx({"gated": 0.2, "no budget": 0.1, "merged": 0.1, "lost": 0.4})
    assert (found.units, found.mean.draws, found.mean.value) == (6, 2, 2.0)
    assert found.total.value == 2 * 2.0 / 0.5
    assert "gated 20.0%, no budget 10.0%, merged 10.0%, lost 40.0% of the time" in str(found)
    assert "too few for an interval" in str(found)
    assert found.as_dict()["outside"]["gated"] == pytest.approx(0.2)


def test_f_is_asked_of_drawn_units_that_are_there_alone() -> None:
    asked: list[int] = []

    def f(unit: TracedUnit) -> float:
        asked.append(unit.start_ns // 10**9)
        return 1.0

    units = units_with([decision(0, 0.5, 0.1), decision(1, 0.5, 0.7), decision(2, 0.5, 0.2), decision(3, 0.5, 0.3)])
    left: dict[int, float | None] = {0: 0.5, 2: None, 3: 0.0}
    estimated(units, f, lambda unit: left[unit.start_ns // 10**9])
    assert asked == [0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        estimated(units_with([decision(0, 1.0, 0.1)]), lambda _: value, stored)


def test_nothing_drawn_is_said() -> None:
    for units in ([], units_with([decision(0, 0.5, 0.9)])):
        found = estimated(units, lambda _: 1.0, stored)
        assert math.isnan(found.mean.value)
        assert "unknown: nothing was drawn" in str(found)


def test_numbers_of_the_trace_can_be_named() -> None:
    units = units_with([decision(0, 1.0, 0.1), decision(1, 1.0, 0.1)], [{"cam.noise": 3.0}, {"cam.noise": math.nan}])
    assert set(numbers(units[0].judged)) == {"score", "cam.noise"}
    assert estimated(units, value_of("cam.noise", units), stored).total.value == 3.0
    with pytest.raises(ConfigError, match="said of no unit, did you mean"):
        value_of("cam.nois", units)


def test_of_a_condition_over_them_the_mean_is_the_share_of_units() -> None:
    """What a unit lacks, or is NaN, is NULL, of which nothing is true."""
    scores: list[dict[str, float]] = [{"cam.noise": 3.0}, {"cam.noise": 1.0}, {"cam.noise": math.nan}, {}]
    units = units_with([decision(n, 1.0, 0.1) for n in range(4)], scores)
    for text, share in (("cam.noise > 2", 0.25), ("not cam.noise > 2", 0.25), ("cam.noise is null or score = 0", 1.0)):
        assert estimated(units, value_of(text, units), stored).mean.value == share
    with pytest.raises(ConfigError, match=r"unknown column 'cam.nois'; did you mean 'cam.noise'"):
        value_of("cam.nois > 2", units)
    with pytest.raises(ConfigError, match="expected"):
        value_of("cam.noise >", units)


def test_when_all_is_drawn_the_estimate_is_what_there_is() -> None:
    rng = np.random.default_rng(0)
    scores = [{"cam.noise": float(value)} for value in rng.random(60)]
    units = units_with([decision(n, 1.0, 0.1) for n in range(60)], scores)
    found: Estimated = estimated(units, value_of("cam.noise", units), stored)
    true = sum(each["cam.noise"] for each in scores)
    for each, expected in ((found.total, true), (found.mean, true / 60)):
        assert each.value == pytest.approx(expected)
        assert each.error == 0
    assert found.total_beside.value == pytest.approx(true)
    assert found.mean_beside.value == pytest.approx(true / 60)
