"""How live frames get their stamps: bursts, jitter, drift, gaps, and the kernel's clock."""

import doctest
import itertools
import random
import time

import numpy as np
import pytest

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.live import frame_stamps, sensor_clock
from sensorium.drivers.live.camera_stamps import DeviceStamps, StreamStamps
from sensorium.drivers.live.sensor_clock import Gaps, SensorClock
from sensorium.errors import SensorLost

MS = 1_000_000


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


@pytest.mark.parametrize("size", [2, 3, 5, 8])
@pytest.mark.parametrize("rate_hz", [None, 15.0])
def test_bursts_lose_nothing(size: int, rate_hz: float | None) -> None:
    """As a camera over USB/IP delivers: at once, and then nothing for as long as they took."""
    gaps = Gaps(rate_hz=rate_hz)
    stamps = [burst * size * 66_666_667 + n * 20_000 for burst in range(100) for n in range(size)]
    assert sum(map(gaps.missing, stamps)) == 0


@pytest.mark.parametrize("share", [0.2, 0.5])
@pytest.mark.parametrize("steady", [0, 200])
def test_losses_are_told_within_five_of_a_hundred(share: float, steady: int) -> None:
    """With 2 ms of jitter, from the first frame on, or behind some that were whole."""
    draw = random.Random(int(share * 10))
    kept = [n for n in range(2000) if n < steady or draw.random() > share]
    gaps = Gaps()
    counted = sum(gaps.missing(n * 40 * MS + draw.randrange(2 * MS)) for n in kept)
    assert counted == pytest.approx(kept[-1] - kept[0] + 1 - len(kept), rel=0.05)


def test_a_stated_rate_is_a_bound() -> None:
    """Of 10 Hz no more can be missing than fit in, whatever single stamps say."""
    gaps, stamps = Gaps(rate_hz=10.0), [n * 10 * MS for n in range(40)]
    assert sum(map(gaps.missing, stamps)) == gaps.missing(stamps[-1] + 100 * MS) == 0


def of_device(ahead_ms: dict[int, float], frames: int = 30, delay_ms: float = 5.0) -> tuple[list[int], int]:
    """Steps between the stamps of a camera of 25 Hz in ms, of which some stamps are off; what is said to be missing."""
    stamps, now_ns, now_ms = DeviceStamps(), boottime_ns(), time.monotonic_ns() / MS
    found = [
        stamps.stamp(now_ns + n * 40 * MS, now_ms + n * 40 - delay_ms + ahead_ms.get(n, 0.0)) for n in range(frames)
    ]
    times = [stamp.captured_ns for stamp in found]
    assert all(stamp <= now_ns + n * 40 * MS + 100 * MS for n, stamp in enumerate(times))
    return [round((b - a) / MS) for a, b in itertools.pairwise(times)], sum(s.lost_before for s in found)


@pytest.mark.parametrize("wrong", [{15: 5000.0}, {15: -5000.0}, {15: 1e9}, {15: -1e7, 16: 3000.0}, {20: -200.0}])
def test_a_stamp_that_is_wrong_freezes_nothing_and_invents_nothing(wrong: dict[int, float]) -> None:
    steps, missing = of_device(wrong)
    assert missing == 0
    assert all(38 <= step <= 42 for step in steps)


def test_where_stamps_come_from_does_not_depend_on_load() -> None:
    """Whether a frame was taken late, or its stamp is of an end that was not waited for."""
    now_ns, now_ms = boottime_ns(), time.monotonic_ns() / MS

    def first(ahead_ms: float) -> str:
        stamps = DeviceStamps()
        stamps.stamp(now_ns, now_ms + ahead_ms)
        return stamps.stamps_from

    assert {first(ahead_ms) for ahead_ms in (-1500, -900, -1, 0, 2, 35)} == {"source"}
    assert {first(ahead_ms) for ahead_ms in (-(now_ms - 1), 5000)} == {"arrival"}
    assert DeviceStamps(by_kernel=True).stamps_from == "source", "as was decided when it was opened before"


def test_a_senders_stamp_that_runs_ahead_is_of_its_arrival() -> None:
    """One is wrong; three in a row are a clock that was set."""
    stamps = StreamStamps()
    at = [1e10 + n * 50 * MS for n in range(40)]
    found = [stamps.stamp(int(now), n * 50.0 + (5000 if n == 20 else 0)) for n, now in enumerate(at)]
    times = np.array([stamp.captured_ns for stamp in found if stamp is not None])
    assert np.abs(np.diff(times) - 50 * MS).max() < MS
    assert sum(stamp.lost_before for stamp in found if stamp is not None) == 0
    for n in (40, 41):
        assert stamps.stamp(int(1e10 + n * 50 * MS), n * 50.0 + 5000) is not None
    with pytest.raises(SensorLost, match=r"stepped ahead by 5\.0 s"):
        stamps.stamp(int(1e10 + 42 * 50 * MS), 42 * 50.0 + 5000)


def test_examples() -> None:
    assert all(doctest.testmod(each) == (0, each_has) for each, each_has in ((sensor_clock, 6), (frame_stamps, 2)))
