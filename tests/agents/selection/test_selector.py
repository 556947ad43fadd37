"""Selection: the ceiling holds, a restart changes nothing, chance is honest, and each reason is the right one."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sensorium.agents.selection.budget import BYTES, DAY, MICRO, TIME, Purse
from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.chance import draw, evicted_down_to, rank
from sensorium.agents.selection.fleet_part import AMONG, MET, MET_NS, NEARLY
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.selector import Selector
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Decision, Unit, encoded
from sensorium.errors import Corrupt


def policy(share: float | None = 0.05, floor: float = 0.2, burst_s: float = 60.0, **fields: Any) -> SelectionPolicy:
    bytes_ = {name: fields.pop(name) for name in (BYTES, DAY) if name in fields}
    return SelectionPolicy(budget=SelectionBudget(share=share, floor=floor, burst_s=burst_s, **bytes_), **fields)


Levels = float | dict[str, float]


def unit(number: int, novelty: Levels = 0.0, change: Levels = 0.01, **fields: Any) -> Unit:
    """A second of the stream `cam`, or of those that are named."""
    start_ns = number * SECOND_NS
    default: dict[str, Any] = {
        "start_ns": start_ns,
        "end_ns": start_ns + SECOND_NS,
        "novelty": novelty if isinstance(novelty, dict) else {"cam": novelty},
        "change": change if isinstance(change, dict) else {"cam": change},
    }
    return Unit(**{**default, **fields})


def decided(selector: Selector, units: Sequence[Unit]) -> list[Decision]:
    return [*itertools.chain.from_iterable(map(selector.step, units)), *selector.finish()]


def run(chosen: SelectionPolicy, units: Sequence[Unit]) -> list[Decision]:
    return decided(Selector(chosen, "spool"), units)


FLEET_SCORES: list[dict[str, float]] = [
    {},
    {"cam.fleet": 0.1, AMONG: 3.0, NEARLY: 0.2},
    {"cam.fleet": 0.1, AMONG: 3.0, NEARLY: 0.2, MET: 1.0},
]
"""Of a device without a fleet; of one whose fleet nearly has all; and where another of it is too."""


@st.composite
def sequences(draw_: st.DrawFn) -> list[Unit]:
    """Units of any length, with gaps, restarts of the clock, and scores of any kind, in stretches, as they are."""
    units: list[Unit] = []
    at_ns, boot = draw_(st.integers(0, 10**12)), "a"
    stretches = st.tuples(
        st.integers(1, 60),
        st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0, math.nan, math.inf]),
        st.sampled_from([0.0, 0.01, 0.4, math.nan]),
        st.sampled_from([0.0, 1.0]),
        st.sampled_from([1, SECOND_NS // 30, SECOND_NS, 5 * SECOND_NS]),
        st.sampled_from([0, 0, 7, 100 * SECOND_NS]),
        st.sampled_from([0, 1, 1000, 10**6]),
        st.sampled_from(["", "", "noise"]),
        st.booleans(),
        st.sampled_from(FLEET_SCORES),
    )
    for count, novelty, change, wish, length_ns, gap_ns, size, gate, back, fleet in draw_(
        st.lists(stretches, max_size=6)
    ):
        if back:
            boot += "a"
            at_ns = draw_(st.integers(0, 10**12))
        for _ in range(count):
            start_ns = at_ns
            at_ns += length_ns
            units.append(
                Unit(
                    start_ns=start_ns,
                    end_ns=at_ns,
                    boot=boot,
                    novelty={"cam": novelty, "imu": novelty / 2},
                    change={"cam": change},
                    scores={"cam.wish": wish, **fleet},
                    gate=gate,
                    estimate_bytes=size,
                )
            )
            at_ns += gap_ns
    return units


@st.composite
def policies(draw_: st.DrawFn) -> SelectionPolicy:
    return policy(
        share=draw_(st.sampled_from([None, 0.0, 0.05, 0.5, 1.0])),
        bytes_per_s=draw_(st.sampled_from([0.0, 10.0, 1e4, 1e9])),
        floor=draw_(st.sampled_from([0.0, 0.2, 1.0])),
        burst_s=draw_(st.sampled_from([20.0, 60.0, 1000.0])),
        always=draw_(st.sampled_from([(), ("cam.wish = 1",)])),
        pre_roll_s=draw_(st.sampled_from([0.0, 2.0])),
        post_roll_s=draw_(st.sampled_from([0.0, 2.0])),
        seed=draw_(st.integers(0, 3)),
    )


@given(chosen=policies(), units=sequences())
@settings(max_examples=50, deadline=None)
def test_the_ceiling_is_never_overrun_beyond_its_burst(chosen: SelectionPolicy, units: list[Unit]) -> None:
    """In no stretch of units, from any to any other, is more kept than its time brings and the bucket holds."""
    decisions = run(chosen, units)
    assert [d.start_ns for d in decisions] == [u.start_ns for u in units]
    buckets = Purse(chosen.budget).buckets
    for name, bucket in buckets.items():
        most = 0.0
        before: Decision | None = None
        for decision in decisions:
            passed_ns = decision.cost_ns
            if name != TIME and before is not None and before.boot == decision.boot:
                passed_ns = decision.end_ns - before.end_ns
            before = decision
            cost = decision.cost_ns if name == TIME else decision.cost_bytes * MICRO
            # what the stretch spent over what it earned; a stretch begins with what the bucket holds
            most = max(most - bucket.per_s * passed_ns / SECOND_NS, 0) + (cost if decision.kept else 0)
            assert most <= bucket.capacity + 1


@given(chosen=policies(), units=sequences(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_restart_at_any_point_changes_nothing(
    chosen: SelectionPolicy, units: list[Unit], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(units)))
    first = Selector(chosen, "spool")
    before = [*itertools.chain.from_iterable(map(first.step, units[:at]))]
    second = Selector(chosen, "spool", first.state)
    after = decided(second, units[at:])
    assert [*map(encoded, before + after)] == [*map(encoded, run(chosen, units))]
    assert second.state == Selector(chosen, "spool", second.state).state


@given(chosen=policies(), units=sequences())
@settings(max_examples=20, deadline=None)
def test_logged_scores_give_the_same_decisions_byte_for_byte(chosen: SelectionPolicy, units: list[Unit]) -> None:
    logged = msgspec.msgpack.encode(units)
    again = SelectionPolicy.model_validate_json(chosen.model_dump_json())
    assert again.version == chosen.version
    replayed = run(again, msgspec.msgpack.decode(logged, type=list[Unit]))
    assert [*map(encoded, replayed)] == [*map(encoded, run(chosen, units))]


@given(chosen=policies(), units=sequences(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_chance_is_fixed_before_anything_of_a_unit_is_seen(
    chosen: SelectionPolicy, units: list[Unit], data: st.DataObject
) -> None:
    decisions = run(chosen, units)
    for decision, each in zip(decisions, units, strict=True):
        assert 0 <= decision.p <= 1
        assert decision.drawn == (decision.draw < decision.p)
        assert decision.kept or not decision.drawn
        assert decision.p == 0 or not each.gate
        assert decision.draw == draw(chosen.seed, "spool", each.boot, each.start_ns)
    if units:
        at = data.draw(st.integers(0, len(units) - 1))
        seen = {"cam.wish": 0.5, "cam.fleet": 0.7, MET: 1.0}
        other = msgspec.structs.replace(units[at], novelty={"cam": 0.777}, scores=units[at].scores | seen)
        changed = run(chosen, [*units[:at], other])
        assert changed[at].p == decisions[at].p


@pytest.mark.parametrize("at", [0, 5, 40])
def test_a_unit_has_the_same_chance_whatever_it_shows(at: int) -> None:
    chosen = policy(share=0.5, always=("cam.wish = 1",))
    quiet = [unit(n, 0.001, 0.001) for n in range(at)]
    shown = [unit(at, 0.9), unit(at, 0.0), unit(at, math.nan), unit(at, 0.0, scores={"cam.wish": 1})]
    found = [run(chosen, [*quiet, each])[-1] for each in shown]
    assert len({d.p for d in found}) == 1
    assert found[0].p > 0
    assert {d.reason for d in found} >= {"novelty", "always"}


def test_gates_come_before_rules_and_rules_before_novelty() -> None:
    chosen = policy(share=1.0, floor=0.0, never=("cam.noise > 4",), always=("cam.wish = 1", "cam.wish > 1"))
    scores: list[dict[str, float]] = [{"cam.noise": 5, "cam.wish": 1}, {"cam.wish": 2, "cam.noise": math.nan}, {}, {}]
    gates = ["", "", "", "frozen"]
    units = [unit(n, 0.9, scores=scores[n], gate=gates[n]) for n in range(4)]
    found = run(chosen, [unit(-1), *units])[1:]
    assert [(d.reason, d.by) for d in found] == [
        ("never", "cam.noise > 4"),
        ("always", "cam.wish > 1"),
        ("novelty", "cam"),
        ("never", "frozen"),
    ]
    assert [d.kept for d in found] == [False, True, True, False]


def test_no_reason_overruns_the_budget_and_what_was_wanted_says_so() -> None:
    found = run(policy(floor=0.0, always=("cam.wish = 1",)), [unit(n, scores={"cam.wish": 1}) for n in range(100)])
    assert [d.kept for d in found[:4]] == [True, True, True, False]
    assert sum(d.kept for d in found) == 3 + 4
    assert {d.reason for d in found if not d.kept} == {"budget"}


def test_a_still_camera_does_not_fill_its_share_with_copies() -> None:
    rng = np.random.default_rng(0)
    changes = np.abs(rng.normal(0.02, 0.005, 5000))
    found = run(policy(floor=0.0), [unit(n, float(changes[n - 1]), float(changes[n])) for n in range(5000)])
    assert sum(d.kept for d in found) < 25, "of 250 that it could have"
    drawn = run(policy(), [unit(n, float(changes[n - 1]), float(changes[n])) for n in range(5000)])
    assert 30 <= sum(d.reason == "floor" for d in drawn) <= 75, "a fifth of 250, by chance"


def test_chance_that_is_shared_is_divided_and_the_rest_goes_to_what_is_new() -> None:
    rng = np.random.default_rng(0)
    novelties = rng.random(8000)
    alone, shared = (
        run(policy(), [unit(n, float(novelties[n]), 0.02, scores=scores) for n in range(8000)])
        for scores in ({}, {"selection.among": 4.0})
    )
    drawn, fewer = (sum(d.drawn for d in found) for found in (alone, shared))
    assert 0.15 * drawn < fewer < 0.4 * drawn, "a quarter"
    assert abs(fewer - sum(d.p for d in shared)) < 4 * math.sqrt(fewer), "the p that is logged is that of the draw"
    assert sum(d.kept for d in shared) > 0.95 * sum(d.kept for d in alone)
    new = [sum(d.reason == "novelty" for d in found) for found in (alone, shared)]
    assert new[1] > 1.1 * new[0]
    small = run(policy(0.02), [unit(n, 0.5, 0.02, scores={"selection.among": 8.0}) for n in range(8000)])
    assert sum(d.p for d in small) > 0.3, "of a bucket that holds little more than a unit too"


def test_of_what_the_fleet_nearly_has_a_device_keeps_its_part_where_others_are() -> None:
    nearly = {AMONG: 4.0, NEARLY: 0.2, "cam.fleet": 0.1}
    novelties = np.random.default_rng(0).uniform(0.1, 0.2, 8000).tolist()

    def kept(scores: dict[str, float], first: dict[str, float] | None = None, floor: float = 0.0) -> int:
        told = [scores if n or first is None else first for n in range(8000)]
        found = run(policy(floor=floor), [unit(n, novelties[n], 0.02, scores=told[n]) for n in range(8000)])
        assert not [d for d in found if d.kept and d.reason not in ("novelty", "floor")]
        return sum(d.kept for d in found)

    all_ = kept({})
    assert 390 <= all_ <= 403
    assert 90 <= kept(nearly | {MET: 1.0}) <= 100, "a quarter of it, and nothing at first"
    assert kept(nearly) == all_, "no other is here"
    assert kept(nearly | {MET: 1.0, "cam.fleet": 0.2}) == all_, "it is new to the fleet"
    assert kept({AMONG: 4.0, MET: 1.0, "cam.fleet": 0.1}) == all_, "as a log of before says it"
    assert 90 <= kept(nearly | {MET: 1.0}, floor=0.2) <= 110, "what chance keeps comes out of the same part"
    on_its_own = kept(nearly, first=nearly | {MET: 1.0})
    missed = 0.05 * MET_NS / SECOND_NS
    assert all_ - 1.2 * missed < on_its_own < all_ - 0.5 * missed, "from ten minutes after it has met another"


def test_what_is_new_is_kept_all_the_same_and_what_is_nearly_had_waits_for_it() -> None:
    """A device that is first where others are spends all it has on what is new, and leaves the rest to them."""
    here = {AMONG: 2.0, NEARLY: 0.2, MET: 1.0}
    units = [
        unit(n, 0.9 if n % 10 == 0 else 0.15, 0.02, scores=here | {"cam.fleet": 0.9 if n % 10 == 0 else 0.15})
        for n in range(4000)
    ]
    found = run(policy(0.1, floor=0.0), units)
    kept = {d.start_ns // SECOND_NS % 10 for d in found if d.kept}
    assert kept == {0}
    assert sum(d.kept for d in found) > 395
    later = [unit(4000 + n, 0.9, 0.02, scores=here | {"cam.fleet": 0.15}) for n in range(400)]
    first = next(d for d in run(policy(0.1, floor=0.0), units + later)[4000:] if d.kept)
    assert 125 <= first.start_ns // SECOND_NS - 4000 <= 160, "a burst of 6 s is paid back at half of 0.1, then a unit"


def test_one_eventful_stream_among_dull_ones_keeps_its_events() -> None:
    rng = np.random.default_rng(1)
    n = 3000
    events = set(rng.choice(n, 120, replace=False).tolist())
    noise = np.abs(rng.normal(0.02, 0.006, (n, 8)))
    eventful = [0.4 if k in events else float(noise[k, 0]) for k in range(n)]

    def units(streams: int) -> list[Unit]:
        return [
            unit(
                k,
                novelty={f"s{s}": eventful[k] if s == 0 else float(noise[k, s]) for s in range(streams)},
                change={f"s{s}": float(noise[k, s]) for s in range(streams)},
            )
            for k in range(1, n)
        ]

    alone, beside = (
        {d.start_ns // SECOND_NS for d in run(policy(), units(streams)) if d.kept} & events for streams in (1, 8)
    )
    assert len(alone) > 60
    assert len(beside) >= 0.9 * len(alone)


def test_weights_and_streams_that_are_not_judged() -> None:
    novelty = {"cam": 0.3, "imu": 0.4, "mic": 0.9}
    chosen = policy(share=1.0, floor=0.0, streams={"cam": 2.0, "imu": 1.0})
    found = run(chosen, [unit(n, novelty=novelty, change=dict.fromkeys(novelty, 0.01)) for n in range(20)])
    assert {d.by for d in found} == {"cam"}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_budget_of_nothing_and_of_everything(share: float) -> None:
    found = run(policy(share=share, always=("cam.wish = 1",)), [unit(n, scores={"cam.wish": 1}) for n in range(200)])
    assert all(d.kept == (share == 1.0) for d in found)
    assert all(d.p == 0 for d in found) or share


def test_a_budget_that_changes_while_running() -> None:
    units = [unit(n, scores={"cam.wish": 1}) for n in range(400)]
    first = Selector(policy(share=0.5, floor=0.0, always=("cam.wish = 1",)), "spool")
    before = decided(first, units[:200])
    second = Selector(policy(share=0.05, floor=0.0, always=("cam.wish = 1",)), "spool", first.state)
    after = decided(second, units[200:])
    assert sum(d.kept for d in before) == 30 + 100 - 1
    assert sum(d.kept for d in after) <= 3 + 10
    assert before[0].policy != after[0].policy


def test_real_bytes_are_booked_and_a_debt_is_paid_first() -> None:
    chosen = policy(share=None, bytes_per_s=100.0, floor=0.0, always=("cam.wish = 1",))
    wanted: dict[str, Any] = {"scores": {"cam.wish": 1}, "estimate_bytes": 1000}
    first = [unit(n, **wanted) for n in range(6)]
    found = run(chosen, [*first, unit(6, **wanted, booked_bytes=3000), *(unit(n, **wanted) for n in range(7, 50))])
    assert [d.kept for d in found[:6]] == [True] * 6
    assert not any(d.kept for d in found[6:40]), "paid for by now"
    assert found[40].kept


def test_rolls_are_kept_as_far_as_the_budget_goes_and_carry_no_weight() -> None:
    chosen = policy(share=0.1, floor=0.0, pre_roll_s=2.0, post_roll_s=1.0, always=("cam.wish = 1",))
    wishes = {50, 52}
    found = run(chosen, [unit(n, scores={"cam.wish": float(n in wishes)}) for n in range(60)])
    assert {d.start_ns // SECOND_NS: d.reason for d in found if d.kept} == {
        48: "roll",
        49: "roll",
        50: "always",
        51: "roll",
        52: "always",
        53: "roll",
    }
    assert not any(d.drawn for d in found)
    gated = run(chosen, [unit(n, scores={"cam.wish": float(n == 50)}, gate="noise" * (n == 49)) for n in range(60)])
    assert {d.start_ns // SECOND_NS for d in gated if d.kept} == {50, 51}, "no roll reaches over what is gated"


def test_decisions_come_in_order_as_soon_as_no_pre_roll_can_claim_them() -> None:
    selector = Selector(policy(pre_roll_s=2.0), "spool")
    came = [[d.start_ns // SECOND_NS for d in selector.step(unit(n))] for n in range(5)]
    assert came == [[], [], [0], [1], [2]]
    assert [d.start_ns // SECOND_NS for d in selector.finish()] == [3, 4]
    back = selector.step(unit(0, boot="next"))
    assert back == []


def test_a_tie_is_broken_by_a_draw_that_is_logged() -> None:
    quiet = [unit(n, 0.0, 0.0) for n in range(40)]
    # a score of just 3 spreads, the least threshold; 3 * 0.005 is what floats make of it
    found = run(policy(share=1.0, floor=0.0), [*quiet, *(unit(n, 3 * 0.005, math.nan) for n in range(40, 240))])[40:]
    tied = [d for d in found if d.score == d.threshold]
    assert len(tied) == 200
    assert all(d.tie == draw(0, "spool", "", d.start_ns, "tie") for d in tied)
    assert all(d.kept == (d.tie < 0.5) for d in tied)
    assert 70 < sum(d.kept for d in tied) < 130


def test_what_is_not_a_state_is_refused() -> None:
    with pytest.raises(Corrupt, match="state of selection"):
        Selector(policy(), "spool", b"\xc1nothing")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"budget": {}}, "at least one of share"),
        ({"budget": {"share": 0.01}}, "burst_s of at least 100"),
        ({"budget": {"share": 0.5}, "never": ["front.noise >"]}, "condition"),
        ({"budget": {"share": 0.5}, "always": ["front.noise = 'loud'"]}, "compares text with a number"),
        ({"budget": {"share": 1.5}}, "less than or equal to 1"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SelectionPolicy(**fields)


def test_draws_are_even_and_eviction_by_rank_lowers_p_alike() -> None:
    draws = np.array([draw(0, "spool", "boot", n) for n in range(20_000)])
    assert abs(draws.mean() - 0.5) < 0.01
    assert abs(np.mean(draws < 0.01) - 0.01) < 0.003
    p = np.where(np.arange(20_000) % 2, 0.2, 0.05)
    drawn = draws < p
    ranks = np.array([rank(float(u), float(q)) for u, q in zip(draws, p, strict=True)])
    limit = 0.5
    left = drawn & (ranks < limit)
    fallen = np.array([evicted_down_to(limit, float(q)) for q in p])
    assert abs((1 / fallen[left]).sum() - 20_000) < 1500, "as many as there were"


def test_a_bucket_of_less_than_two_units_lets_all_reasons_spend() -> None:
    budget = SelectionBudget(share=0.05, burst_s=20)
    purse = Purse(budget)
    costs = {TIME: SECOND_NS, BYTES: 0, DAY: 0}
    assert purse.affords(costs)
    assert purse.chance(costs, SECOND_NS) > 0
