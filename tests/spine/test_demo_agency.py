"""`sensorium demo agency`: a gap is found, gone to and filled; the store stays, and no process does."""

import json
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import cv2
import pytest

import sensorium
from sensorium.agents.selection.logs import traced_logs
from tests.spine.commands import Command, Site, wait_for
from tests.spine.test_ray import Family, families

__all__ = ["families"]


def begun(site: Site, families: list[Family], *args: object) -> tuple[Command, Family]:
    """The demo, once its device goes about."""
    demo = site.start("demo", "agency", "--store", "corpus", *args)
    family = Family(demo.process.pid)
    families.append(family)
    wait_for(lambda: (family.look(), "goes about" in demo.out)[1], "a device", timeout_s=120.0, every_s=0.2)
    return demo, family


def ended(family: Family) -> None:
    wait_for(lambda: not family.look(), "what it started to end", timeout_s=30.0, every_s=0.1)


@pytest.mark.timeout(300)  # it starts Ray
def test_ctrl_c_shows_what_came_by_then_and_leaves_nothing_running(site: Site, families: list[Family]) -> None:
    demo, family = begun(site, families, "--routine", 1, "--seconds", 250)
    wait_for(lambda: (family.look(), " asked of rig-1" in demo.out)[1], "a plan", timeout_s=120.0, every_s=0.2)
    demo.signal(signal.SIGINT)
    demo.wait(timeout_s=100.0)
    ended(family)
    assert "what planners promised, and what came" in demo.out
    assert site.json("verify", "corpus") == []
    assert site.json("query", "corpus")
    assert (site.folder / "corpus-coverage.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_kill_leaves_nothing_running(site: Site, families: list[Family]) -> None:
    with tempfile.TemporaryDirectory(prefix="k", ignore_cleanup_errors=True) as short:  # Ray's sockets are in it
        site.environment["TMPDIR"] = short  # one that is killed cannot clear away its own folder
        demo, family = begun(site, families)
        demo.kill()
        ended(family)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("world", "ours"), [("sim-planar", "gap"), ("sim-lab", "surrogate")])
def test_a_gap_is_found_gone_to_and_filled(site: Site, world: str, ours: str) -> None:
    words = ("--world", world, "--routine", 3, "--seconds", 40, "--turns", 6, "--png", "coverage.png")
    said = site.start("demo", "agency", "--store", "corpus", *words).wait(timeout_s=500).out
    assert f"{ours}, uniform propose what is next" in said
    report = json.loads(site.run("plan", "report", "corpus", "--json").out)
    assert report["cells_after"] > report["cells_before"] > 0
    assert report["cells_by"][ours] > 0, "a plan has filled a place where nobody had been"
    planned = site.json("query", "corpus", "--where", "proposal != ''")
    assert planned
    (log,) = traced_logs(sensorium.open(site.folder / "corpus"))
    reasons = {each.judged.decision.reason for each in log.traced}
    assert {"novelty", "dull", "campaign"} <= reasons, "selection is on the way, and keeps what plans cause"
    assert site.json("verify", "corpus", "--deep") == []
    (ledger,) = site.json("ledger", "corpus")
    assert ledger["begun"] == ledger["committed"]
    assert _drawn(site.folder / "coverage.png") > 2000
    pasted = [line.strip() for line in said.partition("paste any of these:")[2].splitlines() if line.startswith("  ")]
    assert [line.split(" ")[1] for line in pasted] == ["plan", "query", "directives"]
    for line in pasted:
        assert subprocess.run(line, shell=True, cwd=site.folder, capture_output=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_as_json_there_is_an_object_a_line_and_the_report_last(site: Site) -> None:
    words = ("--routine", 1, "--turns", 1, "--json")
    lines = site.start("demo", "agency", "--store", "corpus", *words).wait(timeout_s=250).out.splitlines()
    *logged, report = map(_object, lines)
    assert {"ruled", "asked", "outcome"} <= {each["what"] for each in logged}
    assert report["what"] == "report"
    assert 0 < report["covered"] <= report["reachable"] == 49
    assert report["cells_after"] == sum(report["cells_by"].values())
    assert Path(report["png"]).is_file()


def test_what_cannot_be_is_said_before_anything_is_begun(site: Site) -> None:
    site.environment["TMPDIR"] = str(site.folder)
    (site.folder / "full").mkdir()
    (site.folder / "full" / "mine.txt").touch()
    site.refused("demo", "agency", "--store", "full", expect=2, says=("--store", "something already", "new, or empty"))
    site.refused("demo", "agency", "--png", "no/where.png", expect=2, says=("--png", "no folder", "make it"))
    site.refused("demo", "agency", "--planner", "gapp", expect=2, says=("unknown planner 'gapp'", "did you mean 'gap'"))
    assert [path.name for path in site.folder.iterdir() if path.is_dir()] == ["full"], "nothing was begun"


def _object(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found


def _drawn(path: Path) -> int:
    """How many pixels of a picture are neither white nor gray."""
    picture = cv2.imread(str(path))
    assert picture is not None
    return int((picture.max(axis=2).astype(int) - picture.min(axis=2) > 60).sum())
