"""A driver of tests: pictures that come as JPEG, as from a camera that encodes by itself."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from pydantic import ConfigDict

from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import DriverConfig
from sensorium.drivers.media import JPEG, Media
from sensorium.drivers.stream import Block, StreamSpec

SHAPE = (48, 64, 3)
PERIOD_NS = 100_000_000


def item(seed: int, quality: int = 80) -> bytes:
    """A JPEG of a soft texture."""
    noise = np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)
    picture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
    data: bytes = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return data


class JpegSource(DriverConfig):
    """A recording of `items`, ten a second, `per_block` of them in each block."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    kind: str = "jpeg-source"
    items: tuple[bytes, ...] = ()
    per_block: int = 2

    def open(self, name: str, base: Path) -> "JpegReel":
        return JpegReel(name, self)


class JpegReel:
    def __init__(self, name: str, config: JpegSource) -> None:
        spec = StreamSpec(
            name=name, modality="camera", dtype="uint8", shape=SHAPE, rate_hz=10.0, color_order="BGR"
        )  # fmt: skip
        self.specs = (spec,)
        self.clock = Clock(kind="recording")
        self._config = config
        self._next = 0
        self._closed = False

    def read(self, timeout_s: float) -> Sequence[Block] | None:
        first, stop = self._next, min(self._next + self._config.per_block, len(self._config.items))
        if first == stop or self._closed:
            return None
        self._next = stop
        stamps = np.arange(first, stop, dtype=np.int64) * PERIOD_NS
        return [Block(self.specs[0].name, stamps, Media(JPEG, self._config.items[first:stop]))]

    def close(self) -> None:
        self._closed = True
