"""Drawing: silences found, shaded where they are, curves broken there; frames in their colours; files whole or not."""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.stream import StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.drawing import (
    SHADE,
    Axis,
    Box,
    blank,
    channel_names,
    curves,
    groups,
    picture,
    silences,
    ticks,
    write_picture,
)

BOX = Box(50, 10, 400, 80)
AXIS = Axis(0, 4_000_000_000, BOX.left, BOX.width)


def shaded_columns(image: np.ndarray) -> list[int]:
    return np.flatnonzero((image[BOX.top + 3 : BOX.bottom - 3] == SHADE).all(axis=2).any(axis=0)).tolist()


@given(st.lists(st.integers(0, 1000), max_size=30).map(sorted))
def test_silences_are_the_long_stretches_and_nothing_else(stamps: list[int]) -> None:
    found = silences(np.array(stamps, np.int64), 1e8, 0, 1000)  # 10 ns apart
    edges = [0, *stamps, 1000]
    long = [pair for pair in itertools.pairwise(edges) if pair[1] - pair[0] > 15]
    assert found == (long if stamps else [(0, 1000)])


def test_an_irregular_stream_is_measured_by_its_median() -> None:
    assert silences(np.array([0, 10, 20, 60, 70], np.int64), None, 0, 75) == [(20, 60)]
    assert silences(np.array([5], np.int64), None, 0, 100) == []


def test_a_gap_is_shaded_and_no_curve_crosses_it() -> None:
    stamps = np.concatenate((np.arange(0, 1_000, 10), np.arange(3_000, 4_001, 10))) * 1_000_000
    values = np.sin(stamps / 2e8)[:, None]
    spans = silences(stamps, 100.0, 0, 4_000_000_000)
    image = blank(500, 110)
    curves(image, BOX, AXIS, stamps, values, spans)
    columns = shaded_columns(image)
    assert columns[0] == pytest.approx(149, abs=2)
    assert columns[-1] == pytest.approx(350, abs=2)
    inside = image[BOX.top + 3 : BOX.bottom - 3, 155:345].reshape(-1, 3)
    assert {tuple(color) for color in inside.tolist()} <= {SHADE, (222, 222, 222)}, "shade and grid lines alone"
    outside = image[BOX.top : BOX.bottom, 60:140]
    assert (outside.max(axis=2) - outside.min(axis=2) > 40).any(), "a coloured curve"


def test_curves_of_many_rows_of_nothing_and_of_numbers_that_are_none() -> None:
    image = blank(500, 110)
    many = np.arange(100_000, dtype=np.int64) * 40_000
    spike = np.zeros((100_000, 1))
    spike[50_000] = 1.0
    curves(image, BOX, AXIS, many, spike, [])
    top = image[BOX.top : BOX.top + 20, BOX.left + 195 : BOX.left + 205]
    assert (top.max(axis=2) - top.min(axis=2) > 40).any(), "one row of 250 in a pixel is seen"
    empty = np.empty(0, np.int64)
    curves(image, BOX, AXIS, empty, np.empty((0, 3)), [(0, 1)])
    curves(image, BOX, AXIS, many[:3], np.array([[np.nan, 1], [np.inf, 2], [np.nan, np.nan]]), [])


def test_no_line_leads_through_rows_of_one_moment() -> None:
    """As of contacts, of which there are some at each moment."""
    image = blank(500, 110)
    stamps = np.repeat(np.arange(0, 4_000, 200, dtype=np.int64), 2) * 1_000_000
    curves(image, BOX, AXIS, stamps, np.tile([0.0, 1.0], 20)[:, None], [])
    between = image[BOX.top + 20 : BOX.bottom - 20, BOX.left + 5 : BOX.right - 5]
    assert (between == 255).all(), "from the least to the largest"
    assert (image.max(axis=2) - image.min(axis=2) > 40).sum() >= 2 * 20


@pytest.mark.parametrize("span_ns", [0, 1, 10**6, 10**9, 7 * 10**9, 10**13])
def test_the_time_axis_of_any_length(span_ns: int) -> None:
    image = blank(500, 40)
    ticks(image, Axis(5, 5 + span_ns, 50, 400), 6)
    assert 1 <= (image[11, :, 0] < 128).sum() <= 30, "strokes, as many as can be read"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 1), (40, 60, 3), (40, 60, 4), (2, 40, 60, 3)])
def test_any_frame_becomes_a_picture_that_fits(dtype: str, shape: tuple[int, ...]) -> None:
    frame = (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)
    small = picture(frame, "BGR", 30, 30)
    assert small.shape == (20, 30, 3)
    assert small.dtype == np.uint8
    assert small.std() > 1


def test_colours_are_drawn_as_the_spec_has_them() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert picture(red, "RGB", 4, 4)[0, 0].tolist() == [0, 0, 255]
    assert picture(red, "BGR", 4, 4)[0, 0].tolist() == [255, 0, 0]


def test_channels_share_an_axis_with_their_unit() -> None:
    spec = StreamSpec(name="s", modality="", dtype="float64", shape=(4,), unit="m, m, rad, m", channels=tuple("xyaz"))
    assert groups(spec) == [("m", [0, 1]), ("rad", [2]), ("m", [3])]
    assert channel_names(spec) == list("xyaz")
    wide = StreamSpec(name="s", modality="", dtype="int16", shape=(10,))
    assert [len(columns) for _, columns in groups(wide)] == [8, 2], "no more than can be told apart"
    assert groups(StreamSpec(name="s", modality="", dtype="int16", shape=())) == [("", [0])]


def test_a_file_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    write_picture(path, blank(30, 20))
    written = cv2.imread(str(path))
    assert written is not None
    assert written.shape == (20, 30, 3)
    with pytest.raises(ConfigError, match=r"ends in \.png or \.jpg"):
        write_picture(tmp_path / "p.txt", blank(3, 3))
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory; name a folder"):
        write_picture(tmp_path / "none" / "p.png", blank(3, 3))
    assert [each.name for each in tmp_path.iterdir()] == ["p.png"]
