"""deploy/ is true: rules and dashboard ask for metrics that there are, units for commands that there are."""

import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer.main
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from sensorium.cli.device_metrics import DeviceMetrics
from sensorium.cli.main import app
from sensorium.corpus.device_report import DeviceReport
from sensorium.episode.documents import Account
from sensorium.ingest.figures import COUNTERS, CommitTimes, LinkMetrics
from sensorium.ingest.fleet_metrics import FleetMetrics
from sensorium.ingest.store import Store
from tests.spine.commands import Site, sim
from tests.spine.test_layout import ROOT, check_command

DEPLOY = ROOT / "deploy"
STATUS: dict[str, Any] = {
    "device": "rig-1",
    "state": "collecting",
    "streams": {"cam": Account(captured=5, stored=3, filtered={"rate": 1}, lost={"overrun": 1})},
    "spool_bytes": 7,
    "oldest_s": 12.5,
    "directives": {"waits": 1, "refused": 2},
    "clock": {"offset_s": -0.5, "uncertainty_s": 0.001, "round_trip_s": 0.002, "probed_s": 1.8e9},
    "ordinals": {"pending": 2},
    "syncs": {"0.1": 2, "+Inf": 3, "sum": 1.25},
    "link": {"state": "up", "sent_bytes": 9, "committed": 1},
    "away": {"imu": "unplugged"},
    "absent": {},
}

SAID: dict[str, Any] = {
    "state": "full",
    "clock": STATUS["clock"],
    "streams": {"cam": {"captured": 5, "stored": 3, "filtered": {"rate": 1}, "lost": {"overrun": 1}}},
    "spool_bytes": 7,
    "oldest_s": 12.5,
    "pending": 2,
    "held": 0,
    "in_flight": 9,
}


@pytest.fixture
def exposition(tmp_path: Path) -> str:
    """What both ends tell."""
    Store.open(tmp_path / "store").close()
    (tmp_path / "store" / "fleet").mkdir()
    report = DeviceReport(device="rig-1", heard_ns=time.time_ns(), state=SAID)
    (tmp_path / "store" / "fleet" / "rig-1.json").write_bytes(msgspec.json.encode(report))
    registry = CollectorRegistry()
    registry.register(FleetMetrics(tmp_path / "store"))
    registry.register(DeviceMetrics(lambda: STATUS))
    registry.register(CommitTimes(lambda: STATUS["syncs"]))
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


def test_rules_and_dashboard_ask_for_what_there_is(exposition: str) -> None:
    there = told(exposition)
    found = {name for expression in asked() for name in re.findall(r"sensorium_\w+", expression)}
    assert len(found) > 12
    assert found <= there


def test_the_page_has_all_that_is_told_and_no_more(exposition: str) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text().partition("## Metrics")[2]
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("|")][2:]
    said = {
        f"sensorium_{end}_{name}"
        for row in rows
        for end, cell in zip(("device", "ingest"), row, strict=True)
        for name in re.findall(r"`(\w+)(?:\{[\w,]+\})?`", cell)
    }
    assert said == told(exposition)


def told(exposition: str) -> set[str]:
    """The names of what has a value."""
    lines = [line for line in exposition.splitlines() if line[0] != "#"]
    return {name for line in lines if not (name := re.split(r"[{ ]", line)[0]).endswith("_created")}


def test_a_device_says_what_became_of_samples_and_what_waits(exposition: str) -> None:
    for line in (
        'sensorium_device_captured_total{device="rig-1",stream="cam"} 5.0',
        'sensorium_device_lost_total{cause="overrun",device="rig-1",stream="cam"} 1.0',
        'sensorium_device_lost_total{cause="spool_full",device="rig-1",stream="cam"} 0.0',
        'sensorium_device_filtered_total{device="rig-1",rule="rate",stream="cam"} 1.0',
        'sensorium_device_spool_bytes{device="rig-1"} 7.0',
        'sensorium_device_link_up{device="rig-1"} 1.0',
        'sensorium_device_oldest_seconds{device="rig-1"} 12.5',
        'sensorium_device_directives{device="rig-1",state="refused"} 2.0',
        'sensorium_device_clock_offset_seconds{device="rig-1"} -0.5',
        'sensorium_device_clock_uncertainty_seconds{device="rig-1"} 0.001',
        'sensorium_device_clock_round_trip_seconds{device="rig-1"} 0.002',
        'sensorium_device_clock_probed_timestamp_seconds{device="rig-1"} 1.8e+09',
        'sensorium_device_sensors_away{device="rig-1"} 1.0',
        'sensorium_device_sync_seconds_bucket{device="rig-1",le="0.1"} 2.0',
        'sensorium_device_sync_seconds_bucket{device="rig-1",le="+Inf"} 3.0',
        'sensorium_device_sync_seconds_count{device="rig-1"} 3.0',
        'sensorium_device_sync_seconds_sum{device="rig-1"} 1.25',
        "sensorium_ingest_commit_seconds_sum 1.25",
    ):
        assert line in exposition.splitlines()


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_units_call_what_there_is(unit: Path) -> None:
    (line,) = re.findall(r"^ExecStart=\S+/sensorium (.*)$", unit.read_text(), re.MULTILINE)
    words = shlex.split(line)
    assert words[:2] == ["--log-format", "json"]
    check_command(typer.main.get_command(app), words[2:], line)
    said = {each.partition("=")[0] for each in environment(unit)}
    assert set(re.findall(r"\$\{(\w+)\}", line)) <= said


def environment(unit: Path) -> list[str]:
    return [word for line in re.findall(r"^Environment=(.*)$", unit.read_text(), re.MULTILINE) for word in line.split()]


def test_what_the_page_has_device_files_ask_of_the_environment_the_unit_says() -> None:
    """systemd has no HOSTNAME by itself, and shells do not export theirs."""
    page = (ROOT / "docs" / "deploy.md").read_text()
    assert "device: ${HOSTNAME}" in page
    assert "HOSTNAME=%H" in environment(DEPLOY / "sensorium-collect@.service")


def test_the_pages_commands_are_commands() -> None:
    text = (ROOT / "docs" / "deploy.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"^(?:#|\$) ([^#\n]*)", text, re.MULTILINE)
    said = [found[1] for line in lines if (found := re.search(r"(?:-- |-v \S+ sensorium )(?:sensorium )?(.*)", line))]
    assert len(said) >= 6
    for line in said:
        check_command(typer.main.get_command(app), shlex.split(line), line)


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


def test_all_that_units_write_to_the_log_is_json(site: Site) -> None:
    """What a device says of itself meanwhile, and why one has failed."""
    agent = site.start("--log-format", "json", "collect", site.device("rig-1", {"sim": sim(pace=1.0)}), "--local")
    agent.until("rig-1: collecting", timeout_s=60.0)
    agent.interrupt()
    failed = site.run("--log-format", "json", "collect", "absent.yaml", "--local", expect=2)
    levels = [[json.loads(line)["level"] for line in each.err.splitlines()] for each in (agent, failed)]
    assert "info" in levels[0]
    assert levels[1] == ["error"]


@pytest.mark.slow  # it starts Ray
@pytest.mark.timeout(240)
def test_so_it_is_under_ray_with_what_the_agent_logs_in_its_own_process(site: Site) -> None:
    command = site.run("--log-format", "json", "collect", site.device("rig-1", {"sim": sim(duration_s=1.0)}))
    said = [json.loads(line) for line in command.err.splitlines()]
    assert "collecting: sim.cam, sim.imu" in [each["message"] for each in said]
    assert {each["logger"] for each in said} >= {"sensorium.agents.agent"}
