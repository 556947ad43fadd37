"""What the records of an episode may say one after the other: which may follow, whose rows, and how much in all."""

import uuid
from dataclasses import dataclass

import numpy as np

from sensorium.episode.codecs.contract import ChunkCodec, Codec
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Chunk, Items, Note, Open, Seal
from sensorium.episode.layout import CHECKSUM_BYTES
from sensorium.episode.parser import Header, Kind, RecordBegun
from sensorium.errors import Corrupt, PeerViolation
from sensorium.ingest.admission import MAX_NS, check_document, check_open, check_seal

MAX_STAMP_BYTES = 128 << 20
MAX_DOCUMENT_BYTES = 1 << 20


@dataclass(slots=True)
class StreamProgress:
    """How far one stream has come; `ended` by a chunk that is not full."""

    codec: Codec
    rows: int = 0
    next_row: int = 0
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
        self._where = f"episode {episode}"
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
        where = f"{self._where}, record {begun.number}"
        self._admit_document_bytes(begun, where)
        try:
            header = begun.decode()
        except Corrupt as error:
            raise PeerViolation(f"{where}: {error}") from error
        if self.seal is not None:
            raise PeerViolation(f"{where}: it follows SEAL")
        if begun.number <= self._last_number:
            raise PeerViolation(f"{where}: it follows record {self._last_number}")
        if isinstance(header, Open) != (self.manifest is None) or (isinstance(header, Open) and begun.number):
            raise PeerViolation(
                f"{where}: {begun.kind.name} where {'another record' if self.manifest else 'OPEN'} belongs"
            )
        if isinstance(header, Open):
            check_open(header, self.episode)
        elif isinstance(header, Chunk | Items):
            self._admit_rows(header, begun, where)
        elif isinstance(header, Note):
            check_document(header, "NOTE")
        else:
            rows = {stream.codec.entry.spec.name: stream.rows for stream in self.streams}
            check_seal(header, rows, self._gap_before(begun.number))
        return header

    def keep(self, number: int, header: Header) -> None:
        """Count an admitted record, whose checksum holds."""
        self._gap = self._gap_before(number)
        self._last_number = number
        if isinstance(header, Open):
            self.manifest = header
            self.streams = [StreamProgress(codec_of(entry)) for entry in header.streams]
        elif isinstance(header, Chunk | Items):
            stream, rows = self.streams[header.stream], len(header.captured_ns) // 8
            stream.ended = isinstance(header, Chunk) and rows < stream.codec.entry.chunk_rows
            stream.last_ns = int.from_bytes(header.captured_ns[-8:], "little", signed=True)
            stream.rows += rows
            stream.next_row = header.first_row + rows
        elif isinstance(header, Seal):
            self.seal = header

    def _admit_document_bytes(self, begun: RecordBegun, where: str) -> None:
        """Bound a document before it is decoded: what comes of its bytes may be a hundred times as large."""
        if begun.kind not in (Kind.CHUNK, Kind.ITEMS):
            self._document_bytes += len(begun.head)
            if self._document_bytes > MAX_DOCUMENT_BYTES or begun.payload_bytes:
                raise PeerViolation(
                    f"{where}: OPEN, notes and SEAL are over {MAX_DOCUMENT_BYTES} bytes, or hold a payload"
                )

    def _admit_rows(self, header: Chunk | Items, begun: RecordBegun, where: str) -> None:
        if not 0 <= header.stream < len(self.streams):
            raise PeerViolation(f"{where}: stream {header.stream} of {len(self.streams)}")
        stream = self.streams[header.stream]
        entry = stream.codec.entry
        where = f"{where}, stream {entry.spec.name!r}"
        if stream.codec.stores_items != isinstance(header, Items) or stream.ended:
            raise PeerViolation(f"{where}: {begun.kind.name} after a partial chunk, or of a stream of the other kind")
        rows = len(header.captured_ns) // 8
        if not rows or len(header.captured_ns) % 8 or len(header.sensor_ns) != entry.spec.has_sensor_ns * rows * 8:
            raise PeerViolation(f"{where}: stamps of {len(header.captured_ns)} and {len(header.sensor_ns)} bytes")
        skipped = header.first_row - stream.next_row
        if skipped < 0 or (skipped and not self._gap_before(begun.number)) or header.first_row >= 1 << 62:
            raise PeerViolation(f"{where}: first row {header.first_row}, expected {stream.next_row}")
        if min(header.captured, *header.filtered.values(), *header.lost.values(), 0) < 0:
            raise PeerViolation(f"{where}: a running count below 0")
        _check_stamps(header, stream, where)
        self._stamp_bytes += len(header.captured_ns) + len(header.sensor_ns)
        if isinstance(header, Items):
            self._stamp_bytes += 8 * len(header.lengths)
        if self._stamp_bytes > MAX_STAMP_BYTES:
            raise PeerViolation(f"{where}: over {MAX_STAMP_BYTES} bytes of stamps in one episode; cut it shorter")
        _check_payload_bytes(header, stream.codec, rows, begun.payload_bytes, where)

    def _gap_before(self, number: int) -> bool:
        return self._gap or number != self._last_number + 1


def _check_stamps(header: Chunk | Items, stream: StreamProgress, where: str) -> None:
    stamps = np.frombuffer(header.captured_ns, "<i8")
    if not -MAX_NS <= int(stamps[0]) <= int(stamps[-1]) <= MAX_NS:
        raise PeerViolation(f"{where}: stamps {int(stamps[0])} to {int(stamps[-1])} are out of range")
    if int(stamps[0]) < stream.last_ns or bool((stamps[1:] < stamps[:-1]).any()):
        raise PeerViolation(f"{where}: stamps step back")


def _check_payload_bytes(header: Chunk | Items, codec: Codec, rows: int, payload_bytes: int, where: str) -> None:
    if isinstance(codec, ChunkCodec):
        if rows > codec.entry.chunk_rows:
            raise PeerViolation(f"{where}: {rows} rows in a chunk of {codec.entry.chunk_rows}")
        if not codec.head_bytes < payload_bytes - CHECKSUM_BYTES <= codec.max_bytes:
            raise PeerViolation(
                f"{where}: a chunk of {codec.head_bytes} to {codec.max_bytes} bytes in a payload of {payload_bytes}"
            )
    elif isinstance(header, Items):
        lengths = header.lengths
        if len(lengths) != rows or min(lengths) < 1 or sum(lengths) != payload_bytes:
            raise PeerViolation(f"{where}: lengths of {len(lengths)} items do not match the {rows} rows or the payload")
