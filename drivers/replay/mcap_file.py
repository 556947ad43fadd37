"""The messages of an MCAP file by log time: all that is whole, and the times of those that are not."""

import heapq
import json
import logging
import os
import struct
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from sensorium.errors import ConfigError

try:
    import zstandard
    from mcap.exceptions import McapError
    from mcap.reader import SeekingReader
    from mcap.records import Channel, Chunk, ChunkIndex, Message, MessageIndex, Schema
    from mcap.stream_reader import StreamReader, breakup_chunk
    from mcap_ros2.decoder import DecoderFactory
except ImportError as error:
    raise ConfigError("replay-mcap needs mcap and mcap-ros2-support: pip install 'sensorium[mcap]'") from error

log = logging.getLogger(__name__)

_END = struct.Struct("<9xQQI8x")  # the footer (where the summary starts, its CRC) and the closing magic
_AFTER_CRC = 4 + 8
_ZSTD = b"\x28\xb5\x2f\xfd"
_OTHERS = {
    _ZSTD: "; unpack it first (zstd -d)",
    b"#ROSBAG": "; `mcap convert` makes one of a ROS 1 bag",
    b"SQLite": "; `mcap convert` makes one of a ROS 2 bag in SQLite",
}
_MOST_BYTES = 1 << 28
_PLAIN_CDR = (b"\0\0", b"\0\1")

# what the library and the decompressors under it raise on bytes that are not what was written
DAMAGE = (
    McapError,
    zstandard.ZstdError,
    ValueError,
    RuntimeError,
    LookupError,
    EOFError,
    MemoryError,
    OverflowError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class Logged:
    """One message of `topic`. `data` is None where the file's index knows of it but its bytes are damaged."""

    topic: str
    encoding: str
    schema: Any
    log_ns: int
    data: bytes | None


Stored = tuple[int, list[tuple[int, int, bytes | None]]]
"""Messages that stand together in a file: the earliest log time, and (log time, channel id, data) of each."""


class McapFile:
    """An MCAP file, read through its index if that is whole, else from its beginning to where it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._said = False
        self._nameless = 0
        self.topics: set[str] | None = None
        """The topics that have messages, where the file's index says so; known once reading has begun."""

    def again(self) -> "McapFile":
        """The same, to be read from its beginning, with what is known by now of its channels."""
        file = McapFile(self._path)
        file._channels, file._schemas = dict(self._channels), dict(self._schemas)
        file._said, file._nameless = self._said, self._nameless
        return file

    @property
    def defined(self) -> set[str]:
        """Topics that are defined, as far as was read, whether or not they have messages."""
        return {channel.topic for channel in self._channels.values()}

    @property
    def nameless(self) -> int:
        """How many messages, of those read, are of no topic that can be told."""
        return self._nameless

    def messages(self) -> Generator[Logged, None, None]:
        """Every message by log time; chunks are read one by one, so memory holds those that overlap in time.

        Raises:
            ConfigError: the file cannot be read, or is no MCAP.
        """
        try:
            with self._path.open("rb") as file:
                if not (magic := file.read(16)).startswith(b"\x89MCAP"):
                    then = next((said for begin, said in _OTHERS.items() if magic.startswith(begin)), "")
                    raise ConfigError(f"{self._path}: no MCAP file; expected one (.mcap){then}")
                indexes = self._indexes(file)
                found = self._linear(file) if indexes is None else self._indexed(file, indexes)
                nameless, self._nameless = self._nameless, 0
                for log_ns, channel_id, data in _in_order(found):
                    channel = self._channels.get(channel_id)
                    if channel is None:  # what defines it is damaged, or stands behind
                        self._nameless += 1
                        continue
                    schema = self._schemas.get(channel.schema_id)
                    yield Logged(channel.topic, channel.message_encoding, schema, log_ns, data)
                if self._nameless not in (0, nameless):
                    log.warning(
                        "%s: %d messages are lost: what says which topics they are of is damaged",
                        self._path,
                        self._nameless,
                    )
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror or error}: expected an MCAP file") from error

    def _indexes(self, file: IO[bytes]) -> list[ChunkIndex] | None:
        """The chunks that the file's own index lists, or None where there is none or it is not whole."""
        try:
            file.seek(-_END.size, os.SEEK_END)
            start, _, crc = _END.unpack(file.read(_END.size))
            file.seek(start)
            if crc and crc != zlib.crc32(file.read()[:-_AFTER_CRC]):
                return None
            file.seek(0)
            summary = SeekingReader(file).get_summary()
        except (*DAMAGE, StopIteration, OSError):  # a seek before the start of a short file
            return None
        if summary is None or not summary.chunk_indexes:
            return None
        self._channels.update(summary.channels)
        self._schemas.update(summary.schemas)
        if summary.statistics is not None:
            counts = summary.statistics.channel_message_counts
            self.topics = {channel.topic for channel in self._channels.values() if counts.get(channel.id)}
        return sorted(summary.chunk_indexes, key=lambda index: (index.message_start_time, index.chunk_start_offset))

    def _indexed(self, file: IO[bytes], indexes: Iterable[ChunkIndex]) -> Iterator[Stored]:
        for index in indexes:
            file.seek(index.chunk_start_offset)
            records = StreamReader(file, skip_magic=True, emit_chunks=True).records
            try:
                yield index.message_start_time, self._open(next(records))
            except (*DAMAGE, StopIteration) as error:
                self._say(index.chunk_start_offset, error, "the rest is kept")
                file.seek(index.chunk_start_offset + index.chunk_length)
                yield index.message_start_time, self._lost(file, index)

    def _lost(self, file: IO[bytes], index: ChunkIndex) -> list[tuple[int, int, bytes | None]]:
        """What a damaged chunk held, from the message indexes that follow it."""
        records = StreamReader(file, skip_magic=True, emit_chunks=True).records
        held: list[tuple[int, int, bytes | None]] = []
        try:
            for _, record in zip(index.message_index_offsets, records, strict=False):
                if isinstance(record, MessageIndex) and record.channel_id in self._channels:
                    held.extend((log_ns, record.channel_id, None) for log_ns, _ in record.records)
        except DAMAGE as error:
            log.warning("%s: %s: messages of a damaged chunk cannot be counted", self._path, error)
        return held

    def _linear(self, file: IO[bytes]) -> Iterator[Stored]:
        file.seek(0)
        records = StreamReader(file, emit_chunks=True).records
        at = 0
        damaged = False
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except DAMAGE as error:
                self._say(at, error, "what stands before is kept, what came after cannot be counted")
                return
            if isinstance(record, Chunk):
                try:
                    yield record.message_start_time, self._open(record)
                    damaged = False
                except DAMAGE as error:
                    self._say(at, error, "the rest is kept")
                    damaged = True
            elif isinstance(record, MessageIndex) and damaged and record.channel_id in self._channels:
                yield 0, [(log_ns, record.channel_id, None) for log_ns, _ in record.records]
            elif isinstance(record, Message):
                yield record.log_time, [(record.log_time, record.channel_id, record.data)]
            else:
                self._learn(record)
            at = file.tell()

    def _open(self, record: Any) -> list[tuple[int, int, bytes | None]]:
        if not isinstance(record, Chunk):
            raise ValueError(f"expected a chunk, got {type(record).__name__}")
        messages: list[tuple[int, int, bytes | None]] = []
        for inner in breakup_chunk(record, validate_crc=True):
            if isinstance(inner, Message):
                messages.append((inner.log_time, inner.channel_id, inner.data))
            else:
                self._learn(inner)
        return messages

    def _learn(self, record: Any) -> None:
        if isinstance(record, Channel):
            self._channels[record.id] = record
        elif isinstance(record, Schema):
            self._schemas[record.id] = record

    def _say(self, at: int, why: object, kept: str) -> None:
        if not self._said:
            reason = " ".join(str(why).split()) or type(why).__name__
            log.warning("%s: cut short or damaged at byte %d: %s; %s", self._path, at, reason, kept)
        self._said = True


def _in_order(found: Iterator[Stored]) -> Iterator[tuple[int, int, bytes | None]]:
    """Messages by log time; those that the next group may precede wait for it. Equal times keep the file's order."""
    waiting: list[tuple[int, int, int, bytes | None]] = []
    count = 0
    for start_ns, group in found:
        while waiting and waiting[0][0] < start_ns:
            log_ns, _, channel_id, data = heapq.heappop(waiting)
            yield log_ns, channel_id, data
        for log_ns, channel_id, data in group:
            heapq.heappush(waiting, (log_ns, count, channel_id, data))
            count += 1
    while waiting:
        log_ns, _, channel_id, data = heapq.heappop(waiting)
        yield log_ns, channel_id, data


class Decoder:
    """Makes of a message's bytes an object with attributes: CDR by its ROS 2 schema, JSON as it stands."""

    def __init__(self) -> None:
        self._ros = DecoderFactory()

    def decode(self, logged: Logged) -> Any:
        """The message; `ValueError` where it is damaged, or of an encoding that is not known."""
        if logged.data is None:
            raise ValueError("damaged")
        data = _unpacked(logged.data)
        try:
            if logged.encoding == "json":
                return json.loads(data, object_hook=lambda fields: SimpleNamespace(**fields))
            decoder = self._ros.decoder_for(logged.encoding, logged.schema)
            if decoder is None:
                schema = f" with {getattr(logged.schema, 'encoding', '') or 'no schema'}" * (logged.encoding == "cdr")
                raise ValueError(f"encoding {logged.encoding or 'none'}{schema} is not one of cdr with ros2msg, json")
            if data[:2] not in _PLAIN_CDR:
                raise ValueError(f"begins with {data[:2].hex(' ') or 'nothing'}, which no plain CDR does")
            return decoder(data)
        except (McapError, LookupError, TypeError, AttributeError, OverflowError, struct.error) as error:
            raise ValueError(f"does not fit its schema: {error}") from error
        except RecursionError as error:
            raise ValueError("is nested too deeply") from error


def _unpacked(data: bytes) -> bytes:
    """A message that was compressed by itself, as `ros2 bag --compression-mode message` does, as it was before."""
    if not data.startswith(_ZSTD):
        return data
    try:
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            whole = reader.read(_MOST_BYTES + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise ValueError(f"cannot be decompressed: {error}") from error
    if len(whole) > _MOST_BYTES:
        raise ValueError(f"is more than {_MOST_BYTES >> 20} MiB when it is decompressed")
    return whole
