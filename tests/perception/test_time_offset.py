"""Points that a camera sees on its way: the offset is told whatever passes by, and not of what does not turn."""

import itertools

import numpy as np
import pytest

from sensorium.drivers.stream import Stamps
from sensorium.perception.image_motion import Followed
from sensorium.perception.time_offset import Floats, TimeOffset, time_offset

STEP_S, LATE_S = 0.005, 0.02
PIXEL_RAD = 1 / 200


def in_ns(at: Floats) -> Stamps:
    return np.round(at * 1e9).astype(np.int64)


def rotation(vector: Floats) -> Floats:
    angle = max(float(np.linalg.norm(vector)), 1e-12)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    found: Floats = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return found


def told(
    seed: int, turn_rad: float, way_m: float, hovers: bool = False, drift_rad_s: float = 0.0, off_px: float = 0.1
) -> TimeOffset | str:
    """A flight that turns by so much and goes by so much, past points 1 to 8 m away, some of which move themselves.

    What hovers is pushed by its own tilt, so that its way follows its turns."""
    rng = np.random.default_rng(seed)
    speeds, begins = rng.uniform(2, 5, (3, 3)), rng.uniform(0, 6, (3, 3))

    def angle(at: Floats) -> Floats:
        found: Floats = turn_rad * np.array([np.sin(np.outer(at, speeds[k]) + begins[k]) for k in range(3)]).sum(axis=0)
        return found

    at, taken = np.arange(0, 12, STEP_S), np.arange(0.5, 11.5, 0.05)
    # Small turns about one place: their rates are the gyro's but for what is of second order, which is taken out here.
    rates = np.gradient(angle(at), at, axis=0)
    steps = np.array([rotation(each) for each in (rates[1:] + rates[:-1]) / 2 * STEP_S])
    poses = [np.eye(3)]
    for step in steps:
        poses.append(poses[-1] @ step)
    pushed = angle(at if hovers else 1.1 * at + 3)
    speed = np.cumsum(-9.8 * pushed, axis=0) * STEP_S
    place = np.cumsum(speed - speed.mean(axis=0), axis=0) * STEP_S
    place *= way_m / max(float(np.abs(place).max()), 1e-9)
    followed: list[Followed | None] = [None]
    for first, second in itertools.pairwise(taken):
        one, two = round(first / STEP_S), round(second / STEP_S)
        rays = np.column_stack([rng.uniform(-0.7, 0.7, (80, 2)), np.ones(80)])
        points = rays * rng.uniform(1, 8, (80, 1))
        points_two = (points @ poses[one].T + place[one] - place[two]) @ poses[two]
        after = points_two[:, :2] / points_two[:, 2:] + rng.normal(0, off_px * PIXEL_RAD, (80, 2))
        after[:8] += 0.05
        followed.append(Followed(rays[:, :2], after, PIXEL_RAD))
    return time_offset(in_ns(taken + LATE_S), followed, in_ns(at), rates + drift_rad_s, np.eye(3))


@pytest.mark.parametrize("hovers", [False, True])
@pytest.mark.parametrize("way_m", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_whatever_passes_by_the_offset_is_told(seed: int, way_m: float, hovers: bool) -> None:
    found = told(seed, 0.03, way_m, hovers)
    assert isinstance(found, TimeOffset), found
    assert found.offset_s == pytest.approx(LATE_S, abs=0.001)
    assert found.low_s < LATE_S < found.high_s


@pytest.mark.parametrize("seed", range(3))
def test_a_gyro_that_drifts_is_no_offset(seed: int) -> None:
    found = told(seed, 0.03, 0.5, drift_rad_s=0.08)
    assert isinstance(found, TimeOffset), found
    assert found.offset_s == pytest.approx(LATE_S, abs=0.001)


@pytest.mark.parametrize("seed", range(3))
def test_of_what_does_not_turn_nothing_is_told(seed: int) -> None:
    found = told(seed, 1e-6, 1.0)
    assert isinstance(found, str) or found.high_s - found.low_s > 0.01, found


@pytest.mark.parametrize("seed", range(3))
def test_what_is_seen_less_surely_is_told_less_surely(seed: int) -> None:
    surely, hardly = told(seed, 0.03, 0.5), told(seed, 0.03, 0.5, off_px=1.5)
    assert isinstance(surely, TimeOffset)
    assert isinstance(hardly, str) or hardly.high_s - hardly.low_s > surely.high_s - surely.low_s


def test_of_a_rolling_shutter_each_row_has_its_own_moment() -> None:
    """A camera that turns around its optical axis and sees what is below: as of one moment it is told wrongly."""
    readout_s, height = 0.04, 1.4
    rng = np.random.default_rng(0)

    def angle(at: Floats) -> Floats:
        found: Floats = 0.05 * (np.sin(7 * at) + np.sin(11 * at))
        return found

    def around(by: Floats, rays: Floats) -> Floats:
        x, y = rays.T
        return np.column_stack([np.cos(by) * x - np.sin(by) * y, np.sin(by) * x + np.cos(by) * y])

    at, taken = np.arange(0, 12, STEP_S), np.arange(0.5, 11.5, 0.05)
    followed: list[Followed | None] = [None]
    for first, second in itertools.pairwise(taken):
        before = rng.uniform((-0.7, 0.1), (0.7, 0.7), (80, 2))
        begun = angle(first + readout_s * before[:, 1] / height)
        after = before
        for _ in range(5):  # its row says when it is seen, and that where
            after = around(begun - angle(second + readout_s * after[:, 1] / height), before)
        rows = np.column_stack([before[:, 1], after[:, 1]]) / height
        followed.append(Followed(before, after + rng.normal(0, 0.1 * PIXEL_RAD, after.shape), PIXEL_RAD, rows))
    rates = np.outer(np.gradient(angle(at), at), [0, 0, 1.0])
    found, missed = (
        time_offset(in_ns(taken + LATE_S), followed, in_ns(at), rates, np.eye(3), each) for each in (readout_s, 0.0)
    )
    assert isinstance(found, TimeOffset), found
    assert found.offset_s == pytest.approx(LATE_S, abs=0.001)
    assert isinstance(missed, TimeOffset), missed
    assert abs(missed.offset_s - LATE_S) > 0.005, "a test that is no test"
