"""Bodies over worlds: they go where they are sent by their own senses, and no card of theirs has the truth in it."""

import itertools

import numpy as np

from sensorium.sim.agency.bystander import Bystander
from sensorium.sim.agency.loop import Loop, Stop
from sensorium.sim.agency.measuring import Measuring
from sensorium.sim.agency.viewing import Viewing
from sensorium.sim.worlds.lab.lab import SimLabConfig
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.senses.odometry import OdometryErrors
from sensorium.sim.worlds.world import Observation

PLACE = {"x_m": 2.0, "y_m": -2.0, "yaw_rad": 0.5}


class TruePlaces(Bystander):
    """Where it was in truth, by captured picture."""

    def __init__(self) -> None:
        self.places: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
        self._place = np.zeros(2)

    def saw(self, seen: Observation) -> None:
        for block in seen.truth:
            if block.stream == "truth" and len(block):
                self._place = np.asarray(block.data[-1], np.float64)[:2]

    def captured(self, number: int) -> None:
        assert number == len(self.places)
        self.places.append(self._place.copy())


def flown(bias_m: float) -> tuple[Loop, TruePlaces]:
    odometry = OdometryErrors(place_bias_m=bias_m, place_noise_m=0.0)
    config = SimPlanarConfig(size=(64, 48), camera_hz=2.0, imu_hz=20.0, truth=True, limit_s=1e6, odometry=odometry)
    places = TruePlaces()
    body = Viewing(config.make(), 1, "roam", "cam", {"yaw_rad": 1.6}, places)
    loop = Loop(body, lambda _: True)
    body.ask(PLACE)
    while not loop.kept or not loop.kept[-1].asked:
        loop.stay(body.now_ns + 1)
    body.close()
    return loop, places


def test_it_goes_where_it_is_sent_and_what_it_takes_there_says_so() -> None:
    loop, places = flown(0.0)
    last = loop.kept[-1]
    assert np.hypot(last.where["x_m"] - 2.0, last.where["y_m"] + 2.0) < 0.5
    assert np.linalg.norm(places.places[last.number] - [2.0, -2.0]) < 0.5
    assert not any(captured.asked for captured in loop.kept[:-1])
    assert len(last.look) == 512
    assert last.size_bytes > 100
    assert loop.kept[0].end_ns == loop.kept[1].start_ns


def test_where_its_odometry_is_off_cards_say_what_it_takes_for_true() -> None:
    loop, places = flown(1.0)
    card = loop.card(loop.kept[-1])
    said, true = np.array([card.where["x_m"], card.where["y_m"]]), places.places[loop.kept[-1].number]
    assert np.linalg.norm(said - [2.0, -2.0]) < 0.5
    assert np.linalg.norm(said - true) > 0.5


def test_the_cells_that_are_asked_for_stand_in_its_reach() -> None:
    loop, _ = flown(0.0)
    assert {each.name: each.cell for each in loop.body.reach.controls}["yaw_rad"] == 1.6


def test_a_measurement_has_its_instrument_its_place_and_what_came_of_it() -> None:
    body = Measuring(SimLabConfig(mapped=0.9999, limit_s=1e6).make(), 0, "map", {"x_mm": 2.0})
    loop = Loop(body, lambda _: True)
    asked = [("spectrometer", 5.0), ("thermal", 10.0), ("probe", 12.0)]
    for instrument, x_mm in asked:
        body.ask({"x_mm": x_mm, "y_mm": 4.0, "instrument": instrument, "dwell_s": 0.2})
        loop.stay(body.now_ns + 1)
    cards = [loop.card(captured, "a-1") for captured in loop.kept]
    assert [card.labels["instrument"] for card in cards] == [name for name, _ in asked]
    assert [round(card.where["x_mm"]) for card in cards] == [5, 10, 12]
    assert all(card.where["dwell_s"] == 0.2 for card in cards)
    assert [len(card.measured) for card in cards] == [64, 2, 2]
    assert {name.partition(".")[0] for card in cards for name in card.measured} == {"spectrum", "thermal", "probe"}
    assert all(one.end_ns == other.start_ns for one, other in itertools.pairwise(cards))
    body.close()


def test_a_body_is_over_with_its_world_and_keeps_what_it_took() -> None:
    config = SimPlanarConfig(size=(64, 48), camera_hz=2.0, imu_hz=20.0, limit_s=2.0, odometry=OdometryErrors())
    body = Viewing(config.make(), 1, "roam", "cam")
    loop = Loop(body, lambda _: True)
    loop.followed([Stop(PLACE), Stop(PLACE)], 10**10)
    body.close()
    assert body.is_over
    assert body.now_ns == 2 * 10**9
    assert len(loop.kept) == 4
