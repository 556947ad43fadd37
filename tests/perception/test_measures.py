"""What is measured of a picture agrees with the plain formula, for every type, order and layout."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.dhash import dhash, distance
from sensorium.perception.exposure import exposure, white_level
from sensorium.perception.gray import check_pictures, gray
from sensorium.perception.percentile import percentile
from sensorium.perception.sharpness import noise_ratio, sharpness

DTYPES = ["uint8", "uint16", "float32", "float64"]


def spec(**fields: Any) -> StreamSpec:
    return StreamSpec(**{"name": "cam", "modality": "image", "dtype": "uint8", "shape": (4, 4), **fields})


def scene(height: int = 120, width: int = 160, seed: int = 0) -> Samples:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    return np.asarray(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX))


def pictures(dtype: str) -> st.SearchStrategy[Samples]:
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=20)
    high = 255 if dtype == "uint8" else 4000
    return hnp.arrays(dtype, shapes, elements=st.integers(0, high))


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_sharpness_is_the_variance_of_the_laplacian(dtype: str, data: st.DataObject) -> None:
    picture = data.draw(pictures(dtype))
    around = np.pad(picture.astype(np.float64), 1, mode="reflect")
    centre = around[1:-1, 1:-1]
    laplacian = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:] - 4 * centre
    assert sharpness(picture) == pytest.approx(laplacian.var(), rel=1e-6, abs=1e-6)
    if centre.var() > 0:
        assert noise_ratio(picture) == pytest.approx(laplacian.var() / centre.var(), rel=1e-6, abs=1e-9)


def test_blur_lowers_sharpness() -> None:
    values = [sharpness(cv2.GaussianBlur(scene(), (0, 0), sigma)) for sigma in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)


def test_noise_is_told_from_real_scenes(recordings: Path) -> None:
    files = sorted((recordings / "euroc/mav0/cam0/data").glob("*.png"))[::20]
    assert files
    ratios = [noise_ratio(np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))) for file in files]
    noise = np.random.default_rng(1).normal(128, 20, (480, 640)).clip(0, 255).astype(np.uint8)
    assert max(ratios) < 4 < noise_ratio(noise)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gray_weighs_colours_by_their_order(dtype: str) -> None:
    weights = {"R": 0.299, "G": 0.587, "B": 0.114}
    for order in ("BGR", "RGB", "BGRA", "RGBA"):
        for place, colour in enumerate(order[:3]):
            picture = np.zeros((2, 2, len(order)), dtype)
            picture[..., place] = 200
            assert gray(picture, order)[0, 0] == pytest.approx(200 * weights[colour], abs=0.6)


def test_gray_of_gray_is_not_copied() -> None:
    picture = scene()
    assert gray(picture) is picture
    assert np.shares_memory(gray(picture[..., None]), picture)


@pytest.mark.parametrize("fields", [{"shape": (6,)}, {"shape": (4, 4, 2)}, {"dtype": "int32"}, {"shape": (2, 4, 4, 3)}])
def test_what_is_no_picture_is_refused_in_one_line(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^stream 'cam' is .*expected pictures [^\n]*$"):
        check_pictures(spec(**fields))


@given(picture=pictures("uint8"))
@settings(max_examples=40, deadline=None)
def test_exposure_is_mean_and_share_at_the_ends(picture: Samples) -> None:
    mean, clipped = exposure(picture, 255)
    assert mean == pytest.approx(picture.mean() / 255)
    assert clipped == pytest.approx(np.isin(picture, (0, 255)).mean())


@pytest.mark.parametrize(
    ("fields", "white"),
    [
        ({}, 255),
        ({"dtype": "uint16"}, 65535),
        ({"dtype": "uint16", "bits": 10}, 1023),
        ({"dtype": "float32"}, 1.0),
        ({"dtype": "float64", "full_scale": (0.5, 4.0)}, 4.0),
    ],
)
def test_white_is_where_the_spec_says(fields: dict[str, Any], white: float) -> None:
    assert white_level(spec(**fields)) == white


@pytest.mark.parametrize("size", [(480, 640), (480, 752), (407, 404), (50, 41), (8, 9), (3, 5), (95, 97)])
def test_dhash_compares_neighbours_of_the_small_picture(size: tuple[int, int]) -> None:
    picture = cv2.resize(scene(30, 40), size[::-1]).astype(np.float64)
    small = cv2.resize(picture, (9, 8), interpolation=cv2.INTER_AREA)
    plain = sum(
        1 << (63 - 8 * row - column)
        for row in range(8)
        for column in range(8)
        if small[row, column + 1] > small[row, column]
    )
    assert 0 <= dhash(picture) < 1 << 64
    assert distance(dhash(picture), plain) <= (0 if min(size) < 400 else 4)


def test_dhash_sees_structure_and_not_brightness() -> None:
    picture = scene() // 2
    assert distance(dhash(picture), dhash(picture + 60)) <= 2
    assert distance(dhash(picture), dhash(cv2.GaussianBlur(picture, (0, 0), 1))) <= 4
    assert distance(dhash(picture), dhash(scene(seed=1))) > 16


def test_measures_take_read_only_and_strided_pictures() -> None:
    picture = np.repeat(scene(), 2, axis=1)
    picture.flags.writeable = False
    view, copy = picture[::2, ::2], np.array(picture[::2, ::2])
    assert (sharpness(view), dhash(view), exposure(view, 255)) == (sharpness(copy), dhash(copy), exposure(copy, 255))


@given(
    values=st.lists(st.floats(allow_infinity=False, min_value=-1e100, max_value=1e100), min_size=1, max_size=120),
    percent=st.floats(0, 100),
)
def test_a_percentile_is_that_of_numpy_to_the_last_bit(values: list[float], percent: float) -> None:
    assert np.array_equal(percentile(values, percent), np.percentile(values, percent), equal_nan=True)
