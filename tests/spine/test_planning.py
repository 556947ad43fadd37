"""Planning through real processes: a gap of the corpus is found, a device goes there, and what came is judged."""

import json
from pathlib import Path
from typing import Any

import pytest

from sensorium.agents.planning.log import LOG, PlanningLog, PlanOutcome, outcomes_of
from tests.spine.commands import Site, wait_for

WORLD = {
    "kind": "sim-planar",
    "task": "roam",
    "odometry": {},
    "limit_s": 3600.0,
    "size": [48, 32],
    "camera_hz": 5.0,
    "pace": 8.0,
}
CHARTER = """
plans:
  allow: [viewpoint]
  controls: {z_m: {at_least: 1.4, at_most: 2.4}}
  areas: [{name: yard, of: [x_m, y_m], box: [[-3, 3], [-3, 3]]}]
"""
ANNA = ("--operator", "keys/anna.operator_secret")
PLAN = ("plan", "store", "--planner", "gap", "--charter", "charter.yaml", *ANNA, "--seconds", "4", "--settle", "2s")


def begun(site: Site, charter: str = CHARTER) -> None:
    """An ingest, and a device that can be sent somewhere."""
    site.run("keys", "new", "anna", "--operator", "--dir", "keys")
    (site.folder / "charter.yaml").write_text(charter)
    _, port = site.ingest()
    obey = {"operator": "keys/anna.operator", "may": ["plan"]}
    trigger = {"kind": "interval", "length_s": 4.0}
    path = site.device("rig-1", {"base": WORLD}, port, obey=obey, charter="charter.yaml", trigger=trigger)
    site.start("collect", path, "--local")

    def controls() -> Any:
        (row,) = site.json("fleet", "store", "--json") or [{}]
        plans = (row.get("report") or {}).get("plans") or {}
        return plans.get("controls") or plans.get("allowed")

    wait_for(lambda: (site.folder / "store" / "fleet").is_dir() and controls(), "what can be asked of it", timeout_s=60)


def test_rounds_ask_for_places_and_judge_what_came(site: Site) -> None:
    begun(site)
    site.run(*PLAN, "--once", "--patience", "60s")
    site.run(*PLAN, "--turns", "2", "--patience", "60s")
    store = site.folder / "store"
    outcomes = outcomes_of(PlanningLog(store).read().lines)
    assert [(each.state, each.planner) for each in outcomes] == [("done", "gap")] * 3, outcomes
    # Of one alone nothing may come: the flyer may have been there by itself, in an episode that was on its way.
    assert max(each.got for each in outcomes) > 0, outcomes
    for outcome in outcomes:
        assert outcome.episodes >= 1
        assert outcome.bytes > 0
        found = site.json("query", "store", "--where", f"proposal = '{outcome.proposal}'")
        assert len(found) >= outcome.episodes
    report = json.loads(site.run("plan", "report", "store", "--json", "--png", "coverage.png").out)
    assert report["cells_after"] >= report["cells_before"] > 0
    (row,) = report["planners"]
    assert (row["outcomes"], row["got"]) == (3, pytest.approx(sum(each.got for each in outcomes)))
    assert (site.folder / "coverage.png").stat().st_size > 1000


def test_missions_that_a_charter_names_are_asked_for_and_bring_what_is_new(site: Site) -> None:
    begun(site, "plans: {allow: [mission], controls: {mission.name: {one_of: [hall, yard]}}}")
    store = site.folder / "store"
    wait_for(lambda: site.json("query", "store"), "an episode to go by", timeout_s=60)
    (site.folder / "cells.yaml").write_text("axes: [task]")
    site.run(*PLAN, "--cells", "cells.yaml", "--turns", "2", "--patience", "60s")
    outcomes = outcomes_of(PlanningLog(store).read().lines)
    assert [(each.state, each.planner, each.got) for each in outcomes] == [("done", "gap", 1.0)] * 2, outcomes
    for outcome, mission in zip(outcomes, ("hall", "yard"), strict=True):
        found = site.json("query", "store", "--where", f"proposal = '{outcome.proposal}'")
        assert mission in {each["mission"] for each in found}
    report = json.loads(site.run("plan", "report", "store", "--json").out)
    assert (report["cells_before"], report["cells_after"]) == (1, 3)


def test_a_loop_that_is_killed_and_begun_again_loses_nothing_and_asks_nothing_twice(site: Site) -> None:
    begun(site)
    store = site.folder / "store"
    watching = site.start(*PLAN, "--watch")
    wait_for(lambda: b'"asked"' in _log(store), "something to be asked", timeout_s=60)
    watching.kill()
    again = site.start(*PLAN, "--watch")
    wait_for(lambda: len(outcomes_of(PlanningLog(store).read().lines)) >= 2, "two outcomes", timeout_s=90)
    again.interrupt()
    lines, damaged = PlanningLog(store).read()
    assert damaged <= 1
    proposals = [line.proposal for line in lines if isinstance(line, PlanOutcome)]
    assert len(set(proposals)) == len(proposals)
    asked = site.json("directives", "list", "store", "--format", "json")
    assert len(asked) <= len(proposals) + 1
    assert {each["state"] for each in asked} <= {"done", "waits"}


def _log(store: Path) -> bytes:
    return (store / LOG).read_bytes() if (store / LOG).exists() else b""
