"""Health says what is wrong with a stream, whatever the blocks, in bounded memory."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.perception.health import StreamHealth
from sensorium.perception.reservoir import Reservoir

IMU = StreamSpec(
    name="imu",
    modality="imu",
    dtype="float64",
    shape=(6,),
    channels=("gx", "gy", "gz", "ax", "ay", "az"),
    rate_hz=200,
    full_scale=(35.0, 35.0, 35.0, 156.0, 156.0, 156.0),
)
CAMERA = StreamSpec(name="cam", modality="image", dtype="uint8", shape=(120, 160, 3), rate_hz=30, color_order="BGR")
PERIOD_NS = 5_000_000


def rows(stamps: ArrayLike, data: Samples | None = None) -> Block:
    captured_ns = np.asarray(stamps, np.int64)
    if data is None:
        data = np.random.default_rng(0).normal(size=(len(captured_ns), 6))
    return Block("imu", captured_ns, data)


def health_of(spec: StreamSpec, *blocks: Block) -> dict[str, Any]:
    health = StreamHealth(spec)
    for block in blocks:
        health.update(block)
    summary = health.summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    return summary


def frames(pictures: Sequence[Samples], period_ns: int = 33_333_333) -> Block:
    data = np.stack(pictures)
    return Block("cam", np.arange(len(data)) * period_ns, data)


def noise(seed: int, height: int = 120, width: int = 160) -> Samples:
    return np.random.default_rng(seed).integers(1, 250, (height, width, 3)).astype(np.uint8)


def test_a_regular_stream_is_healthy() -> None:
    summary = health_of(IMU, rows(np.arange(100) * PERIOD_NS), rows(np.arange(100, 300) * PERIOD_NS))
    assert summary["rows"] == 300
    assert summary["rate_hz"] == 200
    assert summary["interval_ms"] == {"p50": 5.0, "p99": 5.0}
    assert summary["jitter_ms"] == {"p50": 0.0, "p99": 0.0}
    assert summary["gaps"] == {"count": 0, "longest_ms": None, "longest_after_ns": None}
    assert (summary["saturated_share"], summary["saturated"], summary["stuck"]) == (0, [], [])
    assert summary["sharpness"] is None


def test_jitter_is_the_distance_from_the_median_interval() -> None:
    intervals = np.tile([4_900_000, 5_000_000, 5_200_000], 200)
    summary = health_of(IMU, rows(np.cumsum(intervals)))
    assert summary["interval_ms"] == {"p50": 5.0, "p99": 5.2}
    assert summary["jitter_ms"] == {"p50": 0.1, "p99": 0.2}


@pytest.mark.parametrize("cut", [39, 40, 41])
def test_gaps_are_counted_also_between_blocks(cut: int) -> None:
    stamps = np.arange(100) * PERIOD_NS
    stamps[40:] += 7 * PERIOD_NS
    stamps[70:] += PERIOD_NS
    gaps = health_of(IMU, rows(stamps[:cut]), rows(stamps[cut:]))["gaps"]
    assert gaps == {"count": 2, "longest_ms": 40.0, "longest_after_ns": 39 * PERIOD_NS}


def test_a_longer_interval_up_to_half_a_period_is_no_gap() -> None:
    stamps = np.arange(100) * PERIOD_NS
    stamps[50:] += PERIOD_NS // 2
    assert health_of(IMU, rows(stamps))["gaps"]["count"] == 0


def test_gaps_are_told_by_the_stream_s_own_rate() -> None:
    one_missing = frames([noise(seed) for seed in range(9)]).take(np.r_[0:4, 5:9], 0)
    assert health_of(CAMERA, one_missing)["gaps"]["count"] == 1


def test_without_a_nominal_rate_gaps_cannot_be_told() -> None:
    spec = StreamSpec(name="imu", modality="events", dtype="float64", shape=(6,))
    assert health_of(spec, rows([0, 1, 10**9]))["gaps"] is None


def test_nothing_and_one_sample_are_no_rate() -> None:
    assert health_of(IMU)["rate_hz"] is None
    summary = health_of(IMU, rows([5]), rows([]))
    assert (summary["rows"], summary["rate_hz"], summary["interval_ms"], summary["jitter_ms"]) == (1, None, None, None)


def test_stamps_without_data_tell_of_time_alone() -> None:
    block = frames([noise(0)] * 30)
    stamps = Block("cam", block.captured_ns + 15 * 33_333_333, block.data[:0])
    alone, both = health_of(CAMERA, stamps), health_of(CAMERA, block.between(0, 15), stamps)
    assert (alone["rows"], alone["interval_ms"], alone["gaps"]["count"]) == (30, {"p50": 33.3333, "p99": 33.3333}, 0)
    assert (alone["saturated_share"], alone["stuck"], alone["sharpness"]) == (None, [], None)
    assert (both["rows"], both["gaps"]["count"], both["stuck"], both["saturated_share"]) == (45, 0, [], 0)


def test_saturation_is_told_by_channel() -> None:
    data = np.zeros((40, 6)) + np.arange(40)[:, None] / 100
    data[::4, 1] = -35.0
    data[5, 5] = 156.0
    summary = health_of(IMU, rows(np.arange(40) * PERIOD_NS, data))
    assert summary["saturated"] == ["gy", "az"]
    assert summary["saturated_share"] == round(11 / 240, 6)


@pytest.mark.parametrize(
    ("dtype", "values", "share"),
    [("int16", [-32768, 32767, 0, 5], 0.5), ("uint8", [0, 255, 1, 2], 0.25), ("float32", [1.0, 2.0, 3.0, 4.0], None)],
)
def test_without_full_scale_the_type_is_the_limit(dtype: str, values: list[float], share: float) -> None:
    spec = StreamSpec(name="imu", modality="raw", dtype=dtype, shape=())
    block = Block("imu", np.arange(4), np.array(values, dtype))
    assert health_of(spec, block)["saturated_share"] == share


def test_stuck_axes_are_named() -> None:
    data = np.random.default_rng(0).normal(size=(40, 6))
    data[:, 2], data[:, 4] = 9.81, np.nan
    data[:39, 0] = 1.0
    stamps = np.arange(40) * PERIOD_NS
    assert health_of(IMU, rows(stamps[:17], data[:17]), rows(stamps[17:], data[17:]))["stuck"] == ["gz", "ay"]
    assert health_of(IMU, rows(stamps[:10], data[:10]))["stuck"] == []


def test_an_axis_that_comes_to_rest_is_not_stuck() -> None:
    data = np.random.default_rng(0).uniform(-1, 1, (60, 6))
    data[20:40], data[40:] = 1.0, -1.0
    stamps = np.arange(60) * PERIOD_NS
    for kept in (np.r_[0:40], np.r_[0:20, 40:60]):
        assert health_of(IMU, rows(stamps[:20], data[:20]), rows(stamps[20:40], data[kept][20:]))["stuck"] == []


def test_a_frozen_camera_is_stuck_and_a_moving_one_is_not() -> None:
    assert health_of(CAMERA, frames([noise(0)] * 30))["stuck"] == ["all"]
    assert health_of(CAMERA, frames([noise(0)] * 29 + [noise(1)]))["stuck"] == []


def test_overexposure_shows_in_a_picture() -> None:
    picture = noise(0)
    picture[:, :80] = 255
    assert health_of(CAMERA, frames([picture] * 3))["saturated_share"] == pytest.approx(0.5, abs=0.02)


def test_blur_is_sampled_by_stamps() -> None:
    sharp, blurred = noise(0), cv2.GaussianBlur(noise(0), (0, 0), 3)
    every_sixth = [sharp if number % 6 == 0 else blurred for number in range(30)]
    found = health_of(CAMERA, frames(every_sixth, period_ns=34_000_000))["sharpness"]
    assert found == health_of(CAMERA, frames([sharp] * 30))["sharpness"]
    assert found["p50"] > 10 * health_of(CAMERA, frames([blurred] * 30))["sharpness"]["p50"]


def test_frames_that_are_no_pictures_have_no_sharpness() -> None:
    spec = StreamSpec(name="lidar", modality="ranges", dtype="int32", shape=(16, 360), rate_hz=10)
    block = Block("lidar", np.arange(3) * 10**8, np.arange(3 * 16 * 360, dtype=np.int32).reshape(3, 16, 360))
    summary = health_of(spec, block)
    assert (summary["sharpness"], summary["saturated_share"], summary["rate_hz"]) == (None, 0, 10)


@given(cuts=st.lists(st.integers(0, 60), max_size=8), seed=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_cuts_do_not_matter(cuts: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    block = rows(np.cumsum(random.integers(1, 20_000_000, 60)), random.normal(0, 30, (60, 6)).round(-1))
    borders = [0, *sorted(cuts), 60]
    parts = [block.between(start, stop) for start, stop in pairwise(borders)]
    assert health_of(IMU, *parts) == health_of(IMU, block)


@given(cuts=st.lists(st.integers(0, 500), max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_reservoir_is_bounded_and_indifferent_to_cuts(cuts: list[int]) -> None:
    whole, cut = Reservoir(50), Reservoir(50)
    whole.add(np.arange(500.0))
    for part in np.split(np.arange(500.0), sorted(cuts)):
        cut.add(part)
    assert len(whole.values) == 50
    assert whole.values.tolist() == cut.values.tolist()
    assert len(set(whole.values)) == 50


def test_a_reservoir_of_one_keeps_each_of_two_as_often() -> None:
    kept = []
    for seed in range(400):
        reservoir = Reservoir(1, seed)
        reservoir.add(np.array([0.0, 1.0]))
        kept += reservoir.values.tolist()
    assert 150 < sum(kept) < 250


def test_a_reservoir_picks_evenly() -> None:
    counts = np.zeros(100)
    for seed in range(400):
        reservoir = Reservoir(20, seed)
        reservoir.add(np.arange(100.0))
        counts[reservoir.values.astype(int)] += 1
    # binomial, 400 draws at 0.2: five deviations around 80
    assert counts.min() > 40
    assert counts.max() < 120


def test_euroc_is_as_healthy_as_its_tables_say(recordings: Path) -> None:
    table = recordings / "euroc/mav0/imu0/data.csv"
    stamps = np.loadtxt(table, delimiter=",", dtype=np.int64, usecols=0)
    data = np.loadtxt(table, delimiter=",", usecols=range(1, 7))
    summary = health_of(IMU, *(rows(stamps[at : at + 50], data[at : at + 50]) for at in range(0, len(stamps), 50)))
    intervals = np.diff(stamps)
    assert summary["rows"] == len(stamps)
    assert summary["rate_hz"] == pytest.approx(1e9 * len(intervals) / intervals.sum(), abs=1e-3)
    assert summary["gaps"]["count"] == int((intervals > 7_500_000).sum())
    assert summary["stuck"] == []


@given(
    st.lists(st.lists(st.integers(0, 30_000_000), min_size=1, max_size=80), min_size=1, max_size=4),
    st.sampled_from([None, 200.0]),
)
def test_the_timing_of_stamps_that_come_together_is_that_of_stamps_that_come_one_by_one(
    steps: list[list[int]], rate_hz: float | None
) -> None:
    """Few are taken together, and many by numpy."""
    spec = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(6,), rate_hz=rate_hz)
    together, single, stamp = StreamHealth(spec), StreamHealth(spec), 0
    for part in steps:
        stamps = (stamp + np.cumsum(part)).tolist()
        together.update(rows(stamps))
        for each in stamps:
            single.update(rows([each]))
        stamp = stamps[-1]
    names = ("rows", "rate_hz", "interval_ms", "jitter_ms", "gaps")
    assert [together.summary()[name] for name in names] == [single.summary()[name] for name in names]
