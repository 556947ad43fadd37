"""Video files and the camera's configuration: every frame, its own stamps, and one clear line for what cannot work."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from sensorium.drivers.live.camera import CameraConfig, check_device
from sensorium.drivers.pacing import Paced
from sensorium.drivers.region import Regional
from sensorium.drivers.registry import driver_config
from sensorium.drivers.stream import Block
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError, SensorLost

SYSTEM_PYTHON = "/usr/bin/python3"
VTEST_FRAMES = 795


Opened = Regional | Paced


def camera(source: str | int, base: Path = Path(), **options: object) -> Opened:
    return CameraConfig.model_validate({"kind": "camera", "source": source, **options}).open("front", base)


def take(driver: Opened, frames: int) -> list[Block]:
    """At least `frames` frames; every block checked."""
    blocks: list[Block] = []
    while sum(map(len, blocks)) < frames:
        for block in driver.read(10.0) or ():
            assert isinstance(block, Block)
            block.check(driver.specs[0])
            blocks.append(block)
    return blocks


def drain(driver: Opened) -> list[Block]:
    blocks: list[Block] = []
    while (got := driver.read(1.0)) is not None:
        blocks += [each for each in got if isinstance(each, Block)]
    return blocks


# ---- a file


@pytest.fixture
def vtest(recordings: Path) -> Path:
    return recordings / "video" / "vtest.avi"


class TestFileConformance(DriverTests):
    expected_rows = {"dut": VTEST_FRAMES}

    @pytest.fixture(autouse=True)
    def _video(self, vtest: Path) -> None:
        self.path = vtest

    def config(self, tmp_path: Path) -> CameraConfig:
        return CameraConfig(source=str(self.path), pace="fast")


def test_every_frame_of_a_file_with_its_own_stamp(vtest: Path) -> None:
    """795 frames, 100 ms apart, equal to a bare decode; the path is relative to the device file's folder."""
    driver = camera("video/vtest.avi", vtest.parent.parent, pace="fast", size=[768, 576])
    bare = cv2.VideoCapture(str(vtest))
    try:
        (spec,) = driver.specs
        assert (spec.shape, spec.color_order, spec.rate_hz, spec.stamps_from) == ((576, 768, 3), "BGR", 10.0, "source")
        assert (driver.clock.kind, driver.clock.states_utc) == ("recording", False)
        stamps = []
        while (blocks := driver.read(1.0)) is not None:
            for block in blocks:
                assert isinstance(block, Block)
                stamps += block.captured_ns.tolist()
                assert block.lost_before == 0
                for image in block.data:
                    assert np.array_equal(image, bare.read()[1])
        assert not bare.read()[0]
        assert stamps == [100_000_000 * number for number in range(VTEST_FRAMES)]
    finally:
        driver.close()
        bare.release()


def test_gray(vtest: Path) -> None:
    driver = camera(str(vtest), pace="fast", color="gray")
    bare = cv2.VideoCapture(str(vtest))
    try:
        assert (driver.specs[0].shape, driver.specs[0].color_order) == ((576, 768), "")
        (block,) = take(driver, 1)
        np.testing.assert_array_equal(block.data[0], cv2.cvtColor(bare.read()[1], cv2.COLOR_BGR2GRAY))
    finally:
        driver.close()
        bare.release()


def test_a_file_cut_short_counts_what_it_promised(vtest: Path, tmp_path: Path) -> None:
    (tmp_path / "short.avi").write_bytes(vtest.read_bytes()[:2_000_000])
    driver = camera("short.avi", tmp_path, pace="fast")
    try:
        blocks = drain(driver)
    finally:
        driver.close()
    delivered = sum(map(len, blocks))
    assert 50 < delivered < VTEST_FRAMES
    assert delivered + sum(block.lost_before for block in blocks) == VTEST_FRAMES


def test_uneven_stamps_are_the_files_own(tmp_path: Path) -> None:
    """An MP4 at 29.97 a second: stamps follow its time base, they are not counted up at 30."""
    writer = cv2.VideoWriter(str(tmp_path / "v.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 29.97, (64, 48))
    for number in range(90):
        writer.write(np.full((48, 64, 3), number, np.uint8))
    writer.release()
    driver = camera("v.mp4", tmp_path, pace="fast")
    try:
        stamps = [ns for block in drain(driver) for ns in block.captured_ns.tolist()]
    finally:
        driver.close()
    expected = [number / 29.97 * 1e9 for number in range(90)]
    assert np.abs(np.array(stamps) - expected).max() <= 500


def test_bare_jpegs_have_no_time(tmp_path: Path) -> None:
    """FFmpeg would stamp them at 25 a second."""
    picture = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    (tmp_path / "v.mjpeg").write_bytes(picture * 10)
    with pytest.raises(ConfigError, match="its frames have no time of their own; put them into MP4 or MKV"):
        camera("v.mjpeg", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.avi", None, "does not exist: expected a video, relative to the device file's folder"),
        ("text.avi", b"not a video\n" * 200, "no frame can be read; expected a video that FFmpeg knows"),
        ("empty.avi", b"", "no frame can be read"),
    ],
)
def test_a_file_that_is_no_video(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=says) as refused:
        camera(name, tmp_path)
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)


def test_a_size_that_it_does_not_have(vtest: Path) -> None:
    with pytest.raises(ConfigError, match=r"frames are 768x576, size asks for 640x480; .* the filter `resize`"):
        camera(str(vtest), size=[640, 480])


# ---- the configuration


def test_registered() -> None:
    assert driver_config("camera") is CameraConfig


@pytest.mark.parametrize(
    ("source", "place", "title"),
    [
        (0, "device", "/dev/video0"),
        ("2", "device", "/dev/video2"),
        ("/dev/v4l/by-id/usb-x", "device", "/dev/v4l/by-id/usb-x"),
        ("rtsp://me:secret@host:554/a?b=1", "stream", "rtsp://host:554/a?b=1"),
        ("HTTP://host/a", "stream", "http://host/a"),
        ("clips/a.mp4", "file", "clips/a.mp4"),
    ],
)
def test_what_a_source_is(source: str | int, place: str, title: str) -> None:
    config = CameraConfig(source=source)
    assert (config.place, config.title) == (place, title)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"source": "a.mp4", "pixel_format": "MJPG"}, "pixel_format is for devices"),
        ({"source": 0, "pixel_format": "MJPEG"}, "pixel_format"),
        ({"source": 0, "pace": "fast"}, "pace is for files"),
        ({"source": "a.mp4", "stamps": "arrival"}, "have no arrival"),
        ({"source": 0, "size": [0, 480]}, "size"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        CameraConfig.model_validate({"kind": "camera", **options})


# ---- devices


def test_an_absent_device() -> None:
    with pytest.raises(SensorLost, match=r"camera /dev/video97 is not there \(found: .*\); plug it in"):
        camera(97)


def test_a_device_that_may_not_be_used(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root may use everything; the check itself is asked as somebody else.
        pid = os.fork()
        if pid == 0:
            os.setresuid(65534, 65534, 65534)
            try:
                check_device("/dev/mem" if Path("/dev/mem").exists() else "/proc/1/environ")
            except ConfigError as error:
                os._exit(0 if "add yourself to the group video" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    else:
        with pytest.raises(ConfigError, match="add yourself to the group video"):
            check_device("/proc/1/environ")


def test_a_device_that_is_no_camera() -> None:
    with pytest.raises(SensorLost, match="/dev/null does not open: not a camera, or in use by another program"):
        camera("/dev/null")


@pytest.mark.parametrize("example", ["webcam", "rtsp", "video-file", "witmotion"])
def test_the_examples_sensors_are_valid(example: str) -> None:
    document = yaml.safe_load((Path(__file__).parents[3] / "examples" / f"{example}.yaml").read_text(encoding="utf-8"))
    for entry in document["sensors"].values():
        driver_config(entry["kind"]).model_validate(entry)
