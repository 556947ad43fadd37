"""The conformance suite itself: each promise that a driver breaks fails the test that holds it."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.drivers.testing import DriverTests
from sensorium.errors import SensorLost


class Good:
    """Twenty rows, one a read, then a sensor that is gone or an end; faults are switched on by name."""

    def __init__(self, fault: str, lost: bool = False) -> None:
        self.fault, self.lost = fault, lost
        self.specs: tuple[StreamSpec, ...] = (
            StreamSpec(name="dut" if fault != "name" else "other", modality="t", dtype="float64", shape=(1,)),
        )
        self.clock = Clock(kind="recording")
        self._row = 0
        self.ended = False
        self._buffer = np.zeros((1, 1))
        self._closed = threading.Event()
        self._file = Path("/dev/null").open() if fault == "descriptor" else None  # noqa: SIM115 (leaked on purpose)
        if fault == "thread":
            threading.Thread(target=time.sleep, args=(1.0,), daemon=True).start()

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if self.fault == "deaf" and self._row == 1:
            time.sleep(1.0)
        if self.lost:
            if self.fault == "silent":
                return ()
            raise SensorLost("dut: unplugged")
        if self._row == 20 or self._closed.is_set():
            ended_before, self.ended = self.ended, True
            return () if self.fault == "returns" and ended_before else None
        if self.fault == "specs":
            self.specs = (self.specs[0],) * 2
        self._row += 1
        stamp = -self._row if self.fault == "back" else self._row
        self._buffer[:] = self._row
        data = self._buffer if self.fault == "reuse" else self._buffer.copy()
        if self.fault == "dtype":
            data = data.astype(np.float32)
        if self.fault == "stranger":
            return (Block("stranger", np.array([stamp]), data),)
        lost_before = 1 if self.fault == "counts" and self._row == 3 else 0
        if self.fault == "swallows" and self._row == 3:
            return ()
        return (Block("dut", np.array([stamp], np.int64), data, lost_before),)

    def close(self) -> None:
        if self.fault == "once" and self._closed.is_set():
            raise OSError("closed already")
        self._closed.set()


class Suite(DriverTests):
    """Not collected as such (its name does not start with Test); driven below."""

    bound_s = 0.3
    expected_rows = {"dut": 20}
    expected_lost = {}
    fault = ""

    def open_driver(self, tmp_path: Path) -> Good:
        return Good(self.fault)

    def lose(self, driver: Any) -> None:
        driver.lost = True


CHECKS = [name for name in dir(Suite) if name.startswith("test_")]


def run(fault: str, check: str, tmp_path: Path) -> None:
    suite = Suite()
    suite.fault = fault
    getattr(suite, check)(tmp_path)


@pytest.mark.parametrize("check", sorted(set(CHECKS) - {"test_configuration_survives_a_round_trip"}))
def test_a_good_driver_passes(check: str, tmp_path: Path) -> None:
    run("", check, tmp_path)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("name", "test_specs"),
        ("specs", "test_specs"),
        ("back", "test_blocks"),
        ("dtype", "test_blocks"),
        ("reuse", "test_blocks"),
        ("stranger", "test_blocks"),
        ("counts", "test_every_sample_is_delivered_or_counted"),
        ("swallows", "test_every_sample_is_delivered_or_counted"),
        ("returns", "test_an_end_is_an_end"),
        ("once", "test_close_twice"),
        ("deaf", "test_close_ends_a_read_that_waits"),
        ("thread", "test_nothing_leaks"),
        ("silent", "test_a_lost_sensor_is_noticed"),
    ],
)
def test_a_broken_promise_fails_its_test(fault: str, check: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ValueError, OSError, pytest.fail.Exception)):
        run(fault, check, tmp_path)


def test_a_descriptor_left_open_fails(tmp_path: Path) -> None:
    kept = []

    class Keeps(Suite):
        def open_driver(self, tmp_path: Path) -> Good:
            kept.append(Good("descriptor"))
            return kept[-1]

    try:
        with pytest.raises(AssertionError, match="descriptors left"):
            Keeps().test_nothing_leaks(tmp_path)
    finally:
        for driver in kept:
            assert driver._file is not None
            driver._file.close()
