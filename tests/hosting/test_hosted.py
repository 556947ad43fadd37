"""A told end has a bound: the first one that passes counts, and before anything was told there is none."""

import threading
import time
from pathlib import Path

import pytest

from sensorium.agents.agent import Agent
from sensorium.agents.collecting import Collecting
from sensorium.agents.device_file import check_device
from sensorium.errors import SensoriumError
from sensorium.hosting import local
from sensorium.hosting.hosted import StopBound
from sensorium.hosting.local import LocalAgent

DOCUMENT = {
    "device": "rig",
    "spool": {"path": "spool"},
    "sensors": {"sim": {"kind": "sim-planar", "pace": "fast", "duration_s": 1, "size": [64, 48]}},
    "trigger": {"kind": "interval", "length_s": 1},
}


def test_the_nearest_bound_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    bound = StopBound("the agent")
    bound.check()
    bound.set(105.0)
    now_s[0] += 50.0
    bound.set(45.0)
    bound.set(3600.0)
    now_s[0] += 44.0
    bound.check()
    now_s[0] += 2.0
    with pytest.raises(SensoriumError, match=r"the agent did not end within 45 s of being told to, .* what is on disk"):
        bound.check()


def test_what_each_way_to_end_an_agent_may_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    monkeypatch.setattr(StopBound, "set", lambda _, bound_s: given.append(bound_s))
    monkeypatch.setattr(Agent, "run", lambda _: True)
    host = LocalAgent(check_device(DOCUMENT, tmp_path), drain_s=5.0)
    host.stop()
    host.stop(4.0)
    host.abandon()
    assert given == [50.0, 4.5, 45.0]


def test_an_agent_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung, released = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hung.set()
        released.wait()

    monkeypatch.setattr(local, "STOP_S", 0.1)
    monkeypatch.setattr(Collecting, "step", hang)
    host = LocalAgent(check_device(DOCUMENT, tmp_path), drain_s=0.1)
    try:
        assert hung.wait(30.0)
        assert host.status()["alive"]
        host.stop()
        released.wait(0.5)
        with pytest.raises(SensoriumError, match="the agent did not end within 0 s of being told to"):
            host.status()
    finally:
        released.set()
        assert host._thread.join()
    assert not host.status()["alive"]
