"""Films of every kind: what is in the file comes out once, right, with its own stamp, or is counted as lost."""

import doctest
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.drivers.clock import Clock
from sensorium.drivers.live import camera_file, film_jpeg
from sensorium.drivers.live.camera import CameraConfig
from sensorium.drivers.live.film_opencv import OpencvFilm, promised_frames
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

pytest.importorskip("av", reason="PyAV is not installed: pip install 'sensorium[video]'")

from sensorium.drivers.live import film_pyav
from tests.agents.replaying import agent, in_child, killed_at, recorded
from tests.drivers.live.films import (
    decoded,
    film,
    joined,
    motion_jpeg,
    motion_jpeg_of,
    overwrite,
    packets_ms,
    places,
    scene,
)


class Read(NamedTuple):
    spec: StreamSpec
    clock: Clock
    pictures: list[npt.NDArray[Any]]
    stamps_ms: list[float]
    lost: int
    lost_ms: list[float]
    is_guess: bool

    @property
    def all(self) -> int:
        return len(self.pictures) + self.lost


def read(path: Path, **options: Any) -> Read:
    """What the driver makes of a film; `lost_ms` are the stamps of what is lost, as far as they are known."""
    driver = CameraConfig(source=path.name, pace="fast", **options).open("v", path.parent)
    pictures, stamps, lost, lost_ms, is_guess = [], [], 0, [], False
    try:
        while (blocks := driver.read(1.0)) is not None:
            for block in blocks:
                assert isinstance(block, Block)
                block.check(driver.specs[0])
                pictures += list(block.data)
                stamps += [at / 1e6 for at in block.captured_ns.tolist()]
                lost += block.lost_before
                is_guess |= block.is_guess
                lost_ms += [] if block.lost_at_ns is None else [block.lost_at_ns / 1e6]
    finally:
        driver.close()
    return Read(driver.specs[0], driver.clock, pictures, stamps, lost, lost_ms, is_guess)


def same(ours: list[npt.NDArray[Any]], others: list[npt.NDArray[Any]]) -> bool:
    return len(ours) == len(others) and all(map(np.array_equal, ours, others))


INTERLACED = {"flags": "+ildct+ilme"}
TIMES = [0, 30, 100, 500, 520, 1900]
EQUAL = [0, 33, 66, 100, 100, 133, 166, 200, 200]
TENTH, TV = Fraction(1, 10), Fraction(1, 25)
Make = Callable[[Path], Path]

WHOLE: dict[str, tuple[Make, list[int]]] = {
    "interlaced H.264": (lambda at: film(at / "a.mp4", "libx264", options=INTERLACED), list(range(0, 2000, 100))),
    "interlaced MPEG-2 in TS": (
        lambda at: film(at / "a.ts", "mpeg2video", base=TV, options=INTERLACED, times_ms=range(0, 800, 40)),
        list(range(0, 800, 40)),
    ),
    "DV": (
        lambda at: film(at / "a.avi", "dvvideo", size=(720, 576), base=TV, times_ms=[0, 40, 80]),
        [0, 40, 80],
    ),
    "B-frames": (lambda at: film(at / "a.mp4", "libx264", options={"bf": "3"}), list(range(0, 2000, 100))),
    "a rate that varies": (lambda at: film(at / "a.mkv", "libx264", times_ms=TIMES), [0, 30, 100, 500, 520, 1900]),
    "equal stamps": (lambda at: film(at / "a.mkv", "ffv1", times_ms=EQUAL), [0, 33, 66, 100, 100, 133, 166, 200, 200]),
    "a time before 0": (
        lambda at: film(at / "a.mkv", "ffv1", times_ms=[-100, 0, 100], container={"avoid_negative_ts": "disabled"}),
        [0, 100, 200],
    ),
    "a late begin": (lambda at: film(at / "a.mkv", "ffv1", times_ms=[5000, 5100, 5200]), [0, 100, 200]),
    "a slow Matroska": (
        lambda at: film(at / "a.mkv", "libx264", times_ms=range(0, 12000, 1000), options={"bf": "0"}),
        list(range(0, 12000, 1000)),
    ),
    "an edit list": (
        lambda at: film(
            at / "a.mp4", "libx264", times_ms=range(-500, 1500, 100), container={"avoid_negative_ts": "disabled"}
        ),
        list(range(0, 1500, 100)),
    ),
    "fragments": (
        lambda at: film(
            at / "a.mp4", "libx264", container={"movflags": "frag_keyframe+empty_moov"}, options={"g": "5"}
        ),
        list(range(0, 2000, 100)),
    ),
    "full range": (
        lambda at: film(at / "a.avi", "mjpeg", pixels="yuvj420p", base=TENTH),
        list(range(0, 2000, 100)),
    ),
    "AVI with ticks without a frame": (lambda at: film(at / "a.avi", "mpeg4"), list(range(0, 2000, 100))),
    "AVI with B-frames": (
        lambda at: film(at / "a.avi", "libx264", base=TENTH, options={"bf": "2"}),
        list(range(0, 2000, 100)),
    ),
    "AVI with B-frames of MPEG-4": (
        lambda at: film(at / "a.avi", "mpeg4", base=TENTH, options={"bf": "2"}),
        list(range(0, 2000, 100)),
    ),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_each_frame_of_a_whole_film_comes_once_as_pyav_decodes_it(tmp_path: Path, kind: str) -> None:
    make, stamps_ms = WHOLE[kind]
    path = make(tmp_path)
    found = read(path)
    assert (found.stamps_ms, found.lost) == (stamps_ms, 0)
    assert same(found.pictures, decoded(path)[0])
    assert (found.spec.decoder, found.spec.bits, found.clock) == ("pyav", 8, Clock(kind="recording"))


def test_a_plain_film_has_the_pixels_that_opencv_makes_of_it(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4")
    capture = cv2.VideoCapture(str(path))
    assert same(read(path).pictures, [image for _, image in iter(capture.read, (False, None))])
    capture.release()


@pytest.mark.parametrize(("pixels", "bits"), [("gray16le", 16), ("gray10le", 10)])
def test_grey_values_of_more_than_8_bits_stay_as_they_are(tmp_path: Path, pixels: str, bits: int) -> None:
    values = [(scene(n)[:, :, 0].astype(np.uint16) * 257 >> (16 - bits)).astype(np.uint16) for n in range(5)]
    if bits == 16:
        path = film(tmp_path / "a.mkv", "ffv1", pixels=pixels, pictures=values, times_ms=range(0, 500, 100))
    else:  # PyAV makes no such frame of an array
        path = film(tmp_path / "a.mkv", "ffv1", pixels=pixels, times_ms=range(0, 500, 100))
        values = decoded(path, pixels)[0]
    found = read(path)
    assert (found.spec.dtype, found.spec.shape, found.spec.channels, found.spec.bits) == ("uint16", (48, 64), (), bits)
    assert same(found.pictures, values)
    assert int(max(picture.max() for picture in found.pictures)) >= 200 << (bits - 8)


def test_colours_of_more_than_8_bits_are_16_bits_or_8_on_request(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", "ffv1", pixels="yuv420p10le", times_ms=[0, 100, 200])
    found, grey, eight = read(path), read(path, color="gray"), read(path, bits=8)
    assert (found.spec.dtype, found.spec.shape, found.spec.bits) == ("uint16", (48, 64, 3), 16)
    assert same(found.pictures, decoded(path, "bgr48le")[0])
    assert (grey.spec.dtype, grey.spec.shape) == ("uint16", (48, 64))
    assert int(grey.pictures[0].max()) > 255
    assert (eight.spec.dtype, eight.spec.bits) == ("uint8", 8)
    assert same(eight.pictures, decoded(path)[0])


def test_a_film_that_was_turned_is_upright(tmp_path: Path) -> None:
    """The display matrix of an MP4 says how; OpenCV turns it too."""
    path = film(tmp_path / "a.mp4", times_ms=range(0, 500, 100))
    one, unit = (1 << 16).to_bytes(4, "big"), (1 << 30).to_bytes(4, "big")
    matrix = one + bytes(12) + one + bytes(12) + unit
    turned = bytes(4) + one + bytes(4) + (0xFFFF0000).to_bytes(4, "big") + bytes(16) + unit
    head, movie, track = path.read_bytes().partition(matrix)
    path.write_bytes(head + movie + track.replace(matrix, turned, 1))
    capture = cv2.VideoCapture(str(path))
    found = read(path)
    assert found.spec.shape == (64, 48, 3)
    assert same(found.pictures, [image for _, image in iter(capture.read, (False, None))])
    capture.release()


# ---- damaged and cut


DAMAGED: dict[str, tuple[Make, list[int], bool]] = {
    "MJPEG": (lambda at: motion_jpeg(at / "a.avi", [(64, 48)] * 20), [5, 6, 12], False),
    "half a JPEG": (lambda at: motion_jpeg(at / "a.avi", [(64, 48)] * 20), [7], True),
    "the first": (lambda at: motion_jpeg(at / "a.avi", [(64, 48)] * 9), [0], False),
    "the last": (lambda at: motion_jpeg(at / "a.avi", [(64, 48)] * 9), [8], False),
    "H.264": (lambda at: film(at / "a.mp4", "libx264", options={"bf": "0"}), [9], False),
    "H.264 with B-frames": (lambda at: film(at / "a.mp4", "libx264", options={"bf": "2"}), [9], False),
    "MPEG-4": (lambda at: film(at / "a.mp4"), [9], False),
    "half of an MPEG-4 frame": (lambda at: film(at / "a.mp4"), [9], True),
    "PNG": (lambda at: film(at / "a.mov", "png", pixels="rgb24"), [9], False),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_bad_frame_costs_itself_alone(tmp_path: Path, kind: str) -> None:
    make, damaged, half = DAMAGED[kind]
    path = make(tmp_path)
    when_ms = packets_ms(path)
    lost_ms = sorted(when_ms[number] for number in damaged)
    found = read(overwrite(path, damaged, half=half))
    assert (found.lost, found.lost_ms) == (len(damaged), lost_ms)
    assert found.stamps_ms == [at_ms for at_ms in sorted(when_ms) if at_ms not in lost_ms]


def _half(item: bytes) -> bytes:
    return item[: len(item) // 2]


HALVES: dict[str, Callable[[bytes], bytes]] = {
    "cut": _half,
    "cut, with an end": lambda item: _half(item) + b"\xff\xd9",
    "its last part cut": lambda item: item[: len(item) * 19 // 20],
    "zeros": lambda item: _half(item) + bytes(len(item) - len(item) // 2),
    "a hole": lambda item: _half(item) + item[len(item) // 2 + 300 :],
    "noise": lambda item: _half(item) + bytes(range(200)) + item[len(item) // 2 + 200 :],
}


@pytest.mark.parametrize("ending", ["avi", "mkv", "mov"])
def test_half_a_jpeg_is_no_picture(tmp_path: Path, ending: str) -> None:
    """Of fine detail, where a decoder goes on with whatever bits there are; one without its end is whole."""
    items = _detailed(2 * len(HALVES) + 1)
    for place, damaged in enumerate(HALVES.values()):
        items[2 * place + 1] = damaged(items[2 * place + 1])
    items[-1] = items[-1][:-2]
    found = read(motion_jpeg_of(tmp_path / f"a.{ending}", items, (160, 120)))
    assert found.lost_ms == [200.0 * place + 100 for place in range(len(HALVES))]
    assert found.all == len(items)


@pytest.mark.parametrize("kind", ["cut", "cut, with an end", "its last part cut"])
def test_the_decoder_too_is_told_that_half_a_jpeg_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """As of kinds that libjpeg does not know."""
    monkeypatch.setattr(film_pyav, "is_half", lambda _: False)
    items = _detailed(5)
    items[2] = HALVES[kind](items[2])
    assert read(motion_jpeg_of(tmp_path / "a.avi", items, (160, 120))).lost_ms == [200]


def test_examples_of_jpegs() -> None:
    assert doctest.testmod(film_jpeg) == (0, 2)


def _detailed(count: int) -> list[bytes]:
    draw = np.random.default_rng(4)
    return [
        cv2.imencode(".jpg", draw.integers(0, 255, (120, 160, 3)).astype(np.uint8))[1].tobytes() for _ in range(count)
    ]


def test_what_comes_before_the_first_key_frame_is_lost(tmp_path: Path) -> None:
    """A transport stream that was cut between key frames: its decoder says nothing of them."""
    whole = film(tmp_path / "whole.ts", "libx264", options={"g": "10", "bf": "0", "sc_threshold": "0"}).read_bytes()
    path = tmp_path / "a.ts"
    path.write_bytes(whole[:564] + whole[places(tmp_path / "whole.ts")[4][0] :])
    found = read(path)
    assert (len(found.pictures), found.lost) == (10, 6)


def test_a_film_that_is_cut_has_in_its_account_what_its_index_promises(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", "mpeg4", container={"movflags": "faststart"})
    at, size = places(path)[12]
    path.write_bytes(path.read_bytes()[: at + size // 2])
    pictures, _ = decoded(path)
    document = {
        "device": "rig",
        "sensors": {"v": {"kind": "camera", "source": "a.mp4", "pace": "fast"}},
        "spool": {"path": "spool"},
        "trigger": {"kind": "interval", "length_s": 10},
    }
    collecting = Agent(check_device(document, tmp_path))
    collecting.run()
    account = collecting.status()["streams"]["v"]
    assert len(pictures) in (12, 13)  # of the half one the decoder may show what there is
    assert (account.captured, account.stored, dict(account.lost)) == (20, 12, {"sensor": 8})


@pytest.mark.parametrize("ending", ["mkv", "mp4", "avi"])
def test_what_a_cut_film_lacks_is_known_by_its_header(tmp_path: Path, ending: str) -> None:
    more = {"movflags": "frag_keyframe+empty_moov"} if ending == "mp4" else {}
    path = film(tmp_path / f"a.{ending}", "mpeg4", container=more, options={"g": "20"}, base=TENTH)
    at, _ = places(path)[13]
    path.write_bytes(path.read_bytes()[:at])
    found = read(path)
    assert (found.all, found.is_guess) == (20, ending == "mkv")
    assert 11 <= len(found.pictures) <= 13


def test_a_film_that_was_killed_goes_on_with_each_frame_once(tmp_path: Path) -> None:
    """It is read again from its beginning, which gives the same each time."""
    path = overwrite(film(tmp_path / "a.mp4", "libx264", options={"bf": "2"}, times_ms=range(0, 3500, 100)), [12])
    document = {"sensors": {"v": {"kind": "camera", "source": str(path), "pace": "fast"}}}
    folders = [tmp_path / name for name in ("whole", "broken")]
    for folder in folders:
        folder.mkdir()
    whole, broken = (partial(_collect, folder, document) for folder in folders)
    assert in_child(whole) == 0
    assert killed_at(17, broken)
    assert in_child(broken) == 0
    expected, found = (recorded(folder / "spool") for folder in folders)
    assert found == expected
    assert len(expected) == 4
    assert [(each.accounts["v"].captured, each.accounts["v"].stored) for each in found] == [
        (10, 10),
        (10, 9),
        (10, 10),
        (5, 5),
    ]


# ---- time, sizes


@pytest.mark.parametrize("lasts_ms", [600, 2000])
def test_films_that_were_joined_begin_anew(tmp_path: Path, lasts_ms: int) -> None:
    """Each part in an episode of its own, whole, also where it is shorter than what counts as disorder."""
    parts = [film(tmp_path / f"{n}.ts", "libx264", times_ms=range(0, lasts_ms, 100)) for n in range(3)]
    path = joined(tmp_path / "a.ts", *parts)
    assert read(path).stamps_ms == 3 * list(range(0, lasts_ms, 100))
    document = {
        "device": "rig",
        "sensors": {"v": {"kind": "camera", "source": "a.ts", "pace": "fast"}},
        "spool": {"path": "spool"},
        "trigger": {"kind": "interval", "length_s": 10},
    }
    collecting = Agent(check_device(document, tmp_path))
    collecting.run()
    account = collecting.status()["streams"]["v"]
    assert (account.stored, dict(account.lost)) == (3 * lasts_ms // 100, {})
    assert len(list((tmp_path / "spool" / "episodes").iterdir())) == 3


def test_pictures_of_another_size_are_lost_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the middle of a film, which then goes on as it was."""
    found = read(motion_jpeg(tmp_path / "a.avi", [(64, 48)] * 6 + [(32, 24)] * 3 + [(64, 48)] * 2))
    assert (found.stamps_ms, found.lost_ms) == ([0, 100, 200, 300, 400, 500, 900, 1000], [600, 700, 800])
    assert "frames become 32x24 yuv420p after (48, 64, 3): 3 are lost; cut the file there" in caplog.text


def test_a_film_is_aligned_with_a_log(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", metadata={"creation_time": "2026-05-01T12:00:00Z"}, times_ms=[0, 100])
    begin_ms = datetime(2026, 5, 1, 12, tzinfo=UTC).timestamp() * 1e3
    later, stated = read(path, offset_s=-2.5), read(path, utc=True)
    said = read(path, utc="2026-05-01T14:00:01+02:00", offset_s=1)
    assert (later.stamps_ms, later.clock) == ([-2500, -2400], Clock(kind="recording"))
    assert stated.stamps_ms == [begin_ms, begin_ms + 100]
    assert stated.clock == Clock(kind="recording", states_utc=True, utc_within_ns=1_200_000_000)  # it lasts 0.2 s
    assert (said.stamps_ms[0], said.clock) == (begin_ms + 2000, Clock(kind="recording", states_utc=True))
    with pytest.raises(ConfigError, match=r"states no creation_time; say when it begins: utc: 2026-05-01T12:00:00Z"):
        read(film(tmp_path / "b.mp4", times_ms=[0, 100]), utc=True)


# ---- what is refused


def test_a_sound_with_a_cover_is_no_film(tmp_path: Path) -> None:
    """FLAC with a picture, which other readers take for a film of one frame, or of as many as there are ticks."""
    picture = cv2.imencode(".png", scene(0))[1].tobytes()
    block = b"".join(
        (
            (3).to_bytes(4, "big"),
            len(b"image/png").to_bytes(4, "big") + b"image/png",
            bytes(4),
            (64).to_bytes(4, "big") + (48).to_bytes(4, "big") + (24).to_bytes(4, "big") + bytes(4),
            len(picture).to_bytes(4, "big") + picture,
        )
    )
    info = bytes.fromhex("1000 1000 000000 000000 0ac442f0 00000000") + bytes(16)
    blocks = b"\x00" + len(info).to_bytes(3, "big") + info + b"\x86" + len(block).to_bytes(3, "big") + block
    (tmp_path / "a.flac").write_bytes(b"fLaC" + blocks)
    with pytest.raises(ConfigError, match="there is no video in it, only a still picture; expected a film"):
        read(tmp_path / "a.flac")


def test_a_bare_stream_has_no_times(tmp_path: Path) -> None:
    film(tmp_path / "a.h264", "libx264", times_ms=[0, 100, 200])
    with pytest.raises(ConfigError, match="its frames have no time of their own; put them into MP4 or MKV"):
        read(tmp_path / "a.h264")


def _collect(folder: Path, document: dict[str, Any]) -> None:
    agent(folder, document).run()


# ---- without PyAV


@pytest.fixture
def _without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera_file, "_open", lambda path, _: OpencvFilm(path))


NEEDS_PYAV: dict[str, Make] = {
    "h264 that may be interlaced": lambda at: film(at / "a.mp4", "libx264", options=INTERLACED),
    "FMP4 that may be interlaced": lambda at: film(at / "a.mp4", options=INTERLACED),
    "dvsd": lambda at: film(at / "a.avi", "dvvideo", size=(720, 576), base=TV, times_ms=[0, 40, 80]),
    "in a container whose pictures may change their size": lambda at: film(at / "a.ts", "libx264"),
    "with pixels of the format": lambda at: film(at / "a.mkv", "ffv1", pixels="gray16le"),
    "an edit list that leaves frames out": lambda at: WHOLE["an edit list"][0](at),
    "MPNG": lambda at: film(at / "a.mov", "png", pixels="rgb24"),
}


@pytest.mark.usefixtures("_without_pyav")
@pytest.mark.parametrize("says", NEEDS_PYAV)
def test_what_opencv_cannot_be_trusted_with_says_what_to_install(tmp_path: Path, says: str) -> None:
    path = NEEDS_PYAV[says](tmp_path)
    with pytest.raises(ConfigError, match=r"does not read it rightly; pip install 'sensorium\[video\]'") as refused:
        read(path)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("_without_pyav")
@pytest.mark.parametrize(
    "make",
    [
        lambda at: film(at / "a.mp4", "libx264"),
        lambda at: film(at / "a.mp4"),
        lambda at: film(at / "a.mp4", "libx264", options={"bf": "3"}),
        lambda at: film(at / "a.mkv", "ffv1", times_ms=[0, 100, 200, 200, 300, 400]),
        lambda at: film(at / "a.avi", "mjpeg", pixels="yuvj420p", base=TENTH),
        WHOLE["AVI with B-frames"][0],
        WHOLE["AVI with ticks without a frame"][0],
    ],
)
def test_what_it_can_be_trusted_with_is_as_through_pyav(tmp_path: Path, make: Make) -> None:
    path = make(tmp_path)
    found = read(path)
    assert (found.spec.decoder, found.lost, found.stamps_ms[0]) == ("opencv", 0, 0)
    assert same(found.pictures, decoded(path)[0])


@pytest.mark.usefixtures("_without_pyav")
def test_opencv_goes_on_behind_a_bad_frame(tmp_path: Path) -> None:
    found = read(overwrite(motion_jpeg(tmp_path / "a.avi", [(64, 48)] * 20), [5, 6, 12]))
    assert (len(found.pictures), found.lost) == (17, 3)


@pytest.mark.usefixtures("_without_pyav")
def test_half_a_jpeg_is_no_picture_to_opencv_either(tmp_path: Path) -> None:
    items = _detailed(8)
    items[3], items[5] = _half(items[3]), _half(items[5]) + bytes(2000)
    found = read(motion_jpeg_of(tmp_path / "a.avi", items, (160, 120)))
    assert (len(found.pictures), found.lost_ms) == (6, [300, 500])


@pytest.mark.usefixtures("_without_pyav")
def test_what_is_no_film_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(ConfigError, match="no frame can be read; expected a video that FFmpeg knows"):
        read(tmp_path / "a.mp4")


class _Header:
    """A container that states a duration alone: OpenCV makes a number of frames of it and a rate of its own."""

    def __init__(self, **values: float) -> None:
        self._values = {getattr(cv2, f"CAP_PROP_{name}"): value for name, value in values.items()}

    def get(self, prop: int) -> float:
        return self._values[prop]


@pytest.mark.parametrize(
    ("is_listed", "count", "begin", "promised"),
    [
        (False, 194, 0, 60),  # an MKV of 60 frames in 6.47 s, nominally at 30
        (False, 344, 150, 60),  # whose first frame stands at 5 s
        (False, 300, 0, 92),  # that ends 3.5 s early
        (True, 62, 0, 62),
    ],
)
def test_frames_promised(is_listed: bool, count: int, begin: float, promised: int) -> None:
    header: Any = _Header(FRAME_COUNT=count, FPS=30.0)
    assert promised_frames(header, 60, 6_400_000_000, begin, is_listed=is_listed) == promised
