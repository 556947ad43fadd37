"""Small recording: episodes of 5 streams and 11 rows to a synced spool, against bare files of the same bytes.

In the detail: what the disk is asked for, and what very many that wait cost a device: its start, its memory, its
offers, its idle time, and the answers of an ingest.
"""

import multiprocessing
import os
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import msgspec
import numpy as np
import psutil
import uuid_utils
from blake3 import blake3
from measuring import DEVICE, Comparison, Options, apart, compared, main, rounded

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.agents.recording.encode import encoder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.uplink import Uplink
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode import durable, file_system
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import FORMAT_VERSION, Account, Chunk, Mission, Note, Open, Seal
from sensorium.episode.parser import Header
from sensorium.episode.records import encode_small_records

ROWS = 11
PERIOD_NS = 50_000_000
SHAPES: dict[str, tuple[int, ...]] = {"observation": (4,), "action": (2,), "reward": (), "done": (), "state": (2,)}
EPISODES, PENDING, IDLE_S = 2000, 20_000, 5.0
GROUP = 16
SHARES = 3
"""Chunks of a stream's rows: a quarter of a second each."""
NOBODY = "tcp://127.0.0.1:9"
LIMIT_S = 600
_CALLS = ("open", "write", "writev", "ftruncate", "fsync", "fdatasync", "syncfs", "close", "rename", "unlink")


class Rollouts(DriverConfig):
    """A world of rows alone, as fast as they are taken: `episodes` of 11 steps, each marked, and delivered whole."""

    kind: str = "rollouts"
    episodes: int

    def open(self, name: str, base: Path) -> Driver:  # noqa: ARG002 (there is no file)
        """Make the rows."""
        return _World(name, self.episodes)


class _World:
    def __init__(self, name: str, episodes: int) -> None:
        self.specs = specs(f"{name}.")
        self.clock = Clock(kind="simulated")
        noise = np.random.default_rng(0)
        self._rows = {spec.name: noise.normal(size=(ROWS, *spec.shape)).astype(np.float32) for spec in self.specs}
        self._episodes, self._done = episodes, 0

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:  # noqa: ARG002 (it waits for nothing)
        """The next episode."""
        if self._done == self._episodes:
            return None
        start_ns = self._done * ROWS * PERIOD_NS
        stamps = start_ns + np.arange(ROWS, dtype=np.int64) * PERIOD_NS
        begin, end = EpisodeBegin(start_ns, {"seed": self._done}), EpisodeEnd(start_ns + ROWS * PERIOD_NS, "success")
        self._done += 1
        return [begin, *(Block(stream, stamps, rows) for stream, rows in self._rows.items()), end]

    def close(self) -> None:
        """Nothing is open."""


def specs(prefix: str) -> tuple[StreamSpec, ...]:
    """Five streams of a rollout."""
    return tuple(
        StreamSpec(name=f"{prefix}{name}", modality="state", dtype="float32", shape=shape, rate_hz=20.0)
        for name, shape in SHAPES.items()
    )


def measure(options: Options) -> Comparison:
    """Episodes a second, from opening the world to the last of them synced and noted; the start of the agent too."""
    episodes, pending = (100, 200) if options.quick else (EPISODES, PENDING)
    ours, against, cpu_ms, bare_ms = [], [], [], []
    straight: list[tuple[float, float]] = []
    sizes: list[int] = []
    record(options.folder / "warm", 5)
    for run in range(options.runs):
        folder = options.folder / str(run)
        sides = ("ours", "against") if run % 2 == 0 and sizes else ("against", "ours")
        for side in sides if sizes else ("ours", "against"):
            if side == "ours":
                seconds, cpu_s = record(apart(folder), episodes)
                ours.append(episodes / seconds)
                cpu_ms.append(1e3 * cpu_s / episodes)
                sizes = [file.stat().st_size for file in folder.glob("*/episodes/*")]
            else:
                seconds, cpu_s = bare(apart(options.folder / f"{run}-bare"), sizes)
                against.append(len(sizes) / seconds)
                bare_ms.append(1e3 * cpu_s / len(sizes))
                seconds, cpu_s = ceiling(apart(options.folder / f"{run}-ceiling"), episodes)
                straight.append((episodes / seconds, 1e3 * cpu_s / episodes))
    detail = {
        "episodes": episodes,
        "bytes_each": round(sum(sizes) / len(sizes)),
        "cpu_ms_each": rounded(cpu_ms),
        "against_cpu_ms_each": rounded(bare_ms),
        "ceiling": {
            "per_s": rounded([per_s for per_s, _ in straight]),
            "cpu_ms": rounded([ms for _, ms in straight]),
            "of": "one straight line of Python that encodes, writes, syncs and enters the same, and asks nothing",
        },
        "disk_calls_each": calls(options.folder / "counted", episodes),
        "pending": waits(options.folder / "pending", pending, 1.0 if options.quick else IDLE_S),
        "against": f"a file each of as many bytes, written at once, fdatasync each and one of the folder for {GROUP}",
    }
    return compared("small recording", ours, against, "episodes/s", True, detail)


def record(folder: Path, episodes: int) -> tuple[float, float]:
    """Wall and CPU seconds of an agent that records so many, and has nowhere to deliver them."""
    document: dict[str, Any] = {
        "device": DEVICE,
        "sensors": {"world": Rollouts(episodes=episodes)},
        "trigger": {"kind": "source"},
        "spool": {"path": str(folder)},
    }
    agent = Agent(check_device(document, folder.parent))
    began_s, cpu_s = time.perf_counter(), time.process_time()
    agent.run()
    took = time.perf_counter() - began_s, time.process_time() - cpu_s
    if agent.status()["ordinals"]["pending"] != episodes:
        raise RuntimeError(f"{folder}: {agent.status()['ordinals']}, expected {episodes} pending")
    return took


def bare(folder: Path, sizes: Sequence[int]) -> tuple[float, float]:
    """Wall and CPU seconds of files of these sizes and nothing else."""
    noise = np.random.default_rng(0).bytes(max(sizes))
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for first in range(0, len(sizes), GROUP):
        group = range(first, min(first + GROUP, len(sizes)))
        files = [os.open(folder / f"{number}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND) for number in group]
        for file, number in zip(files, group, strict=True):
            if os.write(file, noise[: sizes[number]]) != sizes[number]:
                raise OSError(f"{folder}: a short write, the disk is full")
        for file in files:
            os.fdatasync(file)
            os.close(file)
        os.fsync(at)
    took = time.perf_counter() - began_s, time.process_time() - cpu_s
    os.close(at)
    return took


def ceiling(folder: Path, episodes: int) -> tuple[float, float]:
    """Wall and CPU seconds of what an episode cannot do without, in one straight line: its chunks encoded, its records
    and its digest made, written and synced in groups, and entered in SQLite. No sensor has a thread, no sample an
    account, nothing is asked of the disk or of what comes, and nobody could go on behind a crash."""
    entries = tuple(LosslessConfig().entry(spec) for spec in specs("world."))
    encoders = [encoder(codec_of(entry)) for entry in entries]
    noise = np.random.default_rng(0)
    rows = [noise.normal(size=(SHARES * entry.chunk_rows, *entry.spec.shape)).astype(np.float32) for entry in entries]
    account = {entry.spec.name: Account(captured=ROWS, stored=ROWS) for entry in entries}
    stored = dict.fromkeys(account, ROWS)
    folder.mkdir()
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    ledger = sqlite3.connect(folder / "ledger.sqlite", isolation_level=None)
    ledger.execute("pragma journal_mode = wal")
    ledger.execute("pragma synchronous = full")
    ledger.execute("create table episodes (ordinal integer primary key, episode blob unique, manifest blob, digest)")
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for first in range(0, episodes, GROUP):
        made, files = [], []
        for ordinal in range(first, min(first + GROUP, episodes)):
            episode = uuid_utils.uuid7().bytes
            stamps = (ordinal * ROWS + np.arange(ROWS, dtype=np.int64)) * PERIOD_NS
            opening = Open(
                version=FORMAT_VERSION,
                episode=episode,
                device=DEVICE,
                spool_id="",
                ordinal=ordinal,
                start_ns=int(stamps[0]),
                end_ns=int(stamps[-1]),
                mission=Mission(name="bench"),
                clock=Clock(kind="simulated"),
                streams=entries,
            )
            records: list[tuple[Header, bytes]] = [(opening, b"")]
            for number, (entry, encode) in enumerate(zip(entries, encoders, strict=True)):
                for row in range(0, ROWS, entry.chunk_rows):
                    part = slice(row, row + entry.chunk_rows)
                    header = Chunk(stream=number, first_row=row, captured_ns=stamps[part].tobytes(), captured=ROWS)
                    records.append((header, encode(rows[number][part])))
            records.append((Note(kind="trigger", name="source", value={"outcome": "success"}), b""))
            body = encode_small_records(episode, 0, records)
            digest = blake3(body).digest()
            ending = Seal(digest=digest, reason="complete", rows=stored, account=account)
            files.append(os.open(folder / f"{ordinal}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND))
            os.write(files[-1], body + encode_small_records(episode, len(records), [(ending, b"")]))
            made.append((ordinal, episode, msgspec.msgpack.encode(opening), digest))
        for file in files:
            os.fdatasync(file)
            os.close(file)
        os.fsync(at)
        ledger.execute("begin")
        ledger.executemany("insert into episodes values (?, ?, ?, ?)", made)
        ledger.execute("commit")
    took = time.perf_counter() - began_s, time.process_time() - cpu_s
    ledger.close()
    os.close(at)
    return took


def calls(folder: Path, episodes: int) -> dict[str, float]:
    """What an episode asks the disk for: file calls by name, and commits of the ledger, which are a sync each."""
    counted: Counter[str] = Counter()
    with counting(counted):
        record(folder, episodes)
    shutil.rmtree(folder)
    return {name: round(n / episodes, 3) for name, n in sorted(counted.items())}


@contextmanager
def counting(counted: "Counter[str]") -> Iterator[None]:
    """Count what is called meanwhile."""

    class Counting:
        def __getattr__(self, name: str) -> Any:
            if name in _CALLS:
                counted[name] += 1
            return file_system.sync if name == "syncfs" else getattr(os, name)

    class Database(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            counted["ledger commits"] += sql == "COMMIT"
            return super().execute(sql, *values)

    connect: Any = sqlite3.connect

    def counted_connect(*arguments: Any, **named: Any) -> Any:
        return connect(*arguments, **{"factory": Database} | named)

    with mock.patch.object(durable, "os", Counting()), mock.patch.object(sqlite3, "connect", counted_connect):
        yield


def waits(folder: Path, episodes: int, idle_s: float) -> dict[str, Any]:
    """What so many cost that wait, in a process of its own."""
    fill(folder, episodes)
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=waiting_process, args=(there, folder, idle_s))
    process.start()
    try:
        if not here.poll(LIMIT_S):
            raise TimeoutError(f"the waiting process said nothing for {LIMIT_S} s")
        found: dict[str, Any] = here.recv()
        process.join(30)
    finally:
        process.kill()
    shutil.rmtree(folder)
    return {"episodes": episodes, **found}


def fill(path: Path, episodes: int) -> None:
    """Small episodes, sealed and synced in the spool at `path`."""
    entries = tuple(LosslessConfig().entry(spec) for spec in specs("world."))
    spool = Spool(path, DEVICE)
    stamps, payload = np.arange(ROWS, dtype=np.int64).tobytes(), bytes(200)
    accounts = {entry.spec.name: Account(captured=ROWS, stored=ROWS) for entry in entries}
    rows = dict.fromkeys(accounts, ROWS)
    try:
        for number in range(episodes):

            def manifest(ordinal: int, between: dict[str, Account], at: int = number) -> Open:
                return Open(
                    version=FORMAT_VERSION,
                    episode=uuid_utils.uuid7().bytes,
                    device=DEVICE,
                    spool_id=spool.spool_id,
                    ordinal=ordinal,
                    start_ns=at * ROWS * PERIOD_NS,
                    end_ns=(at + 1) * ROWS * PERIOD_NS,
                    mission=Mission(name="bench"),
                    clock=Clock(kind="simulated"),
                    streams=entries,
                    between=between,
                )

            file = spool.create(manifest)
            headers = [Chunk(stream=n, first_row=0, captured_ns=stamps, captured=ROWS) for n in range(len(entries))]
            file.append_all([(header, payload) for header in headers])
            file.seal("complete", rows, accounts, {}, (number + 1) * ROWS * PERIOD_NS)
        spool.flush()
    finally:
        spool.close()


def waiting_process(pipe: Connection, path: Path, idle_s: float) -> None:
    """Open the spool at `path`, look at what the uplink looks at, idle beside an ingest that is away, be answered."""
    memory = psutil.Process().memory_info
    before = memory().rss
    began_s, cpu_s = time.perf_counter(), time.process_time()
    spool = Spool(path, DEVICE)
    start_s, start_cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    rss = memory().rss - before
    began_s = time.perf_counter()
    for _ in range(100):
        waiting = spool.waiting(256)
    refresh_ms = 10 * (time.perf_counter() - began_s)
    uplink = Uplink(spool, NOBODY)
    uplink.start()
    cpu_s = time.process_time()
    time.sleep(idle_s)
    idle = (time.process_time() - cpu_s) / idle_s
    uplink.stop()
    answers: list[tuple[UUID, bytes]] = [(each.episode, each.digest) for each in waiting]
    cpu_s = time.process_time()
    for first in range(0, len(answers), 8):
        spool.committed_all(answers[first : first + 8])
    committed_ms = 1e3 * (time.process_time() - cpu_s) / len(answers)
    spool.close()
    pipe.send(
        {
            "start_s": round(start_s, 3),
            "start_cpu_s": round(start_cpu_s, 3),
            "rss_mb": round(rss / 1e6, 1),
            "refresh_ms": round(refresh_ms, 3),
            "idle_share_of_a_core": round(idle, 4),
            "committed_cpu_ms_each_in_groups_of_8": round(committed_ms, 3),
        }
    )


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=5)
