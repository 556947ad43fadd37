"""The live view: whoever looks, and however slowly, or no more, what is captured goes on as if nobody did."""

import functools
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensorium.agents import agent as agents_agent
from sensorium.agents.agent import Agent
from sensorium.agents.capture import live_view
from sensorium.agents.capture.live_view import MOST_WAITING_BYTES, LiveView
from sensorium.agents.device_file import check_device
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

CAMERA = StreamSpec(name="cam", modality="camera", dtype="uint8", shape=(480, 640, 3), color_order="BGR")
IMU = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(3,), channels=("x", "y", "z"))
DEAF = (sys.executable, "-c", "import time; time.sleep(600)")
GONE = (sys.executable, "-c", "")
READER = """
import json, sys
import msgspec, numpy as np
from sensorium.agents.capture.live_view_process import _read
found = []
while (block := _read(sys.stdin.buffer)) is not None:
    spec = msgspec.msgpack.decode(block.spec)
    found.append([spec["name"], np.frombuffer(block.stamps, "<i8").tolist(), block.media_type, len(block.data)])
open(sys.argv[1], "w").write(json.dumps(found))
"""


def frames(first: int, n: int = 1) -> Block:
    stamps = (first + np.arange(n, dtype=np.int64)) * 33_000_000
    return Block("cam", stamps, np.zeros((n, 480, 640, 3), np.uint8))


def rows(first: int, n: int = 5) -> Block:
    return Block("imu", (first + np.arange(n, dtype=np.int64)) * 5_000_000, np.ones((n, 3)))


def test_a_process_that_reads_has_every_sample(tmp_path: Path) -> None:
    view = LiveView(str(tmp_path / "found"), "rig", [IMU], (sys.executable, "-c", READER))
    view.join([CAMERA])
    view.see(rows(0))
    view.see(frames(0))
    view.see(Block("cam", np.array([7], np.int64), Media(JPEG, [b"12345"])))
    view.see(Block("imu", np.zeros(0, np.int64), np.zeros((0, 3))))
    while view._waiting:
        view.refresh("collecting")
    process = view._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    process.wait(100)  # longer than `close` would wait, on a machine that is busy
    found = json.loads((tmp_path / "found").read_text())
    stamps = [number * 5_000_000 for number in range(5)]
    assert found == [["imu", stamps, "", 120], ["cam", [0], "", 640 * 480 * 3], ["cam", [7], JPEG, 5]]
    assert view.left_out == 0


def test_one_that_reads_nothing_costs_no_more_than_its_share_and_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    threads = threading.active_count()
    monkeypatch.setattr(live_view, "END_S", 0.1)
    view = LiveView("", "rig", [CAMERA, IMU], DEAF)
    process = view._process
    assert process is not None
    for number in range(60):
        view.see(frames(number))
        view.see(rows(5 * number))
        view.refresh("collecting")
        assert view._waiting_bytes <= MOST_WAITING_BYTES
    assert view.left_out > 40
    assert threading.active_count() == threads
    view.see(frames(60, 20))
    view.close()
    assert process.poll() is not None
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("the live view was ended before it had shown all")
    assert "left out" in said[1]
    view.close()
    view.see(frames(80))


def test_one_that_is_gone_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    view = LiveView("", "rig", [CAMERA], GONE)
    assert view._process is not None
    view._process.wait(100)
    for number in range(3):
        view.see(frames(number))
        view.refresh("collecting")
    assert [record.getMessage() for record in caplog.records] == [
        "the live view has ended (Broken pipe); what is captured is recorded as before"
    ]
    view.close()


@pytest.mark.parametrize("command", [DEAF, GONE], ids=["deaf", "gone"])
def test_an_agent_records_the_same(command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_view, "END_S", 0.1)
    monkeypatch.setattr(agents_agent, "LiveView", functools.partial(LiveView, command=command))

    def recorded(name: str, view: str | None) -> dict[str, Any]:
        sim = {"kind": "sim-planar", "pace": "fast", "duration_s": 3, "size": [320, 240], "seed": 1}
        document = {"device": "rig", "sensors": {"sim": sim}, "spool": {"path": name}}
        made = Agent(check_device({**document, "trigger": {"kind": "interval", "length_s": 1}}, tmp_path), view=view)
        made.run()
        return {"streams": made.status()["streams"], "ordinals": made.status()["ordinals"]}

    assert recorded("with", "") == recorded("without", None)


def test_without_rerun_or_a_display_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[[str], Any] = lambda name: None if name == "rerun" else object()  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(ConfigError, match=r"pip install 'sensorium\[view\]'"):
        LiveView("", "rig", [IMU])
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    for each in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(each, raising=False)
    with pytest.raises(ConfigError, match=r"no display .* `--view-at rerun\+http://HOST:9876/proxy`"):
        LiveView("", "rig", [IMU])


def test_rerun_shows_what_is_captured(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    view = LiveView(str(tmp_path / "live.rrd"), "rig", [CAMERA, IMU])
    process = view._process
    assert process is not None
    assert process.stdin is not None
    for number in range(4):
        view.see(frames(number))
        view.see(rows(5 * number))
    while view._waiting:
        view.refresh("collecting")
    process.stdin.close()
    assert process.wait(100) == 0
    told = subprocess.run(
        [Path(sys.executable).with_name("rerun"), "rrd", "print", tmp_path / "live.rrd"],
        capture_output=True, text=True, timeout=100, check=True,
    ).stdout  # fmt: skip
    assert "/imu" in told
    assert "/cam" in told
