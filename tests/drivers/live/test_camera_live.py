"""Live cameras: real RTSP and HTTP senders on loopback that stop, hang, are killed and come back; a webcam played."""

import http.server
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sensorium.drivers.clock import boottime_ns
from sensorium.drivers.controls import CONTROL, Value
from sensorium.drivers.driver import Driver
from sensorium.drivers.live.camera import CameraConfig
from sensorium.drivers.live.camera_jpeg import by_jpeg
from sensorium.drivers.live.camera_live import LiveCamera
from sensorium.drivers.live.camera_stamps import ArrivalStamps, DeviceStamps
from sensorium.drivers.live.v4l2_controls import node_changes
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.pacing import Paced
from sensorium.drivers.region import LEFT, Regional
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.drivers.testing import DriverTests
from sensorium.errors import ConfigError, SensorLost
from tests.drivers.live.played_v4l2 import Played

SYSTEM_PYTHON = "/usr/bin/python3"
VTEST_FRAMES = 795


Opened = LiveCamera | Regional | Paced


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


def lost_line(driver: Opened) -> str:
    """The message with which the camera is lost."""
    try:
        while driver.read(0.5) is not None:
            pass
    except SensorLost as lost:
        return str(lost)
    return "it ended"


@pytest.fixture
def vtest(recordings: Path) -> Path:
    return recordings / "video" / "vtest.avi"


class Sender:
    """A camera in a process of its own: `mjpeg_server.py` or `rtsp_server.py`."""

    def __init__(self, python: str, script: str, url: str, *args: object) -> None:
        command = [python, str(Path(__file__).with_name(script)), *map(str, args)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready = self._process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise RuntimeError(f"{script} did not start: {self._process.communicate()[1]}")
        self.port = int(ready[1])
        self.url = url.format(port=self.port)

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        self._process.communicate()


Start = Callable[..., Sender]


# ---- MJPEG over HTTP


@pytest.fixture
def mjpeg() -> Iterator[Start]:
    senders: list[Sender] = []

    def start(port: int = 0, *args: str) -> Sender:
        senders.append(Sender(sys.executable, "mjpeg_server.py", "http://127.0.0.1:{port}/cam", port, *args))
        return senders[-1]

    yield start
    for sender in senders:
        sender.stop()


class TestHttpConformance(DriverTests):
    reads = 20

    @pytest.fixture(autouse=True)
    def _sender(self, mjpeg: Start) -> None:
        self.sender = mjpeg()

    def config(self, tmp_path: Path) -> CameraConfig:
        return CameraConfig(source=self.sender.url, lost_after_s=0.7)

    def lose(self, driver: Driver) -> None:
        self.sender.hang()


def test_http_stamps_are_arrivals_because_opencv_counts_frames(mjpeg: Start) -> None:
    """The sender makes 50 frames a second at most; OpenCV's positions would say 25, and so would its rate."""
    driver = camera(mjpeg().url)
    try:
        before_ns = boottime_ns()
        blocks = take(driver, 20)
        (spec,) = driver.specs
        assert (spec.stamps_from, spec.has_sensor_ns, spec.rate_hz, spec.shape) == ("arrival", False, None, (48, 64, 3))
        assert driver.clock.kind == "boottime"
        assert before_ns - 5e9 < blocks[0].captured_ns[0] < blocks[-1].captured_ns[0] <= boottime_ns()
        values = [int(np.median(block.data)) for block in blocks]
        assert np.diff(values).min() > 0, "frames in the order in which they were sent"
    finally:
        driver.close()


def test_a_slow_reader_loses_the_oldest_and_is_told(mjpeg: Start) -> None:
    """Grey values number the frames: what is delivered and what is counted lost follow each other without a hole."""
    driver = camera(mjpeg().url, buffer=4)
    try:
        (first, *_) = take(driver, 1)
        time.sleep(1.0)
        blocks = take(driver, 4)
        assert max(block.lost_before for block in blocks) > 4
        number = int(np.median(first.data))
        for block in [*_, *blocks]:
            number += 1 + block.lost_before
            assert abs(int(np.median(block.data)) - number) <= 1
    finally:
        driver.close()


def test_http_stopped_and_started_again(mjpeg: Start) -> None:
    sender = mjpeg()
    for number in (signal.SIGTERM, signal.SIGKILL):
        driver = camera(sender.url)
        try:
            take(driver, 3)
            sender.stop(number)
            assert "stopped delivering" in lost_line(driver)
        finally:
            driver.close()
        with pytest.raises(SensorLost, match=r"127\.0\.0\.1:\d+: Connection refused; is the camera on\?"):
            camera(sender.url)
        sender = mjpeg(sender.port)
    driver = camera(sender.url)
    take(driver, 3)
    driver.close()


def test_a_camera_that_hangs_is_lost_within_its_bound(mjpeg: Start) -> None:
    sender = mjpeg()
    driver = camera(sender.url, lost_after_s=0.5)
    try:
        take(driver, 3)
        sender.hang()
        line = lost_line(driver)
        assert "no frame for" in line or "stopped delivering" in line
    finally:
        driver.close()


def test_a_camera_that_opens_and_never_delivers(mjpeg: Start) -> None:
    sender = mjpeg(0, "silent")
    before = set(threading.enumerate())
    with pytest.raises(SensorLost, match=r"answers but no video opened within 1 s"):
        camera(sender.url, open_timeout_s=1.0)
    sender.stop()
    assert not {thread.name for thread in set(threading.enumerate()) - before if "camera" in thread.name}


def test_a_recording_over_http_is_no_live_stream(vtest: Path, tmp_path: Path) -> None:
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: handler(*args, directory=str(vtest.parent))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            with pytest.raises(ConfigError, match="is a recording, not a live stream; download it"):
                camera(f"http://127.0.0.1:{server.server_port}/vtest.avi")
        finally:
            server.shutdown()
            thread.join()


# ---- RTSP


@pytest.fixture
def rtsp() -> Iterator[Start]:
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer;"
    probe += " Gst.init(None); assert all(map(Gst.ElementFactory.find, ('videotestsrc', 'jpegenc', 'rtpjpegpay')))"
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True).returncode:
        pytest.skip("GStreamer's RTSP server is not installed: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi")
    servers: list[Sender] = []

    def start(port: int = 0) -> Sender:
        servers.append(Sender(SYSTEM_PYTHON, "rtsp_server.py", "rtsp://127.0.0.1:{port}/cam", port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_rtsp_stamps_are_the_senders(rtsp: Start) -> None:
    """50 ms apart as the sender has it, although the first frames come in a burst, and never after their arrival."""
    driver = camera(rtsp().url)
    try:
        blocks = take(driver, 30)
        arrived_ns = boottime_ns()
        (spec,) = driver.specs
        assert (spec.stamps_from, spec.has_sensor_ns, spec.rate_hz, spec.shape) == ("source", True, 20.0, (120, 160, 3))
        sensor_ns = np.concatenate([block.sensor_ns for block in blocks if block.sensor_ns is not None])
        captured_ns = np.concatenate([block.captured_ns for block in blocks])
        lost = np.array([block.lost_before for block in blocks])
        assert np.abs(np.diff(sensor_ns) - 50_000_000 * (1 + lost[1:])).max() < 2_000_000
        assert np.diff(captured_ns).min() >= 0
        assert captured_ns[-1] <= arrived_ns
        assert sensor_ns[0] > 0, "the opening burst was passed over"
    finally:
        driver.close()


def test_rtsp_stopped_killed_hung_and_started_again(rtsp: Start) -> None:
    server = rtsp()
    for number in (signal.SIGTERM, signal.SIGKILL):
        driver = camera(server.url)
        try:
            take(driver, 3)
            server.stop(number)
            assert "stopped delivering" in lost_line(driver)
        finally:
            driver.close()
        with pytest.raises(SensorLost, match="Connection refused; is the camera on"):
            camera(server.url)
        server = rtsp(server.port)
    driver = camera(server.url, lost_after_s=0.7)
    try:
        take(driver, 3)
        server.hang()
        line = lost_line(driver)
        assert "no frame for" in line or "stopped delivering" in line
    finally:
        driver.close()


def test_a_wrong_path_at_a_camera_that_is_on(rtsp: Start) -> None:
    server = rtsp()
    url = server.url.replace("//", "//me:secret@").replace("/cam", "/none")
    with pytest.raises(SensorLost, match=r"answers but no video opened .* wrong path, wrong password") as lost:
        camera(url)
    assert "secret" not in str(lost.value)


def test_a_host_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam"
        with pytest.raises(SensorLost, match=r"within 0\.7 s"):
            camera(url, open_timeout_s=0.7)


@pytest.mark.parametrize("url", ["rtsp:///cam", "http://127.0.0.1:99999/cam"])
def test_a_url_that_cannot_be(url: str) -> None:
    with pytest.raises(ConfigError, match=r"expected SCHEME://HOST\[:PORT\]/PATH"):
        camera(url)


# ---- a device: none is here, so what OpenCV does for one is played


class Webcam:
    """What `cv2.VideoCapture` does for a V4L2 device at 50 Hz: stamps on CLOCK_MONOTONIC, False once unplugged.

    They are 5 ms before a frame can be had, of every other frame 9 ms.
    """

    def __init__(
        self, *, unplugged_after: int = 10**9, hang_after: int = 10**9, undecodable: tuple[int, ...] = ()
    ) -> None:
        self.number = 0
        self.missing: set[int] = set()
        self._unplugged_after, self._hang_after, self._undecodable = unplugged_after, hang_after, undecodable
        self._start_s = time.monotonic()
        self.released = threading.Event()

    def grab(self) -> bool:
        self.number += 1
        while self.number in self.missing:
            self.number += 1
        if self.number > self._hang_after:
            self.released.wait(60.0)
            return False
        time.sleep(max(0.0, self._start_s + 0.02 * self.number - time.monotonic()))
        return self.number <= self._unplugged_after

    def retrieve(self) -> tuple[bool, Any]:
        return self.number not in self._undecodable, np.full((4, 6, 3), self.number % 256, np.uint8)

    def get(self, prop: int, /) -> float:
        return (
            (self._start_s + 0.02 * self.number - early_s(self.number)) * 1e3 if prop == cv2.CAP_PROP_POS_MSEC else 50.0
        )

    def release(self) -> None:
        self.released.set()


def early_s(number: int) -> float:
    """How long before it can be had a frame was taken."""
    return 0.009 if number % 2 else 0.005


def described(_: object, image: np.ndarray) -> StreamSpec:
    return StreamSpec(name="front", modality="video", dtype="uint8", shape=image.shape)


def webcam(capture: Webcam, **options: Any) -> LiveCamera:
    return LiveCamera("/dev/video0", lambda: capture, DeviceStamps(), described, **options)


def test_a_device_gets_the_kernels_stamps_and_what_is_missing_is_counted() -> None:
    capture = Webcam(undecodable=(25,))
    capture.missing = {20, 21, 22}
    driver = webcam(capture, buffer=100)
    try:
        blocks = take(driver, 30)
    finally:
        driver.close()
    assert capture.released.is_set()
    assert sum(block.lost_before for block in blocks) == 4
    numbers = np.cumsum([len(block) + block.lost_before for block in blocks])[[len(block) > 0 for block in blocks]]
    assert any(block.is_guess for block in blocks), "as what stamps tell is"
    stamps = np.concatenate([block.captured_ns for block in blocks])
    taken_ns = np.array([20_000_000 * n - round(1e9 * early_s(n)) for n in numbers.tolist()])
    off_ns = stamps - stamps[0] - (taken_ns - taken_ns[0])
    assert np.abs(off_ns).max() < 1_000_000, "kernel stamps, not arrivals, which tell nothing of the 4 ms between"
    assert DeviceStamps().stamp(10**12, 5.0).captured_ns == 10**12, "stamps of another clock are not believed"


def test_a_device_unplugged_or_hanging() -> None:
    driver = webcam(Webcam(unplugged_after=5), buffer=100, lost_after_s=0.4)
    try:
        assert sum(map(len, take(driver, 5))) == 5, "what came before is delivered"
        assert "stopped delivering; unplugged" in lost_line(driver)
    finally:
        driver.close()
    hanging = Webcam(hang_after=5)
    driver = webcam(hanging, buffer=100, lost_after_s=0.2)
    try:
        assert re.search(r"no frame for \d+\.\d", lost_line(driver))
        hanging.released.set()
    finally:
        driver.close()


# ---- what can be asked of one


def told(driver: Driver, name: str) -> tuple[dict[str, Any], list[Block]]:
    """What it says that it did of a plan, and the frames from then on, three at least."""
    said: SourceNote | None = None
    blocks: list[Block] = []
    until_s = time.monotonic() + 30.0
    while said is None or len(blocks) < 3:
        assert time.monotonic() < until_s, "it does not say what it did"
        for each in driver.read(1.0) or ():
            if isinstance(each, SourceNote) and (each.kind, each.name) == (CONTROL, name):
                said = each
            elif isinstance(each, Block) and len(each) and said is not None:
                blocks.append(each)
    assert said.end_ns is not None
    assert blocks[0].captured_ns[0] >= said.end_ns
    return dict(said.value), blocks


@pytest.fixture
def node(tmp_path: Path) -> Played:
    controls = {"Auto Exposure": 3, "Exposure Time, Absolute": 10, "Gain": 40, "Brightness": 128}
    return Played(tmp_path / "video0", controls=controls)


@pytest.fixture
def device(node: Played) -> Iterator[Regional]:
    """A device that OpenCV captures from, and whose controls the kernel has."""
    camera = webcam(Webcam(), buffer=100, changes=lambda spec: node_changes(node.node, spec.rate_hz, node))
    yield Regional(camera, camera.specs[0])
    camera.close()


def test_exposure_and_gain_of_a_device_can_be_asked_for_and_are_put_back(node: Played, device: Regional) -> None:
    assert [control.name for control in device.controls][:2] == ["exposure_s", "gain"]
    device.ask("p1", {"exposure_s": 0.005, "gain": 60.0})
    said, _ = told(device, "p1")
    assert (said["did"], said["why"]) == ({"exposure_s": 0.005, "gain": 60}, "")
    assert node.controls == {"Auto Exposure": 1, "Exposure Time, Absolute": 50, "Gain": 60, "Brightness": 128}
    device.ask("p1", {})
    until_s = time.monotonic() + 30.0
    while node.controls["Auto Exposure"] != 3:
        assert time.monotonic() < until_s
        device.read(1.0)
    assert node.controls == {"Auto Exposure": 3, "Exposure Time, Absolute": 10, "Gain": 40, "Brightness": 128}
    assert len(take_frames(device, 3)) >= 3, "the capture is another's, and went on"


def take_frames(driver: Driver, count: int) -> list[Block]:
    found: list[Block] = []
    while len(found) < count:
        found += [each for each in driver.read(5.0) or () if isinstance(each, Block)]
    return found


@pytest.mark.parametrize(
    ("refused", "expected"),
    [(True, "takes no gain of 200: Invalid argument"), (False, "gain was to be 200 and is 50")],
    ids=["an error", "another value"],
)
def test_what_a_device_refuses_is_told_in_its_own_words(
    node: Played, device: Regional, refused: bool, expected: str
) -> None:
    node.most, node.refuses = (255, "Gain") if refused else (50, "")
    device.ask("p1", {"gain": 200.0})
    said, _ = told(device, "p1")
    assert expected in said["why"]
    assert said["did"] == {"gain": 40 if refused else 50}


@pytest.mark.parametrize("how", ["without such controls", "no camera", "gone"])
def test_what_a_device_does_not_have_is_no_control_of_it(node: Played, how: str, tmp_path: Path) -> None:
    if how == "without such controls":
        node.controls = {"Brightness": 128}
    node.gone = how == "gone"
    path = tmp_path / "none" if how == "no camera" else node.node
    assert [control.name for control in node_changes(path, 30.0, node).controls] == ["rate_hz"]


def test_a_region_of_a_live_camera_is_all_that_is_seen(mjpeg: Start) -> None:
    driver = camera(mjpeg().url)
    try:
        assert isinstance(driver, Regional)
        asked: dict[str, Value] = {LEFT: 32.0}
        driver.ask("p1", asked)
        said, blocks = told(driver, "p1")
        assert said["did"][LEFT] == 32
        for block in blocks:
            block.check(driver.specs[0])
            assert not block.data[:, :, :32].any()
        assert any(block.data[:, :, 32:].any() for block in blocks)
    finally:
        driver.close()


# ---- bad frames: what OpenCV gives out of an MJPEG stream is played, packet by packet


def packet(number: int, size: tuple[int, int] = (96, 128)) -> bytes:
    picture = np.random.default_rng(number).integers(0, 255, (*size, 3)).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.GaussianBlur(picture, (5, 5), 2))[1].tobytes())


class Packets:
    """A capture of JPEGs that OpenCV can give out as they came; None is a frame that cannot be grabbed."""

    def __init__(self, packets: Sequence[bytes | None]) -> None:
        self._left = list(packets)
        self._now: bytes | None = None

    def grab(self) -> bool:
        time.sleep(0.006)  # longer than what fails at once
        self._now = self._left.pop(0) if self._left else None
        return self._now is not None

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.frombuffer(self._now or b"", np.uint8)[None]

    def get(self, prop: int, /) -> float:
        return float(cv2.VideoWriter.fourcc(*"MJPG")) if prop == cv2.CAP_PROP_FOURCC else 0.0

    def set(self, prop: int, value: float, /) -> bool:
        return (prop, value) == (cv2.CAP_PROP_FORMAT, -1)

    def release(self) -> None:
        pass


def played(packets: Sequence[bytes | None]) -> tuple[int, int, str]:
    """Frames delivered, frames lost, and how the camera was lost in the end."""
    driver = LiveCamera(
        "cam", lambda: by_jpeg(Packets(packets), "cam"), ArrivalStamps(), described, buffer=99, lost_after_s=0.4
    )
    delivered = lost = 0
    try:
        while True:
            for block in driver.read(1.0) or ():
                assert isinstance(block, Block)
                block.check(driver.specs[0])
                delivered, lost = delivered + len(block), lost + block.lost_before
    except SensorLost as error:
        return delivered, lost, str(error)
    finally:
        driver.close()


GOOD = packet(1)
BAD = {
    "half": GOOD[: len(GOOD) // 2],
    "half with an end": GOOD[: len(GOOD) // 2] + b"\xff\xd9",
    "zeros to the end": GOOD[:200] + bytes(len(GOOD) - 200),
    "a hole": GOOD[: len(GOOD) // 2] + GOOD[len(GOOD) // 2 + 400 :],
    "noise": np.random.default_rng(3).bytes(3000),
    "nothing": b"",
    "another size": packet(2, (24, 32)),
    "not grabbed": None,
}


@pytest.mark.parametrize("what", BAD)
def test_one_bad_frame_costs_one_frame(what: str) -> None:
    """Alone, two in a row, the first of all, and the last."""
    bad = BAD[what]
    packets = [GOOD] * 4 + [bad] + [GOOD] * 3 + [bad, bad] + [GOOD] * 2
    delivered, lost, line = played([*packets, bad, GOOD])
    assert (delivered, lost) == (10, 4)
    assert "stopped delivering" in line or "no frame for" in line
    if what not in ("another size", "not grabbed"):  # which nobody can know of the first, and of the last
        assert played([bad, GOOD, GOOD, bad])[:2] == (2, 2)


def test_pictures_that_stay_of_another_size_are_those_of_another_camera() -> None:
    delivered, lost, line = played([GOOD] * 3 + [packet(4, (24, 32))] * 5)
    assert (delivered, lost) == (3, 2), "the third says so"
    assert "frames became (24, 32, 3), were (96, 128, 3)" in line
