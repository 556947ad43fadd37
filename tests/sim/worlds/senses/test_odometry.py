"""Where a vehicle was sent is judged by its odometry alone: there, late, replaced, taken back."""

import numpy as np
import pytest

from sensorium.sim.worlds.senses.odometry import OdometryErrors, Sent, place_controls, turn_of

S = 1_000_000_000
CONTROLS = place_controls((-5.0, -5.0), (5.0, 5.0), cell_m=1.0, s_per_m=2.0)
EXACT = OdometryErrors(place_bias_m=0, place_noise_m=0, yaw_bias_rad=0, yaw_noise_rad=0)


def sent(errors: OdometryErrors | None = EXACT) -> Sent:
    return Sent(errors, np.random.default_rng(0), CONTROLS, 0.3)


def at(vehicle: Sent, x: float, y: float, yaw: float = 0.0) -> None:
    vehicle.odometry.measure(np.array([[x, y, yaw]]))


def test_it_is_there_once_it_is_near_and_has_turned() -> None:
    vehicle = sent()
    at(vehicle, 1.0, 1.0)
    vehicle.ask("p", {"x_m": 3.0, "yaw_rad": 1.0}, 5 * S)
    assert vehicle.goal is not None
    assert vehicle.goal.tolist() == [3.0, 1.0, 1.0], "what is not asked for stays as it is"
    for moment, place in ((6, (2.0, 1.0, 1.0)), (7, (2.9, 1.1, 0.0))):
        at(vehicle, *place)
        vehicle.judge(moment * S)
        assert vehicle.asking.told() == ()
    at(vehicle, 2.6, 1.0, 0.9)  # as it turned it slid
    vehicle.judge(8 * S)
    (note,) = vehicle.asking.told()
    assert (note.start_ns, note.end_ns, note.value["why"]) == (5 * S, 8 * S, "")
    assert note.value["did"] == {"x_m": 2.6, "y_m": 1.0, "yaw_rad": 0.9}
    vehicle.judge(500 * S)
    assert vehicle.asking.told() == (), "it is told once"


def test_what_it_cannot_do_in_time_is_said() -> None:
    vehicle = sent()
    vehicle.ask("p", {"x_m": 4.0}, 0)
    vehicle.judge(35 * S)
    assert vehicle.asking.told() == ()
    vehicle.judge(36 * S)  # 20 s, and twice the way
    (note,) = vehicle.asking.told()
    assert note.value == {
        "asked": {"x_m": 4.0},
        "did": {"x_m": 0.0, "y_m": 0.0, "yaw_rad": 0.0},
        "why": "4.00 m off after 36 s",
    }


def test_another_ask_and_taking_back_are_told_of_the_one_before() -> None:
    vehicle = sent()
    vehicle.ask("p", {"x_m": 4.0}, 0)
    vehicle.ask("q", {"y_m": 1.0}, S)
    vehicle.ask("", {}, 2 * S)
    assert [(note.name, note.value["why"]) for note in vehicle.asking.told()] == [
        ("p", "q was asked meanwhile"),
        ("q", "it was taken back"),
    ]
    assert vehicle.goal is None


def test_without_odometry_it_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="no control"):
        sent(None).ask("p", {"x_m": 1.0}, 0)


def test_readings_are_off_as_they_are_said_to_be() -> None:
    errors = OdometryErrors(place_bias_m=0.1, place_noise_m=0.02, yaw_bias_rad=0.05, yaw_noise_rad=0.01)
    found = []
    for seed in range(60):
        vehicle = Sent(errors, np.random.default_rng(seed), CONTROLS, 0.3)
        found.append(vehicle.odometry.measure(np.tile([1.0, 2.0, 3.13], (50, 1))))
    off = np.array(found) - [1.0, 2.0, 3.13]
    off[..., 2] = [[turn_of(each) for each in row] for row in off[..., 2]]
    assert off.mean(axis=1)[:, :2].std() == pytest.approx(0.1, rel=0.3)
    assert off.std(axis=1)[:, :2].mean() == pytest.approx(0.02, rel=0.2)
    assert off.mean(axis=1)[:, 2].std() == pytest.approx(0.05, rel=0.35)
    assert np.abs(np.array(found)[..., 2]).max() <= np.pi
