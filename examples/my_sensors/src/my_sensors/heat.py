"""A trigger: an episode while it is hot."""

from collections.abc import Sequence
from typing import Literal

from sensorium.extend import (
    FOREVER_NS,
    Block,
    ConfigError,
    EventTrigger,
    EventTriggerConfig,
    StreamSpec,
    Trigger,
    nearest,
)


class HeatConfig(EventTriggerConfig):
    """`trigger: {kind: heat, stream: cpu, above: 60}`, in the unit of the stream's first channel."""

    kind: Literal["heat"] = "heat"
    stream: str
    above: float

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        rows = [spec.name for spec in specs if len(spec.shape) == 1]
        if self.stream not in rows:
            hint = nearest(self.stream, rows)
            raise ConfigError(f"trigger.stream: no rows {self.stream!r}{hint} (there are: {', '.join(rows) or 'none'})")
        return Heat(self)


class Heat(EventTrigger):
    """Fires at every sample above the limit; Sensorium makes spans of that, with what comes before and after."""

    def __init__(self, config: HeatConfig) -> None:
        super().__init__(config.spans())
        self._config = config

    def observe(self, block: Block) -> None:
        if block.stream == self._config.stream and len(block):
            for stamp_ns in block.captured_ns[block.data[:, 0] > self._config.above].tolist():
                self.spans.fire(stamp_ns, "heat")

    def passed(self, stream: str, stamp_ns: int) -> None:
        super().passed(stream, stamp_ns)
        if stream == self._config.stream:  # without a sample of it there is no heat
            self.spans.advance(stamp_ns)

    def ended(self, stream: str) -> None:
        if stream == self._config.stream:
            self.spans.advance(FOREVER_NS)
