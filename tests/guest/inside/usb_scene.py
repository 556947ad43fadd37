"""Cameras behind USB: pulled and put back, another one in their place, another node."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sensorium.drivers.driver import Driver
from sensorium.drivers.live.camera_v4l2 import CameraV4l2Config
from sensorium.drivers.stream import Block
from sensorium.errors import SensorLost

WITHIN_S = 120.0
FRAMES = 4
GREYS = {"1-1": 60, "1-2": 180}


def wait_for(is_so: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=WITHIN_S)


def nodes() -> set[str]:
    """Those that capture: the first of each camera's two."""
    found = Path("/sys/class/video4linux").glob("video*")
    return {f"/dev/{node.name}" for node in found if (node / "index").read_text().strip() == "0"}


def plug(bus_id: str) -> str:
    """The node that a camera has got."""
    before = nodes()
    run("usbip", "attach", "-r", "127.0.0.1", "-b", bus_id)
    wait_for(lambda: nodes() - before)
    (node,) = nodes() - before
    wait_for(Path(node).exists)
    return node


def pull(port: int) -> None:
    before = nodes()
    run("usbip", "detach", "-p", str(port))
    wait_for(lambda: nodes() != before)


def taken(driver: Driver, samples: int) -> list[Block]:
    blocks: list[Block] = []
    deadline_s = time.monotonic() + WITHIN_S
    while sum(map(len, blocks)) < samples:
        assert time.monotonic() < deadline_s
        blocks += [each for each in driver.read(5.0) or () if isinstance(each, Block)]
    return blocks


def until_lost(driver: Driver) -> None:
    def read_on() -> None:
        deadline_s = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline_s:
            driver.read(0.2)

    with pytest.raises(SensorLost):
        read_on()
    driver.close()


def is_of(bus_id: str, blocks: list[Block]) -> bool:
    return all(abs(float(np.median(block.data)) - GREYS[bus_id]) < 8 for block in blocks if len(block))


@pytest.fixture(scope="module")
def _usb() -> Iterator[None]:
    pytest.importorskip("usbip", reason="no webcams over USB/IP: pip install usbip")
    if not shutil.which("usbip"):
        pytest.skip("no webcams over USB/IP: apt-get install usbip")
    for module in ("uvcvideo", "vhci-hcd"):
        run("modprobe", module)
    said = [word for bus_id, grey in GREYS.items() for word in (f"Webcam {bus_id}", f"CAM-{bus_id}", str(grey))]
    command = [sys.executable, "-m", "tests.guest.inside.usb_cam", *said]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cameras:
        assert cameras.stdout is not None
        assert cameras.stdout.readline() == "plugged\n"
        yield
        cameras.terminate()


@pytest.mark.usefixtures("_usb")
def test_pulled_put_back_and_another_in_its_place() -> None:
    """Twice pulled and put back, it goes on; another under its node is refused; it is found under another node."""
    config = CameraV4l2Config(source=plug("1-1"), lost_after_s=60)
    camera = config.open("front", Path())
    specs = camera.specs
    assert specs[0].calibration["v4l2"]["serial"] == "CAM-1-1"
    assert is_of("1-1", taken(camera, FRAMES))
    for _ in range(2):
        pull(0)
        until_lost(camera)
        with pytest.raises(SensorLost):
            config.open_again("front", Path(), specs)
        assert plug("1-1") == config.source
        camera = config.open_again("front", Path(), specs)
        assert camera.specs == specs
        assert is_of("1-1", taken(camera, FRAMES))
    pull(0)
    until_lost(camera)
    assert plug("1-2") == config.source
    with pytest.raises(SensorLost, match=r"is another camera: its card is .*; put that one back"):
        config.open_again("front", Path(), specs)
    assert plug("1-1") != config.source
    camera = config.open_again("front", Path(), specs)
    try:
        assert camera.specs == specs
        assert is_of("1-1", taken(camera, FRAMES))
    finally:
        camera.close()
        pull(0)
        pull(1)
