"""The planar world: physics that agree with themselves, seeded to the byte, and a good driver."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sensorium.drivers.controls import controls_of
from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.region import LEFT, TOP, WIDTH, Regional
from sensorium.drivers.stream import Block
from sensorium.drivers.testing import DriverTests
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.scene import BODY_FROM_CAMERA, PlanarScene
from sensorium.sim.worlds.senses.odometry import OdometryErrors
from sensorium.sim.worlds.trajectory import GRAVITY, Trajectory


def play(**options: Any) -> list[Block]:
    driver = SimPlanarConfig(**{"pace": "fast", "duration_s": 1.0, "size": (64, 48), **options}).open("w", Path())
    blocks: list[Block] = []
    while (got := driver.read(1.0)) is not None:
        blocks.extend(each for each in got if isinstance(each, Block))
    driver.close()
    return blocks


def bytes_of(blocks: Sequence[Block]) -> list[tuple[str, bytes, bytes, int]]:
    return [(block.stream, block.captured_ns.tobytes(), block.data.tobytes(), block.lost_before) for block in blocks]


class TestConformance(DriverTests):
    expected_rows = {"cam": 30, "imu": 200}
    expected_lost = {}

    def config(self, tmp_path: Path) -> DriverConfig:
        return SimPlanarConfig(size=(64, 48), duration_s=1.0, pace=5.0)


class TestConformanceEndless(DriverTests):
    reads = 30

    def config(self, tmp_path: Path) -> DriverConfig:
        return SimPlanarConfig(size=(64, 48), color=True, camera_hz=15, start_ns=-5)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    assert bytes_of(play(seed=3)) == bytes_of(play(seed=3, pace=1000.0))
    other = play(seed=4)
    for mine, theirs in zip(play(seed=3), other, strict=True):
        assert np.array_equal(mine.captured_ns, theirs.captured_ns)
        assert not np.array_equal(mine.data, theirs.data)


@pytest.mark.parametrize("rate", [30.0, 29.97, 7.0, 0.5, 1000.0])
def test_stamps_are_exact_for_hours(rate: float) -> None:
    """Tick n stands at floor(n / rate), in integers: no rounding error grows."""
    from fractions import Fraction

    blocks = play(camera_hz=0.01, imu_hz=rate, duration_s=20, start_ns=10**18)
    stamps = np.concatenate([block.captured_ns for block in blocks if block.stream == "w.imu"])
    exact = [10**18 + n * 10**9 // Fraction(rate).limit_denominator(1000) for n in range(len(stamps))]
    assert stamps.tolist() == exact
    assert len(stamps) == np.ceil(20 * rate - 1e-9)


def test_gyro_integrates_to_the_orientation() -> None:
    step = 1e-3
    motion = Trajectory(1).at(np.arange(0, 10, step))
    middle = Trajectory(1).at(np.arange(0, 10, step) + step / 2).angular_velocity
    rotation = motion.rotation[0]
    for rate in middle[:-1]:
        rotation = rotation @ cv2.Rodrigues(rate * step)[0]
    assert np.abs(rotation - motion.rotation[-1]).max() < 1e-5


def test_velocity_and_specific_force_are_the_derivatives_of_position() -> None:
    step = 1e-4
    time = np.arange(0, 10, 0.01)
    before, now, after = (Trajectory(2).at(time + shift) for shift in (-step, 0, step))
    assert np.abs((after.position - before.position) / (2 * step) - now.velocity).max() < 1e-6
    acceleration = (after.velocity - before.velocity) / (2 * step) + [0, 0, GRAVITY]
    assert np.abs(np.einsum("nij,nj->ni", now.rotation, now.specific_force) - acceleration).max() < 1e-5
    assert np.abs(now.specific_force[:, 2].mean() - GRAVITY) < 0.5


def test_quaternion_and_matrix_are_the_same_rotation() -> None:
    motion = Trajectory(5).at(np.linspace(0, 60, 500))
    assert np.abs(np.linalg.norm(motion.quaternion, axis=1) - 1).max() < 1e-12
    w, vector = motion.quaternion[:, :1], motion.quaternion[:, 1:]
    axis = np.array([0.3, -0.5, 0.8])
    turned = axis + 2 * np.cross(vector, np.cross(vector, axis) + w * axis)
    assert np.abs(turned - motion.rotation @ axis).max() < 1e-12
    assert np.abs(np.linalg.det(motion.rotation) - 1).max() < 1e-12


def test_points_project_as_a_pinhole_camera_says() -> None:
    scene = PlanarScene(0, 320, 240, 70.0, color=False)
    assert np.isclose(np.linalg.det(BODY_FROM_CAMERA), 1), "a rotation, not a mirror"
    motion = Trajectory(0).at(np.array([3.0]))
    position, rotation = motion.position[0], motion.rotation[0]
    for point in ([0.0, 0.0, 0.0], [0.4, -0.3, 0.0], [-0.7, 0.5, 0.0]):
        ray = (rotation @ BODY_FROM_CAMERA).T @ (np.array(point) - position)
        assert ray[2] > 0, "the plane is in front of the camera"
        pixel = scene.intrinsics @ (ray / ray[2])
        mapped = scene.homography(position, rotation) @ [point[0], point[1], 1.0]
        assert np.allclose(mapped / mapped[2], pixel)


def test_image_motion_agrees_with_the_homography() -> None:
    """Features tracked from one rendered frame to a later one land where the two poses say."""
    scene = PlanarScene(0, 320, 240, 70.0, color=False)
    motion = Trajectory(0).at(np.array([1.0, 1.1]))
    first, second = (scene.render(p, r) for p, r in zip(motion.position, motion.rotation, strict=True))
    one, two = (scene.homography(p, r) for p, r in zip(motion.position, motion.rotation, strict=True))
    corners = cv2.goodFeaturesToTrack(first, 200, 0.01, 8)
    tracked, found, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None)
    expected = cv2.perspectiveTransform(corners, two @ np.linalg.inv(one))
    error = np.linalg.norm(tracked - expected, axis=-1)[found.astype(bool)]
    assert np.linalg.norm(expected - corners, axis=-1).mean() > 1.0, "nothing moved"
    assert np.median(error) < 0.1


def test_the_camera_never_looks_past_the_texture() -> None:
    scene = PlanarScene(0, 640, 480, 70.0, color=False)
    corners = np.array([[[x, y]] for x in (0.0, 639.0) for y in (0.0, 479.0)])
    for seed in range(5):
        motion = Trajectory(seed).at(np.linspace(0, 600, 2000))
        for position, rotation in zip(motion.position, motion.rotation, strict=True):
            on_plane = cv2.perspectiveTransform(corners, np.linalg.inv(scene.homography(position, rotation)))
            assert np.abs(on_plane).max() < 5.0


def _read(driver: Driver) -> tuple[dict[str, np.ndarray], list[SourceNote]]:
    """All samples by stream, and what was told."""
    blocks: dict[str, list[np.ndarray]] = {}
    notes = []
    while (got := driver.read(1.0)) is not None:
        for each in got:
            if isinstance(each, Block):
                each.check(next(spec for spec in driver.specs if spec.name == each.stream))
                blocks.setdefault(each.stream, []).append(each.data)
            elif isinstance(each, SourceNote):
                notes.append(each)
    driver.close()
    return {name: np.concatenate(found) for name, found in blocks.items()}, notes


@pytest.mark.parametrize("options", [{}, {"task": "roam", "odometry": {}}], ids=["by itself", "flown"])
def test_a_region_of_its_pictures_can_be_asked_for(options: dict[str, Any]) -> None:
    config = SimPlanarConfig(size=(48, 32), duration_s=0.5, pace="fast", camera_hz=20, **options)
    whole, _ = _read(config.open("w", Path()))
    driver = config.open("w", Path())
    assert isinstance(driver, Regional)
    driver.ask("p", {LEFT: 12.0, TOP: 8.0, WIDTH: 24.0})
    part, notes = _read(driver)
    assert whole.keys() == part.keys()
    inside = np.zeros((32, 48), bool)
    inside[8:, 12:36] = True
    assert (part["w.cam"] == np.where(inside, whole["w.cam"], 0)).all()
    assert all((whole[name] == part[name]).all() for name in whole if name != "w.cam"), "nothing else is changed"
    (note,) = [note for note in notes if note.name == "p"]
    assert note.value["did"] == {LEFT: 12, TOP: 8, WIDTH: 24, "roi_height_px": 24}


def test_flown_it_can_be_sent_and_be_asked_for_a_region() -> None:
    driver = SimPlanarConfig(size=(48, 32), task="roam", odometry=OdometryErrors(), pace="fast").open("w", Path())
    plans = {control.plan for control in controls_of(driver)}
    driver.close()
    assert plans == {"viewpoint", "roi"}
