"""A camera's noise, shutter, exposure and lens do what physics says they do, and no more than was asked for."""

from typing import Any

import cv2
import numpy as np
import pytest

from sensorium.sim.worlds.senses.camera import CameraErrors, CameraSense, Frame
from sensorium.sim.worlds.senses.shutter import moments, shares

HEIGHT, WIDTH = 48, 64
MS = 1_000_000


def camera(seed: int = 0, **errors: Any) -> CameraSense:
    focal = 60.0
    intrinsics = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]])
    return CameraSense(CameraErrors.model_validate(errors), np.random.default_rng(seed), intrinsics)


def flat(level: int, shape: tuple[int, ...] = (200, 250)) -> Frame:
    return np.full(shape, level, np.uint8)


def bar(t_ns: int, speed: float) -> Frame:
    """A white bar, 8 px wide, whose left edge stands at 10 px at 0 and moves by `speed` px/s."""
    columns = np.arange(WIDTH)
    left = 10 + speed * t_ns / 1e9
    return np.tile(np.where((columns >= left) & (columns < left + 8), 200, 0).astype(np.uint8), (HEIGHT, 1))


def middle(frame: Frame) -> np.typing.NDArray[np.float64]:
    """Where the light of each row is, in px."""
    columns: np.typing.NDArray[np.float64] = (frame @ np.arange(WIDTH, dtype=np.float64)) / frame.sum(axis=1)
    return columns


def seen(sense: CameraSense, frame: Frame, t_ns: int = 0) -> Frame:
    got = sense.expose(lambda _: frame, t_ns)
    assert got is not None
    return got


def test_an_ideal_camera_shows_what_there_is() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    got = camera().expose({7: frame}.__getitem__, 7)
    assert got is not None
    assert np.array_equal(got, frame)


@pytest.mark.parametrize("level", [0, 20, 100, 200])
def test_noise_is_shot_and_read_noise(level: int) -> None:
    """Electrons have the variance of their number, and reading adds its own."""
    full_well, read = 4000.0, 40.0
    got = seen(camera(full_well_e=full_well, read_noise_e=read), flat(level)).astype(float)
    per_level = full_well / 255
    expected = (level * per_level + read**2) / per_level**2 + 1 / 12
    if level:
        assert np.isclose(got.mean(), level, atol=0.1)
        assert np.isclose(got.var(), expected, rtol=0.05)
    else:  # what is below black is clipped
        assert 0 < got.mean() < np.sqrt(expected)


def test_noise_in_gray_levels() -> None:
    assert np.isclose(seen(camera(noise=3.0), flat(100)).astype(float).std(), 3.0, rtol=0.03)


def test_a_bar_that_moves_is_smeared_over_its_way() -> None:
    speed, exposure_s = 1000.0, 0.016
    sharp = bar(0, speed)[0].astype(float)
    got = camera(exposure_s=exposure_s, renders=16).expose(lambda t_ns: bar(t_ns, speed), 0)
    assert got is not None
    assert np.isclose(got[0].sum(), sharp.sum(), rtol=0.02)  # as much light
    assert np.isclose(np.count_nonzero(got[0]), 8 + speed * exposure_s, atol=1)
    assert got.max() <= 200 * 8 / 16 + 13
    assert np.isclose(middle(got)[0], middle(bar(0, speed))[0] + speed * exposure_s / 2, atol=0.6)


@pytest.mark.parametrize("exposure_s", [0.0, 0.002, 0.01])
def test_a_rolling_shutter_leans_a_bar_that_moves(exposure_s: float) -> None:
    speed, readout_s = 500.0, 0.04
    got = camera(exposure_s=exposure_s, readout_s=readout_s, renders=32).expose(lambda t_ns: bar(t_ns, speed), 0)
    assert got is not None
    lean = np.polyfit(np.arange(HEIGHT), middle(got), 1)[0]
    assert np.isclose(lean, speed * readout_s / HEIGHT, rtol=0.06)
    whole = camera(exposure_s=exposure_s, renders=32).expose(lambda t_ns: bar(t_ns, speed), 0)
    assert whole is not None
    assert np.ptp(middle(whole)) == 0


def test_the_scene_is_looked_at_a_bounded_number_of_times_while_the_shutter_is_open() -> None:
    asked: list[int] = []

    def look(t_ns: int) -> Frame:
        asked.append(t_ns)
        return flat(9, (HEIGHT, WIDTH))

    sense = camera(exposure_s=0.01, readout_s=0.03, renders=5)
    sense.expose(look, 100 * MS)
    assert asked == sense.moments(100 * MS).tolist() == [104 * MS, 112 * MS, 120 * MS, 128 * MS, 136 * MS]


@pytest.mark.parametrize("renders", [1, 3, 64])
@pytest.mark.parametrize(("exposure_ns", "readout_ns"), [(0, 0), (5, 0), (0, 7), (5, 7), (7, 5), (10**7, 10**5)])
def test_every_row_gets_the_whole_of_its_light(renders: int, exposure_ns: int, readout_ns: int) -> None:
    parts = shares(11, exposure_ns, readout_ns, renders)
    assert parts.shape == (len(moments(0, exposure_ns, readout_ns, renders)), 11)
    assert np.allclose(parts.sum(axis=0), 1, atol=1e-5)
    assert (parts >= 0).all()


def test_a_lens_moves_points_as_the_model_says() -> None:
    """Where a straight camera sees a dot, the distorted one sees it where OpenCV projects it."""
    distortion = (-0.3, 0.08, 0.001, -0.002)
    scale = 8
    height, width = HEIGHT * scale, WIDTH * scale
    intrinsics = np.array([[400.0, 0, (width - 1) / 2], [0, 400.0, (height - 1) / 2], [0, 0, 1]])
    sense = CameraSense(CameraErrors(distortion=distortion), np.random.default_rng(0), intrinsics)
    points = np.array([[x, y, 1.0] for x in (-0.4, 0.0, 0.35) for y in (-0.25, 0.0, 0.3)])
    frame = np.zeros((height, width), np.uint8)
    for x, y, _ in points @ intrinsics.T:
        cv2.circle(frame, (round(x * 16), round(y * 16)), 4 * 16, 255, -1, cv2.LINE_AA, 4)
    got = seen(sense, frame)
    _, _, _, centres = cv2.connectedComponentsWithStats((got > 100).astype(np.uint8))
    none = np.zeros(3)
    expected, _ = cv2.projectPoints(points, none, none, intrinsics, np.array(distortion))
    for x, y in expected[:, 0]:
        assert np.hypot(centres[1:, 0] - x, centres[1:, 1] - y).min() < 0.7
    assert abs(expected[0, 0] - (points @ intrinsics.T)[0, :2]).max() > 5


def test_exposure_follows_the_light_with_a_lag() -> None:
    auto = {"target": 0.4, "lag_s": 0.3, "least_s": 1e-4, "most_s": 0.02, "most_gain": 1}
    sense = camera(exposure_s=0.01, auto_exposure=auto, renders=1)
    levels = []
    for number in range(200):
        level = 102 if number < 60 else 204
        levels.append(float(seen(sense, flat(level, (HEIGHT, WIDTH)), number * 20 * MS).mean()))
    assert np.allclose(levels[:60], 102, atol=1)
    assert levels[60] > 200  # it is surprised
    assert np.isclose(levels[60 + 15], 102 * 2 ** np.exp(-1), rtol=0.06)  # after one time constant
    assert np.isclose(levels[-1], 102, atol=1)
    assert np.isclose(sense.exposure_s, 0.005, rtol=0.03)


def test_beyond_the_longest_exposure_there_is_gain_and_its_noise() -> None:
    auto = {"target": 0.4, "lag_s": 0, "most_s": 0.01, "most_gain": 8}
    sense = camera(exposure_s=0.01, auto_exposure=auto, full_well_e=2000, read_noise_e=10, renders=1)
    quiet = camera(full_well_e=2000, read_noise_e=10)
    for number in range(30):
        got = seen(sense, flat(13), number * 20 * MS)
    assert sense.exposure_s == 0.01
    assert np.isclose(got.mean(), 102, rtol=0.05)
    assert np.isclose(got.std(), seen(quiet, flat(13)).std() * 102 / 13, rtol=0.1)
    for number in range(30, 40):
        dark = seen(sense, flat(2), number * 20 * MS)
    assert dark.mean() < 20  # there is an end to it


def test_darkness_is_less_light_and_more_noise_beside_it() -> None:
    dark = seen(camera(light=0.1, full_well_e=2000, read_noise_e=5), flat(200)).astype(float)
    assert np.isclose(dark.mean(), 20, atol=0.1)
    assert np.isclose(dark.var(), (20 * 2000 / 255 + 25) / (2000 / 255) ** 2 + 1 / 12, rtol=0.05)


def test_of_frames_the_share_asked_for_never_comes() -> None:
    sense = camera(drop=0.3)
    frames = [sense.expose(lambda _: flat(1, (2, 2)), number) for number in range(3000)]
    assert np.isclose(sum(frame is None for frame in frames) / 3000, 0.3, atol=0.03)


@pytest.mark.parametrize("preset", sorted(CameraErrors.presets))
def test_every_part_takes_a_picture_that_is_seeded_and_noisy(preset: str) -> None:
    scene = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    got = seen(camera(1, preset=preset), scene)
    assert np.array_equal(got, seen(camera(1, preset=preset), scene))
    assert not np.array_equal(got, seen(camera(2, preset=preset), scene))
    assert 0.3 < np.abs(got.astype(float) - scene).mean() < 8


@pytest.mark.parametrize(
    ("errors", "says"),
    [
        ({"distortion": [0.1]}, "distortion has 1 numbers, expected 4 or 5"),
        ({"read_noise_e": 3}, "read_noise_e without full_well_e"),
        ({"auto_exposure": {}}, "auto_exposure without exposure_s"),
        ({"exposure_s": 0.01, "auto_exposure": {"least_s": 1}}, "least_s 1.0 is above most_s"),
        ({"preset": "imx21"}, "no preset 'imx21', did you mean 'imx219'"),
    ],
)
def test_errors_that_cannot_be_say_why(errors: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CameraErrors.model_validate(errors)
