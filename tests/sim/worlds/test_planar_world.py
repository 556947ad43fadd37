"""The planar world as it is acted on: its sensors and its truth agree, and its task can be judged from the truth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd
from sensorium.drivers.stream import Block
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.planar_sensors import TRUTH
from sensorium.sim.worlds.planar_world import ROAMED
from sensorium.sim.worlds.playing import Acts, Played, by_script, steps
from sensorium.sim.worlds.testing import WorldTests
from sensorium.sim.worlds.trajectory import GRAVITY
from tests.sim.worlds.asked import asked_of

_AT = {name: column for column, name in enumerate(TRUTH)}


def small(**options: Any) -> SimPlanarConfig:
    return SimPlanarConfig(**{"size": (64, 48), "truth": True, **options})


def flown(task: str, most: int, policy: Acts = by_script, seed: int = 1, **options: Any) -> Played:
    world = small(**options).make()
    return Played.of(steps(world, seed, task, policy, most))


class TestPlanar(WorldTests):
    def config(self) -> WorldConfig:
        return small(limit_s=2.0)

    def check_truth(self, played: Played) -> None:
        truth, imu = played.data("truth"), played.data("imu")
        assert (played.stamps("truth") == played.stamps("imu")).all()
        assert np.abs(imu[:, :3] - truth[:, _AT["wx"] : _AT["wz"] + 1]).max() < 1e-9
        interval_s = np.diff(played.stamps("truth")) / 1e9
        velocity = truth[:, _AT["vx"] : _AT["vz"] + 1]
        # in the middle of an interval, in which no step begins, the force is the same all the time
        moved = velocity[:-1] * interval_s[:, None] + np.diff(velocity, axis=0) * interval_s[:, None] / 2
        assert np.abs(np.diff(truth[:, :3], axis=0) - moved).max() < 1e-6
        assert np.abs(np.diff(velocity[:, 2]) / interval_s - (imu[1:, 5] - GRAVITY)).max() < 1e-3


class TestWithErrors(TestPlanar):
    early_ns = late_ns = 40_000_000

    def config(self) -> WorldConfig:
        errors = {"preset": "bmi088"}
        return small(
            limit_s=2.0, color=True, pixel_noise=3.0, imu_errors=errors, camera_offset_s=0.02, jitter_s=0.001,
            camera_drop=0.2, imu_drop=0.1, camera_hz=29.97,
        )  # fmt: skip

    def check_truth(self, played: Played) -> None:
        at = np.searchsorted(played.stamps("truth"), played.stamps("imu") - 5_000_000).clip(0, None)
        near = played.data("truth")[at, _AT["wx"] : _AT["wz"] + 1]
        assert np.abs(played.data("imu")[:, :3] - near).max() < 0.3
        assert np.abs(played.data("truth")[:, _AT["bgx"] :]).max() > 0.001


class TestAsDriver(DriverTests):
    expected_rows = {"cam": 31, "imu": 201, "action": 20}
    expected_lost = {}

    def config(self, tmp_path: Path) -> DriverConfig:
        return SimPlanarConfig(size=(64, 48), task="roam", duration_s=1.0, pace=5.0)


@pytest.mark.parametrize("seed", range(5))
def test_its_script_reaches_the_place_that_is_marked(seed: int) -> None:
    played = flown("reach", 600, seed=seed)
    assert played.done == "terminated"
    last = played.data("task")[-1]
    assert (last[2] < 0.25, last[3]) == (True, 1.0)
    assert np.hypot(*(played.data("truth")[-1, :2] - last[:2])) == pytest.approx(last[2])
    assert (played.data("task")[:-1, 3] == 0).all()
    assert sum(reward["reached"] for reward in played.rewards) == 1
    assert sum(reward["nearer"] for reward in played.rewards) == pytest.approx(played.data("task")[0, 2] - last[2])


def test_the_place_is_seen_where_it_is() -> None:
    """At the end the disc, which is brighter than all around it, is in the middle of the picture."""
    frame = flown("reach", 600, size=(160, 120)).data("cam")[-1].astype(float)
    rows, columns = np.nonzero(frame == 255)
    assert np.hypot(np.median(rows) - 59.5, np.median(columns) - 79.5) < 20


def test_to_do_nothing_earns_nothing_and_time_ends_it() -> None:
    played = flown("reach", 1000, lambda _, __: np.zeros(4), limit_s=1.0)
    assert (played.done, len(played.actions)) == ("truncated", 20)
    assert played.data("task")[-1, 3] == 0
    assert all(sum(reward.values()) == 0 for reward in played.rewards)
    assert (played.data("truth")[:, :3] == played.data("truth")[0, :3]).all()


def test_to_roam_pays_by_the_square_metre() -> None:
    played = flown("roam", 200)
    assert sum(reward["cells"] for reward in played.rewards) + 1 == played.data("task")[-1, 4] >= 6


def test_its_script_roams_far_enough() -> None:
    played = flown("roam", 600, size=(16, 12), camera_hz=1, imu_hz=20)
    assert played.done == "truncated"
    assert played.data("task")[-1, 4] >= ROAMED


def test_it_goes_where_it_is_asked_to_at_the_speed_that_is_asked_for() -> None:
    ahead = flown("roam", 8, lambda _, __: np.array([0.4, 0.0, 0.0, 0.0])).data("truth")[-1]
    yaw = 2 * np.arctan2(ahead[_AT["qz"]], ahead[_AT["qw"]])
    assert ahead[_AT["vx"] : _AT["vz"] + 1] == pytest.approx([0.4 * np.cos(yaw), 0.4 * np.sin(yaw), 0.0])
    turned = flown("roam", 8, lambda _, __: np.array([0.0, 0.0, 0.3, 0.5])).data("truth")[-1]
    assert (turned[_AT["vz"]], turned[_AT["wz"]]) == pytest.approx((0.3, 0.5))


@pytest.mark.parametrize("towards", [np.array([1.5, 0, 0, 0]), np.array([0, 1.5, 0.8, 0]), np.array([0, 0, -0.8, 0])])
def test_it_stays_over_the_plane(towards: Any) -> None:
    place = flown("roam", 300, lambda _, __: towards).data("truth")[:, :3]
    assert np.abs(place[:, :2]).max() < 3.6
    assert 0.7 < place[:, 2].min() <= place[:, 2].max() < 4.1


def test_without_truth_there_is_none() -> None:
    world = small(truth=False).make()
    assert world.specs.truth == ()
    assert Played.of(steps(world, 1, "reach", most=3)).blocks.keys() == {"cam", "imu"}


def test_as_a_driver_it_shows_its_task() -> None:
    driver = small(task="reach", duration_s=20.0, pace="fast").open("w", Path())
    marks, streams = [], set()
    while (got := driver.read(1.0)) is not None:
        marks += [each for each in got if isinstance(each, EpisodeBegin | EpisodeEnd)]
        streams |= {each.stream for each in got if isinstance(each, Block)}
    driver.close()
    assert streams == {"w.cam", "w.imu", "w.truth", "w.task", "w.action"}
    assert isinstance(marks[1], EpisodeEnd)
    assert marks[1].outcome == "terminated"


def test_what_only_its_own_motion_has_cannot_be_acted_on() -> None:
    with pytest.raises(ConfigError, match="walk"):
        small(walk={}).make()
    with pytest.raises(ValidationError, match="rate_changes with a task"):
        small(task="reach", rate_changes=[{"at_s": 1.0, "imu_hz": 10}])


class TestSent(TestPlanar):
    """With odometry it can be sent somewhere."""

    def config(self) -> WorldConfig:
        return small(limit_s=60.0, odometry={}, camera_hz=2.0)


def test_it_goes_where_it_is_sent_by_its_odometry() -> None:
    world = small(limit_s=600.0, odometry={"place_bias_m": 0.2}, camera_hz=1.0).make()
    asked = {"x_m": 2.0, "y_m": -1.5, "z_m": 1.2, "yaw_rad": 1.0}
    played, note = asked_of(world, "roam", asked, 900)
    assert note.value["why"] == ""
    did, there = note.value["did"], played.data("truth")[-1]
    assert [did[name] for name in ("x_m", "y_m", "z_m")] == pytest.approx([2.0, -1.5, 1.2], abs=0.35)
    assert there[:3] == pytest.approx([did[name] for name in ("x_m", "y_m", "z_m")], abs=0.8)
    assert all(abs(there[place] - did[name]) > 1e-4 for place, name in enumerate(("x_m", "y_m")))
    assert did["yaw_rad"] == pytest.approx(1.0, abs=0.2)
    world.ask("", {})
    world.step(world.scripted())
    assert world.step(world.scripted())[0].told == ()


def begun(**set_: Any) -> int:
    """How often it is reset in 70 s by itself."""
    driver = small(task="roam", duration_s=70.0, pace="fast", camera_hz=0.1, imu_hz=10.0, **set_).open("a", Path())
    count = 0
    while (got := driver.read(1.0)) is not None:
        count += sum(isinstance(each, EpisodeBegin) for each in got)
    driver.close()
    return count


def test_who_can_be_sent_goes_on_by_itself_unless_a_limit_is_set() -> None:
    """Each reset would break off what it was asked, and put it elsewhere."""
    assert (begun(odometry={}), begun(odometry={}, limit_s=30.0), begun()) == (1, 3, 3)
    said = [small(odometry={}, **more).identity(Path()).said["limit_s"] for more in ({}, {"limit_s": 30.0})]
    assert said[0] > 1e8
    assert said[1] == 30.0


def test_without_odometry_nothing_can_be_asked() -> None:
    world = small().make()
    world.reset(0, "roam")
    assert world.controls == ()
    with pytest.raises(ValueError, match="no control 'x_m'"):
        world.ask("p", {"x_m": 1.0})
