"""Small episodes: eight synced spools to committed, every sample compared by hash, against the loose form of before."""

import itertools
import multiprocessing
import os
import shutil
import statistics
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from former import checkout, environment
from measuring import Comparison, Options, Server, Watched, apart, compared, ingest_process, main, rounded
from small_ceiling import Ceiling, ceiling
from small_kinds import ROLLOUT, ROWS, SLOW_ROLLOUT, Digests, Kind, digest, record
from zarr.storage import LocalStore, ZipStore

import sensorium
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.uplink import Uplink
from sensorium.corpus.commits import EPISODES, month_of, record_path
from sensorium.corpus.episode import Episode

LOOSE = "2d19c51"
"""The last commit before small episodes had a form of their own."""
DEVICES = tuple(f"bench-{number}" for number in range(8))
OURS_EACH, LOOSE_EACH = 250, 40  # episodes of each device: the loose form takes six to ten times as long
PLAIN = 5
WINDOWS = 200
WINDOW_S = 10.0
FLOOR = 800
BATCH = 8
LIMIT_S = 300


@dataclass
class Side:
    """What was measured of ours, or of the loose form, run by run; `store` is that of the last run."""

    per_s: list[float] = field(default_factory=list)
    server_cpu_ms: list[float] = field(default_factory=list)
    device_cpu_ms: list[float] = field(default_factory=list)
    ceilings: list[Ceiling] = field(default_factory=list)
    store: Path = Path()


@dataclass(frozen=True)
class Footprint:
    """What an episode is on disk: its data, one file or a folder of many, and its commit record."""

    data: list[Path]
    record: Path

    @classmethod
    def of(cls, store: Path, episode: str) -> "Footprint":
        """Of a committed episode, in either form."""
        identity = uuid.UUID(episode)
        folder = store / EPISODES / month_of(identity) / episode
        packed = folder.with_name(f"{episode}.zip")
        data = [packed] if packed.exists() else [folder, *folder.rglob("*")]
        return cls(data, record_path(store, identity))

    @property
    def files(self) -> list[Path]:
        """Those that hold bytes."""
        return [path for path in (*self.data, self.record) if path.is_file()]

    @property
    def inodes(self) -> int:
        """Files and folders."""
        return len(self.data) + 1

    @property
    def disk_bytes(self) -> int:
        """Blocks of files and folders."""
        return sum(path.stat().st_blocks * 512 for path in (*self.data, self.record))


def measure(options: Options) -> Comparison:
    """Episodes committed a second, from the first HELLO to the last COMMITTED, the uplinks in one process."""
    source = options.against or checkout(LOOSE, options.folder / "former")
    former = environment(source, options.folder / "metadata")
    sides: list[tuple[Side, Side]] = []
    detail: dict[str, Any] = {}
    for kind in (ROLLOUT,) if options.quick else (ROLLOUT, SLOW_ROLLOUT, ROWS):
        ours, loose = deliveries(options, kind, former)
        detail[kind.name] = figures(options, ours, loose)
        sides.append((ours, loose))
    detail["ours"] = "8 devices of one process, 250 episodes each; the clock starts just before the first HELLO"
    detail["against"] = f"the ingest of {LOOSE}, by turns, and fewer episodes of the same kind from the same devices"
    return compared("small_episodes", sides[0][0].per_s, sides[0][1].per_s, "episodes/s", True, detail)


# --- delivery ----------------------------------------------------------------------------------------------------


def deliveries(options: Options, kind: Kind, former: dict[str, str]) -> tuple[Side, Side]:
    """Both sides' deliveries of one kind, by turns. Nothing is removed before all is measured, see `apart`."""
    ours, loose = Side(), Side()
    for run in range(options.runs):
        turns = [(ours, OURS_EACH, None), (loose, LOOSE_EACH, former)]
        for side, count, environ in turns if run % 2 else reversed(turns):
            folder = options.folder / kind.name / f"{run}-{'ours' if side is ours else 'loose'}"
            digests = deliver(side, folder, kind, 4 if options.quick else count, environ)
            check(side.store, digests)
    return ours, loose


def deliver(side: Side, folder: Path, kind: Kind, count: int, environ: dict[str, str] | None) -> Digests:
    """Record `count` episodes of each device, then deliver them all; what was recorded."""
    digests: Digests = {}
    spools = apart(folder)
    for seed, device in enumerate(DEVICES):
        digests |= record(spools / device, device, kind, count, seed)
    side.store = apart(folder)
    files = [path.read_bytes() for path in sorted(spools.glob("*/episodes/*"))]
    with ingest_process(folder, side.store, DEVICES, environ) as server:
        spawn = multiprocessing.get_context("spawn")
        here, there = spawn.Pipe()
        process = spawn.Process(target=uplinks_process, args=(there, spools, server, count))
        process.start()
        try:
            receive(here)
            watched = Watched(server.pid)
            here.send("go")
            seconds, cpu_s = receive(here)
            watched.stop()
            process.join(30)
        finally:
            process.kill()
    if environ is None:
        side.ceilings.append(ceiling(apart(folder), files))
    side.per_s.append(len(digests) / seconds)
    side.server_cpu_ms.append(1e3 * watched.cpu_s / len(digests))
    side.device_cpu_ms.append(1e3 * cpu_s / len(digests))
    return digests


def receive(pipe: Connection) -> tuple[float, float]:
    """What the other process says, within the limit."""
    if not pipe.poll(LIMIT_S):
        raise TimeoutError(f"the uplinks' process said nothing for {LIMIT_S} s")
    seconds, cpu_s = pipe.recv()
    return float(seconds), float(cpu_s)


def uplinks_process(pipe: Connection, spools: Path, server: Server, count: int) -> None:
    """The devices' side: open the spools, wait for the word, deliver all, say how long it took, and how much CPU."""
    with ExitStack() as stack:
        uplinks = []
        for device in DEVICES:
            spool = Spool(spools / device, device)
            stack.callback(spool.close)
            uplinks.append(Uplink(spool, server.url, server.server_key, server.pairs[device]))
        pipe.send((0.0, 0.0))
        pipe.recv()
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for uplink in uplinks:
            stack.callback(uplink.stop)
            uplink.start()
        for uplink in uplinks:
            while uplink.stats()["committed"] < count:
                time.sleep(0.005)
        pipe.send((time.perf_counter() - began_s, time.process_time() - began_cpu_s))


def check(store: Path, recorded: Digests) -> None:
    """Raise `RuntimeError` unless the store holds what was recorded, to our reader, and some of it to plain zarr."""
    episodes = {episode.id: episode for episode in sensorium.open(store).query()}
    if episodes.keys() != recorded.keys():
        raise RuntimeError(f"{store}: {len(episodes)} episodes, {len(recorded)} were recorded")
    for identity, episode in episodes.items():
        read = {name: digest(stream.captured_ns, stream[:]) for name, stream in episode.streams.items()}
        if read != recorded[identity]:
            raise RuntimeError(f"{store}: episode {identity} is not what was recorded")
    for identity in list(recorded)[:PLAIN]:
        if plain(Footprint.of(store, identity).data[0], recorded[identity]) != recorded[identity]:
            raise RuntimeError(f"{store}: episode {identity} is not what was recorded, to plain zarr")


def plain(path: Path, streams: Sequence[str] | dict[str, bytes]) -> dict[str, bytes]:
    """Digests of an episode's streams as zarr-python reads them."""
    with LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r") as held:
        group = zarr.open_group(held, mode="r")
        return {
            name: digest(np.asarray(group[f"{name}/captured_ns"]), np.asarray(group[f"{name}/data"]))
            for name in streams
        }


# --- the store at rest -------------------------------------------------------------------------------------------


def figures(options: Options, ours: Side, loose: Side) -> dict[str, Any]:
    """Of one kind: all that was measured, and what the disk alone would take."""
    held = {side: sensorium.open(store).query() for side, store in (("ours", ours.store), ("against", loose.store))}
    prints = {
        side: Footprint.of(store, held[side][0].id) for side, store in (("ours", ours.store), ("against", loose.store))
    }
    windows, cold = read(held["ours"], held["against"], 5 if options.quick else WINDOWS)
    sizes = [sum(path.stat().st_size for path in prints["ours"].files[:-1]), prints["ours"].record.stat().st_size]
    straight_per_s = [each.per_s for each in ours.ceilings]
    straight_ms = [each.cpu_ms for each in ours.ceilings]
    both_ms = zip(ours.server_cpu_ms, ours.device_cpu_ms, strict=True)
    floor_per_s, floor_cpu_ms = floor(ours.store.parent / "floor", sizes, 16 if options.quick else FLOOR)
    return {
        "per_s": {"ours": rounded(ours.per_s), "against": rounded(loose.per_s)},
        "ratio": round(statistics.median(ours.per_s) / statistics.median(loose.per_s), 2),
        "server_cpu_ms": {"ours": rounded(ours.server_cpu_ms), "against": rounded(loose.server_cpu_ms)},
        "device_cpu_ms": {"ours": rounded(ours.device_cpu_ms), "against": rounded(loose.device_cpu_ms)},
        "ceiling": {
            "per_s": rounded(straight_per_s),
            "cpu_ms": rounded(straight_ms),
            "parts_ms": ours.ceilings[-1].parts_ms,
            "ours_over_it": round(statistics.median(ours.per_s) / statistics.median(straight_per_s), 3),
            "cpu_over_it": round(statistics.median(ours.server_cpu_ms) / statistics.median(straight_ms), 2),
            "two_cores_per_s": rounded([2e3 / sum(each) for each in both_ms]),
            "two_cores_of": "server and devices share two cores that nothing else takes, and never wait",
            "of": "one straight line of Python that does what cannot be left out, see small_ceiling.py",
        },
        "files": {side: len(each.files) for side, each in prints.items()},
        "inodes": {side: each.inodes for side, each in prints.items()},
        "disk_bytes": {side: each.disk_bytes for side, each in prints.items()},
        "data_and_record_bytes": sizes,
        "window": windows,
        "cold_window": cold,
        "floor": {
            "per_s": round(floor_per_s, 1),
            "cpu_ms": round(floor_cpu_ms, 3),
            "of": f"the same bytes as two files, fdatasync each, in batches of {BATCH} that share the folders' syncs",
        },
    }


def read(ours: list[Episode], loose: list[Episode], count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Opening an episode and reading all of it, by turns: from the page cache, and with its files dropped from it."""
    warm: dict[str, list[float]] = {"ours": [], "against": []}
    cold: dict[str, list[float]] = {"ours": [], "against": []}
    pairs = zip(itertools.cycle(ours), itertools.cycle(loose), strict=False)
    for number, pair in enumerate(itertools.islice(pairs, count + 1)):
        for side, episode in zip(("ours", "against"), pair, strict=True):
            forget(episode)
            for times in (cold, warm):
                again = episode.reopened()
                began = time.perf_counter()
                again.window(0.0, WINDOW_S)
                if number:  # the first only warms up
                    times[side].append(1e3 * (time.perf_counter() - began))
    return compared_times(warm), compared_times(cold)


def compared_times(times: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, and how many times as fast ours is."""
    medians = {side: statistics.median(each) for side, each in times.items()}
    ratio = round(medians["against"] / medians["ours"], 3)
    return {**{f"{side}_ms": round(each, 3) for side, each in medians.items()}, "ratio": ratio}


def forget(episode: Episode) -> None:
    """Have the kernel drop an episode's bytes; names and inodes stay known to it."""
    for path in Footprint.of(episode.path.parents[2], episode.id).files:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def floor(folder: Path, sizes: Sequence[int], count: int) -> tuple[float, float]:
    """Episodes a second, and milliseconds of CPU each, of a disk that is given what an episode has and no more."""
    contents = [np.random.default_rng(0).bytes(size) for size in sizes]
    folders = [folder / "data", folder / "records"]
    for each in folders:
        each.mkdir(parents=True)

    def put(number: int) -> None:
        for each, content in zip(folders, contents, strict=True):
            fd = os.open(each / str(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, content)
            os.fdatasync(fd)
            os.close(fd)

    with ThreadPoolExecutor(BATCH) as pool:
        list(pool.map(put, range(-BATCH, 0)))
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for first in range(0, count, BATCH):
            list(pool.map(put, range(first, first + BATCH)))
            for each in folders:
                fd = os.open(each, os.O_RDONLY | os.O_DIRECTORY)
                os.fsync(fd)
                os.close(fd)
        seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    shutil.rmtree(folder)
    return count / seconds, 1e3 * cpu_s / count


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3, against=f"a checkout of {LOOSE} (default: taken from this clone's history)")
