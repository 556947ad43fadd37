"""What the records of an episode may say one after the other: which may follow, whose rows, and how much in all."""

import struct
import uuid
from dataclasses import dataclass

import numpy as np

from sensorium.episode.codecs.contract import ChunkCodec, Codec
from sensorium.episode.documents import Chunk, Items, Note, Open, Seal
from sensorium.episode.layout import CHECKSUM_BYTES
from sensorium.episode.parser import Header, Kind, RecordBegun
from sensorium.errors import Corrupt, PeerViolation
from sensorium.ingest.admission import MAX_NS, check_note, check_open, check_seal, outside

MAX_STAMP_BYTES = 128 << 20
MAX_DOCUMENT_BYTES = 1 << 20
_FEW_STAMPS = 64
"""So many are compared faster one by one than by numpy, whose calls cost more than the stamps of a small episode."""
# For the way of every record: in Python 3.11 a union, or a member of an enumeration, is looked up more slowly than all
# else there.
_ROWS = (Chunk, Items)
_ROW_KINDS = (Kind.CHUNK, Kind.ITEMS)


@dataclass(slots=True)
class StreamProgress:
    """How far one stream has come; `ended` by a chunk that is not full."""

    codec: Codec
    rows: int = 0
    next_row: int = 0
    first_ns: int = 0
    last_ns: int = -(1 << 63)
    ended: bool = False


class RecordOrder:
    """Pure rules over the records of `episode`: `admit` each that begins, `keep` it once its checksum holds.

    `manifest` and `seal` are the records of those names once they are kept. What breaks a rule is the device's
    `PeerViolation`: of bytes whose checksum holds, it is nobody else's doing.
    """

    def __init__(self, episode: uuid.UUID) -> None:
        self.episode = episode
        self.manifest: Open | None = None
        self.seal: Seal | None = None
        self.streams: list[StreamProgress] = []
        self._codecs: list[Codec] = []
        self._last_number = -1
        self._gap = False
        self._stamp_bytes = 0
        self._document_bytes = 0

    @property
    def held_bytes(self) -> int:
        """About the memory that was admitted: stamps and documents."""
        return self._stamp_bytes + self._document_bytes

    def admit(self, begun: RecordBegun) -> Header:
        """The header of a record that may follow those that were kept.

        Raises:
            PeerViolation: it may not, or its header does not decode.
        """
        self._admit_document_bytes(begun)
        try:
            header = begun.decode()
        except Corrupt as error:
            raise self._broken(begun, str(error)) from error
        if self.seal is not None:
            raise self._broken(begun, "it follows SEAL")
        if begun.number <= self._last_number:
            raise self._broken(begun, f"it follows record {self._last_number}")
        if isinstance(header, Open) != (self.manifest is None) or (isinstance(header, Open) and begun.number):
            expected = "another record" if self.manifest else "OPEN"
            raise self._broken(begun, f"{begun.kind.name} where {expected} belongs")
        if isinstance(header, _ROWS):
            self._admit_rows(header, begun)
        elif isinstance(header, Open):
            self._codecs = check_open(header, self.episode)
        elif isinstance(header, Note):
            check_note(header)
        else:
            rows = {stream.codec.entry.spec.name: stream.rows for stream in self.streams}
            check_seal(header, rows, self._gap_before(begun.number))
            spans = [(stream.first_ns, stream.last_ns) for stream in self.streams if stream.rows]
            if self.manifest is not None and (why := outside(self.manifest, header, spans)):
                raise self._broken(begun, why)
        return header

    def keep(self, number: int, header: Header) -> None:
        """Count an admitted record, whose checksum holds."""
        self._gap = self._gap_before(number)
        self._last_number = number
        if isinstance(header, Open):
            self.manifest = header
            self.streams = [StreamProgress(codec) for codec in self._codecs]
        elif isinstance(header, _ROWS):
            stream, rows = self.streams[header.stream], len(header.captured_ns) // 8
            if not stream.rows:
                stream.first_ns = int.from_bytes(header.captured_ns[:8], "little", signed=True)
            stream.ended = isinstance(header, Chunk) and rows < stream.codec.entry.chunk_rows
            stream.last_ns = int.from_bytes(header.captured_ns[-8:], "little", signed=True)
            stream.rows += rows
            stream.next_row = header.first_row + rows
        elif isinstance(header, Seal):
            self.seal = header

    def _broken(self, begun: RecordBegun, why: str, stream: StreamProgress | None = None) -> PeerViolation:
        """What to raise of a record that breaks a rule; said in full only now, not for each record."""
        of = "" if stream is None else f", stream {stream.codec.entry.spec.name!r}"
        return PeerViolation(f"episode {self.episode}, record {begun.number}{of}: {why}")

    def _admit_document_bytes(self, begun: RecordBegun) -> None:
        """Bound a document before it is decoded: what comes of its bytes may be a hundred times as large."""
        if begun.kind not in _ROW_KINDS:
            self._document_bytes += len(begun.head)
            if self._document_bytes > MAX_DOCUMENT_BYTES or begun.payload_bytes:
                raise self._broken(
                    begun, f"OPEN, notes and SEAL are over {MAX_DOCUMENT_BYTES} bytes, or hold a payload"
                )

    def _admit_rows(self, header: Chunk | Items, begun: RecordBegun) -> None:
        if not 0 <= header.stream < len(self.streams):
            raise self._broken(begun, f"stream {header.stream} of {len(self.streams)}")
        stream = self.streams[header.stream]
        codec = stream.codec
        is_items = isinstance(header, Items)
        if codec.stores_items != is_items or stream.ended:
            why = f"{begun.kind.name} after a partial chunk, or of a stream of the other kind"
            raise self._broken(begun, why, stream)
        stamp_bytes, sensor_bytes = len(header.captured_ns), len(header.sensor_ns)
        rows = stamp_bytes // 8
        if not rows or stamp_bytes % 8 or sensor_bytes != codec.entry.spec.has_sensor_ns * rows * 8:
            raise self._broken(begun, f"stamps of {stamp_bytes} and {sensor_bytes} bytes", stream)
        skipped = header.first_row - stream.next_row
        if skipped < 0 or (skipped and not self._gap_before(begun.number)) or header.first_row >= 1 << 62:
            raise self._broken(begun, f"first row {header.first_row}, expected {stream.next_row}", stream)
        if (
            header.captured < 0
            or (header.filtered and min(header.filtered.values()) < 0)
            or (header.lost and min(header.lost.values()) < 0)
        ):
            raise self._broken(begun, "a running count below 0", stream)
        if why := _stamps_wrong(header.captured_ns, rows, stream.last_ns):
            raise self._broken(begun, why, stream)
        self._stamp_bytes += stamp_bytes + sensor_bytes
        if isinstance(header, Items):
            self._stamp_bytes += 8 * len(header.lengths)
        if self._stamp_bytes > MAX_STAMP_BYTES:
            why = f"over {MAX_STAMP_BYTES} bytes of stamps in one episode; cut it shorter"
            raise self._broken(begun, why, stream)
        if why := _payload_wrong(header, codec, rows, begun.payload_bytes):
            raise self._broken(begun, why, stream)

    def _gap_before(self, number: int) -> bool:
        return self._gap or number != self._last_number + 1


def _stamps_wrong(raw: bytes, rows: int, last_ns: int) -> str:
    """What is wrong with stamps that follow `last_ns`; empty if nothing is."""
    if rows <= _FEW_STAMPS:
        few = struct.unpack(f"<{rows}q", raw)
        first, last, ordered = few[0], few[-1], rows == 1 or list(few) == sorted(few)
    else:
        stamps = np.frombuffer(raw, "<i8")
        first, last, ordered = int(stamps[0]), int(stamps[-1]), not bool((stamps[1:] < stamps[:-1]).any())
    if not -MAX_NS <= first <= last <= MAX_NS:
        return f"stamps {first} to {last} are out of range"
    return "" if ordered and first >= last_ns else "stamps step back"


def _payload_wrong(header: Chunk | Items, codec: Codec, rows: int, payload_bytes: int) -> str:
    """What is wrong with a payload's size; empty if nothing is."""
    if isinstance(codec, ChunkCodec):
        if rows > codec.entry.chunk_rows:
            return f"{rows} rows in a chunk of {codec.entry.chunk_rows}"
        if not codec.head_bytes < payload_bytes - CHECKSUM_BYTES <= codec.max_bytes:
            return f"a chunk of {codec.head_bytes} to {codec.max_bytes} bytes in a payload of {payload_bytes}"
    elif isinstance(header, Items):
        lengths = header.lengths
        if len(lengths) != rows or min(lengths) < 1 or sum(lengths) != payload_bytes:
            return f"lengths of {len(lengths)} items do not match the {rows} rows or the payload"
    return ""
