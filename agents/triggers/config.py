"""What stands under `trigger:` in a device file."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.triggers.events import EventSpans
from sensorium.agents.triggers.trigger import Trigger
from sensorium.drivers.stream import StreamSpec

GROUP = "sensorium.triggers"

Filters = Mapping[str, Sequence[FilterConfig[Any]]]
Scores = Mapping[str, Collection[str] | None]
"""By stream the names of its scores; None where they cannot be known before there are any."""


class TriggerConfig(BaseModel):
    """Base of every trigger's model; its `kind` is the name of its entry point in the group `sensorium.triggers`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        """A trigger at its beginning, for a device with these streams.

        Raises:
            ConfigError: it needs a stream that is not there.
        """
        raise NotImplementedError

    def check_scores(self, specs: Sequence[StreamSpec], scores: Scores) -> None:
        """Refuse conditions over scores that these streams do not have.

        Raises:
            ConfigError: it names one; with the nearest name.
        """

    def on_mission(self, mission: Mapping[str, str | float]) -> "TriggerConfig":
        """The trigger of a device that is on a mission, which is said by place (`mission.name`)."""
        del mission
        return self

    def filters(self, specs: Sequence[StreamSpec], filters: Filters) -> Filters:
        """The `filters` of streams that are there, with what this trigger needs besides of those that sensors have."""
        del specs
        return filters

    def told(self, specs: Sequence[StreamSpec], scores: Scores) -> list[str]:
        """What it will do with these streams, a line each, beyond its kind."""
        del specs, scores
        return []

    def advice(self, specs: Sequence[StreamSpec]) -> list[str]:
        """What cannot be had as it is configured, with these streams: a line each, and what to do."""
        del specs
        return []


class EventTriggerConfig(TriggerConfig):
    """A trigger by events: an episode begins `pre_roll_s` before the first and ends `post_roll_s` after the last,
    or when it has lasted `max_s`; the next then begins at its end."""

    pre_roll_s: float = Field(default=2.0, ge=0, le=600)
    post_roll_s: float = Field(default=2.0, gt=0, le=600)
    max_s: float = Field(default=60.0, gt=0, le=600)

    def spans(self) -> EventSpans:
        """No spans yet, of these lengths."""
        return EventSpans(*(round(seconds * 1e9) for seconds in (self.pre_roll_s, self.post_roll_s, self.max_s)))
