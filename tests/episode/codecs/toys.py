"""Two codecs that nobody ships, as another's package would hold them: bare numbers, and pictures as PNG."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from pydantic import Field

from sensorium.drivers import registry as drivers_registry
from sensorium.drivers.stream import Samples
from sensorium.episode.codecs import registry
from sensorium.episode.codecs.contract import Buffer, ChunkCodec, CodecConfig, ItemCodec, Json
from sensorium.episode.documents import StreamEntry
from sensorium.errors import ConfigError, Corrupt


class Bare(ChunkCodec):
    """Rows as they lie in memory; only the layout's checksum is behind them."""

    @property
    def max_bytes(self) -> int:
        return self.entry.spec.sample_bytes * self.entry.chunk_rows

    @property
    def pipeline(self) -> list[Json]:
        return [{"name": "bytes", "configuration": {"endian": "little"}}]

    def encode(self, samples: Samples) -> bytes:
        return samples.tobytes()

    def check(self, head: Buffer, size: int) -> None:
        if size != self.max_bytes:
            raise Corrupt(f"a chunk of {size} bytes, expected {self.max_bytes}")

    def decode(self, chunk: Buffer, out: Samples) -> None:
        self.check(b"", len(chunk))
        out[...] = np.frombuffer(chunk, out.dtype).reshape(out.shape)


class BareConfig(CodecConfig):
    codec: Literal["bare"] = "bare"

    @classmethod
    def open(cls, entry: StreamEntry) -> Bare:
        return Bare(entry)


class Png(ItemCodec):
    """Grey pictures of 8 or 16 bits, exactly."""

    media_type = "image/png"

    def __init__(self, entry: StreamEntry, level: int) -> None:
        super().__init__(entry)
        if len(entry.spec.shape) != 2 or entry.spec.dtype not in ("uint8", "uint16"):
            raise ConfigError(f"png takes grey pictures, this stream is {entry.spec.dtype} {entry.spec.shape}")
        self._level = level

    @property
    def max_bytes(self) -> int:
        return self.entry.spec.sample_bytes * 2 + 1024

    def encode(self, samples: Samples) -> bytes:
        item: bytes = cv2.imencode(".png", samples, [cv2.IMWRITE_PNG_COMPRESSION, self._level])[1].tobytes()
        return item

    def decode(self, item: Buffer, shrink: int = 1) -> Samples:
        try:
            picture = cv2.imdecode(np.frombuffer(item, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise Corrupt(f"OpenCV cannot decode it: {error.err}") from error
        spec = self.entry.spec
        if picture is None or (picture.shape, picture.dtype) != (spec.shape, spec.dtype):
            raise Corrupt("it is another picture, or none")
        decoded: Samples = picture
        return decoded


class PngConfig(CodecConfig):
    codec: Literal["png"] = "png"
    level: int = Field(default=3, ge=0, le=9)

    @classmethod
    def open(cls, entry: StreamEntry) -> Png:
        return Png(entry, cls.stated(entry.encoding).level)


@contextmanager
def installed(**more: type[CodecConfig]) -> Iterator[None]:
    """As if packages with these codecs were installed, for the time of a test."""
    found = metadata.entry_points

    def with_more(group: str) -> Any:
        points = [
            metadata.EntryPoint(name, f"{each.__module__}:{each.__qualname__}", group) for name, each in more.items()
        ]
        return [*found(group=group), *points] if group == registry.GROUP else found(group=group)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drivers_registry, "entry_points", with_more)
        registry.codec_config.cache_clear()
        try:
            yield
        finally:
            registry.codec_config.cache_clear()
