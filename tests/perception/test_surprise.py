"""Surprise: turns that the gyro saw are none, and what else moves the picture is."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sensorium.drivers.stream import Samples, Scores, Stamps, StreamSpec
from sensorium.perception.shift import shift
from sensorium.perception.surprise import LEARNT_FROM, Surprise, gyro_of, shift_per_radian
from sensorium.perception.working import working
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.scene import PlanarScene

FRAME_NS = 50_000_000
SCENE = PlanarScene(3, 320, 240, 70.0, False)


def specs() -> tuple[StreamSpec, StreamSpec]:
    world = SimPlanarConfig(kind="sim-planar", size=(320, 240), pace="fast").open("sim", Path())
    world.close()
    return world.specs[0], world.specs[1]


def turn(angles: Samples) -> Samples:
    """Rotation [3, 3] by a small turn [3] (rad), after Rodrigues."""
    angle = float(np.linalg.norm(angles)) or 1e-12
    x, y, z = angles / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: Samples = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation


def seen(rates: Samples, drift_m: Samples) -> tuple[Stamps, dict[str, Scores]]:
    """The shifts between pictures of a body that turns by `rates` [n, 3] (rad/s) and goes by `drift_m` [n, 2]."""
    rotation, position = np.eye(3), np.array([0.0, 0.0, 2.0])
    shades = [working(SCENE.render(position, rotation)).shade]
    for rate, drift in zip(rates, drift_m, strict=True):
        rotation = rotation @ turn(rate * FRAME_NS / 1e9)
        position = position + np.array([*drift, 0.0])
        shades.append(working(SCENE.render(position, rotation)).shade)
    found = [shift(one, other) for one, other in pairwise(shades)]
    scores = {
        "shift_x": np.array([each.x for each in found]),
        "shift_y": np.array([each.y for each in found]),
        "shift_s": np.full(len(found), FRAME_NS / 1e9),
    }
    return np.arange(1, len(found) + 1) * FRAME_NS, scores


def surprises(
    rates: Samples, drift_m: Samples, camera: StreamSpec, imu: StreamSpec, told: Samples | None = None
) -> Scores:
    """`told` is what the gyro says, if that is not how it turns."""
    surprise = Surprise(camera, imu)
    stamps = np.arange(0, (len(rates) + 1) * FRAME_NS, FRAME_NS // 10)
    row = np.clip((stamps - 1) // FRAME_NS, 0, len(rates) - 1)  # a rate holds up to the picture that ends it
    data = np.concatenate([(rates if told is None else told)[row], np.zeros((len(stamps), 3))], axis=1)
    for part in np.array_split(np.arange(len(stamps)), 7):
        surprise.turn(stamps[part], data[part])
    return surprise.of(*seen(rates, drift_m))


def swaying(n: int) -> Samples:
    """Back and forth around two axes, and slowly around the third."""
    phase = np.arange(n) / 5
    return np.column_stack([0.5 * np.cos(phase), 0.4 * np.cos(1.3 * phase), 0.1 * np.cos(0.7 * phase)])


@pytest.mark.parametrize("stated", [True, False])
def test_turns_are_no_surprise_and_what_moves_besides_is(stated: bool) -> None:
    camera, imu = specs()
    if not stated:
        camera = msgspec.structs.replace(camera, calibration={})
    n = 90
    drift = np.zeros((n, 2))
    drift[70] = [0.25, 0.0]
    found = surprises(swaying(n), drift, camera, imu)
    shifts = seen(swaying(n), drift)[1]
    known = LEARNT_FROM + 2 if not stated else 0
    rest = np.delete(found, 70)[known:]
    assert np.isnan(found[:LEARNT_FROM]).all() == (not stated)
    assert np.hypot(shifts["shift_x"], shifts["shift_y"]).max() > 0.012, "it was shaken"
    assert np.nanpercentile(rest, 90) < 0.004
    assert found[70] > 0.05


@pytest.mark.parametrize("said", [np.nan, np.inf, -np.inf, 1e300, -1e38])
def test_a_rate_that_no_gyro_says_is_forgotten_in_time(said: float) -> None:
    camera, imu = specs()
    rates = swaying(90)
    told = rates.copy()
    told[20:23, 1] = said
    found = surprises(rates, np.zeros((90, 2)), msgspec.structs.replace(camera, calibration={}), imu, told)
    assert np.isfinite(found[LEARNT_FROM + 2 :]).all()
    assert np.median(found[70:]) < 0.004


def test_what_the_gyro_does_not_cover_is_not_said() -> None:
    camera, imu = specs()
    surprise = Surprise(camera, imu)
    stamps, scores = seen(np.zeros((6, 3)), np.zeros((6, 2)))
    assert np.isnan(surprise.of(stamps, scores)).all()
    surprise.turn(np.arange(0, 4 * FRAME_NS + 1, 10_000_000), np.zeros((21, 6)))
    assert np.isfinite(surprise.of(stamps, scores)).tolist() == [True] * 4 + [False] * 2
    surprise.turn(np.arange(5 * FRAME_NS, 400 * FRAME_NS, 10_000_000), np.zeros((1975, 6)))
    assert np.isnan(surprise.of(stamps, scores)).all(), "so far back nothing is kept"
    surprise.turn(np.arange(0, 7 * FRAME_NS, 10_000_000), np.zeros((35, 6)))
    assert np.isfinite(surprise.of(stamps, scores)).all(), "the clock was set back, and begins anew"
    nothing = {name: np.full(6, np.nan) for name in scores}
    assert np.isnan(surprise.of(stamps + 390 * FRAME_NS, nothing)).all()


def test_degrees_are_radians_once_they_are_read() -> None:
    camera, imu = specs()
    degrees = msgspec.structs.replace(imu, unit="deg/s, m/s^2")
    plain = surprises(swaying(8), np.zeros((8, 2)), camera, imu)
    assert surprises(swaying(8), np.zeros((8, 2)), camera, degrees).max() > 2 * plain.max()
    assert gyro_of(imu)
    assert not gyro_of(camera)


@pytest.mark.parametrize("broken", [{"T_BS": [1, 2]}, {"T_BS": "a"}, {"T_BS": None}, {"intrinsics": None}])
def test_what_is_not_stated_is_learnt(broken: dict[str, Any]) -> None:
    camera, imu = specs()
    assert shift_per_radian(camera, imu) is not None
    assert shift_per_radian(msgspec.structs.replace(camera, calibration={**camera.calibration, **broken}), imu) is None
