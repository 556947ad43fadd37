"""A campaign: what is looked for on top of what a policy keeps, by a condition of its own and within its own budget."""

import functools
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.drivers.stream import check_name
from sensorium.episode.where import Where, parse_where
from sensorium.episode.where_times import NUMBER, TEXT
from sensorium.errors import ConfigError

MISSION = {"mission.name": TEXT, "mission.domain": TEXT, "mission.priority": NUMBER}
"""What a campaign's condition may ask of the mission that the device is on."""
SCORE = "campaign."
"""How the score is called, with the campaign's name, that is 1 of a unit of which its condition is true, and else 0."""


class SelectionCampaign(BaseModel):
    """One of the `campaigns` of a policy. `where` is a condition over the scores of a unit, STREAM.SCORE, the means of
    channels, STREAM.CHANNEL, and `mission.name`, `mission.domain` and `mission.priority`. What it keeps beside
    the policy, with `pre_roll_s` and `post_roll_s` around, comes out of its own `budget`; of several that want a unit
    the one of the larger `priority` pays. A `shadow` keeps nothing: the trace tells what it would have been."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    where: str
    budget: SelectionBudget
    pre_roll_s: float = Field(default=0.0, ge=0, le=60)
    post_roll_s: float = Field(default=0.0, ge=0, le=60)
    priority: float = Field(default=1.0, allow_inf_nan=False)
    shadow: bool = False
    mission: dict[str, str | float] = {}

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        try:
            return check_name(name, "campaign")
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @field_validator("where")
    @classmethod
    def _check_where(cls, where: str) -> str:
        try:
            _condition(where)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return where

    @property
    def score(self) -> str:
        """The name of its score."""
        return SCORE + self.name

    @functools.cached_property
    def condition(self) -> Where:
        """What it looks for."""
        return _condition(self.where)

    @property
    def columns(self) -> list[str]:
        """The scores and channels that its condition names."""
        return sorted(self.condition.columns - MISSION.keys())

    def values(self, scores: Mapping[str, float]) -> dict[str, str | float | None]:
        """What its condition is asked of, of a unit with these scores."""
        of_mission: dict[str, str | float | None] = {name: self.mission.get(name) for name in MISSION}
        return {name: of_mission[name] if name in MISSION else scores.get(name) for name in self.condition.columns}

    def is_true(self, scores: Mapping[str, float], streams: Mapping[str, float]) -> bool:
        """Whether a unit with these scores, and looks of these streams, is what it looks for."""
        return self.condition.evaluate(self.values(scores), streams)


def _condition(where: str) -> Where:
    columns = parse_where(where, None).columns
    return parse_where(where, {name: MISSION.get(name, NUMBER) for name in columns})
