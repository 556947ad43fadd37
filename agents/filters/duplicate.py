"""duplicate: pictures that look like the last one kept are dropped."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from sensorium.agents.filters.filter import FilterConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.perception.dhash import BITS, dhash, distance
from sensorium.perception.gray import check_pictures, gray


@dataclass(frozen=True, slots=True)
class DuplicateState:
    """The colour order, and hash and stamp of the last picture kept."""

    color_order: str
    last_hash: int | None = None
    last_ns: int = 0


class Duplicate(FilterConfig[DuplicateState]):
    """Pictures whose dHash is within `max_distance` bits of 64 of the last one kept are dropped, but one is kept after
    every `keep_every_s` where that is given. Annotates `dhash_distance`, which is 64 for the first picture.

    >>> ramp = np.tile(np.arange(9, dtype=np.uint8), (8, 1))
    >>> frames = Block("cam", np.arange(4), np.stack([ramp, ramp + 5, ramp[:, ::-1], ramp[:, ::-1]]))
    >>> left = Duplicate().step(DuplicateState(""), frames)[1]
    >>> left.captured_ns.tolist(), left.scores["dhash_distance"].tolist()
    ([0, 2], [64.0, 64.0])
    """

    annotates: ClassVar[tuple[str, ...] | None] = ("dhash_distance",)

    kind: Literal["duplicate"] = "duplicate"
    max_distance: int = Field(default=8, ge=0, le=BITS)
    keep_every_s: PositiveFloat | None = None

    def output(self, spec: StreamSpec) -> StreamSpec:
        check_pictures(spec)
        return spec

    def start(self, spec: StreamSpec) -> DuplicateState:
        return DuplicateState(spec.color_order)

    def step(self, state: DuplicateState, block: Block) -> tuple[DuplicateState, Block]:
        distances = np.full(len(block), float(BITS))
        kept = np.ones(len(block), np.bool_)
        for row, stamp in enumerate(block.captured_ns.tolist()):
            found = dhash(gray(block.data[row], state.color_order))
            if state.last_hash is not None:
                distances[row] = distance(found, state.last_hash)
                kept[row] = distances[row] > self.max_distance or self._is_due(stamp - state.last_ns)
            if kept[row]:
                state = replace(state, last_hash=found, last_ns=stamp)
        annotated = replace(block, scores={**block.scores, "dhash_distance": distances})
        return state, annotated.take(kept, block.lost_before)

    def _is_due(self, since_ns: int) -> bool:
        return self.keep_every_s is not None and since_ns >= self.keep_every_s * 1e9
