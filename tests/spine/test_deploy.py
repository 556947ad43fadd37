"""deploy/ is true: rules and dashboard ask for metrics that there are, units for commands that there are."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from sensorium.cli.device_metrics import DeviceMetrics
from sensorium.cli.main import app
from sensorium.episode.documents import Account
from sensorium.ingest.figures import COUNTERS, LinkMetrics
from tests.spine.test_layout import ROOT, check_command

DEPLOY = ROOT / "deploy"
STATUS: dict[str, Any] = {
    "device": "rig-1",
    "state": "collecting",
    "streams": {"cam": Account(captured=5, stored=3, filtered={"rate": 1}, lost={"overrun": 1})},
    "spool_bytes": 7,
    "oldest_s": 12.5,
    "directives": {"waits": 1, "refused": 2},
    "clock": {"offset_s": -0.5, "uncertainty_s": 0.001},
    "ordinals": {"pending": 2},
    "link": {"state": "up", "sent_bytes": 9, "committed": 1},
    "away": {"imu": "unplugged"},
    "absent": {},
}


def exposition() -> str:
    registry = CollectorRegistry()
    registry.register(DeviceMetrics(lambda: STATUS))
    registry.register(LinkMetrics(lambda: {**dict.fromkeys(COUNTERS, 1), "sessions_open": 1, "store_trouble": 0}))
    return generate_latest(registry).decode()


def asked() -> Iterator[str]:
    """Every expression of the rules and of the dashboard."""
    for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"]
            yield rule["expr"]
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_rules_and_dashboard_ask_for_what_there_is() -> None:
    there = {line.partition("{")[0].partition(" ")[0] for line in exposition().splitlines() if line[0] != "#"}
    found = {name for expression in asked() for name in re.findall(r"sensorium_\w+", expression)}
    assert len(found) > 12
    assert found <= there


def test_a_device_says_what_became_of_samples_and_what_waits() -> None:
    text = exposition()
    for line in (
        'sensorium_device_captured_total{device="rig-1",stream="cam"} 5.0',
        'sensorium_device_lost_total{cause="overrun",device="rig-1",stream="cam"} 1.0',
        'sensorium_device_filtered_total{device="rig-1",rule="rate",stream="cam"} 1.0',
        'sensorium_device_spool_bytes{device="rig-1"} 7.0',
        'sensorium_device_link_up{device="rig-1"} 1.0',
        'sensorium_device_oldest_seconds{device="rig-1"} 12.5',
        'sensorium_device_directives{device="rig-1",state="refused"} 2.0',
        'sensorium_device_clock_offset_seconds{device="rig-1"} -0.5',
        'sensorium_device_clock_uncertainty_seconds{device="rig-1"} 0.001',
        'sensorium_device_sensors_away{device="rig-1"} 1.0',
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_units_call_what_there_is(unit: Path) -> None:
    (line,) = re.findall(r"^ExecStart=\S+/sensorium (.*)$", unit.read_text(), re.MULTILINE)
    words = shlex.split(line)
    assert words[:2] == ["--log-format", "json"]
    check_command(typer.main.get_command(app), words[2:], line)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_units_are_units(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name.replace("@", "@rig-1")
    copy.write_text(unit.read_text().replace("/opt/sensorium/bin/sensorium", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False, timeout=60)
    assert copy.name not in done.stderr, done.stderr


def test_the_container_file_copies_what_there_is() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert (ROOT / "constraints.txt").exists()
    assert 'ENTRYPOINT ["sensorium"]' in text
