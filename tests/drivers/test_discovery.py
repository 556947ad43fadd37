"""Discovery: a V4L2 device as the kernel would answer, serial ports, and probes of sensors that are really there."""

import errno
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from serial.tools.list_ports_common import ListPortInfo

from sensorium.drivers.discovery import SerialPort, VideoDevice, probe, serial_ports, video_devices
from sensorium.drivers.live import v4l2
from sensorium.drivers.live.v4l2 import VideoFormat
from sensorium.drivers.registry import driver_config
from sensorium.errors import ConfigError, SensorLost


def fourcc(name: str) -> int:
    (code,) = struct.unpack("=I", name.encode())
    return int(code)


class Kernel:
    """Answers as linux/videodev2.h lays down, for a webcam with YUYV at fixed sizes and MJPG in a range."""

    def __init__(self, device_caps: int = 1) -> None:
        self._device_caps = device_caps

    def __call__(self, descriptor: int, request: int, buffer: bytearray) -> int:
        os.fstat(descriptor)
        assert request >> 16 & 0x3FFF == len(buffer), "a request carries the size of its structure"
        asked = struct.unpack_from("=6I", buffer)
        index = asked[0]
        yuyv, mjpg = fourcc("YUYV"), fourcc("MJPG")
        if request == v4l2.QUERYCAP:
            buffer[:] = struct.pack(
                "=16s32s32s3I12x", b"uvcvideo", b"Webcam \xc3\xbc", b"usb", 0, 0x84A00001, self._device_caps
            )
        elif request == v4l2.ENUM_FMT and index < 2:
            buffer[:] = struct.pack("=3I32sI16x", index, asked[1], 0, b"described", (yuyv, mjpg)[index])
        elif request == v4l2.ENUM_SIZES and asked[1] == yuyv and index < 2:
            buffer[:] = struct.pack("=3I2I24x", index, yuyv, 1, *((640, 480), (320, 240))[index])
        elif request == v4l2.ENUM_SIZES and asked[1] == mjpg and index == 0:
            buffer[:] = struct.pack("=3I6I8x", index, mjpg, 3, 160, 1920, 2, 120, 1080, 2)
        elif request == v4l2.ENUM_INTERVALS and asked[1] == yuyv and asked[2:4] == (640, 480) and index < 2:
            buffer[:] = struct.pack("=5I2I24x", *asked[:4], 1, *((1, 15), (1, 30))[index])
        elif request == v4l2.ENUM_INTERVALS and asked[1] == mjpg and index == 0:
            buffer[:] = struct.pack("=5I6I8x", *asked[:4], 3, 1, 60, 1, 5, 1, 1)
        else:
            raise OSError(errno.EINVAL, "Invalid argument")
        return 0


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """A folder like /dev with two nodes, one of which has a name that lasts."""
    for node in ("video0", "video10"):
        (tmp_path / node).write_bytes(b"")
    (tmp_path / "v4l/by-id").mkdir(parents=True)
    (tmp_path / "v4l/by-id/usb-Acme_Webcam-video-index0").symlink_to("../../video10")
    return tmp_path


def test_a_webcams_formats(dev: Path) -> None:
    first, second = video_devices(dev, lambda node: v4l2.query(node, Kernel()))
    assert (first.path, first.name, first.problem) == (str(dev / "video0"), "Webcam ü", "")
    assert second.path == str(dev / "v4l/by-id/usb-Acme_Webcam-video-index0")
    assert first.formats == (
        VideoFormat("YUYV", 640, 480, (30.0, 15.0)),
        VideoFormat("YUYV", 320, 240, ()),
        VideoFormat("MJPG", 1920, 1080, (60.0, 5.0)),
        VideoFormat("MJPG", 160, 120, (60.0, 5.0)),
    )


def test_nodes_that_are_no_cameras_or_do_not_answer(dev: Path) -> None:
    """Metadata nodes are left out; what cannot be asked is listed with the reason."""
    assert video_devices(dev, lambda node: v4l2.query(node, Kernel(device_caps=0x00A00000))) == []
    refused, silent = video_devices(dev, Refusing())
    assert "add yourself to the group video" in refused.problem
    assert "does not answer: No such device" in silent.problem
    (dev / "video0").unlink()
    (plain,) = video_devices(dev)
    assert "does not answer: Inappropriate ioctl" in plain.problem


class Refusing:
    def __call__(self, node: Path) -> None:
        raise PermissionError(errno.EACCES, "") if node.name == "video0" else OSError(errno.ENODEV, "No such device")


def test_serial_ports_and_what_may_be_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for node in ("ttyUSB0", "ttyUSB1"):
        (tmp_path / node).write_bytes(b"")
    (tmp_path / "serial/by-id").mkdir(parents=True)
    (tmp_path / "serial/by-id/usb-1a86_USB_Serial").symlink_to("../../ttyUSB0")
    imu, other = ListPortInfo(str(tmp_path / "ttyUSB0")), ListPortInfo(str(tmp_path / "ttyUSB1"))
    imu.vid, imu.pid, imu.description = 0x1A86, 0x7523, "USB Serial"
    absent = ListPortInfo(str(tmp_path / "ttyUSB2"))
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [other, imu, absent])
    first, second, third = serial_ports(tmp_path)
    assert first.path == str(tmp_path / "serial/by-id/usb-1a86_USB_Serial")
    assert "WitMotion" in first.likely
    assert (second.path, second.likely, second.problem) == (str(tmp_path / "ttyUSB1"), "", "")
    assert "group dialout" in third.problem


def test_what_is_here_can_be_listed() -> None:
    assert all(isinstance(device, VideoDevice) for device in video_devices())
    assert all(isinstance(port, SerialPort) for port in serial_ports())


@pytest.fixture
def clip(tmp_path: Path) -> str:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for number in range(40):
        writer.write(np.full((48, 64, 3), number, np.uint8))
    writer.release()
    return "clip.avi"


def test_a_probe_returns_an_entry_that_works(clip: str, tmp_path: Path) -> None:
    entries = [{"kind": "camera", "source": "rtsp://127.0.0.1:1/cam"}, {"kind": "camera", "source": clip}]
    probed = probe(entries, "front", tmp_path, listen_s=0.5)
    (heard,) = probed.heard
    assert heard.spec.shape == (48, 64, 3)
    assert heard.rate_hz == pytest.approx(20.0)
    (entry,) = yaml.safe_load(probed.yaml)["sensors"].values()
    assert entry == {"kind": "camera", "source": clip, "size": [64, 48], "rate_hz": 20.0}
    driver = driver_config(entry["kind"]).model_validate(entry).open("front", tmp_path)
    driver.close()


def test_a_probe_of_nothing_says_why(tmp_path: Path) -> None:
    with pytest.raises(SensorLost, match="not there; plug it in"):
        probe(SerialPort("/dev/ttyUSB99", "").candidates, "imu")
    with pytest.raises(SensorLost, match="/dev/video99 is not there"):
        probe(VideoDevice("/dev/video99", "").candidates, "front")
    with pytest.raises(ConfigError, match="does not exist"):
        probe([{"kind": "camera", "source": "none.avi"}], "front", tmp_path)
