"""A driver: the temperature that Linux states in a file, such as /sys/class/thermal/thermal_zone0/temp."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from sensorium.extend import Block, DriverConfig, SensorLost, StreamSpec, boottime_ns, live_clock


class ThermometerConfig(DriverConfig):
    """`{kind: thermometer, path: /sys/class/thermal/thermal_zone0/temp, rate_hz: 10}`; the file holds millidegrees."""

    kind: Literal["thermometer"] = "thermometer"
    path: Path
    rate_hz: float = Field(default=10.0, gt=0, le=1000)

    def open(self, name: str, base: Path) -> "Thermometer":
        return Thermometer(name, base / self.path, self.rate_hz)


class Thermometer:
    """One sample a read; a read takes its timeout or one period, whichever is shorter."""

    def __init__(self, name: str, path: Path, rate_hz: float) -> None:
        self.specs = (
            StreamSpec(
                name=name, modality="temperature", dtype="float64", shape=(1,), channels=("celsius",), unit="°C",
                rate_hz=rate_hz, stamps_from="arrival",
            ),
        )  # fmt: skip
        self.clock = live_clock()
        self._name, self._path, self._period_ns = name, path, round(1e9 / rate_hz)
        self._closed = threading.Event()
        self._celsius()  # a sensor that is not there is said at once
        self._due_ns = boottime_ns()

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        wait_s = (self._due_ns - boottime_ns()) / 1e9
        if self._closed.wait(min(max(wait_s, 0.0), timeout_s)):
            return None
        if boottime_ns() < self._due_ns:
            return ()
        captured_ns, celsius = boottime_ns(), self._celsius()
        missed = (captured_ns - self._due_ns) // self._period_ns  # nobody read in time: what is lost is counted
        self._due_ns += (missed + 1) * self._period_ns
        return [Block(self.specs[0].name, np.array([captured_ns]), np.array([[celsius]]), missed)]

    def close(self) -> None:
        self._closed.set()

    def _celsius(self) -> float:
        try:
            return int(self._path.read_text()) / 1000
        except (OSError, ValueError) as error:
            raise SensorLost(f"{self._name}: {self._path} does not state a temperature: {error}") from error
