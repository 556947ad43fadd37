"""The conformance suite of the policy contract, for whoever brings one.

    class TestMyPolicy(PolicyTests):
        def config(self):
            return MyPolicyConfig(every=20)

Needs pytest and hypothesis.
"""

import itertools
import math
import pickle
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sensorium.agents.selection.budget import MICRO, TIME, Purse
from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.chance import draw
from sensorium.agents.selection.chooser import decider
from sensorium.agents.selection.contract import Policy
from sensorium.agents.selection.policy import PolicyConfig, SelectionPolicy
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Decision, Unit, encoded

SPOOL = "spool"
SHARED = [HealthCheck.differing_executors]
"""The tests are those of every class that inherits them."""


@st.composite
def unit_sequences(draw_: st.DrawFn) -> list[Unit]:
    """Units of any length, with gaps, restarts of the clock, and scores of any kind, in stretches, as they are."""
    units: list[Unit] = []
    at_ns, boot = draw_(st.integers(0, 10**12)), "a"
    stretches = st.tuples(
        st.integers(1, 40),
        st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0, math.nan, math.inf]),
        st.sampled_from([0.0, 0.01, 0.4, math.nan]),
        st.sampled_from([1, SECOND_NS // 30, SECOND_NS, 5 * SECOND_NS]),
        st.sampled_from([0, 0, 7, 100 * SECOND_NS]),
        st.sampled_from([0, 1, 1000, 10**6]),
        st.sampled_from(["", "", "noise"]),
        st.booleans(),
    )
    for count, novelty, change, length_ns, gap_ns, size, gate, back in draw_(st.lists(stretches, max_size=5)):
        if back:
            boot += "a"
            at_ns = draw_(st.integers(0, 10**12))
        for _ in range(count):
            units.append(
                Unit(
                    start_ns=at_ns,
                    end_ns=at_ns + length_ns,
                    boot=boot,
                    novelty={"cam": novelty, "imu": novelty / 2},
                    change={"cam": change},
                    scores={"cam.noise": novelty},
                    gate=gate,
                    estimate_bytes=size,
                )
            )
            at_ns += length_ns + gap_ns
    return units


budgets = st.builds(
    SelectionBudget,
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    bytes_per_s=st.sampled_from([None, 0.0, 10.0, 1e4, 1e9]),
    floor=st.sampled_from([0.0, 0.2, 1.0]),
    burst_s=st.sampled_from([20.0, 60.0, 1000.0]),
)


class PolicyTests:
    """Tests of any policy. Whether what it keeps is of use is its author's to show: `sensorium policy replay` does."""

    def config(self) -> PolicyConfig:
        """The configuration to test."""
        raise NotImplementedError(f"{type(self).__name__} must override config()")

    def policy(self, budget: SelectionBudget, seed: int = 0) -> SelectionPolicy:
        """With this budget; override it for rolls or rules."""
        return SelectionPolicy(budget=budget, seed=seed, decided_by=self.config())

    def test_configuration(self) -> None:
        config = self.config()
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        assert type(config).model_fields["kind"].default == config.kind
        assert pickle.loads(pickle.dumps(config)) == config, "an agent may be sent to another process"
        with pytest.raises(ValidationError):
            type(config).model_validate({**config.model_dump(), "no_such_option": 1})

    @given(budget=budgets, units=unit_sequences(), seed=st.integers(0, 3))
    @settings(max_examples=20, deadline=None, suppress_health_check=SHARED)
    def test_every_unit_is_decided_of_once_in_order(
        self, budget: SelectionBudget, units: list[Unit], seed: int
    ) -> None:
        """With a probability that was honest, and never kept behind a gate."""
        chosen = self.policy(budget, seed)
        for unit, each in zip(units, self._run(chosen, units), strict=True):
            assert (each.start_ns, each.end_ns, each.boot) == (unit.start_ns, unit.end_ns, unit.boot)
            assert (each.cost_ns, each.cost_bytes) == (unit.length_ns, unit.estimate_bytes)
            assert each.policy == chosen.version
            assert each.reason
            assert each.draw == draw(seed, SPOOL, unit.boot, unit.start_ns)
            assert 0 <= each.p <= 1
            assert each.drawn == (each.draw < each.p)
            assert each.kept or not each.drawn, "what is drawn is kept"
            assert not (unit.gate and (each.kept or each.p)), "what is gated is never kept, nor drawn"

    @given(budget=budgets, units=unit_sequences())
    @settings(max_examples=20, deadline=None, suppress_health_check=SHARED)
    def test_the_ceiling_is_never_overrun_beyond_its_burst(self, budget: SelectionBudget, units: list[Unit]) -> None:
        """In no stretch of units is more kept than its time brings and the bucket holds."""
        decisions = self._run(self.policy(budget), units)
        for name, bucket in Purse(budget).buckets.items():
            most, before = 0.0, None
            for each in decisions:
                passed_ns = each.cost_ns
                if name != TIME and before is not None and before.boot == each.boot:
                    passed_ns = each.end_ns - before.end_ns
                before = each
                cost = each.cost_ns if name == TIME else each.cost_bytes * MICRO
                most = max(most - bucket.per_s * passed_ns / SECOND_NS, 0) + (cost if each.kept else 0)
                assert most <= bucket.capacity + 1, name

    @given(budget=budgets, units=unit_sequences(), data=st.data())
    @settings(max_examples=15, deadline=None, suppress_health_check=SHARED)
    def test_a_restart_at_any_point_changes_nothing(
        self, budget: SelectionBudget, units: list[Unit], data: st.DataObject
    ) -> None:
        chosen = self.policy(budget)
        at = data.draw(st.integers(0, len(units)))
        first = decider(chosen, SPOOL)
        before = [*itertools.chain.from_iterable(map(first.step, units[:at]))]
        second = decider(chosen, SPOOL, first.state)
        assert list(map(encoded, second.waiting)) == list(map(encoded, first.waiting))
        after = [*itertools.chain.from_iterable(map(second.step, units[at:])), *second.finish()]
        assert [*map(encoded, before + after)] == [*map(encoded, self._run(chosen, units))]

    @given(budget=budgets, units=unit_sequences().filter(bool), data=st.data())
    @settings(max_examples=15, deadline=None, suppress_health_check=SHARED)
    def test_chance_knows_nothing_of_what_a_unit_shows(
        self, budget: SelectionBudget, units: list[Unit], data: st.DataObject
    ) -> None:
        at = data.draw(st.integers(0, len(units) - 1))
        other = msgspec.structs.replace(units[at], novelty={"cam": 0.777}, change={}, scores={"cam.noise": 0.5})
        chosen = self.policy(budget)
        assert self._run(chosen, [*units[:at], other])[at].p == self._run(chosen, units[: at + 1])[at].p

    @given(units=unit_sequences())
    @settings(max_examples=10, deadline=None, suppress_health_check=SHARED)
    def test_a_budget_of_nothing_keeps_nothing(self, units: list[Unit]) -> None:
        decisions = self._run(self.policy(SelectionBudget(share=0.0)), units)
        assert not any(each.kept or each.p for each in decisions)

    def _run(self, chosen: SelectionPolicy, units: Sequence[Unit]) -> list[Decision]:
        opened: Policy = decider(chosen, SPOOL)
        found: list[Decision] = []
        for number, unit in enumerate(units):
            found += opened.step(unit)
            assert len(found) + len(opened.waiting) == number + 1, "a unit is final or waits"
        return found + opened.finish()
