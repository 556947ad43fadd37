"""The rover: as every world promises, sensors that agree with the truth and each other, and tasks that can be done."""

from typing import Any

import numpy as np
import pytest

from sensorium.drivers.controls import Value
from sensorium.errors import ConfigError
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.mujoco.rover_config import RoverConfig
from sensorium.sim.worlds.playing import Played, by_script, steps
from sensorium.sim.worlds.testing import WorldTests
from sensorium.sim.worlds.world import World
from tests.sim.worlds.asked import asked_of
from tests.sim.worlds.mujoco.drawing import needs_drawing

pytestmark = needs_drawing


def rover(**options: Any) -> RoverConfig:
    return RoverConfig(**{"size": (64, 48), "truth": True, "lidar_columns": 60, "rocks": 6, "crates": 2, **options})


def rotation(quaternion: np.ndarray) -> np.ndarray:
    w, x, y, z = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


class TestRover(WorldTests):
    early_ns = 100_000_000  # a revolution of the lidar comes when it is whole
    most_steps = 400

    def config(self) -> WorldConfig:
        return rover(size=(32, 24), lidar_columns=24, rocks=4)

    def check_truth(self, played: Played) -> None:
        pose, imu = played.data("pose"), played.data("imu")
        assert (played.stamps("pose") == played.stamps("imu")).all()
        wrong = imu[:, :3] - played.data("bias")[:, :3] - pose[:, 10:]
        assert np.abs(wrong).max() < 0.05 + 0.1 * np.abs(pose[:, 10:]).max()  # mounts lean, scales are off
        moved = np.linalg.norm(np.diff(pose[:, :3], axis=0), axis=1).sum()
        assert moved > 0.2
        turned = np.diff(played.data("wheels")[[0, -1]], axis=0)[0] / 4096
        assert 0.3 * moved < np.abs(turned).mean() * 2 * np.pi * 0.13 < 3 * moved
        task = played.data("task")
        then = pose[np.searchsorted(played.stamps("pose"), played.stamps("task"))]
        assert task[:, 3] == pytest.approx(np.hypot(*(task[:, :2] - then[:, :2]).T))


def test_honest_senses_faults_and_clocks_are_the_same_each_time() -> None:
    """A rolling shutter, motion blur, a lens, noise, clocks that are late, and a planned fault."""
    config = rover(
        camera={"preset": "imx219", "renders": 3, "distortion": (-0.1, 0.01, 0, 0), "drop": 0.2},
        camera_hz=15,
        clocks={"imu": {"latency_s": 0.01, "offset_s": 0.003}, "left": {"latency_s": 0.02}},
        faults=[{"sensor": "imu", "kind": "bias_step", "start_s": 0.2, "size": 1.0}],
    )
    played, again = (Played.of(steps(config.make(), 3, "reach", by_script, 10)) for _ in range(2))
    assert played.digests() == again.digests()
    at = played.stamps("imu")
    wrong = played.data("imu") - played.data("bias")[: len(at)]
    wrong[:, :3] -= played.data("pose")[: len(at), 10:]
    assert wrong[at > 210_000_000, 0].mean() - wrong[at < 190_000_000, 0].mean() == pytest.approx(1.0, abs=0.2)
    assert played.data("faults")[:, 0].tolist() == [0.0, 1.0]
    assert 4 <= played.lost("left") + len(played.stamps("left")) <= 8
    assert played.stamps("left")[0] % 66_666_666 < 2  # the start of exposure, to the tick


@pytest.mark.parametrize("lidar_hz", [3.0, 13.0, 17.0])
def test_a_revolution_that_is_put_off_to_the_end_of_its_step_is_of_what_is_remembered(
    lidar_hz: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sensorium.sim.worlds.mujoco.physics import Physics

    view = Physics.view
    asked: list[int] = []

    def looked(physics: Physics, moment_ns: int) -> Any:
        asked.append(moment_ns)
        first_ns = physics._before[0][0]
        assert first_ns <= moment_ns or not first_ns, "it would rest where it was then"
        return view(physics, moment_ns)

    monkeypatch.setattr(Physics, "view", looked)
    world = rover(lidar_hz=lidar_hz, lidar_sectors=4, size=(32, 24)).make()
    for count, _ in enumerate(steps(world, 3, "roam")):
        if count == 24:
            break
    world.close()
    assert len(set(asked)) >= 4


def test_pictures_are_the_same_where_they_are_drawn_while_the_rest_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from sensorium.sim.worlds.mujoco.renderer import Renderer

    def seen() -> list[bytes]:
        world = rover(truth=False, limit_s=0.3).make()
        found = [
            block.data.tobytes()
            for step in steps(world, 4, "roam")
            for block in step.observation.sensed
            if block.stream in ("left", "right", "depth")
        ]
        world.close()
        return found

    mine = seen()
    monkeypatch.setattr(Renderer, "begin", Renderer.colour)
    assert mine == seen()
    assert len(mine) > 12


def test_depth_is_the_same_where_it_comes_of_the_drawing_of_a_colour_picture() -> None:
    """With labels it is drawn by itself, and without them with the left picture, where that is of its moment."""
    far = {"depth": {"farthest_m": 40.0}}  # it would see the sky
    for rates in ({"depth_hz": 40.0}, {"depth_hz": 10.0, "fov_deg": 119.0}, far):
        apart, together = (
            Played.of(steps(rover(lidar_hz=1.0, **rates, truth=truth).make(), 7, "reach", by_script, 3))
            for truth in (True, False)
        )
        assert (apart.data("depth") == 0).any()  # the sky
        for stream in ("left", "right", "depth"):
            assert apart.data(stream).tobytes() == together.data(stream).tobytes()


@pytest.fixture(scope="module")
def seen() -> Played:
    """Two seconds of the way, without noise and with sensors where they are meant to be."""
    aspects = ("terrain", "objects", "textures", "light", "masses")
    exact = {"depth": {}, "lidar": {"farthest_m": 30.0}, "imu": {}, "randomise": aspects}
    world = rover(size=(96, 72), lidar_columns=180, depth_hz=20, lidar_sectors=30, **exact).make()
    played = Played.of(steps(world, 7, "reach", by_script, 40))
    world.close()
    return played


def points(world: World, stream: str, played: Played, at: int) -> tuple[np.ndarray, np.ndarray]:
    """The points [n, 3] of one depth picture in the world, and which of its pixels [h, w] they are."""
    spec = next(spec for spec in world.specs.sensed if spec.name == stream)
    depth, moment = played.data(stream)[at], played.stamps(stream)[at]
    focal, _, x0, y0 = spec.calibration["intrinsics"]
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns].astype(np.float64)
    seen = np.stack([(columns - x0) / focal * z, (rows - y0) / focal * z, z], axis=1)
    mount = np.array(spec.calibration["T_BS"])
    body = seen @ mount[:3, :3].T + mount[:3, 3]
    pose = played.data("pose")[np.searchsorted(played.stamps("pose"), moment)]
    return body @ rotation(pose[3:7]).T + pose[:3], np.stack([rows, columns], axis=1)


def test_depth_and_lidar_see_the_same_ground(seen: Played) -> None:
    """Each revolution, column by column from where it was then, lies on what the depth camera saw."""
    world = rover(size=(96, 72), lidar_columns=180).make()
    spec = next(spec for spec in world.specs.sensed if spec.name == "lidar")
    number = 12
    ranges, start = seen.data("lidar")[number], seen.stamps("lidar")[number]
    at, pose = seen.stamps("pose"), seen.data("pose")
    elevation, (first, by) = np.array(spec.calibration["elevation_rad"]), spec.calibration["azimuth_rad"]
    hits = []
    for column in range(ranges.shape[1]):
        moment = start + round((column + 0.5) * spec.calibration["column_s"] * 1e9)
        here = pose[np.argmin(np.abs(at - moment))]
        turn = first + column * by
        rays = np.stack([np.cos(elevation) * np.cos(turn), np.cos(elevation) * np.sin(turn), np.sin(elevation)], axis=1)
        echo = ranges[:, column] > 0
        mount = np.array(spec.calibration["T_BS"])
        body = (rays * ranges[:, column, None])[echo] @ mount[:3, :3].T + mount[:3, 3]
        hits.append(body @ rotation(here[3:7]).T + here[:3])
    cloud = np.concatenate(hits)
    number = int(np.searchsorted(seen.stamps("depth"), start + 50_000_000))
    depth, camera = seen.data("depth")[number], next(spec for spec in world.specs.sensed if spec.name == "depth")
    here = pose[np.searchsorted(at, seen.stamps("depth")[number])]
    focal, _, x0, y0 = camera.calibration["intrinsics"]
    mount = np.array(camera.calibration["T_BS"])
    x, y, z = (((cloud - here[:3]) @ rotation(here[3:7]) - mount[:3, 3]) @ mount[:3, :3]).T
    rows, columns = (np.rint(value / np.maximum(z, 0.1) * focal + middle) for value, middle in ((y, y0), (x, x0)))
    inside = (z > 0.3) & (rows >= 0) & (rows < 72) & (columns >= 0) & (columns < 96)
    seen_there = depth[rows[inside].astype(int), columns[inside].astype(int)]
    share = np.abs(seen_there - z[inside]) / z[inside]
    assert inside.sum() > 100
    assert np.median(share) < 0.02
    assert np.percentile(share, 85) < 0.1  # edges of rocks and hills, and flat angles


def test_the_beacon_is_where_the_segmentation_shows_it() -> None:
    world = rover(size=(96, 72), randomise=("terrain", "objects"), depth={}, rocks=0, crates=0).make()
    played = Played.of(steps(world, 7, "reach", by_script, 120))
    labels = next(spec for spec in world.specs.truth if spec.name == "segmentation").calibration["labels"]
    beacon = labels.index("beacon")
    goal = played.data("task")[0, :3]
    found = 0
    for at, picture in enumerate(played.data("segmentation")):
        where, pixels = points(world, "depth", played, at)
        mine = picture[pixels[:, 0], pixels[:, 1]] == beacon
        if mine.sum() > 3:
            found += 1
            assert np.abs(where[mine, :2] - goal[:2]).max() < 0.25
            above = where[:, 2] > goal[2] + 0.25
            assert np.hypot(*(where[~mine & above, :2] - goal[:2]).T).min(initial=9) > 0.05
    assert found > 10
    assert set(np.unique(played.data("segmentation"))) <= set(range(len(labels)))
    world.close()


def test_contacts_carry_its_weight(seen: Played) -> None:
    contacts, facts = seen.data("contacts"), seen.data("scene")[0]
    world = rover().make()
    names = next(spec for spec in world.specs.truth if spec.name == "scene").channels
    weight = 9.80665 * (facts[names.index("chassis_kg")] + 4 * facts[names.index("wheel_kg")])
    standing = contacts[seen.stamps("contacts") == 0]
    labels = next(spec for spec in world.specs.truth if spec.name == "contacts").calibration["labels"]
    wheels = [row for row in standing if labels[int(row[1])].startswith("wheel") and labels[int(row[0])] == "ground"]
    assert len(wheels) >= 3
    assert sum(row[2] for row in wheels) == pytest.approx(weight, rel=0.2)  # along normals, on slopes


ROAMS = [pytest.param("roam", seed, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]) for seed in range(4)]


@pytest.mark.parametrize(("task", "seed"), [("reach", 0), ("reach", 1), *ROAMS])
def test_its_own_motion_does_the_task(task: str, seed: int) -> None:
    world = rover(camera_hz=0.1, depth_hz=0.1, lidar_hz=0.1, truth=False, limit_s=40).make()
    played = Played.of(steps(world, seed, task))
    world.close()
    assert played.data("task")[-1, -1] == 1.0, played.data("task")[-1]
    assert played.done == ("terminated" if task == "reach" else "truncated")


def test_what_is_not_randomised_stays(seen: Played) -> None:
    def scene(seed: int, *aspects: str) -> dict[str, float]:
        world = rover(camera_hz=1, depth_hz=1, lidar_hz=1, randomise=aspects).make()
        names = next(spec for spec in world.specs.truth if spec.name == "scene").channels
        observation = world.reset(seed, "reach")
        world.close()
        row = next(block.data[0] for block in observation.truth if block.stream == "scene")
        return dict(zip(names, row, strict=True))

    one, other = scene(1, "masses"), scene(2, "masses")
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {"chassis_kg", "wheel_kg", "friction", "crate_kg", "charge"}


def test_the_battery_runs_down_and_sags(seen: Played) -> None:
    voltage, current, charge = seen.data("battery").T
    assert (np.diff(charge) < 0).all()
    assert 10 < voltage.min() < voltage.max() < 17
    assert current.min() > 0.3


def test_without_truth_nothing_is_surveyed_for_it() -> None:
    world = rover(truth=False).make()
    assert {spec.name for spec in world.specs.truth} == {"task", "scene"}
    world.close()


def test_a_closed_world_draws_no_more() -> None:
    world = rover().make()
    world.reset(0, "reach")
    world.close()
    with pytest.raises(RuntimeError, match="reset"):
        world.step(np.zeros(2))
    assert world.reset(0, "reach").now_ns == 0  # it is made anew
    world.close()


def test_a_clock_of_a_stream_that_there_is_not() -> None:
    world = rover(clocks={"imuu": {}}).make()
    with pytest.raises(ConfigError, match="did you mean 'imu'"):
        world.reset(0, "reach")
    world.close()


def sendable(**options: Any) -> RoverConfig:
    rare = {"camera_hz": 1.0, "depth_hz": 1.0, "lidar_hz": 1.0, "size": (32, 24), "lidar_columns": 8, "limit_s": 600.0}
    return rover(**{**rare, "odometry": {}, **options})


class TestRoverSent(TestRover):
    """With odometry it can be sent somewhere."""

    asked_steps = 600

    def config(self) -> WorldConfig:
        return sendable(rocks=2, limit_s=60.0, lidar_hz=10.0)

    def asks(self, world: World) -> list[dict[str, Value]]:
        here = world._scene.start  # type: ignore[attr-defined]
        return [{"x_m": round(float(here[0]) * 0.8, 2), "y_m": round(float(here[1]) * 0.8, 2)}, {"yaw_rad": 1.0}]


def test_it_drives_where_it_is_sent_by_its_odometry() -> None:
    world = sendable(odometry={"place_bias_m": 0.15}).make()
    played, note = asked_of(world, "roam", {"x_m": 1.72, "y_m": -5.82, "yaw_rad": 2.0}, 1600)
    world.close()
    did, there = note.value["did"], played.data("pose")[-1]
    assert note.value["why"] == ""
    assert (did["x_m"], did["y_m"]) == (pytest.approx(1.72, abs=0.5), pytest.approx(-5.82, abs=0.5))
    assert there[:2] == pytest.approx([did["x_m"], did["y_m"]], abs=0.6)
    assert abs(there[0] - did["x_m"]) > 1e-3
    assert did["yaw_rad"] == pytest.approx(2.0, abs=0.2)
    assert played.data("odometry")[-1] == pytest.approx(list(did.values()), abs=1e-3)
    assert played.blocks["odometry"][0].stream == "odometry"
