"""What is said of pictures: scenes pass all gates, and what shows nothing closes the one that it should."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from sensorium.drivers.stream import Samples
from sensorium.perception.cascade import NAMES, Before, look
from sensorium.perception.descriptor import descriptor, quantised
from sensorium.perception.gates import Gates
from sensorium.perception.noise import noise
from sensorium.perception.working import working
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.walk import Walk, WalkTrajectory, side_m

SIZES = [(160, 120), (320, 240), (640, 480), (752, 480), (1280, 720)]
Scored = dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]


def scored(pictures: Sequence[Samples], order: str = "BGR", white: float = 255, period_ns: int = 33_000_000) -> Scored:
    before, found = Before(), []
    for number, picture in enumerate(pictures):
        before, looked = look(before, working(picture, order), white, number * period_ns)
        found.append(looked.scores)
    return {name: np.array([scores[name] for scores in found], np.float64) for name in NAMES}


def closed(pictures: Sequence[Samples]) -> list[str]:
    return Gates().closed(scored(pictures))


def static(size: tuple[int, int], sigma: float, seed: int, box: int = 0) -> Samples:
    """Noise of a deviation of 40, white, or with so much in common with its neighbours."""
    white = np.random.default_rng(seed).normal(0, 1, size[::-1]).astype(np.float32)
    smooth = cv2.GaussianBlur(white, (0, 0), sigma) if sigma else cv2.blur(white, (box, box)) if box else white
    level: Samples = (smooth / smooth.std() * 40 + 128).clip(0, 255).astype(np.uint8)
    return level


def film(recordings: Path, every: int) -> list[Samples]:
    capture = cv2.VideoCapture(str(recordings / "video/vtest.avi"))
    frames: list[Samples] = []
    while len(frames) < 200 and (read := capture.read())[0]:
        frames.append(np.asarray(read[1]))
    return frames[::every]


def euroc(recordings: Path) -> list[Samples]:
    files = sorted((recordings / "euroc/mav0/cam0/data").glob("*.png"))
    return [np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) for file in files]


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Samples:
    """Structure of many sizes, and the noise of a sensor."""
    random = np.random.default_rng(seed)
    picture = np.zeros(size[::-1], np.float32)
    for octave in range(2, 7):
        nodes = random.normal(0, 1, (3 * 2**octave // 4, 2**octave)).astype(np.float32)
        picture += 40 / octave * cv2.resize(nodes, size, interpolation=cv2.INTER_CUBIC)
    noisy: Samples = (picture + 128 + random.normal(0, 2, picture.shape)).clip(0, 255).astype(np.uint8)
    return noisy


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("sigma", "box"), [(0, 0), (1, 0), (1.5, 0), (0, 2), (0, 3)])
def test_noise_closes_its_gate_also_where_neighbours_go_together(size: tuple[int, int], sigma: float, box: int) -> None:
    frames = [static(size, sigma, seed, box) for seed in range(3)]
    assert closed(frames) == ["noise"] * 3
    assert closed([scene(1, size), frames[0], scene(1, size)]) == ["", "noise", ""]
    colored = np.stack([static(size, sigma, seed, box) for seed in (3, 4, 5)], axis=-1)
    assert closed([colored]) == ["noise"]


def test_real_scenes_pass_all_gates(recordings: Path) -> None:
    for frames in (film(recordings, 20), euroc(recordings)[::4]):
        assert set(closed(frames)) == {""}
        shaken = [np.roll(frame, (9 * n, 23 * n), axis=(0, 1)) for n, frame in enumerate(frames)]
        assert set(closed(shaken)) == {""}
        assert max(noise(working(frame).gray) for frame in frames) < 2, "each by itself"


@pytest.mark.parametrize("size", SIZES[1:])
def test_noise_of_two_pixels_is_noise_where_the_picture_is_larger_than_the_working_size(size: tuple[int, int]) -> None:
    """Blobs of eight pixels in 160 are what a plane full of texture looks like."""
    assert closed([static(size, 2, seed) for seed in range(3)]) == ["noise"] * 3


@pytest.mark.parametrize("size", [(64, 48), (96, 72), (160, 120), (320, 240), (752, 480)])
@pytest.mark.parametrize("color", [False, True])
def test_every_place_of_a_world_is_a_scene_by_itself(size: tuple[int, int], color: bool) -> None:
    walk = Walk()
    motion = WalkTrajectory(walk, 0).at(np.arange(0, 400, 9.0))
    plane = PlanarScene(0, *size, 70.0, color, side_m(walk, size, 70.0))
    pictures = [plane.render(*pose) for pose in zip(motion.position, motion.rotation, strict=True)]
    assert max(noise(working(picture).gray) for picture in pictures) < 3.8
    assert noise(working(static(size, 0, 0)).gray) > 6


def test_texture_that_moves_is_no_noise() -> None:
    """Gravel looks like noise, but where the camera moves it is there again in the next picture."""
    ground = static((900, 700), 2.5, 0)
    passing = [ground[n * 20 : n * 20 + 480, n * 30 : n * 30 + 640] for n in range(6)]
    assert noise(working(passing[0]).gray) > 4
    assert closed(passing) == ["noise"] + [""] * 5


def test_a_noise_picture_that_comes_twice_is_noise_still() -> None:
    twice = [static((320, 240), 0, seed) for seed in (1, 1, 2, 2, 3, 3)]
    assert closed(twice) == ["noise"] * 6


def test_a_camera_that_is_stuck_is_frozen_also_among_a_few_buffers() -> None:
    live = [scene(seed) for seed in range(4)]
    assert scored([*live, *[live[-1]] * 5])["frozen"].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert closed([live[0]] * 6) == ["", "", "", *["frozen"] * 3]
    assert closed([*live, *live, *live])[-5:] == ["frozen"] * 5
    assert scored([*live, *live, scene(9)])["frozen"][-1] == 0
    still = [(live[0] + np.random.default_rng(n).normal(0, 1, live[0].shape)).astype(np.uint8) for n in range(6)]
    assert set(closed(still)) == {""}, "a scene that stands still has the noise of its sensor"


def test_black_white_and_clipped_pictures_close_the_exposure() -> None:
    random = np.random.default_rng(0)
    covered = [random.poisson(1.5, (240, 320)).astype(np.uint8) for _ in range(3)]
    blinded = [np.full((240, 320, 3), 255, np.uint8) - random.integers(0, 2, (240, 320, 3), np.uint8) for _ in range(3)]
    assert closed(covered) == ["exposure"] * 3
    assert closed(blinded) == ["exposure"] * 3
    night = scene(3).astype(np.float32) * 0.2
    assert closed([night.astype(np.uint8)]) == [""]


def test_flicker_is_seen_and_is_little_news() -> None:
    picture = scene(5).astype(np.float32)
    lamp = [(picture * level).clip(0, 255).astype(np.uint8) for level in (0.6, 1.0) * 8]
    slow = [(picture * level).clip(0, 255).astype(np.uint8) for level in np.linspace(0.4, 1, 16)]
    assert scored(lamp)["flicker"][-1] > 0.3
    assert scored(slow)["flicker"].max() < 0.01
    one, other, elsewhere = (descriptor(working(frame)).astype(np.float64) for frame in (lamp[0], lamp[1], scene(6)))
    lengths = [float(np.linalg.norm(vector)) for vector in (one, other, elsewhere)]
    assert 1 - one @ other / lengths[0] / lengths[1] < 0.05
    assert 1 - one @ elsewhere / lengths[0] / lengths[2] > 0.4


def test_blur_is_a_rank_among_the_streams_own() -> None:
    frames = [cv2.GaussianBlur(scene(seed), (0, 0), 0.5 + seed % 5 / 10) for seed in range(30)]
    blur = scored([*frames, cv2.GaussianBlur(scene(31), (0, 0), 5), scene(32)])["blur"]
    assert np.isnan(blur[:10]).all()
    assert blur[-2:].tolist() == [1.0, 0.0]


def test_shift_is_how_far_it_moved_and_nan_where_nothing_stays() -> None:
    plane = scene(2, (1000, 800))
    frames = [plane[100:340, 100 + dx : 420 + dx] for dx in (0, 16, 48)] + [scene(77)]
    found = scored(frames, period_ns=50_000_000)
    assert found["shift_x"][1:3] == pytest.approx([-16 / 320, -32 / 320], abs=0.004)
    assert found["shift_y"][1:3] == pytest.approx([0, 0], abs=0.004)
    assert found["shift_s"][1:3].tolist() == [0.05, 0.05]
    assert np.isnan([found["shift_x"][0], found["shift_x"][3], found["shift_s"][3]]).all()


def test_a_clock_that_is_set_back_is_no_speed() -> None:
    before, _ = look(Before(), working(scene(1)), 255, 10**9)
    _, after = look(before, working(scene(1)), 255, 5)
    assert np.isnan([after.scores[name] for name in ("shift_x", "shift_y", "shift_s")]).all()
    assert after.scores["frozen"] == 1


def test_hash_distance_is_small_of_what_looks_the_same() -> None:
    same = [scene(1), (scene(1) * 0.7).astype(np.uint8), scene(2)]
    distances = scored(same)["hash_distance"]
    assert np.isnan(distances[0])
    assert distances[1] < 12 < 30 < distances[2]


def test_information_and_entropy_grow_with_what_there_is() -> None:
    flat, plain, rich = np.full((240, 320), 90, np.uint8), cv2.GaussianBlur(scene(1), (0, 0), 9), scene(1)
    for name in ("information", "entropy", "sharpness"):
        values = scored([flat, plain, rich])[name]
        assert values.tolist() == sorted(values), name


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_pictures_of_other_types_say_the_same(dtype: str, channels: int) -> None:
    frames = [scene(1), scene(2)]
    many = [np.repeat(frame[..., None], channels, axis=2) if channels else frame for frame in frames]
    scale = 1.0 if dtype == "uint16" else 1 / 255
    found = scored([(frame * scale).astype(dtype) for frame in many], white=255 * scale)
    plain = scored(frames)
    for name in ("exposure_mean", "noise", "blur", "hash_distance", "shift_x"):
        assert found[name] == pytest.approx(
            plain[name], rel=0.1, abs=2 if name == "hash_distance" else 0.05, nan_ok=True
        ), name


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (16, 360), (7, 9, 3), (900, 170), (241, 319, 3)])
@pytest.mark.parametrize("value", [0, 1])
def test_pictures_of_any_size_are_scored(shape: tuple[int, ...], value: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8) * np.uint8(value)
    found = scored([picture] * 5 + [picture + np.uint8(1)])
    assert all(np.isfinite(found[name]).all() for name in ("exposure_mean", "entropy", "noise", "information"))
    vector = descriptor(working(picture))
    assert vector.shape == (512,)
    assert vector.dtype == np.int8


def test_what_is_not_finite_counts_as_nothing() -> None:
    depth = scene(1).astype(np.float32)
    depth[::7] = np.nan
    depth[3] = np.inf
    found = scored([depth, depth])
    assert np.isfinite(found["noise"]).all()
    assert np.isfinite(found["exposure_mean"]).all()


def test_the_order_of_colours_does_not_matter_once_it_is_known() -> None:
    picture = np.stack([scene(1), scene(2), scene(3)], axis=-1)
    assert np.array_equal(descriptor(working(picture, "BGR")), descriptor(working(picture[..., ::-1], "RGB")))
    assert not np.array_equal(descriptor(working(picture, "BGR")), descriptor(working(picture, "RGB")))


def test_any_vector_is_quantised_to_a_length_below_4096() -> None:
    for vector in (np.ones(2048), np.eye(1, 2048)[0], np.random.default_rng(0).normal(size=4096)):
        whole = quantised(vector).astype(np.float64)
        assert np.linalg.norm(whole) < 4096
        assert whole @ vector / np.linalg.norm(whole) / np.linalg.norm(vector) > 0.999
