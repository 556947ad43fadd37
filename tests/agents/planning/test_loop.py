"""The loop on a real store with a played device: a gap is found, gone to, filled; what is wrong stops nobody else."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from sensorium.agents.planning.adjudicator import MOST_WAITING_EACH
from sensorium.agents.planning.approvals import approve, waiting_plans
from sensorium.agents.planning.asking import DirectiveDesk
from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import CellAxes
from sensorium.agents.planning.gap import GapConfig
from sensorium.agents.planning.log import (
    LOG,
    PlanApproved,
    PlanAsked,
    PlannerAside,
    PlanningLog,
    PlanningNote,
    PlanOutcome,
    ProposalRuled,
    outcomes_of,
)
from sensorium.agents.planning.loop import LoopTimes, PlanningLoop, status_of, would_ask
from sensorium.agents.planning.notebook import NotebookEntry, ProposalFate
from sensorium.agents.planning.planner import PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.report import BEFORE, ROAMING, planning_report
from sensorium.agents.planning.report_picture import BY_NOBODY, draw
from sensorium.agents.planning.rules import PlanRules, asked_plan
from sensorium.agents.planning.saying import line_of
from sensorium.agents.planning.uniform import UniformConfig
from sensorium.agents.plans.causing import ON_THE_WAY
from sensorium.agents.plans.spent import DAY_NS
from sensorium.corpus.directives import DirectiveShelf, GivenAnswer
from sensorium.drivers.controls import Control
from sensorium.episode.utc_text import utc_ns_of
from sensorium.errors import ConfigError
from sensorium.link.approval import Approval, approval_of, is_approved
from sensorium.link.operators import OperatorPair, new_operator, read_pair
from sensorium.perception.drawing import COLORS
from sensorium.perception.sheet import WIDTH
from tests.agents.planning.playing import PLACES, Clock, PlayedDevice, charter, loop_of

GAP = {"gap": GapConfig()}
PAN = Control(name="pan_rad", plan="viewpoint", unit="rad", low=-1, high=1)
PLACES_ALONE = CellAxes(axes=("place",))
SHADES = (BY_NOBODY[BEFORE], BY_NOBODY[ROAMING], COLORS[0])


def turn(loop: PlanningLoop, clock: Clock, *devices: PlayedDevice) -> None:
    """Ask, have it done, and judge it."""
    loop.step()
    for device in devices:
        device.obey()
    loop.step()
    clock.now_s += 70.0
    loop.step()


def test_a_gap_is_found_gone_to_and_filled(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    for x_m in (0.5, 1.5, 2.5):
        rover.record({"x_m": x_m, "y_m": 0.5})
    loop = loop_of(store, anna, GAP, clock)
    for _ in range(4):
        turn(loop, clock, rover)
    outcomes = outcomes_of(PlanningLog(store).read().lines)
    assert [each.got for each in outcomes[:3]] == [1.0, 1.0, 1.0]
    assert all((each.state, each.episodes, each.planner) == ("done", 1, "gap") for each in outcomes)
    assert all(each.bytes > 0 for each in outcomes)
    assert {body["parameters"]["y_m"] for body in rover.asked[:3]} == {1.5}
    assert all(body["seconds"] == 2.0 for body in rover.asked)
    assert len(loop.known.book.cells) == 6
    found = planning_report(store)
    assert (found.cells_before, found.cells_after) == (3, 6)
    (row,) = found.rows()
    assert (row["planner"], row["got"], row["outcomes"]) == ("gap", 3.0, len(outcomes))
    assert row["got per MB"] > 0
    assert found.by == {BEFORE: 3, "gap": 3}
    assert found.said_of_cells() == "cells 3 before, 6 after: 3 by gap"
    status = status_of(loop)
    assert (status["cells"], status["places"]) == (6, {"covered": 6, "reachable": 6})
    assert json.loads(json.dumps(status)) == status
    assert (
        status["planners"]["gap"]["accepted"]
        == status_of(again := loop_of(store, anna, GAP, clock))["planners"]["gap"]["accepted"]
    )
    assert again.judge.tally("gap") == loop.judge.tally("gap")


def test_what_comes_from_the_way_counts_for_the_plan_and_does_not_end_the_wait_for_its_place(
    store: Path, anna: OperatorPair
) -> None:
    rover, clock = PlayedDevice(store), Clock()
    rover.record({"x_m": 0.5, "y_m": 0.5})
    loop = loop_of(store, anna, GAP, clock, axes=PLACES_ALONE)
    loop.step()
    (awaited,) = loop.awaited.values()
    there = awaited.proposal.parameters
    on_the_way = {"x_m": 2.5, "y_m": 0.5} if float(there["y_m"]) > 1 else {"x_m": 2.5, "y_m": 1.5}
    rover.record(on_the_way, awaited.proposal.id, ON_THE_WAY)
    answer(store, rover.name, awaited.directive)
    loop.step()
    clock.now_s += 50.0
    loop.step()
    assert [*loop.awaited] == [rover.name], "what it was sent for has not come yet"
    rover.record(there, awaited.proposal.id)
    loop.step()
    clock.now_s += 2.0
    loop.step()
    (outcome,) = outcomes_of(PlanningLog(store).read().lines)
    assert (outcome.episodes, outcome.got, outcome.state) == (2, 2.0, "done")
    cards = {card.proposal: card for card in loop.known.cards.values() if card.on_the_way}
    assert [*cards] == [awaited.proposal.id]
    found = planning_report(store, PLACES_ALONE)
    assert found.by == {BEFORE: 1, "gap": 2}


def answer(store: Path, device: str, directive: str) -> None:
    """Its device says that it is done."""
    shelf = DirectiveShelf(store)
    (entry,) = [each for each in shelf.waiting(device) if each.document is not None and each.document.id == directive]
    assert shelf.answered(device, entry.name, GivenAnswer(state="done", why=""), entry.digest)


def test_the_report_tells_what_plans_brought_from_what_devices_came_by(store: Path, anna: OperatorPair) -> None:
    """In the picture too: a place that a plan has filled is of its planner's colour, on the right alone."""
    rover, clock = PlayedDevice(store), Clock()
    rover.record({"x_m": 0.5, "y_m": 0.5})
    loop = loop_of(store, anna, GAP, clock)
    turn(loop, clock, rover)
    turn(loop, clock, rover)
    (free, *_) = sorted({f"{x},{y}" for x in range(3) for y in range(2)} - loop.known.book.visited)
    x, y = map(int, free.split(","))
    rover.record({"x_m": x + 0.5, "y_m": y + 0.5})
    found = planning_report(store, PLACES_ALONE)
    assert [*found.brought.values()] == [BEFORE, "gap", "gap", ROAMING]
    assert found.as_dict()["cells_by"] == {BEFORE: 1, "gap": 2, ROAMING: 1}
    assert found.said_of_cells() == "cells 1 before, 4 after: 2 by gap, 1 by themselves since"
    picture = draw(found)
    assert picture.shape[1] == WIDTH
    maps = {"before": picture[:500, : WIDTH // 2], "now": picture[:500, WIDTH // 2 :]}
    shown = {name: [int((part == color).all(axis=2).sum()) for color in SHADES] for name, part in maps.items()}
    (had, roamed, planned), (had_now, roamed_now, planned_now) = shown["before"], shown["now"]
    assert had > 20_000
    assert planned == 0
    assert roamed < 50, "letters have such grays"
    assert abs(had_now - had) + abs(roamed_now - had) + abs(planned_now - 2 * had) < 500


WHOLE = ["viewpoint", "mission", "duration", "stop"]


def test_a_mission_that_brings_more_is_asked_for_and_judged(store: Path, anna: OperatorPair) -> None:
    """Of one who stands still: there is nothing else to be had."""
    still, clock = PlayedDevice(store, controls=()), Clock()
    still.report((), allowed=["mission"])
    still.record({"x_m": 0.5})
    allowed = charter(allow=WHOLE, controls={"mission.name": {"one_of": ["hall", "yard"]}})
    loop = loop_of(store, anna, GAP, clock, allowed)
    for _ in range(3):
        turn(loop, clock, still)
    assert [(body["plan"], body["parameters"]) for body in still.asked] == [
        ("mission", {"name": "hall"}),
        ("mission", {"name": "yard"}),
    ]
    outcomes = outcomes_of(PlanningLog(store).read().lines)
    assert [(each.state, each.got, each.expected) for each in outcomes] == [("done", 1.0, 1.0)] * 2
    assert {card.mission for card in loop.known.cards.values()} == {"kitchen", "hall", "yard"}


class Wishes(PlannerConfig):
    """Proposes what it is told to, once each."""

    kind: str = "wishes"
    said: tuple[Any, ...] = ()

    def make(self, reaches: Sequence[Reach], seed: int) -> Any:
        del reaches, seed
        left = list(self.said)

        class Says:
            def ingest(self, card: EpisodeCard) -> None:
                """It does not care."""

            def suggest(self, n: int) -> list[Proposal]:
                return [left.pop(0) for _ in range(min(n, 1, len(left)))]

            def report(self) -> dict[str, Any]:
                return {}

        return Says()


def test_duration_and_stop_are_carried_out_and_answered_and_a_stop_is_waited_for_no_longer(
    store: Path, anna: OperatorPair
) -> None:
    rover, clock = PlayedDevice(store), Clock()
    rover.report(PLACES, allowed=WHOLE)
    said = (
        Proposal(plan="duration", planner="wishes", parameters={"seconds": 90.0}, device="rover", gain=1.0),
        Proposal(plan="duration", planner="wishes", parameters={"seconds": 10.0}, gain=1.0),
        Proposal(plan="stop", planner="wishes", parameters={"name": "all"}, device="rover", gain=9.0),
        Proposal(plan="stop", planner="wishes", device="rover"),
    )
    loop = loop_of(store, anna, {"wishes": Wishes(said=said)}, clock, charter(allow=WHOLE, most_s=60))
    for _ in range(6):
        turn(loop, clock, rover)
    lines = PlanningLog(store).read().lines
    refused = [line.rule for line in lines if isinstance(line, ProposalRuled) and line.ruling == "refused"]
    assert ["most_s" in refused[0], "expected the parameters (none)" in refused[1]] == [True, True], refused
    assert [(body["plan"], body["parameters"]) for body in rover.asked] == [
        ("duration", {"seconds": 10.0}),
        ("stop", {}),
    ]
    asked = {line.proposal: line for line in lines if isinstance(line, PlanAsked)}
    outcomes = outcomes_of(lines)
    assert [(each.state, each.episodes) for each in outcomes] == [("done", 1), ("done", 0)]
    assert asked[outcomes[0].proposal].cost.seconds == 12.0, "what it lasts, and what each plan is to hold for"
    assert outcomes[1].seconds < 100, "nothing is to come of a stop"


def test_what_it_logs_is_said_in_words_and_as_json(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, GAP, clock)
    turn(loop, clock, rover)
    lines = PlanningLog(store).read().lines
    assert [type(line).__name__ for line in lines[:4]] == ["ProposalRuled", "PlanAsked", "PlanOutcome", "PlannerSpent"]
    for line in lines:
        assert "\n" not in line_of(line)
        assert msgspec.json.decode(msgspec.json.encode(line), type=type(line)) == line


def test_who_looks_first_asks_for_nothing_and_logs_nothing(store: Path, anna: OperatorPair) -> None:
    PlayedDevice(store)
    loops = [loop_of(store, anna, {**GAP, "uniform": UniformConfig()}, Clock(), seed=7) for _ in range(2)]
    first, second = ([msgspec.structs.replace(each.proposal, id="") for each in would_ask(loop)] for loop in loops)
    assert first == second, "the same store and seed: the same proposals"
    assert first
    assert not (store / LOG).exists()
    assert not (store / "directives").exists()


def test_a_device_that_never_answers_is_waited_for_so_long_and_is_not_its_planners_fault(
    store: Path, anna: OperatorPair
) -> None:
    deaf = PlayedDevice(store, "deaf", did=lambda _: None)
    rover, clock = PlayedDevice(store, "rover"), Clock()
    loop = loop_of(store, anna, GAP, clock)
    for _ in range(3):
        turn(loop, clock, deaf, rover)
    outcomes = outcomes_of(PlanningLog(store).read().lines)
    assert {each.state for each in outcomes if each.got} == {"done"}
    (silent,) = [each for each in outcomes if each.state == "silent"]
    assert "has not answered" in silent.why
    assert len([each for each in outcomes if each.state == "done"]) >= 3, "others go on meanwhile"
    assert loop.judge.tally("gap").ratio > 0.9


def test_a_device_that_refuses_is_said_with_its_rule(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store, did=lambda _: {"refuse": "charter: kill: KILL"}), Clock()
    loop = loop_of(store, anna, GAP, clock)
    turn(loop, clock, rover)
    (outcome,) = outcomes_of(PlanningLog(store).read().lines)
    assert (outcome.state, outcome.why, outcome.got) == ("refused", "charter: kill: KILL", 0.0)
    assert loop.judge.tally("gap").refused == 1


class OddConfig(PlannerConfig):
    """What is wrong with its planner."""

    kind: Literal["odd"] = "odd"
    how: str = ""

    def make(self, reaches: Sequence[Reach], seed: int) -> "OddPlanner":
        if self.how == "make":
            raise RuntimeError("no such thing")
        if self.how == "make and exit":
            raise SystemExit(3)
        return OddPlanner(self.how)


class OddPlanner:
    def __init__(self, how: str) -> None:
        self._how = how
        self._times = 0

    def ingest(self, card: EpisodeCard) -> None:
        if self._how == "ingest":
            raise KeyError(card.episode)

    def suggest(self, n: int) -> list[Proposal]:
        if self._how == "suggest":
            raise ZeroDivisionError("all of it " * 1000)
        if self._how == "exit":
            raise SystemExit(3)
        self._times += 1
        gain = {"nan": float("nan"), "modest": 0.5}.get(self._how, 1e9)
        x_m = 99.0 if self._how.startswith("unlawful") else 0.5
        x_m += 1e-3 * self._times if self._how.endswith("anew") else 0.0
        parameters: dict[str, Any] = {"x_m": x_m, "y_m": 0.5}
        return [Proposal(plan="viewpoint", planner="odd", device="rover", parameters=parameters, gain=gain, cost_s=0.1)]

    def report(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    "how",
    [
        "make",
        "make and exit",
        "ingest",
        "suggest",
        "exit",
        "nan",
        "unlawful",
        "same",
        "modest",
        "unlawful anew",
        "useless anew",
    ],
)
def test_a_planner_that_is_of_no_use_is_set_aside_while_others_go_on(
    store: Path, anna: OperatorPair, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """One that always says the same has it once, and brings nothing from then on; so does one that says it anew each
    time, a little beside, or what nobody may do. It is not put off by what can be reached being other now and then."""
    rover, clock = PlayedDevice(store), Clock()
    rover.record({"x_m": 0.5, "y_m": 0.5})
    loop = loop_of(store, anna, {"odd": OddConfig(how=how), **GAP}, clock)
    for number in range(80):
        rover.report(PLACES if number % 10 < 5 else (*PLACES, PAN))
        if loop.council.why("odd"):
            break
        turn(loop, clock, rover)
    assert loop.council.why("odd")
    asides = [line for line in PlanningLog(store).read().lines if isinstance(line, PlannerAside)]
    assert [each.planner for each in asides] == ["odd"]
    for _ in range(6):
        turn(loop, clock, rover)
    assert loop.judge.tally("gap").got == 5.0, "all that was missing"
    assert not [body for body in rover.asked if body["parameters"]["x_m"] > 3]
    assert [each.levelname for each in caplog.records] == ["WARNING"], "it is no fault of the program"


def test_a_line_of_what_waits_has_the_whole_id_by_which_it_is_approved() -> None:
    proposal = Proposal(plan="stop", planner="gap", device="rover", id="01a21d68-3ccc-74a3-8744-042604316989")
    assert line_of(ProposalRuled(proposal=proposal, ruling="waits")).startswith(f"{proposal.id} waits: ")


def test_who_looks_first_is_told_who_would_be_set_aside(
    store: Path, anna: OperatorPair, caplog: pytest.LogCaptureFixture
) -> None:
    PlayedDevice(store)
    loop = loop_of(store, anna, {"odd": OddConfig(how="suggest"), **GAP}, Clock())
    assert {each.proposal.planner for each in would_ask(loop)} == {"gap"}
    (said,) = [each.getMessage() for each in caplog.records]
    assert said.startswith("planner odd is set aside: suggest raised ZeroDivisionError: all of it")
    assert len(said) < 600
    assert not (store / LOG).exists()


class LostConfig(PlannerConfig):
    """What its planner needs is there at first, and gone later."""

    kind: Literal["lost"] = "lost"
    needs: Path

    def make(self, reaches: Sequence[Reach], seed: int) -> OddPlanner:
        if not self.needs.exists():
            raise ConfigError(f"{self.needs} is gone")
        return OddPlanner("modest")


def test_what_a_planner_needs_must_be_there_at_first_and_ends_no_loop_later(
    store: Path, anna: OperatorPair, tmp_path: Path
) -> None:
    rover, clock, needed = PlayedDevice(store), Clock(), tmp_path / "key"
    with pytest.raises(ConfigError, match="is gone"):
        loop_of(store, anna, {"lost": LostConfig(needs=needed), **GAP}, clock).step()
    needed.touch()
    loop = loop_of(store, anna, {"lost": LostConfig(needs=needed), **GAP}, clock)
    turn(loop, clock, rover)
    needed.unlink()
    rover.report((*PLACES, PAN))
    turn(loop, clock, rover)
    assert loop.council.why("lost") == f"cannot be made: {needed} is gone"
    assert loop.council.names == ["gap"]
    rover.report(PLACES)
    turn(loop, clock, rover)
    lines = [line for line in PlanningLog(store).read().lines if isinstance(line, PlannerAside)]
    assert [line.planner for line in lines] == ["lost"], "that is said once"


def test_what_a_planner_does_to_a_card_or_prints_reaches_nobody_else(
    store: Path, anna: OperatorPair, capsys: pytest.CaptureFixture[str]
) -> None:
    class Rude(OddPlanner):
        def ingest(self, card: EpisodeCard) -> None:
            for each in (card.where, card.labels, card.scores, card.verdicts, card.measured, card.decided):
                assert isinstance(each, dict)
                each.clear()
            print("mine")

    class RudeConfig(OddConfig):
        def make(self, reaches: Sequence[Reach], seed: int) -> OddPlanner:
            return Rude("same")

    rover = PlayedDevice(store)
    rover.record({"x_m": 0.5, "y_m": 0.5})
    loop = loop_of(store, anna, {"odd": RudeConfig(), **GAP}, Clock())
    loop.look()
    (card,) = loop.known.cards.values()
    assert set(card.where) >= {"x_m", "y_m"}
    assert card.measured
    assert "mine" not in capsys.readouterr().out


def test_who_brings_nothing_is_asked_again_after_an_hour_and_who_raises_is_not(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    rover.record({"x_m": 0.5, "y_m": 0.5})
    loop = loop_of(store, anna, {"odd": OddConfig(how="unlawful"), "off": OddConfig(how="suggest")}, clock)
    while not loop.council.why("odd"):
        turn(loop, clock, rover)
    assert loop.council.why("odd").endswith("; it is asked again in 60 minutes")
    assert (loop.council.names, "suggest raised" in loop.council.why("off")) == ([], True)
    clock.now_s += 3500.0
    loop.step()
    assert loop.council.names == []
    clock.now_s += 100.0
    loop.step()
    assert loop.council.names == ["odd"]
    lines = [line for line in PlanningLog(store).read().lines if isinstance(line, PlannerAside)]
    assert [(line.planner, bool(line.why)) for line in lines] == [("off", True), ("odd", True), ("odd", False)]
    assert line_of(lines[-1]) == "planner odd is asked again"
    assert {row["planner"]: bool(row["aside"]) for row in planning_report(store).rows()} == {"odd": False, "off": True}


@pytest.mark.parametrize("limits", [{"per_hour": {"plans": 0}}, {"hottest_c": 20}, {"least_free_bytes": 10**18}])
def test_what_is_refused_for_now_whatever_it_is_sets_nobody_aside(
    store: Path, anna: OperatorPair, limits: dict[str, Any]
) -> None:
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, {"odd": OddConfig(how="same")}, clock, charter(**limits))
    for _ in range(40):
        turn(loop, clock, rover)
    assert (loop.council.names, rover.asked) == (["odd"], [])


def test_what_a_charter_forbids_is_never_asked_and_the_rule_is_in_the_log_once(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, {"odd": OddConfig(how="unlawful")}, clock)
    for _ in range(5):
        turn(loop, clock, rover)
    refused = [line for line in PlanningLog(store).read().lines if isinstance(line, ProposalRuled)]
    assert [(each.ruling, "expected 0 to 3" in each.rule) for each in refused] == [("refused", True)]
    assert rover.asked == []


def test_a_loop_that_was_killed_goes_on_with_what_was_asked(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    turn(first := loop_of(store, anna, GAP, clock), clock, rover)
    first.step()
    (device,) = first.awaited
    proposal = first.awaited[device].proposal
    second = loop_of(store, anna, GAP, clock)
    assert second.awaited[device].proposal == proposal
    assert second.judge.tally("gap").got == first.judge.tally("gap").got == 1.0
    turn(second, clock, rover)
    done = outcomes_of(PlanningLog(store).read().lines)
    assert [each.got for each in done] == [1.0, 1.0]
    assert len(rover.asked) == 2, "nothing was asked twice"


def test_one_that_was_asked_just_before_the_kill_is_found_by_its_directive(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    loop_of(store, anna, GAP, clock).step()
    path = store / LOG
    lines = [line for line in path.read_bytes().split(b"\n") if line]
    assert b'"asked"' in lines[-1]
    path.write_bytes(b"\n".join(lines[:-1]) + b"\n" + lines[-1][:20])
    again = loop_of(store, anna, GAP, clock)
    assert list(again.awaited) == ["rover"]
    turn(again, clock, rover)
    assert [each.got for each in outcomes_of(PlanningLog(store).read().lines)] == [1.0]


def test_a_plan_waits_until_another_than_who_asks_has_approved_it(
    store: Path, anna: OperatorPair, ben: OperatorPair, tmp_path: Path
) -> None:
    eve = read_pair(new_operator("eve", tmp_path / "keys")[1])
    keys = [str(tmp_path / "keys" / f"{name}.operator") for name in ("anna", "ben")]
    limits = charter(approve=["viewpoint"], approvers=keys)
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, GAP, clock, limits)
    turn(loop, clock, rover)
    log = PlanningLog(store)
    waiting = waiting_plans(log.read().lines)
    assert waiting
    assert rover.asked == []
    name, ruled = next(iter(waiting.items()))
    with pytest.raises(ConfigError, match="anna asks for it"):
        approve(store, name, anna)
    with pytest.raises(ConfigError, match="no proposal that waits"):
        approve(store, "zzz", ben)
    own = approval_of(anna, proposal=name, digest=asked_plan(ruled.proposal, 2.0).digest, device="rover")
    said = {"operator": own.operator.hex(), "signature": own.signature.hex()}
    log.add(PlanApproved(proposal=name, by="ben", **said))
    log.add(PlanApproved(proposal=name, by="ben", operator=ben.operator.public.hex(), signature=said["signature"]))
    turn(loop, clock, rover)
    assert rover.asked == [], "who asks cannot approve, whatever is written into the log, nor in another's name"
    approve(store, name, eve)
    turn(loop, clock, rover)
    assert rover.asked == [], "eve is none of its approvers"
    approve(store, name, ben, why="the hall is empty")
    turn(loop, clock, rover)
    (body,) = rover.asked
    assert body["proposal"] == name
    (approval,) = msgspec.convert(body["approved_by"], list[Approval])
    digest = asked_plan(ruled.proposal, 2.0).digest
    assert is_approved(approval, proposal=name, digest=digest, device="rover")
    assert name not in waiting_plans(log.read().lines)
    (outcome,) = outcomes_of(log.read().lines)
    assert outcome.got == 1.0
    assert not loop_of(store, anna, GAP, clock, limits).waiting.has(ruled.proposal)


def test_what_waits_for_approval_is_bounded_and_more_is_refused(
    store: Path, anna: OperatorPair, ben: OperatorPair, tmp_path: Path
) -> None:
    limits = charter(approve=["viewpoint"], approvers=[str(tmp_path / "keys" / "ben.operator")])
    loop = loop_of(store, anna, GAP, Clock(), limits)
    PlayedDevice(store)
    for number in range(MOST_WAITING_EACH):
        said = Proposal(plan="viewpoint", planner="gap", parameters={"x_m": -1.0 - number}, id=f"{number}")
        loop.waiting.add(ProposalRuled(proposal=said, ruling="waits", until="9000-01-01"))
    ruled = [line for line in loop.step() if isinstance(line, ProposalRuled) and line.ruling != "expired"]
    assert ruled
    assert {line.ruling for line in ruled} == {"refused"}
    assert all(line.rule.startswith("approval: 32 of this planner wait") for line in ruled)
    assert loop.council.why("gap") == "", "that nobody approves is no fault that it is set aside for"
    assert {line.ruling for line in would_ask(loop)} <= {"refused", "later"}


def test_what_nobody_approves_in_time_has_expired_and_approving_it_says_so(
    store: Path, anna: OperatorPair, ben: OperatorPair, tmp_path: Path
) -> None:
    limits = charter(approve=["viewpoint"], approvers=[str(tmp_path / "keys" / "ben.operator")])
    rover, clock, log = PlayedDevice(store), Clock(), PlanningLog(store)
    wall_ns = [time.time_ns() - 2 * DAY_NS]
    rules = PlanRules(limits, seconds=2.0, now_ns=lambda: wall_ns[0])
    desk = DirectiveDesk(store, anna, 600.0)
    loop = PlanningLoop(store, GAP, rules, desk, times=LoopTimes(1.0, 100.0), clock_s=clock)
    loop.step()
    waiting = waiting_plans(log.read().lines)
    assert waiting
    name, ruled = next(iter(waiting.items()))
    assert utc_ns_of(ruled.until) == wall_ns[0] // 1000 * 1000 + DAY_NS
    with pytest.raises(ConfigError, match=f"proposal {name}: has expired"):
        approve(store, name, ben)
    digest = asked_plan(ruled.proposal, 2.0).digest
    signed = approval_of(ben, proposal=name, digest=digest, device="rover")
    late = PlanApproved(proposal=name, by="ben", operator=signed.operator.hex(), signature=signed.signature.hex())
    log.add(late)
    loop.step(proposing=False)
    assert [*waiting_plans(log.read().lines)] == [*waiting], "its day is not over by the loop's clock"
    wall_ns[0] += DAY_NS
    lines = loop.step(proposing=False)
    assert [(line.ruling, line.proposal.id) for line in lines if isinstance(line, ProposalRuled)] == [
        ("expired", each) for each in waiting
    ]
    assert not loop.waiting.plans
    assert rover.asked == []
    assert not waiting_plans(log.read().lines)
    assert not loop_of(store, anna, GAP, clock, limits).waiting.plans
    with pytest.raises(ConfigError, match=f"proposal {name}: has expired"):
        approve(store, name, ben)


def test_what_was_approved_in_time_waits_for_a_device_that_is_busy_longer_than_that(
    store: Path, anna: OperatorPair, ben: OperatorPair, tmp_path: Path
) -> None:
    limits = charter(approve=["viewpoint"], approvers=[str(tmp_path / "keys" / "ben.operator")])
    rover, clock, log = PlayedDevice(store), Clock(), PlanningLog(store)
    wall_ns = [time.time_ns()]
    rules = PlanRules(limits, seconds=2.0, now_ns=lambda: wall_ns[0])
    desk = DirectiveDesk(store, anna, 600.0)
    loop = PlanningLoop(store, GAP, rules, desk, times=LoopTimes(1.0, 100.0), clock_s=clock)
    loop.step()
    first, second, *others = waiting_plans(log.read().lines)
    approve(store, first, ben)
    approve(store, second, ben)
    loop.step(proposing=False)
    assert [*loop.awaited] == [rover.name]
    wall_ns[0] += DAY_NS
    loop.step(proposing=False)
    assert [each.proposal.id for each in loop.waiting.plans] == [second]
    ruled = [line for line in log.read().lines if isinstance(line, ProposalRuled)]
    assert {line.proposal.id for line in ruled if line.ruling == "expired"} == {*others}
    (answered,) = loop.awaited.values()
    answer(store, rover.name, answered.directive)
    rover.record(answered.proposal.parameters, first)
    wall_ns[0] = time.time_ns()
    loop.step(proposing=False)
    clock.now_s += 70.0
    loop.step(proposing=False)
    loop.step(proposing=False)
    assert [each.proposal.id for each in loop.awaited.values()] == [second]


def test_what_others_put_into_the_log_is_ruled_as_all_is(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, {}, clock)
    for number, x_m in enumerate((99.0, 1.5)):
        offered = Proposal(
            plan="viewpoint",
            planner="mcp",
            id=f"offered-{number}",
            parameters={"x_m": x_m, "y_m": 0.5},
            gain=1.0,
            cost_s=1.0,
        )
        PlanningLog(store).add(ProposalRuled(proposal=offered, ruling="offered", who="a client"))
    turn(loop, clock, rover)
    turn(loop, clock, rover)
    ruled = [line for line in PlanningLog(store).read().lines if isinstance(line, ProposalRuled)]
    assert [(each.proposal.parameters["x_m"], each.ruling) for each in ruled[2:]] == [
        (99.0, "refused"),
        (1.5, "accepted"),
    ]
    assert [each.proposal.id for each in ruled[2:]] == ["offered-0", "offered-1"], "under the id that was told"
    assert [body["parameters"]["x_m"] for body in rover.asked] == [1.5]


class DiaryConfig(PlannerConfig):
    kind: Literal["diary"] = "diary"

    def make(self, reaches: Sequence[Reach], seed: int) -> "DiaryPlanner":
        return DiaryPlanner()


class DiaryPlanner(OddPlanner):
    """Keeps a notebook: what it remembers, and what it is told, is in its report."""

    def __init__(self) -> None:
        super().__init__("")
        self.remembered: list[str] = []
        self.fates: list[str] = []
        self._new: list[NotebookEntry] = []

    def remember(self, entries: Sequence[NotebookEntry]) -> None:
        self.remembered += [each.text for each in entries]

    def learn(self, outcome: ProposalFate) -> None:
        self.fates.append(f"{outcome.became} {outcome.got:g}")
        self._new.append(NotebookEntry(planner="somebody", kind="outcome", text=self.fates[-1]))

    def written(self) -> list[NotebookEntry]:
        new, self._new = self._new, []
        return new

    def report(self) -> dict[str, Any]:
        return {"tokens": 100 * len(self.fates), "remembered": self.remembered, "fates": self.fates}


def test_a_planner_with_a_notebook_is_told_of_outcomes_and_given_what_it_wrote(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, {"diary": DiaryConfig()}, clock)
    turn(loop, clock, rover)
    assert loop.council.report("diary")["fates"] == ["done 1"]
    notes = [line for line in PlanningLog(store).read().lines if isinstance(line, PlanningNote)]
    assert [(each.planner, each.name, each.value["text"]) for each in notes] == [("diary", "outcome", "done 1")]
    again = loop_of(store, anna, {"diary": DiaryConfig()}, clock)
    again.step()
    assert again.council.report("diary")["remembered"] == ["done 1"]
    assert planning_report(store).rows()[0]["got per 1000 tokens"] == 10.0


def test_who_has_spent_its_share_is_not_asked_as_long_as_others_have_something(store: Path, anna: OperatorPair) -> None:
    """To ask may cost tokens."""
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, {"odd": OddConfig(how="same"), **GAP}, clock)
    loop.look()
    for _ in range(30):
        loop.judge.settle(Proposal(plan="viewpoint", planner="odd", gain=1.0), 0.0, 1.0, 0)
        loop.judge.settle(Proposal(plan="viewpoint", planner="gap", gain=1.0), 1.0, 1.0, 0)
    assert {each.proposal.planner for each in would_ask(loop)} == {"gap"}
    rover.obey()


def test_what_a_device_can_do_may_change_while_it_runs(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store, controls=PLACES[:1]), Clock()
    loop = loop_of(store, anna, GAP, clock)
    turn(loop, clock, rover)
    wider = (*PLACES, Control(name="pan_rad", plan="viewpoint", unit="rad", low=-1, high=1, cell=1))
    rover.report(wider)
    for _ in range(2):
        turn(loop, clock, rover)
    assert sorted(rover.asked[-1]["parameters"]) == ["pan_rad", "x_m", "y_m"]
    assert [type(each) for each in PlanningLog(store).read().lines if isinstance(each, PlanOutcome | PlanAsked)]


def test_areas_bound_where_planners_propose_to_go(store: Path, anna: OperatorPair) -> None:
    box = {"of": ["x_m", "y_m"], "box": [[0, 1], [0, 2]]}
    pond = {"name": "pond", "of": ["x_m", "y_m"], "box": [[0, 1], [1, 2]], "forbidden": True}
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, GAP, clock, charter(areas=[box, pond]))
    for _ in range(3):
        turn(loop, clock, rover)
    assert {tuple(body["parameters"].values()) for body in rover.asked} == {(0.5, 0.5)}
    assert not [each for each in PlanningLog(store).read().lines if getattr(each, "ruling", "") == "refused"]


def test_a_budget_of_plans_ends_them(store: Path, anna: OperatorPair) -> None:
    rover, clock = PlayedDevice(store), Clock()
    loop = loop_of(store, anna, GAP, clock, charter(per_hour={"plans": 2}))
    for _ in range(5):
        turn(loop, clock, rover)
    again = loop_of(store, anna, GAP, clock, charter(per_hour={"plans": 2}))
    turn(again, clock, rover)
    assert len(rover.asked) == 2
    assert status_of(again)["budgets"]["rover"]["plans per_hour"] == {"spent": 2.0, "most": 2.0}
    rules = {line.rule for line in PlanningLog(store).read().lines if isinstance(line, ProposalRuled)}
    assert any("per_hour: plans: expected at most 2, 2 are spent" in rule for rule in rules)
