"""Samples that come encoded: what their headers say, and what is decoded of them, once and only when looked at."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from sensorium.drivers.media import JPEG, Media, Shrink, jpeg_shape, shrink_for
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.errors import Corrupt

CAMERA = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(61, 83, 3), color_order="BGR")
GRAY = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(61, 83))
BEST = (cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
STAMPS = np.arange(3, dtype=np.int64)


def picture(seed: int, shape: tuple[int, ...] = CAMERA.shape) -> Samples:
    noise = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    soft: Samples = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 8), None, 0, 255, cv2.NORM_MINMAX)
    return soft


def jpeg(frame: Samples, *options: int) -> bytes:
    item: bytes = cv2.imencode(".jpg", frame, list(options))[1].tobytes()
    return item


def turned(item: bytes) -> bytes:
    """The JPEG with an EXIF header that says it is to be shown turned by a quarter."""
    tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return item[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + item[2:]


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that OpenCV decodes."""
    calls: list[int] = []
    decode: Callable[[Samples, int], Any] = cv2.imdecode

    def counted(data: Samples, flags: int) -> Samples:
        calls.append(flags)
        found: Samples = decode(data, flags)
        return found

    monkeypatch.setattr(cv2, "imdecode", counted)
    return calls


def items(n: int = 3) -> Media:
    return Media(JPEG, [jpeg(picture(seed)) for seed in range(n)])


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
@pytest.mark.parametrize("shape", [CAMERA.shape, GRAY.shape])
def test_a_header_says_the_shape(shape: tuple[int, ...], options: tuple[int, ...]) -> None:
    item = jpeg(picture(0, shape), *options)
    assert jpeg_shape(item) == shape
    assert jpeg_shape(turned(item)) == shape
    assert jpeg_shape(item[:2] + b"\xff" + item[2:]) == shape, "fill bytes before a marker"


@pytest.mark.parametrize("length", [0, 1, 2, 20, 100])
def test_what_is_no_jpeg_has_no_shape(length: int) -> None:
    for item in (jpeg(picture(0))[:length], b"\x89PNG\r\n\x1a\n" + bytes(length), bytes(length), b"\xff\xd8" * length):
        with pytest.raises(Corrupt, match="no JPEG of 8 bits"):
            jpeg_shape(item)


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
@pytest.mark.parametrize("shape", [CAMERA.shape, GRAY.shape])
def test_pixels_are_those_of_the_picture_shrunk(shape: tuple[int, ...], shrink: Shrink) -> None:
    frames = [picture(seed, shape) for seed in range(3)]
    encoded = Block("cam", STAMPS, Media(JPEG, [jpeg(frame, *BEST) for frame in frames]))
    raw = Block("cam", STAMPS, np.stack(frames))
    found, expected = encoded.pixels(shrink), raw.pixels(shrink)
    assert found.shape == expected.shape == (3, -(-61 // shrink), -(-83 // shrink), *shape[2:])
    assert np.abs(found.astype(int) - expected.astype(int)).mean() < 1.5
    assert raw.pixels() is raw.data


def test_each_scale_is_decoded_once_and_only_when_looked_at(decodes: list[int]) -> None:
    block = Block("cam", STAMPS, items())
    block.check(CAMERA)
    assert block.nbytes == sum(map(len, block.media.items)) if block.media else False
    first = block.between(0, 1)
    assert not decodes
    assert block.data is block.pixels()
    assert len(decodes) == 3
    kept = block.take(np.array([True, False, True]), 0)
    assert np.array_equal(kept.data, block.data[[0, 2]])
    assert np.array_equal(block.between(1, 3).data, block.data[1:])
    assert len(decodes) == 3, "what is left of a block needs no second time"
    block.pixels(8)
    block.pixels(8)
    assert len(decodes) == 6
    assert np.array_equal(first.data, block.data[:1])
    assert len(decodes) == 7, "this part was cut off before"
    assert block.media is not None
    assert np.array_equal(block.media.undecoded().pictures(), block.data)
    assert len(decodes) == 10


def test_what_one_saw_another_cannot_change() -> None:
    block = Block("cam", STAMPS, items())
    with pytest.raises(ValueError, match="read-only"):
        block.data[0, 0, 0] = 0


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([False, True, True]), np.array([1, 2])])
def test_rows_of_media_are_as_of_an_array(rows: slice | Samples) -> None:
    whole = items()
    some = whole[rows]
    assert (some.items, len(some), some.media_type) == (whole.items[1:], 2, JPEG)
    assert np.array_equal(some.pictures(), whole.pictures()[1:])
    assert len(whole[0:0].pictures()) == 0


@pytest.mark.parametrize("shrink", [1, 2, 8])
def test_pictures_lie_as_the_sensor_has_them(shrink: Shrink) -> None:
    """What EXIF says of turning one is for those who show it; the spec has one shape."""
    item = jpeg(picture(0))
    assert np.array_equal(Media(JPEG, [turned(item)]).pictures(shrink), Media(JPEG, [item]).pictures(shrink))


@pytest.mark.parametrize(
    ("made", "spec", "message"),
    [
        (items(2), CAMERA, "expected .*2"),
        (Media("video/h264", [b"1", b"2", b"3"]), CAMERA, "items of 'video/h264', known is image/jpeg"),
        (items(), GRAY, r"item 0: image/jpeg of \[61, 83, 3\], expected \[61, 83\]"),
        (Media(JPEG, [*items(2).items, jpeg(picture(0, (61, 82, 3)))]), CAMERA, r"item 2: .*\[61, 82, 3\], expected"),
        (Media(JPEG, [*items(2).items, b"junk"]), CAMERA, "item 2: 4 bytes that are no JPEG"),
        (items(), StreamSpec(name="cam", modality="", dtype="uint16", shape=(61, 83, 3)), "expected uint8"),
        (
            items(),
            StreamSpec(name="cam", modality="", dtype="uint8", shape=(61, 83, 3), color_order="RGB"),
            "expected uint8, and BGR",
        ),
        (items(), StreamSpec(name="rear", modality="", dtype="uint8", shape=(61, 83, 3)), "block of 'rear'"),
    ],
)
def test_a_block_of_items_is_checked_without_decoding(
    decodes: list[int], made: Media, spec: StreamSpec, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Block("cam", STAMPS, made).check(spec)
    assert not decodes


def test_a_picture_that_does_not_decode_is_corrupt() -> None:
    item = jpeg(picture(0))
    block = Block("cam", STAMPS[:1], Media(JPEG, [item[:400]]))
    block.check(CAMERA)  # its header is whole
    with pytest.raises(Corrupt, match="decodes to nothing"):
        assert block.data is None


def test_shrinks_leave_what_is_needed() -> None:
    assert [shrink_for((480, 640, 3), *size) for size in ((640, 480), (321, 1), (320, 240), (81, 2), (80, 60))] == [
        1, 1, 2, 4, 8,
    ]  # fmt: skip
