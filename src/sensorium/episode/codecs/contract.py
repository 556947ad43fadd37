"""The codec contract: between the samples of one stream and the bytes that a store holds of them."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from sensorium.drivers.stream import Samples, StreamSpec
from sensorium.episode.documents import Encoding, StreamEntry
from sensorium.errors import ConfigError

Buffer = bytes | bytearray | memoryview
Json = dict[str, Any]

MAX_CHUNK_BYTES = 256 << 20
"""No inner chunk holds more raw bytes."""


class StreamCodec(ABC):
    """What a `ChunkCodec` and an `ItemCodec` share: made of one stream's entry, it keeps nothing between calls, so that
    threads may share it, and the same samples always give the same bytes. It may be pickled."""

    stores_items: ClassVar[bool]
    media_type: ClassVar[str] = ""
    """What one item is ("image/jpeg"); empty for chunks of numbers."""

    def __init__(self, entry: StreamEntry) -> None:
        """Check that the stream can be stored as `entry` says, which may come from anyone; else `ConfigError`."""
        self.entry = entry

    @property
    @abstractmethod
    def max_bytes(self) -> int:
        """No chunk, or item, that `encode` makes is larger."""

    @abstractmethod
    def encode(self, samples: Samples) -> bytes:
        """One inner chunk of [chunk_rows, *shape], padded by the caller; or the item of one sample, [*shape]."""

    def takes_items(self, media_type: str, spec: StreamSpec) -> bool:
        """Whether items that come encoded, of samples such as `spec` says, can be stored as they are."""
        mine = self.entry.spec
        known = (self.media_type, mine.dtype, mine.shape)
        return self.stores_items and (media_type, spec.dtype, spec.shape) == known


class ChunkCodec(StreamCodec):
    """`chunk_rows` samples are one inner chunk of a numeric Zarr array. A CRC32C follows each chunk in the file and the
    store; the codec neither makes nor sees it, and what it is given to decode has passed it."""

    stores_items = False
    head_bytes: ClassVar[int] = 0
    """How much of a chunk's beginning `check` needs; no chunk is shorter."""

    @property
    @abstractmethod
    def pipeline(self) -> list[Json]:
        """The Zarr codecs that undo `encode`, "bytes" first: only such as every Zarr v3 reader has."""

    @abstractmethod
    def check(self, head: Buffer, size: int) -> None:
        """Raise `Corrupt` unless `head` can begin a chunk of `size` bytes of this stream, which other readers would
        believe. Ingest never decodes: this is all that it looks at."""

    @abstractmethod
    def decode(self, chunk: Buffer, out: Samples) -> None:
        """Fill `out`, contiguous [chunk_rows, *shape], from a chunk; `Corrupt` if it cannot be one."""


class ItemCodec(StreamCodec):
    """Each sample is one item (say, a picture in a file's format); the store appends them to a blob as they are."""

    stores_items = True
    shrinks: ClassVar[tuple[int, ...]] = (1,)
    """By what `decode` can divide a picture's sides at less than the cost of a whole one."""

    @abstractmethod
    def decode(self, item: Buffer, shrink: int = 1) -> Samples:
        """The sample [*shape] of an item, sides of a picture divided by `shrink` and rounded up; `Corrupt` if it cannot
        be one."""


Codec = ChunkCodec | ItemCodec
"""The codec of one stream, of either kind."""


class CodecConfig(BaseModel):
    """What stands under `encodings:` in a device file; a codec's own model adds its fields. Its `codec` is the name of
    its entry point in the group `sensorium.codecs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    codec: str

    @classmethod
    def open(cls, entry: StreamEntry) -> Codec:
        """The codec of a stream; `ConfigError` if it cannot hold the stream so."""
        raise NotImplementedError(f"{cls.__name__} does not say what codec it configures")

    def encoding(self, spec: StreamSpec) -> Encoding:  # noqa: ARG002 (for those who override it)
        """What the documents of an episode say of it: by default its fields, as `settings`."""
        return Encoding(codec=self.codec, settings=self.model_dump(mode="json", exclude={"codec"}))

    @classmethod
    def stated(cls, encoding: Encoding) -> Self:
        """The configuration whose `settings` an encoding holds; `ConfigError` if they are none."""
        try:
            return cls.model_validate({**encoding.settings, "codec": encoding.codec})
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"settings of {encoding.codec}: {wrong}") from error

    def entry(self, spec: StreamSpec) -> StreamEntry:
        """How a stream is stored: one frame or item a chunk, or a quarter second of rows (32 where the rate is not
        known).

        Raises:
            ConfigError: the codec cannot hold the stream.
        """
        entry = StreamEntry(spec=spec, encoding=self.encoding(spec), chunk_rows=1)
        try:
            codec = self.open(entry)
        except ConfigError as error:
            raise ConfigError(f"encodings.{spec.name}: {error}") from error
        if codec.stores_items or spec.is_frames:
            return entry
        rows = 32 if spec.rate_hz is None else max(1, round(spec.rate_hz / 4))
        rows = max(1, min(rows, MAX_CHUNK_BYTES // spec.sample_bytes))
        return StreamEntry(spec=spec, encoding=entry.encoding, chunk_rows=rows)
