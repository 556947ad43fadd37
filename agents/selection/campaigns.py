"""The campaigns of a policy at work: each with its purse and its rolls; they keep of what the policy drops."""

from collections.abc import Mapping, Sequence

import msgspec

from sensorium.agents.selection.budget import Purse, costs_of
from sensorium.agents.selection.campaign import SCORE, SelectionCampaign
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Unit

CAMPAIGN = "campaign"
"""The reason of a unit that a campaign keeps; `by` is its name."""


class CampaignState(msgspec.Struct):
    """What a restart needs of one."""

    levels: dict[str, tuple[int, int]]
    roll_until_ns: int | None = None


class RunningCampaigns:
    """Those of one policy that keep something, the larger priority first."""

    def __init__(self, campaigns: Sequence[SelectionCampaign], before: Mapping[str, CampaignState]) -> None:
        kept = [each for each in campaigns if not each.shadow]
        self._campaigns = sorted(kept, key=lambda each: (-each.priority, each.name))
        self._purses = {each.name: Purse(each.budget) for each in self._campaigns}
        self._roll_until_ns: dict[str, int] = {}
        for name, purse in self._purses.items():
            if (known := before.get(name)) is not None:
                purse.take_over(known.levels)
                if known.roll_until_ns is not None:
                    self._roll_until_ns[name] = known.roll_until_ns

    @property
    def state(self) -> dict[str, CampaignState]:
        """For those of after a restart."""
        return {
            name: CampaignState(purse.levels(), self._roll_until_ns.get(name)) for name, purse in self._purses.items()
        }

    @property
    def left(self) -> float:
        """This part of each budget, at least, is left to spend."""
        return min((purse.left for purse in self._purses.values()), default=1.0)

    def leave(self, left: float) -> None:
        """No more than this part is left."""
        for purse in self._purses.values():
            purse.leave(left)

    def forget_rolls(self) -> None:
        """Another time begins."""
        self._roll_until_ns.clear()

    def earn(self, captured_ns: int, passed_ns: int) -> None:
        """Time has passed."""
        for purse in self._purses.values():
            purse.earn(captured_ns, passed_ns)

    def fired(self, unit: Unit) -> list[SelectionCampaign]:
        """Those that look for this unit; what follows it is in their post-rolls."""
        found = [each for each in self._campaigns if unit.scores.get(each.score) == 1.0]
        for each in found:
            self._roll_until_ns[each.name] = unit.end_ns + round(each.post_roll_s * SECOND_NS)
        return found

    def keeps(self, unit: Unit, fired: Sequence[SelectionCampaign]) -> tuple[str, bool]:
        """The campaign that pays for a unit which nothing else keeps, "" if none does; and whether it looks for it, or
        has it in its post-roll."""
        costs = costs_of(unit.length_ns, unit.estimate_bytes)
        after = [each for each in self._campaigns if unit.start_ns < self._roll_until_ns.get(each.name, unit.start_ns)]
        for each in [*fired, *(each for each in after if each not in fired)]:
            purse = self._purses[each.name]
            if purse.affords(costs):
                purse.spend(costs)
                return each.name, each in fired
        return "", False

    def pays(self, name: str, length_ns: int, size: int) -> bool:
        """Whether a campaign has what a unit of its pre-roll costs, which is then spent."""
        purse, costs = self._purses[name], costs_of(length_ns, size)
        if not purse.affords(costs):
            return False
        purse.spend(costs)
        return True


def fired(unit: Unit, campaigns: Sequence[SelectionCampaign]) -> dict[str, dict[str, str | float | None]]:
    """By name the campaigns that look for a unit, and what made each do so. Shadows do not count."""
    found = [each for each in campaigns if not each.shadow and unit.scores.get(each.score) == 1.0]
    return {each.name: each.values(unit.scores) for each in found}


def with_campaigns(unit: Unit, campaigns: Sequence[SelectionCampaign]) -> Unit:
    """A unit with what campaigns find of it, in place of what others found."""
    scores = {name: value for name, value in unit.scores.items() if not name.startswith(SCORE)}
    if len(scores) == len(unit.scores) and not campaigns:
        return unit
    found = {each.score: float(each.is_true(scores, unit.novelty)) for each in campaigns}
    return msgspec.structs.replace(unit, scores=scores | found)
