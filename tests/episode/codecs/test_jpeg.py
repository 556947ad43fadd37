"""`jpeg` holds pictures of 8 bits, in the colour order of the spec, whole or at a half, a quarter, an eighth."""

import resource
import struct

import cv2
import numpy as np
import pytest

from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.episode.codecs.jpeg import Jpeg, JpegConfig
from sensorium.episode.codecs.testing import CodecTests
from sensorium.episode.documents import Encoding, StreamEntry
from sensorium.errors import Corrupt


def spec(shape: tuple[int, ...], dtype: str = "uint8", color_order: str = "") -> StreamSpec:
    return StreamSpec(name="cam", modality="camera", dtype=dtype, shape=shape, rate_hz=30, color_order=color_order)


PICTURES = (
    spec((48, 64)),
    spec((37, 53, 3), color_order="BGR"),
    spec((37, 53, 3), color_order="RGB"),
    spec((1, 1)),
    spec((1, 17, 3)),
)
OTHERS = (
    spec(()),
    spec((6,)),
    spec((48, 64), "uint16"),
    spec((48, 64), "bool"),
    spec((48, 64, 4)),
    spec((48, 64, 1)),
    spec((2, 48, 64, 3)),
    spec((65_501, 1)),
)


class TestJpeg(CodecTests):
    config = JpegConfig()
    holds, refuses = PICTURES, OTHERS
    exact = False

    def near(self, original: Samples, decoded: Samples) -> bool:
        return bool(cv2.PSNR(original, decoded) > 30)


class TestTheLargest(TestJpeg):
    """Noise at the best quality takes the most."""

    config = JpegConfig(quality=100, subsampling="444")


class TestTheSmallest(TestJpeg):
    config = JpegConfig(quality=1, subsampling="422")

    def near(self, original: Samples, decoded: Samples) -> bool:
        return bool(cv2.PSNR(original, decoded) > 15)


@pytest.mark.parametrize(("order", "shown"), [("BGR", 2), ("RGB", 0), ("rgb", 0), ("", 2)])
def test_red_is_red_for_other_readers_too(order: str, shown: int) -> None:
    codec = Jpeg(JpegConfig().entry(spec((32, 32, 3), color_order=order)))
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., shown] = 250
    item = codec.encode(red)
    others = np.asarray(cv2.imdecode(np.frombuffer(item, np.uint8), cv2.IMREAD_COLOR))
    assert others.reshape(-1, 3).mean(axis=0).argmax() == 2
    for shrink in codec.shrinks:
        assert codec.decode(item, shrink).reshape(-1, 3).mean(axis=0).argmax() == shown


@pytest.mark.parametrize("item", [b"", b"\xff\xd8\xff", b"no picture" * 100])
def test_what_is_no_picture_is_corrupt(item: bytes) -> None:
    codec = Jpeg(JpegConfig().entry(spec((32, 32))))
    with pytest.raises(Corrupt):
        codec.decode(item)


def test_a_picture_of_another_size_is_corrupt() -> None:
    small, large = (Jpeg(JpegConfig().entry(spec(shape))) for shape in ((16, 32), (32, 16)))
    with pytest.raises(Corrupt, match=r"decodes to \(16, 32\), expected \(32, 16\)"):
        large.decode(small.encode(np.zeros((16, 32), np.uint8)))


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 3)])
def test_what_its_header_says_to_be_huge_is_not_decoded(shape: tuple[int, ...]) -> None:
    codec = Jpeg(JpegConfig().entry(spec(shape)))
    item = bytearray(codec.encode(np.zeros(shape, np.uint8)))
    frame = item.index(b"\xff\xc0")
    item[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    bomb = cv2.imencode(".png", np.zeros((9_000, 9_000), np.uint8))[1].tobytes()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shrink in codec.shrinks:
        with pytest.raises(Corrupt, match="65500"):
            codec.decode(item, shrink)
        with pytest.raises(Corrupt, match="no JPEG"):
            codec.decode(bomb, shrink)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB"


def test_it_takes_a_cameras_own_jpegs() -> None:
    codec = Jpeg(JpegConfig().entry(spec((32, 48, 3), color_order="RGB")))
    assert codec.takes_items("image/jpeg", spec((32, 48, 3), color_order="BGR")), "items have no colour order"
    assert not codec.takes_items("image/png", spec((32, 48, 3)))
    assert not codec.takes_items("image/jpeg", spec((32, 48)))


def test_quality_and_subsampling_reach_the_encoder() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    configs = [
        JpegConfig(quality=30, subsampling="420"),
        JpegConfig(quality=90, subsampling="420"),
        JpegConfig(quality=90, subsampling="422"),
        JpegConfig(quality=90, subsampling="444"),
    ]
    sizes = [len(Jpeg(config.entry(spec((64, 64, 3)))).encode(noise)) for config in configs]
    assert sizes == sorted(set(sizes))


def test_documents_that_say_less_mean_the_defaults() -> None:
    """As those do that other programs wrote."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    bare = Jpeg(StreamEntry(spec=spec((64, 64, 3)), encoding=Encoding(codec="jpeg"), chunk_rows=1))
    assert bare.encode(picture) == Jpeg(JpegConfig().entry(spec((64, 64, 3)))).encode(picture)
    strange = Encoding(codec="jpeg", quality=90, subsampling="411")
    assert Jpeg(StreamEntry(spec=spec((64, 64, 3)), encoding=strange, chunk_rows=1)).decode(bare.encode(picture)).any()


def test_a_picture_lies_as_it_is_stored_whatever_exif_says() -> None:
    """A camera's own JPEG may ask to be turned; its samples are those of the spec."""
    picture = np.zeros((16, 32), np.uint8)
    picture[:, 24:] = 255
    codec = Jpeg(JpegConfig().entry(spec((16, 32))))
    plain = codec.encode(picture)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:]
    others = np.asarray(cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_GRAYSCALE))
    assert others.shape == (32, 16), "others turn it"
    assert (codec.decode(turned) == codec.decode(plain)).all()


def test_it_shrinks_by_what_it_says_alone() -> None:
    codec = Jpeg(JpegConfig().entry(spec((16, 32))))
    with pytest.raises(ValueError, match="shrink 3"):
        codec.decode(codec.encode(np.zeros((16, 32), np.uint8)), 3)
