"""Live sensors the whole way, with real senders that are stopped, killed and pulled: the account names the gap."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.drivers.live.test_camera_live import SYSTEM_PYTHON, Sender
from tests.drivers.live.test_imu_witmotion import Sensor, words
from tests.spine.commands import Command, Site, wait_for
from tests.spine.delivered import Delivered, delivered

GSTREAMER = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer;"
    "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('videotestsrc', 'jpegenc', 'rtpjpegpay')))"
)

AWAY_S = 1.2
"""How long a sensor is away at least; longer than it is ever silent otherwise."""


class Cameras:
    """Senders, ended when the test ends."""

    def __init__(self) -> None:
        self._made: list[Sender] = []

    def http(self, port: int = 0) -> Sender:
        return self._keep(Sender(sys.executable, "mjpeg_server.py", "http://127.0.0.1:{port}/cam", port))

    def rtsp(self, port: int = 0) -> Sender:
        probed = subprocess.run([SYSTEM_PYTHON, "-c", GSTREAMER], capture_output=True, check=False)
        if probed.returncode:
            pytest.skip("GStreamer's RTSP server is missing: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi")
        return self._keep(Sender(SYSTEM_PYTHON, "rtsp_server.py", "rtsp://127.0.0.1:{port}/cam", port))

    def _keep(self, sender: Sender) -> Sender:
        self._made.append(sender)
        return sender

    def end(self) -> None:
        for sender in self._made:
            sender.stop()


@pytest.fixture
def cameras() -> Iterator[Cameras]:
    made = Cameras()
    yield made
    made.end()


def grows(site: Site, device: str, n_bytes: int = 20_000) -> None:
    """Wait until more of a recording is on disk."""

    def size() -> int:
        return sum(path.stat().st_size for path in site.spooled(device) if path.exists())

    least = size()

    def enough() -> bool:
        nonlocal least
        now = size()
        least = min(least, now)
        return now >= least + n_bytes

    wait_for(enough, f"the recording of {device} to grow")


def collecting(site: Site, sensor: dict[str, Any], **parts: Any) -> tuple[Command, Command]:
    """An ingest, and a collect of the sensor `cam` or `imu` of the device `yard`."""
    name = "imu" if sensor["kind"].startswith("imu") else "cam"
    ingest, port = site.ingest()
    device = site.device("yard", {name: sensor}, port, trigger={"kind": "interval", "length_s": 600}, **parts)
    collect = site.start("collect", device, "--local")
    grows(site, "yard")
    return ingest, collect


def lost_and_back(site: Site, collect: Command, name: str, times: int) -> None:
    collect.until(rf"(?s)(sensor '{name}' is back.*){{{times}}}", 60)
    assert collect.err.count(f"sensor '{name}' is lost") == times
    grows(site, "yard")


def check_gaps(found: Delivered, outages: int, rate_hz: float | None) -> None:
    """The only silences are the outages, the accounts' stretches cover them, and the count fits the rate."""
    gaps = found.gaps(AWAY_S)
    assert len(gaps) == outages
    starts, stops = zip(*found.missed_ns, strict=True)
    for before, after in gaps:
        assert min(starts) <= before + 1
        assert max(stops) >= after
    expected = sum((after - before) / 1e9 * (rate_hz or rate_before(found, before)) for before, after in gaps)
    assert abs(found.lost("away") - expected) <= 3 * outages + 3 + (0 if rate_hz else 0.1 * expected)
    assert found.accounts[-1]["estimated"]


def rate_before(found: Delivered, gap_ns: int) -> float:
    """The rate of a stream that states none, of the samples since the gap before, without what came at once then."""
    starts = [0, *(after for _, after in found.gaps(AWAY_S))]
    since_ns = max(start for start in starts if start < gap_ns)
    run = found.captured_ns[(found.captured_ns >= since_ns) & (found.captured_ns <= gap_ns)][3:]
    return (len(run) - 1) * 1e9 / int(run[-1] - run[0])


@pytest.mark.parametrize("kind", ["http", pytest.param("rtsp", marks=pytest.mark.slow)])
def test_an_ip_camera_stopped_killed_and_started_again(site: Site, cameras: Cameras, kind: str) -> None:
    start = getattr(cameras, kind)
    sender = start()
    jpeg = {"cam": {"codec": "jpeg"}}
    sensor = {"kind": "camera", "source": sender.url, "lost_after_s": 1.0, "buffer": 100}
    ingest, collect = collecting(site, sensor, encodings=jpeg)
    for times, number in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
        sender.stop(number)
        collect.until(rf"(?s)(sensor 'cam' is lost: .*stopped delivering.*){{{times}}}")
        time.sleep(AWAY_S)
        sender = start(sender.port)
        lost_and_back(site, collect, "cam", times)
    collect.interrupt()
    ingest.interrupt()
    found = delivered(site.folder / "store", "cam")
    assert len(found.captured_ns) == len(found.data) > 20
    assert np.diff(found.captured_ns).min() >= 0
    # HTTP says no rate, so that what was missed is estimated by the one that was seen
    check_gaps(found, 2, 20.0 if kind == "rtsp" else None)


def test_an_imu_pulled_and_put_back_twice(site: Site) -> None:
    sensor = Sensor(site.folder / "ttyIMU")
    try:
        entry = {"kind": "imu-witmotion", "port": str(sensor.port), "rate_hz": 100, "lost_after_s": 1.0}
        ingest, collect = collecting(site, entry)
        for times in (1, 2):
            sensor.pull()
            collect.until(rf"(?s)(sensor 'imu' is lost.*){{{times}}}")
            time.sleep(AWAY_S)
            sensor.plug_in()
            lost_and_back(site, collect, "imu", times)
        collect.interrupt()
        ingest.interrupt()
    finally:
        sensor.pull()
    found = delivered(site.folder / "store", "imu.raw")
    cycles = {words(number, sensor.kinds[0]): number for number in range(sensor.sent)}
    numbers = [cycles[tuple(row[:4])] for row in found.data.tolist()]
    assert numbers == sorted(set(numbers)), "each cycle once, in order, and exact"
    check_gaps(found, 2, 100.0)
