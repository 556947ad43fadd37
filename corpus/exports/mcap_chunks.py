"""An MCAP file whose messages are laid out by numpy, a stretch of all channels at once; all else by the mcap library.

The library's own writer makes each message by a dozen calls and copies its bytes four times. Format:
https://mcap.dev/spec, of which a chunk's head, the messages in it and their index are made here.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import IO, Any, Literal, NamedTuple

import lz4.frame
import numpy as np
import numpy.typing as npt
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.writer import MCAP0_MAGIC

from sensorium.drivers.stream import Stamps
from sensorium.errors import ConfigError

MOST_CHANNELS = 65_535
MOST_CHUNK_BYTES = 4 << 20
"""A chunk ends with the message that makes it so long."""
Compression = Literal["", "lz4"]
Buffer = bytes | memoryview
Lengths = npt.NDArray[np.int64]

_FIELDS = [("opcode", "u1"), ("length", "<u8"), ("channel", "<u2"), ("sequence", "<u4"), ("log", "<u8"), ("pub", "<u8")]
_HEAD = np.dtype(_FIELDS)
_HEAD_STRUCT = struct.Struct("<BQHIQQ")
_BEFORE_CHANNEL = 9
_CHUNK_HEAD = struct.Struct("<BQQQQI")
_INDEX_HEAD = struct.Struct("<BQHI")


class Messages(NamedTuple):
    """Records of messages of one channel, in their order: `log_ns` and `lengths` of each, and the bytes of those from
    one number to another."""

    channel: int
    log_ns: Stamps
    lengths: Lengths
    pieces: Callable[[int, int], Sequence[Buffer]]


def alike(
    channel: int,
    log_ns: Stamps,
    publish_ns: Stamps,
    sequence: int,
    form: npt.DTypeLike,
    fill: Callable[[npt.NDArray[Any]], object],
) -> Messages:
    """Messages that all are of `form`, which `fill` makes: they stand in one array with their heads."""
    count = len(log_ns)
    records = np.zeros(count, np.dtype([("head", _HEAD), ("message", form)]))
    size = records.dtype.itemsize
    head = records["head"]
    head["opcode"], head["length"], head["channel"] = Opcode.MESSAGE, size - _BEFORE_CHANNEL, channel
    head["sequence"] = np.arange(sequence, sequence + count)
    head["log"], head["pub"] = log_ns, publish_ns
    fill(records["message"])
    whole = memoryview(records.view(np.uint8).data).cast("B")
    return Messages(
        channel, log_ns, np.full(count, size, np.int64), lambda start, stop: [whole[start * size : stop * size]]
    )


def unlike(
    channel: int, log_ns: Stamps, publish_ns: Stamps, sequence: int, parted: Iterable[tuple[bytes, Buffer]]
) -> Messages:
    """Messages of any lengths, each in two parts, of which the second is not copied before it is written."""
    pieces: list[Buffer] = []
    lengths = []
    pack, without = _HEAD_STRUCT.pack, _HEAD_STRUCT.size - _BEFORE_CHANNEL
    stamps = zip(log_ns.tolist(), publish_ns.tolist(), strict=True)
    for number, ((log, publish), (before, rest)) in enumerate(zip(stamps, parted, strict=True), sequence):
        length = without + len(before) + len(rest)
        pieces += (pack(Opcode.MESSAGE, length, channel, number, log, publish) + before, rest)
        lengths.append(length + _BEFORE_CHANNEL)
    return Messages(channel, log_ns, np.array(lengths, np.int64), lambda start, stop: pieces[2 * start : 2 * stop])


class ChunkedMcap:
    """A file on its way: schemas and channels go into the chunk before whose messages they were registered."""

    def __init__(self, file: IO[bytes], library: str, compression: Compression = "") -> None:
        self._file, self._compression = file, compression
        self._at = 0
        self._waiting = RecordBuilder()
        self._schemas: dict[str, Schema] = {}
        self._channels: list[Channel] = []
        self._chunks: list[ChunkIndex] = []
        self._metadata: list[MetadataIndex] = []
        self._counts: dict[int, int] = {}
        self._first_ns: int | None = None
        self._last_ns = 0
        self._put(MCAP0_MAGIC)
        self._put_records(Header("", library))

    def schema(self, name: str, described: Callable[[str], bytes]) -> int:
        """The id of the schema of protobuf that `described` makes under a name: one that is there, if it is the same;
        where another has the name, it gets a number, as readers tell them apart by their names."""
        data, tried, number = described(name), name, 2
        while (known := self._schemas.get(tried)) is not None and known.data != data:
            tried, number = f"{name}_{number}", number + 1
            data = described(tried)
        if known is not None:
            return known.id
        made = Schema(id=len(self._schemas) + 1, data=data, encoding="protobuf", name=tried)
        self._schemas[tried] = made
        made.write(self._waiting)
        return made.id

    def channel(self, topic: str, schema: int, about: Mapping[str, str]) -> int:
        """The id of a channel that is new; `ConfigError` where a file has no more."""
        if len(self._channels) == MOST_CHANNELS:
            raise ConfigError(f"MCAP has at most {MOST_CHANNELS} channels in a file: --out a folder, or fewer episodes")
        made = Channel(
            id=len(self._channels) + 1, topic=topic, message_encoding="protobuf", metadata=dict(about), schema_id=schema
        )
        self._channels.append(made)
        made.write(self._waiting)
        return made.id

    def metadata(self, name: str, data: Mapping[str, str]) -> None:
        """Write a record of metadata."""
        at = self._at
        length = self._put_records(Metadata(name=name, metadata=dict(data)))
        self._metadata.append(MetadataIndex(offset=at, length=length, name=name))

    def write(self, parts: Sequence[Messages]) -> None:
        """Write messages in the order of `log_time`, those of one time in that of `parts`: a chunk, or where they are
        many several."""
        counts = [len(part.log_ns) for part in parts]
        if not sum(counts):
            return
        log_ns = np.concatenate([part.log_ns for part in parts])
        order = np.argsort(log_ns, kind="stable")
        part_of = np.repeat(np.arange(len(parts)), counts)[order]
        row_of = np.concatenate([np.arange(count) for count in counts])[order]
        lengths = np.concatenate([part.lengths for part in parts])[order]
        log_ns, ends = log_ns[order], np.cumsum(lengths)
        start = 0
        while start < len(order):
            before = int(ends[start] - lengths[start])
            stop = min(int(np.searchsorted(ends, before + MOST_CHUNK_BYTES)) + 1, len(order))
            some = slice(start, stop)
            pieces = _pieces(parts, part_of[some], row_of[some])
            channels = np.array([part.channel for part in parts])[part_of[some]]
            self._chunk(pieces, channels, log_ns[some], ends[some] - lengths[some] - before)
            start = stop

    def finish(self) -> None:
        """Write what stands behind the messages; the file is not closed."""
        if self._waiting.count:  # of channels without a message
            self._put(self._waiting.end())
        self._put_records(DataEnd(0))
        summary, start = RecordBuilder(), self._at
        offsets = []
        groups: list[tuple[Opcode, Sequence[McapRecord]]] = [
            (Opcode.SCHEMA, list(self._schemas.values())),
            (Opcode.CHANNEL, self._channels),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, self._chunks),
            (Opcode.METADATA_INDEX, self._metadata),
        ]
        for opcode, records in groups:
            at = summary.count
            for each in records:
                each.write(summary)
            if records:
                offsets.append(SummaryOffset(opcode, group_start=start + at, group_length=summary.count - at))
        offsets_at = start + summary.count
        for offset in offsets:
            offset.write(summary)
        data = summary.end()
        until_crc = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offsets_at)
        self._put(data)
        crc = zlib.crc32(until_crc, zlib.crc32(data))
        self._put_records(Footer(summary_start=start, summary_offset_start=offsets_at, summary_crc=crc))
        self._put(MCAP0_MAGIC)

    def _chunk(
        self, pieces: list[Buffer], channels: npt.NDArray[np.int64], log_ns: Stamps, offsets: npt.NDArray[np.int64]
    ) -> None:
        registered = self._waiting.end()
        whole = b"".join([registered, *pieces])
        packed = lz4.frame.compress(whole) if self._compression else whole
        first, last = int(log_ns.min()), int(log_ns.max())
        name = self._compression.encode()
        rest = struct.pack("<I", len(name)) + name + struct.pack("<Q", len(packed))
        length = _CHUNK_HEAD.size - 9 + len(rest) + len(packed)
        head = _CHUNK_HEAD.pack(Opcode.CHUNK, length, first, last, len(whole), zlib.crc32(whole)) + rest
        at = self._at
        self._put(head, packed)
        chunk_bytes, index_at, indexes = self._at - at, {}, []
        told = np.empty((len(channels), 2), "<u8")
        told[:, 0], told[:, 1] = log_ns, offsets + len(registered)
        where = self._at
        for channel in np.unique(channels).tolist():
            entries = told[channels == channel].tobytes()
            self._counts[channel] = self._counts.get(channel, 0) + len(entries) // 16
            index = _INDEX_HEAD.pack(Opcode.MESSAGE_INDEX, 6 + len(entries), channel, len(entries)) + entries
            index_at[channel] = where
            where += len(index)
            indexes.append(index)
        self._put(*indexes)
        self._first_ns = first if self._first_ns is None else min(first, self._first_ns)
        self._last_ns = max(last, self._last_ns)
        self._chunks.append(
            ChunkIndex(
                chunk_length=chunk_bytes,
                chunk_start_offset=at,
                compression=self._compression,
                compressed_size=len(packed),
                message_end_time=last,
                message_index_length=self._at - at - chunk_bytes,
                message_index_offsets=index_at,
                message_start_time=first,
                uncompressed_size=len(whole),
            )
        )

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self._channels),
            channel_message_counts=self._counts,
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            metadata_count=len(self._metadata),
            message_start_time=self._first_ns or 0,
            message_end_time=self._last_ns,
            schema_count=len(self._schemas),
        )

    def _put(self, *parts: Buffer) -> None:
        for part in parts:
            self._file.write(part)
            self._at += len(part)

    def _put_records(self, *records: McapRecord) -> int:
        builder = RecordBuilder()
        for record in records:
            record.write(builder)
        data = builder.end()
        self._put(data)
        return len(data)


def _pieces(parts: Sequence[Messages], part_of: npt.NDArray[np.int64], row_of: npt.NDArray[np.int64]) -> list[Buffer]:
    """The bytes of messages, by part and number in it, of those that follow each other in one part at once."""
    breaks = np.flatnonzero((np.diff(part_of) != 0) | (np.diff(row_of) != 1)) + 1
    starts = np.concatenate(([0], breaks))
    counts = np.diff(np.concatenate((starts, [len(part_of)])))
    found: list[Buffer] = []
    runs = zip(part_of[starts].tolist(), row_of[starts].tolist(), counts.tolist(), strict=True)
    for part, row, count in runs:
        found += parts[part].pieces(row, row + count)
    return found
