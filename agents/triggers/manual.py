"""`manual`: a person or a program opens and closes episodes, and may judge them."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from sensorium.agents.triggers.config import EventTriggerConfig
from sensorium.agents.triggers.events import EventTrigger
from sensorium.agents.triggers.trigger import Command, Trigger
from sensorium.drivers.marks import Label
from sensorium.drivers.stream import StreamSpec


class ManualConfig(EventTriggerConfig):
    """`trigger: {kind: manual}`; `pre_roll_s` keeps what came before the word, `max_s` ends what was forgotten."""

    kind: Literal["manual"]
    pre_roll_s: float = Field(default=0.0, ge=0, le=600)
    post_roll_s: float = Field(default=0.0, ge=0, le=600)

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        """Needs no stream in particular."""
        del specs
        return Manual(self.spans())


class Manual(EventTrigger):
    """Spans from `command`. Samples seen before a word belong to it only by pre-roll."""

    def passed(self, stream: str, stamp_ns: int) -> None:
        """The latest stamp of any stream is the present."""
        super().passed(stream, stamp_ns)
        self.spans.advance(self.spans.seen_ns + 1)

    def label(self, labels: Mapping[str, Label]) -> bool:
        """Beside those that it has; the later of one name counts."""
        current = self.spans.current
        if current is not None:
            current.labels = {**current.labels, **labels}
        return current is not None

    def command(self, name: Command, outcome: str, at_ns: int) -> bool:
        """Open, close (with an outcome) or discard an episode."""
        current = self.spans.current
        if name == "toggle":
            name = "close" if current else "open"
        if name == "open" and current is None:
            self.spans.open(at_ns, "manual")
        elif current is not None and name in ("close", "discard"):
            current.outcome = outcome
            current.discard = name == "discard"
            self.spans.close(at_ns)
        return True
