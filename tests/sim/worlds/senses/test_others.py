"""Clock, ranges, encoder and rows: of the size asked for, seeded, and never turned round."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.sim.worlds.senses.clock import ClockErrors, SenseClock
from sensorium.sim.worlds.senses.encoder import EncoderErrors, EncoderSense
from sensorium.sim.worlds.senses.ranging import RangeErrors, RangeSense
from sensorium.sim.worlds.senses.rows import RowErrors, RowSense

TRUE_NS = np.arange(0, 100_000_000_000, 10_000_000, dtype=np.int64)


def clock(**errors: Any) -> SenseClock:
    return SenseClock(ClockErrors(**errors), np.random.default_rng(0))


def test_a_good_clock_says_what_time_it_is() -> None:
    stamps, deliveries = clock().stamps(TRUE_NS)
    assert np.array_equal(stamps, TRUE_NS)
    assert np.array_equal(deliveries, TRUE_NS)


def test_a_clock_is_late_drifts_and_jitters_as_asked() -> None:
    stamps, deliveries = clock(offset_s=0.003, drift_ppm=50, jitter_s=1e-4, latency_s=0.02).stamps(TRUE_NS)
    slope, offset = np.polyfit(TRUE_NS / 1e9, (stamps - TRUE_NS) / 1e9, 1)
    assert np.isclose(slope, 50e-6, rtol=0.01)
    assert np.isclose(offset, 0.003, rtol=0.01)
    assert np.isclose(np.std((stamps - TRUE_NS) / 1e9 - slope * TRUE_NS / 1e9), 1e-4, rtol=0.05)
    assert (deliveries - TRUE_NS == 20_000_000).all()


def test_of_samples_the_share_asked_for_is_late() -> None:
    _, deliveries = clock(latency_s=0.001, latency_jitter_s=1e-4, late=0.1, late_s=0.005).stamps(TRUE_NS)
    behind_ns = deliveries - TRUE_NS
    assert np.isclose((behind_ns > 5_000_000).mean(), 0.1, atol=0.01)
    assert (behind_ns >= 1_000_000).all()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.floats(0, 0.1), st.floats(-0.2, 0.2))
def test_time_never_steps_back_however_it_is_asked(parts: list[int], jitter_s: float, shift_s: float) -> None:
    sense = SenseClock(ClockErrors(jitter_s=jitter_s, latency_jitter_s=jitter_s), np.random.default_rng(0))
    stamps, deliveries, start = [], [], 0
    for number, part in enumerate(parts):
        mine = TRUE_NS[start : start + part]
        captured, delivered = sense.stamps(mine, round(shift_s * 1e9) * (number % 2))
        stamps.append(captured)
        deliveries.append(delivered)
        start += part
    assert (np.diff(np.concatenate(stamps)) >= 0).all()
    assert (np.diff(np.concatenate(deliveries)) >= 0).all()
    assert (np.concatenate(deliveries) >= TRUE_NS[:start]).all()
    assert stamps[0][0] >= 0


def ranges(true_m: Any, **errors: Any) -> np.typing.NDArray[np.float32]:
    return RangeSense(RangeErrors.model_validate(errors), np.random.default_rng(0)).measure(np.asarray(true_m))


def test_ranges_have_noise_steps_and_an_end() -> None:
    assert np.allclose(ranges([1.0, 2.5, 0.0, -1.0, np.inf, np.nan]), [1.0, 2.5, 0, 0, 0, 0])
    noisy = ranges(np.full(50_000, 4.0), noise_m=0.03, noise_per_m2=0.0025)
    assert np.isclose(noisy.std(), np.hypot(0.03, 0.0025 * 16), rtol=0.02)
    stepped = ranges(np.linspace(1, 2, 999), step_m=0.01)
    assert np.allclose(stepped * 100, np.rint(stepped * 100), atol=1e-3)
    assert len(np.unique(stepped)) == 101
    cut = ranges([0.1, 0.5, 9.0, 11.0], nearest_m=0.2, farthest_m=10.0)
    assert np.allclose(cut, [0, 0.5, 9.0, 0])
    assert np.isclose((ranges(np.ones(50_000), missing=0.1) == 0).mean(), 0.1, atol=0.01)


@pytest.mark.parametrize("preset", sorted(RangeErrors.presets))
def test_every_ranging_part_measures_a_wall(preset: str) -> None:
    found = ranges(np.full((16, 360), 5.0), preset=preset)
    assert found.dtype == np.float32
    assert (found > 0).mean() > 0.95
    assert np.isclose(found[found > 0].mean(), 5.0, atol=0.01)


@pytest.mark.parametrize("calls", [1, 5, 100])
def test_an_encoder_counts_what_its_shafts_turn(calls: int) -> None:
    turned = np.stack([np.linspace(0, 20 * np.pi, 1000), -np.linspace(0, 10 * np.pi, 1000)], axis=1)
    sense = EncoderSense(EncoderErrors(counts_per_turn=1000), np.random.default_rng(0), 2)
    got = np.concatenate([sense.measure(part) for part in np.array_split(turned, calls)])
    assert np.abs(got - turned * 1000 / (2 * np.pi)).max() <= 1
    missing = EncoderSense(EncoderErrors(counts_per_turn=1000, missed=0.05), np.random.default_rng(0), 2)
    lost = np.concatenate([missing.measure(part) for part in np.array_split(turned, calls)])
    assert np.allclose(lost[-1] / got[-1], 0.95, atol=0.01)
    assert (np.diff(lost[:, 0]) >= 0).all()


def test_rows_have_the_flaws_asked_for() -> None:
    def read(**errors: Any) -> np.typing.NDArray[np.float64]:
        sense = RowSense(RowErrors(**errors), np.random.default_rng(0), 50.0, 3)
        return np.concatenate([sense.measure(np.full((5000, 3), 2.0)) for _ in range(4)])

    assert (read() == 2.0).all()
    assert np.isclose(read(noise=0.3).std(), 0.3, rtol=0.02)
    assert np.isclose(read(noise_density=0.3).std(), 0.3 * np.sqrt(50), rtol=0.02)
    assert np.isclose(np.diff(read(random_walk=0.1), axis=0).std(), 0.1 / np.sqrt(50), rtol=0.02)
    assert read(full_scale=1.5).max() == 1.5
    assert len(np.unique(read(step=0.5, noise=0.5))) < 15
    biased = read(bias=0.2, scale_error=0.1)
    assert (np.ptp(biased, axis=0) == 0).all()
    assert np.ptp(biased[0]) > 0
