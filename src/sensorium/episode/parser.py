"""The episode file as it comes: bytes in any cuts in, records out, each checked by the time it is said to have ended.

    magic "SNR1" | kind u8 | 3 zero | number u32 | header length u32 | payload length u32 | header | payload | crc u32

All integers are little-endian. The CRC is CRC32C of: episode id (16 bytes), then everything after the magic up to the
CRC itself. The number, which counts the file's records from 0, is among those bytes, so a record that stands in
another file, or twice in one, is not valid. docs/protocol.md says the same for other languages.

This is the one place that knows how a record is framed; `records` reads and writes whole ones by it.
"""

import enum
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import msgspec
from blake3 import blake3
from crc32c import crc32c

from sensorium.episode.documents import Chunk, Items, Note, Open, Seal
from sensorium.errors import Corrupt

MAX_HEADER_BYTES = 16 << 20
MAX_PAYLOAD_BYTES = 1 << 30

MAGIC = b"SNR1"
PREFIX_BYTES = 20
TRAILER = struct.Struct("<I")
_PREFIX = struct.Struct("<4sB3sIII")
_RESERVED = bytes(3)

Header = Open | Chunk | Items | Note | Seal
Buffer = bytes | bytearray | memoryview


class Kind(enum.IntEnum):
    """Record kinds, as stored."""

    OPEN = 1
    CHUNK = 2
    ITEMS = 3
    NOTE = 4
    SEAL = 5


KIND_OF: dict[type, Kind] = {
    Open: Kind.OPEN,
    Chunk: Kind.CHUNK,
    Items: Kind.ITEMS,
    Note: Kind.NOTE,
    Seal: Kind.SEAL,
}
_DECODERS: dict[Kind, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(header) for header, kind in KIND_OF.items()
}
_KINDS: dict[int, Kind] = {int(kind): kind for kind in Kind}
_SEAL = Kind.SEAL  # in Python 3.11 a member of an enumeration is looked up slowly, and here once for every record


class Prefix(NamedTuple):
    """What the first `PREFIX_BYTES` of a record say."""

    kind: Kind
    number: int
    header_bytes: int
    payload_bytes: int

    @classmethod
    def unpack(cls, data: Buffer, offset: int = 0) -> "Prefix":
        """The prefix that `data` begins with; `offset` is where that is in the file.

        Raises:
            Corrupt: these bytes do not begin a record.
        """
        magic, number_of_kind, reserved, number, header_bytes, payload_bytes = _PREFIX.unpack_from(data)
        kind = _KINDS.get(number_of_kind)
        if magic != MAGIC or kind is None or reserved != _RESERVED:
            raise Corrupt(f"offset {offset}: no record begins here (bytes {bytes(data[:8]).hex()})")
        if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
            raise Corrupt(f"offset {offset}: a record of {header_bytes} + {payload_bytes} bytes is over the limit")
        return cls(kind, number, header_bytes, payload_bytes)

    @property
    def record_bytes(self) -> int:
        """The size of the whole record."""
        return PREFIX_BYTES + self.header_bytes + self.payload_bytes + TRAILER.size


def pack_prefix(kind: Kind, number: int, header_bytes: int, payload_bytes: int) -> bytes:
    """The first `PREFIX_BYTES` of a record."""
    return _PREFIX.pack(MAGIC, kind, _RESERVED, number, header_bytes, payload_bytes)


def begin_checksum(episode: bytes, beginning: Buffer) -> int:
    """The CRC of a record of `episode` that begins with these bytes, magic and all; `crc32c` carries it on."""
    crc: int = crc32c(memoryview(beginning)[len(MAGIC) :], crc32c(episode))
    return crc


class RecordBegun(NamedTuple):
    """A record whose header has come whole; none of it is checked before its `RecordEnded`. `offset` is its place."""

    kind: Kind
    number: int
    head: memoryview
    payload_bytes: int
    offset: int

    def decode(self) -> Header:
        """The header; `Corrupt` if it does not decode. What it takes may be a hundred times the bytes of `head`."""
        try:
            header: Header = _DECODERS[self.kind].decode(self.head)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            raise Corrupt(f"offset {self.offset}: header of {self.kind.name}: {error}") from error
        return header


class RecordEnded(NamedTuple):
    """The record that was begun is whole and its checksum holds; the next begins at `end`."""

    kind: Kind
    number: int
    end: int


class WholeRecord(NamedTuple):
    """A record that came whole, and holds: as it was begun, its payload, not copied, and where the next begins."""

    begun: RecordBegun
    payload: memoryview
    end: int


Event = RecordBegun | memoryview | RecordEnded
"""In the order of the file: a record begins, its payload in the pieces that came, not copied, then its end."""


class EpisodeParser:
    """Reads one episode's file, or what begins at `offset` in it, without I/O; it holds one header at most.

    Bytes behind a SEAL are not taken. After `Corrupt` it stands still: every later `feed` raises it again.
    `hasher`, where given, takes all bytes up to SEAL: its digest is the one that SEAL states.
    """

    def __init__(self, episode: bytes, offset: int = 0, hasher: blake3 | None = None) -> None:
        self.offset = offset
        self.sealed = False
        self._episode = episode
        self._seed = crc32c(episode)
        self._hasher = hasher
        self._expect_record()

    @property
    def held_bytes(self) -> int:
        """Bytes of the header that is coming in, as its prefix announces them."""
        return PREFIX_BYTES if self._prefix is None else PREFIX_BYTES + self._prefix.header_bytes

    def feed(self, data: Buffer) -> Iterator[Event]:
        """What the next bytes of the file bring; to be iterated to its end. `offset` says how many were taken.

        Raises:
            Corrupt: bytes are not what was written.
        """
        return cast("Iterator[Event]", self._events(data, at_once=False))

    def feed_at_once(self, data: Buffer) -> Iterator[Event | WholeRecord]:
        """As `feed`, but a record that comes whole is one event, and not three."""
        return self._events(data, at_once=True)

    def _events(self, data: Buffer, at_once: bool) -> Iterator[Event | WholeRecord]:
        view = memoryview(data)
        at = hashed = 0
        while at < len(view) and not self.sealed:
            whole = None if self._head else self._whole(view, at)
            if whole is None:
                self._hash(view[hashed:at])
                before = self.offset
                event = self._take(view[at:])
                hashed = at = at + self.offset - before
                if event is not None:
                    yield event
                continue
            # Most records of a small episode come whole, and many at once: what each costs is what the episode costs.
            kind, number, body, payload_bytes = whole
            if kind is _SEAL:
                self._hash(view[hashed:at])
            begun = RecordBegun(kind, number, view[at + PREFIX_BYTES : body], payload_bytes, self.offset)
            if at_once:
                end = body + payload_bytes
                self.offset += end + TRAILER.size - at
                at = end + TRAILER.size
                self.sealed = kind is _SEAL
                yield WholeRecord(begun, view[body:end], self.offset)
                continue
            self.offset += body - at
            yield begun
            at = body + payload_bytes
            if payload_bytes:
                self.offset += payload_bytes
                yield view[body:at]
            at += TRAILER.size
            self.offset += TRAILER.size
            self.sealed = kind is _SEAL
            yield RecordEnded(kind, number, self.offset)
        if not self.sealed:
            self._hash(view[hashed:at])

    def _whole(self, view: memoryview, at: int) -> tuple[Kind, int, int, int] | None:
        """The kind and number of the record that begins at `at`, where its payload begins and how long that is. None:
        it is not all there, or it is wrong, which the slower way tells."""
        if len(view) - at < PREFIX_BYTES:
            return None
        magic, number_of_kind, reserved, number, header_bytes, payload_bytes = _PREFIX.unpack_from(view, at)
        body = at + PREFIX_BYTES + header_bytes
        end = body + payload_bytes
        kind = _KINDS.get(number_of_kind)
        if end + TRAILER.size > len(view) or magic != MAGIC or kind is None or reserved != _RESERVED:
            return None
        if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
            return None
        if TRAILER.unpack_from(view, end) != (crc32c(view[at + len(MAGIC) : end], self._seed),):
            return None
        return kind, number, body, payload_bytes

    def _expect_record(self) -> None:
        self._head = bytearray()
        self._prefix: Prefix | None = None
        self._begun: RecordBegun | None = None
        self._payload_left = 0
        self._crc = 0
        self._trailer = b""

    def _take(self, view: memoryview) -> Event | None:
        """Take the first of these bytes: up to the end of the prefix, header, payload or trailer that they are of."""
        if self._begun is None:
            part = view[: self.held_bytes - len(self._head)]
            self._head += part
            self.offset += len(part)
            return self._read_head()
        if self._payload_left:
            part = view[: self._payload_left]
            self._payload_left -= len(part)
            self._crc = crc32c(part, self._crc)
            self._hash_part(part)
            self.offset += len(part)
            return part
        part = view[: TRAILER.size - len(self._trailer)]
        self._trailer += bytes(part)
        self.offset += len(part)
        return self._end(self._begun) if len(self._trailer) == TRAILER.size else None

    def _read_head(self) -> RecordBegun | None:
        start = self.offset - len(self._head)
        if self._prefix is None and len(self._head) == PREFIX_BYTES:
            self._prefix = Prefix.unpack(self._head, start)
        if self._prefix is None or len(self._head) < self.held_bytes:
            return None
        kind, number, _, payload_bytes = self._prefix
        head = memoryview(self._head)[PREFIX_BYTES:]
        self._begun = RecordBegun(kind, number, head, payload_bytes, start)
        self._payload_left = payload_bytes
        self._crc = begin_checksum(self._episode, self._head)
        self._hash_part(self._head)
        return self._begun

    def _end(self, begun: RecordBegun) -> RecordEnded:
        (stored,) = TRAILER.unpack(self._trailer)
        if stored != self._crc:
            raise Corrupt(
                f"offset {begun.offset}: record {begun.number}: checksum {self._crc:08x}, expected {stored:08x}"
            )
        self._hash_part(self._trailer)
        self.sealed = begun.kind is Kind.SEAL
        self._expect_record()
        return RecordEnded(begun.kind, begun.number, self.offset)

    def _hash_part(self, part: Buffer) -> None:
        """A part of the record that is under way; SEAL's are not hashed."""
        if self._prefix is not None and self._prefix.kind is not _SEAL:
            self._hash(part)

    def _hash(self, part: Buffer) -> None:
        if self._hasher is not None and len(part):
            self._hasher.update(part)
