"""`manual`: a person or a program opens and closes episodes, and may judge them."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from sensorium.agents.triggers.config import EventTriggerConfig
from sensorium.agents.triggers.events import EventSpans
from sensorium.agents.triggers.trigger import FOREVER_NS, Command, Placement, Trigger
from sensorium.drivers.stream import Block, StreamSpec


class ManualConfig(EventTriggerConfig):
    """`trigger: {kind: manual}`; `pre_roll_s` keeps what came before the word, `max_s` ends what was forgotten."""

    kind: Literal["manual"]
    pre_roll_s: float = Field(default=0.0, ge=0, le=600)
    post_roll_s: float = Field(default=0.0, ge=0, le=600)

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        """Needs no stream in particular."""
        del specs
        return Manual(*(round(s * 1e9) for s in (self.pre_roll_s, self.post_roll_s, self.max_s)))


class Manual:
    """Spans from `command`. Samples seen before a word belong to it only by pre-roll."""

    def __init__(self, pre_roll_ns: int, post_roll_ns: int, max_ns: int) -> None:
        self._spans = EventSpans(pre_roll_ns, post_roll_ns, max_ns)
        self._seen_ns = -FOREVER_NS

    def observe(self, block: Block) -> None:
        """Nothing to learn from samples."""

    def passed(self, stream: str, stamp_ns: int) -> None:
        """The latest stamp of any stream is the present."""
        del stream
        self._seen_ns = max(self._seen_ns, stamp_ns)
        self._spans.advance(self._seen_ns + 1)

    def place(self, stamp_ns: int) -> Placement:
        """See `Trigger`."""
        return self._spans.place(stamp_ns)

    def ended(self, stream: str) -> None:
        """Words may come without any stream."""

    def command(self, name: Command, outcome: str, at_ns: int) -> bool:
        """Open, close (with an outcome) or discard an episode."""
        current = self._spans.current
        if name == "toggle":
            name = "close" if current else "open"
        if name == "open" and current is None:
            self._spans.open(at_ns, "manual")
        elif current is not None and name in ("close", "discard"):
            current.outcome = outcome
            current.discard = name == "discard"
            self._spans.close(at_ns)
        return True

    def reset(self) -> None:
        """The clock was set back: what was open is closed."""
        self._spans.reset()
        self._seen_ns = -FOREVER_NS
