"""The V4L2 driver on a played device: every gap of its numbers counted, every bit kept, another camera refused."""

import doctest
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest

from sensorium.agents.capture.reopening import Nature
from sensorium.drivers.controls import CONTROL
from sensorium.drivers.driver import Driver
from sensorium.drivers.live import camera_v4l2 as driver_module
from sensorium.drivers.live import kernel_clock, v4l2_capture, v4l2_identity, v4l2_settings
from sensorium.drivers.live.camera_v4l2 import CameraV4l2, CameraV4l2Config, camera_v4l2
from sensorium.drivers.live.v4l2_identity import serial_of
from sensorium.drivers.marks import STATE, SourceNote
from sensorium.drivers.registry import driver_config
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError, SensorLost
from tests.drivers.live.played_v4l2 import ERROR, MONOTONIC, START, Played

GREY = bytes(range(32))
T = TypeVar("T")


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path / "video0")


@pytest.fixture
def opened(played: Played, tmp_path: Path) -> Iterator[Callable[..., CameraV4l2]]:
    cameras: list[CameraV4l2] = []

    def open_one(**options: object) -> CameraV4l2:
        config = CameraV4l2Config.model_validate({"source": str(played.node), **options})
        cameras.append(camera_v4l2("front", config, played, tmp_path / "sys"))
        return cameras[-1]

    yield open_one
    for camera in cameras:
        camera.close()


def all_of(camera: CameraV4l2) -> list[Block]:
    """What has come, one frame at a time."""
    return of_kind(camera, Block)


def everything(camera: CameraV4l2) -> list[Block | SourceNote]:
    found: list[Block | SourceNote] = []
    while got := camera.read(0.0):
        for each in got:
            if isinstance(each, Block):
                each.check(camera.specs[0])
            else:
                each.check()
        found += got
    return found


def of_kind(camera: CameraV4l2, kind: type[T]) -> list[T]:
    """Of what has come, the blocks, or the notes."""
    return [each for each in everything(camera) if isinstance(each, kind)]


class TestConformance(DriverTests):
    reads = 20

    @pytest.fixture(autouse=True)
    def _played(self, played: Played) -> None:
        self.played = played

    def open_driver(self, tmp_path: Path) -> Driver:
        self.played.put((number, MONOTONIC, GREY) for number in range(30))
        config = CameraV4l2Config(source=str(self.played.node), lost_after_s=3600)
        return camera_v4l2("dut", config, self.played, tmp_path / "sys")

    def lose(self, driver: Driver) -> None:
        self.played.gone = True


def test_registered() -> None:
    assert driver_config("camera-v4l2") is CameraV4l2Config


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_dropped_buffers_are_counted_exactly(played: Played, opened: Callable[..., CameraV4l2], share: float) -> None:
    """A share at random, and a burst across where the numbers run over."""
    draw = random.Random(1)
    sent = [n for n in range(400) if (n in (0, 399) or draw.random() > share) and not 100 <= n < 150]
    played.put((2**32 - 120 + n, MONOTONIC, GREY) for n in sent)
    blocks = all_of(opened())
    assert sum(map(len, blocks)) == len(sent)
    assert sum(block.lost_before for block in blocks) == 400 - len(sent)
    assert max(block.lost_before for block in blocks) >= 50


def test_a_number_that_leaps_beyond_the_time_there_was_is_no_loss(
    played: Played, opened: Callable[..., CameraV4l2]
) -> None:
    """Of an hour in which nobody read, as its stamps tell, all are missing."""
    played.off_ns = dict.fromkeys(range(100_000, 101_000), 3600 * 10**9)
    played.put((n, MONOTONIC, GREY) for n in (0, 1, 2, 1_000_000, 3, 4, 5005, 100_000, 100_001))
    assert [block.lost_before for block in all_of(opened())] == [0, 0, 0, 0, 0, 0, 5000, 94_994, 0]


def test_stamps_are_the_kernels_to_the_nanosecond(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    played.put((n, MONOTONIC | START, GREY) for n in range(50))
    camera = opened()
    stamps = np.concatenate([block.captured_ns for block in all_of(camera)])
    assert np.diff(stamps).tolist() == np.diff(np.array(played.stamps_ns)).tolist()
    away_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    assert abs(int(stamps[0]) - played.stamps_ns[0] - away_ns) < 10_000_000
    said = camera.specs[0].calibration["v4l2"]
    assert (camera.specs[0].stamps_from, said["stamps_clock"], said["stamps_of"]) == (
        "kernel", "monotonic", "start of exposure",
    )  # fmt: skip


def test_a_stamp_may_be_of_an_end_that_was_not_waited_for(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    """As those of the kernel's own test camera are: by nine tenths of a period."""
    played.off_ns = dict.fromkeys(range(9), 30_000_000)
    played.put((n, MONOTONIC, GREY) for n in range(9))
    assert sum(map(len, all_of(opened()))) == 9


@pytest.mark.parametrize("first", [False, True])
def test_a_stamp_that_cannot_be_costs_no_frame(played: Played, opened: Callable[..., CameraV4l2], first: bool) -> None:
    """Back, far ahead, and just ahead of its arrival, the first of all too: its arrival tells, which a note says."""
    played.off_ns = {2: -(10**9), 4: 10**12, 6: 10**8, 8: -(10**14)} | ({0: 10**12} if first else {})
    played.put((n, MONOTONIC, GREY) for n in range(10))
    camera = opened()
    assert camera.specs[0].stamps_from == "kernel"
    found = everything(camera)
    blocks = [each for each in found if isinstance(each, Block)]
    assert [(len(block), block.lost_before) for block in blocks] == [(1, 0)] * 10
    stamps = np.concatenate([block.captured_ns for block in blocks])
    assert bool((np.diff(stamps) >= 0).all())
    assert stamps[-1] - stamps[0] < 5 * 10**9
    (said,) = [note for note in found if isinstance(note, SourceNote) and note.kind == "event"]
    assert said.name == "stamp_estimated", "once a second at most"


def test_what_was_lost_before_the_first_whole_one_is_counted(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    """Two that the kernel did not give, two that were damaged; numbers that begin elsewhere say nothing."""
    played.put([(2, MONOTONIC | ERROR, GREY), (3, MONOTONIC, GREY[:9]), *((n, MONOTONIC, GREY) for n in range(4, 8))])
    blocks = all_of(opened())
    assert [(len(block), block.lost_before) for block in blocks] == [(0, 3), (0, 1), *[(1, 0)] * 4]
    played.put((n, MONOTONIC, GREY) for n in range(5000, 5004))
    assert sum(block.lost_before for block in all_of(opened())) == 0


@pytest.mark.parametrize("off_s", [None, 1000, -1000])
def test_without_a_clock_stamps_are_of_arrival(
    played: Played, opened: Callable[..., CameraV4l2], off_s: int | None
) -> None:
    """So too where all of the kernel's are of another time."""
    played.off_ns = dict.fromkeys(range(3), (off_s or 0) * 10**9)
    played.put((n, 0 if off_s is None else MONOTONIC, GREY) for n in range(3))
    camera = opened()
    assert len(all_of(camera)) == 3
    assert camera.specs[0].stamps_from == "arrival"


def test_a_bad_frame_costs_one_frame(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    played.put([(0, MONOTONIC, GREY), (1, MONOTONIC | ERROR, GREY), (2, MONOTONIC, GREY[:9]), (3, MONOTONIC, GREY)])
    assert [(len(block), block.lost_before) for block in all_of(opened())] == [(1, 0), (0, 1), (0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("pixel_format", "order", "bits"),
    [("Y10 ", "<u2", 10), ("Y12 ", "<u2", 12), ("Y16 ", "<u2", 16), ("Y16 -BE", ">u2", 16)],
)
def test_every_bit_is_kept(
    played: Played, opened: Callable[..., CameraV4l2], pixel_format: str, order: str, bits: int
) -> None:
    """Lines are longer than their pictures, as the device says."""
    played.pixel_format, played.line_bytes = pixel_format, 20
    values = np.random.default_rng(2).integers(0, 1 << bits, (4, 8)).astype(np.uint16)
    lines = np.zeros((4, 20), np.uint8)
    lines[:, :16] = values.astype(order).view(np.uint8).reshape(4, 16)
    played.put([(0, MONOTONIC, lines.tobytes())])
    camera = opened()
    (block,) = all_of(camera)
    assert (camera.specs[0].dtype, camera.specs[0].bits) == ("uint16", bits)
    assert block.data[0].tolist() == values.tolist()


@pytest.mark.parametrize(("pixel_format", "bits", "group"), [("Y10P", 10, 4), ("Y12P", 12, 2)])
def test_packed_bits_are_kept(
    played: Played, opened: Callable[..., CameraV4l2], pixel_format: str, bits: int, group: int
) -> None:
    """The upper eight bits of each value, then a byte of the lower ones, as linux/videodev2.h has them."""
    values = np.random.default_rng(5).integers(0, 1 << bits, (4, 8))
    lines = bytearray()
    for row in values.tolist():
        for at in range(0, 8, group):
            some = row[at : at + group]
            lines += bytes(value >> (bits - 8) for value in some)
            lines.append(sum((value & ((1 << (bits - 8)) - 1)) << (n * (bits - 8)) for n, value in enumerate(some)))
        lines += bytes(3)
    played.pixel_format, played.line_bytes = pixel_format, len(lines) // 4
    played.put([(0, MONOTONIC, bytes(lines))])
    camera = opened()
    (block,) = all_of(camera)
    assert (camera.specs[0].dtype, camera.specs[0].bits) == ("uint16", bits)
    assert block.data[0].tolist() == values.tolist()


@pytest.mark.parametrize("pixel_format", ["YUYV", "UYVY", "YVYU", "NV12", "NV21", "BGR3", "RGB3"])
def test_colours_come_out(played: Played, opened: Callable[..., CameraV4l2], pixel_format: str) -> None:
    """One colour, of which each format's bytes are known; padded lines."""
    y, u, v = 120, 90, 200
    pairs = {"YUYV": [y, u, y, v], "UYVY": [u, y, v, y], "YVYU": [y, v, y, u]}
    if pixel_format in pairs:
        rows = np.tile(pairs[pixel_format], (4, 4))
    elif pixel_format.startswith("NV"):
        chroma = [u, v] if pixel_format == "NV12" else [v, u]
        rows = np.concatenate([np.full((4, 8), y), np.tile(chroma, (2, 4))])
    else:
        rows = np.tile([10, 20, 30] if pixel_format == "BGR3" else [30, 20, 10], (4, 8))
    played.pixel_format, played.line_bytes = pixel_format, rows.shape[1] + 6
    played.put([(0, MONOTONIC, np.pad(rows, ((0, 0), (0, 6))).astype(np.uint8).tobytes())])
    (block,) = all_of(opened())
    picture = block.data[0]
    assert picture.shape == (4, 8, 3)
    expected = [10, 20, 30]
    if pixel_format not in ("BGR3", "RGB3"):  # BT.601, limited range
        c, d, e = 1.164 * (y - 16), u - 128, v - 128
        expected = [round(each) for each in (c + 2.018 * d, c - 0.391 * d - 0.813 * e, c + 1.596 * e)]
    assert np.abs(picture.astype(int) - expected).max() <= 2


def jpeg(seed: int, size: tuple[int, int] = (16, 24)) -> bytes:
    picture = np.random.default_rng(seed).integers(0, 255, (*size, 3)).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.GaussianBlur(picture, (5, 5), 2))[1].tobytes())


def without_tables(item: bytes) -> bytes:
    """A JPEG as webcams send it: its Huffman tables left out, as if they were known."""
    kept, at = item[:2], 2
    while item[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(item[at + 2 : at + 4], "big")
        kept += item[at:end] if item[at + 1] != 0xC4 else b""
        at = end
    return kept + item[at:]


def test_jpegs_pass_as_they_came(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    """But for what is behind their end, and tables that they leave out; half a one and one of another size are lost."""
    played.pixel_format, played.size = "MJPG", (24, 16)
    whole, bare = jpeg(1), jpeg(2)
    sent = [whole + bytes(100), without_tables(bare), whole[: len(whole) // 2], jpeg(3, (8, 8)), b"", whole]
    played.put((n, MONOTONIC, data) for n, data in enumerate(sent))
    blocks = all_of(opened())
    assert [(len(block), block.lost_before) for block in blocks] == [(1, 0), (1, 0), (0, 1), (0, 1), (0, 1), (1, 0)]
    first, second, last = (block for block in blocks if len(block))
    assert second.media is not None
    assert second.media.items[0].count(b"\xff\xc4") == 1, "for readers that do not know the tables"
    assert first.media is not None
    assert first.media.items == (whole,)
    assert last.media is not None
    assert last.media.items == (whole,)
    assert (second.data[0] == cv2.imdecode(np.frombuffer(bare, np.uint8), cv2.IMREAD_COLOR)).all()


def plug(tmp_path: Path, node: str, serial: str = "", port: str = "1-1") -> None:
    """As sysfs shows a camera."""
    usb = tmp_path / "sys" / "usb" / port
    (usb / f"{port}:1.0").mkdir(parents=True, exist_ok=True)
    if serial:
        (usb / "serial").write_text(f"{serial}\n")
    (tmp_path / "sys" / node).mkdir()
    (tmp_path / "sys" / node / "index").write_text("0\n")
    (tmp_path / "sys" / node / "device").symlink_to(usb / f"{port}:1.0")


def unplug(played: Played, tmp_path: Path) -> None:
    played.node.unlink()
    shutil.rmtree(tmp_path / "sys" / played.node.name)


def test_a_jpeg_that_is_damaged_inside_costs_itself_alone(
    played: Played, opened: Callable[..., CameraV4l2], tmp_path: Path
) -> None:
    """Half decoded, as libjpeg would pass it on; the first of all too."""
    played.pixel_format, played.size = "MJPG", (128, 96)
    whole = jpeg(1, (96, 128))
    half = len(whole) // 2
    bad = [
        whole[:half] + b"\xff\xd9",
        whole[:half] + whole[half + 400 :],
        whole[:half] + bytes(400) + whole[half + 400 :],
    ]
    sent = [bad[0], whole, *bad, whole, bad[1], whole, bad[2]]
    played.put((n, MONOTONIC, data) for n, data in enumerate(sent))
    blocks = all_of(opened())
    assert [len(block) for block in blocks] == [int(data is whole) for data in sent]
    assert [block.lost_before for block in blocks] == [int(data is not whole) for data in sent]
    played.put((n, MONOTONIC, data) for n, data in enumerate([whole, bad[1], whole[:half], whole]))
    assert [len(block) for block in all_of(opened(check_inside=False))] == [1, 1, 0, 1], "its end is looked at"


def test_another_camera_is_refused(played: Played, opened: Callable[..., CameraV4l2], tmp_path: Path) -> None:
    plug(tmp_path, "video0", "CAM0001")
    played.put((n, MONOTONIC, GREY) for n in range(9))
    specs = opened(card="Webcam", serial="CAM0001").specs
    said = specs[0].calibration["v4l2"]
    assert said["serial"] == serial_of(played.node, tmp_path / "sys") == "CAM0001"
    assert said["part"] == "1.0/0"
    with pytest.raises(ConfigError, match="is another camera: its serial is 'CAM0001', not 'CAM0002'"):
        opened(serial="CAM0002")
    played.card = "Other"
    with pytest.raises(ConfigError, match="is another camera: its card is 'Other', not 'Webcam'"):
        opened(card="Webcam")
    assert opened().specs != specs, "which a sensor that comes back is refused for"


def again(played: Played, other: Played, tmp_path: Path, before: StreamSpec, **options: object) -> CameraV4l2:
    """The camera that had this stream, of two that may be there."""
    config = CameraV4l2Config.model_validate({"source": str(played.node), **options})

    def ioctl(descriptor: int, request: int, buffer: bytearray) -> int:
        is_other = other.node.exists() and os.path.samestat(os.fstat(descriptor), other.node.stat())
        return (other if is_other else played)(descriptor, request, buffer)

    return camera_v4l2("front", config, ioctl, tmp_path / "sys", before, tmp_path)


@pytest.mark.parametrize("serial", ["CAM0001", ""])
def test_the_same_camera_is_found_under_another_node_and_no_other_is_taken_for_it(
    played: Played, opened: Callable[..., CameraV4l2], tmp_path: Path, serial: str
) -> None:
    """By its serial at any port; without one, by its port. Where it is and how its stamps come change nothing."""
    plug(tmp_path, "video0", serial)
    played.put((n, MONOTONIC, GREY) for n in range(9))
    (before,) = opened().specs
    unplug(played, tmp_path)
    stranger = Played(played.node, card="Other")
    plug(tmp_path, "video0", "CAM0002", "1-2")
    stranger.put((n, MONOTONIC, GREY) for n in range(9))
    with pytest.raises(SensorLost, match="is another camera: its card is 'Other', not 'Webcam'; put that one back"):
        again(stranger, stranger, tmp_path, before)
    moved = Played(tmp_path / "video3", bus="usb-9" if serial else "usb-1")
    plug(tmp_path, "video3", serial, "1-7" if serial else "1-3")
    moved.put((n, 0, GREY) for n in range(9))
    back = again(stranger, moved, tmp_path, before)
    try:
        assert back.specs == (before,)
        notes = of_kind(back, SourceNote)
        assert notes[0].value["node"] == str(moved.node)
    finally:
        back.close()
    if not serial:
        moved.bus = "usb-2"
        with pytest.raises(SensorLost, match="is another camera"):
            again(stranger, moved, tmp_path, before)


@pytest.mark.parametrize(
    "change",
    [{"size": (4, 4), "line_bytes": 4}, {"rate": (1001, 15000)}, {"pixel_format": "Y16 ", "line_bytes": 16}],
)
def test_what_comes_back_different_has_other_streams(
    played: Played, opened: Callable[..., CameraV4l2], tmp_path: Path, change: dict[str, Any]
) -> None:
    """Another size, rate or format of the very camera: its streams end."""
    plug(tmp_path, "video0", "CAM0001")
    played.put((n, MONOTONIC, GREY) for n in range(9))
    was = Nature.of(opened())
    for name, value in change.items():
        setattr(played, name, value)
    played.put((n, MONOTONIC, bytes(64)) for n in range(9))
    back = again(played, played, tmp_path, was.specs[0])
    assert was.differs(Nature.of(back)).startswith("with other streams: ")
    back.close()


def test_controls_are_set_and_read_back(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    played.put((n, MONOTONIC, GREY) for n in range(9))
    camera = opened(controls={"exposure_time_absolute": 42})
    assert played.controls["Exposure Time, Absolute"] == 42
    assert camera.specs[0].calibration["v4l2"]["controls"] == {"exposure_time_absolute": 42}
    (note,) = of_kind(camera, SourceNote)
    assert (note.kind, note.name, note.stream) == (STATE, "camera", "front")
    assert note.value["controls"] == {"exposure_time_absolute": 42}, "of what is watched, and what was set"
    assert camera.specs[0].rate_hz == 29.97
    with pytest.raises(ConfigError, match="no control 'gain'; it has brightness, exposure_time_absolute"):
        opened(controls={"gain": 1})
    with pytest.raises(ConfigError, match="brightness was to be 300 and is 255"):
        opened(controls={"brightness": 300})


def test_what_it_is_not_is_refused(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    with pytest.raises(ConfigError, match="asked for GREY 640x480, got GREY 8x4"):
        opened(size=[640, 480])
    played.field_order = 4
    with pytest.raises(ConfigError, match="its pictures are interlaced"):
        opened()
    played.field_order, played.pixel_format = 1, "BA81"
    with pytest.raises(ConfigError, match=r"pixel format 'BA81' is not read; state `pixel_format`, one of MJPG"):
        opened()
    played.node.unlink()
    with pytest.raises(SensorLost, match="is not there; plug it in"):
        opened()


def test_silence_is_a_loss(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    with pytest.raises(SensorLost, match=r"no frame within 0\.1 s of opening"):
        opened(lost_after_s=0.1)
    played.put([(0, MONOTONIC, GREY)])
    camera = opened(lost_after_s=0.1)
    assert len(all_of(camera)) == 1
    with pytest.raises(SensorLost, match=r"no frame for \d+\.\d s"):
        camera.read(5.0)


def test_examples() -> None:
    modules = (driver_module, kernel_clock, v4l2_capture, v4l2_identity, v4l2_settings)
    assert all((found := doctest.testmod(each)).attempted and not found.failed for each in modules)


def test_controls_are_said_again_when_they_change(
    played: Played, opened: Callable[..., CameraV4l2], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whomever; those that nobody asked to watch change unsaid."""
    monkeypatch.setattr(v4l2_settings, "LOOK_S", 0.0)
    played.controls["Contrast"] = 2
    played.put([(0, MONOTONIC, GREY)])
    camera = opened(controls={"brightness": 100})
    said = []
    for n, change in enumerate([{}, {"Exposure Time, Absolute": 20}, {}, {"Brightness": 7}, {"Contrast": 3}]):
        played.controls |= change
        played.put([(n + 1, MONOTONIC, GREY)])
        said.append([note.value["controls"] for note in of_kind(camera, SourceNote)])
    watched = [{"brightness": 100, "exposure_time_absolute": 10}]
    watched.append(watched[0] | {"exposure_time_absolute": 20})
    watched.append(watched[1] | {"brightness": 7})
    assert said == [[watched[0]], [watched[1]], [], [watched[2]], []]


def coded(codec: str, frames: int, key_every: int) -> list[bytes]:
    """A picture that gets brighter, as a camera sends it, one access unit a buffer."""
    av = pytest.importorskip("av")
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV does not encode {codec}")
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "yuv420p", Fraction(1, 30)
    encoder.options = {"tune": "zerolatency", "preset": "ultrafast", "bf": "0"}
    encoder.gop_size = key_every
    made = []
    for n in range(frames):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 + 8 * n, np.uint8), format="bgr24")
        frame.pts = n
        made += [bytes(packet) for packet in encoder.encode(frame)]
    return made


def test_h264_is_decoded_and_what_refers_to_a_loss_is_lost(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    """Up to the next whole picture: a buffer that did not come, one that is damaged, and a beginning in the midst."""
    units = coded("libx264", 20, key_every=5)
    played.pixel_format, played.size, played.line_bytes = "H264", (64, 48), 0
    buffers = [(n - 1, MONOTONIC | (ERROR if n == 12 else 0), unit) for n, unit in enumerate(units) if n not in (0, 7)]
    played.put(buffers)
    camera = opened()
    found = [(len(block), block.lost_before) for block in all_of(camera)]
    lost = sum(missing for _, missing in found)
    kept = [n for n in range(1, 20) if n not in (1, 2, 3, 4, 7, 8, 9, 12, 13, 14)]
    assert (sum(has for has, _ in found), lost) == (len(kept), 19 - len(kept))
    assert camera.specs[0].shape == (48, 64, 3)
    played.put((n, MONOTONIC, unit) for n, unit in enumerate(units))
    brightness = [float(np.median(block.data)) for block in all_of(opened()) if len(block)]
    assert np.abs(np.array(brightness) - (40 + 8 * np.arange(20))).max() < 6


def test_without_pyav_h264_is_refused_by_one_line(
    played: Played, opened: Callable[..., CameraV4l2], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    played.pixel_format = "H264"
    with pytest.raises(ConfigError, match=r"H264 needs PyAV: pip install 'sensorium\[video\]', or state"):
        opened()


def test_exposure_and_gain_can_be_asked_for(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    played.controls = {"Auto Exposure": 3, "Exposure Time, Absolute": 10, "Gain": 40, "Brightness": 128}
    played.put((number, MONOTONIC, GREY) for number in range(2))
    camera = opened()
    assert [(each.name, each.plan, each.low, each.high) for each in camera.controls] == [
        ("exposure_s", "exposure", 1e-4, pytest.approx(255e-4)),
        ("gain", "exposure", 0.0, 255.0),
        ("rate_hz", "rate", 0.1, 29.97),
    ]
    for wrong in ({"exposure_s": 1.0}, {"gain": -1}, {"brightness": 3}):
        with pytest.raises(ValueError, match=r"expected|no control"):
            camera.ask("wrong", wrong)
    everything(camera)
    camera.ask("p1", {"exposure_s": 0.005, "gain": 60})
    assert played.controls["Gain"] == 40, "nothing is done by who asks"
    played.put([(2, MONOTONIC, GREY)])
    assert [each for each in of_kind(camera, SourceNote) if each.kind == CONTROL] == [], "it was captured before"
    assert played.controls == {"Auto Exposure": 1, "Exposure Time, Absolute": 50, "Gain": 60, "Brightness": 128}
    time.sleep(0.002)
    played.put([(3, MONOTONIC, GREY)])
    told = everything(camera)
    (note,) = [each for each in told if isinstance(each, SourceNote) and each.kind == CONTROL]
    (block,) = [each for each in told if isinstance(each, Block)]
    assert (note.name, note.end_ns) == ("p1", int(block.captured_ns[0]))
    assert note.value == {
        "asked": {"exposure_s": 0.005, "gain": 60.0},
        "did": {"exposure_s": 0.005, "gain": 60},
        "why": "",
    }
    camera.ask("p1", {})
    played.put([(4, MONOTONIC, GREY)])
    everything(camera)
    assert played.controls == {"Auto Exposure": 3, "Exposure Time, Absolute": 10, "Gain": 40, "Brightness": 128}


def test_what_a_camera_makes_of_it_otherwise_is_said(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    """A camera that keeps its gain."""
    played.controls = {"Gain": 40}
    played.put([(0, MONOTONIC, GREY)])
    camera = opened()
    everything(camera)
    played.most = 50
    camera.ask("p1", {"gain": 200})
    for number in (1, 2):
        played.put([(number, MONOTONIC, GREY)])
        time.sleep(0.002)
        told = of_kind(camera, SourceNote)
    (note,) = [each for each in told if each.kind == CONTROL]
    assert note.value["did"] == {"gain": 50}
    assert "gain was to be 200 and is 50" in note.value["why"]


def test_one_without_such_controls_has_none(played: Played, opened: Callable[..., CameraV4l2]) -> None:
    played.controls = {"Brightness": 128}
    played.put([(0, MONOTONIC, GREY)])
    assert [each.name for each in opened().controls] == ["rate_hz"]


def test_fewer_frames_can_be_asked_for_and_what_was_lost_between_is_told(
    played: Played, opened: Callable[..., CameraV4l2]
) -> None:
    played.put([(0, MONOTONIC, GREY)])
    camera = opened()
    everything(camera)
    camera.ask("p1", {"rate_hz": 0.1})
    played.put([(1, MONOTONIC, GREY), (2, MONOTONIC, GREY), (5, MONOTONIC, GREY)])
    told = everything(camera)
    assert sum(isinstance(each, Block) for each in told) == 1
    assert [each.name for each in told if isinstance(each, SourceNote) and each.kind == CONTROL] == ["p1"]
    camera.ask("p1", {})
    played.put([(6, MONOTONIC, GREY)])
    (block,) = all_of(camera)
    assert block.lost_before == 2, "3 and 4, which nobody left out"
