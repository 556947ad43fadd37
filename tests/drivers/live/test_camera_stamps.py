"""How live frames get their stamps: bursts, jitter, drift, gaps, and the kernel's clock."""

import numpy as np
import pytest

from sensorium.drivers.live.camera_stamps import StreamStamps
from sensorium.drivers.live.sensor_clock import Gaps, SensorClock
from sensorium.errors import SensorLost

SYSTEM_PYTHON = "/usr/bin/python3"
VTEST_FRAMES = 795


def test_the_opening_burst_is_passed_over() -> None:
    """Frames of 50 ms arrive 1 s late in one burst, then 80 ms after capture: only those are stamped."""
    stamps = StreamStamps()
    burst = [stamps.stamp(2_000_000_000 + number * 200_000, number * 50.0) for number in range(20)]
    assert burst == [None] * 20
    live = [stamps.stamp(2_080_000_000 + number * 50_000_000, 1000.0 + number * 50) for number in range(10)]
    assert live[0] is not None
    assert [stamp and stamp.captured_ns for stamp in live] == [
        2_080_000_000 + number * 50_000_000 for number in range(10)
    ]
    with pytest.raises(SensorLost, match="clock stepped back by 1450 ms"):
        stamps.stamp(3_000_000_000, 0.0)


@pytest.mark.parametrize("drift_ppm", [-80, 0, 80])
def test_a_mapped_clock_follows_drift_and_ignores_jitter(drift_ppm: int) -> None:
    """An hour at 30 Hz with up to 40 ms of jitter over a 5 ms path: stamps stay within 5 ms of the least delay."""
    rng = np.random.default_rng(drift_ppm + 100)
    clock, worst = SensorClock(), 0.0
    for number, jitter_ns in enumerate(rng.uniform(0, 40e6, 108_000)):
        true_ns = number * 33_333_333
        sensor_ns = int(true_ns * (1 + drift_ppm / 1e6))
        captured_ns = clock.map(sensor_ns, int(true_ns + 5e6 + jitter_ns))
        assert captured_ns <= true_ns + 5e6 + jitter_ns + 1
        if number > 300:
            worst = max(worst, abs(captured_ns - true_ns - 5e6))
    assert worst < 5e6


def test_gaps_believe_a_changed_rate() -> None:
    gaps = Gaps()
    counts = [gaps.missing(ns) for ns in range(0, 3_000, 30)]
    counts += [gaps.missing(ns) for ns in range(3_000, 9_000, 60)]
    assert sum(counts[:100]) == 0
    assert sum(counts[-80:]) == 0
