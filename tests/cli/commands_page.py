"""`python -m tests.cli.commands_page` writes docs/commands.md: what every command prints, at 80 and 160 columns.

A device records, delivers and chooses; then each command is run on what came of it, in this process, with a console of
that width. Takes a minute or two, the network of this machine alone, Minari and Rerun.
"""

import importlib.util
import logging
import os
import platform
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import yaml
from rich.console import Console
from typer.testing import CliRunner

import sensorium
from sensorium.agents.agent import Agent
from sensorium.agents.device_file import load_device_file
from sensorium.cli import devices
from sensorium.cli.live import LiveTable
from sensorium.cli.main import app
from sensorium.cli.screen import OUT
from sensorium.drivers.discovery import SerialPort, VideoDevice
from sensorium.drivers.live.v4l2 import VideoFormat
from sensorium.errors import SensoriumError
from sensorium.hosting.into_store import collect_into
from sensorium.ingest.copying import copy
from sensorium.sim.gym.driver import GymnasiumConfig

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "commands.md"
SENSORIUM = Path(sys.executable).with_name("sensorium")
WIDTHS = (80, 160)
LONGEST = 40
HEAD = """# What the commands print

Made by `python -m tests.cli.commands_page`: each command on a small corpus of simulated devices, at 80 columns, and at
160 where that differs. Tables follow the terminal, with ids, paths and names whole at any width; other lines are left
to it. In a pipe lines are whole, and `--format json` has all.
"""
SIM = {"kind": "sim-planar", "size": [160, 120], "camera_hz": 10, "imu_hz": 100, "seed": 1, "pace": "fast"}


class Pages:
    """Runs commands in a folder, and keeps what they print; paths and ports are told as others would see them."""

    def __init__(self, folder: Path, port: str) -> None:
        self._folder, self._port = folder, port
        self._parts: list[str] = []

    def say(self, heading: str, text: str = "") -> None:
        """A part of the page."""
        self._parts.append(f"\n## {heading}\n{text}")

    def run(self, line: str, *, once: bool = False) -> None:
        """A command, at both widths; `once` of one that changes something."""
        words = [word.replace("PORT", self._port) for word in shlex.split(line)]
        found = []
        for width in WIDTHS[: 1 if once else None]:
            OUT.width = width
            result = CliRunner().invoke(app, words)
            said = result.stdout
            if isinstance(result.exception, SensoriumError):
                said += "".join(f"sensorium: {each}\n" for each in str(result.exception).splitlines())
            elif result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            found.append(said)
        self.show(f"sensorium {line}", found)

    def show(self, line: str, found: list[str]) -> None:
        """What a command said at each width."""
        self._parts.append(f"\n`{line}`\n")
        told = WIDTHS if len(set(found)) > 1 else ("",)
        for width, said in zip(told, found, strict=False):
            lines = [each.rstrip() for each in self._plain(said).strip("\n").splitlines()] or ["(nothing)"]
            more = [f"... and {len(lines) - LONGEST} lines more"] if len(lines) > LONGEST + 1 else []
            kept = lines[: LONGEST if more else None]
            self._parts.append("\n".join([f"\n```text{f' {width} columns' if width else ''}", *kept, *more, "```\n"]))

    def _plain(self, said: str) -> str:
        node = platform.node()
        told = {str(self._folder): "/home/ann", str(SENSORIUM): "sensorium", str(Path.home()): "/home/ann"}
        told |= {f"device: {node}\n": "device: rig\n", f"keys/{node}.": "keys/rig."}
        for what, instead in told.items():
            said = said.replace(what, instead)
        return re.sub(r"(tcp://127\.0\.0\.1):\d+", r"\1:7707", said)

    def page(self) -> str:
        """All of it."""
        return HEAD + "".join(self._parts)


def main() -> None:
    """Write the page."""
    for module, extra in (("minari", "minari"), ("rerun", "view")):
        if importlib.util.find_spec(module) is None:
            raise SystemExit(f"the page shows {module} too: pip install 'sensorium[{extra}]'")
    for each in ("DISPLAY", "WAYLAND_DISPLAY"):
        os.environ.pop(each, None)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        os.chdir(folder)
        serving = subprocess.Popen(
            [SENSORIUM, "ingest", "--store", "corpus", "--listen", "tcp://127.0.0.1:0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert serving.stdout is not None
        ready = serving.stdout.readline()
        try:
            pages = Pages(folder, ready.strip().rpartition(":")[2])
            _collect(pages, ready)
        finally:
            serving.send_signal(signal.SIGINT)
            serving.wait()
        _read(pages)
        _choose(pages)
        _simulate(pages)
        _keys(pages)
        text = pages.page()
    PAGE.write_text(text)


def _files(port: str) -> None:
    """The device files, and a campaign."""
    ingest = {"url": f"tcp://127.0.0.1:{port}"}
    rig: dict[str, Any] = {
        "device": "rig-1",
        "ingest": ingest,
        "spool": {"path": "spool"},
        "sensors": {"front": {**SIM, "duration_s": 25}},
        "encodings": {"front.cam": {"codec": "jpeg", "quality": 90}},
        "trigger": {"kind": "interval", "length_s": 10},
        "mission": {"name": "kitchen", "labels": {"operator": "ann", "task": "pick"}},
    }
    walk = {**SIM, "walk": {}, "pixel_noise": 2.0, "duration_s": 120, "camera_hz": 5}
    worth = {"kind": "worth", "budget": {"share": 0.2, "burst_s": 40}}
    walker = rig | {"device": "walker-1", "sensors": {"walk": walk}, "trigger": worth, "mission": {"name": "patrol"}}
    walker |= {"spool": {"path": "spool-walker"}, "encodings": {}}
    later = {key: value for key, value in rig.items() if key != "ingest"} | {"device": "rig-2"}
    later |= {"spool": {"path": "spool-2"}}
    roamer = rig | {"device": "roamer-1", "previews": {}, "mission": {"name": "roam"}}
    roamer |= {"spool": {"path": "spool-roamer", "when_full": "evict"}}
    for name, document in {"rig": rig, "walker": walker, "later": later, "roamer": roamer}.items():
        Path(f"{name}.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    task: dict[str, Any] = {
        "campaign": "carts-1",
        "store": "rollouts",
        "worlds": {"calm": {"kind": "sim-cart", "limit_s": 1.0}},
    }
    task |= {"tasks": {"balance": "calm"}, "policies": ["scripted", "random"], "group": 4, "verifier": "task"}
    Path("task.yaml").write_text(yaml.safe_dump(task, sort_keys=False))


def _collect(pages: Pages, ready: str) -> None:
    port = ready.strip().rpartition(":")[2]
    _files(port)
    pages.say("ingest")
    pages.show("sensorium ingest --store corpus", [ready])
    pages.say("devices")
    formats = (VideoFormat("YUYV", 640, 480, (30.0,)), VideoFormat("MJPG", 1920, 1080, (30.0,)))
    by_id = "/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"
    cameras = [VideoDevice("/dev/video0", "Integrated Webcam", formats)]
    ports = [SerialPort(by_id, "USB Serial", "CH340 adapter: perhaps a WitMotion IMU")]
    with (
        mock.patch.object(devices, "video_devices", return_value=cameras),
        mock.patch.object(devices, "serial_ports", return_value=ports),
    ):
        pages.run("devices")
    writer = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 20, (64, 48))
    for number in range(40):
        writer.write(np.full((48, 64, 3), number, np.uint8))
    writer.release()
    pages.run("devices --probe clip.avi", once=True)
    pages.say("schema")
    pages.run("schema", once=True)
    pages.say("collect")
    pages.run("collect --check walker.yaml")
    pages.run("collect rig.yaml --local", once=True)
    pages.run("collect walker.yaml --local", once=True)
    agent = Agent(load_device_file(Path("rig.yaml"), ["spool.path=spool-3", "device=rig-3", "sensors.front.seed=2"]))
    agent.run()
    status = agent.status() | {"state": "collecting"}
    pages.show("sensorium collect rig.yaml    (in a terminal, while it collects)", [*_live(status)])
    pages.run("collect later.yaml --local", once=True)
    Agent(load_device_file(Path("roamer.yaml"))).run()
    pages.say("spool")
    pages.run("spool spool-2")
    pages.say("deliver")
    pages.run("deliver later.yaml --set ingest.url=tcp://127.0.0.1:PORT", once=True)


def _live(status: dict[str, Any]) -> Iterator[str]:
    for width in WIDTHS:
        live = LiveTable()
        live._at -= 12.5  # as if it had been shown that long ago
        console = Console(width=width, record=True, file=Path(os.devnull).open("w"), highlight=False)  # noqa: SIM115
        console.print(live.render([status], "", width, 24))
        yield console.export_text()


def _read(pages: Pages) -> None:
    corpus = sensorium.open("corpus")
    newest = corpus.query("device = 'rig-1'", order_by="start_ns")[-1].id
    pages.say("query")
    pages.run("query corpus")
    pages.run("query corpus --where \"mission = 'kitchen' and duration_s < interval_s\"")
    pages.run("query corpus --group-by mission --agg 'count, hours, bytes'")
    pages.say("show")
    pages.run(f"show corpus {newest}")
    pages.say("view")
    pages.run(f"view corpus {newest} --save episode.rrd", once=True)
    pages.run(f"view corpus {newest}")
    pages.say("label")
    pages.run(f"label corpus {newest} task=place --who ann --span 1 2.5", once=True)
    pages.run(f"label corpus {newest}")
    pages.say("verify")
    pages.run("verify corpus --deep")
    pages.say("ledger")
    pages.run("ledger corpus")
    pages.say("verdicts")
    pages.run("verdicts --list")
    pages.run("verdicts corpus --verifier health", once=True)
    pages.say("pack")
    pages.run("pack corpus --older-than 0s --dry-run")
    pages.say("hold")
    pages.run(f"hold corpus {newest} --reason 'accident of 3 May'", once=True)
    pages.say("delete")
    pages.run(f"delete corpus {newest} --reason 'asked for by the tenant'", once=True)
    pages.run(f"hold corpus {newest} --lift --reason 'case closed'", once=True)
    pages.run("delete corpus", once=True)
    copy(Path("corpus"), Path("trial"), "device = 'walker-1' and kind in ('full', 'trace')")
    traced = sensorium.open("trial").query(order_by="start_ns")[0].id
    pages.run(f"delete trial {traced} --reason 'the trial is over'")
    pages.run(f"delete trial {traced} --reason 'the trial is over' --with-traces", once=True)
    pages.say("copy")
    pages.run("copy corpus --to laptop --where \"device = 'rig-1'\"", once=True)
    pages.say("export")
    pages.run("export corpus --to mcap --out corpus.mcap", once=True)
    pages.say("import")
    (Path("log.csv")).write_text("t,ax\n" + "".join(f"{row / 100},{row % 7}\n" for row in range(500)))
    words = '--set "time={column: t, unit: s}" --set "stream={channels: {ax: ax}}" --name imu'
    pages.run(f"import log.csv logged {words}", once=True)
    pages.say("rebuild-catalog")
    pages.run("rebuild-catalog corpus", once=True)


def _choose(pages: Pages) -> None:
    corpus = sensorium.open("corpus")
    kept = corpus.query("device = 'walker-1'", order_by="start_ns")[0]
    pages.say("why")
    pages.run(f"why corpus walker-1 {kept.start_ns / 1e9 + 0.5:g}")
    pages.say("policy replay")
    pages.run("policy replay corpus")
    pages.say("estimate")
    pages.run("estimate corpus score")
    pages.say("stats")
    pages.run("stats corpus --clusters 20")
    pages.say("report")
    pages.run("report corpus --html report.html --count 2")
    pages.say("similar")
    pages.run(f"similar corpus {kept.id}@0.5 -k 3")
    pages.run("similar corpus --duplicates")


def _simulate(pages: Pages) -> None:
    pages.say("sim list")
    pages.run("sim list")
    pages.say("sim preview")
    pages.run("sim preview rover --png rover.png --seconds 1")
    pages.say("rollouts run")
    pages.run("rollouts task.yaml --local", once=True)
    pages.say("rollouts report")
    pages.run("rollouts report rollouts")
    rollout = sensorium.open("rollouts").query()[0].id
    pages.say("sim replay")
    pages.run(f"sim replay rollouts {rollout}")
    collect_into(
        Path("gym"), GymnasiumConfig(id="CartPole-v1", episodes=3, seed=3), device="gym-1", spool=Path("spool-gym")
    )
    pages.say("sim export-minari")
    pages.run("sim export-minari gym cartpole/random-v0 --root datasets", once=True)
    pages.say("sim import-minari")
    pages.run("sim import-minari cartpole/random-v0 imported --root datasets", once=True)


def _keys(pages: Pages) -> None:
    pages.say("keys new")
    pages.run("keys new ingest --dir keys", once=True)
    pages.run("keys new rig-1 --dir rig", once=True)
    pages.run("keys new anna --operator --dir keys", once=True)
    pages.say("keys allow")
    pages.run("keys allow keys rig/rig-1.key", once=True)
    pages.say("keys list")
    pages.run("keys list keys")
    pages.say("keys revoke")
    pages.run("keys revoke keys rig-1", once=True)
    _ask(pages)
    pages.say("demo selection")
    _demo(pages, "demo --seconds 8 --store demo")
    pages.say("demo agency")
    _demo(pages, "demo agency --routine 4 --seconds 10 --store agency")


def _demo(pages: Pages, words: str) -> None:
    made = subprocess.run([SENSORIUM, *words.split()], capture_output=True, text=True, check=True)
    pages.show(f"sensorium {words}    (in a pipe)", [made.stdout])


def _ask(pages: Pages) -> None:
    key = "--operator keys/anna.operator_secret"
    pages.say("directives settings")
    pages.run(f"directives settings corpus rig-1 --set trigger.length_s=5 {key}", once=True)
    pages.say("directives stop")
    pages.run(f"directives stop corpus rig-1 {key} --expires 10m", once=True)
    pages.say("directives release")
    pages.run(f"directives release corpus rig-1 --where 'bytes > 1000000' {key}", once=True)
    pages.say("fetch")
    pages.run("query corpus --where \"kind = 'preview'\"")
    pages.run(f"fetch corpus --where \"health('front.cam').sharpness > 0 and duration_s > 9\" {key}", once=True)
    pages.say("release")
    pages.run(f"release corpus --where 'duration_s < 9' {key}", once=True)
    rules = {"where": "walk.cam.blur > 2 and mission.name = 'patrol'", "budget": {"share": 0.02}, "post_roll_s": 3}
    Path("dock.yaml").write_text(yaml.safe_dump({"name": "dock", **rules, "shadow": True}, sort_keys=False))
    pages.say("campaign apply")
    pages.run(f"campaign apply corpus dock.yaml walker-1 {key}", once=True)
    pages.say("campaign list")
    pages.run("campaign list corpus")
    pages.say("campaign show")
    pages.run("campaign show corpus dock")
    pages.say("campaign stop")
    pages.run(f"campaign stop corpus dock {key}", once=True)
    pages.say("directives list")
    pages.run("directives list corpus")
    pages.say("fleet")
    pages.run("fleet corpus")
    night = {"mission": {"name": "night-walk", "priority": 2}, "devices": ["rig-1", "walker-*"]}
    night |= {"settings": {"trigger.length_s": 30}}
    Path("night.yaml").write_text(yaml.safe_dump(night, sort_keys=False))
    Path("charter.yaml").write_text(yaml.safe_dump({"plans": {"allow": ["viewpoint", "measure"]}}))
    pages.say("plan run")
    pages.run("plan corpus --planner gap,uniform --charter charter.yaml")
    pages.say("plan report")
    pages.run("plan report corpus")
    pages.say("approve")
    pages.run("approve corpus")
    pages.say("kill")
    pages.run("kill rig.yaml", once=True)
    pages.say("mission apply")
    pages.run(f"mission apply corpus night.yaml {key}", once=True)
    pages.say("mission list")
    pages.run("mission list corpus")
    pages.say("mission show")
    pages.run("mission show corpus night-walk")
    pages.say("mission stop")
    pages.run(f"mission stop corpus night-walk {key}", once=True)
    pages.say("mcp")
    words = ["mcp", "corpus", "--http", "127.0.0.1:0", "--token", "mcp.token"]
    serving = subprocess.Popen([SENSORIUM, *words], stdout=subprocess.PIPE, text=True)
    assert serving.stdout is not None
    ready = re.sub(r":\d+/", ":7711/", serving.stdout.readline())
    serving.send_signal(signal.SIGTERM)
    serving.wait()
    pages.show("sensorium mcp corpus --http 127.0.0.1:7711 --token mcp.token", [ready])


if __name__ == "__main__":
    main()
