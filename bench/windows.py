"""What the window benchmarks share: a clip of 640x480x3 at 30 Hz with an IMU at 200 Hz, in a store, and its peers."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import DEVICE, rounded
from record import captured, video_frames

import sensorium
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.interval import IntervalConfig
from sensorium.corpus.episode import Episode
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.account import Tally
from sensorium.episode.codecs.contract import CodecConfig
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.documents import FORMAT_VERSION, Mission, Open, Provenance
from sensorium.ingest.store import Store

Array = npt.NDArray[Any]
CAMERA, IMU = "rig.cam", "rig.imu"
SECONDS, LENGTH_S = 20.0, 2.0
RATE_HZ, IMU_HZ = 30, 200
_PART = 1 << 20
Read = Callable[[int], Array]
"""Reads the frames of the window that begins at a frame, and its rows where a peer has them."""


@dataclass(frozen=True)
class Clip:
    """The samples as they were captured: `frames` [n, 480, 640, 3], `rows` [m, 6]."""

    specs: tuple[StreamSpec, ...]
    blocks: list[Block]
    frames: Array
    rows: Array
    kind: str

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Frames at which a window may begin."""
        return np.arange(len(self.frames) - int(LENGTH_S * RATE_HZ) + 1)


def clip(seconds: float) -> Clip:
    """Frames of a real video where it is at hand, else of `sim-planar`; rows of its IMU either way."""
    specs, imagined = captured(seconds)
    blocks = video_frames(imagined)
    kind = "vtest.avi, resized" if blocks else "sim-planar"
    blocks = blocks or imagined
    frames, rows = (np.concatenate([block.data for block in blocks if block.stream == name]) for name in (CAMERA, IMU))
    return Clip(specs, blocks, frames, rows, kind)


def stored(taken: Clip, folder: Path, frames: CodecConfig, length_s: float = 3600.0, small_bytes: int = 0) -> Episode:
    """The clip as one committed episode, through recorder, spool and the store's own commit; with another `length_s` as
    several, of which it is the first; those below `small_bytes` as ZIPs."""
    spool, pool = Spool(folder / "spool", DEVICE), EncoderPool()
    codecs = {CAMERA: frames, IMU: LosslessConfig()}
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
        streams=tuple(codecs[spec.name].entry(spec) for spec in taken.specs),
        provenance=Provenance(origin="simulator"),
    )
    trigger = IntervalConfig(kind="interval", length_s=length_s).start(taken.specs)
    recorder = Recorder(spool, trigger, manifest, grace_ns=None, pool=pool, max_episode_bytes=1 << 40)
    for block in taken.blocks:
        spool.account.enter(block.stream, len(block))
        recorder.add(block.stream, block, Tally(), (int(block.captured_ns[0]), int(block.captured_ns[-1])))
    recorder.stop()
    spool.flush()
    with Store.open(folder / "store", small_bytes=small_bytes) as store:
        for waiting in spool.waiting():
            assembly = store.begin(waiting.episode)
            for offset in range(0, waiting.size, _PART):
                assembly.append(spool.read(waiting.episode, offset, min(_PART, waiting.size - offset)))
            store.commit(assembly, device=DEVICE, identity=DEVICE)
    pool.close()
    spool.close()
    return sensorium.open(folder / "store").query()[0]


def digest(array: Array) -> str:
    """Of the samples, whatever memory they are in."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def forget(folder: Path) -> None:
    """Ask the kernel to let the folder's files go from its page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def timed(
    readers: dict[str, Read], starts: Sequence[int], rounds: int, folder: Path | None = None
) -> dict[str, list[float]]:
    """Milliseconds of each window of each reader, in turns that begin with another each round; cold with `folder`."""
    found: dict[str, list[float]] = {name: [] for name in readers}
    names = list(readers)
    for number in range(rounds):
        for start in starts:
            for name in names[number % len(names) :] + names[: number % len(names)]:
                if folder is not None:
                    forget(folder)
                began_s = time.perf_counter()
                readers[name](start)
                found[name].append(1e3 * (time.perf_counter() - began_s))
    return found


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """p50 in ms."""
    return {name: rounded([float(np.median(each))])[0] for name, each in times.items()}
