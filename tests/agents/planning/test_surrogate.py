"""The planner `surrogate` over stages of its own: what it asks for, what it learns, what it makes of hostile cards."""

import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.planner import Planner, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.stage import MeasuringStage
from sensorium.agents.planning.surrogate import SurrogateConfig
from sensorium.agents.planning.testing import PlannerTests
from sensorium.drivers.controls import Control

Asked = Mapping[str, object]
Measure = Callable[[Mapping[str, object]], dict[str, float]]

U = Control(name="u_um", plan="measure", unit="um", low=-500.0, high=1500.0, cell=100, cost_s_per_unit=0.001)
V = Control(name="v_um", plan="measure", unit="um", low=0.0, high=1000.0, cell=100, cost_s_per_unit=0.001)
TOOL = Control(name="tool", plan="measure", choices=("raman", "afm"), cost_s=2.0)
DWELL = Control(name="dwell_s", plan="measure", unit="s", low=0.5, high=5.0, cost_s_per_unit=1.0)
BENCH = Reach(device="bench", controls=(U, V, TOOL, DWELL))
PLAIN = Reach(device="plain", controls=(U,))


class TestSurrogate(PlannerTests):
    def config(self) -> SurrogateConfig:
        return SurrogateConfig(points=64)


def planner(*reaches: Reach, seed: int = 0) -> Planner:
    return SurrogateConfig().make(reaches, seed)


def card(number: int, parameters: Asked, measured: Mapping[str, float], device: str = "bench") -> EpisodeCard:
    """Of a measurement as it was asked for, two seconds after the one before."""
    numbers = {name: float(value) for name, value in parameters.items() if isinstance(value, float)}
    texts = {name: value for name, value in parameters.items() if isinstance(value, str)}
    return EpisodeCard(
        episode=f"e{number}",
        device=device,
        start_ns=number * 2_000_000_000,
        end_ns=(number + 1) * 2_000_000_000,
        where=numbers,
        labels=texts,
        measured=measured,
    )


def steps(of: Planner, count: int, measure: Measure, device: str = "bench") -> list[Proposal]:
    """So many measurements, each as it was proposed."""
    found = []
    for number in range(count):
        [proposal] = of.suggest(1)
        found.append(proposal)
        of.ingest(card(number, proposal.parameters, measure(proposal.parameters), device))
    return found


def halves(parameters: Mapping[str, object]) -> dict[str, float]:
    """One phase below u = 300, another above, by both tools."""
    is_left = float(str(parameters["u_um"])) < 300
    if parameters.get("tool") == "afm":
        return {"afm.height": 1.0 if is_left else 2.0}
    return {f"raman.{band}": (0.2 if is_left else 0.7) + 0.1 * math.sin(band) for band in range(20)}


HERE = {"u_um": 1.0, "v_um": 1.0, "tool": "afm"}


def test_the_same_cards_and_seed_give_the_same_proposals_and_another_seed_others() -> None:
    one, same = (steps(planner(BENCH, seed=3), 12, halves) for _ in range(2))
    assert one == same
    assert steps(planner(BENCH, seed=4), 12, halves) != one


def test_what_it_proposes_is_sound_and_within_what_the_device_states() -> None:
    for proposal in [*steps(planner(BENCH), 30, halves), *planner(BENCH, PLAIN).suggest(40)]:
        assert proposal.is_sound
        assert proposal.plan == "measure"
        assert 0 <= proposal.gain <= 1
        assert proposal.rationale
        asked = proposal.parameters
        assert -500 <= float(asked["u_um"]) <= 1500
        if proposal.device == "bench":
            assert 0 <= float(asked["v_um"]) <= 1000
            assert asked["tool"] in TOOL.choices
            assert 0.5 <= float(asked["dwell_s"]) <= 5


def test_several_at_once_are_not_of_one_place() -> None:
    many = planner(BENCH).suggest(10)
    assert len({(p.parameters["u_um"], p.parameters["v_um"], p.parameters["tool"]) for p in many}) == 10


def test_it_measures_where_one_phase_meets_the_other() -> None:
    places = [float(p.parameters["u_um"]) for p in steps(planner(BENCH), 80, halves)[30:]]
    near = sum(abs(u - 300) < 200 for u in places) / len(places)
    assert near > 1.7 * 400 / 2000, places


def test_where_all_is_even_it_goes_everywhere() -> None:
    def even(_: Mapping[str, object]) -> dict[str, float]:
        return {"raman.0": 1.0}

    found = steps(planner(Reach(device="bench", controls=(U, V))), 32, even)
    quarters = {(float(p.parameters["u_um"]) // 500, float(p.parameters["v_um"]) // 250) for p in found}
    assert len(quarters) >= 12


def test_a_dear_change_of_instruments_is_made_seldom() -> None:
    def swaps(cost_s: float) -> int:
        tool = Control(name="tool", plan="measure", choices=("raman", "afm"), cost_s=cost_s)
        asked = [p.parameters["tool"] for p in steps(planner(Reach(device="bench", controls=(U, V, tool))), 30, halves)]
        return sum(one != other for one, other in itertools.pairwise(asked))

    assert swaps(60.0) < swaps(0.0)


def test_what_a_measurement_takes_beyond_what_is_stated_is_learnt() -> None:
    """Each takes two seconds, of which the dwell is half of one."""
    last = steps(planner(PLAIN), 12, lambda asked: {"afm.height": float(str(asked["u_um"]))}, device="plain")[-1]
    assert last.cost_s > 1.0


@pytest.mark.parametrize(
    "hostile",
    [
        EpisodeCard(episode="x", device="bench"),
        card(99, HERE, {"raman.0": 1.0}, device="nobody"),
        card(99, {**HERE, "u_um": math.nan}, {"raman.0": 1.0}),
        card(99, HERE, {"raman.0": math.inf}),
        card(99, {**HERE, "tool": 9.0}, {"raman.0": 1.0}),
        card(99, {**HERE, "u_um": 1e300}, {"a": 1.0}),
        card(99, HERE, {"a": 1e300}),
        card(3, HERE, {"other": 1.0}),
    ],
)
def test_a_card_that_says_nothing_or_nonsense_harms_nothing(hostile: EpisodeCard) -> None:
    of = planner(BENCH)
    steps(of, 8, halves)
    of.ingest(hostile)
    assert all(proposal.is_sound for proposal in of.suggest(5))


@given(
    places=st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(-1e6, 1e6)), max_size=40),
    tools=st.lists(st.sampled_from(("raman", "afm")), min_size=40, max_size=40),
)
@settings(max_examples=40)
def test_whatever_was_measured_proposals_are_sound(places: list[tuple[float, float, float]], tools: list[str]) -> None:
    of = SurrogateConfig(points=64).make([BENCH], 0)
    for number, ((u, v, value), tool) in enumerate(zip(places, tools, strict=False)):
        of.ingest(card(number, {"u_um": u, "v_um": v, "tool": tool}, {f"{tool}.a": value, f"{tool}.b": -value}))
    found = of.suggest(3)
    assert len(found) == 3
    assert all(proposal.is_sound for proposal in found)


def test_a_card_again_replaces_what_it_said() -> None:
    of, twice = planner(BENCH), planner(BENCH)
    for number in range(10):
        asked = {"u_um": 200.0 * number - 400, "v_um": 50.0 * number, "tool": "raman"}
        of.ingest(card(number, asked, halves(asked)))
        twice.ingest(card(number, {**asked, "u_um": 0.0}, {"raman.0": 9.0}))
        twice.ingest(card(number, asked, halves(asked)))
    assert of.report() == twice.report()
    assert of.suggest(5) == twice.suggest(5)


def test_of_ten_thousand_cards_there_are_proposals_still() -> None:
    of, rng = planner(BENCH), np.random.default_rng(0)
    for number in range(10_000):
        asked = {"u_um": float(rng.uniform(-500, 1500)), "v_um": float(rng.uniform(0, 1000)), "tool": "raman"}
        of.ingest(card(number, asked, halves(asked)))
    assert of.report()["cards"] == 10_000
    assert len(of.suggest(4)) == 4
    assert of.suggest(1)[0].parameters["tool"] == "afm"


def test_a_device_without_a_stage_has_nothing_to_suggest() -> None:
    rate = Control(name="rate_hz", plan="rate", low=1.0, high=30.0)
    of = planner(Reach(device="cam", controls=(rate,)))
    of.ingest(EpisodeCard(episode="a", device="cam", measured={"cam.0": 1.0}))
    assert of.suggest(3) == []


def test_what_a_charter_leaves_no_choice_of_is_said() -> None:
    pinned = Control(name="dwell_s", plan="measure", unit="s", low=0.2, high=0.2, bounded=True)
    stage = MeasuringStage.of(Reach(device="bench", controls=(U, V, TOOL, pinned)), 16)
    assert stage is not None
    assert stage.parameters(0, "b", 1.0)["dwell_s"] == 0.2
