"""Plans as they are carried out: judged as begun, paid before, answered once, taken back by time and by kill."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sensorium.agents.plans import carrying as carrying_module
from sensorium.agents.plans.asked import AskedPlan
from sensorium.agents.plans.carrying import Carrying
from sensorium.agents.plans.causing import Effect
from sensorium.agents.plans.limits import PlanLimits, PlanState
from sensorium.agents.plans.permit import PlanPermit
from sensorium.drivers.clock import Clock, live_clock
from sensorium.drivers.controls import CONTROL, Control, Value, check_asked
from sensorium.drivers.driver import Delivery, Driver
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.stream import StreamSpec
from sensorium.link.approval import approval_of
from sensorium.link.directive import DirectiveEvent
from sensorium.link.operators import OperatorPair, new_operator, read_pair

S = 1_000_000_000
LIMITS = PlanLimits.model_validate(
    {
        "allow": ["viewpoint", "rate", "mission", "duration", "stop"],
        "controls": {"base.x_m": {"at_most": 3}},
        "per_hour": {"plans": 6},
    }
)


class Mover:
    """A driver that can be asked for a place, and does what it is told to."""

    specs: tuple[StreamSpec, ...] = ()
    controls = (Control(name="x_m", plan="viewpoint", low=-5, high=5), Control(name="gain", plan="exposure", high=1))

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Value]]] = []
        self.raises = ""

    @property
    def clock(self) -> Clock:
        return live_clock()

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        if self.raises:
            raise RuntimeError(self.raises)
        self.asked.append((name, check_asked(self.controls, asked)))

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        return ()

    def close(self) -> None:
        """Nothing is open."""


class Rig:
    """A device with a mover, a time of its own, and what came of it all."""

    def __init__(self, folder: Path, limits: PlanLimits = LIMITS) -> None:
        self.base = Mover()
        self.now_ns, self.stopped, self.mission = 0, False, ""
        self.missions: list[str] = []
        self.unable, self.later = "", list[Any]()
        self.is_slow = False
        """Whether what becomes of a mission is known later."""
        self.answers: list[tuple[str, str, str]] = []
        self.kill = folder / "KILL"
        self.permit = PlanPermit(limits, self.kill)
        self.carrying = Carrying("rig-1", lambda: self.permit, folder / "plans" / "spent")

    def drivers(self) -> Mapping[str, Driver]:
        return {"base": self.base}

    def passed_ns(self) -> int:
        return self.now_ns

    def condition(self) -> PlanState:
        return PlanState()

    def change_mission(self, name: str, settled: Any) -> None:
        self.missions.append(name)

        def settle() -> None:
            self.mission = self.mission if self.unable else name
            settled(self.unable)

        if self.is_slow:
            self.later.append(settle)
        else:
            settle()

    def stop(self) -> None:
        self.stopped = True

    def take(self, proposal: str, plan: str = "viewpoint", **more: Any) -> None:
        def settled(event: DirectiveEvent, why: str) -> None:
            self.answers.append((proposal, event.name, why))

        said = {"proposal": proposal, "plan": plan, **more}
        self.carrying.take(said, b"anna", settled)

    def go_on(self) -> list[Effect]:
        self.carrying._looked_s = 0.0
        return self.carrying.step(self)

    def tell(self, proposal: str, at_s: float, why: str = "", **did: Value) -> Effect | None:
        value = {"asked": {}, "did": did, "why": why}
        return self.carrying.heard("base", SourceNote(CONTROL, proposal, value, start_ns=0, end_ns=round(at_s * S)))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_it_is_asked_and_answered_when_its_sensor_says_what_it_did(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 2}, planner="gap")
    assert rig.base.asked == [], "nothing is done by who asks"
    (way,) = rig.go_on()
    assert (way[:3], way.is_on_the_way) == (("p1", 1, None), True), "it is the cause of what is met on the way"
    assert way.value == {
        "asked": {"x_m": 2.0}, "did": {}, "why": "", "planner": "gap", "plan": "viewpoint", "sensor": "base",
        "begun_ns": 1, "phase": "on_the_way",
    }  # fmt: skip
    assert (rig.base.asked, rig.answers) == ([("p1", {"x_m": 2.0})], [])
    assert rig.tell("p0", 1.0, x_m=2.0) is None, "another's"
    effect = rig.tell("p1", 5.0, x_m=1.98)
    assert effect is not None
    assert (effect[:3], effect.is_on_the_way) == (("p1", 5 * S, None), False)
    assert effect.value == {
        "asked": {}, "did": {"x_m": 1.98}, "why": "", "planner": "gap", "plan": "viewpoint", "sensor": "base",
        "begun_ns": 0, "phase": "at_place",
    }  # fmt: skip
    assert rig.answers == [("p1", "OBEYED", "x_m 1.98")]
    assert rig.tell("p1", 6.0, x_m=1.0) is None, "it is answered once"


def test_what_it_could_not_is_answered_so_and_what_it_did_still_counts(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 2})
    rig.go_on()
    effect = rig.tell("p1", 9.0, "0.8 m off after 9 s", x_m=1.2)
    assert effect is not None
    assert rig.answers == [("p1", "BROKE", "0.8 m off after 9 s; x_m 1.2")]
    rig.take("p2", parameters={"x_m": 2})
    rig.go_on()
    assert rig.tell("p2", 10.0, "stuck") == Effect("", 10 * S), "nothing more is by it"


def test_what_was_asked_of_a_sensor_that_fails_on_the_way_is_the_cause_of_nothing_more(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 2})
    assert [effect.proposal for effect in rig.go_on()] == ["p1"]
    rig.base, rig.now_ns = Mover(), 4 * S
    assert rig.go_on() == [Effect("", 4 * S + 1)]
    rig.take("p2", parameters={"x_m": 2})
    rig.go_on()
    assert rig.tell("p2", 5.0, x_m=2.0) is not None
    rig.base, rig.now_ns = Mover(), 6 * S
    assert rig.go_on() == [Effect("", 6 * S + 1)], "nor of one that was there, and is another now"
    rig.base.raises = "no power"
    rig.take("p3", parameters={"x_m": 1})
    assert rig.go_on() == [], "it never went"
    rig.take("p4", parameters={"x_m": 4})
    assert rig.go_on() == [], "it is refused"


def test_one_that_replaces_another_on_the_way_is_the_cause_from_then_on(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 2})
    rig.go_on()
    rig.now_ns = 3 * S
    rig.take("p2", parameters={"x_m": 1}, seconds=2.0)
    (way,) = rig.go_on()
    assert (way[:3], way.is_on_the_way) == (("p2", 3 * S + 1, None), True)
    assert rig.tell("p1", 3.1, "p2 was asked meanwhile") is None
    there = rig.tell("p2", 5.0, x_m=1.0)
    assert there is not None
    assert there[:3] == ("p2", 5 * S, 7 * S)
    rig.now_ns = 7 * S
    assert rig.go_on() == [], "that nothing is by it any more was said; the one before does not come back"


def test_what_holds_is_the_cause_again_where_another_came_to_nothing_or_is_over(rig: Rig) -> None:
    rig.take("p1", "mission", parameters={"name": "hall"})
    (hall,) = rig.go_on()
    rig.take("p2", parameters={"x_m": 1})
    rig.go_on()
    assert rig.tell("p2", 2.0, "stuck") == hall._replace(at_ns=2 * S)
    rig.take("p3", parameters={"x_m": 1}, seconds=3.0)
    rig.now_ns = 2 * S
    rig.go_on()
    assert rig.tell("p3", 4.0, x_m=1.0) is not None
    rig.now_ns = 8 * S
    assert rig.go_on() == [hall._replace(at_ns=7 * S)]
    rig.take("p4", "mission", parameters={"name": "yard"}, seconds=1.0)
    assert [effect.proposal for effect in rig.go_on()] == ["p4"]
    rig.now_ns = 10 * S
    rig.go_on()
    assert rig.go_on() == [Effect("", 10 * S + 1)], "no mission that another has replaced comes back"


def test_a_plan_that_moves_nothing_has_no_way(rig: Rig) -> None:
    rig.permit = PlanPermit(PlanLimits(allow=("exposure",)), rig.kill)
    rig.carrying = Carrying("rig-1", lambda: rig.permit, rig.kill.with_name("other"))
    rig.take("p1", "exposure", parameters={"gain": 0.5})
    assert rig.go_on() == []
    effect = rig.tell("p1", 1.0, gain=0.5)
    assert effect is not None
    assert effect.value is not None
    assert "phase" not in effect.value


def test_it_is_taken_back_when_its_time_is_over(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 2}, seconds=3.0)
    rig.go_on()
    effect = rig.tell("p1", 5.0, x_m=2.0)
    assert effect is not None
    assert effect.until_ns == 8 * S
    rig.now_ns = 8 * S - 1
    rig.go_on()
    assert len(rig.base.asked) == 1
    rig.now_ns = 8 * S
    rig.go_on()
    assert rig.base.asked[1:] == [("p1", {})]
    rig.go_on()
    assert len(rig.base.asked) == 2


def test_the_kill_switch_takes_back_what_runs_and_refuses_the_rest(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 2})
    rig.go_on()
    rig.tell("p1", 5.0, x_m=2.0)
    rig.take("p2", parameters={"x_m": 1})
    rig.take("p3", "duration", parameters={"seconds": 5})
    rig.go_on()
    rig.now_ns = 6 * S
    rig.kill.touch()
    assert rig.go_on() == [Effect("", 6 * S + 1)]
    assert rig.base.asked[-1] == ("p2", {})
    assert rig.answers[-1] == ("p2", "BROKE", f"charter: kill: {rig.kill}")
    rig.take("p4", parameters={"x_m": 1})
    rig.take("p5", "stop")
    rig.go_on()
    assert [answer[:2] for answer in rig.answers[-2:]] == [("p4", "AGAINST_RULES"), ("p5", "AGAINST_RULES")]
    assert rig.carrying.status()["killed"] == str(rig.kill)
    rig.now_ns = 60 * S
    rig.go_on()
    assert not rig.stopped, "what was to end it was killed too"
    rig.kill.unlink()
    rig.take("p6", parameters={"x_m": 1})
    rig.go_on()
    assert rig.base.asked[-1] == ("p6", {"x_m": 1.0})


def test_a_plan_is_killed_though_the_switch_came_this_very_moment(rig: Rig) -> None:
    rig.go_on()
    rig.kill.touch()
    rig.take("p1", parameters={"x_m": 2})
    rig.carrying.step(rig)  # so soon that it is not looked for
    assert rig.answers == [("p1", "AGAINST_RULES", f"charter: kill: {rig.kill}")]
    assert rig.base.asked == []


def test_another_plan_of_the_same_sensor_is_told_of_the_one_before(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 2})
    rig.take("p2", parameters={"x_m": 1})
    rig.go_on()
    assert rig.answers == [("p1", "BROKE", "p2 was asked meanwhile")]
    assert rig.tell("p1", 1.0, "replaced") is None
    assert rig.tell("p2", 2.0, x_m=1.0) is not None


def test_what_charter_and_reach_refuse_is_not_asked_and_not_paid(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 3.5})
    rig.take("p2", "exposure", parameters={"gain": 0.5})
    rig.take("p3", "rate", parameters={"rate_hz": 5})
    rig.go_on()
    assert [answer[1] for answer in rig.answers] == ["AGAINST_RULES"] * 3
    assert "base.x_m" in rig.answers[0][2]
    assert "no control 'rate_hz'" in rig.answers[2][2]
    assert rig.base.asked == []
    for number in range(7):
        rig.take(f"q{number}", parameters={"x_m": 1})
    rig.go_on()
    assert len(rig.base.asked) == 6
    assert "plans.per_hour: plans" in rig.answers[-1][2]


def test_a_sensor_that_raises_or_is_another_now_or_says_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.base.raises = "no power"
    rig.take("p1", parameters={"x_m": 1})
    rig.go_on()
    assert rig.answers[-1][:2] == ("p1", "BROKE")
    assert "no power" in rig.answers[-1][2]
    rig.base.raises = ""
    rig.take("p2", parameters={"x_m": 1})
    rig.go_on()
    rig.base = Mover()
    rig.go_on()
    assert rig.answers[-1] == ("p2", "BROKE", "sensor 'base' was away meanwhile")
    monkeypatch.setattr(carrying_module, "PATIENCE_S", 0.0)
    rig.take("p3", parameters={"x_m": 1})
    rig.go_on()
    rig.go_on()
    assert rig.answers[-1] == ("p3", "BROKE", "sensor 'base' has not said what it did in 0 s")


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"parameters": {"x_m": float("nan")}}, "plan: 'x_m': expected a finite number or a text, got nan"),
        ({"parameters": {"x_m": float("-inf")}}, "plan: 'x_m': expected a finite number or a text, got -inf"),
        ({"parameters": {"x_m": 1.0}, "seconds": float("nan")}, "plan: seconds: expected more than 0"),
        ({"parameters": {"x_m": 1.0}, "cost_bytes": float("inf")}, "plan: cost_bytes: expected a number, 0 or more"),
        ({"parameters": {"x_m": True}}, "plan: "),
        ({"parameters": {"a.x_m": 1.0, "b.x_m": 1.0}}, "plan: 'b.x_m': expected parameters of one sensor, 'a'"),
        ({"plan": "fly"}, "plan: "),
    ],
)
def test_what_is_no_plan_is_refused_by_what_is_wrong_with_it(rig: Rig, more: dict[str, Any], rule: str) -> None:
    rig.take("p1", **more)
    rig.go_on()
    ((_, event, why),) = rig.answers
    assert (event, why[: len(rule)]) == ("AGAINST_RULES", rule)
    assert rig.base.asked == []


def test_plans_of_the_whole_device(rig: Rig) -> None:
    rig.take("p1", "mission", parameters={"name": "hall"})
    rig.take("p2", "duration", parameters={"seconds": 5})
    assert [effect.proposal for effect in rig.go_on()] == ["p1", "p2"]
    assert rig.mission == "hall"
    rig.now_ns = 5 * S
    rig.go_on()
    assert rig.stopped


def test_episodes_of_a_plan_of_the_whole_device_are_told_what_was_asked_and_done(rig: Rig) -> None:
    rig.now_ns = 3 * S
    rig.take("p1", "mission", parameters={"name": "hall"}, planner="gap", seconds=2.0)
    rig.take("p2", "duration", parameters={"seconds": 5})
    mission, duration = rig.go_on()
    assert mission[:3] == ("p1", 3 * S + 1, None), "until it is over, whenever that is"
    assert mission.value == {
        "asked": {"name": "hall"}, "did": {"name": "hall"}, "why": "",
        "planner": "gap", "plan": "mission", "sensor": "", "begun_ns": 3 * S + 1,
    }  # fmt: skip
    assert duration.value is not None
    assert (duration[:3], duration.value["did"]) == (("p2", 3 * S + 1, 8 * S), {"seconds": 5.0})
    assert [answer[1:] for answer in rig.answers] == [("OBEYED", "it is for hall"), ("OBEYED", "it ends after 5 s")]


def test_a_mission_is_taken_back_when_its_time_is_over(rig: Rig) -> None:
    rig.take("p1", "mission", parameters={"name": "hall"}, seconds=2.0)
    rig.go_on()
    rig.now_ns = 2 * S
    rig.go_on()
    assert rig.missions == ["hall"]
    rig.now_ns, rig.is_slow = 2 * S + 1, True
    assert [rig.go_on(), rig.go_on()] == [[], []]
    assert rig.missions == ["hall", ""], "to what its file and settings say"
    rig.now_ns, rig.is_slow = 3 * S, False
    rig.later.pop()()
    assert rig.go_on() == [Effect("", 3 * S + 1)], "as long as it was for that, it was the cause"
    assert rig.go_on() == []
    rig.take("p2", "mission", parameters={"name": "yard"})
    rig.go_on()
    rig.now_ns = 99 * S
    rig.go_on()
    assert rig.mission == "yard", "without a time it holds"


def test_what_another_plan_has_caused_meanwhile_is_its_own_though_a_mission_ends(rig: Rig) -> None:
    rig.take("p1", "mission", parameters={"name": "hall"}, seconds=2.0)
    rig.take("p2", parameters={"x_m": 2})
    rig.go_on()
    assert rig.tell("p2", 1.0, x_m=2.0) is not None
    rig.now_ns = 9 * S
    assert rig.go_on() == []
    assert rig.missions == ["hall", ""]


def test_the_kill_switch_takes_a_mission_back(rig: Rig) -> None:
    rig.take("p1", "mission", parameters={"name": "hall"})
    rig.go_on()
    rig.now_ns = 4 * S
    rig.kill.touch()
    assert rig.go_on() == [Effect("", 4 * S + 1)]
    assert rig.missions == ["hall", ""]
    assert rig.go_on() == []


def test_a_mission_that_cannot_be_is_no_cause_of_anything(rig: Rig) -> None:
    rig.unable = "charter: never: mission.name"
    rig.take("p1", "mission", parameters={"name": "hall"})
    assert rig.go_on() == []
    rig.unable, rig.is_slow = "", True
    rig.take("p2", "mission", parameters={"name": "yard"}, seconds=9.0)
    assert [effect.proposal for effect in rig.go_on()] == ["p2"]
    rig.later.pop()()
    rig.take("p3", "mission", parameters={"name": "attic"}, seconds=1.0)
    assert [effect.proposal for effect in rig.go_on()] == ["p3"]
    rig.unable = "the disk is full"
    rig.now_ns = S
    rig.later.pop()()
    (yard,) = rig.go_on()
    assert yard[:2] == ("p2", S + 1), "what seemed to come to be, and could not: the one before is still there"
    assert rig.answers == [
        ("p1", "BROKE", "charter: never: mission.name"),
        ("p2", "OBEYED", "it is for yard"),
        ("p3", "BROKE", "the disk is full"),
    ]
    rig.now_ns = 3 * S
    rig.go_on()
    assert rig.missions[-1] == "attic", "the one before is still there"
    rig.now_ns = 9 * S + 1
    rig.go_on()
    assert rig.missions[-1] == "", "and its time is its own"


HOSTILE = PlanLimits.model_validate(
    {
        "allow": ["viewpoint", "mission", "duration", "stop"],
        "controls": {
            "base.x_m": {"at_least": -1, "at_most": 3},
            "mission.name": {"one_of": ["hall", "yard"]},
            "duration.seconds": {"at_least": 10},
        },
        "most_s": 60,
        "per_hour": {"plans": 5},
    }
)
values = st.one_of(
    st.floats(),
    st.integers(-100, 10**20),
    st.sampled_from(
        ["hall", "yard", "attic", "hall ", "hall\n", "", "base", 10, 60, 59.9, 60.000001, 3, -1, True, None]
    ),
    st.text(max_size=6),
    st.lists(st.just("hall"), max_size=2),
)
bodies = st.fixed_dictionaries(
    {"proposal": st.one_of(st.sampled_from(["p1", "p2"]), st.text(max_size=4))},
    optional={
        "plan": st.sampled_from(["mission", "duration", "stop", "viewpoint", "exposure", "roi", "sudo"]),
        "sensor": st.sampled_from(["", "base", "mission"]),
        "parameters": st.dictionaries(
            st.sampled_from(["name", "seconds", "x_m", "base.x_m", "mission.name", "duration.seconds", "gain"]), values
        ),
        "seconds": values,
        "planner": st.text(max_size=4),
        "cost_bytes": values,
        "approved_by": st.just([]),
    },
)
lawful = st.sampled_from(
    [
        {"proposal": "a", "plan": "mission", "parameters": {"name": "hall"}},
        {"proposal": "b", "plan": "duration", "parameters": {"seconds": 20}},
        {"proposal": "c", "plan": "viewpoint", "parameters": {"x_m": 1.0}, "seconds": 5.0},
    ]
)


@given(
    st.lists(st.one_of(bodies, lawful, st.builds(lambda a, b: {**a, **b}, lawful, bodies)), max_size=9),
    st.integers(0, 9),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_is_asked_of_a_device_nothing_is_done_that_its_charter_does_not_let_through(
    said: list[dict[str, Any]], killed_at: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder), HOSTILE)
        settled = 0
        for number, body in enumerate(said):
            if number == killed_at:
                rig.kill.touch()
                done = (rig.missions[:], len(rig.base.asked), rig.stopped)
            rig.carrying.take(body, b"anna", lambda event, why: rig.answers.append(("", event.name, why)))
            settled += 1
            rig.go_on()
        rig.go_on()
        if killed_at < len(said):
            given = [name for name in rig.missions[len(done[0]) :] if name]
            asked = [each for _, each in rig.base.asked[done[1] :] if each]
            assert (given, asked, rig.stopped) == ([], [], done[2]), "killed, nothing more is begun"
        assert set(rig.missions) <= {"hall", "yard", ""}
        for _, asked_of in rig.base.asked:
            assert set(asked_of) <= {"x_m"}
            assert all(-1 <= float(value) <= 3 for value in asked_of.values())
        begun = [name for name in rig.missions if name] + [each for _, each in rig.base.asked if each]
        assert len(begun) + rig.stopped <= 5
        ends_ns = rig.carrying._whole.ends_ns
        assert ends_ns is None or 10 * S <= ends_ns <= 60 * S
        obeyed = [answer for answer in rig.answers if answer[1] == "OBEYED"]
        assert len(obeyed) <= 5
        rig.carrying.end()
        assert len(rig.answers) == settled, "each is answered once"


def test_nothing_is_begun_any_more_at_the_end(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 1})
    rig.go_on()
    rig.take("p2", parameters={"x_m": 1})
    rig.carrying.end("it is over")
    rig.take("p3", parameters={"x_m": 1})
    assert sorted(rig.answers) == [(name, "BROKE", "it is over") for name in ("p1", "p2", "p3")]


def test_what_can_be_asked_is_told_within_the_charter(rig: Rig) -> None:
    rig.go_on()
    told = msgspec.msgpack.decode(msgspec.msgpack.encode(rig.carrying.status()))
    assert list(told["controls"]) == ["base"]
    assert msgspec.convert(told["controls"]["base"], tuple[Control, ...]) == (
        Control(name="x_m", plan="viewpoint", low=-5, high=3, bounded=True),
    )


def test_a_book_that_cannot_be_read_keeps_all_from_being_done(tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "spent").write_bytes(b"no such thing")
    rig = Rig(tmp_path)
    rig.take("p1", parameters={"x_m": 1})
    rig.go_on()
    assert "no plan is carried out" in rig.answers[0][2]
    assert rig.base.asked == []


def test_a_charter_that_is_another_when_a_plan_is_begun_judges_it_and_what_was_spent_stays_so(rig: Rig) -> None:
    rig.take("p1", parameters={"x_m": 1})
    rig.go_on()
    rig.take("p2", parameters={"x_m": 1})
    rig.permit = PlanPermit(PlanLimits.model_validate({"allow": ["viewpoint"], "per_hour": {"plans": 1}}), rig.kill)
    rig.carrying.step(rig)
    assert "per_hour: plans: expected at most 1, 1 are spent" in rig.answers[-1][2]
    rig.permit = rig.permit._replace(limits=PlanLimits(allow=("stop",)))
    rig.take("p3", parameters={"x_m": 1})
    rig.carrying.step(rig)
    assert rig.answers[-1][2].startswith("charter: plans.allow: viewpoint")
    rig.go_on()
    assert (rig.carrying.status()["allowed"], rig.carrying.status()["controls"]) == (["stop"], {})
    rig.permit = rig.permit._replace(limits=LIMITS, lost="charter: file: it is gone")
    rig.take("p4", parameters={"x_m": 1})
    rig.take("p5", "stop")
    rig.go_on()
    assert [why for _, _, why in rig.answers[-2:]] == ["charter: file: it is gone"] * 2
    assert (rig.carrying.status()["allowed"], rig.carrying.status()["controls"]) == ([], {})
    assert [name for name, _ in rig.base.asked] == ["p1"]
    rig.kill.touch()
    rig.go_on()
    assert rig.base.asked[-1] == ("p1", {}), "the kill switch is obeyed as ever"


def test_who_asks_cannot_approve_and_an_approval_is_of_one_plan(tmp_path: Path) -> None:
    anna, ben, eve = (read_pair(new_operator(name, tmp_path)[1]) for name in ("anna", "ben", "eve"))
    limits = {"allow": ["viewpoint"], "approve": ["viewpoint"], "approvers": ["both"]}
    rig = Rig(tmp_path)
    may = frozenset({anna.operator.public, ben.operator.public})
    rig.permit = PlanPermit(PlanLimits.model_validate(limits), rig.kill, may)
    body = {"proposal": "p1", "plan": "viewpoint", "parameters": {"x_m": 1.0}}
    digest = AskedPlan.of(body).digest

    def answer(pair: OperatorPair, device: str = "rig-1", proposal: str = "p1", **other: Any) -> str:
        made = approval_of(pair, proposal=proposal, digest=digest, device=device)
        signed = {"operator": made.operator, "signature": made.signature}
        said = {**body, **other, "approved_by": [signed]}
        rig.carrying.take(said, anna.operator.public, lambda event, why: rig.answers.append(("", event.name, why)))
        rig.go_on()
        return rig.answers[-1][2] if rig.answers else ""

    assert answer(anna).startswith("charter: plans.approve"), "who asks"
    assert answer(eve).startswith("charter: plans.approve"), "who may not"
    assert answer(ben, device="rig-2").startswith("charter: plans.approve"), "of another device"
    assert answer(ben, proposal="p2").startswith("charter: plans.approve"), "of another proposal"
    assert answer(ben, parameters={"x_m": 2.0}).startswith("charter: plans.approve"), "of another plan"
    assert rig.base.asked == []
    answer(ben)
    assert rig.base.asked == [("p1", {"x_m": 1.0})]
