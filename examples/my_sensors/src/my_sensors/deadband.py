"""A filter: of a slow sensor only what differs from the last sample that was kept."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from sensorium.extend import Block, ConfigError, FilterConfig, StreamSpec


@dataclass(frozen=True, slots=True)
class DeadbandState:
    """The last sample that was kept, None before the first."""

    last: tuple[float, ...] | None = None


class Deadband(FilterConfig[DeadbandState]):
    """`{kind: deadband, by: 0.5}`: a row is dropped unless some channel differs by at least `by`, in the stream's unit,
    from the last row that was kept."""

    annotates: ClassVar[tuple[str, ...] | None] = ()

    kind: Literal["deadband"] = "deadband"
    by: PositiveFloat

    def output(self, spec: StreamSpec) -> StreamSpec:
        if len(spec.shape) != 1 or spec.dtype == "bool":
            raise ConfigError(f"stream {spec.name!r} is {list(spec.shape)} {spec.dtype}, expected rows of numbers")
        return spec

    def start(self, spec: StreamSpec) -> DeadbandState:
        return DeadbandState()

    def step(self, state: DeadbandState, block: Block) -> tuple[DeadbandState, Block]:
        kept = np.zeros(len(block), np.bool_)
        last = state.last
        for number, row in enumerate(block.data.tolist()):
            if last is None or any(abs(one - other) >= self.by for one, other in zip(row, last, strict=True)):
                kept[number] = True
                last = tuple(row)
        return DeadbandState(last), block.take(kept, block.lost_before)
