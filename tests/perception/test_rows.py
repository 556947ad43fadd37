"""What is said of rows: channels at their limits, stuck or late, and news in what goes on."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.drivers.stream import Samples, Scores, StreamSpec
from sensorium.perception.exemplars import Exemplars
from sensorium.perception.rows import LookedRows, RowsBefore, look_rows, watched

IMU = ("gx", "gy", "gz", "ax", "ay", "az")
NONE = np.zeros(0)


def spec(channels: int = 6, rate_hz: float | None = 200.0, dtype: str = "float64", **fields: Any) -> StreamSpec:
    return StreamSpec(name="s", modality="imu", dtype=dtype, shape=(channels,), rate_hz=rate_hz, **fields)


def looked(rows: Samples, of: StreamSpec, lost_at: int | None = None, cuts: tuple[int, ...] = ()) -> LookedRows:
    """All of it, in blocks that end at `cuts`."""
    stamps = (np.arange(len(rows)) * 1e9 / (of.rate_hz or 100.0)).astype(np.int64)
    before, parts, start = RowsBefore(), [], 0
    for stop in sorted({*cuts, *([] if lost_at is None else [lost_at]), len(rows)}):
        lost = 3 if start == lost_at and lost_at is not None else 0
        before, part = look_rows(before, watched(of), rows[start:stop], stamps[start:stop], lost)
        parts.append(part._replace(ends=part.ends + start))
        start = stop
    scores = {name: np.concatenate([part.scores[name] for part in parts]) for name in parts[0].scores}
    return LookedRows(scores, np.concatenate([p.ends for p in parts]), np.concatenate([p.vectors for p in parts]))


def motion(n: int, seed: int = 0, size: float = 1.0) -> Samples:
    return np.random.default_rng(seed).normal(0, size, (n, 6)) * [0.1, 0.1, 0.1, 1, 1, 1] + [0, 0, 0, 0, 0, 9.8]


def saturated(rows: Samples, of: StreamSpec) -> Scores:
    return looked(rows, of).scores["saturated"]


def test_an_imu_at_its_limit_is_saturated_whether_or_not_the_limit_is_known() -> None:
    swing = np.sin(np.arange(2000) / 30)[:, None] * 20 + motion(2000)
    clipped = swing.clip(-16, 16)
    at_limit = (np.abs(clipped) >= 16 * 0.999).mean(axis=1)  # where a conversion may have rounded
    assert np.array_equal(saturated(clipped, spec(full_scale=16.0)), at_limit)
    found = saturated(clipped, spec())
    assert found.max() > 0.5
    assert ((found > 0) <= (at_limit > 0)).all(), "nothing else is"
    assert np.count_nonzero(found) > 0.8 * np.count_nonzero(at_limit)
    assert saturated((swing * 4000).clip(-32768, 32767).astype(np.int16), spec(dtype="int16")).max() > 0.5


def test_a_healthy_imu_is_neither_saturated_nor_stuck(recordings: Any) -> None:
    table = np.loadtxt(recordings / "euroc/mav0/imu0/data.csv", delimiter=",", skiprows=1)
    for rows in (table[:, 1:7], motion(3000)):
        found = looked(rows, spec()).scores
        assert found["saturated"].max() == 0
        assert found["stuck"].max() == 0


def test_channels_that_do_not_change_are_stuck() -> None:
    rows = motion(400)
    rows[100:, 2] = rows[99, 2]
    rows[200:, 4] = np.nan
    stuck = looked(rows, spec()).scores["stuck"]
    assert stuck[117] == 0
    assert stuck[118:218].tolist() == [1 / 6] * 100
    assert stuck[219:].tolist() == [2 / 6] * 181
    assert looked(np.zeros((50, 6)), spec()).scores["saturated"].max() == 0, "stuck is not saturated"


def test_jitter_is_told_in_nominal_intervals() -> None:
    stamps = np.array([0, 10, 20, 35, 40], np.int64) * 1_000_000
    _, found = look_rows(RowsBefore(), watched(spec(1, 100.0)), np.zeros((5, 1)), stamps, 0)
    assert found.scores["jitter"] == pytest.approx([np.nan, 0, 0, 0.5, 0.5], nan_ok=True)
    _, irregular = look_rows(RowsBefore(), watched(spec(1, None)), np.zeros((5, 1)), stamps, 0)
    assert np.isnan(irregular.scores["jitter"]).all()


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 300), max_size=8),
    lost_at=st.none() | st.integers(1, 299),
    channels=st.sampled_from([1, 3, 40]),
    seed=st.integers(0, 5),
)
def test_it_does_not_matter_how_rows_come_in_blocks(
    cuts: list[int], lost_at: int | None, channels: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = random.integers(-2, 3, (300, channels)).cumsum(axis=0).clip(-9, 9).astype(np.float64)
    rows[random.integers(0, 300, 5), 0] = np.nan
    of = spec(channels, 100.0)
    whole, parts = looked(rows, of, lost_at), looked(rows, of, lost_at, tuple(cuts))
    for name, values in whole.scores.items():
        assert np.array_equal(values, parts.scores[name], equal_nan=True), name
    assert whole.ends.tolist() == parts.ends.tolist()
    assert np.array_equal(whole.vectors, parts.vectors)


def test_a_loss_begins_a_window_anew() -> None:
    rows, of = motion(300), spec(rate_hz=100.0)
    assert looked(rows, of).ends.tolist() == [63, 127, 191, 255]
    lost = looked(rows, of, lost_at=100)
    assert lost.ends.tolist() == [63, 163, 227, 291]
    assert np.isnan(lost.scores["jitter"]).nonzero()[0].tolist() == [0, 100]


def novelties(rows: Samples, of: StreamSpec, known: int) -> Scores:
    """Of the windows behind the first `known`, how new they are after those."""
    found = looked(rows, of)
    exemplars = Exemplars(watched(of).bands.by, watched(of).bands.size)
    for vector in found.vectors[:known]:
        exemplars.add(vector)
    return exemplars.novelty(found.vectors[known:])


def test_something_new_in_an_imu_is_new() -> None:
    rows = motion(128 * 60)
    shake = np.sin(2 * np.pi * 40 * np.arange(128) / 200)[:, None] * 3
    rows[128 * 50 : 128 * 51] += shake
    found = novelties(rows, spec(), 40)
    assert found.argmax() == 10
    assert found[10] > 3 * np.delete(found, 10).max()
    assert (
        looked(rows, spec()).scores["energy"][128 * 51 - 1] > looked(rows, spec()).scores["energy"][128 * 50 - 1] + 0.3
    )


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_tone_in_audio_is_new(dtype: str) -> None:
    random, rate_hz = np.random.default_rng(0), 16_000
    time_s = np.arange(rate_hz * 8) / rate_hz
    hum = 0.02 * random.normal(size=len(time_s)) + 0.1 * np.sin(2 * np.pi * 50 * time_s)
    hum[rate_hz * 6 : rate_hz * 6 + 4096] += 0.2 * np.sin(2 * np.pi * 3000 * time_s[:4096])
    rows = (hum * 32767).astype(np.int16)[:, None] if dtype == "int16" else hum.astype(np.float32)[:, None]
    found = novelties(rows, spec(1, float(rate_hz), dtype), 15)
    assert abs(int(found.argmax()) - (rate_hz * 6 // 4096 - 15)) <= 1
    assert found.max() > 5 * np.median(found)


@pytest.mark.parametrize("channels", [1, 2, 6, 9, 31, 33, 500])
@pytest.mark.parametrize("rate_hz", [None, 1.0, 100.0, 48_000.0])
def test_any_rows_are_described_within_512_numbers(channels: int, rate_hz: float | None) -> None:
    of = spec(channels, rate_hz)
    bands = watched(of).bands
    assert 16 <= bands.size <= 512
    found = looked(np.random.default_rng(0).normal(size=(bands.window + 1, channels)), of)
    assert found.vectors.shape == (1, bands.size)
    assert found.ends.tolist() == [bands.window - 1]
    assert np.isfinite(found.scores["energy"][-2:]).all()
