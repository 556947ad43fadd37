"""The adjudicator: got over expected, a share of the budget that follows, no proposal twice, no rule talked away."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.planning.adjudicator import MOST_WAITING, MOST_WAITING_EACH, Adjudicator
from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.gain import Price
from sensorium.agents.planning.got import FLOOR
from sensorium.agents.planning.hosted import MOST_SAME, MOST_UNSOUND, HostedPlanner, key_of
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.plans.limits import AWAITS


def proposal(planner: str = "a", x_m: float = 1.0, **more: Any) -> Proposal:
    said = {"device": "rig", "gain": 1.0, "cost_s": 1.0, **more}
    return Proposal(plan="viewpoint", planner=planner, parameters={"x_m": x_m}, **said)


def lawful(_: Proposal) -> str:
    return ""


def adjudicator(*names: str, refuses: Callable[[Proposal], str] = lawful) -> Adjudicator:
    numbers = itertools.count()
    return Adjudicator(names, refuses, Price(), lambda: f"id-{next(numbers)}")


def test_the_best_for_its_cost_is_first_one_a_device() -> None:
    offers = {
        "a": [proposal(gain=2, cost_s=4), proposal(x_m=2, gain=1, cost_s=1), proposal(x_m=3, gain=9, device="rig-2")],
    }
    ruled = adjudicator("a").decide(offers, n=5)
    assert [(each.proposal.device, each.proposal.parameters["x_m"], each.ruling) for each in ruled] == [
        ("rig-2", 3, "accepted"),
        ("rig", 2, "accepted"),
    ]
    assert [each.proposal.id for each in ruled] == ["id-0", "id-1"]
    assert not adjudicator("a").decide(offers, 5, busy=frozenset({"rig", "rig-2"}))
    assert len(adjudicator("a").decide(offers, n=1)) == 1


def test_what_is_asked_for_twice_is_asked_once() -> None:
    offers = {"a": [proposal(gain=1), proposal(gain=1)], "b": [proposal("b", x_m=1.00000000001, gain=3)]}
    (ruled,) = adjudicator("a", "b").decide(offers, n=5)
    assert ruled.proposal.planner == "b"


def test_a_rule_refuses_whatever_the_gain_and_says_which() -> None:
    def refuses(each: Proposal) -> str:
        return "charter: x_m at most 2" if float(each.parameters["x_m"]) > 2 else ""

    offers = {"a": [proposal(x_m=9, gain=1e6, cost_s=0), proposal(x_m=1, gain=0.1)]}
    refused, accepted = adjudicator("a", refuses=refuses).decide(offers, n=1)
    assert (refused.ruling, refused.rule) == ("refused", "charter: x_m at most 2")
    assert accepted.ruling == "accepted"


def test_what_a_person_must_approve_waits_and_counts_against_nobody() -> None:
    judge = adjudicator("a", refuses=lambda _: f"{AWAITS}: viewpoint")
    (ruled,) = judge.decide({"a": [proposal()]}, n=1)
    assert ruled.ruling == "waits"
    assert judge.tally("a").refused == 0


def test_so_many_of_a_planner_and_of_all_wait_for_a_person_and_more_are_refused() -> None:
    names = "abcdef"
    judge = adjudicator(*names, refuses=lambda _: f"{AWAITS}: viewpoint")
    offers = {name: [proposal(name, x_m=ord(name) * 1000 + each) for each in range(40)] for name in names}
    ruled = judge.decide({"a": offers["a"]}, n=1)
    waits = [each.proposal.planner for each in ruled if each.ruling == "waits"]
    assert len(waits) == MOST_WAITING_EACH
    over = [each for each in ruled if each.ruling == "refused"]
    assert len(over) == 8
    assert all(each.rule.startswith("approval: 32 of this planner wait") for each in over)
    assert judge.tally("a").refused == 8
    again = judge.decide({name: offers[name] for name in names[1:]}, 1, frozenset(), waits)
    waits += [each.proposal.planner for each in again if each.ruling == "waits"]
    assert len(waits) == MOST_WAITING
    assert {each.ruling for each in again} == {"waits", "refused"}
    assert any(each.rule.startswith("approval: 128 wait") for each in again)
    assert max(waits.count(name) for name in names) == MOST_WAITING_EACH


def test_expectations_are_scaled_by_what_came_of_them() -> None:
    judge = adjudicator("boaster", "honest")
    for _ in range(40):
        judge.settle(proposal("boaster", gain=10), got=1, seconds=1, n_bytes=0)
        judge.settle(proposal("honest", gain=1), got=1, seconds=1, n_bytes=0)
    assert judge.expected(proposal("boaster", gain=10)) == pytest.approx(1, rel=0.1)
    assert judge.expected(proposal("honest", gain=1)) == pytest.approx(1, rel=0.01)
    offers = {"boaster": [proposal("boaster", gain=10, cost_s=2)], "honest": [proposal("honest", x_m=2, cost_s=1)]}
    assert judge.decide(offers, 1)[0].proposal.planner == "honest"


def test_useless_proposals_lose_their_budget_to_better_planners() -> None:
    """One whose proposals bring nothing, however much it says; one that is always refused; and one that delivers."""
    judge = adjudicator("useless", "unlawful", "good", refuses=lambda p: "charter: no" * (p.planner == "unlawful"))
    accepted = dict.fromkeys(("useless", "good", "unlawful"), 0)
    for turn in range(200):
        offers = {name: [proposal(name, x_m=turn + at / 4, gain=3)] for at, name in enumerate(accepted)}
        for ruled in judge.decide(offers, 1):
            if ruled.ruling == "accepted":
                accepted[ruled.proposal.planner] += 1
                got = 3.0 if ruled.proposal.planner == "good" else 0.0
                judge.settle(ruled.proposal, got, 1.0, 0)
    assert accepted["good"] > 170
    assert 5 < accepted["useless"] < 25, "it may still show that it is of use"
    assert accepted["unlawful"] == 0
    shares = judge.shares.of()
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["good"] > 0.85
    assert min(shares.values()) >= FLOOR - 1e-12


def test_a_planner_that_has_learnt_is_believed_again() -> None:
    judge = adjudicator("a", "b")
    for _ in range(100):
        judge.settle(proposal("a"), 0, 1, 0)
        judge.settle(proposal("b"), 1, 1, 0)
    low = judge.shares.of()["a"]
    for _ in range(100):
        judge.settle(proposal("a"), 1, 1, 0)
        judge.settle(proposal("b"), 0, 1, 0)
    assert judge.shares.of()["a"] > 0.5 > low


numbers = st.floats(0, 1e6)
offered = st.builds(
    lambda planner, x_m, device, gain, cost_s, size: proposal(
        planner, x_m, device=device, gain=gain, cost_s=cost_s, cost_bytes=size
    ),
    st.sampled_from("abc"),
    st.floats(-5, 5),
    st.sampled_from(["rig", "rig-2", ""]),
    numbers,
    numbers,
    numbers,
)


@given(proposals=st.lists(offered, max_size=20), n=st.integers(0, 4), outcomes=st.lists(st.tuples(offered, numbers)))
def test_no_rule_is_ever_broken_and_no_device_has_two(
    proposals: list[Proposal], n: int, outcomes: list[tuple[Proposal, float]]
) -> None:
    def refuses(each: Proposal) -> str:
        return "out of bounds" if abs(float(each.parameters["x_m"])) > 2 else ""

    judge = adjudicator("a", refuses=refuses)
    for each, got in outcomes:
        judge.settle(each, got, each.cost_s, each.cost_bytes)
    offers = {name: [each for each in proposals if each.planner == name] for name in "abc"}
    ruled = judge.decide(offers, n)
    accepted = [each.proposal for each in ruled if each.ruling == "accepted"]
    assert len(accepted) <= n
    assert len({each.device for each in accepted}) == len(accepted)
    assert all(not refuses(each) for each in accepted)
    assert len({key_of(each.proposal) for each in ruled}) == len(ruled)
    assert {key_of(each) for each in proposals if refuses(each)} == {
        key_of(each.proposal) for each in ruled if each.ruling == "refused"
    }
    assert all(math.isfinite(each.expected) for each in ruled)
    assert sum(judge.shares.of().values()) == pytest.approx(1)


class Odd:
    """A planner that does what it is told to."""

    def __init__(self, suggest: Callable[[int], Any]) -> None:
        self._suggest = suggest

    def ingest(self, card: EpisodeCard) -> None:
        if card.mission == "bad":
            raise RuntimeError("cannot read this")

    def suggest(self, n: int) -> list[Proposal]:
        found: list[Proposal] = self._suggest(n)
        return found

    def report(self) -> dict[str, Any]:
        return {"tokens": 3, "more": float("nan")}


def raising(_: int) -> Sequence[Proposal]:
    raise ZeroDivisionError("by nothing")


def endless(_: int) -> Sequence[Proposal]:
    while True:
        sum(range(1000))


class Grudging:
    """No number, no text: it raises something of its own where it is looked at."""

    def __float__(self) -> float:
        raise RuntimeError("no number")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def grudging(**what: Any) -> Proposal:
    return msgspec.structs.replace(proposal(), **what)


@pytest.mark.parametrize(
    ("suggest", "told"),
    [
        (raising, "suggest raised ZeroDivisionError: by nothing"),
        (endless, "suggest was not done within"),
        (lambda _: "nonsense", "suggest gave str"),
        (lambda _: None, "suggest gave NoneType"),
        (lambda _: [proposal(gain=math.nan)], "was sound"),
        (lambda _: [proposal(cost_s=-1)], "was sound"),
        (lambda _: ["x_m = 3"], "was sound"),
        (lambda _: [msgspec.structs.replace(proposal(), plan="explode")], "was sound"),
        (lambda _: [msgspec.structs.replace(proposal(), parameters={"x": [1]})], "was sound"),
        (lambda _: [msgspec.structs.replace(proposal(), device="\ud800")], "was sound"),
        (lambda _: [proposal(gain=-1.0)], "was sound"),
        (lambda _: [proposal(x_m=math.inf)], "was sound"),
        (lambda _: [grudging(gain=Grudging())], "suggest raised RuntimeError: no number"),
        (lambda _: [grudging(parameters={"x_m": Grudging()})], "suggest raised RuntimeError: no number"),
        (lambda _: [Grudging()], "suggest raised RuntimeError: no text"),
        (lambda _: [grudging(gain="nan")], "was sound"),
    ],
    ids=[
        "raises",
        "never ends",
        "text",
        "nothing",
        "nan",
        "negative",
        "words",
        "kind",
        "nested",
        "name",
        "less",
        "inf",
        "no gain",
        "no parameter",
        "no name",
        "nan as text",
    ],
)
def test_a_planner_that_is_of_no_use_is_set_aside_with_a_line(suggest: Callable[[int], Any], told: str) -> None:
    hosted = HostedPlanner("odd", Odd(suggest), patience_s=2.0)
    for _ in range(MOST_UNSOUND):
        assert hosted.suggest(3) == []
    assert told in hosted.aside
    assert "\n" not in hosted.aside
    assert hosted.suggest(3) == []
    hosted.ingest([EpisodeCard(episode="e", device="d")])
    spent = {} if suggest is endless else {"tokens": 3, "more": None}
    assert hosted.report() == {**spent, "aside": hosted.aside}, "what it has spent is told, unless it hangs"


def test_one_that_raises_at_a_card_is_set_aside() -> None:
    hosted = HostedPlanner("odd", Odd(lambda _: [proposal()]))
    hosted.ingest([EpisodeCard(episode="e", device="d", mission="bad")])
    assert "ingest raised RuntimeError: cannot read this" in hosted.aside


def test_one_sound_proposal_is_taken_of_several_in_the_planners_own_name_and_no_more_than_asked() -> None:
    said = [
        proposal("somebody else", gain=math.inf),
        proposal("somebody else", gain=1e300, id="forged"),
        *[proposal()] * 9,
    ]
    hosted = HostedPlanner("odd", Odd(lambda _: said))
    (found,) = hosted.suggest(2)
    assert (found.planner, found.id, found.gain) == ("odd", "", 1e6)
    assert hosted.report() == {"tokens": 3, "more": None}


def test_the_same_for_ever_is_set_aside_only_where_nothing_comes_of_it() -> None:
    hosted = HostedPlanner("odd", Odd(lambda _: [proposal()]))
    for _ in range(5 * MOST_SAME):
        assert hosted.suggest(1)
        hosted.came_to_nothing()
        hosted.brought()
    for _ in range(5 * MOST_SAME):
        assert hosted.suggest(1), "nobody has tried it yet"
    for _ in range(MOST_SAME + 2):
        hosted.suggest(1)
        hosted.came_to_nothing()
    assert "proposed the same" in hosted.aside
