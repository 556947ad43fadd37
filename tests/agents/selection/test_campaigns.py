"""Campaigns: beside the policy, never in place of it; each within its own budget; the same again after a restart."""

import itertools
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.campaign import SelectionCampaign
from sensorium.agents.selection.campaigns import CAMPAIGN, fired, with_campaigns
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.selector import NEVER, ROLL, Selector
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Decision, Unit

BUDGET = SelectionBudget(share=0.2, burst_s=10)


def campaign(name: str = "dock", where: str = "cam.wish > 0", **more: Any) -> SelectionCampaign:
    return SelectionCampaign(**{"name": name, "where": where, "budget": BUDGET, **more})


def policy(*campaigns: SelectionCampaign, share: float = 0.1, **more: Any) -> SelectionPolicy:
    return SelectionPolicy(budget=SelectionBudget(share=share, burst_s=20), campaigns=campaigns, **more)


def units(wishes: Sequence[float], **more: Any) -> list[Unit]:
    """A second each."""
    return [
        Unit(
            start_ns=n * SECOND_NS,
            end_ns=(n + 1) * SECOND_NS,
            novelty={"cam": (n * 7 % 10) / 10},
            change={"cam": 0.1},
            scores={"cam.wish": wish},
            **more,
        )
        for n, wish in enumerate(wishes)
    ]


def run(chosen: SelectionPolicy, given_: Sequence[Unit], cut: int | None = None) -> list[Decision]:
    """With a restart behind the unit number `cut`."""
    selector = Selector(chosen, "spool")
    found: list[Decision] = []
    for number, unit in enumerate(given_):
        found += selector.step(with_campaigns(unit, chosen.campaigns))
        if number == cut:
            selector = Selector(chosen, "spool", selector.state)
    return [*found, *selector.finish()]


wishes = st.lists(st.sampled_from([0.0, 0.0, 1.0]), max_size=120)
campaigns = st.builds(
    campaign,
    pre_roll_s=st.sampled_from([0.0, 2.0]),
    post_roll_s=st.sampled_from([0.0, 3.0]),
    budget=st.sampled_from([BUDGET, SelectionBudget(share=1.0), SelectionBudget(share=0.0)]),
)


@given(said=wishes, one=campaigns, other=campaigns, pre_roll_s=st.sampled_from([0.0, 1.0]))
@settings(max_examples=60, deadline=None)
def test_what_the_policy_keeps_it_keeps_with_campaigns_too(
    said: list[float], one: SelectionCampaign, other: SelectionCampaign, pre_roll_s: float
) -> None:
    both = one, other.model_copy(update={"name": "other"})
    alone = run(policy(pre_roll_s=pre_roll_s), units(said))
    beside = run(policy(*both, pre_roll_s=pre_roll_s), units(said))
    assert [each.start_ns for each in beside] == [each.start_ns for each in alone]
    for was, now in zip(alone, beside, strict=True):
        assert (was.p, was.draw, was.drawn, was.score) == (now.p, now.draw, now.drawn, now.score)
        assert now.kept or not was.kept
        if was.kept and was.reason != ROLL:
            assert (now.reason, now.by) == (was.reason, was.by)


@given(said=wishes, one=campaigns)
@settings(max_examples=60, deadline=None)
def test_a_campaign_never_keeps_more_than_its_budget(said: list[float], one: SelectionCampaign) -> None:
    kept = [each.by == one.name and each.kept for each in run(policy(one, share=0.0), units(said))]
    share, burst_s = one.budget.share or 0.0, one.budget.burst_s
    for first, last in itertools.combinations(range(len(kept) + 1), 2):
        assert sum(kept[first:last]) <= share * (last - first + burst_s) + 1e-9


@given(said=wishes, one=campaigns, cut=st.integers(0, 119))
@settings(max_examples=40, deadline=None)
def test_a_restart_changes_nothing(said: list[float], one: SelectionCampaign, cut: int) -> None:
    if one.pre_roll_s == 0:  # what waits for one is kept in the state of a selector alone
        assert run(policy(one), units(said), cut) == run(policy(one), units(said))


@given(said=wishes, one=campaigns)
@settings(max_examples=30, deadline=None)
def test_a_shadow_changes_no_decision_and_is_told(said: list[float], one: SelectionCampaign) -> None:
    shadow = one.model_copy(update={"shadow": True})
    alone, beside = run(policy(), units(said)), run(policy(shadow), units(said))
    assert [msgspec.structs.replace(each, policy="") for each in beside] == [
        msgspec.structs.replace(each, policy="") for each in alone
    ]
    for unit in units(said):
        seen = with_campaigns(unit, (shadow,))
        assert seen.scores["campaign.dock"] == float(unit.scores["cam.wish"] > 0)
        assert fired(seen, (shadow,)) == {}
        assert with_campaigns(seen, ()) == unit, "what another policy found is not told of this one"


def test_rolls_are_kept_around_what_is_looked_for_and_the_larger_priority_pays() -> None:
    said = [0.0] * 5 + [1.0] + [0.0] * 6
    free = SelectionBudget(share=1.0)
    low = campaign("low", budget=free, pre_roll_s=2, post_roll_s=3)
    high = campaign("high", budget=SelectionBudget(share=0.1, burst_s=10), priority=2.0)
    kept = [
        (each.start_ns // SECOND_NS, each.reason, each.by)
        for each in run(policy(low, high, share=0), units(said))
        if each.kept
    ]
    assert kept == [
        (3, ROLL, "low"),
        (4, ROLL, "low"),
        (5, CAMPAIGN, "high"),
        (6, ROLL, "low"),
        (7, ROLL, "low"),
        (8, ROLL, "low"),
    ]


def test_gates_and_never_hold_against_campaigns() -> None:
    all_of_it = campaign(where="cam.wish >= 0", budget=SelectionBudget(share=1.0))
    gated = run(policy(all_of_it), units([1.0] * 5, gate="noise"))
    assert {(each.kept, each.reason) for each in gated} == {(False, NEVER)}
    never = run(policy(all_of_it, never=("cam.wish = 1",)), units([1.0, 0.0]))
    assert [each.reason for each in never][:1] == [NEVER]
    assert never[1].kept


def test_values_say_what_made_it_look_and_the_mission_is_asked_too() -> None:
    each = campaign(
        where="cam.wish > 0 and mission.name = 'hall' and mission.priority >= 2 and not cam.none > 1",
        mission={"mission.name": "hall", "mission.domain": "", "mission.priority": 2.0},
    )
    (unit,) = units([1.0])
    assert fired(with_campaigns(unit, (each,)), (each,)) == {}, "a score that is not there is NULL"
    each = each.model_copy(update={"where": "cam.wish > 0 and mission.name = 'hall'"})
    each = SelectionCampaign(**each.model_dump())
    assert fired(with_campaigns(unit, (each,)), (each,)) == {"dock": {"cam.wish": 1.0, "mission.name": "hall"}}
    elsewhere = SelectionCampaign(**each.model_dump() | {"mission": {"mission.name": "yard"}})
    assert fired(with_campaigns(unit, (elsewhere,)), (elsewhere,)) == {}


def test_a_policy_without_campaigns_is_what_it_was_before_there_were_such() -> None:
    without = policy()
    assert "campaigns" not in without.model_dump()
    assert without.version != policy(campaign()).version
    assert SelectionPolicy(**policy(campaign()).model_dump()) == policy(campaign())
    with pytest.raises(ValidationError, match="two have one name"):
        policy(campaign(), campaign())
    with pytest.raises(ValidationError, match="compares text"):
        campaign(where="mission.name > 1")
