"""Live streams that are no JPEGs: what OpenCV returns wrongly is read through PyAV, and refused by name without it."""

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.live.camera import CameraConfig
from sensorium.drivers.region import Regional
from sensorium.drivers.stream import Block
from sensorium.errors import ConfigError, SensorLost

pytest.importorskip("av", reason="PyAV is not installed: pip install 'sensorium[video]'")
import av

from tests.drivers.live.films import film, scene

TV, TIMES = Fraction(1, 25), range(0, 8000, 40)
BIT_RATE = {"b": "2000000"}
CODECS = {
    "interlaced MPEG-2": ("mpeg2video", {"flags": "+ildct+ilme", **BIT_RATE}),
    "MPEG-2": ("mpeg2video", BIT_RATE),
    "interlaced H.264": ("libx264", {"flags": "+ildct+ilme"}),
    "H.264 with B-frames": ("libx264", {"bf": "2"}),
}


@contextmanager
def sender(sent: bytes, piece: int = 4096, pause_s: float = 0.01) -> Iterator[str]:
    """The URL of an HTTP camera that sends so many bytes of a transport stream at a time, and then nothing."""
    over = threading.Event()

    class Camera(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            try:
                for at in range(0, len(sent), piece):
                    self.wfile.write(sent[at : at + piece])
                    if over.wait(pause_s):
                        return
                over.wait()
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/live.ts"
        finally:
            over.set()
            server.shutdown()
            thread.join()


def opened(url: str, **options: object) -> Regional:
    driver = CameraConfig.model_validate({"source": url, "buffer": 1024, **options}).open("front", Path())
    assert isinstance(driver, Regional)
    return driver


def until_lost(driver: Regional) -> tuple[list[Block], str]:
    blocks: list[Block] = []
    try:
        while (read := driver.read(1.0)) is not None:
            blocks += [each for each in read if isinstance(each, Block)]
    except SensorLost as lost:
        return blocks, str(lost)
    finally:
        driver.close()
    return blocks, "closed"


def number_of(picture: np.ndarray) -> int | None:
    """Which of the pictures that were sent it is, if any; blue begins anew at 256."""
    for number in range(200):
        away = (picture.astype(int) - scene(number) + 128) % 256 - 128
        if np.median(np.abs(away), axis=(0, 1)).max() < 8:
            return number % 64
    return None


@pytest.mark.parametrize("name", CODECS)
def test_pictures_are_those_that_were_sent(name: str, tmp_path: Path) -> None:
    codec, options = CODECS[name]
    sent = film(tmp_path / "a.ts", codec, base=TV, times_ms=TIMES, options=options).read_bytes()
    with sender(sent) as url:
        driver = opened(url)
        (spec,) = driver.specs
        assert (spec.shape, spec.dtype, spec.decoder, spec.stamps_from) == ((48, 64, 3), "uint8", "pyav", "arrival")
        blocks, line = until_lost(driver)
    assert "no frame for" in line or "stopped delivering" in line
    assert sum(map(len, blocks)) > 150
    numbers = [number_of(picture) for block in blocks for picture in block.data]
    assert None not in numbers, "no picture is one that nobody sent"
    assert len(set(numbers)) > 50, "and they differ as those do"


def test_pictures_that_become_smaller_end_the_stream_and_are_not_blown_up(tmp_path: Path) -> None:
    times = range(0, 2000, 40)
    large = film(tmp_path / "a.ts", "libx264", base=TV, times_ms=times, options={"bf": "0"}).read_bytes()
    small = film(
        tmp_path / "b.ts", "libx264", base=TV, times_ms=range(2000, 8000, 40), size=(32, 24), options={"bf": "0"}
    ).read_bytes()
    with sender(large + small) as url:
        blocks, line = until_lost(opened(url))
    assert "frames became (24, 32, 3), were (48, 64, 3); open it again" in line
    assert {block.data.shape[1:] for block in blocks} == {(48, 64, 3)}


def test_what_is_damaged_on_the_way_ends_nothing(tmp_path: Path) -> None:
    whole = film(tmp_path / "a.ts", "mpeg2video", base=TV, times_ms=TIMES, options={**BIT_RATE, "g": "5"}).read_bytes()
    sent = bytearray(whole)
    for at in range(len(sent) // 4, len(sent) // 2, 7001):
        sent[at : at + 300] = bytes(300)
    with sender(bytes(sent)) as url:
        blocks, _ = until_lost(opened(url))
    last = blocks[-1].data[-1] if len(blocks[-1]) else blocks[-2].data[-1]
    assert number_of(last) in {number % 64 for number in range(185, 200)}, "what came behind the damage is there"


def from_the_tenth(path: Path, to: Path) -> bytes:
    """What who joins late gets of a transport stream."""
    with av.open(str(path)) as whole, av.open(str(to), "w", format="mpegts") as out:
        video: Any = whole.streams.video[0]
        stream = out.add_stream_from_template(video)
        for packet in [packet for packet in whole.demux(video) if packet.size][10:]:
            packet.stream = stream
            out.mux(packet)
    return to.read_bytes()


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video", "libx264"])
def test_who_joins_between_two_key_frames_waits_for_the_next(codec: str, tmp_path: Path) -> None:
    options = {"g": "50", "sc_threshold": "0"} if codec == "libx264" else {"g": "50", **BIT_RATE}
    whole = film(tmp_path / "a.ts", codec, base=TV, times_ms=TIMES, options=options)
    with sender(from_the_tenth(whole, tmp_path / "b.ts")) as url:
        blocks, _ = until_lost(opened(url))
    numbers = [number_of(picture) for block in blocks for picture in block.data]
    assert len(numbers) > 100
    assert None not in numbers, "no picture is what changed, painted onto grey"


def test_more_than_8_bits_are_refused_by_name(tmp_path: Path) -> None:
    sent = film(tmp_path / "a.ts", "libx264", base=TV, times_ms=TIMES, pixels="yuv420p10le", pictures=None).read_bytes()
    with sender(sent) as url, pytest.raises(ConfigError, match="yuv420p10le, of more than 8 bits"):
        opened(url)


@pytest.mark.parametrize("name", CODECS)
def test_without_pyav_a_transport_stream_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sensorium.drivers.live.stream_pyav", None)
    codec, options = CODECS[name]
    sent = film(tmp_path / "a.ts", codec, base=TV, times_ms=TIMES, options=options).read_bytes()
    with sender(sent) as url, pytest.raises(ConfigError, match=r"OpenCV does not read it rightly; pip install"):
        opened(url)


def test_a_sender_of_what_is_no_video(tmp_path: Path) -> None:
    with sender(b"hello" * 1000) as url, pytest.raises((SensorLost, ConfigError), match="camera http"):
        opened(url, open_timeout_s=2.0)


def test_a_host_that_hangs_up_is_lost() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            for _ in range(2):
                server.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(SensorLost, match="no video opened"):
            opened(f"http://127.0.0.1:{port}/a.ts", open_timeout_s=3.0)
        with socket.socket() as unblocks:
            unblocks.connect_ex(("127.0.0.1", port))
        thread.join()


SYSTEM_PYTHON = "/usr/bin/python3"


@pytest.fixture
def rtsp() -> Iterator[Callable[[Path], str]]:
    """The URL of an RTSP camera that sends a film of H.264."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer;"
    probe += " Gst.init(None); assert all(map(Gst.ElementFactory.find, ('qtdemux', 'rtph264pay')))"
    if not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True).returncode:
        pytest.skip("GStreamer's RTSP server is not installed: apt-get install gir1.2-gst-rtsp-server-1.0 python3-gi")
    with ExitStack() as senders:

        def start(path: Path) -> str:
            command = [SYSTEM_PYTHON, str(Path(__file__).with_name("rtsp_server.py")), "0", str(path)]
            process = senders.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            senders.callback(process.kill)
            assert process.stdout is not None
            return f"rtsp://127.0.0.1:{process.stdout.readline().split()[1]}/cam"

        yield start


@pytest.mark.parametrize("options", [{"bf": "0"}, {"flags": "+ildct+ilme"}], ids=["progressive", "interlaced"])
def test_h264_over_rtsp(options: dict[str, str], rtsp: Callable[[Path], str], tmp_path: Path) -> None:
    """Each picture is one that was sent, and 40 ms behind the last as the sender has it; then it is lost."""
    driver = opened(rtsp(film(tmp_path / "a.mp4", "libx264", base=TV, times_ms=TIMES, options=options)))
    (spec,) = driver.specs
    assert (spec.decoder, spec.stamps_from, spec.shape) == ("pyav", "source", (48, 64, 3))
    blocks, line = until_lost(driver)
    assert "no frame for" in line or "stopped delivering" in line
    sensor_ns = np.concatenate([block.sensor_ns for block in blocks if len(block) and block.sensor_ns is not None])
    lost = np.array([block.lost_before for block in blocks if len(block)])
    assert len(sensor_ns) > 100
    assert np.abs(np.diff(sensor_ns) - 40_000_000 * (1 + lost[1:])).max() < 2_000_000
    assert None not in {number_of(picture) for block in blocks for picture in block.data}
