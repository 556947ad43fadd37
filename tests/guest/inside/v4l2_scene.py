"""The V4L2 driver on the kernel's own test camera: dropped buffers, all bits, a camera that is gone and comes back."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.discovery import probe, video_devices
from sensorium.drivers.driver import Driver
from sensorium.drivers.live.camera_v4l2 import CameraV4l2Config
from sensorium.drivers.marks import STATE, SourceNote
from sensorium.drivers.stream import Block
from sensorium.errors import ConfigError, SensorLost

NODE = "/dev/video0"
FRAMES = 60


def control(**values: int) -> None:
    for name, value in values.items():
        subprocess.run(["v4l2-ctl", "-d", NODE, "-c", f"{name}={value}"], check=True)


@pytest.fixture(autouse=True)
def _vivid() -> Iterator[None]:
    subprocess.run(["modprobe", "vivid", "n_devs=1", "node_types=0x1"], check=True)
    deadline_s = time.monotonic() + 60.0
    while not Path(NODE).exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    yield
    subprocess.run(["modprobe", "-r", "vivid"], check=True)


def opened(**options: object) -> Driver:
    document = {"source": NODE, "size": [320, 180], "lost_after_s": 60, **options}
    return CameraV4l2Config.model_validate(document).open("front", Path())


AHEAD_NS = 20_000_000  # what the driver takes for right, beside a period


def read_until(camera: Driver, frames: int) -> list[Block]:
    blocks: list[Block] = []
    while sum(map(len, blocks)) < frames:
        for block in (each for each in camera.read(60.0) or () if isinstance(each, Block)):
            block.check(camera.specs[0])
            blocks.append(block)
    return blocks


@pytest.mark.parametrize("percent", [20, 50])
def test_dropped_buffers_are_counted(percent: int) -> None:
    """As many as the kernel's numbers and its clock both say, the camera being as steady as its stamps."""
    control(percentage_of_dropped_buffers=percent)
    try:
        camera = opened(pixel_format="GREY")
        try:
            blocks = read_until(camera, FRAMES)
        finally:
            camera.close()
    finally:
        control(percentage_of_dropped_buffers=0)
    stamps = np.concatenate([block.captured_ns for block in blocks])
    assert bool((np.diff(stamps) > 0).all())
    assert camera.specs[0].rate_hz is not None
    # vivid states when a frame will have ended, and hands it over before.
    assert stamps[-1] <= boottime_ns() + 1e9 / camera.specs[0].rate_hz + AHEAD_NS
    periods = round((int(stamps[-1]) - int(stamps[0])) * camera.specs[0].rate_hz / 1e9)
    delivered, lost = sum(map(len, blocks)), sum(block.lost_before for block in blocks)
    assert lost > 0
    assert delivered + lost - 1 == pytest.approx(periods, abs=1)


def test_sixteen_bits_are_kept() -> None:
    """The upper eight are those that the same camera gives of eight."""
    pictures = {}
    for name in ("GREY", "Y16 "):
        camera = opened(pixel_format=name, controls={"test_pattern": 6})
        try:
            pictures[name] = read_until(camera, 1)[-1].data[0]
            assert camera.specs[0].bits == (8 if name == "GREY" else 16)
        finally:
            camera.close()
    assert pictures["Y16 "].dtype == np.uint16
    same = (pictures["Y16 "] >> 8) == pictures["GREY"]
    assert same.mean() > 0.9, "all but the numbers that are drawn into the picture"


def test_controls_are_set_read_back_and_noted_as_they_change() -> None:
    """By another program too, within a second or so."""
    camera = opened(pixel_format="GREY", controls={"brightness": 99, "gain_automatic": 0, "gain": 42})
    try:
        said: list[dict[str, int]] = []
        deadline_s = time.monotonic() + 60.0
        while len(said) < 2 and time.monotonic() < deadline_s:
            for note in (each for each in camera.read(5.0) or () if isinstance(each, SourceNote)):
                assert (note.kind, note.name) == (STATE, "camera")
                said.append(note.value["controls"])
                if len(said) == 1:
                    control(gain=77)
    finally:
        camera.close()
    assert [(each["brightness"], each["gain"]) for each in said] == [(99, 42), (99, 77)]
    with pytest.raises(ConfigError, match="has no control 'focus_absolute'; it has"):
        opened(controls={"focus_absolute": 1})


def test_stamps_say_what_they_are_of() -> None:
    camera = opened(pixel_format="YUYV")
    try:
        said = camera.specs[0].calibration["v4l2"]
        assert (camera.specs[0].stamps_from, said["stamps_clock"]) == ("kernel", "monotonic")
        assert said["stamps_of"] == "end of frame"
        assert said["card"] == "vivid"
        assert read_until(camera, 1)[0].data.shape == (1, 180, 320, 3)
    finally:
        camera.close()


def test_gone_and_back() -> None:
    camera = opened(pixel_format="GREY")
    read_until(camera, 2)
    control(disconnect=1)
    with pytest.raises(SensorLost):
        read_until(camera, 10_000)
    camera.close()
    subprocess.run(["modprobe", "-r", "vivid"], check=True)
    with pytest.raises(SensorLost, match="is not there"):
        opened()
    subprocess.run(["modprobe", "vivid", "n_devs=1", "node_types=0x1"], check=True)
    with pytest.raises(ConfigError, match="another camera"):
        opened(card="Webcam")
    back = opened(pixel_format="GREY", card="vivid")
    try:
        assert back.specs == camera.specs
        read_until(back, 2)
    finally:
        back.close()


def test_listed_and_probed() -> None:
    (found,) = video_devices()
    probed = probe(found.candidates, "front", listen_s=5.0)
    assert (probed.entry["kind"], probed.entry["card"]) == ("camera-v4l2", "vivid")
    assert probed.heard[0].samples > 1
