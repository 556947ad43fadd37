"""Events of light that changes as is known: how many, which way, and when."""

import numpy as np

from sensorium.sim.worlds.mujoco.events import EventCamera, EventErrors


def gray(value: float) -> np.ndarray:
    return np.full((2, 3, 3), round(value * 255), np.uint8)


def test_a_ramp_gives_events_evenly_in_log_light() -> None:
    camera = EventCamera(EventErrors(contrast=0.1), np.random.default_rng(0), (3, 2))
    first = camera.seen(gray(51 / 255), 0)
    assert len(first[0]) == 0
    stamps, rows = camera.seen(gray(102 / 255), 10_000_000)
    change = np.log((102 / 255 + 0.02) / (51 / 255 + 0.02))
    assert len(stamps) == 6 * int(change / 0.1)
    expected = np.ceil(np.arange(1, int(change / 0.1) + 1) * 0.1 / change * 10_000_000)
    assert np.abs(np.unique(stamps) - expected).max() <= 100
    assert (rows[:, 2] == 1).all()
    assert {tuple(row[:2]) for row in rows.tolist()} == {(x, y) for x in range(3) for y in range(2)}
    stamps, rows = camera.seen(gray(51 / 255), 20_000_000)
    assert (rows[:, 2] == -1).all()
    assert stamps.min() > 10_000_000


def test_what_stays_gives_none_and_small_changes_add_up() -> None:
    camera = EventCamera(EventErrors(contrast=0.3), np.random.default_rng(0), (3, 2))
    camera.seen(gray(100 / 255), 0)
    told = [len(camera.seen(gray((100 + step) / 255), step * 1_000_000)[0]) for step in range(1, 60)]
    change = np.log((159 / 255 + 0.02) / (100 / 255 + 0.02))
    assert sum(told) == 6 * int(change / 0.3)
    assert not len(camera.seen(gray(159 / 255), 70_000_000)[0])


def test_a_pixel_is_blind_after_an_event() -> None:
    camera = EventCamera(EventErrors(contrast=0.1, refractory_s=0.002), np.random.default_rng(0), (3, 2))
    camera.seen(gray(0.1), 0)
    stamps, rows = camera.seen(gray(0.9), 10_000_000)
    for x in range(3):
        mine = stamps[(rows[:, 0] == x) & (rows[:, 1] == 0)]
        assert np.diff(mine).min() >= 2_000_000


def test_pixels_differ_by_their_mismatch() -> None:
    camera = EventCamera(EventErrors(preset="dvs128"), np.random.default_rng(0), (3, 2))
    camera.seen(gray(0.1), 0)
    stamps, _ = camera.seen(gray(0.9), 10_000_000)
    assert len(np.unique(stamps)) > 6
