"""How samples are cut into blocks changes nothing of what a filter leaves, and the fed blocks stay as they were."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.agents.filters.crop import Crop
from sensorium.agents.filters.duplicate import Duplicate
from sensorium.agents.filters.exposure import Exposure
from sensorium.agents.filters.lowpass import Lowpass
from sensorium.agents.filters.rate import Rate
from sensorium.agents.filters.resize import Resize
from sensorium.agents.filters.sharpness import Sharpness
from sensorium.drivers.stream import Block, StreamSpec

SAMPLES = 40
CAMERA = StreamSpec(
    name="s", modality="image", dtype="uint8", shape=(24, 32, 3), rate_hz=30, color_order="RGB", has_sensor_ns=True
)
IMU = StreamSpec(name="s", modality="imu", dtype="float32", shape=(3,), rate_hz=30, has_sensor_ns=True)
CASES = [
    (Resize(size=(7, 5)), CAMERA),
    (Crop(x=3, y=2, width=9, height=8), CAMERA),
    (Sharpness(window=10), CAMERA),
    (Sharpness(window=10, max_noise_ratio=1.0), CAMERA),
    (Exposure(min_mean=0.5), CAMERA),
    (Duplicate(max_distance=20), CAMERA),
    (Duplicate(max_distance=64, keep_every_s=0.3), CAMERA),
    (Rate(max_hz=12), CAMERA),
    (Rate(max_hz=12), IMU),
    (Lowpass(cutoff_hz=3), IMU),
    (Lowpass(cutoff_hz=2, decimate=3, into="slow"), IMU),
]


def recording(spec):
    """A run with jitter, pictures of changing blur, brightness and content, and a loss before sample 23."""
    random = np.random.default_rng(7)
    stamps = np.cumsum(random.integers(10_000_000, 60_000_000, SAMPLES))
    data = random.normal(size=(SAMPLES, *spec.shape)) * 100
    if spec.is_frames:
        blurs = random.uniform(0.3, 3, SAMPLES)
        data = random.integers(0, 256, (SAMPLES // 2, *spec.shape)).repeat(2, axis=0)
        data = np.stack([cv2.GaussianBlur(p.astype(np.uint8), (0, 0), b) for p, b in zip(data, blurs, strict=True)])
        data = data + random.integers(-60, 60, (SAMPLES, 1, 1, 1)).clip(-20, 20)
        data = data.clip(0, 255)
    score = {"before": np.arange(SAMPLES, dtype=np.float64)}
    return Block("s", stamps, data.astype(spec.dtype), 0, np.arange(SAMPLES) * 3, score)


def cut(block, borders):
    """The blocks between the borders and 23, before which there is a loss; it stands alone if 23 is a border too."""
    parts, lost_before = [], 4
    for start, stop in pairwise([0, *sorted([*borders, 23]), SAMPLES]):
        parts.append(block.take(slice(start, stop), lost_before if start == 23 else 0))
        lost_before = 0 if start == 23 else lost_before
    return parts


def left_of(config, spec, blocks):
    promised, state, left, lost = config.output(spec), config.start(spec), [], 0
    for block in blocks:
        before = (block.data.copy(), block.captured_ns.copy(), dict(block.scores))
        state, made = config.step(state, block)
        assert np.array_equal(before[0], block.data)
        assert np.array_equal(before[1], block.captured_ns)
        assert before[2].keys() == block.scores.keys()
        if made is not None:
            made.check(promised)
            left.append(made)
            lost += made.lost_before
    names = left[0].scores.keys()
    joined = {
        "captured_ns": np.concatenate([part.captured_ns for part in left]),
        "sensor_ns": np.concatenate([part.sensor_ns for part in left]),
        "data": np.concatenate([part.data for part in left]),
        **{name: np.concatenate([part.scores[name] for part in left]) for name in names},
    }
    return joined, lost


@pytest.mark.parametrize(
    ("config", "spec"), CASES, ids=lambda value: getattr(value, "kind", getattr(value, "modality", ""))
)
@given(borders=st.lists(st.integers(0, SAMPLES) | st.just(23), max_size=6))
@settings(max_examples=25, deadline=None)
def test_cuts_do_not_matter(config, spec, borders):
    block = recording(spec)
    whole, whole_lost = left_of(config, spec, cut(block, []))
    parts, parts_lost = left_of(config, spec, cut(block, borders))
    assert parts.keys() == whole.keys()
    for name, values in whole.items():
        assert np.array_equal(values, parts[name]), name
    assert parts_lost == whole_lost
    assert "before" in whole


@pytest.mark.parametrize(
    ("config", "spec"), CASES, ids=lambda value: getattr(value, "kind", getattr(value, "modality", ""))
)
def test_the_recording_is_one_that_each_filter_has_work_with(config, spec):
    whole, _ = left_of(config, spec, cut(recording(spec), []))
    drops = config.kind in {"sharpness", "exposure", "duplicate", "rate"} or config.into is not None
    assert (0 < len(whole["captured_ns"]) < SAMPLES) if drops else len(whole["captured_ns"]) == SAMPLES
