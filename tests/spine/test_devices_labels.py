"""What a source says of an episode, when it begins and at its end, is in the store with it."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import check_device
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery, DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.ingest.server import Ingest
from sensorium.ingest.store import Store
from tests.spine.commands import wait_for

SECOND = 10**9
_asked = threading.Event()


class Asked(DriverConfig):
    """A source of two episodes, the second of which comes when it is asked for; a stream of it is silent."""

    kind: str = "sim-asked"
    passed: bool = True

    def open(self, name: str, base: Path) -> "AskedDriver":
        return AskedDriver(name, self.passed)


class AskedDriver:
    def __init__(self, name: str, passed: bool) -> None:
        self.clock = Clock(kind="simulated")
        self.specs = tuple(
            StreamSpec(name=f"{name}.{stream}", modality="x", dtype="float64", shape=(1,)) for stream in ("a", "silent")
        )
        self._left = [self._episode(1, passed), self._episode(2, passed)]

    def _episode(self, number: int, passed: bool) -> list[Delivery]:
        begin = number * 10 * SECOND
        block = Block(self.specs[0].name, np.array([begin, begin + SECOND]), np.zeros((2, 1)))
        labels: dict[str, Any] = {"task": "reach", "seed": number}
        end = EpisodeEnd(begin + SECOND + 1, "terminated", {"reward": number / 2}, passed=passed)
        return [EpisodeBegin(begin, labels), block, end]

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        if len(self._left) == 1 and not _asked.wait(timeout_s):
            return ()
        return self._left.pop(0) if self._left else None

    def close(self) -> None:
        _asked.set()


@pytest.fixture(autouse=True)
def _nobody_asks() -> None:
    _asked.clear()


def test_an_episode_that_its_source_has_passed_is_delivered_at_once(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        ingest = Ingest(store, "tcp://127.0.0.1:0")
        ingest.start()
        document = {
            "device": "rig",
            "ingest": {"url": ingest.address},
            "sensors": {"world": Asked()},
            "trigger": {"kind": "source", "sensor": "world"},
        }
        agent = Agent(check_device(document, tmp_path))
        running = threading.Thread(target=agent.run)
        running.start()
        corpus = sensorium.open(tmp_path / "store")
        try:
            wait_for(lambda: len(corpus.query()) == 1, "the first while the second is not even begun")
        finally:
            _asked.set()
            running.join(30)
        first, second = corpus.query(order_by="start_ns")
        ingest.stop()
    assert first.labels == {"task": "reach", "seed": 1, "reward": 0.5}
    assert second.labels == {"task": "reach", "seed": 2, "reward": 1.0}
    assert (first.outcome, first.attributes["reason"], first.duration_s) == ("terminated", "complete", 1.000000001)
    assert first.attributes["labels"] == {"task": "reach", "seed": 1}
    (trigger,) = first.attributes["notes"]
    assert trigger["value"] == {"event": "source", "outcome": "terminated", "labels": first.labels}
    assert first.as_dict()["labels"] == first.labels
    assert len(first.streams["world.a"].captured_ns) == 2

    (tmp_path / "store" / CATALOG).unlink()
    Store.open(tmp_path / "store").close()
    again = sensorium.open(tmp_path / "store").query(order_by="start_ns")
    assert [(each.labels, each.outcome) for each in again] == [(each.labels, each.outcome) for each in (first, second)]


def test_without_it_a_silent_stream_is_waited_for(tmp_path: Path) -> None:
    document = {
        "device": "rig",
        "sensors": {"world": Asked(passed=False)},
        "trigger": {"kind": "source", "sensor": "world"},
    }
    agent = Agent(check_device(document, tmp_path))
    running = threading.Thread(target=agent.run)
    running.start()
    try:
        wait_for(lambda: agent.status()["episodes"] == 1, "the first is begun")
        assert agent.status()["ordinals"]["pending"] == 0 or not agent.status()["streams"]["world.a"].stored
    finally:
        _asked.set()
        running.join(30)
    assert agent.status()["episodes"] == 2
