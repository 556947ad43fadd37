"""The agent with live sensors and a disk that fills: whom it waits for, who comes back, and what must stay free."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.checking import check
from sensorium.agents.device_file import check_device
from sensorium.drivers.clock import Clock, boottime_ns, live_clock
from sensorium.drivers.driver import Driver, DriverConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.episode.documents import Seal
from sensorium.errors import SensoriumError, SensorLost
from tests.agents.building import records
from tests.spine.commands import sim, wait_for


class Gauge:
    """A live sensor of 100 Hz that delivers `samples`, and then is silent, is lost, or has ended."""

    def __init__(self, name: str, samples: int, then: str) -> None:
        self.specs = (StreamSpec(name=name, modality="imu", dtype="float64", shape=(3,)),)
        self.clock: Clock = live_clock()
        self._left, self._then = samples, then
        self._closed = threading.Event()

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        if self._closed.wait(0.01):
            return None
        if self._left:
            self._left -= 1
            return [Block(self.specs[0].name, np.array([boottime_ns()], np.int64), np.zeros((1, 3)))]
        if self._then == "lost":
            raise SensorLost("unplugged")
        return None if self._then == "ended" else ()

    def close(self) -> None:
        self._closed.set()


class GaugeConfig(DriverConfig):
    """What it does each time that it is opened."""

    kind: str = "gauge"
    lives: list[tuple[int, str]]

    def open(self, name: str, base: Path) -> Driver:
        return Gauge(name, *self.lives.pop(0))


def live_device(tmp_path: Path, **sensors: list[tuple[int, str]]) -> dict[str, Any]:
    return {
        "device": "rig",
        "spool": {"path": "spool"},
        "sensors": {name: GaugeConfig(lives=lives) for name, lives in sensors.items()},
        "trigger": {"kind": "interval", "length_s": 0.5},
    }


def seals(tmp_path: Path) -> list[Seal]:
    found = []
    for path in sorted((tmp_path / "spool" / "episodes").glob("*.episode")):
        closing = records(path, UUID(path.stem.partition("-")[2]))[-1].header
        assert isinstance(closing, Seal)
        found.append(closing)
    return found


def test_a_silent_sensor_is_waited_for_no_longer_than_a_second(tmp_path: Path) -> None:
    """Then its episode is complete without it; else all later ones would stay open until the agent stops."""
    document = live_device(tmp_path, steady=[(1000, "silent")], quiet=[(20, "silent")])
    agent = Agent(check_device(document, tmp_path), seconds=2.5)
    agent.run()
    last_with_it = [seal for seal in seals(tmp_path) if seal.rows["quiet"]][-1]
    assert last_with_it.reason == "complete"
    assert agent.status()["streams"]["quiet"].stored == 20


def test_a_disk_that_stalls_makes_nothing_late(tmp_path: Path) -> None:
    """The ledger cannot be written for longer than an episode and its grace; sensors are read on, and time waits."""
    document = live_device(tmp_path, imu=[(10_000, "silent")])
    document["trigger"]["length_s"] = 1.0
    agent = Agent(check_device(document, tmp_path))
    running = threading.Thread(target=agent.run)
    running.start()
    try:
        wait_for(lambda: agent.status()["episodes"] >= 2, "a second episode")
        with contextlib.closing(sqlite3.connect(tmp_path / "spool" / "ledger.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            before = agent.status()["streams"]["imu"].captured
            time.sleep(3.0)
            other.execute("ROLLBACK")
        wait_for(lambda: agent.status()["streams"]["imu"].captured > before + 100, "it to be read meanwhile")
    finally:
        agent.stop()
        running.join()
    account = agent.status()["streams"]["imu"]
    assert account.lost == {}
    assert account.captured == account.stored


def test_a_lost_sensor_that_comes_back_is_recorded_again(tmp_path: Path) -> None:
    lives = [(5, "lost"), (6, "lost"), (7, "ended")]
    agent = Agent(check_device(live_device(tmp_path, imu=lives), tmp_path))
    with contextlib.suppress(SensoriumError):  # that it was lost for good; then the counts say so
        agent.run()
    account = agent.status()["streams"]["imu"]
    assert account.stored == 5 + 6 + 7
    assert agent.status()["state"] == "done"
    assert sum(seal.rows["imu"] for seal in seals(tmp_path)) == 18


def test_the_free_floor_of_the_device_file_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is captured below it, `status` says so, and capture goes on when there is room again."""
    floor, block = 3 * 10**9, 4096
    disk = SimpleNamespace(f_bavail=floor // block, f_bfree=0, f_blocks=10 * floor, f_frsize=block)  # just at it
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    document = {
        "device": "rig",
        "spool": {"path": "spool", "min_free_bytes": "3GB"},
        "sensors": {"sim": sim(duration_s=2)},
        "trigger": {"kind": "interval", "length_s": 1},
    }
    agent = Agent(check_device(document, tmp_path))
    running = threading.Thread(target=agent.run)
    running.start()
    try:
        wait_for(lambda: agent.status()["state"] in ("full", "done", "failed"), "the disk to be full")
        status = agent.status()
        assert status["state"] == "full"
        assert "lower spool.min_free_bytes" in status["error"]
        assert (status["episodes"], status["spool_bytes"]) == (0, 0)
        disk.f_bavail *= 10
        running.join(30.0)
    finally:
        agent.abandon()
        running.join()
    streams = agent.status()["streams"]
    assert agent.status()["state"] == "done"
    assert {name: account.stored for name, account in streams.items()} == {"sim.cam": 40, "sim.imu": 200}


@pytest.mark.parametrize("live", [True, False], ids=["live", "replay"])
def test_one_that_ends_without_room_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool) -> None:
    """What must stay free is less than the disk has, and more than is free now; `--check` says so too."""
    disk = SimpleNamespace(f_bavail=10**6, f_bfree=10**6, f_blocks=10**7, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    document = live_device(tmp_path, imu=[(10**6, "silent")])
    document["spool"]["min_free_bytes"] = "5GB"
    if not live:
        document["sensors"] = {"sim": sim(duration_s=2)}
    device = check_device(document, tmp_path)
    agent = Agent(device)

    def stop() -> None:
        wait_for(lambda: agent.status()["state"] == "full", "the disk to be full")
        agent.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(SensoriumError, match=r"nothing more was recorded: .*4096000000 bytes free .*lower spool\."):
        agent.run()
    stopping.join()
    assert (agent.status()["state"], agent.status()["episodes"]) == ("failed", 0)
    assert not seals(tmp_path)


def test_a_spool_without_room_is_told_by_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SimpleNamespace(f_bavail=10**6, f_bfree=10**6, f_blocks=10**7, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    waiting = tmp_path / "spool" / "episodes" / "1.episode"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(b"")
    os.truncate(waiting, 20 << 20)

    def advice(**spool: Any) -> str:
        document = {
            "device": "rig",
            "spool": {"path": "spool", **spool},
            "sensors": {"sim": sim(duration_s=2)},
            "trigger": {"kind": "interval", "length_s": 1},
        }
        return " ".join(check(check_device(document, tmp_path)).advice)

    assert advice() == advice(min_free_bytes="4GB") == advice(max_bytes="16MiB", when_full="evict") == ""
    assert "5000000000 bytes must stay free, and 4096000000 are free" in advice(min_free_bytes="5GB")
    assert "so that nothing is recorded; make room" in advice(min_free_bytes="5GB", when_full="evict")
    assert advice(min_free_bytes="4.1GB", when_full="evict") == "", "what waits gives way"
    assert "spool.max_bytes: 20971520 of 16777216 bytes are used" in advice(max_bytes="16MiB")
