"""`motion`: an episode while an IMU turns or is pushed."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from sensorium.agents.triggers.config import EventTriggerConfig
from sensorium.agents.triggers.events import EventTrigger
from sensorium.agents.triggers.trigger import FOREVER_NS, Trigger
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError

STANDARD_GRAVITY = 9.80665
"""m/s^2, by definition (CGPM 1901)."""


class MotionConfig(EventTriggerConfig):
    """`trigger: {kind: motion, stream: imu, gyro_above: 0.5, accel_above: 2}`.

    `gyro_above`, rad/s, is compared with the norm of gx gy gz; `accel_above`, m/s^2, with how far the norm of
    ax ay az is from standard gravity. At least one of them.
    """

    kind: Literal["motion"]
    stream: str
    gyro_above: float | None = Field(default=None, gt=0)
    accel_above: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_at_least(self) -> "MotionConfig":
        if self.gyro_above is None and self.accel_above is None:
            raise ValueError("expected gyro_above (rad/s), accel_above (m/s^2), or both")
        return self

    def start(self, specs: Sequence[StreamSpec]) -> Trigger:
        """Find the channels of the stream."""
        by_name = {spec.name: spec for spec in specs}
        if self.stream not in by_name:
            hint = nearest(self.stream, by_name)
            raise ConfigError(
                f"trigger.stream: no stream {self.stream!r}{hint} (there are: {', '.join(sorted(by_name))})"
            )
        channels = by_name[self.stream].channels
        wanted = ["gx", "gy", "gz"] * (self.gyro_above is not None) + ["ax", "ay", "az"] * (
            self.accel_above is not None
        )
        missing = [channel for channel in wanted if channel not in channels]
        if missing:
            has = ", ".join(channels) or "none"
            raise ConfigError(f"trigger.stream: {self.stream!r} has no channel {', '.join(missing)}; it has {has}")
        return Motion(self, channels)


class Motion(EventTrigger):
    """Fires at every sample over a threshold."""

    def __init__(self, config: MotionConfig, channels: Sequence[str]) -> None:
        super().__init__(config.spans())
        self._config = config
        self._gyro = [channels.index(c) for c in ("gx", "gy", "gz")] if config.gyro_above is not None else []
        self._accel = [channels.index(c) for c in ("ax", "ay", "az")] if config.accel_above is not None else []

    def observe(self, block: Block) -> None:
        """Look at the rows of the stream."""
        if block.stream != self._config.stream or not len(block):
            return
        over = np.zeros(len(block), bool)
        if self._config.gyro_above is not None:
            over |= np.linalg.norm(block.data[:, self._gyro], axis=1) > self._config.gyro_above
        if self._config.accel_above is not None:
            pull = np.linalg.norm(block.data[:, self._accel], axis=1)
            over |= np.abs(pull - STANDARD_GRAVITY) > self._config.accel_above
        for stamp_ns in block.captured_ns[over]:
            self.spans.fire(int(stamp_ns), "motion")

    def passed(self, stream: str, stamp_ns: int) -> None:
        """Without a sample there is no motion."""
        super().passed(stream, stamp_ns)
        if stream == self._config.stream:
            self.spans.advance(stamp_ns)

    def ended(self, stream: str) -> None:
        """Without the stream no event comes."""
        if stream == self._config.stream:
            self.spans.advance(FOREVER_NS)
