"""resize: pictures scaled to one size."""

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from pydantic import PositiveInt

from sensorium.agents.filters.filter import FilterConfig
from sensorium.agents.filters.optics import scaled
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.perception.gray import check_pictures


class Resize(FilterConfig[None]):
    """`size` [width, height]. Pixels are averaged over their area (OpenCV's INTER_AREA), so shrinking does not alias.

    >>> frames = Block("cam", np.array([5]), np.array([[[0, 2], [4, 6]]], np.uint8))
    >>> Resize(size=(1, 1)).step(None, frames)[1].data.tolist()
    [[[3]]]
    """

    kind: Literal["resize"] = "resize"
    size: tuple[PositiveInt, PositiveInt]

    def output(self, spec: StreamSpec) -> StreamSpec:
        check_pictures(spec)
        return scaled(spec, *self.size)

    def start(self, spec: StreamSpec) -> None:
        del spec

    def step(self, state: None, block: Block) -> tuple[None, Block]:
        width, height = self.size
        data = np.empty((len(block), height, width, *block.data.shape[3:]), block.data.dtype)
        for row, picture in enumerate(block.data):
            # OpenCV drops a last axis of one channel
            data[row] = cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA).reshape(data.shape[1:])
        return state, replace(block, data=data)
