"""`sensorium plan` and `approve`: what is said before anything is asked, what is wrong use, what stands in the log."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from sensorium.agents.planning.adjudicator import new_id
from sensorium.agents.planning.gain import CellAxes
from sensorium.agents.planning.log import LOG, PlanApproved, PlanningLog, PlanOutcome, ProposalRuled
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.sole import sole_loop
from sensorium.cli.main import app
from sensorium.cli.plan import planners_of
from sensorium.errors import SensoriumError
from sensorium.ingest.store import Store
from sensorium.link.operators import new_operator
from tests.agents.planning.playing import PlayedDevice


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store").close()
    new_operator("anna", tmp_path / "keys")
    new_operator("ben", tmp_path / "keys")
    (tmp_path / "charter.yaml").write_text(yaml.safe_dump({"plans": {"allow": ["viewpoint"]}}))
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    named = {"STORE": folder / "store", "CHARTER": folder / "charter.yaml", "KEYS": folder / "keys"}
    return CliRunner().invoke(app, [_put(word, named) for word in words], catch_exceptions=False)


def _put(word: str, named: dict[str, Path]) -> str:
    for name, path in named.items():
        word = word.replace(name, str(path))
    return word


def refused(folder: Path, *words: str, says: Sequence[str]) -> None:
    with pytest.raises(SensoriumError) as error:
        run(folder, *words)
    for each in says:
        assert each in str(error.value)


def test_what_would_be_asked_for_is_said_and_nothing_done(folder: Path) -> None:
    PlayedDevice(folder / "store")
    for words in (("plan",), ("plan", "run")):
        text = run(folder, *words, "STORE", "--planner", "gap,uniform", "--charter", "CHARTER").stdout
        assert "what would be asked for" in text
        assert "x_m 0.5, y_m 0.5" in text
        assert "accepted" in text
    lines = run(folder, "plan", "STORE", "--planner", "gap", "--charter", "CHARTER", "--json").stdout.splitlines()
    said = [json.loads(line) for line in lines]
    assert [each["ruling"] for each in said] == ["accepted", "later", "later", "later"]
    assert {each["proposal"]["planner"] for each in said} == {"gap"}
    assert not (folder / "store" / LOG).exists()


def test_where_nothing_can_be_asked_for_it_says_why(folder: Path) -> None:
    said = run(folder, "plan", "STORE", "--planner", "gap", "--charter", "CHARTER").stdout
    assert "no device that is there, alone of its name, has controls that the charter allows" in said


def test_turns_end_where_nothing_is_left_to_propose(folder: Path) -> None:
    words = ["plan", "STORE", "--planner", "gap", "--charter", "CHARTER", "--operator", "KEYS/anna.operator_secret"]
    refused(
        folder, *words, "--turns", "2", "--patience", "0.5s", says=("nothing to propose", "0 plans have come to an end")
    )


def test_one_round_asks_waits_and_judges(folder: Path) -> None:
    """Of a device that never answers nothing is waited for longer than is said."""
    PlayedDevice(folder / "store")
    words = ["plan", "STORE", "--planner", "gap", "--charter", "CHARTER", "--operator", "KEYS/anna.operator_secret"]
    said = run(folder, *words, "--once", "--patience", "1s", "--settle", "0.1s").stdout.splitlines()
    assert [word for line in said for word in ("accepted", "asked of rover", "silent") if word in line] == [
        "accepted",
        "asked of rover",
        "silent",
    ]
    (outcome,) = [line for line in PlanningLog(folder / "store").read().lines if isinstance(line, PlanOutcome)]
    assert outcome.state == "silent"


def test_the_report_is_of_the_log(folder: Path) -> None:
    log = PlanningLog(folder / "store")
    proposal = Proposal(plan="viewpoint", planner="gap", parameters={"x_m": 1.0}, device="rover", id=new_id(), gain=2.0)
    log.add(ProposalRuled(proposal=proposal, ruling="accepted", expected=2.0))
    log.add(ProposalRuled(proposal=proposal, ruling="refused", rule="charter: plans.allow: stop: expected one of x"))
    log.add(PlanOutcome(proposal=proposal.id, planner="gap", state="done", promised=2.0, got=1.0, bytes=2e6, seconds=3))
    said = run(folder, "plan", "report", "STORE", "--png", f"{folder / 'coverage.png'}").stdout
    assert "refused by: charter: plans.allow: stop (1)" in said
    (row,) = json.loads(run(folder, "plan", "report", "STORE", "--json").stdout)["planners"]
    assert (row["ratio"], row["got per MB"], row["got per 1000 tokens"]) == (0.5, 0.5, None)
    assert row["states"] == {"done": 1}
    assert (folder / "coverage.png").stat().st_size > 1000
    with (folder / "store" / LOG).open("ab") as file:
        file.write(b'\n{"crc32": "0')
    assert "1 line of the log is damaged" in run(folder, "plan", "report", "STORE").stdout


def test_a_plan_that_waits_is_shown_and_approved(folder: Path) -> None:
    log = PlanningLog(folder / "store")
    assert "no plan waits" in run(folder, "approve", "STORE").stdout
    parameters = {"x_m": 1.0}
    proposal = Proposal(
        plan="viewpoint", planner="gap", parameters=parameters, device="rover", id=new_id(), rationale="[b]why"
    )
    log.add(ProposalRuled(proposal=proposal, ruling="waits", rule="charter: plans.approve", seconds=2.0))
    (shown,) = json.loads(run(folder, "approve", "STORE", "--json").stdout)
    assert (shown["proposal"], shown["why"]) == (proposal.id, "[b]why")
    said = run(
        folder, "approve", "STORE", proposal.id[:20], "--operator", "KEYS/ben.operator_secret", "--why", "ok"
    ).stdout
    assert said.strip() == f"proposal {proposal.id}: approved by ben"
    (line,) = [line for line in log.read().lines if isinstance(line, PlanApproved)]
    assert (line.by, line.why) == ("ben", "ok")


def test_wrong_use_is_said(folder: Path) -> None:
    base = ("plan", "STORE", "--charter", "CHARTER", "--planner")
    refused(folder, *base, "gapp", says=("unknown planner 'gapp'", "did you mean 'gap'"))
    refused(folder, *base, "gap,gap", says=("two have one kind",))
    refused(folder, *base, "gap", "--once", says=("--operator",))
    refused(folder, *base, "gap", "--once", "--watch", says=("not both",))
    refused(folder, *base, "gap", "--once", "--operator", "KEYS/anna.operator", says=("holds no secret key",))
    refused(folder, "plan", "nowhere", "--charter", "CHARTER", "--planner", "gap", says=("not a store",))
    refused(
        folder, "approve", "STORE", "abc", "--operator", "KEYS/ben.operator_secret", says=("no proposal that waits",)
    )
    (folder / "cells.yaml").write_text("axes: [taste]")
    refused(folder, *base, "gap", "--cells", f"{folder / 'cells.yaml'}", says=("cells", "axes"))
    (folder / "planners.yaml").write_text("[{kind: gap, boldness: 0.5}, uniform]")
    assert run(folder, *base, f"{folder / 'planners.yaml'}").exit_code == 0


def test_one_loop_asks_the_devices_of_a_store(folder: Path) -> None:
    """Others may look at what would be asked for."""
    PlayedDevice(folder / "store")
    words = ["plan", "STORE", "--planner", "gap", "--charter", "CHARTER"]
    asks = [*words, "--operator", "KEYS/anna.operator_secret", "--once", "--patience", "0.5s"]
    with sole_loop(folder / "store"):
        refused(folder, *asks, says=("another `sensorium plan` asks its devices",))
        assert not (folder / "store" / LOG).exists()
        assert "accepted" in run(folder, *words).stdout
    assert "asked of rover" in run(folder, *asks).stdout


def test_planners_go_by_the_cells_that_gain_is_judged_by_but_where_their_file_says_others(tmp_path: Path) -> None:
    """Or they are not held to what they promise: a mission that moves otherwise would be new to them for ever."""
    axes = CellAxes(axes=("task",))
    found = planners_of("gap,uniform", axes)
    assert [found[name].model_dump()["cells"]["axes"] for name in ("gap", "uniform")] == [("task",)] * 2
    said = tmp_path / "planners.yaml"
    said.write_text("[{kind: gap, cells: {axes: [place]}}, disagreement]")
    assert planners_of(str(said), axes)["gap"].model_dump()["cells"]["axes"] == ("place",)
