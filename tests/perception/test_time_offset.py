"""Of what flies: a way of its own lets the offset be told, a way that follows from the tilt does not."""

import numpy as np
import pytest

from sensorium.drivers.stream import Stamps
from sensorium.perception.time_offset import SEEN_OF_TURN, Floats, TimeOffset, time_offset

HEIGHT_M, STEP_S = 2.0, 0.005
LATE_S = 0.02


def in_ns(at: Floats) -> Stamps:
    return np.round(at * 1e9).astype(np.int64)


def flown(seed: int, hovers: bool) -> TimeOffset | str:
    """A flight over flat ground: pushed by its own tilt, as what hovers in gusts, or by another of the same kind."""
    rng = np.random.default_rng(seed)
    speeds, begins = rng.uniform(2, 5, (3, 3)), rng.uniform(0, 6, (3, 3))

    def angle(at: Floats) -> Floats:
        waves = np.array([np.sin(np.outer(at, speeds[k]) + begins[k]) for k in range(3)])
        found: Floats = 0.03 * waves.sum(axis=0)
        return found

    at, taken = np.arange(0, 12, STEP_S), np.arange(0.5, 11.5, 0.05)
    pushed = (angle(at if hovers else 1.1 * at + 3) @ SEEN_OF_TURN.T)[:, :2]
    speed = np.cumsum(-9.8 * pushed, axis=0) * STEP_S
    way = np.cumsum(speed - speed.mean(axis=0), axis=0) * STEP_S / HEIGHT_M
    seen = np.diff(angle(taken), axis=0, prepend=np.nan) @ SEEN_OF_TURN.T
    passed = np.column_stack([np.interp(taken, at, way[:, axis]) for axis in range(2)])
    seen[:, :2] += np.diff(passed, axis=0, prepend=np.nan)
    motion = np.column_stack([seen * [1, 1, 2], np.zeros((len(seen), 2))]) + rng.normal(0, 2e-4, (len(seen), 5))
    return time_offset(in_ns(taken + LATE_S), motion, in_ns(at), np.gradient(angle(at), at, axis=0), SEEN_OF_TURN)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_told_of_what_hovers(seed: int) -> None:
    found = flown(seed, hovers=True)
    assert isinstance(found, str), found
    assert "follows from its turns" in found


@pytest.mark.parametrize("seed", range(4))
def test_on_a_way_of_its_own_it_is_told(seed: int) -> None:
    found = flown(seed, hovers=False)
    assert isinstance(found, TimeOffset), found
    assert found.offset_s == pytest.approx(LATE_S, abs=0.002)


def rocked(seed: int, amplitude_rad: float, unlike: float) -> TimeOffset | str:
    """A camera that turns by so much, and sees beside it what is as large as `unlike` rad between two pictures."""
    rng = np.random.default_rng(seed)
    speeds, begins = rng.uniform(2, 5, 3), rng.uniform(0, 6, 3)

    def angle(at: Floats) -> Floats:
        return np.asarray(amplitude_rad * np.sin(np.outer(at, speeds) + begins), np.float64)

    at, taken = np.arange(0, 8, STEP_S), np.arange(0.5, 7.5, 0.05)
    seen = np.diff(angle(taken), axis=0, prepend=np.nan) @ SEEN_OF_TURN.T
    motion = np.column_stack([seen * [1, 1, 2], np.zeros((len(seen), 2))]) + rng.normal(0, unlike, (len(seen), 5))
    return time_offset(in_ns(taken + LATE_S), motion, in_ns(at), np.gradient(angle(at), at, axis=0), SEEN_OF_TURN)


@pytest.mark.parametrize("seed", range(3))
def test_of_what_hardly_turns_is_told_what_turns_alone_tell(seed: int) -> None:
    """The same share of what is seen is enough of what turns as a vehicle does."""
    found = rocked(seed, 0.002, 3e-4)
    assert isinstance(found, str)
    assert found.startswith("it hardly turns (0.0"), found
    for amplitude_rad, unlike in ((0.002, 1e-5), (0.2, 3e-2)):
        told = rocked(seed, amplitude_rad, unlike)
        assert isinstance(told, TimeOffset), told
        assert told.low_s <= LATE_S <= told.high_s, told
