"""Batches of random 2 s windows as training takes them, over what decoding alone can do with the same threads.

Ours opens every episode anew, reads files, checks every CRC, and stacks a camera with an IMU; the ceiling decodes the
same chunks of the camera from memory into a fresh array, batch by batch, and checks nothing. Through torch two spawned
workers read; the ceiling there are two processes that decode into shared memory. Batches are compared by hash with what
was captured before anything is timed. Lossless in the headline, JPEG in the detail.
"""

import functools
import importlib.util
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Comparison, Options, compared, main, rounded
from windows import CAMERA, IMU, LENGTH_S, RATE_HZ, Array, Clip, clip, digest, stored

import sensorium
from sensorium.corpus.loaders import reading
from sensorium.corpus.loaders.loader import Loader
from sensorium.episode.codecs.contract import ChunkCodec, Codec, CodecConfig
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.episode.codecs.lossless import LosslessConfig

BATCH, EPISODE_S = 4, 4.0
FRAMES = int(LENGTH_S * RATE_HZ)
THREADS = len(os.sched_getaffinity(0))
WORKERS = 2
Chunks = list[bytes]
Batches = Callable[[int], Iterator[Any]]
"""Of a seed."""


def loader(store: Path, seed: int = 0) -> Loader:
    """All of its windows, a tenth of a second apart."""
    return sensorium.open(store).batches(
        length_s=LENGTH_S, stride_s=0.1, streams=[CAMERA, IMU], batch_size=BATCH, seed=seed, drop_last=True
    )


def check(taken: Clip, store: Path, lossless: bool) -> None:
    """That batches hold what was captured, or what its JPEGs decode to."""
    stamps = np.concatenate([block.captured_ns for block in taken.blocks if block.stream == CAMERA])
    corpus = sensorium.open(store)
    for _, batch in zip(range(2), loader(store), strict=False):
        for row, episode in enumerate(batch.episodes):
            first = int(np.searchsorted(stamps, batch[CAMERA].captured_ns[row, 0]))
            truth = taken.frames[first : first + FRAMES]
            if not lossless:
                stream = corpus.episode(episode).streams[CAMERA]
                at = int(np.searchsorted(stream.captured_ns, stamps[first]))
                truth = np.stack([stream[at + number] for number in range(FRAMES)])
            if digest(batch[CAMERA].data[row][batch[CAMERA].present[row]]) != digest(truth):
                raise ValueError("a batch holds other samples than were captured")


def decode(codec: Codec, chunks: Chunks, out: Array, which: range, start: int) -> None:
    """Frames of a window, from memory."""
    for row in which:
        if isinstance(codec, ChunkCodec):
            codec.decode(memoryview(chunks[start + row]), out[row : row + 1])
        else:
            out[row] = codec.decode(memoryview(chunks[start + row]), 1)


def ceiling(codec: Codec, chunks: Chunks, shape: tuple[int, ...], starts: list[int]) -> Iterator[Array]:
    """Batches of the windows that begin at `starts`, in as many threads."""
    half = FRAMES // THREADS
    with ThreadPoolExecutor(THREADS) as pool:
        for first in range(0, len(starts) - BATCH + 1, BATCH):
            out = np.empty((BATCH, FRAMES, *shape), np.uint8)
            jobs = [
                functools.partial(decode, codec, chunks, out[row], range(low, min(low + half, FRAMES)), start)
                for row, start in enumerate(starts[first : first + BATCH])
                for low in range(0, FRAMES, half)
            ]
            list(pool.map(lambda job: job(), jobs))
            yield out


def _into_shared(codec: Codec, chunks: Chunks, shape: tuple[int, ...], starts: list[int], told: Any, room: Any) -> None:
    """One of the processes of the ceiling for workers: tells the name of the memory of each batch."""
    for first in range(0, len(starts) - BATCH + 1, BATCH):
        room.acquire()
        memory = SharedMemory(create=True, size=BATCH * FRAMES * int(np.prod(shape)))
        out: Array = np.ndarray((BATCH, FRAMES, *shape), np.uint8, memory.buf)
        for row, start in enumerate(starts[first : first + BATCH]):
            decode(codec, chunks, out[row], range(FRAMES), start)
        told.put(memory.name)
        del out
        memory.close()


def shared_ceiling(codec: Codec, chunks: Chunks, shape: tuple[int, ...], starts: list[int]) -> Iterator[str]:
    """Batches in shared memory, by two spawned processes that are as far ahead as torch's workers."""
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    room = context.Semaphore(2 * WORKERS)
    half = len(starts) // WORKERS // BATCH * BATCH
    parts = [starts[number * half : (number + 1) * half] for number in range(WORKERS)]
    processes = [context.Process(target=_into_shared, args=(codec, chunks, shape, part, told, room)) for part in parts]
    for process in processes:
        process.start()
    for _ in range(sum(len(part) // BATCH for part in parts)):
        name = told.get(timeout=300)
        memory = SharedMemory(name)
        memory.unlink()
        yield name
        memory.close()
        room.release()
    for process in processes:
        process.join()


def timed(batches: Iterator[Any], skip: int) -> tuple[float, float]:
    """Batches a second behind the first `skip`, in which workers begin; and CPU seconds of this process for each."""
    began_s, cpu_s, count = time.perf_counter(), time.process_time(), -skip
    for _ in batches:
        count += 1
        if count == 0:
            began_s, cpu_s = time.perf_counter(), time.process_time()
    return count / (time.perf_counter() - began_s), (time.process_time() - cpu_s) / count


def in_turns(ours: Batches, against: Batches, runs: int, skip: int) -> tuple[list[list[float]], list[list[float]]]:
    """Batches a second of both, and CPU seconds a batch, run by run."""
    rates: list[list[float]] = [[], []]
    cpus: list[list[float]] = [[], []]
    for number in range(runs):
        for each in (0, 1) if number % 2 == 0 else (1, 0):
            rate, cpu_s = timed((ours, against)[each](number), skip)
            rates[each].append(rate)
            cpus[each].append(cpu_s)
    return rates, cpus


def ratio(first: list[float], second: list[float]) -> float:
    return rounded([statistics.median(first) / statistics.median(second)])[0]


def measure(options: Options) -> Comparison:
    """Batches a second, in turns."""
    reading.OPEN_EPISODES = 0
    taken = clip(3.0 if options.quick else 20.0)
    shape = taken.frames.shape[1:]
    codecs: dict[str, CodecConfig] = {"lossless": LosslessConfig(), "jpeg": JpegConfig()}
    detail: dict[str, Any] = {"frames": taken.kind, "windows_a_batch": BATCH, "threads": THREADS}
    head: Any = None
    for name, config in codecs.items():
        episode = stored(taken, options.folder / name, config, 3.0 if options.quick else EPISODE_S)
        store = options.folder / name / "store"
        check(taken, store, name == "lossless")
        codec = episode.streams[CAMERA].codec
        chunks = [codec.encode(frame[None] if isinstance(codec, ChunkCodec) else frame) for frame in taken.frames]
        count = len(loader(store)) * BATCH

        def starts(seed: int, count: int) -> list[int]:
            return [int(start) for start in np.random.default_rng(seed).choice(taken.starts, count)]

        def ours(seed: int, store: Path = store) -> Iterator[Any]:
            return iter(loader(store, seed))

        def bare(seed: int, codec: Codec = codec, chunks: Chunks = chunks, count: int = count) -> Iterator[Any]:
            return ceiling(codec, chunks, shape, starts(seed, count))

        rates, cpus = in_turns(ours, bare, options.runs, 0 if options.quick else 1)
        head = head or rates
        detail[name] = {
            "over_the_ceiling": ratio(*rates),
            "batches_per_s": [rounded(each) for each in rates],
            "cpu_over_the_ceiling": ratio(cpus[1], cpus[0]),
            "cpu_s_a_batch": [rounded(each) for each in cpus],
        }
        if importlib.util.find_spec("torch") is None:
            detail[name]["torch"] = "not installed: make torch"
            continue

        def through_torch(seed: int, store: Path = store) -> Iterator[Any]:
            return iter(loader(store, seed).torch(workers=WORKERS))

        def bare_shared(seed: int, codec: Codec = codec, chunks: Chunks = chunks, count: int = count) -> Iterator[Any]:
            return shared_ceiling(codec, chunks, shape, starts(seed, count))

        rates, _ = in_turns(through_torch, bare_shared, options.runs, 0 if options.quick else 2 * WORKERS)
        detail[name]["torch_over_the_ceiling"] = ratio(*rates)
        detail[name]["torch_batches_per_s"] = [rounded(each) for each in rates]
    return compared("batches", head[0], head[1], "batches/s", True, detail)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3)
