"""The loop of agency over a body on a line: what is asked, what is kept, and what a planner is told of it."""

from collections.abc import Mapping
from typing import Any

import pytest

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.notebook import ProposalFate
from sensorium.agents.planning.planner import Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.drivers.controls import Control, Value
from sensorium.sim.agency.body import BodyStep, Captured
from sensorium.sim.agency.loop import WAIT_NS, Loop, Stop

SECOND_NS = 1_000_000_000


class OnALine:
    """A step is a second and a metre; it captures at each. Its odometry is off by a quarter of a metre."""

    def __init__(self, falls_at_s: int = 1 << 30) -> None:
        self._falls_at_ns, self.is_over = falls_at_s * SECOND_NS, False
        self.now_ns, self.at, self._goal = 0, 0.0, 0.0
        self.reach = Reach(
            device="cart",
            controls=(
                Control(name="x_m", plan="viewpoint", unit="m", low=-5, high=5, cell=1, cost_s_per_unit=1),
                Control(name="lamp", plan="viewpoint", choices=("on", "off")),
            ),
        )
        self.asked: list[Mapping[str, Value]] = []

    def ask(self, asked: Mapping[str, Value]) -> None:
        self.asked.append(asked)
        self._goal = float(asked["x_m"])

    def step(self) -> BodyStep:
        before_ns = self.now_ns
        assert not self.is_over
        self.now_ns += SECOND_NS
        self.is_over = self.now_ns >= self._falls_at_ns
        self.at += max(-1.0, min(1.0, self._goal - self.at))
        is_there = self.at == self._goal
        number = before_ns // SECOND_NS
        captured = Captured(number, before_ns, self.now_ns, {"x_m": self.at + 0.25}, 10, look=b"\1", asked=is_there)
        return BodyStep((captured,), is_there)


class Says:
    """A planner with a list of proposals, one a call; it keeps the cards that it is told."""

    def __init__(self, *rounds: list[Mapping[str, Value]]) -> None:
        self._rounds = list(rounds)
        self.cards: list[EpisodeCard] = []

    def ingest(self, card: EpisodeCard) -> None:
        self.cards.append(card)

    def suggest(self, n: int) -> list[Proposal]:
        asked = self._rounds.pop(0) if self._rounds else []
        return [Proposal(plan="viewpoint", planner="says", parameters=each, gain=1.0) for each in asked][:n]

    def report(self) -> dict[str, Any]:
        return {}


class Learns(Says):
    """It is told what became of its proposals, and how many cards it has by then."""

    def __init__(self, *rounds: list[Mapping[str, Value]]) -> None:
        super().__init__(*rounds)
        self.told: list[tuple[Value, str, str, int]] = []

    def learn(self, outcome: ProposalFate) -> None:
        x_m = outcome.proposal.parameters["x_m"]
        self.told.append((x_m, outcome.became, outcome.why, len(self.cards)))


def everything(_: Captured) -> bool:
    return True


def test_a_proposal_is_carried_out_until_it_took_effect_and_cards_say_where_the_body_takes_itself_to_be() -> None:
    body, says = OnALine(), Says([{"x_m": 3.0}], [{"x_m": 1.0}])
    loop = Loop(body, everything)
    loop.planned(says, 60 * SECOND_NS, lambda _: True, most=2)
    assert loop.ended_ns == [3 * SECOND_NS, 5 * SECOND_NS]
    assert [card.where["x_m"] for card in says.cards] == [1.25, 2.25, 3.25, 2.25, 1.25]
    assert [card.proposal for card in says.cards] == ["says-1"] * 3 + ["says-2"] * 2
    assert len({card.episode for card in says.cards}) == 5
    assert says.cards[0].looks == (b"\1",)


def test_a_planner_is_told_which_of_its_proposals_was_tried_and_what_became_of_it() -> None:
    learns = Learns([{"x_m": 9.0}, {"x_m": 2.0}, {"x_m": 1.0}], [{"x_m": 4.0}])
    Loop(OnALine(), everything).planned(learns, 3 * SECOND_NS, lambda _: True)
    assert learns.told == [(2.0, "done", "", 2), (4.0, "failed", "there was no more time", 3)]


def test_a_planner_is_told_what_of_it_was_refused_so_that_it_does_not_propose_that_for_ever() -> None:
    learns = Learns([{"x_m": 4.0}, {"x_m": 3.0}], [{"x_m": 4.0}, {"x_m": 1.0}, {"x_m": 0.0}])
    Loop(OnALine(), everything).planned(learns, 60 * SECOND_NS, lambda each: float(each.parameters["x_m"]) < 2, most=1)
    refused = [(4.0, "refused", "", 1), (3.0, "refused", "", 1), (4.0, "refused", "", 2)]
    assert learns.told == [*refused, (1.0, "done", "", 2)]


def test_of_what_is_not_kept_there_is_no_card() -> None:
    body, says = OnALine(), Says([{"x_m": 4.0}])
    loop = Loop(body, lambda captured: captured.asked)
    loop.planned(says, 60 * SECOND_NS, lambda _: True, most=1)
    assert [captured.number for captured in loop.kept] == [3]
    assert [card.where["x_m"] for card in says.cards] == [4.25]


def test_what_is_not_possible_is_passed_over() -> None:
    body = OnALine()
    hostile: list[Mapping[str, Value]] = [
        {"x_m": 5.1},
        {"x_m": float("nan")},
        {"x_m": "on"},
        {"lamp": "bright", "x_m": 0.0},
        {"lamp": 1.0, "x_m": 0.0},
        {"y_m": 0.0},
    ]
    Loop(body, everything).planned(Says([*hostile, {"x_m": 2.0, "lamp": "on"}]), 9 * SECOND_NS, lambda _: True, most=1)
    assert body.asked == [{"x_m": 2.0, "lamp": "on"}]


def test_where_nothing_is_allowed_it_waits_and_asks_again() -> None:
    body, says = OnALine(), Says([{"x_m": 4.0}], [], [{"x_m": 1.0}])
    Loop(body, everything).planned(says, 60 * SECOND_NS, lambda each: float(each.parameters["x_m"]) < 2, most=1)
    assert body.asked == [{"x_m": 1.0}]
    assert body.now_ns == 2 * WAIT_NS + SECOND_NS
    assert [card.proposal for card in says.cards] == ["", "", "says-1"]


def test_it_waits_no_longer_than_it_has_patience() -> None:
    body = OnALine()
    Loop(body, everything).planned(Says(), 60 * SECOND_NS, lambda _: True, patience=3)
    assert body.now_ns == 3 * WAIT_NS


def test_while_there_is_no_budget_nobody_proposes() -> None:
    body, says = OnALine(), Says([{"x_m": 1.0}])
    Loop(body, everything).planned(
        says, 60 * SECOND_NS, lambda _: True, most=1, may_ask=lambda: body.now_ns >= 4 * WAIT_NS
    )
    assert body.now_ns == 4 * WAIT_NS + SECOND_NS
    assert body.asked == [{"x_m": 1.0}]


def test_it_ends_in_time_whatever_is_asked() -> None:
    body = OnALine()
    Loop(body, everything).planned(Says([{"x_m": 5.0}]), 2 * SECOND_NS, lambda _: True)
    assert body.now_ns == 2 * SECOND_NS


def test_a_list_is_followed_and_each_stop_lasts() -> None:
    body = OnALine()
    loop = Loop(body, everything)
    loop.followed([Stop({"x_m": 2.0}, 6 * SECOND_NS), Stop({"x_m": 0.0})], 60 * SECOND_NS)
    assert (body.now_ns, body.at) == (8 * SECOND_NS, 0.0)
    assert loop.ended_ns == [2 * SECOND_NS, 8 * SECOND_NS]
    assert len(loop.kept) == 8


@pytest.mark.parametrize("falls_at_s", [1, 3, 4])
def test_a_body_that_has_fallen_is_asked_nothing_more(falls_at_s: int) -> None:
    body = OnALine(falls_at_s)
    loop = Loop(body, lambda _: True)
    loop.planned(Says([{"x_m": 2.0}], [{"x_m": 0.0}], [{"x_m": 2.0}]), 99 * SECOND_NS, lambda _: True)
    loop.followed([Stop({"x_m": 5.0}, 50 * SECOND_NS)], 99 * SECOND_NS)
    assert loop.stay(99 * SECOND_NS) == []
    assert (body.now_ns, len(loop.kept)) == (falls_at_s * SECOND_NS, falls_at_s)
