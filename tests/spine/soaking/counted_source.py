"""A sensor whose every sample follows from its stamp, and which notes each stamp that it delivers in a file.

So whoever reads a store can say of each sample whether it was delivered, and what it must be. It stands apart: the
commands find it as they find any installed package, by the entry point that `installed` writes.
"""

import os
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sensorium.extend import Block, DriverConfig, StreamSpec, boottime_ns, live_clock

RATES_HZ = (30, 200, 1)
SHAPES = ((48, 64), (6,), (1,))
BEHIND_NS = 500_000_000
OPENED = 255
"""In the place of a stream's number: the sensor was opened at this stamp."""


class CountedConfig(DriverConfig):
    """`{kind: counted, log: FILE}`: NAME.cam at 30 Hz, NAME.imu at 200 Hz, NAME.slow at 1 Hz."""

    kind: Literal["counted"] = "counted"
    log: Path

    def open(self, name: str, base: Path) -> "Counted":
        return Counted(name, base / self.log)


class Counted:
    """Stamps are the multiples of each stream's period. What nobody read for half a second was never there."""

    def __init__(self, name: str, log: Path) -> None:
        self.specs = tuple(
            StreamSpec(name=f"{name}.{part}", modality=modality, dtype=dtype, shape=shape, rate_hz=rate_hz)
            for part, modality, dtype, shape, rate_hz in zip(
                ("cam", "imu", "slow"), ("camera", "imu", "count"), ("uint8", "int64", "int64"), SHAPES, RATES_HZ,
                strict=True,
            )
        )  # fmt: skip
        self.clock = live_clock()
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        self._closed = threading.Event()
        self._periods = [1_000_000_000 // rate_hz for rate_hz in RATES_HZ]
        now_ns = boottime_ns()
        self._due = [now_ns // period_ns + 1 for period_ns in self._periods]
        os.write(self._log, struct.pack("<Bq", OPENED, now_ns))

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if self._closed.wait(min(timeout_s, 0.02)):
            return None
        now_ns, blocks, noted = boottime_ns(), [], b""
        for number, period_ns in enumerate(self._periods):
            first = max(self._due[number], (now_ns - BEHIND_NS) // period_ns)
            stamps = np.arange(first, now_ns // period_ns + 1, dtype=np.int64) * period_ns
            if len(stamps):
                self._due[number] = now_ns // period_ns + 1
                noted += b"".join(struct.pack("<Bq", number, stamp) for stamp in stamps.tolist())
                blocks.append(Block(self.specs[number].name, stamps, _samples(self.specs[number], stamps)))
        os.write(self._log, noted)  # one call: a kill leaves all of it or nothing
        return blocks

    def close(self) -> None:
        self._closed.set()


def _samples(spec: StreamSpec, stamps: np.typing.NDArray[np.int64]) -> np.typing.NDArray[np.int64 | np.uint8]:
    places = np.arange(1, int(np.prod(spec.shape)) + 1)
    return (stamps[:, None] // 1000 * places % 65_521).astype(spec.dtype).reshape(len(stamps), *spec.shape)


def installed(folder: Path) -> dict[str, str]:
    """Install it into a new folder; the environment of commands that are to find it."""
    about = folder / "counted_source-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "counted_source.py").write_bytes(Path(__file__).read_bytes())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: counted-source\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[sensorium.drivers]\ncounted = counted_source:CountedConfig\n")
    return {"PYTHONPATH": str(folder)}
