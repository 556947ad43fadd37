"""The conformance suite of the planner contract, for whoever brings one.

    class TestMyPlanner(PlannerTests):
        def config(self):
            return MyPlannerConfig(boldness=2)

Needs pytest and hypothesis.
"""

import copy
import json
import math
import pickle
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.planner import Planner, PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.reachable import bare
from sensorium.drivers.controls import Control

_SHARED = [HealthCheck.differing_executors, HealthCheck.too_slow]
"""The tests are those of every class that inherits them."""
REACHES = (
    Reach(
        device="rover-1",
        controls=(
            Control(name="x_m", plan="viewpoint", unit="m", low=-2, high=2, cell=1, cost_s=1, cost_s_per_unit=2),
            Control(name="y_m", plan="viewpoint", unit="m", low=0, high=3, cell=1, cost_s_per_unit=2),
        ),
        whole={"mission": (Control(name="name", plan="mission", choices=("hall", "yard")),), "stop": ()},
    ),
    Reach(
        device="lab-1",
        controls=(
            Control(name="stage.x_mm", plan="measure", unit="mm", low=0, high=10, cell=2.5),
            Control(name="stage.instrument", plan="measure", choices=("probe", "spectrum"), cost_s=2),
        ),
    ),
)
_NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def episode_cards(draw_: st.DrawFn) -> list[EpisodeCard]:
    """Cards of any kind, near and far, with numbers of any kind, some of an episode that is known already."""
    found = []
    for number in range(draw_(st.integers(0, 12))):
        device = draw_(st.sampled_from(["rover-1", "lab-1", "another"]))
        at = {"rover-1": ("x_m", "y_m"), "lab-1": ("x_mm",)}.get(device, ())
        found.append(
            EpisodeCard(
                episode=f"e{draw_(st.integers(0, number))}",
                device=device,
                kind=draw_(st.sampled_from(["full", "full", "trace", "preview"])),
                mission=draw_(st.text(max_size=20)),
                start_ns=number * 10**9,
                end_ns=number * 10**9 + draw_(st.integers(0, 10**10)),
                stored_bytes=draw_(st.integers(0, 10**8)),
                where={name: draw_(st.floats(-1e3, 1e3) | _NUMBERS) for name in at if draw_(st.booleans())},
                labels=draw_(st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.booleans(), max_size=2)),
                verdicts=draw_(st.dictionaries(st.sampled_from(["health", "task"]), st.booleans(), max_size=2)),
                measured=draw_(st.dictionaries(st.sampled_from(["a.brightness", "b.motion", "c"]), _NUMBERS)),
                looks=tuple(draw_(st.lists(st.binary(min_size=8, max_size=8), max_size=2))),
            )
        )
    return found


class PlannerTests:
    """Tests of any planner. Whether it is of use is its author's to show: `sensorium plan report` does."""

    def config(self) -> PlannerConfig:
        """The configuration to test."""
        raise NotImplementedError(f"{type(self).__name__} must override config()")

    def reaches(self) -> Sequence[Reach]:
        """What can be asked for; override it for a planner of something special."""
        return REACHES

    def planner(self, seed: int = 0) -> Planner:
        """A new one."""
        return self.config().make(self.reaches(), seed)

    def test_configuration(self) -> None:
        config = self.config()
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        assert type(config).model_fields["kind"].default == config.kind
        assert pickle.loads(pickle.dumps(config)) == config
        with pytest.raises(ValidationError):
            type(config).model_validate({**config.model_dump(), "no_such_option": 1})

    @given(cards=episode_cards(), n=st.integers(0, 6), seed=st.integers(0, 3))
    @settings(max_examples=25, deadline=None, suppress_health_check=_SHARED)
    def test_what_it_proposes_is_sound_and_can_be_done(self, cards: list[EpisodeCard], n: int, seed: int) -> None:
        """Whatever the cards say: at most `n`, finite, of devices that there are, within what their controls say."""
        planner = self.planner(seed)
        for card in cards:
            planner.ingest(card)
        proposals = planner.suggest(n)
        assert isinstance(proposals, list)
        assert len(proposals) <= n
        for proposal in proposals:
            self._check(proposal)

    @given(cards=episode_cards(), seed=st.integers(0, 3))
    @settings(max_examples=15, deadline=None, suppress_health_check=_SHARED)
    def test_the_same_cards_and_seed_give_the_same_proposals(self, cards: list[EpisodeCard], seed: int) -> None:
        first, second = self.planner(seed), self.planner(seed)
        for card in cards:
            first.ingest(card)
            second.ingest(copy.deepcopy(card))
            assert _said(first.suggest(2)) == _said(second.suggest(2))
        assert _said(first.suggest(4)) == _said(second.suggest(4))

    @given(cards=episode_cards())
    @settings(max_examples=15, deadline=None, suppress_health_check=_SHARED)
    def test_what_it_reports_is_json(self, cards: list[EpisodeCard]) -> None:
        planner = self.planner()
        for card in cards:
            planner.ingest(card)
        report = planner.report()
        assert isinstance(json.loads(json.dumps(report)), dict)

    def test_where_nothing_can_be_asked_for_it_proposes_nothing(self) -> None:
        planner = self.config().make((), 0)
        planner.ingest(EpisodeCard(episode="e", device="rig"))
        assert planner.suggest(3) == []

    def _check(self, proposal: Proposal) -> None:
        assert msgspec.json.decode(msgspec.json.encode(proposal), type=Proposal) == proposal
        assert proposal.is_sound, proposal
        assert proposal.gain >= 0
        assert not proposal.id, "its adjudicator gives it one"
        reach = next((each for each in self.reaches() if each.device == proposal.device), None)
        assert reach is not None or not proposal.device, f"there is no device {proposal.device!r}"
        controls = {each.name: each for each in (reach.controls if reach else ())}
        if reach and proposal.plan in ("mission", "duration", "stop"):
            assert proposal.plan in reach.whole, f"{reach} is not to be asked for {proposal.plan}"
            controls = {each.name: each for each in reach.whole[proposal.plan]}
            assert set(proposal.parameters) == set(controls)
        for name, value in proposal.parameters.items() if reach else ():
            control = controls.get(name) or next((c for c in controls.values() if bare(c.name) == name), None)
            assert control is not None, f"{reach} has no control {name!r}"
            assert control.plan == proposal.plan
            if control.choices:
                assert value in control.choices
            elif control.plan == "mission":
                assert isinstance(value, str)
            else:
                assert isinstance(value, float | int)
                assert math.isfinite(value)
                assert control.low <= value <= control.high


def _said(proposals: list[Proposal]) -> list[bytes]:
    return [msgspec.json.encode(each) for each in proposals]
