"""A package with a sensor that does as it is told, found by its entry point as any other's is.

It must not import from the tests: it runs in the commands.
"""

import builtins
import ctypes
import itertools
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.stream import Block, StreamSpec

ENTRY_POINTS = "[sensorium.drivers]\nodd = odd_sensor:OddConfig\n"
METADATA = "Metadata-Version: 2.1\nName: odd-sensor\nVersion: 1.0\n"


class OddConfig(DriverConfig):
    """`lives` says what each opening does, the last one also what every later one does: how many samples to deliver,
    and what then. A life that begins with `open:` never opens. The words:

    `raise:NAME` a builtin exception, `hang` in a call of C, `sleep` in Python, `end`, `quiet` for ever, `die`.
    """

    kind: Literal["odd"]
    lives: list[list[int | str]] = [["quiet"]]
    clock: Literal["boottime", "recording", "simulated"] = "boottime"
    streams: list[str] = []
    hangs_in_close: bool = False
    hangs_in_pool: bool = False
    opened: ClassVar[dict[str, int]] = {}

    def open(self, name: str, base: Path) -> "OddSensor":
        number = self.opened.get(name, 0)
        self.opened[name] = number + 1
        life = self.lives[min(number, len(self.lives) - 1)]
        if str(life[0]).startswith("open:"):
            print(f"{name} is being opened", file=sys.stderr, flush=True)
            act(str(life[0]).removeprefix("open:"))
        return OddSensor(name, life, self)


def act(word: str) -> Any:
    """Do what ends a life."""
    kind, _, what = word.partition(":")
    match kind:
        case "raise":
            errors: dict[str, Any] = vars(builtins)
            raise errors[what]("injected")
        case "hang":
            ctypes.CDLL(None).pause()
        case "sleep":
            time.sleep(3600)
        case "die":
            ctypes.CDLL(None)._exit(9)


class OddSensor:
    """100 Hz, of three numbers."""

    def __init__(self, name: str, life: list[int | str], config: OddConfig) -> None:
        names = [f"{name}.{stream}" for stream in config.streams] or [name]
        self.specs = tuple(
            StreamSpec(
                name=each, modality="test", dtype="float64", shape=(3,), rate_hz=100.0, channels=("gx", "gy", "gz")
            )
            for each in names
        )
        self.clock: Clock = live_clock() if config.clock == "boottime" else Clock(kind=config.clock)
        self._words = iter([word for each in life for word in (["one"] * each if isinstance(each, int) else [each])])
        self._sent = itertools.count()
        self._hangs = config.hangs_in_close
        self._closed = threading.Event()
        if config.hangs_in_pool:
            ThreadPoolExecutor().submit(act, "hang")

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        """Ten milliseconds, or as the word says."""
        live = self.clock.kind == "boottime"
        if live and self._closed.wait(0.01):
            return None
        match next(self._words, "end"):
            case "one":
                stamp = boottime_ns() if live else next(self._sent) * 10_000_000
                return [Block(spec.name, np.array([stamp], np.int64), np.zeros((1, 3))) for spec in self.specs]
            case "end":
                return None
            case "quiet":
                self._closed.wait()
                return None
            case word:
                act(word)
        return ()

    def close(self) -> None:
        """End what waits."""
        if self._hangs:
            act("hang")
        self._closed.set()


def install(folder: Path) -> Path:
    """A folder that, on PYTHONPATH, holds the package as if it were installed."""
    made = folder / "packages"
    info = made / "odd_sensor-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (made / "odd_sensor.py").write_text(Path(__file__).read_text())
    return made
