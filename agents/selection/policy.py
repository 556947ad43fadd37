"""What stands under `worth`: how time is cut, what is never and what is always kept, and what may be spent."""

import functools
import hashlib
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.agents.selection.campaign import SelectionCampaign
from sensorium.agents.selection.contract import GROUP, Policy
from sensorium.drivers.registry import by_kind
from sensorium.episode.where import Where, parse_where
from sensorium.episode.where_times import NUMBER
from sensorium.errors import ConfigError


class PolicyConfig(BaseModel):
    """What stands under `decided_by`: a policy that is not the built-in one. Its own model adds its fields.

    Its `kind` is the name of its entry point in the group `sensorium.policies`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    def open(self, policy: "SelectionPolicy", spool_id: str, state: bytes | None) -> Policy:
        """Begin, or go on from `state`, which this policy or another has left; `policy` has the budget and the rest.

        Raises:
            Corrupt: `state` is none.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to open its policy")


class SelectionPolicy(BaseModel):
    """How a device chooses. Units are `unit_s` long, or single frames.

    `streams` are those that are judged, with the weight of their novelty; empty: all that have one. `never` and
    `always` are conditions over the scores of a unit, STREAM.SCORE, in the grammar of `where`; one that is not there
    is NULL. Around what novelty or a rule keeps, `pre_roll_s` and `post_roll_s` are kept too. `decided_by` is a policy
    of one's own in place of the built-in one. `campaigns` keep what they look for beside it, each in its own budget.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: Literal["time", "frame"] = "time"
    unit_s: float = Field(default=1.0, ge=0.05, le=60)
    streams: dict[str, Annotated[float, Field(gt=0, le=1000)]] = {}
    never: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    pre_roll_s: float = Field(default=0.0, ge=0, le=60)
    post_roll_s: float = Field(default=0.0, ge=0, le=60)
    budget: SelectionBudget
    seed: int = Field(default=0, ge=0, lt=1 << 63)
    campaigns: tuple[SelectionCampaign, ...] = ()
    decided_by: Annotated[SerializeAsAny[PolicyConfig], by_kind(GROUP, PolicyConfig)] | None = None

    @field_validator("never", "always")
    @classmethod
    def _conditions(cls, conditions: tuple[str, ...]) -> tuple[str, ...]:
        for each in conditions:
            try:
                condition(each)
            except ConfigError as error:
                raise ValueError(str(error)) from error
        return conditions

    @model_validator(mode="after")
    def _a_unit_fits(self) -> "SelectionPolicy":
        share, burst_s = self.budget.share, self.budget.burst_s
        if self.unit == "time" and share and self.unit_s > share * burst_s * (1 + 1e-9):
            raise ValueError(
                f"budget: share {share:g} adds up to {share * burst_s:g} s in burst_s {burst_s:g}, less than a unit of"
                f" {self.unit_s:g} s, and nothing could ever be kept; burst_s of at least {self.unit_s / share:g}"
            )
        return self

    @model_validator(mode="after")
    def _campaigns_fit(self) -> "SelectionPolicy":
        names = [each.name for each in self.campaigns]
        if len(set(names)) < len(names):
            raise ValueError(f"campaigns: two have one name ({', '.join(sorted(names))})")
        if self.campaigns and self.decided_by is not None:
            raise ValueError("campaigns: the policy of another package decides here, which knows of none")
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A policy without campaigns is what it was before there were such, and has the same version."""
        said: dict[str, Any] = whole(self)
        if not self.campaigns:
            said.pop("campaigns", None)
        return said

    @property
    def reach_s(self) -> float:
        """So long a unit may still be claimed by what comes after it."""
        return max([self.pre_roll_s, *(each.pre_roll_s for each in self.campaigns if not each.shadow)])

    @functools.cached_property
    def version(self) -> str:
        """Names this policy, with all its numbers, in 16 letters."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).hexdigest()

    @property
    def columns(self) -> frozenset[str]:
        """All that its conditions name."""
        own = [condition(text).columns for text in (*self.never, *self.always)]
        return frozenset[str]().union(*own, *(each.columns for each in self.campaigns))

    @property
    def decider(self) -> str:
        """Which policy decides; empty: the built-in one."""
        return "" if self.decided_by is None else self.decided_by.kind

    @property
    def built_in(self) -> "SelectionPolicy":
        """The same budget and rules, with the built-in policy."""
        fields = {name: getattr(self, name) for name in SelectionPolicy.model_fields if name != "decided_by"}
        return SelectionPolicy(**fields)


def condition(text: str) -> Where:
    """A condition over scores, which are numbers; see `parse_where` for errors."""
    columns = parse_where(text, None).columns
    return parse_where(text, dict.fromkeys(columns, NUMBER))
