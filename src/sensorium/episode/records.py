"""Records: the framing of the episode file, and how it is read back when part of it is damaged.

    magic "SNR1" | kind u8 | 3 zero | number u32 | header length u32 | payload length u32 | header | payload | crc u32

All integers are little-endian. The CRC is CRC32C of: episode id (16 bytes), then everything after the magic up to the
CRC itself. The number, which counts the file's records from 0, is among those bytes, so a record that stands in
another file, or twice in one, is not valid. docs/protocol.md says the same for other languages.
"""

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from crc32c import crc32c

from sensorium.episode.documents import Chunk, Items, Note, Open, Seal
from sensorium.errors import Corrupt

MAGIC = b"SNR1"
PREFIX = struct.Struct("<4sB3xIII")
TRAILER = struct.Struct("<I")
OVERHEAD = PREFIX.size + TRAILER.size
MAX_HEADER_BYTES = 16 << 20
MAX_PAYLOAD_BYTES = 1 << 30
MAX_RECORDS = 2**32

Header = Open | Chunk | Items | Note | Seal
Buffer = bytes | bytearray | memoryview


class Kind(enum.IntEnum):
    """Record kinds, as stored."""

    OPEN = 1
    CHUNK = 2
    ITEMS = 3
    NOTE = 4
    SEAL = 5


_KIND_OF: dict[type, Kind] = {
    Open: Kind.OPEN,
    Chunk: Kind.CHUNK,
    Items: Kind.ITEMS,
    Note: Kind.NOTE,
    Seal: Kind.SEAL,
}
_ENCODER = msgspec.msgpack.Encoder()
_DECODERS: dict[int, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(header) for header, kind in _KIND_OF.items()
}


@dataclass(frozen=True, slots=True)
class Record:
    """One whole, checked record. `offset` and `size` are its place in the file; `payload` may alias the buffer read."""

    kind: Kind
    number: int
    header: Header
    payload: memoryview
    offset: int
    size: int


def encode_record(episode: bytes, number: int, header: Header, payload: Buffer = b"") -> list[Buffer]:
    """The buffers of one record, in order, the payload not copied; for `os.writev`."""
    head = _ENCODER.encode(header)
    prefix = PREFIX.pack(MAGIC, _KIND_OF[type(header)], number, len(head), len(payload))
    crc = crc32c(payload, crc32c(head, crc32c(memoryview(prefix)[4:], crc32c(episode))))
    return [prefix, head, payload, TRAILER.pack(crc)]


def record_size(prefix: Buffer, offset: int = 0) -> int:
    """The size of the record whose first bytes are `prefix` (at least `PREFIX.size` of them).

    Raises:
        Corrupt: these bytes do not begin a record.
    """
    magic, kind, _, header_bytes, payload_bytes = PREFIX.unpack_from(prefix)
    if magic != MAGIC or kind not in _DECODERS or any(prefix[5:8]):
        raise Corrupt(f"offset {offset}: no record begins here (bytes {bytes(prefix[:8]).hex()})")
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise Corrupt(f"offset {offset}: a record of {header_bytes} + {payload_bytes} bytes is over the limit")
    return OVERHEAD + int(header_bytes) + int(payload_bytes)


def decode_record(episode: bytes, buffer: Buffer, offset: int = 0) -> Record:
    """Check and decode the record at the start of `buffer`; `offset` is where that is in the file.

    Raises:
        Corrupt: cut short, a wrong checksum, or a header that does not decode.
    """
    view = memoryview(buffer)
    if len(view) < PREFIX.size:
        raise Corrupt(f"offset {offset}: cut short, {len(view)} bytes of a record")
    size = record_size(view, offset)
    if len(view) < size:
        raise Corrupt(f"offset {offset}: cut short, {len(view)} of {size} bytes of a record")
    _, kind, number, header_bytes, _ = PREFIX.unpack_from(view)
    stored = TRAILER.unpack_from(view, size - TRAILER.size)[0]
    actual = crc32c(view[4 : size - TRAILER.size], crc32c(episode))
    if actual != stored:
        raise Corrupt(f"offset {offset}: checksum {actual:08x}, expected {stored:08x}")
    head_end = PREFIX.size + header_bytes
    header = decode_header(Kind(kind), view[PREFIX.size : head_end], offset)
    return Record(Kind(kind), number, header, view[head_end : size - TRAILER.size], offset, size)


def decode_header(kind: Kind, head: Buffer, offset: int = 0) -> Header:
    """The header of a record of `kind` at `offset`, whose checksum the caller has checked or will; else `Corrupt`."""
    try:
        header: Header = _DECODERS[kind].decode(head)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise Corrupt(f"offset {offset}: header of {kind.name}: {error}") from error
    return header


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a file that holds no valid record, followed by one that does."""

    offset: int
    size: int
    why: str


def scan(episode: bytes, data: Buffer) -> Iterator[Record | Damage]:
    """Every valid record of a whole file in order, and the damage between them; a torn tail ends the scan silently.

    After a bad record the next magic under which a later record checks is looked for, so one flipped bit costs one
    record. The bytes after the last valid record are the tail: `len(data)` less the end of the last record yielded.
    """
    view = memoryview(data)
    at, last = 0, -1
    while at < len(view):
        try:
            record = _later(episode, view, at, last)
        except Corrupt as error:
            found = _resync(episode, view, at + 1, last)
            if found is None:
                return
            yield Damage(at, found.offset - at, str(error))
            record = found
        yield record
        at, last = record.offset + record.size, record.number


def _later(episode: bytes, view: memoryview, at: int, last: int) -> Record:
    record = decode_record(episode, view[at:], at)
    if record.number <= last:
        raise Corrupt(f"offset {at}: record {record.number} after record {last}")
    return record


def _resync(episode: bytes, view: memoryview, start: int, last: int) -> Record | None:
    step = 1 << 20
    for base in range(start, len(view), step):
        window = bytes(view[base : base + step + len(MAGIC) - 1])
        found = window.find(MAGIC)
        while found >= 0:
            try:
                return _later(episode, view, base + found, last)
            except Corrupt:
                found = window.find(MAGIC, found + 1)
    return None
