"""Metrics as a real Prometheus scrapes them (Debian's `prometheus`): both ends, and the alert rules that we ship."""

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.spine.commands import Site, sim, wait_for
from tests.spine.test_layout import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus on the path: apt install prometheus"),
]
ALERTS = ROOT / "deploy" / "alerts.yaml"


def test_both_ends_are_scraped_and_the_rules_are_loaded(site: Site, tmp_path: Path) -> None:
    """Of two devices of one name, as there may be without keys, both are seen."""
    ports = {"ingest": free_port(), "device": free_port()}
    _, port = site.ingest("--metrics", f"127.0.0.1:{ports['ingest']}")
    device = site.device("rig-1", {"sim": sim(pace=1.0)}, port)
    agent = site.start("collect", device, "--local", "--metrics", f"127.0.0.1:{ports['device']}")
    namesake = site.start("collect", device, "--local", "--set", "spool.path=spool-namesake")
    targets = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{each}"]}]} for name, each in ports.items()
    ]
    config = {"global": {"scrape_interval": "1s"}, "rule_files": [str(ALERTS)], "scrape_configs": targets}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    own = free_port()
    server = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{own}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: jobs(own, "up == 1") == {"ingest", "device"}, "both to be scraped", 60)
        wait_for(lambda: jobs(own, "sensorium_device_captured_total > 0") == {"device"}, "what was captured", 60)
        shared = next(rule["expr"] for rule in shipped() if rule["alert"] == "SensoriumNameShared")
        wait_for(lambda: jobs(own, f"{shared} == 2", of="device") == {"rig-1"}, "two of one name", 60)
        offsets = "sensorium_ingest_device_clock_offset_seconds"
        wait_for(lambda: len(jobs(own, offsets, of="spool")) == 2, "the clocks of both", 60)
        for panel in json.loads((ALERTS.parent / "grafana.json").read_text())["panels"]:
            for target in panel["targets"]:
                asked(own, "query?" + urllib.parse.urlencode({"query": target["expr"]}))
        rules = asked(own, "rules")["groups"][0]["rules"]
        assert len(rules) == len(shipped())
        assert {each["health"] for each in rules} <= {"ok", "unknown"}
    finally:
        server.terminate()
        server.wait(30)
    for each in ports.values():
        with urllib.request.urlopen(f"http://127.0.0.1:{each}/metrics", timeout=30) as page:
            checked = subprocess.run(
                ["promtool", "check", "metrics"], input=page.read(), capture_output=True, timeout=60, check=False
            )
        assert checked.returncode == 0, checked.stdout + checked.stderr
    agent.interrupt()
    namesake.interrupt()


def shipped() -> list[dict[str, Any]]:
    """The alert rules."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def jobs(port: int, query: str, of: str = "job") -> set[str]:
    """The jobs of which a query has a value, or what else it is `of`."""
    try:
        found = asked(port, "query?" + urllib.parse.urlencode({"query": query}))["result"]
    except OSError:
        return set()
    return {each["metric"].get(of, "") for each in found}


def asked(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=30) as answer:
        return json.load(answer)["data"]
