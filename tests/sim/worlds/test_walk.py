"""The walk: as much rest and as long steps as asked for, routes that come again, a plane that does not, physics."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.testing import DriverTests
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.scene import PlanarScene
from sensorium.sim.worlds.trajectory import GRAVITY, BodyMotion
from sensorium.sim.worlds.walk import PoseCells, Walk, WalkTrajectory, pose_cells, side_m
from tests.sim.worlds.test_planar import bytes_of, play

SEEDS = range(5)


def walked(seed: int, frames: int = 3000, **fields: Any) -> tuple[BodyMotion, npt.NDArray[np.int64], PoseCells]:
    """Poses, places and cells of a walk, a frame a step."""
    walk = Walk(**fields)
    trajectory = WalkTrajectory(walk, seed)
    time_s = np.arange(frames) / walk.step_hz
    motion = trajectory.at(time_s)
    return motion, trajectory.place_at(time_s), pose_cells(motion.position, motion.quaternion, walk.area_m)


def moved(motion: BodyMotion) -> npt.NDArray[np.float64]:
    """Metres from frame to frame."""
    return np.asarray(np.linalg.norm(np.diff(motion.position, axis=0), axis=1))


class TestConformance(DriverTests):
    expected_rows = {"cam": 5, "imu": 200, "truth": 200}
    expected_lost = {}

    def config(self, tmp_path: Path) -> DriverConfig:
        return SimPlanarConfig(size=(64, 48), duration_s=1.0, pace=5.0, camera_hz=5, walk=Walk(), truth=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_it_rests_for_its_share_and_steps_as_long_as_said(seed: int) -> None:
    motion, place, _ = walked(seed)
    steps = moved(motion)
    on_the_way = steps > 0
    assert on_the_way.mean() == pytest.approx(0.2, abs=0.025)
    assert steps[on_the_way].min() >= 0.25
    assert steps[on_the_way].max() <= 0.5
    assert steps[on_the_way].std() > 0.03, "every step is as long as the other"
    assert (place[:-1] >= 0)[~on_the_way].all()
    assert (place[:-1] == -1)[on_the_way].all()
    assert np.abs(motion.position[:, :2]).max() < 10


@pytest.mark.parametrize("seed", SEEDS)
def test_it_stays_at_eight_places_each_with_one_heading(seed: int) -> None:
    motion, place, _ = walked(seed)
    assert set(place.tolist()) == {-1, *range(8)}
    for number in range(8):
        poses = np.column_stack([motion.position, motion.rotation.reshape(-1, 9)])[place == number]
        assert np.ptp(poses, axis=0).max() < 1e-9


def test_stays_are_log_normal() -> None:
    _, place, _ = walked(0, 200_000)
    changes = np.flatnonzero(np.diff(place))
    lengths = np.diff(changes)[place[changes[:-1] + 1] >= 0]
    logs = np.log(lengths)
    assert len(logs) > 500
    assert 0.7 < logs.std() < 1.3, "0.8, and what keeps the share"
    assert abs(float(np.median(logs) - logs.mean())) < 0.2, "a tail on one side"
    assert lengths.mean() > 1.3 * np.median(lengths), "no long stays"


@pytest.mark.parametrize("seed", SEEDS)
def test_routes_come_again(seed: int) -> None:
    _, place, cells = walked(seed)
    numbers = cells.number
    half = len(numbers) // 2
    before, after = set(numbers[:half].tolist()), set(numbers[half:].tolist())
    assert len(before & after) / len(after) > 0.6
    assert 70 <= len(before | after) <= 140
    assert len(set(numbers[place >= 0].tolist())) <= 8


@pytest.mark.parametrize("options", [{"size": (320, 240)}, {"size": (64, 128), "fov_deg": 100.0}])
def test_the_plane_does_not_repeat(options: dict[str, Any]) -> None:
    """No corner of any frame is past the texture, where it is mirrored; and no two parts of it look alike."""
    config = SimPlanarConfig(walk=Walk(), **options)
    scene = PlanarScene(0, *config.size, config.fov_deg, False, side_m(Walk(), config.size, config.fov_deg))
    motion, _, _ = walked(1, 1000)
    width, height = config.size
    corners = np.array([[[x, y]] for x in (0.0, width - 1.0) for y in (0.0, height - 1.0)])
    half = scene.texture.shape[0] / 2 / 102.4
    for position, rotation in zip(motion.position, motion.rotation, strict=True):
        seen = cv2.perspectiveTransform(corners, np.linalg.inv(scene.homography(position, rotation)))
        assert np.abs(seen).max() < half
    patches = scene.texture[: len(scene.texture) // 128 * 128, : len(scene.texture) // 128 * 128]
    side = len(patches) // 128
    rows = patches.reshape(side, 128, side, 128).swapaxes(1, 2).reshape(side * side, -1).astype(np.float64)
    assert np.abs(np.corrcoef(rows) - np.eye(len(rows))).max() < 0.9


def test_an_imu_agrees_with_the_walk() -> None:
    trajectory = WalkTrajectory(Walk(), 3)
    start_s = float(np.flatnonzero(trajectory.place_at(np.arange(2000) / 5) < 0)[0]) / 5 - 0.5
    step = 1e-3
    time_s = start_s + np.arange(0, 8, step)
    middle = trajectory.at(time_s[:-1] + step / 2)
    motion = trajectory.at(time_s)
    velocity = np.diff(motion.position, axis=0) / step
    assert np.abs(velocity - middle.velocity).max() < 1e-3
    assert np.abs(velocity).max() > 1, "it stood still"
    push = np.einsum("nij,nj->ni", middle.rotation, middle.specific_force) - [0, 0, GRAVITY]
    within = np.floor(time_s[:-1] * 5) == np.floor(time_s[1:] * 5)  # at a step the push jumps
    assert np.abs(np.diff(motion.velocity, axis=0) / step - push)[within].max() < 0.02
    rotation = motion.rotation[0]
    for rate in middle.angular_velocity:
        rotation = rotation @ cv2.Rodrigues(rate * step)[0]
    assert np.abs(rotation - motion.rotation[-1]).max() < 1e-4


def test_the_same_seed_walks_the_same_way_however_it_is_asked() -> None:
    whole = WalkTrajectory(Walk(), 4)
    ahead = whole.at(np.array([5000.0])).position
    parts = WalkTrajectory(Walk(), 4)
    for at_s in (1.0, 3.0, 700.0, 20.0):
        assert np.array_equal(parts.at(np.array([at_s])).position, whole.at(np.array([at_s])).position)
    assert np.array_equal(parts.at(np.array([5000.0])).position, ahead)
    assert not np.array_equal(WalkTrajectory(Walk(), 5).at(np.array([5000.0])).position, ahead)


def test_the_driver_shows_what_the_truth_says() -> None:
    options: dict[str, Any] = {"camera_hz": 5.0, "imu_hz": 5.0, "duration_s": 60.0, "truth": True, "walk": Walk()}
    blocks = play(seed=2, **options)
    frames = np.concatenate([block.data for block in blocks if block.stream == "w.cam"])
    truth = np.concatenate([block.data for block in blocks if block.stream == "w.truth"])
    motion, _, cells = walked(2, 300)
    assert np.array_equal(truth[:, :7], np.column_stack([motion.position, motion.quaternion]))
    assert np.array_equal(pose_cells(truth[:, :3], truth[:, 3:7], 20.0).number, cells.number)
    scene = PlanarScene(2, 64, 48, 70.0, False, side_m(Walk(), (64, 48), 70.0))
    assert np.array_equal(frames[250], scene.render(motion.position[250], motion.rotation[250]))
    still = np.flatnonzero(moved(motion) == 0)
    assert np.array_equal(frames[still], frames[still + 1])


def test_pixel_noise_is_in_every_frame_and_seeded() -> None:
    clean, noisy = (np.concatenate([b.data for b in play(pixel_noise=n) if b.stream == "w.cam"]) for n in (0.0, 3.0))
    off = noisy.astype(np.float64) - clean
    assert off.std() == pytest.approx(3.0, rel=0.1)
    assert abs(np.corrcoef(off[0].ravel(), off[1].ravel())[0, 1]) < 0.1
    assert bytes_of(play(pixel_noise=3.0)) == bytes_of(play(pixel_noise=3.0, pace=1000.0))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"walk": {"places": 40, "area_m": 8}}, "do not fit"),
        ({"walk": {"step_m": [0.5, 0.25]}}, "the least and the greatest"),
        ({"walk": {}, "size": (8, 8192)}, "m wide, expected at most"),
    ],
)
def test_what_cannot_be_walked_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SimPlanarConfig(**fields)
