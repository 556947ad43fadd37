"""Choosing: the CPU of collecting by `worth` at 5% against `interval` with everything encoded; one camera, one IMU.

`ours` and `against` are CPU seconds of the whole agent for an hour that is captured, of 640x480x3 at 30 Hz as JPEG and
an IMU at 200 Hz, without delivery; in the detail the same with `lossless`, what was kept, and what it costs to do
nothing but read: with all samples filtered out before anybody looks.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from camera import QUALITY, film_of
from measuring import DEVICE, Comparison, Options, compared, main, rounded

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
SECONDS, SHOWN = 60, 150
WORTH: dict[str, Any] = {"kind": "worth", "budget": {"share": 0.05}}
INTERVAL: dict[str, Any] = {"kind": "interval", "length_s": 10}


@dataclass(frozen=True)
class Cost:
    """CPU seconds for each second that was captured, and the share of pictures that was stored."""

    cpu: float
    kept: float


def measure(options: Options) -> Comparison:
    """Both triggers with both encodings, interleaved."""
    cv2.setNumThreads(1)
    seconds = 4 if options.quick else SECONDS
    film = Film(path=film_of(options), seconds=seconds)
    encodings: dict[str, CodecConfig] = {"jpeg": JpegConfig(quality=QUALITY), "lossless": LosslessConfig()}
    found: dict[str, dict[str, list[Cost]]] = {name: {"worth": [], "interval": []} for name in encodings}
    for run in range(options.runs):
        for name, encoding in encodings.items():
            for trigger in (WORTH, INTERVAL) if run % 2 == 0 else (INTERVAL, WORTH):
                cost = collected(film, trigger, encoding, options.folder / "spool")
                found[name][trigger["kind"]].append(cost)
    reading = [collected(film, INTERVAL, encodings["jpeg"], options.folder / "spool", nothing=True) for _ in range(2)]
    detail: dict[str, Any] = {
        "captured_s": seconds,
        "against": "trigger interval, every sample encoded, the same codec",
        "reading_alone": rounded([3600 * cost.cpu for cost in reading]),
        "kept": {name: rounded([cost.kept for cost in each["worth"]]) for name, each in found.items()},
        "lossless": {kind: rounded([3600 * cost.cpu for cost in costs]) for kind, costs in found["lossless"].items()},
    }
    ours, against = ([3600 * cost.cpu for cost in found["jpeg"][kind]] for kind in ("worth", "interval"))
    return compared("choosing", ours, against, "CPU s/h", False, detail)


class Film(DriverConfig):
    """A camera and an IMU that cost nothing themselves: frames and rows are in memory, and come as fast as they can."""

    kind: str = "film"
    path: Path
    seconds: int

    def open(self, name: str, base: Path) -> Driver:  # noqa: ARG002 (the film's path is whole)
        """Decode what will be shown, forwards and backwards, again and again."""
        camera = StreamSpec(
            name=f"{name}.cam", modality="camera", dtype="uint8", shape=(480, 640, 3), rate_hz=30.0, color_order="BGR"
        )
        imu = StreamSpec(name=f"{name}.imu", modality="imu", dtype="float64", shape=(6,), rate_hz=200.0)
        source = _played(camera.name, imu.name, frames_of(self.path), self.seconds)
        return Paced((camera, imu), Clock(kind="simulated"), source, Pacer("fast"))


_frames: dict[Path, list[Samples]] = {}


def frames_of(path: Path) -> list[Samples]:
    """The first of a film, decoded once."""
    if path not in _frames:
        capture = cv2.VideoCapture(str(path))
        found: list[Samples] = []
        while len(found) < SHOWN and (read := capture.read())[0]:
            found.append(np.asarray(cv2.resize(read[1], (640, 480))))
        _frames[path] = found
    return _frames[path]


def _played(camera: str, imu: str, frames: list[Samples], seconds: int) -> Source:
    rows = np.random.default_rng(0).normal(size=(10, 6))
    moments = [(n * 1_000_000_000 // 30, n) for n in range(seconds * 30)]
    moments += [(n * 50_000_000 + 45_000_000, -1) for n in range(seconds * 20)]
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    for due_ns, n in sorted(moments):
        if n >= 0:
            frame = frames[there_and_back[n // 3 % len(there_and_back)]]  # ten a second, as the film was made
            noisy = frame if n % 3 == 0 else frame ^ np.uint8(n % 3)  # as no two pictures of a sensor are the same
            yield due_ns, Block(camera, np.array([due_ns], np.int64), noisy[None])
        else:
            yield due_ns, Block(imu, due_ns - 45_000_000 + np.arange(10, dtype=np.int64) * 5_000_000, rows)


def collected(film: Film, trigger: Any, encoding: CodecConfig, spool: Path, *, nothing: bool = False) -> Cost:
    """What it costs an agent to collect the film; with `nothing` all of it is dropped by stamp."""
    frames_of(film.path)
    rarely = [{"kind": "rate", "max_hz": 0.001}]
    document: dict[str, Any] = {
        "device": DEVICE,
        "sensors": {"rig": film},
        "encodings": {"rig.cam": encoding},
        "filters": {"rig.cam": rarely, "rig.imu": rarely} if nothing else {},
        "trigger": trigger,
        "spool": {"path": str(spool)},
    }
    agent = Agent(check_device(document, ROOT))
    began_s = time.process_time()
    agent.run()
    cpu_s = time.process_time() - began_s
    account = agent.status()["streams"]["rig.cam"]
    shutil.rmtree(spool)
    return Cost(cpu_s / film.seconds, account.stored / account.captured)


if __name__ == "__main__":
    main((__doc__ or "").splitlines()[0], measure, runs=3)
