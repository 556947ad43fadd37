"""Camera: a film through `camera`, filters and `jpeg` into a synced spool, against a bare decode-and-imencode loop.

In the detail: what one camera of 640x480 at 30 Hz and an IMU at 200 Hz cost an agent that delivers, as a share of one
core, with `jpeg` and with `lossless`.
"""

import os
import shutil
import time
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measuring import DEVICE, Comparison, Options, Server, compared, ingest_process, main

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Driver, DriverConfig
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
