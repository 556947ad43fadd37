"""Record: captured blocks to a synced spool, against the `mcap` writer with zstd on the same blocks."""

import os
import platform
import shutil
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mcap.writer import CompressionType, Writer
from measuring import DEVICE, Comparison, Options, compared, main, rounded

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import IntervalConfig
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.documents import FORMAT_VERSION, Mission, Open, Provenance
from sensorium.sim.worlds.planar import SimPlanarConfig

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 10.0  # 300 frames of 640x480x3 at 30 Hz and 2,000 rows of an IMU at 200 Hz
Blocks = list[Block]


class Cost(NamedTuple):
    """Bytes written, and the wall and CPU seconds (of all threads) that it took."""

    size: int
    wall_s: float
    cpu_s: float


class Stopwatch:
    """Wall and CPU time since it was made."""

    def __init__(self) -> None:
        self._began_s, self._began_cpu_s = time.perf_counter(), time.process_time()

    def cost(self, size: int) -> Cost:
        return Cost(size, time.perf_counter() - self._began_s, time.process_time() - self._began_cpu_s)


def measure(options: Options) -> Comparison:
    """Milliseconds from the first block to everything synced; both write the same blocks as fast as they can."""
    specs, imagined = captured(1.0 if options.quick else SECONDS)
    filmed = video_frames(imagined)
    kinds = ({"vtest.avi, resized": filmed} if filmed else {}) | {"sim-planar": imagined}
    found = {kind: compare(specs, blocks, options) for kind, blocks in kinds.items()}
    frames, first = next(iter(found.items()))
    detail = {
        "frames": frames,
        "cpu_share": first.detail["cpu_share"],
        "each": {kind: {"ratio": comparison.ratio, **comparison.detail} for kind, comparison in found.items()},
    }
    return replace(first, detail=detail)


def compare(specs: tuple[StreamSpec, ...], blocks: Blocks, options: Options) -> Comparison:
    """One kind of frames, interleaved."""
    ours: list[Cost] = []
    against: list[Cost] = []
    sides = ((with_spool, ours), (with_mcap, against))
    for run in range(options.runs):
        for write, costs in sides if run % 2 == 0 else sides[::-1]:
            folder = options.folder / "recording"
            folder.mkdir()
            costs.append(write(specs, blocks, folder))
            shutil.rmtree(folder)
    ours_cpu, mcap_cpu = ([cost.cpu_s for cost in costs] for costs in (ours, against))
    detail = {
        "raw_bytes": sum(block.data.nbytes for block in blocks),
        "bytes": ours[0].size,
        "against_bytes": against[0].size,
        "cpu_s": rounded(ours_cpu),
        "against_cpu_s": rounded(mcap_cpu),
        "cpu_share": round(statistics.median(ours_cpu) / statistics.median(mcap_cpu), 3),
        "against": "mcap.writer.Writer, zstd, chunks of 1 MB, a message a sample, fsync at the end",
    }
    ours_ms, against_ms = ([1e3 * cost.wall_s for cost in costs] for costs in (ours, against))
    return compared("record", ours_ms, against_ms, "ms", False, detail)


def captured(seconds: float) -> tuple[tuple[StreamSpec, ...], Blocks]:
    """What a camera and an IMU deliver: a frame a block, the IMU in blocks of 50 ms."""
    driver = SimPlanarConfig(kind="sim-planar", size=(640, 480), color=True, duration_s=seconds, pace="fast").open(
        "rig", ROOT
    )
    blocks: Blocks = []
    while (delivered := driver.read(1.0)) is not None:
        blocks += [each for each in delivered if isinstance(each, Block)]
    driver.close()
    return driver.specs, blocks


def video_frames(blocks: Blocks) -> Blocks:
    """The same blocks with the frames of a real video in them; none where the recordings are absent."""
    folder = Path(os.environ.get("SENSORIUM_DATA") or ROOT / "../shared/data")
    video = cv2.VideoCapture(str(folder / "video/vtest.avi"))
    filmed: Blocks = []
    for block in blocks:
        if block.data.ndim == 4:
            ok, frame = video.read()
            if not ok:
                return []
            height, width = block.data.shape[1:3]
            filmed.append(replace(block, content=cv2.resize(frame, (width, height))[np.newaxis]))
        else:
            filmed.append(block)
    video.release()
    return filmed


def with_spool(specs: tuple[StreamSpec, ...], blocks: Blocks, folder: Path) -> Cost:
    """Recorder, encoder pool and spool as the agent has them; opening the spool is not timed."""
    spool, pool = Spool(folder, DEVICE), EncoderPool()
    manifest = Open(
        version=FORMAT_VERSION,
        episode=bytes(16),
        device=DEVICE,
        spool_id=spool.spool_id,
        ordinal=0,
        start_ns=0,
        end_ns=0,
        mission=Mission(name="bench"),
        clock=Clock(kind="simulated"),
        streams=tuple(LosslessConfig().entry(spec) for spec in specs),
        provenance=Provenance(origin="simulator"),
        software={"python": platform.python_version()},
    )
    watch = Stopwatch()
    trigger = IntervalConfig(kind="interval", length_s=SECONDS).start(specs)
    recorder = Recorder(spool, trigger, manifest, grace_ns=None, pool=pool)
    for block in blocks:
        span_ns = int(block.captured_ns[0]), int(block.captured_ns[-1])
        spool.account.enter(block.stream, len(block))
        if recorder.add(block.stream, block, Tally(), span_ns) is not None:
            raise OSError(f"{folder}: {recorder.full}")
        recorder.tick(None)
    recorder.stop()
    spool.flush()
    cost = watch.cost(spool.used_bytes())
    pool.close()
    spool.close()
    return cost


def with_mcap(specs: tuple[StreamSpec, ...], blocks: Blocks, folder: Path) -> Cost:
    """The mcap writer as its users call it."""
    path = folder / "recording.mcap"
    watch = Stopwatch()
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start()
        channels = {spec.name: writer.register_channel(spec.name, "raw", 0) for spec in specs}
        for block in blocks:
            channel = channels[block.stream]
            for stamp_ns, sample in zip(block.captured_ns.tolist(), block.data, strict=True):
                writer.add_message(channel, stamp_ns, sample.tobytes(), stamp_ns)
        writer.finish()
        file.flush()
        os.fsync(file.fileno())
    return watch.cost(path.stat().st_size)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=7)
