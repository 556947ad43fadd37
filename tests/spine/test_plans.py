"""Plans through real processes: a device goes where it is sent, within its charter, says so, and stops when killed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.agents.plans.asked import AskedPlan
from sensorium.agents.plans.causing import AT_PLACE, ON_THE_WAY, PHASE
from sensorium.corpus.directives import DirectiveShelf, GivenAnswer, issue
from sensorium.link.approval import approval_of
from sensorium.link.operators import OperatorPair, new_operator, read_pair
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
ROI = ["roi_height_px", "roi_left_px", "roi_top_px", "roi_width_px"]
CHARTER = """
plans:
  allow: [viewpoint, roi, mission, stop]
  areas: [{name: yard, of: [x_m, y_m], box: [[-3, 3], [-3, 3]]}]
  per_hour: {plans: 4}
  approve: [mission]
  approvers: [keys/ben.operator]
kill: HALT
"""


class Fleet:
    """One device that is planned for."""

    def __init__(self, site: Site, trigger: dict[str, Any], charter: str = CHARTER) -> None:
        self.site, self.store = site, site.folder / "store"
        self.anna, self.ben = (read_pair(new_operator(name, site.folder / "keys")[1]) for name in ("anna", "ben"))
        (site.folder / "charter.yaml").write_text(charter)
        self.ingest, self.port = site.ingest()
        obey = {"operator": "keys/anna.operator", "may": ["plan", "stop"]}
        self.file = site.device("rig-1", {"base": WORLD}, self.port, obey=obey, charter="charter.yaml", trigger=trigger)
        self.agent = site.start("collect", self.file, "--local")

    def ask(self, proposal: str, plan: str = "viewpoint", **body: Any) -> GivenAnswer:
        """What became of it."""
        said = {"proposal": proposal, "planner": "gap", "plan": plan, **body}
        (document,) = issue(self.store, ["rig-1"], "plan", said, self.anna, life_s=600)

        def answer() -> GivenAnswer | None:
            return next(each.answer for each in DirectiveShelf(self.store).all("rig-1") if each.name == document.id)

        found: GivenAnswer = wait_for(answer, f"an answer to {proposal}", timeout_s=60)
        return found

    def of(self, proposal: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.site.json("query", "store", "--where", f"proposal = '{proposal}'")
        return found

    def lengths_s(self, proposal: str, phase: str) -> list[float]:
        """Of the episodes that a plan has caused on the way, or at its place."""
        found = sensorium.open(self.store).query(f"proposal = '{proposal}'")
        said = [(each, note.value) for each in found for note in each.notes if note.kind == "control"]
        return [(each.end_ns - each.start_ns) / 1e9 for each, value in said if value[PHASE] == phase]

    def report(self) -> dict[str, Any]:
        (row,) = self.site.json("fleet", "store", "--json")
        report: dict[str, Any] = row["report"]
        return report


def approved(pair: OperatorPair, body: dict[str, Any]) -> list[dict[str, bytes]]:
    plan = AskedPlan.of(body)
    made = approval_of(pair, proposal=plan.proposal, digest=plan.digest, device="rig-1")
    return [{"operator": made.operator, "signature": made.signature}]


def test_a_device_is_sent_within_its_charter_and_its_episodes_say_by_whom(site: Site) -> None:
    fleet = Fleet(site, {"kind": "interval", "length_s": 4.0})
    wait_for(lambda: (fleet.store / "fleet").is_dir() and fleet.report().get("plans"), "what can be asked of it")
    controls = {each["name"]: each for each in fleet.report()["plans"]["controls"]["base"]}
    assert sorted(controls) == [*ROI, "x_m", "y_m", "yaw_rad", "z_m"]

    there = fleet.ask("p1", sensor="base", parameters={"x_m": 2.0, "y_m": 1.0}, seconds=6.0)
    assert there.state == "done", there
    assert "x_m" in there.why
    wait_for(lambda: sum(fleet.lengths_s("p1", AT_PLACE)) >= 6.0, "all that it caused", timeout_s=60)
    assert fleet.ask("p2", parameters={"x_m": 3.2, "y_m": 1.0}).why.startswith(
        "charter: plans.areas: expected within yard"
    )
    assert "no control 'pan_rad'" in fleet.ask("p3", parameters={"pan_rad": 1.0}).why
    mission = {"proposal": "p4", "planner": "gap", "plan": "mission", "parameters": {"name": "yard"}}
    for pair in (None, fleet.anna):
        signed = [] if pair is None else approved(pair, mission)
        refused = fleet.ask("p4", "mission", parameters={"name": "yard"}, approved_by=signed)
        assert (refused.state, refused.why[:24]) == ("refused", "charter: plans.approve: "), refused
    signed = approved(fleet.ben, mission)
    assert fleet.ask("p4", "mission", parameters={"name": "attic"}, approved_by=signed).state == "refused"
    assert fleet.ask("p4", "mission", parameters={"name": "yard"}, approved_by=signed).state == "done"
    wait_for(lambda: site.json("query", "store", "--where", "mission = 'yard' and proposal = 'p4'"), "the mission")

    assert 6.0 <= sum(fleet.lengths_s("p1", AT_PLACE)) <= 6.1, "so long as was asked for"
    caused, ways = fleet.of("p1"), []
    for each in sensorium.open(fleet.store).query("proposal = 'p1'"):
        (note,) = [note for note in each.notes if note.kind == "control"]
        assert (note.name, note.value["plan"], note.value["planner"]) == ("p1", "viewpoint", "gap")
        odometry = each.samples(each.start_ns, each.end_ns, ["base.odometry"])["base.odometry"].data
        if note.value[PHASE] == ON_THE_WAY:
            assert note.value["did"] == {}
            ways.append(odometry[:, 0])
            continue
        assert note.value["did"]["x_m"] == pytest.approx(2.0, abs=0.4)
        assert abs(odometry[:, 0] - 2.0).max() < 0.6, "not from before it was there, nor from after"
    way = np.concatenate(ways)
    assert len(way) > 5, "what it met on the way is by the plan too"
    assert abs(way[-1] - 2.0) < 0.6, "and up to where it led"
    assert len(way) / 10 < 30.0, "not from before it was sent there"
    everything = site.json("query", "store")
    assert all(account["captured"] == account["stored"] for each in everything for account in each["account"].values())

    site.run("kill", fleet.file)
    assert (site.folder / "HALT").exists()
    assert fleet.ask("p5", parameters={"x_m": 0.0, "y_m": 0.0}).why.startswith("charter: kill: ")
    wait_for(lambda: fleet.report()["plans"]["killed"], "that it is killed to be told")
    (row,) = site.json("fleet", "store")
    assert row["wrong"] == ["its plans are killed"]
    site.run("kill", fleet.file, "--off")
    assert fleet.ask("p6", parameters={"x_m": 0.0, "y_m": 0.0}).state == "done"
    assert fleet.ask("p7", parameters={"x_m": 1.0, "y_m": 0.0}).state == "done"
    assert "plans.per_hour: plans" in fleet.ask("p8", parameters={"x_m": 0.0, "y_m": 0.0}).why
    fleet.agent.interrupt()
    fleet.agent.wait(0)
    again = site.start("collect", fleet.file, "--local")
    assert "plans.per_hour: plans" in fleet.ask("p9", "stop").why, "what was spent is kept over a restart"
    again.interrupt()
    again.wait(0)
    fleet.ingest.interrupt()
    site.run("rebuild-catalog", "store")
    assert [each["episode"] for each in fleet.of("p1")] == [each["episode"] for each in caused]


def test_a_region_is_all_that_is_seen_in_its_episodes_and_the_stream_stays_what_it_was(site: Site) -> None:
    fleet = Fleet(site, {"kind": "interval", "length_s": 2.0})
    asked = {"roi_left_px": 12.0, "roi_width_px": 24.0}
    done = fleet.ask("p1", "roi", sensor="base", parameters=asked, seconds=4.0)
    assert (done.state, "roi_left_px 12" in done.why) == ("done", True), done
    wait_for(lambda: sum(each["interval_s"] for each in fleet.of("p1")) >= 4.0, "all that it caused", timeout_s=60)
    store = sensorium.open(fleet.store)

    def after() -> list[Any]:
        """Episodes from when it was taken back."""
        ended_ns = max(each.end_ns for each in store.query("proposal = 'p1'"))
        return [each for each in store.query("proposal is null") if each.start_ns >= ended_ns]

    wait_for(after, "an episode after it")
    caused = {each.id for each in store.query("proposal = 'p1'")}
    everything = store.query()
    assert len({each.streams["base.cam"].spec.shape for each in everything}) == 1
    for each in everything:
        pictures = each.samples(each.start_ns, each.end_ns, ["base.cam"])["base.cam"].data
        notes = [note for note in each.notes if note.name == "roi"]
        if each.id in caused:
            assert not pictures[:, :, :12].any()
            assert not pictures[:, :, 36:].any()
            assert pictures[:, :, 12:36].any()
            assert [note.value for note in notes if note.value["roi_left_px"] == 12], "each is told"
        else:
            assert pictures[-1, :, :12].any(), "the last frame: it is taken back with the first that is read then"
    fleet.agent.interrupt()
    fleet.agent.wait(0)
    fleet.ingest.interrupt()


WHOLE = """
plans:
  allow: [mission, duration, stop]
  controls: {mission.name: {one_of: [hall, yard]}}
  most_s: 60
"""


def test_a_mission_holds_for_its_time_and_a_duration_ends_what_is_collected(site: Site) -> None:
    fleet = Fleet(site, {"kind": "interval", "length_s": 2.0}, WHOLE)
    assert "mission.name" in fleet.ask("p1", "mission", parameters={"name": "attic"}).why
    assert "most_s" in fleet.ask("p1", "duration", parameters={"seconds": 61.0}).why
    assert "no sensor" in fleet.ask("p1", "mission", sensor="base", parameters={"name": "hall"}).why
    given = fleet.ask("p1", "mission", parameters={"name": "hall"}, seconds=6.0)
    assert (given.state, given.why) == ("done", "it is for hall")
    store = sensorium.open(fleet.store)

    def after() -> list[Any]:
        """Episodes for what the device file says, from when the mission was taken back."""
        ends_ns = [each.end_ns for each in store.query("mission = 'hall'")]
        return [each for each in store.query("mission != 'hall'") if ends_ns and each.start_ns >= max(ends_ns)]

    wait_for(after, "an episode for what it was for before", timeout_s=60)
    caused = store.query("mission = 'hall' and proposal = 'p1'")
    assert sum(each.duration_s for each in caused) >= 4.0
    for each in caused:
        (note,) = [note for note in each.notes if note.kind == "control"]
        assert (note.name, note.value["did"], note.value["plan"]) == ("p1", {"name": "hall"}, "mission")
    assert not store.query("mission = 'hall' and proposal is null"), "all of it was caused"
    more = [each for each in store.query("proposal = 'p1'") if each.id not in {one.id for one in caused}]
    assert sum(each.duration_s for each in more) < 4.0, "and little besides, as one line hands over to the other"
    assert fleet.ask("p2", "duration", parameters={"seconds": 12.0}).why == "it ends after 12 s"
    fleet.agent.wait(0)
    last = store.query("proposal = 'p2'")
    assert 8.0 <= sum(each.duration_s for each in last) <= 16.0
    everything = site.json("query", "store")
    assert all(account["captured"] == account["stored"] for each in everything for account in each["account"].values())
    fleet.ingest.interrupt()


def test_a_charter_that_its_owner_tightens_or_takes_away_holds_while_the_device_runs(site: Site) -> None:
    fleet = Fleet(site, {"kind": "interval", "length_s": 4.0})
    charter, there = site.folder / "charter.yaml", {"x_m": 1.0, "y_m": 1.0}
    assert fleet.ask("p1", parameters=there, seconds=1.0).state == "done"
    charter.write_text("plans: {allow: [stop]}\nkill: HALT\n")
    assert fleet.ask("p2", parameters=there, seconds=1.0).why.startswith("charter: plans.allow: viewpoint")
    wait_for(lambda: fleet.report()["plans"].get("allowed") == ["stop"], "what it allows now to be told")
    charter.unlink()
    lost = fleet.ask("p3", "stop")
    assert lost.state == "refused"
    assert lost.why.startswith("charter: file: ")
    charter.write_text(CHARTER.replace("plans: 4", "plans: 2"))
    assert fleet.ask("p4", parameters=there, seconds=1.0).state == "done"
    assert "plans.per_hour: plans" in fleet.ask("p5", parameters=there, seconds=1.0).why, "what was spent stays so"


def test_under_worth_too_and_what_has_no_such_control_refuses_by_name(site: Site) -> None:
    fleet = Fleet(site, {"kind": "worth", "budget": {"share": 0.9}, "unit_s": 1.0})
    assert fleet.ask("p1", parameters={"base.x_m": 2.0, "base.y_m": 1.0}, seconds=20.0).state == "done"
    wait_for(lambda: fleet.of("p1"), "an episode under the proposal")
    assert "'arm'" in fleet.ask("p2", sensor="arm", parameters={"x_m": 2.0, "y_m": 1.0}).why
    assert fleet.ask("p3", "exposure", parameters={"exposure_s": 0.1}).why.startswith("charter: plans.allow: exposure")
    assert fleet.ask("p4", "stop").state == "done"
    fleet.agent.wait(0)
    assert Path(fleet.store / "catalog.sqlite").exists()
