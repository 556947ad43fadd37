"""One episode on its way in: its file's bytes in any cuts, checked record by record, chunks straight into shards."""

import shutil
import struct
import uuid
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from blake3 import blake3
from crc32c import crc32c

from sensorium.drivers.stream import Stamps
from sensorium.episode.documents import Chunk, Items, Note, Open, Seal, StreamEntry
from sensorium.episode.layout import (
    BLOB_CHUNK_BYTES,
    CHECKSUM_BYTES,
    check_blosc_header,
    chunk_raw_bytes,
    shard_chunks,
)
from sensorium.episode.records import PREFIX, TRAILER, Header, Kind, decode_header, record_size
from sensorium.errors import Corrupt, PeerViolation, SensoriumError, StoreError
from sensorium.ingest.admission import MAX_NS, check_document, check_open, check_seal
from sensorium.ingest.shards import ShardWriter

MAX_STAMP_BYTES = 128 << 20
MAX_DOCUMENT_BYTES = 1 << 20
MAX_HELD_BYTES = 512 << 20
HELD_STEP_BYTES = 1 << 20
BLOSC_HEADER_BYTES = 16
# What CRC32C gives over any bytes followed by their own CRC32C, little-endian.
_RESIDUE = 0x48674BC7
_CRC = struct.Struct("<I")


@dataclass(slots=True)
class StreamIn:
    """One stream as far as it has come. Stamps are int64 little-endian; `lengths` are those of a blob's items."""

    entry: StreamEntry
    data: ShardWriter
    captured_ns: bytearray = field(default_factory=bytearray)
    sensor_ns: bytearray = field(default_factory=bytearray)
    lengths: "array[int]" = field(default_factory=lambda: array("q"))
    rows: int = 0
    next_row: int = 0
    last_ns: int = -(1 << 63)
    blob_bytes: int = 0
    blob_crc: int = 0
    ended: bool = False

    def put_blob(self, payload: memoryview) -> None:
        """Append to the blob, a checksum behind every inner chunk."""
        while len(payload):
            part = payload[: BLOB_CHUNK_BYTES - self.blob_bytes % BLOB_CHUNK_BYTES]
            self.data.write(part)
            self.blob_crc = crc32c(part, self.blob_crc)
            self.blob_bytes += len(part)
            payload = payload[len(part) :]
            if self.blob_bytes % BLOB_CHUNK_BYTES == 0:
                self._end_blob_chunk()

    @property
    def chunk_length(self) -> int:
        """Rows of an inner chunk; of a blob, bytes: a blob below 256 KiB is one chunk of its own size."""
        if self.entry.is_blob:
            return max(1, min(self.blob_bytes, BLOB_CHUNK_BYTES))
        return self.entry.chunk_rows

    def finish(self) -> None:
        """Close the last chunk and write the indexes; may be called again after it failed."""
        if self.entry.is_blob and self.blob_bytes > self.data.chunks * BLOB_CHUNK_BYTES and not self.ended:
            if self.blob_bytes > BLOB_CHUNK_BYTES:
                padding = bytes(-self.blob_bytes % BLOB_CHUNK_BYTES)
                self.data.write(padding)
                self.blob_crc = crc32c(padding, self.blob_crc)
            self._end_blob_chunk()
        self.ended = True
        self.data.finish()

    def _end_blob_chunk(self) -> None:
        self.data.write(_CRC.pack(self.blob_crc))
        self.data.end_chunk()
        self.blob_crc = 0


class Assembly:
    """An episode that is arriving, in `folder` (which it creates and owns until the store renames it).

    `append` takes the episode file's bytes in order; `accepted` says how many it has. Payloads go to disk as they come;
    memory holds one header, the notes, and the stamps up to a limit. `all_held` gives what all assemblies hold: beyond
    `MAX_HELD_BYTES` one that grows is put off. `manifest` and `seal` are the records of those names once they came.
    After any error the assembly is of no more use: `discard` it, or have the store quarantine it.
    """

    def __init__(self, folder: Path, episode: uuid.UUID, all_held: Callable[[], int] = lambda: 0) -> None:
        folder.mkdir()
        self.folder = folder
        self.episode = episode
        self.accepted = 0
        self.manifest: Open | None = None
        self.seal: Seal | None = None
        self.streams: list[StreamIn] = []
        self.notes: list[msgspec.Raw] = []
        self.failed: str | None = None
        self.moved = False
        self._digest = blake3()
        self._id_crc = crc32c(episode.bytes)
        self._last_number = -1
        self._gap = False
        self._stamp_bytes = 0
        self._document_bytes = 0
        self._all_held = all_held
        self._held_checked = 0
        self._begin_record()

    @property
    def digest(self) -> bytes:
        """BLAKE3 of the bytes before SEAL, so far."""
        return self._digest.digest()

    @property
    def held_bytes(self) -> int:
        """About how much memory it takes: stamps, documents, and the header that is coming in."""
        return 0 if self.failed else self._stamp_bytes + self._document_bytes + self._head_bytes

    def append(self, data: memoryview | bytes) -> None:
        """Take the next bytes of the file, in any cut.

        Raises:
            Corrupt: bytes are not what the device wrote; a new start from offset 0 may succeed.
            PeerViolation: the device wrote what it may not; a new start would bring the same.
            StoreError: they cannot be written here; the device keeps them.
        """
        if self.failed is not None:
            raise StoreError(f"episode {self.episode}: failed before ({self.failed}); begin it again")
        view = memoryview(data)
        try:
            while len(view):
                if self.seal is not None:
                    raise PeerViolation(f"episode {self.episode}: {len(view)} bytes after SEAL")
                taken = self._take(view)
                self.accepted += taken
                view = view[taken:]
        except SensoriumError as error:
            self.failed = str(error)
            raise
        except OSError as error:
            self.failed = str(error)
            raise StoreError(f"{self.folder}: cannot write: {error}; make room, then it is sent again") from error

    def sync(self) -> None:
        """Make what was appended durable; safe beside `append`, from another thread."""
        try:
            for stream in tuple(self.streams):
                stream.data.sync()
        except OSError as error:
            # The kernel may have dropped the pages, and would report success next time: nothing of this is trusted.
            self.failed = str(error)
            raise StoreError(f"{self.folder}: cannot sync: {error}; it is sent again") from error

    def close(self) -> None:
        """Close every file."""
        for stream in self.streams:
            stream.data.close()

    def discard(self) -> None:
        """Close, and remove what was not moved into the store; may be called twice."""
        self.failed = self.failed or "discarded"
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # One record at a time: its prefix, its header, its payload in the pieces that come, its checksum. What a header
    # says is judged when it is whole, so that no payload is kept in memory, but a violation is raised only once the
    # record's checksum holds: a flipped bit is nobody's fault.

    def _begin_record(self) -> None:
        self._start = self.accepted
        self._head = bytearray()
        self._head_bytes = PREFIX.size
        self._payload_left = -1
        self._crc = self._id_crc
        self._payload_crc = 0
        self._payload_head = b""
        self._header: Header | None = None
        self._stream: StreamIn | None = None
        self._verdict: SensoriumError | None = None
        self._trailer = b""

    def _take(self, view: memoryview) -> int:
        if self._payload_left < 0:
            part = view[: self._head_bytes - len(self._head)]
            self._head += part
            if len(self._head) == self._head_bytes:
                if self._head_bytes == PREFIX.size:
                    self._prefix()
                if len(self._head) == self._head_bytes:
                    self._judge()
            return len(part)
        if self._payload_left:
            part = view[: self._payload_left]
            self._payload_left -= len(part)
            self._payload(part)
            return len(part)
        part = view[: TRAILER.size - len(self._trailer)]
        self._trailer += bytes(part)
        if len(self._trailer) == TRAILER.size:
            self._end_record()
        return len(part)

    def _prefix(self) -> None:
        record_size(self._head, self._start)
        _, kind, self._number, header_bytes, self._payload_bytes = PREFIX.unpack_from(self._head)
        self._kind = Kind(kind)
        self._head_bytes += header_bytes
        if self.held_bytes > self._held_checked + HELD_STEP_BYTES:
            self._held_checked = self.held_bytes
            if self._all_held() > MAX_HELD_BYTES:
                raise StoreError(
                    f"episode {self.episode}: episodes on their way in hold {MAX_HELD_BYTES >> 20} MiB of stamps and"
                    " headers already; it is sent again later"
                )

    def _judge(self) -> None:
        self._crc = crc32c(memoryview(self._head)[4:], self._crc)
        if self._kind is not Kind.SEAL:
            self._digest.update(self._head)
        self._payload_left = self._payload_bytes
        try:
            self._admit_size()
            self._header = decode_header(self._kind, memoryview(self._head)[PREFIX.size :], self._start)
            self._admit(self._header)
        except SensoriumError as error:
            self._verdict = PeerViolation(str(error)) if isinstance(error, Corrupt) else error

    def _payload(self, part: memoryview) -> None:
        self._crc = crc32c(part, self._crc)
        self._digest.update(part)
        if self._stream is None or self._verdict is not None:
            return
        if self._kind is Kind.ITEMS:
            self._stream.put_blob(part)
            return
        self._payload_crc = crc32c(part, self._payload_crc)
        if len(self._payload_head) < BLOSC_HEADER_BYTES:
            self._payload_head += bytes(part[: BLOSC_HEADER_BYTES - len(self._payload_head)])
        self._stream.data.write(part)

    def _end_record(self) -> None:
        stored = TRAILER.unpack(self._trailer)[0]
        if stored != self._crc:
            raise Corrupt(
                f"episode {self.episode}, record {self._number}: checksum {self._crc:08x}, expected {stored:08x}"
            )
        if self._verdict is not None:
            raise self._verdict
        if self._kind is not Kind.SEAL:
            self._digest.update(self._trailer)
        self._gap = self._gap or self._number != self._last_number + 1
        self._last_number = self._number
        header = self._header
        if isinstance(header, Open):
            self.manifest = header
            for entry in header.streams:
                ndim = 1 if entry.is_blob else 1 + len(entry.spec.shape)
                folder = self.folder / entry.spec.name / "data"
                self.streams.append(StreamIn(entry, ShardWriter(folder, ndim, shard_chunks(entry))))
        elif isinstance(header, Chunk | Items) and self._stream is not None:
            self._keep_rows(header, self._stream)
        elif isinstance(header, Note):
            self.notes.append(msgspec.Raw(msgspec.json.encode(header)))
        elif isinstance(header, Seal):
            self._keep_seal(header)
        self._begin_record()

    def _admit_size(self) -> None:
        """Bound a document before it is decoded: what comes of its bytes may be a hundred times as large."""
        if self._kind not in (Kind.CHUNK, Kind.ITEMS):
            self._document_bytes += self._head_bytes
            if self._document_bytes > MAX_DOCUMENT_BYTES or self._payload_bytes:
                raise PeerViolation(
                    f"episode {self.episode}, record {self._number}: OPEN, notes and SEAL are over"
                    f" {MAX_DOCUMENT_BYTES} bytes, or hold a payload"
                )

    def _admit(self, header: Header) -> None:
        where = f"episode {self.episode}, record {self._number}"
        if self._number <= self._last_number:
            raise PeerViolation(f"{where}: it follows record {self._last_number}")
        if isinstance(header, Open) != (self.manifest is None) or (isinstance(header, Open) and self._number):
            raise PeerViolation(
                f"{where}: {self._kind.name} where {'another record' if self.manifest else 'OPEN'} belongs"
            )
        if isinstance(header, Open):
            check_open(header, self.episode)
        elif isinstance(header, Chunk | Items):
            self._admit_rows(header, where)
        elif isinstance(header, Note):
            check_document(header, "NOTE")
        else:
            check_seal(header, {s.entry.spec.name: s.rows for s in self.streams}, self._gap_with(self._number))

    def _admit_rows(self, header: Chunk | Items, where: str) -> None:
        if not 0 <= header.stream < len(self.streams):
            raise PeerViolation(f"{where}: stream {header.stream} of {len(self.streams)}")
        stream = self.streams[header.stream]
        entry = stream.entry
        where = f"{where}, stream {entry.spec.name!r}"
        if entry.is_blob != isinstance(header, Items) or stream.ended:
            raise PeerViolation(f"{where}: {self._kind.name} after a partial chunk, or of a stream of the other kind")
        rows = len(header.captured_ns) // 8
        if not rows or len(header.captured_ns) % 8 or len(header.sensor_ns) != entry.spec.has_sensor_ns * rows * 8:
            raise PeerViolation(f"{where}: stamps of {len(header.captured_ns)} and {len(header.sensor_ns)} bytes")
        skipped = header.first_row - stream.next_row
        if skipped < 0 or (skipped and not self._gap_with(self._number)) or header.first_row >= 1 << 62:
            raise PeerViolation(f"{where}: first row {header.first_row}, expected {stream.next_row}")
        if min(header.captured, *header.filtered.values(), *header.lost.values(), 0) < 0:
            raise PeerViolation(f"{where}: a running count below 0")
        stamps = np.frombuffer(header.captured_ns, "<i8")
        if not -MAX_NS <= int(stamps[0]) <= int(stamps[-1]) <= MAX_NS:
            raise PeerViolation(f"{where}: stamps {int(stamps[0])} to {int(stamps[-1])} are out of range")
        if int(stamps[0]) < stream.last_ns or bool((stamps[1:] < stamps[:-1]).any()):
            raise PeerViolation(f"{where}: stamps step back")
        self._stamp_bytes += len(header.captured_ns) + len(header.sensor_ns)
        if self._stamp_bytes > MAX_STAMP_BYTES:
            raise PeerViolation(f"{where}: over {MAX_STAMP_BYTES} bytes of stamps in one episode; cut it shorter")
        if isinstance(header, Items):
            lengths = header.lengths
            self._stamp_bytes += 8 * len(lengths)
            if len(lengths) != rows or min(lengths) < 1 or sum(lengths) != self._payload_bytes:
                raise PeerViolation(
                    f"{where}: lengths of {len(lengths)} items do not match the {rows} rows or the payload"
                )
        else:
            raw = chunk_raw_bytes(entry)
            if rows > entry.chunk_rows:
                raise PeerViolation(f"{where}: {rows} rows in a chunk of {entry.chunk_rows}")
            if not BLOSC_HEADER_BYTES < self._payload_bytes - CHECKSUM_BYTES <= raw + BLOSC_HEADER_BYTES:
                raise PeerViolation(f"{where}: a chunk of {raw} raw bytes in a payload of {self._payload_bytes}")
        self._stream = stream

    def _keep_rows(self, header: Chunk | Items, stream: StreamIn) -> None:
        rows = len(header.captured_ns) // 8
        if isinstance(header, Items):
            stream.lengths.extend(header.lengths)
        else:
            self._check_chunk(stream)
            stream.data.end_chunk()
            stream.ended = rows < stream.entry.chunk_rows
        stream.captured_ns += header.captured_ns
        stream.sensor_ns += header.sensor_ns
        stream.last_ns = int.from_bytes(header.captured_ns[-8:], "little", signed=True)
        stream.rows += rows
        stream.next_row = header.first_row + rows

    def _check_chunk(self, stream: StreamIn) -> None:
        where = f"episode {self.episode}, record {self._number}, stream {stream.entry.spec.name!r}"
        if self._payload_crc != _RESIDUE:
            raise PeerViolation(f"{where}: the chunk's own checksum does not hold")
        encoded = self._payload_bytes - CHECKSUM_BYTES
        entry = stream.entry
        try:
            check_blosc_header(
                self._payload_head, encoded, entry.spec.dtype, chunk_raw_bytes(entry), entry.encoding.cname
            )
        except Corrupt as error:
            raise PeerViolation(f"{where}: {error}") from error

    def _gap_with(self, number: int) -> bool:
        return self._gap or number != self._last_number + 1

    def _keep_seal(self, seal: Seal) -> None:
        if seal.digest != self.digest:
            raise Corrupt(f"episode {self.episode}: digest {self.digest.hex()}, SEAL says {seal.digest.hex()}")
        self.seal = seal


def stamps_of(raw: bytearray) -> Stamps:
    """The int64 array of stamps that came as little-endian bytes."""
    return np.frombuffer(raw, "<i8").astype(np.int64)
