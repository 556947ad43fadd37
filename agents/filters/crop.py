"""crop: a rectangle of every picture."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.optics import cut
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError


class Crop(FilterConfig[None]):
    """The rectangle `width` by `height` whose upper left pixel is at `x`, `y`.

    >>> frames = Block("cam", np.array([5]), np.arange(6, dtype=np.uint8).reshape(1, 2, 3))
    >>> Crop(x=1, width=2, height=1).step(None, frames)[1].data.tolist()
    [[[1, 2]]]
    """

    annotates: ClassVar[tuple[str, ...] | None] = ()

    kind: Literal["crop"] = "crop"
    x: NonNegativeInt = 0
    y: NonNegativeInt = 0
    width: PositiveInt
    height: PositiveInt

    def output(self, spec: StreamSpec) -> StreamSpec:
        if not spec.is_frames:
            raise ConfigError(f"stream {spec.name!r} has samples {list(spec.shape)}, expected pictures [h, w, ...]")
        height, width = spec.shape[:2]
        if self.x + self.width > width or self.y + self.height > height:
            raise ConfigError(
                f"the rectangle reaches to {self.x + self.width}, {self.y + self.height}, expected within the"
                f" {width}x{height} pictures of {spec.name!r}"
            )
        return cut(spec, self.x, self.y, self.width, self.height)

    def start(self, spec: StreamSpec) -> None:
        del spec

    def step(self, state: None, block: Block) -> tuple[None, Block]:
        part = block.data[:, self.y : self.y + self.height, self.x : self.x + self.width]
        # a copy, because a view would keep the whole picture in memory
        return state, replace(block, content=np.array(part))
