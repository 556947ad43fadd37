"""sharpness: pictures that are blurred, for this stream, are dropped."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from sensorium.agents.filters.filter import FilterConfig
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.perception.gray import check_pictures, gray
from sensorium.perception.percentile import percentile
from sensorium.perception.sharpness import noise_ratio, sharpness


@dataclass(frozen=True, slots=True)
class SharpnessState:
    """The colour order, and the sharpness of the last pictures, kept or not."""

    color_order: str
    recent: tuple[float, ...] = ()


class Sharpness(FilterConfig[SharpnessState]):
    """Pictures below the `percentile` of the sharpness of the last `window` pictures of the same stream are dropped.

    A fixed limit would not do: the value depends on scene, lens and noise. Up to a tenth of the window all pass. With
    `max_noise_ratio` (`perception.sharpness.noise_ratio`; 4 is between scenes and noise) noise is dropped, which
    otherwise looks sharp. Annotates `sharpness`.

    >>> checks = np.indices((8, 8)).sum(axis=0) % 2 * np.uint8(255)
    >>> frames = Block("cam", np.arange(4), np.stack([checks, checks, checks // 2, checks]))
    >>> blurred = Sharpness(window=20)
    >>> state, left = blurred.step(SharpnessState(""), frames)
    >>> left.captured_ns.tolist(), len(state.recent)
    ([0, 1, 3], 4)
    """

    annotates: ClassVar[tuple[str, ...] | None] = ("sharpness",)

    kind: Literal["sharpness"] = "sharpness"
    percentile: float = Field(default=20, ge=0, le=100)
    window: int = Field(default=100, ge=10, le=10_000)
    max_noise_ratio: PositiveFloat | None = None

    def output(self, spec: StreamSpec) -> StreamSpec:
        check_pictures(spec)
        return spec

    def start(self, spec: StreamSpec) -> SharpnessState:
        return SharpnessState(spec.color_order)

    def step(self, state: SharpnessState, block: Block) -> tuple[SharpnessState, Block]:
        recent = list(state.recent)
        values = np.empty(len(block))
        kept = np.ones(len(block), np.bool_)
        for row, picture in enumerate(block.data):
            flat = gray(picture, state.color_order)
            values[row] = value = sharpness(flat)
            if len(recent) >= self.window // 10:
                kept[row] = not value < percentile(recent, self.percentile)
            recent = [*recent, value][-self.window :]
            if self.max_noise_ratio is not None and noise_ratio(flat, value) > self.max_noise_ratio:
                kept[row] = False
        annotated = replace(block, scores={**block.scores, "sharpness": values})
        return replace(state, recent=tuple(recent)), annotated.take(kept, block.lost_before)
