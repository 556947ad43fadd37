"""What stands under `trigger:` in a device file."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from sensorium.agents.triggers.events import EventSpans
from sensorium.agents.triggers.trigger import Trigger
from sensorium.drivers.stream import StreamSpec

GROUP = "sensorium.triggers"


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


class EventTriggerConfig(TriggerConfig):
    """A trigger by events: an episode begins `pre_roll_s` before the first and ends `post_roll_s` after the last,
    or when it has lasted `max_s`; the next then begins at its end."""

    pre_roll_s: float = Field(default=2.0, ge=0, le=600)
    post_roll_s: float = Field(default=2.0, gt=0, le=600)
    max_s: float = Field(default=60.0, gt=0, le=600)

    def spans(self) -> EventSpans:
        """No spans yet, of these lengths."""
        return EventSpans(*(round(seconds * 1e9) for seconds in (self.pre_roll_s, self.post_roll_s, self.max_s)))
