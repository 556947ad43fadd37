"""exposure: pictures that are too dark, too bright or clipped are dropped."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from sensorium.agents.filters.filter import FilterConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.perception.exposure import exposure, white_level
from sensorium.perception.gray import check_pictures


@dataclass(frozen=True, slots=True)
class ExposureState:
    """The value of white."""

    white: float


class Exposure(FilterConfig[ExposureState]):
    """Pictures with a mean outside of `min_mean` to `max_mean` (0 black, 1 white), or with more than the share
    `max_clipped` of their values at black or white, are dropped. Annotates `exposure_mean` and `exposure_clipped`.

    >>> frames = Block("cam", np.arange(3), np.stack([np.full((4, 4), level, np.uint8) for level in (1, 99, 255)]))
    >>> Exposure(min_mean=0.1, max_clipped=0.5).step(ExposureState(255), frames)[1].captured_ns.tolist()
    [1]
    """

    annotates: ClassVar[tuple[str, ...] | None] = ("exposure_mean", "exposure_clipped")

    kind: Literal["exposure"] = "exposure"
    min_mean: float = Field(default=0.05, ge=0, le=1)
    max_mean: float = Field(default=0.95, ge=0, le=1)
    max_clipped: float = Field(default=0.5, ge=0, le=1)

    def output(self, spec: StreamSpec) -> StreamSpec:
        check_pictures(spec)
        return spec

    def start(self, spec: StreamSpec) -> ExposureState:
        return ExposureState(white_level(spec))

    def step(self, state: ExposureState, block: Block) -> tuple[ExposureState, Block]:
        found = np.array([exposure(picture, state.white) for picture in block.data], np.float64).reshape(-1, 2)
        mean, clipped = found.T
        scores = {**block.scores, "exposure_mean": mean, "exposure_clipped": clipped}
        kept = (mean >= self.min_mean) & (mean <= self.max_mean) & (clipped <= self.max_clipped)
        return state, replace(block, scores=scores).take(kept, block.lost_before)
