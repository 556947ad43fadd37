"""A small episode that is there whole, read in one pass that takes only what is plain.

The rules are those of `record_order`, `assembly` and `shards`, which judge bytes that come in any pieces, and say what
is wrong and whose fault it is. Here whatever is not as most small episodes are (a gap, items, a shard that is full, a
checksum that does not hold) is None: whoever asked has it read by those. So what is taken here they would take, and
make the same of it; tests hold them to that.
"""

import struct
import uuid
from dataclasses import dataclass, field

import msgspec
import numpy as np
from blake3 import blake3
from crc32c import crc32c

from sensorium.corpus.extent import Span
from sensorium.episode import durable
from sensorium.episode.documents import Chunk, Note, Open, Seal
from sensorium.episode.layout import CHECKSUM_BYTES, SMALL_CHUNK_ROWS
from sensorium.episode.parser import MAGIC, MAX_HEADER_BYTES, PREFIX_BYTES, TRAILER, Kind
from sensorium.errors import SensoriumError
from sensorium.ingest.admission import MAX_NS, check_note, outside
from sensorium.ingest.alike import Shape, StreamAlike, StreamsAlike, opened, sealed
from sensorium.ingest.record_order import MAX_DOCUMENT_BYTES

_PREFIX = struct.Struct("<QIII")
_OPEN, _CHUNK, _NOTE, _SEAL = (
    int.from_bytes(MAGIC + bytes([kind, 0, 0, 0]), "little") for kind in (Kind.OPEN, Kind.CHUNK, Kind.NOTE, Kind.SEAL)
)
"""How a prefix begins: magic, kind, and what is reserved, as one number."""
_FEW = 128
_RESIDUE = 0x48674BC7
"""What CRC32C gives over any bytes followed by their own CRC32C, little-endian."""
_WRONG = (SensoriumError, msgspec.MsgspecError, ValueError, OverflowError, RecursionError, LookupError, struct.error)
_decode_chunk = msgspec.msgpack.Decoder(Chunk).decode
_decode_note = msgspec.msgpack.Decoder(Note).decode


@dataclass(slots=True)
class StreamAtOnce:
    """What came of one stream: stamps, int64 little-endian, and its inner chunks; `parts` are the stamps as they came,
    until it is `whole`."""

    alike: StreamAlike
    captured_ns: bytes = b""
    sensor_ns: bytes = b""
    chunks: list[memoryview] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    rows: int = 0
    first_ns: int = MAX_NS
    last_ns: int = -MAX_NS
    ended: bool = False

    def take(self, header: Chunk, payload: memoryview) -> bool:
        """Take the next chunk; False if it is not plainly that, but for its stamps."""
        _, _, chunk_rows, per_shard, head_bytes, max_bytes, sensor_bytes, heads = self.alike
        captured_ns, sensor_ns, chunks, first = header.captured_ns, header.sensor_ns, self.chunks, self.rows
        stamp_bytes, size = len(captured_ns), len(payload) - CHECKSUM_BYTES
        rows = stamp_bytes >> 3
        if (
            stamp_bytes & 7
            or not 0 < rows <= chunk_rows
            or self.ended
            or header.first_row != first
            or len(sensor_ns) != sensor_bytes * rows
            or header.captured < 0
            or (header.filtered and min(header.filtered.values()) < 0)
            or (header.lost and min(header.lost.values()) < 0)
            or not head_bytes < size <= max_bytes
            or len(chunks) == per_shard
            or crc32c(payload) != _RESIDUE
        ):
            return False
        if heads.get(payload[:head_bytes].tobytes()) != size:
            self.alike.check(payload, size)
        self.parts.append(captured_ns)
        if sensor_ns:
            self.sensor_ns += sensor_ns
        chunks.append(payload)
        self.rows = first = first + rows
        self.ended = rows < chunk_rows
        return first <= SMALL_CHUNK_ROWS

    def whole(self, looked_at: dict[bytes, tuple[int, int] | None]) -> bool:
        """It has all its chunks; False if their stamps step back, or are out of range. `looked_at`: what was found of
        other streams' stamps, as streams that are sampled together have the same."""
        if not self.rows:
            return True
        self.captured_ns = captured_ns = b"".join(self.parts)
        self.parts.clear()
        if captured_ns not in looked_at:
            looked_at[captured_ns] = _first_and_last(captured_ns, self.rows)
        if (found := looked_at[captured_ns]) is None:
            return False
        self.first_ns, self.last_ns = found
        return True


def _first_and_last(captured_ns: bytes, rows: int) -> tuple[int, int] | None:
    """The first and the last of so many stamps; None if they step back, or are out of range."""
    if rows <= _FEW:  # numpy takes longer to begin
        few = struct.unpack(f"<{rows}q", captured_ns)
        first_ns, last_ns, in_order = few[0], few[-1], list(few) == sorted(few)
    else:
        stamps = np.frombuffer(captured_ns, "<i8")
        first_ns, last_ns = int(stamps[0]), int(stamps[-1])
        in_order = bool((stamps[1:] >= stamps[:-1]).all())
    return (first_ns, last_ns) if in_order and first_ns >= -MAX_NS and last_ns <= MAX_NS else None


@dataclass(slots=True, eq=False)
class AtOnce:
    """An episode that was read whole, on its way into the store. `shape` is what it has in common with many."""

    episode: uuid.UUID
    manifest: Open
    alike: StreamsAlike
    streams: list[StreamAtOnce]
    notes: list[msgspec.Raw] = field(default_factory=list)
    seal: Seal = field(init=False)
    shape: Shape = field(init=False)
    failed: str | None = None
    written: dict[str, durable.Seen] = field(default_factory=dict)
    published: durable.Seen | None = None

    @property
    def spans(self) -> list[Span]:
        """Where the samples of each stream lie that has any."""
        return [
            Span(each.first_ns, each.last_ns, each.rows, each.alike.codec.entry.spec.rate_hz)
            for each in self.streams
            if each.rows
        ]


def read_at_once(data: bytes, episode: uuid.UUID) -> AtOnce | None:
    """The episode whose whole file is `data`; None if it is not plainly that."""
    try:
        return _read(data, episode)
    except _WRONG:
        return None


def _read(data: bytes, episode: uuid.UUID) -> AtOnce | None:
    view, seed, whole = memoryview(data), crc32c(episode.bytes), len(data) - TRAILER.size
    read: AtOnce | None = None
    streams: list[StreamAtOnce] = []
    at, number, document_bytes = 0, 0, 0
    while True:
        kind, counted, header_bytes, payload_bytes = _PREFIX.unpack_from(data, at)
        body = at + PREFIX_BYTES + header_bytes
        end = body + payload_bytes
        if counted != number or end > whole or header_bytes > MAX_HEADER_BYTES:
            return None
        if crc32c(view[at + 4 : end + TRAILER.size], seed) != _RESIDUE:
            return None
        head = view[at + PREFIX_BYTES : body]
        if kind == _CHUNK and read is not None:
            header = _decode_chunk(head)
            if header.stream < 0 or not streams[header.stream].take(header, view[body:end]):
                return None
        else:
            document_bytes += header_bytes
            if payload_bytes or document_bytes > MAX_DOCUMENT_BYTES:
                return None
            if read is None:
                read = _opened(head, episode) if kind == _OPEN else None
                if read is None:
                    return None
                streams = read.streams
            elif kind == _NOTE:
                note = _decode_note(head)
                check_note(note)
                read.notes.append(msgspec.Raw(msgspec.json.encode(note)))
            else:
                return _sealed(read, head, view[:at]) if kind == _SEAL and end == whole else None
        at, number = end + TRAILER.size, number + 1


def _opened(head: memoryview, episode: uuid.UUID) -> AtOnce | None:
    if (found := opened(head, episode)) is None:
        return None
    manifest, alike = found
    return AtOnce(episode, manifest, alike, [StreamAtOnce(stream) for stream in alike.streams])


def _sealed(read: AtOnce, head: memoryview, before: memoryview) -> AtOnce | None:
    looked_at: dict[bytes, tuple[int, int] | None] = {}
    for stream in read.streams:
        if not stream.whole(looked_at):
            return None
    read.seal, read.shape = sealed(head, read.alike, [stream.rows for stream in read.streams])
    if outside(read.manifest, read.seal, [(each.first_ns, each.last_ns) for each in read.streams if each.rows]):
        return None
    return read if blake3(before).digest() == read.seal.digest else None
