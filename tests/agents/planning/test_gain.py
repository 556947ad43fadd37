"""Gain: a cell is new once, whoever brings it; what is spoilt, a trace or a preview brings none."""

from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import CellAxes, GainBook
from sensorium.agents.planning.planner import Reach
from sensorium.agents.planning.reachable import reachable
from sensorium.agents.planning.testing import REACHES, episode_cards
from sensorium.drivers.controls import Control


@given(
    cards=episode_cards(),
    axes=st.sampled_from([CellAxes(), CellAxes(axes=("look",)), CellAxes(axes=("place", "task"))]),
)
def test_all_gains_together_are_the_cells_that_are_had(cards: list[EpisodeCard], axes: CellAxes) -> None:
    book = GainBook(axes, REACHES)
    gained = [book.take_in(card) for card in cards]
    assert sum(each.gain for each in gained) == len(book.cells) == sum(len(each.new) for each in gained)
    assert [book.take_in(card).gain for card in cards] == [0.0] * len(cards), "a card again brings nothing"


def test_only_what_is_full_and_sound_brings_something() -> None:
    book = GainBook(CellAxes(), REACHES)
    of = {"device": "rover-1", "mission": "walk", "where": {"x_m": 0.1, "y_m": 0.1}}
    assert book.take_in(EpisodeCard(episode="a", kind="trace", **of)).gain == 0  # type: ignore[arg-type]
    assert book.take_in(EpisodeCard(episode="b", verdicts={"health": False}, **of)).gain == 0  # type: ignore[arg-type]
    assert book.take_in(EpisodeCard(episode="c", verdicts={"task": False}, **of)).gain == 1  # type: ignore[arg-type]


def test_places_of_what_can_be_reached_are_those_of_cards() -> None:
    """A card taken in the middle of each place has the place's own text, of every device."""
    book = GainBook(CellAxes(axes=("place",)), REACHES)
    for places in reachable(REACHES):
        texts = book.places(places)
        assert len(set(texts)) == len(places)
        for row, text in enumerate(texts):
            said = places.parameters(row)
            numbers = {name.rpartition(".")[2]: v for name, v in said.items() if isinstance(v, float)}
            choices = {name.rpartition(".")[2]: v for name, v in said.items() if isinstance(v, str)}
            card = EpisodeCard(episode=text, device=places.device, where=numbers, labels=choices)
            assert book.place(card) == text


def test_devices_that_have_a_control_in_common_share_its_cells() -> None:
    fine, coarse = (Control(name="x_m", plan="viewpoint", low=0, high=4, cell=cell) for cell in (1, 2))
    reaches = [Reach(device="a", controls=(fine,)), Reach(device="b", controls=(coarse,))]
    book = GainBook(CellAxes(axes=("place",)), reaches)
    assert book.places(reachable(reaches)[1]) == ["1", "3"]
    for device in ("a", "b"):
        book.take_in(EpisodeCard(episode=device, device=device, where={"x_m": 3.2}))
    assert book.cells == {("3",): 2}


def test_a_range_without_a_cell_is_cut_and_many_places_are_cut_more_coarsely() -> None:
    (places,) = reachable([Reach(device="a", controls=(Control(name="tilt_rad", plan="viewpoint", low=-1, high=1),))])
    assert len(places) == 8
    wide = tuple(Control(name=name, plan="viewpoint", low=0, high=1000, cell=1) for name in ("x_m", "y_m"))
    (places,) = reachable([Reach(device="a", controls=wide)])
    assert 1000 < len(places) <= 20_000
    assert len({tuple(places.parameters(row).values()) for row in range(len(places))}) == len(places)


def test_what_a_charter_bounds_is_said_of_each_place_and_makes_none() -> None:
    controls = (
        Control(name="x_mm", plan="measure", low=0, high=2, cell=1),
        Control(name="dwell_s", plan="measure", unit="s", low=0.2, high=0.2, cost_s_per_unit=1.0, bounded=True),
        Control(name="tilt_rad", plan="measure", low=0, high=1),
    )
    (places,) = reachable([Reach(device="lab", controls=controls)])
    assert [places.parameters(row) for row in range(len(places))] == [
        {"x_mm": 0.5, "dwell_s": 0.2},
        {"x_mm": 1.5, "dwell_s": 0.2},
    ]
    assert places.seconds_from({}, {}).tolist() == [0.2, 0.2]
