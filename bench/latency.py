"""Latency: the last sample of a short episode to its being found by `query`, against the bare syncs that it takes."""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from measuring import DEVICE, Comparison, Options, Server, compared, ingest_process, main

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.episode import Episode
from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.stream import Block, StreamSpec

LENGTH_S = 0.51
"""No multiple of the period of frames or rows: else where samples fall before an end is the luck of a whole run."""
POLL_S = 0.002
LIMIT_S = 30.0
COMMIT_THREADS = 8
WARM_UP = 3


def measure(options: Options) -> Comparison:
    """Milliseconds at the median; p99 and the rest in the detail. A run is one episode."""
    episodes = 3 if options.quick else options.runs
    folder = options.folder
    with ingest_process(folder, folder / "store") as server:
        agent = agent_of(folder, server)
        thread = threading.Thread(target=agent.run, name="agent")
        thread.start()
        try:
            latencies, floors = observe(folder, episodes)
        finally:
            agent.stop()
            thread.join()
    ms = np.array(latencies)
    detail = {
        "p50_ms": round(float(np.percentile(ms, 50)), 1),
        "p90_ms": round(float(np.percentile(ms, 90)), 1),
        "p99_ms": round(float(np.percentile(ms, 99)), 1),
        "max_ms": round(float(ms.max()), 1),
        "floor_p99_ms": round(float(np.percentile(floors, 99)), 1),
        "ours": "from the last stamp in the episode, so the wait for the sample that ends it is in; agent and ingest in"
        f" two processes, CURVE, a frame each 33 ms, 5 IMU rows each 25 ms, episodes of {LENGTH_S} s",
        "against": "an episode's files and folders written and synced bare, with 3 more syncs for ledger and catalog",
    }
    return compared("latency", latencies, floors, "ms", False, detail)


class Metronome:
    """A live sensor: a small frame each 33 ms and 5 rows each 25 ms, on the dot, in CLOCK_BOOTTIME."""

    clock: Clock

    def __init__(self, name: str) -> None:
        self.clock = live_clock()
        self.specs = (
            StreamSpec(name=f"{name}.cam", modality="camera", dtype="uint8", shape=(120, 160), rate_hz=30.0),
            StreamSpec(name=f"{name}.imu", modality="imu", dtype="float64", shape=(6,), rate_hz=200.0),
        )
        self._closed = threading.Event()
        self._noise = np.random.default_rng(0)
        now_ns = boottime_ns()
        self._due_ns = [now_ns, now_ns]

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        """The next frame or rows, when they are due."""
        which = int(self._due_ns[1] < self._due_ns[0])
        wait_s = (self._due_ns[which] - boottime_ns()) / 1e9
        if self._closed.wait(max(0.0, min(wait_s, timeout_s))):
            return None
        if wait_s > timeout_s:
            return ()
        due_ns, spec = self._due_ns[which], self.specs[which]
        if which:
            self._due_ns[1] += 25_000_000
            stamps = due_ns + np.arange(-4, 1, dtype=np.int64) * 5_000_000
            return (Block(spec.name, stamps, self._noise.normal(size=(5, 6))),)
        self._due_ns[0] += 33_333_333
        frame = self._noise.integers(0, 256, (1, *spec.shape), np.uint8)
        return (Block(spec.name, np.array([due_ns], np.int64), frame),)

    def close(self) -> None:
        """End a `read` that waits."""
        self._closed.set()


class MetronomeConfig(DriverConfig):
    """Opens a `Metronome`."""

    kind: Literal["metronome"] = "metronome"

    def open(self, name: str, base: Path) -> Driver:
        del base
        return Metronome(name)


def agent_of(folder: Path, server: Server) -> Agent:
    """An agent as `collect --local` hosts it."""
    (folder / "ingest.key").write_bytes((folder / "keys" / "ingest.key").read_bytes())
    document = {
        "device": DEVICE,
        "sensors": {"rig": MetronomeConfig()},
        "trigger": {"kind": "interval", "length_s": LENGTH_S},
        "ingest": {"url": server.url, "server_key": "ingest.key", "key": str(server.device_key)},
        "spool": {"path": "spool"},
    }
    return Agent(check_device(document, folder))


def observe(folder: Path, episodes: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each episode until `query` has it, and of the bare syncs right after it."""
    latencies: list[float] = []
    floors: list[float] = []
    corpus = sensorium.open(folder / "store")
    with ThreadPoolExecutor(COMMIT_THREADS) as pool:
        for ordinal in range(1, WARM_UP + episodes + 1):
            episode, seen_ns = appeared(corpus, ordinal)
            floor_ms = bare_syncs(episode.path, folder / f"bare-{ordinal}", pool)
            if ordinal > WARM_UP:
                last_ns = max(int(stream.captured_ns[-1]) for stream in episode.streams.values())
                latencies.append((seen_ns - last_ns) / 1e6)
                floors.append(floor_ms)
    return latencies, floors


def appeared(corpus: Corpus, ordinal: int) -> tuple[Episode, int]:
    """Ask until the episode with this ordinal is there; with the moment."""
    deadline = time.monotonic() + LIMIT_S
    while not (found := corpus.query(f"ordinal = {ordinal}")):
        if time.monotonic() > deadline:
            raise TimeoutError(f"episode {ordinal} did not appear within {LIMIT_S} s")
        time.sleep(POLL_S)
    return found[0], boottime_ns()


def bare_syncs(episode: Path, copy: Path, pool: ThreadPoolExecutor) -> float:
    """Milliseconds to write what the episode's bytes need on both sides, with as many syncs, and nothing else.

    The spool's file; its ledger; the episode's ZIP, or every file of its folder, then every folder, by as many threads
    as the store has; the month's folder; the commit record and its folder; the catalog.
    """
    files = [path for path in episode.rglob("*") if path.is_file()] or [episode]
    group = Path() if episode.is_file() else Path("group")
    content = {group / path.relative_to(episode if group.name else episode.parent): path.read_bytes() for path in files}
    began = time.perf_counter()
    copy.mkdir()
    write(copy / "spool", b"".join(content.values()))
    write(copy / "ledger", bytes(8192))
    folders = {copy / parent for path in content for parent in path.parents} - {copy}
    for folder in sorted(folders):
        folder.mkdir()
    list(pool.map(write, (copy / path for path in content), content.values()))
    list(pool.map(sync, folders))
    sync(copy)
    write(copy / "record", bytes(4096))
    sync(copy)
    write(copy / "catalog", bytes(16384))
    return 1e3 * (time.perf_counter() - began)


def write(path: Path, data: bytes) -> None:
    """Write and sync a file."""
    with path.open("wb", buffering=0) as file:
        file.write(data)
        os.fdatasync(file.fileno())


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=100)
