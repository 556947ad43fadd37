"""resize: pictures scaled to one size."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import PositiveInt

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.optics import scaled
from sensorium.drivers.media import Shrink, shrink_for
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.perception.gray import check_pictures


@dataclass(frozen=True, slots=True)
class ResizeState:
    """By what encoded pictures may be shrunk already as they are decoded."""

    shrink: Shrink


class Resize(FilterConfig[ResizeState]):
    """`size` [width, height]. Pixels are averaged over their area (OpenCV's INTER_AREA), so shrinking does not alias.

    >>> frames = Block("cam", np.array([5]), np.array([[[0, 2], [4, 6]]], np.uint8))
    >>> Resize(size=(1, 1)).step(ResizeState(1), frames)[1].data.tolist()
    [[[3]]]
    """

    annotates: ClassVar[tuple[str, ...] | None] = ()

    kind: Literal["resize"] = "resize"
    size: tuple[PositiveInt, PositiveInt]

    def output(self, spec: StreamSpec) -> StreamSpec:
        check_pictures(spec)
        return scaled(spec, *self.size)

    def start(self, spec: StreamSpec) -> ResizeState:
        return ResizeState(shrink_for(spec.shape, *self.size))

    def step(self, state: ResizeState, block: Block) -> tuple[ResizeState, Block]:
        width, height = self.size
        pictures = block.data if block.media is None else block.pixels(state.shrink)
        data = np.empty((len(block), height, width, *pictures.shape[3:]), pictures.dtype)
        for row, picture in enumerate(pictures):
            # OpenCV drops a last axis of one channel
            data[row] = cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA).reshape(data.shape[1:])
        return state, replace(block, content=data)
