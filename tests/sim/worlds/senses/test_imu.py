"""An IMU's noise, walk, scale, lean, clipping and steps are of the size asked for, and seeded."""

import numpy as np
import pytest

from sensorium.sim.worlds.senses.imu import ImuErrors, ImuSense
from sensorium.sim.worlds.senses.sense import Floats

RATE_HZ = 200.0


def sense(seed: int = 0, **errors: float | str) -> ImuSense:
    return ImuSense(ImuErrors.model_validate(errors), np.random.default_rng(seed), RATE_HZ)


def allan_deviation(rates: Floats, rows: int) -> Floats:
    """Of the means of `rows` readings at a time, per channel: half the mean square of the steps between neighbours."""
    means = rates[: len(rates) // rows * rows].reshape(-1, rows, rates.shape[1]).mean(axis=1)
    deviation: Floats = np.sqrt(0.5 * np.mean(np.diff(means, axis=0) ** 2, axis=0))
    return deviation


def test_an_imu_that_has_no_flaw_reads_the_truth() -> None:
    ideal = np.random.default_rng(1).standard_normal((50, 6))
    assert np.array_equal(sense().measure(ideal), ideal)


def test_white_noise_has_the_allan_deviation_of_its_density() -> None:
    noise = sense(gyro_noise_density=1e-3, accel_noise_density=0.1).measure(np.zeros((200_000, 6)))
    density = np.repeat([1e-3, 0.1], 3)
    assert np.allclose(noise.std(axis=0), density * np.sqrt(RATE_HZ), rtol=0.02)
    for seconds in (0.1, 1.0, 4.0):
        found = allan_deviation(noise, int(seconds * RATE_HZ))
        assert np.allclose(found, density / np.sqrt(seconds), rtol=0.15), seconds


def test_a_bias_walk_has_the_allan_deviation_of_its_size() -> None:
    imu = sense(gyro_random_walk=1e-4, accel_random_walk=1e-2)
    walked = imu.measure(np.zeros((400_000, 6)))
    assert np.array_equal(walked, imu.bias)
    steps = np.diff(imu.bias[:: int(RATE_HZ)], axis=0)
    assert np.allclose(steps.std(axis=0), np.repeat([1e-4, 1e-2], 3), rtol=0.1)
    for seconds in (5.0, 20.0):
        found = allan_deviation(walked, int(seconds * RATE_HZ))
        assert np.allclose(found, np.repeat([1e-4, 1e-2], 3) * np.sqrt(seconds / 3), rtol=0.3), seconds


def test_biases_scales_and_leans_are_drawn_with_the_size_asked_for() -> None:
    rng = np.random.default_rng(0)
    errors = ImuErrors(gyro_bias=0.5, accel_scale_error=0.01, gyro_misalignment_rad=0.02)
    ideal = np.array([[0.0, 0, 0, 0, 0, 0], [10.0, 0, 0, 0, 0, 10.0]])
    drawn = np.array([ImuSense(errors, rng, RATE_HZ).measure(ideal) for _ in range(2000)])
    assert np.allclose(drawn[:, 0].std(axis=0), [0.5, 0.5, 0.5, 0, 0, 0], rtol=0.06)
    turned = drawn[:, 1] - drawn[:, 0]
    assert np.allclose(turned.std(axis=0), [0, 0.2, 0.2, 0, 0, 0.1], rtol=0.08, atol=1e-9)
    assert np.allclose(turned.mean(axis=0), ideal[1], atol=0.02)


def test_the_walk_goes_on_from_call_to_call() -> None:
    imu = ImuSense(ImuErrors(gyro_random_walk=1.0), np.random.default_rng(0), 1.0)
    ends = [imu.measure(np.zeros((10, 6)))[-1, 0] for _ in range(200)]
    assert np.std(ends) > 10


def test_readings_come_in_steps_and_end_at_full_scale() -> None:
    imu = sense(gyro_step=0.04, gyro_full_scale=2.0, accel_step=0.5, accel_full_scale=20.0, gyro_noise_density=1e-3)
    read = imu.measure(np.linspace([-3.0] * 6, [3.0] * 6, 5000) * [1, 1, 1, 10, 10, 10])
    for side, step, full in ((read[:, :3], 0.04, 2.0), (read[:, 3:], 0.5, 20.0)):
        assert np.abs(side).max() == full
        assert np.allclose(side / step, np.rint(side / step), atol=1e-6)
        assert len(np.unique(side)) == round(2 * full / step) + 1


def test_a_preset_is_a_part_and_what_is_said_beside_it_goes_before() -> None:
    errors = ImuErrors.model_validate({"preset": "bmi088", "gyro_bias": 0})
    assert errors.gyro_bias == 0
    assert errors.gyro_noise_density == pytest.approx(np.radians(0.014))
    assert errors.full_scale() == pytest.approx((np.radians(2000),) * 3 + (24 * 9.80665,) * 3)
    assert ImuErrors.model_validate(errors.model_dump()) == errors
    with pytest.raises(ValueError, match=r"no preset 'bmi88', did you mean 'bmi088'\? \(there are: adis16448"):
        ImuErrors.model_validate({"preset": "bmi88"})


@pytest.mark.parametrize("preset", sorted(ImuErrors.presets))
def test_every_part_reads_a_body_at_rest_within_its_biases(preset: str) -> None:
    rest = np.tile([0, 0, 0, 0, 0, 9.80665], (400, 1))
    errors = ImuErrors.model_validate({"preset": preset})
    read = ImuSense(errors, np.random.default_rng(0), RATE_HZ).measure(rest)
    assert np.abs(read[:, :3]).max() < 5 * errors.gyro_bias
    assert np.abs(read[:, 3:] - rest[:, 3:]).max() < 5 * errors.accel_bias
    assert (read.std(axis=0) > 0).all()


def test_an_imu_is_seeded() -> None:
    ideal = np.ones((100, 6))
    once = sense(1, preset="icm-20948").measure(ideal)
    assert np.array_equal(once, sense(1, preset="icm-20948").measure(ideal))
    assert not np.array_equal(once, sense(2, preset="icm-20948").measure(ideal))
