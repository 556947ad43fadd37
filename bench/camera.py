"""Camera: a film through `camera`, filters and `jpeg` into a synced spool, against a bare decode-and-imencode loop.

In the detail: what one camera of 640x480 at 30 Hz and an IMU at 200 Hz cost an agent that delivers, as a share of one
core, with `jpeg` and with `lossless`; and the CPU of `camera-v4l2` on JPEGs that were recorded, passed through, against
decoding and encoding each again, with what of it tells damage inside from a whole picture.
"""

import os
import shutil
import time
from collections.abc import Callable
from itertools import count, cycle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measuring import DEVICE, Comparison, Options, Server, compared, ingest_process, main

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.live.camera_v4l2 import CameraV4l2, CameraV4l2Config
from sensorium.drivers.live.v4l2_capture import Grabbed, PixelLayout
from sensorium.drivers.live.v4l2_identity import CameraIdentity
from sensorium.drivers.live.whole_jpeg import check_inside
from sensorium.drivers.pacing import Paced, Pacer, Source
from sensorium.drivers.stream import Block, Samples, StreamSpec
from sensorium.episode.codecs.contract import CodecConfig
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.episode.codecs.lossless import LosslessConfig

ROOT = Path(__file__).resolve().parents[1]
QUALITY = 90
SHARE_S = 10.0
SHOWN = 60
_FILTERS: list[dict[str, Any]] = [{"kind": "exposure"}, {"kind": "sharpness", "percentile": 0}]


def measure(options: Options) -> Comparison:
    """Frames a second, interleaved; and the shares of a core."""
    film = film_of(options)
    ours: list[float] = []
    against: list[float] = []
    stored = 0
    for run in range(options.runs):
        for side in ("ours", "against") if run % 2 == 0 else ("against", "ours"):
            if side == "against":
                against.append(bare(film))
                continue
            rate, stored = through_the_agent(film, options.folder / "spool")
            ours.append(rate)
    seconds = 1.0 if options.quick else SHARE_S
    detail = {
        "film": film.name,
        "stored": stored,
        "filters": [each["kind"] for each in _FILTERS],
        "against": f"cv2.VideoCapture.read and cv2.imencode at quality {QUALITY}, nothing written",
        "share_of_a_core": shares(film, seconds, options.folder),
        "mjpg_passed_through": passed_through(film, 5 if options.quick else 60, 1 if options.quick else 5),
        "share_of": "process CPU over collecting time: camera 640x480x3 at 30 Hz from memory, IMU at 200 Hz, delivery",
    }
    return compared("camera", ours, against, "frames/s", True, detail)


def film_of(options: Options) -> Path:
    """vtest.avi; a short one that is made where the recordings are absent, or for a smoke run."""
    film = Path(os.environ.get("SENSORIUM_DATA") or ROOT / "../shared/data") / "video/vtest.avi"
    if film.is_file() and not options.quick:
        return film.resolve()
    made = options.folder / "made.avi"
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    picture = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
    writer = cv2.VideoWriter(str(made), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for n in range(40):
        writer.write(np.roll(picture, 7 * n, axis=1))
    writer.release()
    return made


def through_the_agent(film: Path, spool: Path) -> tuple[float, int]:
    """Frames a second from opening the film to everything sealed and synced; frames stored."""
    document: dict[str, Any] = {
        "device": DEVICE,
        "sensors": {"cam": {"kind": "camera", "source": str(film), "pace": "fast"}},
        "filters": {"cam": _FILTERS},
        "encodings": {"cam": JpegConfig(quality=QUALITY)},
        "trigger": {"kind": "interval", "length_s": 10},
        "spool": {"path": str(spool)},
    }
    agent = Agent(check_device(document, ROOT))
    began_s = time.perf_counter()
    agent.run()
    elapsed_s = time.perf_counter() - began_s
    account = agent.status()["streams"]["cam"]
    shutil.rmtree(spool)
    return account.captured / elapsed_s, account.stored


def bare(film: Path) -> float:
    """Frames a second of the least that could be done."""
    began_s = time.perf_counter()
    capture = cv2.VideoCapture(str(film))
    for n in count():  # noqa: B007 (it is how many)
        ok, frame = capture.read()
        if not ok:
            break
        cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    capture.release()
    return n / (time.perf_counter() - began_s)


class Prepared(DriverConfig):
    """A camera and an IMU that cost nothing themselves: frames and rows are in memory, and come at their times."""

    kind: str = "prepared"
    film: Path
    seconds: float

    def open(self, name: str, base: Path) -> Driver:  # noqa: ARG002 (the film's path is whole)
        """Decode what will be shown, again and again."""
        capture = cv2.VideoCapture(str(self.film))
        frames = [cv2.resize(capture.read()[1], (640, 480)) for _ in range(SHOWN if self.seconds > 1 else 10)]
        capture.release()
        camera = StreamSpec(
            name=f"{name}.cam",
            modality="camera",
            dtype="uint8",
            shape=(480, 640, 3),
            rate_hz=30.0,
            color_order="BGR",
        )
        imu = StreamSpec(name=f"{name}.imu", modality="imu", dtype="float64", shape=(6,), rate_hz=200.0)
        source = _timed(camera.name, imu.name, frames, self.seconds)
        return Paced((camera, imu), Clock(kind="simulated"), source, Pacer(1.0))


def _timed(camera: str, imu: str, frames: list[Samples], seconds: float) -> Source:
    rows = np.random.default_rng(0).normal(size=(10, 6))
    moments = [(n * 1_000_000_000 // 30, n) for n in range(round(seconds * 30))]
    moments += [(n * 50_000_000 + 45_000_000, -1) for n in range(round(seconds * 20))]
    for due_ns, n in sorted(moments):
        if n >= 0:
            yield due_ns, Block(camera, np.array([due_ns], np.int64), frames[n % len(frames)][None])
        else:
            yield due_ns, Block(imu, due_ns - 45_000_000 + np.arange(10, dtype=np.int64) * 5_000_000, rows)


class Recorded:
    """Stands for a V4L2 device: gives out JPEGs of memory, one after the other."""

    title, path, card, bus, rate_hz = "recorded", Path("recorded"), "recorded", "", 30.0

    def __init__(self, items: list[bytes], size: tuple[int, int]) -> None:
        self._items = items
        self._size = size
        self._given = 0

    def settle(self, *_: object) -> PixelLayout:
        return PixelLayout("MJPG", *self._size, 0)

    def ranges(self) -> dict[str, tuple[int, int]]:
        return {}

    def controls(self, *_: object) -> dict[str, int]:
        return {}

    def receive(self) -> Grabbed:
        item, number = self._items[self._given % len(self._items)], self._given
        self._given += 1
        return Grabbed(item, time.monotonic_ns(), number, True, False, False)

    def set_controls(self, _: object) -> None: ...

    def start(self) -> None: ...

    def close(self) -> None: ...


def passed_through(film: Path, frames: int, rounds: int) -> dict[str, Any]:
    """CPU milliseconds a frame of 640x480 from a film, as JPEGs of several kinds; the least of some rounds each."""
    capture = cv2.VideoCapture(str(film))
    pictures = [cv2.resize(capture.read()[1], (640, 480)) for _ in range(min(frames, 10))]
    capture.release()
    found: dict[str, Any] = {}
    for name, quality, sampling in (
        ("4:2:0, quality 75", 75, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
        ("4:2:2, quality 75", 75, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
        ("4:2:2, quality 90", 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    ):
        written = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        items = [cv2.imencode(".jpg", picture, written)[1].tobytes() for picture in pictures]
        work = _work(items)
        each = dict.fromkeys(work, float("inf"))
        for _ in range(rounds):
            each |= {what: min(each[what], _cpu_ms(do, frames)) for what, do in work.items()}
        found[name] = {
            "frame_bytes": round(sum(map(len, items)) / len(items)),
            **{f"{what}_ms": round(ms, 3) for what, ms in each.items()},
            "ratio": round(each["passed"] / each["again"], 3),
            "ratio_without_check": round(each["passed_unchecked"] / each["again"], 3),
        }
    return found


def _work(items: list[bytes]) -> dict[str, Callable[[], object]]:
    """What is measured: one frame each."""
    turn = cycle(items)

    def again() -> None:
        picture = cv2.imdecode(np.frombuffer(next(turn), np.uint8), cv2.IMREAD_COLOR)
        cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])

    def passing(*, check_inside: bool) -> Callable[[], object]:
        device: Any = Recorded(items, (640, 480))
        config = CameraV4l2Config(source="recorded", check_inside=check_inside)
        camera = CameraV4l2("cam", config, device, CameraIdentity("recorded", "", ""))
        return lambda: camera.read(1.0)

    return {
        "passed": passing(check_inside=True),
        "passed_unchecked": passing(check_inside=False),
        "again": again,
        "checked": lambda: check_inside(next(turn)),
    }


def _cpu_ms(what: Callable[[], object], times: int) -> float:
    began_s = time.process_time()
    for _ in range(times):
        what()
    return (time.process_time() - began_s) / times * 1e3


def shares(film: Path, seconds: float, folder: Path) -> dict[str, Any]:
    """The agent's CPU as a share of one core, with each encoding."""
    found: dict[str, Any] = {}
    encodings: list[CodecConfig] = [JpegConfig(quality=QUALITY), LosslessConfig()]
    for encoding in encodings:
        with ingest_process(folder / "server", folder / "server" / "store") as server:
            found[encoding.codec] = round(_share(film, seconds, encoding, folder / "spool", server), 3)
        shutil.rmtree(folder / "spool")
        shutil.rmtree(folder / "server")
    return found


def _share(film: Path, seconds: float, encoding: CodecConfig, spool: Path, server: Server) -> float:
    document = {
        "device": DEVICE,
        "ingest": {
            "url": server.url,
            "server_key": str(spool.parent / "server/keys/ingest.key"),
            "key": str(server.device_key),
        },
        "sensors": {"rig": Prepared(film=film, seconds=seconds)},
        "encodings": {"rig.cam": encoding},
        "trigger": {"kind": "interval", "length_s": 5},
        "spool": {"path": str(spool)},
    }
    agent = Agent(check_device(document, ROOT))
    began_s = time.process_time()
    if not agent.run():
        raise RuntimeError(f"not delivered: {agent.status()}")
    return (time.process_time() - began_s) / seconds


if __name__ == "__main__":
    main((__doc__ or "").splitlines()[0], measure, runs=5)
