"""Delivery from 64 devices at once, against one device with the same episodes: what all get, and how evenly.

All are connected before any may offer what it has: how even a server is shows only among those that it knows.
"""

import multiprocessing
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

from delivery import fill
from measuring import Comparison, Options, Server, Watched, compared, ingest_process, main, rounded

from sensorium.agents.spool.held import Waiting
from sensorium.agents.spool.spool import Spool
from sensorium.agents.uplink.uplink import Uplink

DEVICES = 64
PROCESSES = 4
EPISODES = 8  # of each device
FRAMES = 3  # of noise: 2.8 MB an episode, 1.4 GB in all
LIMIT_S = 240
LOOK_S = 0.05
"""Every 5 ms it costs a sixth of the CPU that the devices have."""


def measure(options: Options) -> Comparison:
    """Megabytes of episode files a second, from the word to begin to the last COMMITTED."""
    count, episodes, frames = (8, 2, 1) if options.quick else (DEVICES, EPISODES, FRAMES)
    names = [f"device-{number:02}" for number in range(count)]
    many, one, shares, peaks = [], [], [], []
    for run in range(options.runs):
        for alone in (False, True) if run % 2 else (True, False):
            folder = options.folder / f"{run}-{alone}"
            devices, each = (names[:1], count * episodes) if alone else (names, episodes)
            total = sum(
                file.stat().st_size for name in devices for file in fill(folder / "spools" / name, each, frames, name)
            )
            with ingest_process(folder, folder / "store", devices) as server:
                seconds, at_first, peak = deliver(folder / "spools", server, devices, each)
            shutil.rmtree(folder)
            if alone:
                one.append(total / 1e6 / seconds)
            else:
                many.append(total / 1e6 / seconds)
                shares.append(jain(at_first))
                peaks.append(peak)
    detail = {
        "devices": count,
        "episodes_each": episodes,
        "jain_when_the_first_is_done": rounded(shares),
        "server_peak_pss_mb": rounded([peak / 1e6 for peak in peaks]),
        "against": "one device that has all of the episodes",
    }
    return compared("many_devices", many, one, "MB/s", True, detail)


def jain(values: Sequence[float]) -> float:
    """1 where all have as much, 1/n where one has all.

    >>> jain([3, 3]), jain([4, 0])
    (1.0, 0.5)
    """
    squares = len(values) * sum(value * value for value in values)
    return sum(values) ** 2 / squares if squares else 0.0


def deliver(spools: Path, server: Server, devices: Sequence[str], each: int) -> tuple[float, list[float], int]:
    """Seconds until all is committed, how many episodes of each device were when the first had all, the server's peak
    PSS in bytes."""
    spawn = multiprocessing.get_context("spawn")
    committed = spawn.Array("l", len(devices), lock=False)
    processes, pipes = [], []
    try:
        for part in range(min(PROCESSES, len(devices))):
            here, there = spawn.Pipe()
            numbers = range(part, len(devices), PROCESSES)
            process = spawn.Process(target=uplinks, args=(there, spools, server, devices, numbers, committed))
            process.start()
            processes.append(process)
            pipes.append(here)
        for pipe in pipes:
            if not pipe.poll(LIMIT_S):
                raise TimeoutError("the uplinks do not connect")
            pipe.recv()
        watched = Watched(server.pid)
        began_s = time.perf_counter()
        for pipe in pipes:
            pipe.send("go")
        at_first: list[float] = []
        while min(committed) < each:
            if not at_first and max(committed) == each:
                at_first = [float(value) for value in committed]
            if time.perf_counter() - began_s > LIMIT_S:
                raise TimeoutError(f"committed so far: {list(committed)}")
            time.sleep(LOOK_S)
        seconds = time.perf_counter() - began_s
        watched.stop()
        for pipe in pipes:
            pipe.send("end")
        for process in processes:
            process.join(60)
    finally:
        for process in processes:
            process.kill()
    return seconds, at_first or [float(each)] * len(devices), watched.peak_bytes


class HeldBack(Spool):
    """A spool that says nothing of what it has until it is to."""

    is_open = False

    def waiting(self, limit: int | None = None, of: str | None = None) -> list[Waiting]:
        """What may be sent."""
        return super().waiting(limit, of) if self.is_open else []

    def open(self) -> None:
        """What it has may be sent now."""
        self.is_open = True
        self._tell()


def uplinks(
    pipe: Connection, spools: Path, server: Server, devices: Sequence[str], numbers: range, committed: list[int]
) -> None:
    """Some of the devices: connect, deliver at the word, and enter in `committed` how many episodes of each are."""
    with ExitStack() as stack:
        made = {}
        held_back = []
        for number in numbers:
            spool = HeldBack(spools / devices[number], devices[number])
            stack.callback(spool.close)
            held_back.append(spool)
            made[number] = Uplink(spool, server.url, server.server_key, server.pairs[devices[number]])
            stack.callback(made[number].stop)
            made[number].start()
        while any(uplink.stats()["state"] != "up" for uplink in made.values()):
            time.sleep(LOOK_S)
        pipe.send("connected")
        pipe.recv()
        for spool in held_back:
            spool.open()
        while not pipe.poll(LOOK_S):
            for number, uplink in made.items():
                committed[number] = uplink.stats()["committed"]


if __name__ == "__main__":
    main(__doc__ or "", measure, runs=3)
