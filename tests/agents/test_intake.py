"""The intake: a sensor that was lost is opened again, and is taken back if its streams are the same."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from sensorium.agents.intake import Intake
from sensorium.drivers.clock import Clock, live_clock
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import SensorLost


class Plugged:
    """A sensor that delivers one sample, and is then gone (`lost`) or silent."""

    def __init__(self, spec: StreamSpec, lost: bool) -> None:
        self.specs = (spec,)
        self.clock: Clock = live_clock()
        self.closed = threading.Event()
        self._lost = lost
        self._delivered = False

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if not self._delivered:
            self._delivered = True
            return [Block("imu", np.zeros(1, np.int64), np.zeros((1, *self.specs[0].shape)))]
        if self._lost:
            raise SensorLost("unplugged")
        return None if self.closed.wait(timeout_s) else ()

    def close(self) -> None:
        self.closed.set()


def spec(rate_hz: float | None, axes: int = 3) -> StreamSpec:
    return StreamSpec(name="imu", modality="imu", dtype="float64", shape=(axes,), rate_hz=rate_hz)


def changes(first: StreamSpec, second: StreamSpec) -> list[str]:
    """What the intake says of a sensor that is lost and comes back as `second`."""
    drivers = [Plugged(first, lost=True), Plugged(second, lost=False)]
    intake = Intake({"imu": drivers[0]}, {"imu": lambda: drivers[1]}, live=True)
    intake.start()
    said: list[str] = []
    try:
        while said[-1:] not in (["ended"], ["block after back"]):
            arrival = intake.take(10.0)
            assert arrival is not None, f"nothing came after {said}"
            if arrival.change:
                said.append(arrival.change)
            elif "back" in said:
                said.append("block after back")
    finally:
        intake.stop()
    assert all(driver.closed.is_set() for driver in drivers)
    return said


@pytest.mark.parametrize("measured_hz", [100.0, 99.7, None])
def test_a_sensor_comes_back_whatever_rate_was_measured(measured_hz: float | None) -> None:
    assert changes(spec(100.0), spec(measured_hz)) == ["lost", "back", "block after back"]


def test_a_sensor_that_comes_back_as_another_is_refused() -> None:
    assert changes(spec(100.0), spec(100.0, axes=4)) == ["lost", "ended"]
