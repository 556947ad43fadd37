"""rate: at most so many samples a second, by their stamps."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import msgspec
import numpy as np
from pydantic import Field

from sensorium.agents.filters.filter import FilterConfig
from sensorium.drivers.stream import Block, StreamSpec


@dataclass(frozen=True, slots=True)
class RateState:
    """Where periods are counted from, and the number of the last one that has its sample."""

    lead_ns: float
    origin_ns: int | None = None
    last_period: float | None = None


class Rate(FilterConfig[RateState]):
    """The first sample of every period of 1 / `max_hz` is kept.

    Periods lie on a fixed grid and are not counted from the last sample kept, so jitter does not lower the rate. The
    grid begins half a sample before the first stamp: regular samples then lie as far from its borders as they can, and
    jitter under half a sample changes nothing.

    >>> rows = Block("imu", np.arange(7) * 10_000_000, np.arange(7.0))
    >>> spec = StreamSpec(name="imu", modality="imu", dtype="float64", shape=(), rate_hz=100)
    >>> rate = Rate(max_hz=50)
    >>> rate.step(rate.start(spec), rows)[1].data.tolist()
    [0.0, 2.0, 4.0, 6.0]
    """

    looks: ClassVar[bool] = False

    annotates: ClassVar[tuple[str, ...] | None] = ()

    kind: Literal["rate"] = "rate"
    max_hz: float = Field(gt=0, lt=1e9)

    def output(self, spec: StreamSpec) -> StreamSpec:
        if spec.rate_hz is None:
            return spec
        return msgspec.structs.replace(spec, rate_hz=min(spec.rate_hz, self.max_hz))

    def start(self, spec: StreamSpec) -> RateState:
        return RateState(0.0 if spec.rate_hz is None else 0.5e9 / spec.rate_hz)

    def step(self, state: RateState, block: Block) -> tuple[RateState, Block | None]:
        if not len(block):
            return state, block
        origin_ns = state.origin_ns
        if origin_ns is None:
            origin_ns = int(block.captured_ns[0])
        since_ns = (block.captured_ns - origin_ns).astype(np.float64) + state.lead_ns
        periods = np.floor_divide(since_ns, 1e9 / self.max_hz)
        before = np.nan if state.last_period is None else state.last_period
        is_first = np.diff(periods, prepend=before) != 0
        kept = block.take(is_first, block.lost_before)
        return replace(state, origin_ns=origin_ns, last_period=float(periods[-1])), kept
