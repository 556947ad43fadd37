"""Delivery: a synced spool to committed shards over CURVE, against one thread that writes the same bytes twice."""

import multiprocessing
import os
import shutil
import time
import uuid
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import uuid_utils
from measuring import DEVICE, Comparison, Options, Server, Watched, compared, ingest_process, main, rounded

from sensorium.agents.recording.encode import encoder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.uplink import Uplink
from sensorium.drivers.clock import live_clock
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import FORMAT_VERSION, Account, Chunk, Mission, Open

SPEC = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(480, 640, 3), rate_hz=30.0, color_order="BGR")
PERIOD_NS = 33_333_333
EPISODES = 8
FRAMES = 206  # of noise, which does not compress: 190 MB an episode, 1.52 GB in all
SYNC_BYTES = 8 << 20
LIMIT_S = 120


def measure(options: Options) -> Comparison:
    """Megabytes of episode files a second, from the uplink's start to the last COMMITTED."""
    episodes, frames = (2, 10) if options.quick else (EPISODES, FRAMES)
    ours, against, fills = [], [], []
    cpu: dict[str, list[float]] = {"agent": [], "ingest": []}
    peak = {"agent": 0, "ingest": 0}
    total = 0
    for run in range(options.runs):
        folder = options.folder / str(run)
        began = time.perf_counter()
        sizes = [file.stat().st_size for file in fill(folder / "spool", episodes, frames)]
        total = sum(sizes)
        fills.append(total / 1e6 / (time.perf_counter() - began))
        with ingest_process(folder, folder / "store") as server:
            if run % 2:  # by turns, for a disk that has just been busy is slower
                against.append(total / 1e6 / write_twice(sizes, folder))
            seconds, watched = deliver(folder / "spool", server, episodes)
            if not run % 2:
                against.append(total / 1e6 / write_twice(sizes, folder))
        ours.append(total / 1e6 / seconds)
        for side, figures in watched.items():
            cpu[side].append(figures.cpu_s / (total / 1e9))
            peak[side] = max(peak[side], figures.peak_bytes)
        shutil.rmtree(folder)
    detail = {
        "bytes": total,
        "episodes": episodes,
        "peak_pss_mb": {side: round(value / 1e6, 1) for side, value in peak.items()},
        "cpu_s_per_gb": {side: rounded(values) for side, values in cpu.items()},
        "spool_fill_mb_per_s": rounded(fills),
        "against": "one thread that writes as many bytes into two files an episode, fdatasync every 8 MB",
    }
    return compared("delivery", ours, against, "MB/s", True, detail)


def fill(path: Path, episodes: int, frames: int) -> list[Path]:
    """Episodes of incompressible frames, sealed and synced in the spool at `path`; their files."""
    noise = np.random.default_rng(0)
    entry = LosslessConfig().entry(SPEC)
    encode = encoder(codec_of(entry))
    chunks = [encode(noise.integers(0, 256, (1, *SPEC.shape), np.uint8)) for _ in range(16)]
    spool = Spool(path, DEVICE)
    try:
        for number in range(episodes):
            start_ns = number * (frames + 1) * PERIOD_NS
            end_ns = start_ns + frames * PERIOD_NS
            identity = uuid.UUID(bytes=uuid_utils.uuid7().bytes)

            def manifest(
                ordinal: int,
                between: dict[str, Account],
                identity: uuid.UUID = identity,
                interval_ns: tuple[int, int] = (start_ns, end_ns),
            ) -> Open:
                return Open(
                    version=FORMAT_VERSION,
                    episode=identity.bytes,
                    device=DEVICE,
                    spool_id=spool.spool_id,
                    ordinal=ordinal,
                    start_ns=interval_ns[0],
                    end_ns=interval_ns[1],
                    mission=Mission(name="bench"),
                    clock=live_clock(),
                    streams=(entry,),
                    between=between,
                )

            file = spool.create(manifest)
            for row in range(frames):
                stamp = np.int64(start_ns + row * PERIOD_NS).tobytes()
                header = Chunk(stream=0, first_row=row, captured_ns=stamp, captured=row + 1)
                file.append(header, chunks[row % len(chunks)])
            file.seal("complete", {"cam": frames}, {"cam": Account(captured=frames, stored=frames)}, {}, end_ns)
            spool.flush()
    finally:
        spool.close()
    return sorted((path / "episodes").iterdir())


def write_twice(sizes: list[int], folder: Path) -> float:
    """Seconds that one thread needs to write files of these sizes, each twice, of noise, fdatasync every 8 MB."""
    noise = memoryview(np.random.default_rng(0).bytes(SYNC_BYTES))
    began = time.perf_counter()
    for number, size in enumerate(sizes):
        for which in ("first", "second"):
            copy = os.open(folder / f"{which}-{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            for start in range(0, size, SYNC_BYTES):
                data = noise[: size - start]
                if os.write(copy, data) != len(data):
                    raise OSError(f"{folder}: a short write, the disk is full")
                os.fdatasync(copy)
            os.close(copy)
    return time.perf_counter() - began


def deliver(spool: Path, server: Server, episodes: int) -> tuple[float, dict[str, Watched]]:
    """Seconds from the uplink's start to the last COMMITTED, the uplink in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=uplink_process, args=(there, spool, server, episodes))
    process.start()
    try:
        receive(here)
        watched = {"agent": Watched(process.pid or 0), "ingest": Watched(server.pid)}
        here.send("go")
        seconds = receive(here)
        for each in watched.values():
            each.stop()
        here.send("end")
        process.join(30)
    finally:
        process.kill()
    return seconds, watched


def receive(pipe: Connection) -> float:
    """What the other process says, within the limit."""
    if not pipe.poll(LIMIT_S):
        raise TimeoutError(f"the uplink's process said nothing for {LIMIT_S} s")
    return float(pipe.recv())


def uplink_process(pipe: Connection, path: Path, server: Server, episodes: int) -> None:
    """The device's side: open the spool, wait for the word, deliver, say how long it took."""
    spool = Spool(path, DEVICE)
    uplink = Uplink(spool, server.url, server.server_key, server.device_pair)
    try:
        pipe.send(0.0)
        pipe.recv()
        began = time.perf_counter()
        uplink.start()
        while uplink.stats()["committed"] < episodes:
            time.sleep(0.002)
        pipe.send(time.perf_counter() - began)
        pipe.recv()
    finally:
        uplink.stop()
        spool.close()


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
