"""`ingest --ray` does what it is asked for beside: metrics and figures are the actor's, and systemd hears of it."""

import json
import socket
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sensorium.cli import ingest, metrics
from sensorium.hosting import on_ray

STATS = {"devices": {}, "sessions_open": 3, "committed": 7, "trouble": "the disk is full", "state": "up"}
STATS["commit_times"] = {"0.1": 1, "+Inf": 2, "sum": 5.5}


def test_metrics_and_figures_are_those_of_the_actor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = threading.Event()
    served: list[metrics.Metrics] = []
    found: dict[str, float] = {}

    class Actor:
        def __init__(self, *_: object, **__: object) -> None:
            self.asked = 0

        def last(self) -> dict[str, Any]:
            return {"stats": STATS if self.asked else {}}

        def status(self) -> dict[str, Any]:
            self.asked += 1
            if self.asked > 1:
                with urllib.request.urlopen(f"http://127.0.0.1:{served[0].port}", timeout=60) as answer:
                    text = answer.read().decode()
                for family in text_string_to_metric_families(text):
                    found.update({sample.name: sample.value for sample in family.samples})
                stop.set()
            return {"address": "tcp://127.0.0.1:9", "stats": STATS}

        def stop(self) -> None: ...

    def remembered(address: str, registry: Any) -> metrics.Metrics:
        assert address == "9"
        served.append(metrics.served("0", registry))
        return served[-1]

    monkeypatch.setattr(on_ray, "RayIngest", Actor)
    monkeypatch.setattr(on_ray, "start_ray", lambda **_: None)
    monkeypatch.setattr(on_ray, "end_ray", lambda **_: None)
    monkeypatch.setattr(ingest, "served", remembered)
    monkeypatch.setattr(ingest, "_handle_signals", lambda _: None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        ingest._under_ray(tmp_path, "tcp://127.0.0.1:0", None, False, 0, None, stop, 0.001, "9")
        assert [systemd.recv(99) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    assert found["sensorium_ingest_committed_total"] == 7
    assert (found["sensorium_ingest_sessions_open"], found["sensorium_ingest_store_trouble"]) == (3, 1)
    assert found["sensorium_ingest_commit_seconds_sum"] == 5.5
    ready, *figures = capsys.readouterr().out.splitlines()
    assert ready == "ready tcp://127.0.0.1:9"
    assert json.loads(figures[0])["committed"] == 7
