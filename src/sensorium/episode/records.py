"""Whole records: encoded to be appended, decoded, and found again in a file of which part is damaged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from crc32c import crc32c

from sensorium.episode.parser import (
    KIND_OF,
    MAGIC,
    PREFIX_BYTES,
    TRAILER,
    Buffer,
    EpisodeParser,
    Header,
    Kind,
    Prefix,
    RecordBegun,
    RecordEnded,
    begin_checksum,
    pack_prefix,
)
from sensorium.errors import Corrupt

_ENCODER = msgspec.msgpack.Encoder()
_RESYNC_BYTES = 1 << 20


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
    prefix = pack_prefix(KIND_OF[type(header)], number, len(head), len(payload))
    crc = crc32c(payload, crc32c(head, begin_checksum(episode, prefix)))
    return [prefix, head, payload, TRAILER.pack(crc)]


def encode_small_records(episode: bytes, number: int, records: Sequence[tuple[Header, Buffer]]) -> bytes:
    """Some small records, the first of this number, one after the other: the bytes that `encode_record` gives, in half
    the time."""
    seed = crc32c(episode)
    whole: list[Buffer] = []
    for at, (header, payload) in enumerate(records, number):
        head = _ENCODER.encode(header)
        record = b"".join((pack_prefix(KIND_OF[type(header)], at, len(head), len(payload)), head, payload))
        whole += (record, TRAILER.pack(crc32c(memoryview(record)[len(MAGIC) :], seed)))
    return b"".join(whole)


def decode_record(episode: bytes, buffer: Buffer, offset: int = 0) -> Record:
    """Check and decode the record at the start of `buffer`; `offset` is where that is in the file.

    Raises:
        Corrupt: cut short, a wrong checksum, or a header that does not decode.
    """
    view = memoryview(buffer)
    if len(view) < PREFIX_BYTES:
        raise Corrupt(f"offset {offset}: cut short, {len(view)} bytes of a record")
    size = Prefix.unpack(view, offset).record_bytes
    if len(view) < size:
        raise Corrupt(f"offset {offset}: cut short, {len(view)} of {size} bytes of a record")
    return next(_records(EpisodeParser(episode, offset), view[:size]))


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
            for record in _records(EpisodeParser(episode, at), view[at:]):
                _check_order(record, last)
                yield record
                at, last = record.offset + record.size, record.number
            why = f"offset {at}: cut short"
        except Corrupt as error:
            why = str(error)
        found = _resync(episode, view, at, last)
        if found is None:
            return
        if found.offset > at:
            yield Damage(at, found.offset - at, why)
        yield found
        at, last = found.offset + found.size, found.number


def _records(parser: EpisodeParser, view: memoryview) -> Iterator[Record]:
    """The whole records that `view` begins with, whose payloads alias it."""
    begun: RecordBegun
    payload = memoryview(b"")
    for event in parser.feed(view):
        if isinstance(event, RecordBegun):
            begun, payload = event, memoryview(b"")
        elif isinstance(event, RecordEnded):
            size = event.end - begun.offset
            yield Record(begun.kind, begun.number, begun.decode(), payload, begun.offset, size)
        else:
            payload = event


def _check_order(record: Record, last: int) -> None:
    if record.number <= last:
        raise Corrupt(f"offset {record.offset}: record {record.number} after record {last}")


def _resync(episode: bytes, view: memoryview, start: int, last: int) -> Record | None:
    for base in range(start, len(view), _RESYNC_BYTES):
        window = bytes(view[base : base + _RESYNC_BYTES + len(MAGIC) - 1])
        found = window.find(MAGIC)
        while found >= 0:
            try:
                record = decode_record(episode, view[base + found :], base + found)
                _check_order(record, last)
            except Corrupt:
                found = window.find(MAGIC, found + 1)
            else:
                return record
    return None
