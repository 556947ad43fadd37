"""One episode on its way in: its file's bytes in any cuts, checked record by record, payloads straight into shards."""

import contextlib
import uuid
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from blake3 import blake3

from sensorium.corpus.extent import Span
from sensorium.drivers.stream import Stamps
from sensorium.episode import durable
from sensorium.episode.codecs.contract import Codec
from sensorium.episode.documents import Chunk, Items, Note, Open, Seal, StreamEntry
from sensorium.episode.parser import TRAILER, EpisodeParser, Header, RecordBegun, RecordEnded, WholeRecord
from sensorium.episode.remedy import remedy
from sensorium.errors import Corrupt, PeerViolation, SensoriumError, StoreError
from sensorium.ingest.held_room import HeldPlace
from sensorium.ingest.record_order import RecordOrder
from sensorium.ingest.shards import PayloadSink, ShardFile, payload_sink
from sensorium.ingest.staged_folder import StagedFolder

HELD_STEP_BYTES = 256 << 10
MAX_HELD_SHARDS = 512
KEEP_BYTES = 64 << 10
"""A smaller part of an episode is sent again after a restart, which costs less than to keep it."""
_ROWS = (Chunk, Items)
_ENDS = (slice(8), slice(-8, None))


@dataclass(slots=True)
class StreamIn:
    """One stream as far as it has come. Stamps are int64 little-endian; `lengths` are those of a blob's items."""

    codec: Codec
    sink: PayloadSink
    captured_ns: bytearray = field(default_factory=bytearray)
    sensor_ns: bytearray = field(default_factory=bytearray)
    lengths: "array[int]" = field(default_factory=lambda: array("q"))

    def keep(self, header: Chunk | Items) -> None:
        """Keep what a header says of its rows."""
        self.captured_ns += header.captured_ns
        self.sensor_ns += header.sensor_ns
        if isinstance(header, Items):
            self.lengths.extend(header.lengths)

    @property
    def entry(self) -> StreamEntry:
        """What OPEN says of it."""
        return self.codec.entry

    @property
    def rows(self) -> int:
        return len(self.captured_ns) // 8

    @property
    def span(self) -> Span:
        """Where its rows lie, of which it has one at least."""
        first_ns, last_ns = (int.from_bytes(self.captured_ns[part], "little", signed=True) for part in _ENDS)
        return Span(first_ns, last_ns, self.rows, self.entry.spec.rate_hz)


class Assembly:
    """An episode that is arriving, in `folder` (which it creates and owns until the store renames it).

    `append` takes the episode file's bytes in order; `accepted` says how many it has. Payloads go to disk as they come;
    memory holds one header, the notes, and the stamps up to a limit. `look` is told where it has grown: it raises a
    `StoreError` where others need the room. After any error the assembly is of no more use: `discard` it, or have
    the store quarantine it.

    `folder` is under the open folder `dir_fd`. `again`: it is what an earlier run left, to be gone through once more
    with `kept` and `append`, and then to be settled. As long as there is room for it at its
    `place` it is held in memory, and is no folder.
    """

    def __init__(
        self,
        folder: Path,
        episode: uuid.UUID,
        look: "Callable[[Assembly], None]" = lambda _: None,
        *,
        recoveries: int = 0,
        dir_fd: int | None = None,
        again: bool = False,
        place: HeldPlace | None = None,
    ) -> None:
        self.staged = StagedFolder(folder, recoveries, dir_fd, again)
        if place is None and not again:
            self.staged.make()
        self.episode = episode
        self.streams: list[StreamIn] = []
        self.notes: list[msgspec.Raw] = []
        self.failed: str | None = None
        self.written: dict[str, durable.Seen] = {}
        self.published: durable.Seen | None = None
        self._hasher = blake3()
        self._parser = EpisodeParser(episode.bytes, hasher=self._hasher)
        self._order = RecordOrder(episode)
        self._header: Header | None = None
        self._verdict: PeerViolation | None = None
        self._look = look
        self._looked = 0, 0
        self._place = place

    @property
    def folder(self) -> Path:
        """Where it is staged."""
        return self.staged.path

    @property
    def accepted(self) -> int:
        """Bytes of the file that it has taken."""
        return self._parser.offset

    @property
    def manifest(self) -> Open | None:
        """OPEN, once it came."""
        return self._order.manifest

    @property
    def seal(self) -> Seal | None:
        """SEAL, once it came and the digest holds."""
        return self._order.seal

    @property
    def spans(self) -> list[Span]:
        """Where the samples of each stream lie that has any."""
        return [stream.span for stream in self.streams if stream.rows]

    @property
    def digest(self) -> bytes:
        """BLAKE3 of the bytes before SEAL, so far."""
        return self._hasher.digest()

    @property
    def held_bytes(self) -> int:
        """About how much memory it takes: stamps, documents, and the header that is coming in."""
        return 0 if self.failed else self._order.held_bytes + self._parser.held_bytes

    @property
    def open_files(self) -> int:
        """About how many descriptors it takes: the folder, the heads, and a shard of each stream."""
        return 0 if self.staged.fd < 0 else 2 + len(self.streams)

    def append(self, data: memoryview | bytes) -> None:
        """Take the next bytes of the file, in any cut.

        Raises:
            Corrupt: bytes are not what the device wrote; a new start from offset 0 may succeed.
            PeerViolation: the device wrote what it may not; a new start would bring the same.
            StoreError: they cannot be written here; the device keeps them.
        """
        if self.failed is not None:
            raise StoreError(f"episode {self.episode}: failed before ({self.failed}); begin it again")
        try:
            if self._place is not None and not self._place.take(len(data)):
                self.put_down()
            self._take(memoryview(data))
            self._look_around()
            if self._place is None:
                self._keep_heads()
            elif sum(len(stream.sink.shards.files) for stream in self.streams) > MAX_HELD_SHARDS:
                self.put_down()  # what a shard takes beside its bytes is not counted
        except SensoriumError as error:
            self.failed = str(error)
            raise
        except OSError as error:
            self.failed = str(error)
            raise StoreError(f"{self.folder}: cannot write: {error}; {remedy(error)}, then it is sent again") from error

    def put_down(self) -> None:
        """Bring to disk what is held in memory, to go on there; not beside `append`."""
        if self._place is None:
            return
        try:
            self.staged.make()
            for stream in self.streams:
                stream.sink.shards.put_down(self.staged.fd)
            if self.accepted >= KEEP_BYTES:
                self.staged.heads.write()
        except OSError as error:
            self.failed = str(error)
            raise StoreError(f"{self.folder}: cannot write: {error}; {remedy(error)}, then it is sent again") from error
        self._leave_place()

    def _keep_heads(self) -> None:
        if self.staged.heads.begun or (self.accepted >= KEEP_BYTES and self.seal is None):
            self.staged.heads.write()

    def _leave_place(self) -> None:
        if self._place is not None:
            self._place.leave()
            self._place = None

    def sync(self, names: bool = False) -> None:
        """Make what was appended durable, with `names` so that it is found again; safe beside `append`."""
        try:
            files = self.files
            for stream in tuple(self.streams):
                stream.sink.shards.sync()
            if names:
                self.staged.sync([Path(file.name) for file in files])
        except OSError as error:
            # The kernel may have dropped the pages, and would report success next time: nothing of this is trusted.
            self.failed = str(error)
            raise StoreError(f"{self.folder}: cannot sync: {error}; it is sent again") from error

    @property
    def files(self) -> list[ShardFile]:
        """The shards so far."""
        return [file for stream in tuple(self.streams) for file in tuple(stream.sink.shards.files)]

    def kept(self, size: int) -> bytes:
        """Up to `size` of the next bytes of the payload that is under way, as an earlier run left them."""
        header = self._header
        return self.streams[header.stream].sink.kept(size) if isinstance(header, Chunk | Items) else b""

    def settle(self) -> None:
        """All that an earlier run left and that is to be kept was gone through: what is beyond it is removed."""
        for stream in self.streams:
            stream.sink.shards.settle()
        self.staged.heads.settle()
        self.staged.again = False

    def close(self) -> None:
        """Close every file, and let go of what is held in memory; what is in staging is left there."""
        self._leave_place()
        for stream in self.streams:
            stream.sink.shards.close()
        self.staged.close()

    def leave(self) -> None:
        """Close, and leave in staging what a later run can go on from; twice is no error."""
        if self.failed is None and self.accepted >= KEEP_BYTES:
            with contextlib.suppress(StoreError):
                self.put_down()
        if self.failed is None and self.staged.heads.begun:
            self.close()
        else:
            self.discard()

    def discard(self) -> None:
        """Close, and remove what was not moved into the store; may be called twice."""
        self.failed = self.failed or "discarded"
        self.close()
        self.staged.remove()

    def _take(self, data: memoryview) -> None:
        parser, heads = self._parser, self.staged.heads.new
        begin, at = parser.offset, 0
        for event in parser.feed_at_once(data):
            taken, at = at, parser.offset - begin
            if isinstance(event, WholeRecord):
                behind = at - TRAILER.size
                heads += data[taken : behind - len(event.payload)]
                heads += data[behind:at]
                self._take_record(event)
                continue
            if isinstance(event, memoryview):
                self._take_payload(event)
                continue
            heads += data[taken:at]
            if isinstance(event, RecordBegun):
                self._begin(event)
            else:
                self._end(event)
        taken = parser.offset - begin
        heads += data[at:taken]
        if taken < len(data):
            raise PeerViolation(f"episode {self.episode}: {len(data) - taken} bytes after SEAL")

    def _take_record(self, record: WholeRecord) -> None:
        begun = record.begun
        header = self._order.admit(begun)
        if isinstance(header, _ROWS):
            try:
                self.streams[header.stream].sink.put(record.payload)
            except Corrupt as error:
                raise self._no_payload(begun.number, header, error) from error
        self._keep(begun.number, header)

    # Of a record that comes in pieces the header is judged when it is whole, so that no payload is kept in memory, but
    # the verdict is given only once the record's checksum holds: a flipped bit is nobody's fault.

    def _begin(self, begun: RecordBegun) -> None:
        try:
            self._header = self._order.admit(begun)
        except PeerViolation as error:
            self._verdict = error

    def _take_payload(self, part: memoryview) -> None:
        if isinstance(self._header, Chunk | Items):
            self.streams[self._header.stream].sink.write(part)

    def _end(self, ended: RecordEnded) -> None:
        if self._verdict is not None:
            raise self._verdict
        header, self._header = self._header, None
        if isinstance(header, Chunk | Items):
            try:
                self.streams[header.stream].sink.end()
            except Corrupt as error:
                raise self._no_payload(ended.number, header, error) from error
        if header is not None:
            self._keep(ended.number, header)

    def _keep(self, number: int, header: Header) -> None:
        """What a record says whose checksum holds."""
        if isinstance(header, _ROWS):
            self.streams[header.stream].keep(header)
        elif isinstance(header, Note):
            self.notes.append(msgspec.Raw(msgspec.json.encode(header)))
        elif isinstance(header, Seal) and header.digest != self.digest:
            raise Corrupt(f"episode {self.episode}: digest {self.digest.hex()}, SEAL says {header.digest.hex()}")
        self._order.keep(number, header)
        if isinstance(header, Open):
            codecs = [stream.codec for stream in self._order.streams]
            dir_fd = self.staged.fd if self.staged.made else None
            self.streams = [StreamIn(codec, payload_sink(codec, dir_fd, self.staged.again)) for codec in codecs]
            self._look_around()  # before there is a file of each

    def _no_payload(self, number: int, header: Chunk | Items, error: Corrupt) -> PeerViolation:
        stream = self.streams[header.stream].entry.spec.name
        return PeerViolation(f"episode {self.episode}, record {number}, stream {stream!r}: {error}")

    def _look_around(self) -> None:
        held, files = self._looked
        if self.held_bytes > held + HELD_STEP_BYTES or self.open_files > files:
            self._looked = self.held_bytes, self.open_files
            self._look(self)


def stamps_of(raw: bytearray) -> Stamps:
    """The int64 array of stamps that came as little-endian bytes: where the machine is so, no copy."""
    return np.frombuffer(raw, "<i8").astype(np.int64, copy=False)
