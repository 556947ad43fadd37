"""`sensorium devices`: what it lists, and a device file that it prints, collected with at once."""

import json
import os
import pty
import subprocess
import sys
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from sensorium.agents.device_file import load_device_file
from sensorium.cli import devices
from sensorium.drivers.discovery import SerialPort, VideoDevice
from sensorium.drivers.live import witmotion_protocol as wit
from sensorium.drivers.live.v4l2 import VideoFormat

SENSORIUM = Path(sys.executable).with_name("sensorium")


def run(folder: Path, *args: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([SENSORIUM, *args], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def imu_port(tmp_path: Path) -> Iterator[Path]:
    """A pseudo terminal into which a WitMotion sensor sends acceleration and angular rate at 100 Hz."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    port = tmp_path / "ttyIMU"
    port.symlink_to(os.ttyname(slave))
    stop = threading.Event()

    def send() -> None:
        n = 0
        while not stop.wait(0.01):
            n += 1
            try:
                os.write(master, wit.encode(0x51, (n, -n, 2048, 2500)) + wit.encode(0x52, (n % 7, 3, 5, 2500)))
            except BlockingIOError:
                continue

    thread = threading.Thread(target=send)
    thread.start()
    yield port
    stop.set()
    thread.join()
    os.close(master)
    os.close(slave)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for number in range(40):
        writer.write(np.full((48, 64, 3), number, np.uint8))
    writer.release()
    return tmp_path / "clip.avi"


def test_a_probe_prints_a_device_file_that_collects(tmp_path: Path, imu_port: Path) -> None:
    probed = run(tmp_path, "devices", "--probe", str(imu_port))
    assert "imu.imu: " in probed.stderr
    (tmp_path / "rig.yaml").write_text(probed.stdout)
    device = load_device_file(tmp_path / "rig.yaml")
    assert device.sensors["imu"].kind == "imu-witmotion"
    assert {"spool", "trigger", "device"} <= device.model_fields_set
    assert "# ingest: " in probed.stdout
    run(tmp_path, "collect", "rig.yaml", "--local", "--seconds", "1.5")
    (spooled,) = [json.loads(run(tmp_path, "spool", "spool", "--format", "json").stdout)]
    assert spooled["episodes"]


def test_several_are_probed_and_the_silent_are_named(tmp_path: Path, clip: Path) -> None:
    probed = run(tmp_path, "devices", "--probe", "--format", "json", "clip.avi", "/dev/ttyUSB99", "clip.avi")
    document = json.loads(probed.stdout)
    assert set(document["sensors"]) == {"front", "front2"}
    assert document["sensors"]["front"]["streams"][0]["shape"] == [48, 64, 3]
    assert "not there; plug it in" in document["silent"]["/dev/ttyUSB99"]
    assert "\n# encodings:\n#   front: {codec: jpeg, quality: 90}\n#   front2: {codec" in document["device_file"]
    # without its comment marks, the file is whole too: the encodings name streams that are there
    whole = document["device_file"].replace("# encodings", "encodings").replace("#   ", "  ")
    (tmp_path / "rig.yaml").write_text(whole)
    assert set(load_device_file(tmp_path / "rig.yaml").encodings) == {"front", "front2"}
    assert yaml.safe_load(whole.replace("# ingest", "ingest"))["ingest"]["url"] == "tcp://HOST:7707"


def test_nothing_that_delivers_is_a_failure_in_one_line(tmp_path: Path) -> None:
    failed = run(tmp_path, "devices", "--probe", "/dev/ttyUSB99", expect=1)
    assert failed.stdout == ""
    assert failed.stderr.splitlines()[-1].startswith("sensorium: none of 1 delivered; name a camera's URL or a port")


def test_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "replay-euroc" in run(tmp_path, "devices").stdout
    document = json.loads(run(tmp_path, "devices", "--format", "json").stdout)
    assert document["kinds"]["camera"] == "sensorium.drivers.live.camera:CameraConfig"

    formats = (VideoFormat("YUYV", 640, 480, (30.0, 15.0)), VideoFormat("YUYV", 320, 240, ()))
    cameras = [VideoDevice("/dev/video0", "Webcam", formats), VideoDevice("/dev/video1", "x", problem="add yourself")]
    ports = [SerialPort("/dev/ttyUSB0", "USB Serial", "CH340 adapter")]
    monkeypatch.setattr(devices, "video_devices", lambda: cameras)
    monkeypatch.setattr(devices, "serial_ports", lambda: ports)
    devices.devices(form=devices.Form.JSON)
    listed = json.loads(capsys.readouterr().out)["devices"]
    assert listed[0]["formats"][0] == {"pixel_format": "YUYV", "size": [640, 480], "rates_hz": [30.0, 15.0]}
    assert [each["problem"] for each in listed] == ["", "add yourself", ""]
    assert devices._formats(cameras[0]) == "YUYV up to 640x480 at 30 Hz"


def test_opencv_is_silent_unless_debugging(tmp_path: Path) -> None:
    (tmp_path / "bad.avi").write_bytes(b"RIFF" + bytes(200))
    quiet = run(tmp_path, "devices", "--probe", "bad.avi", expect=1)
    assert all(line.startswith(("probing", "  ", "sensorium: ")) for line in quiet.stderr.splitlines()), quiet.stderr
