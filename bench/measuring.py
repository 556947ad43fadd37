"""How every benchmark is run and reported: options, a folder to work in, processes watched, one object at the end."""

import argparse
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from sensorium.link import keys
from sensorium.link.keys import Pair

DEVICE = "bench"
SAMPLE_S = 0.25
_GET_FLAGS, _SET_FLAGS, _TOP_FOLDER = 0x80086601, 0x40086602, 0x00020000
_INGEST = "from sensorium.cli.main import main; main()"


@dataclass(frozen=True)
class Options:
    """`quick`: as little as shows that it works. `runs`: repetitions. `folder`: scratch, on the disk to measure.
    `against`: a checkout of what ours is compared with, where a benchmark takes one."""

    quick: bool
    runs: int
    folder: Path
    against: Path | None = None


@dataclass(frozen=True)
class Comparison:
    """What one benchmark found. `ours` and `against` are medians in `unit`; `ratio` is above 1 where ours is better."""

    name: str
    ours: float
    against: float
    ratio: float
    unit: str
    runs: int
    detail: dict[str, Any] = field(default_factory=dict)


def compared(
    name: str, ours: Sequence[float], against: Sequence[float], unit: str, more_is_better: bool, detail: dict[str, Any]
) -> Comparison:
    """The comparison of interleaved runs by their medians."""
    first, second = statistics.median(ours), statistics.median(against)
    ratio = first / second if more_is_better else second / first
    every = {"ours_each": rounded(ours), "against_each": rounded(against)}
    return Comparison(
        name,
        round(first, 3),
        round(second, 3),
        round(ratio, 3),
        unit,
        len(ours),
        detail | (every if len(ours) < 20 else {}),
    )


def main(about: str, measure: Callable[[Options], Comparison], runs: int, against: str = "") -> None:
    """The command line of one benchmark: `--json` for one object, `--quick` for a smoke run; what `--against DIR` is,
    for one that has it."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a smoke run: the figures mean nothing")
    parser.add_argument("--runs", type=int, default=runs, help="repetitions (default %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work, on the disk to measure (default: TMPDIR)")
    if against:
        parser.add_argument("--against", type=Path, metavar="DIR", help=against)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sensorium-bench-", dir=arguments.folder))
    load = os.getloadavg()[0]  # of others, who share the cores and the disk
    try:
        found = measure(Options(arguments.quick, arguments.runs, folder, arguments.against if against else None))
    finally:
        shutil.rmtree(folder)
    found = replace(found, detail={"load_average_before": round(load, 2), **found.detail})
    if arguments.json:
        print(json.dumps(asdict(found)))
    else:
        print(
            f"{found.name}: {found.ours} against {found.against} {found.unit}, ratio {found.ratio}, {found.runs} runs"
        )
        print(json.dumps(found.detail, indent=2))


def apart(folder: Path) -> Path:
    """A new path in `folder`, which is made: what is put there has a group of inodes of its own.

    Of each file that is made ext4 without a journal looks at each that was removed from its folder's group in the last
    minutes, which may be thousands: 2 ms of CPU for a file. Folders in a top folder are put where there are few others,
    searched for from where their name says: one that was never used leads to a group where nobody was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder, os.O_RDONLY)
    try:
        flags = struct.unpack("<q", fcntl.ioctl(fd, _GET_FLAGS, bytes(8)))[0]
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("<q", flags | _TOP_FOLDER))
    except OSError:  # another file system, which has no such groups
        pass
    finally:
        os.close(fd)
    return folder / secrets.token_hex(4)


def rounded(values: Sequence[float]) -> list[float]:
    """For reading: four digits."""
    return [float(f"{value:.4g}") for value in values]


class Watched:
    """The CPU seconds of a process from here on, and its peak PSS in bytes, sampled four times a second.

    PSS is what a process has mapped, shared pages divided among those who share them; the page cache of files that
    are written and read, and not mapped, is not in it. Looking costs the process time too, so it is not done often.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._before_s = self._cpu_s()
        self._stop = threading.Event()
        self.cpu_s = 0.0
        self.peak_bytes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take the last figures; the process must still live."""
        self._stop.set()
        self._thread.join()
        self.cpu_s = self._cpu_s() - self._before_s

    def _run(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, self._process.memory_full_info().pss)
            if self._stop.wait(SAMPLE_S):
                return

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class Server:
    """An ingest in a process of its own, with what devices need to reach it; `device_pair` and `device_key` are those
    of the first one."""

    pid: int
    url: str
    server_key: str
    pairs: Mapping[str, Pair]
    device_key: Path

    @property
    def device_pair(self) -> Pair:
        return next(iter(self.pairs.values()))


@contextlib.contextmanager
def ingest_process(
    folder: Path, store: Path, devices: Sequence[str] = (DEVICE,), environ: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """`sensorium ingest` with CURVE on loopback, the devices enrolled; ended with SIGTERM. `environ`: another's."""
    keys.new(keys.INGEST, folder / "keys")
    secrets = {}
    for device in devices:
        public, secrets[device] = keys.new(device, folder / "devices")
        keys.allow(folder / "keys", public)
    listen = ("--listen", "tcp://127.0.0.1:0", "--keys", str(folder / "keys"))
    command = [sys.executable, "-c", _INGEST, "ingest", "--store", str(store), *listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("ready "):
                raise RuntimeError(f"the ingest did not start: {line!r}")
            server_key = keys.server_key(folder / "keys" / f"{keys.INGEST}.key")
            pairs = {device: keys.pair(secret) for device, secret in secrets.items()}
            yield Server(process.pid, line.split()[1], server_key, pairs, secrets[devices[0]])
        finally:
            process.terminate()
            process.wait(30)
