"""Planners keep their contract: `gap` goes to what is missing, `disagreement` to what is not known, not to noise."""

import time
from typing import Any

import numpy as np
import pytest

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.disagreement import DisagreementConfig
from sensorium.agents.planning.gain import CellAxes, GainBook
from sensorium.agents.planning.gap import GapConfig
from sensorium.agents.planning.notebook import ProposalFate
from sensorium.agents.planning.planner import Planner, PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.registry import planner_config, planner_kinds
from sensorium.agents.planning.testing import PlannerTests
from sensorium.agents.planning.uniform import UniformConfig
from sensorium.drivers.controls import Control
from sensorium.errors import ConfigError


class TestUniform(PlannerTests):
    def config(self) -> PlannerConfig:
        return UniformConfig()


class TestGap(PlannerTests):
    def config(self) -> PlannerConfig:
        return GapConfig()


class TestGapOfLooks(PlannerTests):
    def config(self) -> PlannerConfig:
        return GapConfig(cells=CellAxes(axes=("look", "task")))


class TestDisagreement(PlannerTests):
    def config(self) -> PlannerConfig:
        return DisagreementConfig()


SQUARE = Reach(
    device="rover",
    controls=tuple(
        Control(name=name, plan="viewpoint", unit="m", low=0, high=6, cell=1, cost_s_per_unit=2)
        for name in ("x_m", "y_m")
    ),
)


def card_at(number: int, x_m: float, y_m: float, **more: object) -> EpisodeCard:
    start_ns = number * 10**10
    said = {"mission": "walk", "start_ns": start_ns, "end_ns": start_ns + 10**9, "stored_bytes": 1000, **more}
    return EpisodeCard(episode=f"e{number:06d}", device="rover", where={"x_m": x_m, "y_m": y_m}, **said)  # type: ignore[arg-type]


def go(proposal: Proposal, number: int, noise: float = 0.0) -> EpisodeCard:
    x_m, y_m = (float(proposal.parameters[name]) for name in ("x_m", "y_m"))
    return card_at(number, x_m + noise, y_m - noise, proposal=f"p{number}")


def covered(planner: Planner, proposals: int) -> tuple[float, float]:
    """The area under coverage by time, over that of coverage at its end; and the cells at the end."""
    book = GainBook(CellAxes(), [SQUARE])
    at, area, seconds = (0.5, 0.5), 0.0, 0.0
    for number in range(proposals):
        said = planner.suggest(1)
        if not said:
            break
        card = go(said[0], number)
        x_m, y_m = card.where["x_m"], card.where["y_m"]
        took_s = 1 + 2 * (abs(x_m - at[0]) + abs(y_m - at[1]))
        area, seconds, at = area + took_s * len(book.cells), seconds + took_s, (x_m, y_m)
        book.take_in(card)
        planner.ingest(card)
    return area / max(seconds, 1e-9), len(book.cells)


def test_gap_covers_all_where_uniform_draws_some_twice() -> None:
    area, cells = covered(GapConfig().make([SQUARE], 0), 36)
    assert cells == 36
    for seed in range(5):
        drawn_area, drawn = covered(UniformConfig().make([SQUARE], seed), 36)
        assert drawn < 36
        assert area > drawn_area


def test_gap_has_nothing_to_say_where_all_is_had_and_begins_again_where_the_light_changes() -> None:
    planner = GapConfig().make([SQUARE], 0)
    for number in range(36):
        planner.ingest(card_at(number, number % 6 + 0.5, number // 6 + 0.5, measured={"cam.brightness": 150.0}))
    assert planner.suggest(3) == []
    planner.ingest(card_at(36, 0.5, 0.5, measured={"cam.brightness": 20.0}))
    again = planner.suggest(36)
    assert len(again) == 36
    assert all(0 < each.gain < 1 for each in again)
    assert "x_m" in again[0].parameters
    places = [(each.parameters["x_m"], each.parameters["y_m"]) for each in again]
    assert places[-1] != (0.5, 0.5)


def missions_of(*names: str, **more: Any) -> Reach:
    return SQUARE.model_copy(
        update={"whole": {"mission": (Control(name="name", plan="mission", choices=names),)}, **more}
    )


def test_gap_asks_for_a_mission_under_which_what_is_here_would_be_new() -> None:
    planner = GapConfig().make([missions_of("walk", "dock", "yard")], 0)
    assert not [each for each in planner.suggest(40) if each.plan == "mission"], "nobody knows yet what there would be"
    planner.ingest(card_at(0, 0.5, 0.5))
    asked = [each for each in planner.suggest(40) if each.plan == "mission"]
    assert [each.parameters for each in asked] == [{"name": "dock"}, {"name": "yard"}]
    assert [(each.gain, each.device) for each in asked] == [(1.0, "rover")] * 2
    assert asked[0].cost_s == 1.0
    planner.ingest(card_at(1, 0.5, 0.5, mission="dock"))
    assert [each.parameters["name"] for each in planner.suggest(40) if each.plan == "mission"] == ["yard"]
    planner.ingest(card_at(2, 0.5, 0.5, mission="yard"))
    assert not [each for each in planner.suggest(40) if each.plan == "mission"], "all is had here"
    planner.ingest(card_at(3, 1.5, 0.5, mission="yard"))
    assert len([each for each in planner.suggest(40) if each.plan == "mission"]) == 2, "and not here"


def test_gap_weighs_missions_and_believes_less_in_one_that_never_comes() -> None:
    cells = CellAxes(weights={"task": {"dock": 3.0}})
    planner = GapConfig(cells=cells).make([missions_of("yard", "dock", controls=())], 0)
    planner.ingest(card_at(0, 0.5, 0.5))
    (best, other) = planner.suggest(2)
    assert (best.parameters["name"], best.gain, other.gain) == ("dock", 3.0, 1.0)
    names = []
    for number in range(1, 13):
        planner.ingest(card_at(number, 0.5, 0.5))
        (proposal,) = planner.suggest(1)
        names.append(proposal.parameters["name"])
        planner.learn(ProposalFate(proposal=proposal, became="failed"))
    assert names[:2] == ["dock", "dock"]
    assert 0 < names.count("yard") < names.count("dock"), "dock was asked for in vain"


def test_gap_asks_for_no_mission_where_that_tells_nothing_apart_or_any_would_do() -> None:
    def asks(reach: Reach, card: EpisodeCard, **more: Any) -> bool:
        planner = GapConfig(**more).make([reach], 0)
        planner.ingest(card)
        return any(each.plan == "mission" for each in planner.suggest(50))

    card = card_at(0, 0.5, 0.5)
    assert asks(missions_of("dock"), card)
    assert not asks(missions_of(), card), "the charter names none"
    assert not asks(SQUARE, card), "the charter allows none"
    assert not asks(missions_of("dock"), card, cells=CellAxes(axes=("place", "light")))
    assert not asks(missions_of("dock"), card_at(0, 0.5, 0.5, labels={"task": "sweep"})), "its label says its task"


def test_gap_gives_up_a_place_by_and_by_where_it_does_not_get_to() -> None:
    """A wall: whoever is asked for x beyond 3 m stays at 2.5 m. Of what it proposes the first is tried, and that alone
    is to blame."""
    planner = GapConfig().make([SQUARE], 0)
    asked: list[tuple[float, float]] = []
    for number in range(60):
        proposal, *_ = planner.suggest(16)
        x_m, y_m = float(proposal.parameters["x_m"]), float(proposal.parameters["y_m"])
        asked.append((x_m, y_m))
        planner.ingest(card_at(number, min(x_m, 2.5), y_m, proposal=f"p{number}"))
        planner.learn(ProposalFate(proposal=proposal, became="failed" if x_m > 3 else "done"))
    within = {place for place in asked if place[0] < 3}
    assert len(within) == 18, "what can be had is had"
    beyond = [place for place in asked if place[0] > 3]
    assert max(map(beyond.count, set(beyond))) <= 4, "none is asked for again and again"


@pytest.mark.parametrize("config", [GapConfig(), DisagreementConfig()], ids=["gap", "disagreement"])
def test_of_a_place_that_was_not_tried_as_its_device_was_away_nothing_is_held_against_it(
    config: GapConfig | DisagreementConfig,
) -> None:
    planner = config.make([SQUARE], 0)
    planner.ingest(card_at(0, 0.5, 0.5, measured={"cam.brightness": 150.0}))
    first, *_ = planner.suggest(1)
    planner.learn(ProposalFate(proposal=first, became="silent"))
    assert planner.suggest(1) == [first]
    planner.learn(ProposalFate(proposal=first, became="failed"))
    assert planner.suggest(1) != [first]


def test_weights_draw() -> None:
    axes = CellAxes(axes=("task", "place"), weights={"task": {"dock": 5}})
    planner = GapConfig(cells=axes).make([SQUARE], 0)
    planner.ingest(card_at(0, 0.5, 0.5, labels={"task": "dock"}))
    assert planner.suggest(1)[0].gain == pytest.approx(5)


def disagreeing(cards: list[EpisodeCard]) -> dict[tuple[float, float], float]:
    planner = DisagreementConfig(smooth=1.0).make([SQUARE], 0)
    for card in cards:
        planner.ingest(card)
    said = planner.suggest(36)
    return {(float(p.parameters["x_m"]), float(p.parameters["y_m"])): p.gain for p in said}


def look_of(rng: np.random.Generator) -> bytes:
    vector: bytes = rng.integers(-90, 90, 64).astype(np.int8).tobytes()
    return vector


def test_disagreement_goes_where_nobody_was_and_noise_does_not_hold_it() -> None:
    """At (0.5, 0.5) each picture is noise, for ever; at (5.5, 5.5) nobody was."""
    rng = np.random.default_rng(3)
    still = look_of(rng)
    cards = [card_at(number, 0.5, 0.5, looks=(look_of(rng),)) for number in range(60)]
    cards += [card_at(100 + number, 3.5, 0.5, looks=(still,)) for number in range(5)]
    said = disagreeing(cards)
    assert said[5.5, 5.5] > 4 * said[0.5, 0.5]
    assert said[5.5, 5.5] > 2 * said[3.5, 0.5]
    fewer = disagreeing(cards[:6])
    assert fewer[0.5, 0.5] > said[0.5, 0.5], "of noise too less is to be learnt each time"


def test_disagreement_takes_a_card_that_comes_again_in_place_of_the_first() -> None:
    rng = np.random.default_rng(3)
    first, second = (card_at(0, 0.5, 0.5, looks=(look_of(rng),)) for _ in range(2))
    once, again = disagreeing([second]), disagreeing([first, second])
    assert all(again[place] == pytest.approx(gain, abs=1e-6) for place, gain in once.items())


def test_measurements_tell_where_there_are_no_pictures() -> None:
    cards = [card_at(n, n % 6 + 0.5, 0.5, measured={"probe.hardness": float(n % 6)}) for n in range(12)]
    said = disagreeing(cards)
    assert said[0.5, 5.5] > said[0.5, 0.5]


def test_planners_are_found_by_kind_and_set() -> None:
    assert {"uniform", "gap", "disagreement"} <= set(planner_kinds())
    assert planner_config("gap") == GapConfig()
    assert planner_config({"kind": "gap", "boldness": 2}) == GapConfig(boldness=2)
    for said, told in (
        ("gapp", "did you mean 'gap'"),
        ({"kind": "gap", "boldness": -1}, "planner gap: boldness"),
        ({"boldness": 1}, "expected a kind"),
    ):
        with pytest.raises(ConfigError, match=told):
            planner_config(said)


@pytest.mark.parametrize("config", [UniformConfig(), GapConfig(), DisagreementConfig()], ids=lambda each: each.kind)
def test_a_step_over_ten_thousand_cards_is_done(config: PlannerConfig) -> None:
    """How long it takes is said by the figures of docs/agency.md: here it is only done, twice the same."""
    rng = np.random.default_rng(0)
    wide = Reach(
        device="rover",
        controls=tuple(
            Control(name=name, plan="viewpoint", low=0, high=100, cell=1, cost_s_per_unit=1) for name in ("x_m", "y_m")
        ),
    )
    looks = [look_of(rng) for _ in range(40)]
    cards = [
        card_at(
            number,
            *rng.uniform(0, 100, 2).tolist(),
            looks=(looks[number % 40],),
            measured={"cam.brightness": float(rng.uniform(0, 255)), "imu.motion": float(rng.uniform(0, 1))},
        )
        for number in range(10_000)
    ]
    planner = config.make([wide], 0)
    began_s = time.process_time()
    for card in cards:
        planner.ingest(card)
    told_s = time.process_time()
    assert len(planner.suggest(8)) == 8
    print(f"{config.kind}: {told_s - began_s:.3f} s to take in, {time.process_time() - told_s:.3f} s to propose")
