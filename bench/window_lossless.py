"""Random 2 s windows of a lossless camera and an IMU: ours, which checks every CRC, against the best of three readers.

zarr-python, zarrs and tensorstore read the same store. In the detail beside them: the ceiling (the same chunks in as
many threads, from memory into a fresh array, nothing checked) and `mcap` with zstd on the same samples, seeking. Every
reader's windows are compared by hash before anything is timed.
"""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
import zarr
import zarrs
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from measuring import Comparison, Options, compared, main
from windows import CAMERA, IMU, LENGTH_S, RATE_HZ, Array, Clip, Read, clip, digest, medians, stored, timed

from sensorium.corpus.episode import Episode
from sensorium.episode.codecs.contract import ChunkCodec
from sensorium.episode.codecs.lossless import LosslessConfig

PEERS = ("zarr-python", "zarrs", "tensorstore")
FRAMES = int(LENGTH_S * RATE_HZ)


def ours(episode: Episode, start: int) -> Array:
    """As a user reads."""
    first_s = float(episode.streams[CAMERA].captured_ns[start] - episode.start_ns) / 1e9
    window = episode.window(first_s, LENGTH_S, [CAMERA, IMU])
    return window[CAMERA].data


def in_zarr(episode: Episode, pipeline: str) -> Read:
    """zarr-python, with its own codec pipeline or that of zarrs."""
    zarr.config.set({"codec_pipeline.path": pipeline})
    group = zarr.open_group(episode.folder, mode="r")
    frames, rows = group[f"{CAMERA}/data"], group[f"{IMU}/data"]

    def read(start: int) -> Array:
        rows[start * 200 // 30 : (start + FRAMES) * 200 // 30]  # type: ignore[index]
        found: Any = frames[start : start + FRAMES]  # type: ignore[index]
        return np.asarray(found)

    return read


def in_tensorstore(episode: Episode) -> Read:
    """tensorstore, its arrays open."""

    def opened(stream: str) -> Any:
        kvstore = {"driver": "file", "path": f"{episode.folder}/{stream}/data/"}
        return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, read=True).result()

    frames, rows = opened(CAMERA), opened(IMU)

    def read(start: int) -> Array:
        rows[start * 200 // 30 : (start + FRAMES) * 200 // 30].read().result()
        found: Array = frames[start : start + FRAMES].read().result()
        return found

    return read


def in_mcap(taken: Clip, path: Path) -> Read:
    """`mcap` with zstd, a message a sample, read by time."""
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start()
        channels = {spec.name: writer.register_channel(spec.name, "raw", 0) for spec in taken.specs}
        for block in taken.blocks:
            for stamp_ns, sample in zip(block.captured_ns.tolist(), block.data, strict=True):
                writer.add_message(channels[block.stream], stamp_ns, sample.tobytes(), stamp_ns)
        writer.finish()
    stamps = np.concatenate([block.captured_ns for block in taken.blocks if block.stream == CAMERA])
    shape = taken.frames.shape[1:]

    def read(start: int) -> Array:
        found = []
        with path.open("rb") as file:
            first_ns = int(stamps[start])
            for _, channel, message in make_reader(file).iter_messages(
                starting_at=first_ns, ending_before=first_ns + int(LENGTH_S * 1e9)
            ):
                if channel.topic == CAMERA:
                    found.append(np.frombuffer(message.data, np.uint8).reshape(shape))
        return np.stack(found)

    return read


def ceiling(taken: Clip, episode: Episode) -> tuple[Read, ThreadPoolExecutor]:
    """Decoding alone: the same chunks from memory, in as many threads, into a fresh array."""
    codec = episode.streams[CAMERA].codec
    if not isinstance(codec, ChunkCodec):
        raise TypeError(f"{CAMERA} is not of chunks")
    chunks = [codec.encode(frame[None]) for frame in taken.frames]
    threads = len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(threads)

    def part(out: Array, start: int, which: range) -> None:
        for row in which:
            codec.decode(chunks[start + row], out[row : row + 1])

    def read(start: int) -> Array:
        out = np.empty((FRAMES, *taken.frames.shape[1:]), np.uint8)
        size = -(-FRAMES // threads)
        parts = [range(first, min(first + size, FRAMES)) for first in range(0, FRAMES, size)]
        list(pool.map(functools.partial(part, out, start), parts))
        return out

    return read, pool


def measure(options: Options) -> Comparison:
    """p50 of a window, in turns; warm in `ratio`, cold in the detail."""
    taken = clip(4.0 if options.quick else 20.0)
    episode = stored(taken, options.folder, LosslessConfig())
    floor, pool = ceiling(taken, episode)
    readers: dict[str, Read] = {
        "ours": functools.partial(ours, episode),
        "zarr-python": in_zarr(episode, "zarr.core.codec_pipeline.BatchedCodecPipeline"),
        "zarrs": in_zarr(episode, "zarrs.ZarrsCodecPipeline"),
        "tensorstore": in_tensorstore(episode),
        "mcap": in_mcap(taken, options.folder / "clip.mcap"),
        "ceiling": floor,
    }
    starts = np.random.default_rng(0).choice(taken.starts, 4 if options.quick else 24).tolist()
    for name, read in readers.items():
        for start in starts[:4]:
            if digest(read(start)) != digest(taken.frames[start : start + FRAMES]):
                raise ValueError(f"{name} reads other samples")
    warm = timed(readers, starts, 1 if options.quick else options.runs)
    cold = timed(
        {name: readers[name] for name in ("ours", *PEERS, "mcap")},
        starts[: 2 if options.quick else 8],
        1,
        options.folder,
    )
    pool.shutdown()
    best = min(PEERS, key=lambda name: float(np.median(warm[name])))
    p50 = medians(warm)
    detail = {
        "frames": taken.kind,
        "against": best,
        "p50_ms": p50,
        "cold_p50_ms": medians(cold),
        "of_the_ceiling": round(p50["ceiling"] / p50["ours"], 3),
        "over_mcap": round(p50["mcap"] / p50["ours"], 3),
        "bytes_stored": int(episode.row["bytes"]),
        "zarrs": getattr(zarrs, "__version__", ""),
    }
    return compared("window_lossless", warm["ours"], warm[best], "ms", False, detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
