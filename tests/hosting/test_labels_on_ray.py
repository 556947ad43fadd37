"""Outcome and labels of `close_episode` reach an agent that runs as an actor of Ray, and are in its episodes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.agents.triggers.test_triggers import cuts

SCRIPT = """
import sys
from pathlib import Path
from sensorium.hosting.on_ray import RayAgent, end_ray, start_ray
from tests.spine.commands import wait_for

sim = {"kind": "sim-planar", "size": [64, 48], "camera_hz": 20, "imu_hz": 100}
document = {"device": "rig", "sensors": {"sim": sim}, "trigger": {"kind": "manual"}, "spool": {"path": "spool"}}
document["mission"] = {"labels": {"operator": "ann"}}
start_ray()
try:
    host = RayAgent(document, Path(sys.argv[1]), drain_s=0.0)
    wait_for(lambda: host.status()["state"] == "collecting", "it collects", timeout_s=60.0)
    host.command("open")
    wait_for(lambda: host.status()["episodes"] == 1, "an episode is begun")
    host.command("close", "success", {"task": "pick", "tries": 2, "ok": True})
    host.command("open")
    wait_for(lambda: host.status()["episodes"] == 2, "another is begun")
    host.stop()
    wait_for(lambda: not host.status()["alive"], "it has ended", timeout_s=60.0)
finally:
    end_ray()
"""


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_they_are_in_the_episode(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], cwd=root, check=True, timeout=200)
    first, second = cuts(tmp_path / "spool")
    assert (first.outcome, second.outcome) == ("success", "")
    assert first.labels == [{"operator": "ann"}, {"task": "pick", "tries": 2, "ok": True}]
    assert second.labels == [{"operator": "ann"}]
