"""Opening the sensors of a device: all of them, in one clock, or none; and what is opened is closed, whatever fails."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.agents.sensors import open_sensors
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import Clock, ClockKind
from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError, SensoriumError, SensorLost


class Door:
    """A sensor of two numbers that says what is done to it."""

    def __init__(self, name: str, clock: ClockKind, done: list[str]) -> None:
        self.specs = (StreamSpec(name=name, modality="door", dtype="float64", shape=(2,)),)
        self.clock = Clock(kind=clock)
        self._name, self._done = name, done
        done.append(f"open {name}")

    def read(self, timeout_s: float) -> tuple[Block, ...] | None:
        self._done.append(f"read {self._name}")
        return None

    def close(self) -> None:
        if f"close {self._name}" not in self._done:
            self._done.append(f"close {self._name}")


class DoorConfig(DriverConfig):
    done: ClassVar[list[str]] = []
    kind: str = "door"
    clock: ClockKind = "simulated"
    broken: bool = False

    def open(self, name: str, base: Path) -> Driver:
        if self.broken:
            raise SensorLost(f"{name}: not there")
        return Door(name, self.clock, self.done)


@pytest.fixture
def done() -> list[str]:
    DoorConfig.done = []
    return DoorConfig.done


def device(tmp_path: Path, sensors: dict[str, DoorConfig], **parts: Any) -> Any:
    document = {
        "device": "rig",
        "spool": {"path": "spool"},
        "sensors": sensors,
        "trigger": {"kind": "interval", "length_s": 1},
        **parts,
    }
    return check_device(document, tmp_path)


def test_one_that_cannot_be_opened_closes_those_before_it(tmp_path: Path, done: list[str]) -> None:
    sensors = {"a": DoorConfig(), "b": DoorConfig(), "c": DoorConfig(broken=True), "d": DoorConfig()}
    with pytest.raises(SensorLost, match="c: not there"):
        open_sensors(device(tmp_path, sensors))
    assert done == ["open a", "open b", "close b", "close a"]


def test_clocks_that_differ_close_all(tmp_path: Path, done: list[str]) -> None:
    with pytest.raises(ConfigError, match="got a: simulated, b: recording; give each kind a device file of its own"):
        open_sensors(device(tmp_path, {"a": DoorConfig(), "b": DoorConfig(clock="recording")}))
    assert sorted(done) == ["close a", "close b", "open a", "open b"]


@pytest.mark.parametrize(("kind", "again"), [("boottime", True), ("simulated", True), ("recording", False)])
def test_a_recording_is_not_opened_again(tmp_path: Path, done: list[str], kind: ClockKind, again: bool) -> None:
    sensors = open_sensors(device(tmp_path, {"a": DoorConfig(clock=kind)}))
    assert (set(sensors.reopen) == {"a"}) == again
    assert sensors.live == (kind == "boottime")
    sensors.close()
    assert done == ["open a", "close a"]


NOT_YET_WRITTEN: list[dict[str, Any]] = [
    {"filters": {"b": [{"kind": "rate", "max_hz": 1}]}},
    {"trigger": {"kind": "motion", "stream": "b", "gyro_above": 1}},
]
WRITTEN: list[dict[str, Any]] = [
    {"encodings": {"b": {"codec": "jpeg"}}},
    {"ingest": {"url": "tcp://127.0.0.1:1", "key": "none.key_secret", "server_key": "none.key"}},
]


@pytest.mark.parametrize("wrong", NOT_YET_WRITTEN + WRITTEN, ids=lambda wrong: next(iter(wrong)))
def test_what_does_not_fit_is_said_before_a_sensor_is_read(
    tmp_path: Path, done: list[str], wrong: dict[str, Any]
) -> None:
    """Nor is a spool made for it, but where it takes one to find out; that one is let go."""
    agent = Agent(device(tmp_path, {"a": DoorConfig()}, **wrong))
    with pytest.raises(SensoriumError):
        agent.run()
    assert done == ["open a", "close a"]
    assert agent.status()["state"] == "failed"
    assert (tmp_path / "spool").exists() == (wrong in WRITTEN)
    Spool(tmp_path / "spool", "rig", wait_s=0.0).close()


def test_a_sensor_is_read_and_closed(tmp_path: Path, done: list[str]) -> None:
    assert Agent(device(tmp_path, {"a": DoorConfig()})).run()
    assert done == ["open a", "read a", "close a"]


def test_a_driver_that_raises_anything_when_it_is_opened_is_named(tmp_path: Path) -> None:
    class Broken(DriverConfig):
        kind: str = "broken"

        def open(self, name: str, base: Path) -> Driver:
            raise TypeError("Extra positional arguments provided")

    device = DeviceFile.model_construct(sensors={"imu": Broken()}, base=tmp_path)
    with pytest.raises(SensoriumError, match="sensor 'imu' cannot be opened: TypeError: Extra positional"):
        open_sensors(device)
