"""The planar world's flaws are as large as asked, seeded, and every sample they cost is counted."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.drivers.testing import DriverTests
from sensorium.errors import SensorLost
from sensorium.sim.worlds.imperfections import Outlet
from sensorium.sim.worlds.planar import SimPlanarConfig
from sensorium.sim.worlds.planar_sensors import TRUTH
from sensorium.sim.worlds.trajectory import Trajectory

FLAWS = {
    "truth": True,
    "imu_errors": {"gyro_bias": 0.01, "accel_noise_density": 2e-3, "gyro_random_walk": 1e-4, "accel_full_scale": 10.0},
    "jitter_s": 1e-3,
    "camera_offset_s": -0.013,
    "camera_drop": 0.1,
    "imu_drop": 0.02,
    "rate_changes": [{"at_s": 1.0, "imu_hz": 100.0}, {"at_s": 1.5, "camera_hz": 10.0}],
}


def world(**options: Any) -> SimPlanarConfig:
    return SimPlanarConfig(**{"pace": "fast", "duration_s": 3.0, "size": (32, 24), "camera_hz": 20, **options})


def play(config: SimPlanarConfig) -> tuple[list[Block], int]:
    """All blocks of a world, opened again whenever it was pulled; and how often that was."""
    blocks: list[Block] = []
    pulls = 0
    while True:
        driver = config.open("w", Path())
        specs = {spec.name: spec for spec in driver.specs}
        try:
            while (got := driver.read(1.0)) is not None:
                for block in got:
                    assert isinstance(block, Block)
                    block.check(specs[block.stream])
                    blocks.append(block)
            return blocks, pulls
        except SensorLost:
            pulls += 1
        finally:
            driver.close()


def joined(blocks: Sequence[Block], stream: str) -> tuple[Stamps, Samples]:
    mine = [block for block in blocks if block.stream == f"w.{stream}"]
    return np.concatenate([block.captured_ns for block in mine]), np.concatenate([block.data for block in mine])


def counts(blocks: Sequence[Block]) -> tuple[Counter[str], Counter[str]]:
    rows: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for block in blocks:
        rows[block.stream] += len(block)
        lost[block.stream] += block.lost_before
    return rows, lost


class TestConformanceOfAFlawedWorld(DriverTests):
    def config(self, tmp_path: Path) -> DriverConfig:
        return world(**FLAWS, pace=20.0)


class TestConformanceOfAPulledWorld(DriverTests):
    reads = 10

    def config(self, tmp_path: Path) -> DriverConfig:
        return world(disconnects=[{"at_s": 1.0, "for_s": 1.0}], pace=5.0)

    def lose(self, driver: Driver) -> None:
        """It is pulled by itself at 1 s of simulated time."""


def test_flaws_are_seeded_and_independent_of_the_pace() -> None:
    def data(**options: Any) -> list[tuple[str, int, list[int], bytes]]:
        return [(b.stream, b.lost_before, b.captured_ns.tolist(), b.data.tobytes()) for b in play(world(**options))[0]]

    once = data(**FLAWS, seed=1)
    assert once == data(**FLAWS, seed=1, pace=1000.0)
    assert once != data(**FLAWS, seed=2)


def test_truth_is_the_trajectory_and_the_biases_that_were_added() -> None:
    errors = {"gyro_bias": 0.02, "accel_bias": 0.3, "gyro_random_walk": 1e-3, "accel_random_walk": 1e-2}
    blocks, _ = play(world(truth=True, imu_errors=errors, start_ns=77, jitter_s=1e-3))
    stamps, truth = joined(blocks, "truth")
    motion = Trajectory(0).at((stamps - 77) / 1e9)
    column = {name: truth[:, number] for number, name in enumerate(TRUTH)}
    assert np.array_equal(truth[:, :3], motion.position)
    assert np.array_equal(truth[:, 3:7], motion.quaternion)
    assert np.array_equal(truth[:, 7:10], motion.velocity)
    assert np.array_equal(truth[:, 10:13], motion.angular_velocity)
    _, imu = joined(blocks, "imu")
    assert np.allclose(imu[:, 0], motion.angular_velocity[:, 0] + column["bgx"])
    assert np.allclose(imu[:, 5], motion.specific_force[:, 2] + column["baz"])
    assert np.std(column["bgx"]) > 0


def test_readings_saturate_at_full_scale() -> None:
    _, imu = joined(play(world(imu_errors={"gyro_full_scale": 0.1, "accel_full_scale": 9.8}))[0], "imu")
    assert np.abs(imu[:, :3]).max() == 0.1
    assert imu[:, 5].max() == 9.8
    assert (imu[:, 5] < 9.8).any()


def test_jitter_moves_stamps_and_never_turns_them_round() -> None:
    clean, _ = joined(play(world())[0], "imu")
    stamps, _ = joined(play(world(jitter_s=1e-3))[0], "imu")
    assert (np.diff(stamps) >= 0).all()
    assert np.isclose(np.std(stamps - clean), 1e6, rtol=0.1)
    wild, _ = joined(play(world(jitter_s=1.0))[0], "imu")
    assert (np.diff(wild) >= 0).all()


def test_the_offset_moves_the_cameras_stamps_and_not_its_pictures() -> None:
    stamps, frames = joined(play(world())[0], "cam")
    shifted, same = joined(play(world(camera_offset_s=0.0125))[0], "cam")
    assert (shifted - stamps).tolist() == [12_500_000] * len(stamps)
    assert np.array_equal(frames, same)


def test_rates_change_when_asked() -> None:
    blocks, _ = play(world(rate_changes=[{"at_s": 1.0, "imu_hz": 50.0}, {"at_s": 2.0, "imu_hz": 400.0}]))
    stamps, _ = joined(blocks, "imu")
    assert np.histogram(stamps, [0, 1e9, 2e9, 3e9])[0].tolist() == [200, 50, 400]
    assert len(joined(blocks, "cam")[0]) == 60


def test_dropped_samples_are_counted_where_they_are_missing() -> None:
    blocks, _ = play(world(imu_drop=0.1, camera_drop=0.5))
    rows, lost = counts(blocks)
    assert rows + lost == {"w.imu": 600, "w.cam": 60}
    assert 30 < lost["w.imu"] < 90
    assert 15 < lost["w.cam"] < 45
    after = -5_000_000
    for block in blocks:
        if block.stream == "w.imu" and len(block):
            assert block.captured_ns[0] == after + (block.lost_before + 1) * 5_000_000
            after = int(block.captured_ns[-1])


def test_a_pulled_world_goes_on_where_time_is() -> None:
    pulls = [{"at_s": 0.5, "for_s": 0.25}, {"at_s": 1.0, "for_s": 0.5}, {"at_s": 2.9, "for_s": 1.0}]
    blocks, times = play(world(disconnects=pulls, truth=True))
    assert times == 3
    rows, lost = counts(blocks)
    away = 0.25 + 0.5 + 0.1
    assert rows == {"w.imu": 600 - 200 * away, "w.cam": 60 - 20 * away, "w.truth": 600 - 200 * away}
    assert not +lost
    stamps, data = joined(blocks, "imu")
    for pull in pulls:
        start, stop = (round(value * 1e9) for value in (pull["at_s"], pull["at_s"] + pull["for_s"]))
        assert not ((stamps >= start) & (stamps < stop)).any()
    clean_stamps, clean = joined(play(world())[0], "imu")
    assert np.array_equal(data, clean[np.isin(clean_stamps, stamps)])


def test_a_pulled_world_cannot_be_opened_before_it_is_back() -> None:
    config = world(disconnects=[{"at_s": 0.2, "for_s": 1000.0}], pace=100.0)
    driver = config.open("w", Path())
    with pytest.raises(SensorLost, match="unplugged at 200000000 ns"):
        list(iter(lambda: driver.read(1.0), None))
    driver.close()
    for _ in range(2):
        with pytest.raises(SensorLost, match="s more; open it then"):
            config.open("w", Path())


@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=12)), st.floats(0, 0.9), st.integers(0, 9))
def test_what_goes_into_an_outlet_comes_out_or_is_counted(steps: list[list[int]], drop: float, seed: int) -> None:
    spec = StreamSpec(name="s", modality="t", dtype="int64", shape=())
    outlet = Outlet(spec, np.random.default_rng(seed), 5, jitter_ns=30.0, drop=drop)
    now, everything = 0, list[int]()
    got: list[Block] = []
    for step in steps:
        since_ns = now + np.cumsum(np.array(step, np.int64))
        now = int(since_ns[-1])
        everything.extend(since_ns.tolist())
        stamps, kept = outlet.admit(since_ns)
        got.extend(block for _, block in outlet.blocks(stamps, kept, since_ns[kept]))
    got.extend(block for _, block in outlet.end(now))
    last, row = -(10**9), 0
    for block in got:
        block.check(spec)
        row += block.lost_before
        assert block.data.tolist() == everything[row : row + len(block)]
        assert all(stamp >= last for stamp in block.captured_ns.tolist())
        last = int(block.captured_ns[-1]) if len(block) else last
        row += len(block)
    assert row == len(everything)
