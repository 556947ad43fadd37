"""What stands under `worth`: how time is cut, what is never and what is always kept, and what may be spent."""

import functools
import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from sensorium.agents.selection.contract import GROUP, Policy
from sensorium.drivers.registry import by_kind
from sensorium.episode.where import Where, parse_where
from sensorium.episode.where_times import NUMBER
from sensorium.errors import ConfigError

SECOND_NS = 1_000_000_000

Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


class SelectionBudget(BaseModel):
    """A ceiling, not a quota; what is given of it holds together, and at least one is.

    `share` is kept captured time over captured time, rolls included; `bytes_per_s` and `bytes_per_day` are bytes of
    sealed full episodes. Unspent budget adds up for `burst_s` seconds: in no stretch of T seconds is more kept than
    the budget of T + `burst_s`. 0 keeps nothing. `floor` is the part of it that chance alone may spend.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Annotated[float, Field(ge=0, le=1)] | None = None
    bytes_per_s: Amount | None = None
    bytes_per_day: Amount | None = None
    burst_s: float = Field(default=60.0, gt=0, le=86_400)
    floor: float = Field(default=0.2, ge=0, le=1)

    def __str__(self) -> str:
        """
        >>> str(SelectionBudget(share=0.05, burst_s=600))
        'share 0.05, burst_s 600, floor 0.2'
        """
        return ", ".join(f"{name} {value:g}" for name, value in self if value is not None)

    @property
    def is_of_bytes(self) -> bool:
        """Whether bytes are limited, and not time alone."""
        return self.bytes_per_s is not None or self.bytes_per_day is not None

    @model_validator(mode="after")
    def _one_at_least(self) -> "SelectionBudget":
        if self.share is None and self.bytes_per_s is None and self.bytes_per_day is None:
            raise ValueError("expected at least one of share, bytes_per_s, bytes_per_day")
        return self


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
    of one's own in place of the built-in one.
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

    @functools.cached_property
    def version(self) -> str:
        """Names this policy, with all its numbers, in 16 letters."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=8).hexdigest()

    @property
    def columns(self) -> frozenset[str]:
        """All that its conditions name."""
        return frozenset[str]().union(*(condition(text).columns for text in (*self.never, *self.always)))

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
