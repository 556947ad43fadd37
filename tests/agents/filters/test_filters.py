"""Every filter drops, changes and annotates what it says, and refuses streams that it cannot work on."""

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from pydantic import ValidationError

from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.filters.crop import Crop
from sensorium.agents.filters.duplicate import Duplicate
from sensorium.agents.filters.exposure import Exposure
from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.lowpass import Lowpass, butterworth
from sensorium.agents.filters.rate import Rate
from sensorium.agents.filters.registry import filter_config, filter_kinds
from sensorium.agents.filters.resize import Resize
from sensorium.agents.filters.sharpness import Sharpness
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.registry import model_of
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.dhash import dhash, distance

CALIBRATION = {"resolution": [160, 120], "intrinsics": [100.0, 90.0, 70.0, 50.0], "camera_model": "pinhole"}
CAMERA = StreamSpec(
    name="cam",
    modality="image",
    dtype="uint8",
    shape=(120, 160),
    rate_hz=30,
    calibration=CALIBRATION,
    pixels_per_degree=10,
)
IMU = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(2,), rate_hz=100)


def run(config: FilterConfig[Any], spec: StreamSpec, *blocks: Block) -> list[Block]:
    """All that is left of the blocks, one after the other, in the spec that the filter promises."""
    promised, state = config.output(spec), config.start(spec)
    left: list[Block] = []
    for block in blocks:
        state, made = config.step(state, block)
        if made is not None:
            made.check(promised)
            left.append(made)
    return left


def texture(seed: int = 0, blur: float = 2.0) -> Samples:
    picture = np.random.default_rng(seed).integers(0, 256, (120, 160)).astype(np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(picture, (0, 0), blur), None, 10, 245, cv2.NORM_MINMAX))


def frames(*pictures: Samples, period_ns: int = 33_333_333) -> Block:
    return Block("cam", np.arange(len(pictures)) * period_ns, np.stack(pictures))


def rows(stamps: ArrayLike, data: ArrayLike, lost_before: int = 0) -> Block:
    return Block("imu", np.asarray(stamps, np.int64), np.asarray(data, np.float64), lost_before)


# The registry


@pytest.mark.parametrize("kind", ["crop", "duplicate", "exposure", "lowpass", "rate", "resize", "sharpness"])
def test_every_filter_is_registered_under_its_kind(kind: str) -> None:
    assert issubclass(filter_config(kind), FilterConfig)
    assert filter_config(kind).model_fields["kind"].default == kind
    assert kind in filter_kinds()


def test_an_unknown_filter_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'sharpnes', did you mean 'sharpness'\? \(installed: .*crop"):
        filter_config("sharpnes")


def test_a_model_of_another_contract_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sensorium\.drivers 'replay-euroc': .* is not a FilterConfig"):
        model_of("sensorium.drivers", "replay-euroc", FilterConfig)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("resize", {"size": [0, 4]}),
        ("crop", {"x": -1, "width": 1, "height": 1}),
        ("rate", {"max_hz": 0}),
        ("sharpness", {"percentile": 101}),
        ("exposure", {"min_mean": 20}),
        ("duplicate", {"max_distance": 65}),
        ("lowpass", {"cutoff_hz": 10, "decimate": 2}),
        ("rate", {"max_hz": 1, "max_hzz": 2}),
    ],
)
def test_parameters_out_of_range_are_refused(kind: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        filter_config(kind).model_validate(wrong)


PICTURE_FILTERS = [Resize(size=(4, 4)), Crop(width=1, height=1), Sharpness(), Exposure(), Duplicate()]


@pytest.mark.parametrize("config", PICTURE_FILTERS, ids=lambda config: config.kind)
def test_picture_filters_refuse_rows(config: FilterConfig[Any]) -> None:
    with pytest.raises(ConfigError, match=r"'imu'.*expected pictures"):
        config.output(IMU)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 1), (120, 160, 3), (120, 160, 4)])
@pytest.mark.parametrize("config", PICTURE_FILTERS, ids=lambda config: config.kind)
def test_picture_filters_take_every_form_of_picture(
    config: FilterConfig[Any], dtype: str, shape: tuple[int, ...]
) -> None:
    spec = StreamSpec(name="cam", modality="image", dtype=dtype, shape=shape, color_order="BGR", full_scale=255.0)
    data = np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(dtype)
    data.flags.writeable = False
    assert len(run(config, spec, Block("cam", np.arange(2), data), Block("cam", np.arange(0), data[:0], 3))) == 2


# Geometry


def test_resize_averages_areas() -> None:
    picture = texture()
    data = run(Resize(size=(80, 60)), CAMERA, frames(picture))[0].data[0]
    means = picture.reshape(60, 2, 80, 2).mean(axis=(1, 3))
    assert np.abs(data - means).max() <= 0.5


@pytest.mark.parametrize(
    "config", [Resize(size=(80, 60)), Resize(size=(100, 50)), Crop(x=30, y=20, width=80, height=70)]
)
def test_intrinsics_follow_what_happens_to_the_picture(config: FilterConfig[Any]) -> None:
    # a blob at the principal point, and one 20 pixels right of and below it: where a ray of tan 0.2 meets the picture
    spec = config.output(CAMERA)
    fu, fv, cu, cv = spec.calibration["intrinsics"]
    across, down = np.meshgrid(np.arange(160), np.arange(120))
    for right in (0.0, 0.2):
        blob = 250 * np.exp(-((across - 70 - 100 * right) ** 2 + (down - 50 - 90 * right) ** 2) / 30)
        data = run(config, CAMERA, frames(blob.astype(np.uint8)))[0].data[0].astype(np.float64)
        weights = data / data.sum()
        at = (weights.sum(axis=0) @ np.arange(data.shape[1]), weights.sum(axis=1) @ np.arange(data.shape[0]))
        assert at == pytest.approx((cu + fu * right, cv + fv * right), abs=0.05)
    assert spec.calibration["resolution"] == [spec.shape[1], spec.shape[0]]
    assert spec.calibration["camera_model"] == "pinhole"
    assert CAMERA.calibration == CALIBRATION


def test_pixels_per_degree_scale_and_do_not_move() -> None:
    assert Resize(size=(80, 120)).output(CAMERA).pixels_per_degree == 5
    assert Crop(width=10, height=10).output(CAMERA).pixels_per_degree == 10


def test_intrinsics_of_wide_angle_models_keep_what_has_no_unit() -> None:
    spec = StreamSpec(**{**_fields(CAMERA), "calibration": {"intrinsics": [0.9, 0.5, 100.0, 90.0, 70.0, 50.0]}})
    assert Crop(x=10, width=100, height=100).output(spec).calibration["intrinsics"] == [0.9, 0.5, 100, 90, 60, 50]


@pytest.mark.parametrize("intrinsics", ["pinhole", [1, 2, 3], None])
def test_intrinsics_of_no_known_form_are_refused(intrinsics: Any) -> None:
    spec = StreamSpec(**{**_fields(CAMERA), "calibration": {"intrinsics": intrinsics}})
    with pytest.raises(ConfigError, match=r"expected \[\.\.\., fu, fv, cu, cv\]"):
        Resize(size=(4, 4)).output(spec)


def _fields(spec: StreamSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in spec.__struct_fields__}


def test_crop_takes_the_rectangle_and_lets_the_rest_go() -> None:
    picture = texture()
    left = run(Crop(x=30, y=20, width=80, height=70), CAMERA, frames(picture))[0]
    assert np.array_equal(left.data[0], picture[20:90, 30:110])
    assert not np.shares_memory(left.data, picture)
    assert left.data.base is None


@pytest.mark.parametrize(("x", "y"), [(81, 0), (0, 51)])
def test_a_rectangle_outside_is_refused(x: int, y: int) -> None:
    with pytest.raises(ConfigError, match=r"reaches to .*expected within the 160x120 pictures of 'cam'"):
        Crop(width=80, height=70, x=x, y=y).output(CAMERA)


# Rate


@given(data=st.data(), every=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_jitter_under_half_a_sample_changes_nothing(data: st.DataObject, every: int) -> None:
    jitter = data.draw(st.lists(st.integers(-2_400_000, 2_400_000), min_size=60, max_size=60))
    stamps = np.arange(60) * 10_000_000 + np.array(jitter)
    kept = run(Rate(max_hz=100 / every), IMU, rows(stamps, np.zeros((60, 2))))[0]
    assert kept.captured_ns.tolist() == stamps[::every].tolist()


@given(intervals=st.lists(st.integers(0, 80_000_000), min_size=1, max_size=60), max_hz=st.sampled_from([7.0, 30.0]))
@settings(max_examples=60, deadline=None)
def test_every_period_that_has_samples_keeps_its_first(intervals: list[int], max_hz: float) -> None:
    stamps = np.cumsum(intervals) + 1_700_000_000_000_000_000
    spec = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(2,))
    kept = run(Rate(max_hz=max_hz), spec, rows(stamps, np.zeros((len(stamps), 2))))[0].captured_ns.tolist()
    firsts: dict[float, int] = {}
    for stamp in stamps.tolist():
        firsts.setdefault((stamp - int(stamps[0])) // (1e9 / max_hz), stamp)
    assert kept == list(firsts.values())


def test_the_rate_stated_is_never_higher_than_it_was() -> None:
    assert Rate(max_hz=10).output(IMU).rate_hz == 10
    assert Rate(max_hz=500).output(IMU).rate_hz == 100


# Sharpness, exposure, duplicates


def test_blurred_pictures_are_dropped_and_the_rest_annotated() -> None:
    sharp = [texture(seed) for seed in range(40)]
    mixed = [
        cv2.GaussianBlur(picture, (0, 0), 4) if number in (20, 33) else picture for number, picture in enumerate(sharp)
    ]
    left = run(Sharpness(percentile=5), CAMERA, frames(*mixed))[0]
    kept = set((left.captured_ns // 33_333_333).tolist())
    assert not {20, 33} & kept
    assert len(kept) >= 34
    assert left.scores["sharpness"].shape == left.captured_ns.shape
    assert left.scores["sharpness"].min() > 0


def test_the_limit_follows_the_stream_and_forgets() -> None:
    # what passes in a stream of soft pictures is dropped in one of crisp pictures, until those are forgotten
    soft, crisp = texture(blur=4), texture(blur=1)
    assert len(run(Sharpness(window=10), CAMERA, frames(*[soft] * 30))[0]) == 30
    left = run(Sharpness(window=10), CAMERA, frames(*[crisp] * 80, *[soft] * 30))[0]
    dropped = sorted(set(range(110)) - set((left.captured_ns // 33_333_333).tolist()))
    assert dropped
    assert dropped[0] == 80
    assert dropped[-1] < 90


def test_noise_passes_for_sharp_unless_its_ratio_is_limited() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160)).astype(np.uint8)
    pictures = frames(texture(1), noise, texture(2))
    assert len(run(Sharpness(), CAMERA, pictures)[0]) >= 2
    assert run(Sharpness(max_noise_ratio=4), CAMERA, pictures)[0].captured_ns.tolist()[:1] == [0]
    assert 33_333_333 not in run(Sharpness(max_noise_ratio=4), CAMERA, pictures)[0].captured_ns


def test_dark_bright_and_clipped_pictures_are_dropped() -> None:
    good, dark, bright = texture(), texture() // 40, 255 - texture() // 40
    half = np.where(np.indices((120, 160))[1] < 80, 255, 0).astype(np.uint8)
    left = run(Exposure(), CAMERA, frames(good, dark, bright, half))[0]
    assert left.captured_ns.tolist() == [0]
    assert left.scores["exposure_mean"].tolist() == pytest.approx([good.mean() / 255])
    assert left.scores["exposure_clipped"].tolist() == [0]


def test_exposure_is_relative_to_the_bits_of_the_sensor() -> None:
    spec = StreamSpec(name="cam", modality="image", dtype="uint16", shape=(120, 160), bits=10)
    pictures = frames(texture().astype(np.uint16) * 4)
    assert len(run(Exposure(min_mean=0.3), spec, pictures)[0]) == 1


def test_duplicates_are_measured_against_the_last_one_kept() -> None:
    # each differs little from the one before, the last from the first by much: drift must not pass unseen
    first, last = texture(0, blur=6).astype(np.float64), texture(3, blur=6).astype(np.float64)
    drift = [(first * (1 - part) + last * part).astype(np.uint8) for part in np.linspace(0, 1, 60)]
    hashes = [dhash(picture) for picture in drift]
    assert max(distance(one, other) for one, other in pairwise(hashes)) <= 8
    left = run(Duplicate(), CAMERA, frames(*drift))[0]
    kept = (left.captured_ns // 33_333_333).tolist()
    assert 2 <= len(kept) < 30
    for before, after in pairwise(kept):
        assert distance(hashes[before], hashes[after]) > 8
        assert all(distance(hashes[before], hashes[between]) <= 8 for between in range(before + 1, after))
    assert left.scores["dhash_distance"][0] == 64


def test_one_of_a_still_scene_is_kept_every_so_often() -> None:
    still = frames(*[texture()] * 31, period_ns=100_000_000)
    assert run(Duplicate(), CAMERA, still)[0].captured_ns.tolist() == [0]
    kept = run(Duplicate(keep_every_s=1), CAMERA, still)[0].captured_ns
    assert kept.tolist() == [0, 10**9, 2 * 10**9, 3 * 10**9]


# Lowpass


@pytest.mark.parametrize("frequency_hz", [0.5, 5.0, 20.0])
def test_lowpass_has_the_gain_of_its_formula(frequency_hz: float) -> None:
    # the bilinear transform of an order 2 Butterworth: 1 / sqrt(1 + (tan(pi f / fs) / tan(pi fc / fs))^4)
    warped = np.tan(np.pi * frequency_hz / 100) / np.tan(np.pi * 5 / 100)
    exact = 1 / np.sqrt(1 + warped**4)
    seconds = np.arange(4000) / 100
    wave = np.sin(2 * np.pi * frequency_hz * seconds)
    passed = run(Lowpass(cutoff_hz=5), IMU, rows(np.arange(4000) * 10**7, np.stack([wave, wave * 3], axis=1)))[0]
    steady = passed.data[2000:]
    assert np.sqrt(2 * (steady**2).mean(axis=0)) == pytest.approx([exact, 3 * exact], rel=1e-3)


def test_lowpass_is_the_difference_equation() -> None:
    b0, b1, b2, a1, a2 = butterworth(5, 100)
    values = np.random.default_rng(0).normal(size=(50, 2)) + 5
    before_x = before_y = np.stack([values[0], values[0]])
    expected = []
    for row in values:
        out = b0 * row + b1 * before_x[0] + b2 * before_x[1] - a1 * before_y[0] - a2 * before_y[1]
        expected.append(out)
        before_x, before_y = np.stack([row, before_x[0]]), np.stack([out, before_y[0]])
    passed = run(Lowpass(cutoff_hz=5), IMU, rows(np.arange(50), values))[0]
    assert passed.data == pytest.approx(np.array(expected))


def test_lowpass_starts_at_rest_and_anew_after_a_loss() -> None:
    level = np.full((5, 2), 7.0)
    left = run(Lowpass(cutoff_hz=5), IMU, rows(range(5), level), rows(range(5, 10), -level, lost_before=3))
    assert left[0].data == pytest.approx(level)
    assert left[1].data == pytest.approx(-level)
    assert left[1].lost_before == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_does_not_spoil_the_rest(bad: float) -> None:
    values = np.ones((20, 2))
    values[5, 0] = bad
    passed = run(Lowpass(cutoff_hz=5), IMU, rows(range(20), values))[0].data
    assert passed[:5] == pytest.approx(values[:5])
    assert not np.isfinite(passed[5, 0])
    assert passed[10:] == pytest.approx(np.ones((10, 2)))
    assert passed[:, 1] == pytest.approx(values[:, 1])


def test_decimated_rows_keep_their_stamps_and_count_the_rows_lost() -> None:
    config = Lowpass(cutoff_hz=5, decimate=4, into="imu.slow")
    assert config.output(IMU).rate_hz == 25
    blocks = [
        rows(range(6), np.zeros((6, 2))),
        Block("imu", np.arange(0), np.zeros((0, 2)), 5),
        rows(range(11, 20), np.zeros((9, 2)), lost_before=0),
    ]
    left = run(config, IMU, *blocks)
    # of source rows 0, 4, 8, 12, 16 number 8 is among the five lost
    assert [part.captured_ns.tolist() for part in left] == [[0, 4], [], [12, 16]]
    assert [part.lost_before for part in left] == [0, 1, 0]


def test_whole_numbers_become_floats() -> None:
    spec = StreamSpec(name="imu", modality="raw", dtype="int16", shape=(2,), rate_hz=100, band_hz=(0.5, 40))
    config = Lowpass(cutoff_hz=5)
    assert (config.output(spec).dtype, config.output(spec).band_hz) == ("float64", (0.5, 5))
    block = Block("imu", np.arange(3), np.full((3, 2), 1000, np.int16))
    assert run(config, spec, block)[0].data == pytest.approx(np.full((3, 2), 1000.0))


@pytest.mark.parametrize(
    ("config", "spec", "message"),
    [
        (Lowpass(cutoff_hz=50), IMU, "cutoff_hz is 50, expected below 50"),
        (Lowpass(cutoff_hz=20, decimate=4, into="slow"), IMU, "expected below 12.5"),
        (Lowpass(cutoff_hz=5), CAMERA, "expected rows of numbers"),
        (Lowpass(cutoff_hz=5), StreamSpec(name="e", modality="", dtype="float32", shape=()), "no nominal rate"),
    ],
)
def test_lowpass_refuses_what_it_cannot_do(config: FilterConfig[Any], spec: StreamSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.output(spec)


# Pictures that come encoded


def encoded(*pictures: Samples) -> Block:
    items = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for picture in pictures]
    return Block("cam", np.arange(len(pictures)) * 33_333_333, Media(JPEG, items))


@pytest.mark.parametrize("config", [*PICTURE_FILTERS[2:], Rate(max_hz=12)], ids=lambda config: config.kind)
def test_filters_that_change_no_pixel_hand_on_the_items(config: FilterConfig[Any]) -> None:
    block = encoded(*[cv2.GaussianBlur(texture(seed // 2), (0, 0), 1 + seed % 3) for seed in range(12)])
    left = run(config, CAMERA, block)[0]
    assert left.media is not None
    assert block.media is not None
    assert left.media.items == tuple(block.media.items[stamp // 33_333_333] for stamp in left.captured_ns.tolist())
    raw = run(config, CAMERA, frames(*block.data))[0]
    assert left.captured_ns.tolist() == raw.captured_ns.tolist()
    assert {name: values.tolist() for name, values in left.scores.items()} == {
        name: values.tolist() for name, values in raw.scores.items()
    }


@pytest.mark.parametrize("config", [Resize(size=(40, 30)), Crop(x=30, y=20, width=80, height=70)])
def test_filters_that_change_pixels_hand_on_samples(config: FilterConfig[Any]) -> None:
    pictures = [texture(seed) for seed in range(3)]
    left, raw = run(config, CAMERA, encoded(*pictures))[0], run(config, CAMERA, frames(*pictures))[0]
    assert left.media is None
    assert np.abs(left.data.astype(int) - raw.data.astype(int)).mean() < 2


def test_a_chain_of_filters_decodes_each_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    decode: Any = cv2.imdecode

    def watched(item: Samples, flags: int) -> Samples | None:
        calls.append(flags)
        found: Samples | None = decode(item, flags)
        return found

    monkeypatch.setattr(cv2, "imdecode", watched)
    chain = FilterChain([CAMERA], {"cam": [Sharpness(), Exposure(), Duplicate(), Crop(width=9, height=9)]})
    chain.step(encoded(*[texture(seed) for seed in range(5)]))
    assert len(calls) == 5
    calls.clear()
    FilterChain([CAMERA], {"cam": [Resize(size=(40, 30))]}).step(encoded(texture()))
    assert calls == [cv2.IMREAD_REDUCED_GRAYSCALE_4 | cv2.IMREAD_IGNORE_ORIENTATION], "no more than it needs"
