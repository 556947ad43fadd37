"""One open episode: samples placed in it become records of its file, and every one is accounted for."""

import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple
from uuid import UUID

import msgspec
import numpy as np

from sensorium.agents.recording.encode import encoder
from sensorium.agents.recording.looked import StreamLook, said_of
from sensorium.agents.recording.piece import Piece
from sensorium.agents.selection.unit_costs import Took
from sensorium.agents.selection.value import quality_of, worth_of
from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.triggers.trigger import EpisodeSpan
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.media import decoded
from sensorium.drivers.stream import Stamps
from sensorium.episode.account import Place, Running, Tally
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import LABELS, OUTCOME, Account, Chunk, Items, Note, Reason, StreamEntry
from sensorium.episode.parser import Header
from sensorium.errors import SensoriumError, SpoolError
from sensorium.perception.health import StreamHealth

log = logging.getLogger(__name__)

AT_ONCE_BYTES = 64 << 10
_STAMP = np.dtype("<i8")
MAX_NOTE_BYTES = 256 << 10
"""Of what sources note in one episode: a quarter of what a server takes of documents in one."""
RECORD_BYTES = 1024
"""More than the frame and header of a record take, and what Blosc adds to what it cannot compress."""


class StoredForm:
    """How a stream is stored: the same in all its episodes."""

    def __init__(self, entry: StreamEntry) -> None:
        self.entry = entry
        self.codec = codec_of(entry)
        self.encode = encoder(self.codec)
        self.health = StreamHealth(entry.spec)


class _StreamOut:
    """One stream on its way into the file: rows gather until they fill a chunk."""

    def __init__(self, number: int, form: StoredForm, tally: Tally) -> None:
        self.number = number
        self.entry = form.entry
        self.tally = tally
        self.next_row = 0
        self.held_rows = 0
        self.file_bytes = self.payload_bytes = self.most_bytes = 0
        self.rows: deque[Piece] = deque()
        self.codec = form.codec
        self.encode = form.encode
        self.looked = StreamLook(form.health.anew())

    def bound(self, rows: int) -> int:
        """At most so many bytes of file do `rows` make: incompressible, padded, with stamps and headers."""
        chunks = -(-rows // self.entry.chunk_rows)
        return chunks * self.codec.max_bytes + rows * 16 + RECORD_BYTES

    def written(self, rows: int, payload_bytes: int, framing_bytes: int) -> None:
        """A record of so many rows is in the file."""
        self.file_bytes += payload_bytes + framing_bytes
        self.payload_bytes += payload_bytes
        self.next_row += rows
        self.tally.store(rows)


class _Unwritten(NamedTuple):
    """A record to be: its samples, its payload when that is encoded, and the stream's counts when it was complete."""

    out: _StreamOut
    captured_ns: Stamps
    sensor_ns: Stamps | None
    payload: "Future[bytes] | bytes"
    counts: Running

    @property
    def bound(self) -> int:
        """At most so many bytes of file; what came encoded may be larger than what is encoded here."""
        encoded = len(self.payload) if isinstance(self.payload, bytes) else 0
        return max(self.out.bound(len(self.captured_ns)), encoded + RECORD_BYTES)


class EpisodeWriter:
    """Fed by the recorder with pieces that belong to it; `seal` ends it. Its account grows in `place`.

    Its interval is [start_ns, end_ns): the end is the trigger's, or `limit_ns` if that comes first, or where it was
    `cut`.
    """

    def __init__(
        self,
        file: EpisodeFile,
        span: EpisodeSpan,
        epoch: int,
        start_ns: int,
        limit_ns: int,
        max_bytes: int,
        place: Place,
        forms: Sequence[StoredForm],
    ) -> None:
        self.file = file
        self.place = place
        self.id = UUID(bytes=file.manifest.episode)
        self.span = span
        self.epoch = epoch
        self.start_ns = start_ns
        self.limit_ns = limit_ns
        self.last_ns = start_ns - 1
        self.reset = False
        self.closing = False
        self._noted = False
        self._note_bytes = 0
        self._unwritten: deque[_Unwritten] = deque()
        self._max_bytes = max_bytes
        names = [form.entry.spec.name for form in forms]
        self._streams = {name: _StreamOut(i, forms[i], place[name]) for i, name in enumerate(names)}
        span.growing = self.grown

    @property
    def end_ns(self) -> int:
        """Where the interval ends, as far as is known."""
        end_ns, limit_ns = self.span.end_ns, self.limit_ns  # asked some fifty times of the smallest episode
        return end_ns if end_ns < limit_ns else limit_ns

    @property
    def final(self) -> bool:
        """Whether the end cannot move any more."""
        return self.span.closed or self.limit_ns < self.span.end_ns

    @property
    def held_bytes(self) -> int:
        """Upper bound of what is accepted and not in the file yet."""
        held = 0
        for out in self._streams.values():
            if out.held_rows:
                held += out.bound(out.held_rows)
        for chunk in self._unwritten:
            held += chunk.bound
        return held

    @property
    def too_large(self) -> bool:
        """Whether what was accepted has reached the bound, so that the episode should be cut; the same however far the
        encoders are, so that a replay is cut alike each time."""
        sure = self.file.written + sum([out.most_bytes for out in self._streams.values()])
        if sure < self._max_bytes or self.file.written + self.held_bytes < self._max_bytes:
            return False
        self.flush(wait=True)
        return self.file.written >= self._max_bytes

    def grown(self) -> int:
        """Bytes that the chunks which are complete took once they were encoded; waits for those that are not, so that a
        replay is told the same each time."""
        grown_bytes = sum(out.payload_bytes for out in self._streams.values())
        for chunk in self._unwritten:
            with contextlib.suppress(SensoriumError):  # it is lost, and counted once it would be written
                grown_bytes += len(chunk.payload if isinstance(chunk.payload, bytes) else chunk.payload.result())
        return grown_bytes

    def cut(self) -> None:
        """End the interval just after the last sample placed in it."""
        self.limit_ns = min(self.limit_ns, max(self.last_ns, self.start_ns) + 1)

    def look(self, stream: str, piece: Piece) -> None:
        """Take in health and scores of samples about to be added; of frames encoded before, their stamps alone."""
        self._streams[stream].looked.add(piece)

    def add(self, stream: str, piece: Piece) -> None:
        """Take a piece. Raises `SpoolError` if the file could not take a chunk; the loss is counted."""
        out = self._streams[stream]
        if piece.counts is not None:
            out.tally.add(piece.counts)
        out.tally.hold(len(piece))
        if len(piece):
            self.last_ns = max(self.last_ns, int(piece.captured_ns[-1]))
            if piece.encoded is not None:
                out.most_bytes = self._max_bytes
                self._complete(out, [piece], piece.encoded)
                self.flush(wait=False)
                return
            out.most_bytes += out.bound(len(piece)) + out.codec.max_bytes
            out.rows.append(piece)
            out.held_rows += len(piece)
            self._gather(out)  # of rows there is little, which the next `flush` writes with one call

    @property
    def has_unwritten(self) -> bool:
        """Whether a chunk is complete and not written."""
        return bool(self._unwritten)

    def flush(self, *, wait: bool) -> None:
        """Write what is encoded, in the order in which it was complete; with `wait`, all."""
        while self._unwritten:
            small = self._small()
            if len(small) > 1 and self._written_at_once(small):
                continue
            payload = self._unwritten[0].payload
            if not (wait or isinstance(payload, bytes) or payload.done()):
                return
            self._write(self._unwritten.popleft())

    def _small(self) -> list[_Unwritten]:
        """What is next, encoded, and so little that one call to the disk is the greatest part of it."""
        small, small_bytes = [], 0
        for chunk in self._unwritten:
            small_bytes += len(chunk.payload) if isinstance(chunk.payload, bytes) else AT_ONCE_BYTES
            if small_bytes >= AT_ONCE_BYTES:
                break
            small.append(chunk)
        return small

    def _written_at_once(self, chunks: Sequence[_Unwritten]) -> bool:
        """Write the next chunks with one call; False if that could not be done, and each is to be tried by itself."""
        following: dict[int, int] = {}
        records: list[tuple[Header, bytes]] = []
        payload_bytes = 0
        for chunk in chunks:
            out, payload = chunk.out, chunk.payload
            if not isinstance(payload, bytes):
                return False
            row = following.get(out.number, out.next_row)
            following[out.number] = row + len(chunk.captured_ns)
            records.append((_header(chunk, row, len(payload)), payload))
            payload_bytes += len(payload)
        try:
            file_bytes = self.file.append_all(records)
        except SpoolError:
            return False
        framing_bytes = (file_bytes - payload_bytes) // len(records)
        for chunk, (_, payload) in zip(chunks, records, strict=True):
            self._unwritten.popleft()
            chunk.out.written(len(chunk.captured_ns), len(payload), framing_bytes)
        return True

    def note(self, note: SourceNote) -> bool:
        """Write what a source noted, whose start the interval holds; False if there are too many bytes of such.

        Raises:
            SpoolError: the file could not take it.
        """
        document = Note(
            kind=note.kind,
            name=note.name,
            value=note.plain(),
            stream=note.stream,
            start_ns=note.start_ns,
            end_ns=note.end_ns,
        )
        note_bytes = self._note_bytes + len(msgspec.msgpack.encode(document))
        if note_bytes > MAX_NOTE_BYTES:
            return False
        self.file.append(document)
        self._note_bytes = note_bytes
        return True

    def accounts(self) -> dict[str, Account]:
        """What became of every sample placed here, so far."""
        return {name: tally.account() for name, tally in self.place.items()}

    def write(self) -> None:
        """Write what is held, the last chunks padded: nothing more comes.

        Raises:
            SpoolError: the file could not take a chunk; the loss is counted.
        """
        self.closing = True
        for out in self._streams.values():
            self._gather(out, everything=True)
        self.flush(wait=True)

    def lose_held(self, cause: str) -> None:
        """What is accepted and not written will not be."""
        self._unwritten.clear()
        for out in self._streams.values():
            out.rows.clear()
            out.held_rows = 0
            out.tally.leave(cause, out.tally.held)

    def seal(self, reason: Reason) -> None:
        """Write what is held, and the SEAL.

        Raises:
            SpoolError: no room for the SEAL; may be called again.
        """
        self.write()
        span = self.span
        if span.event and not self._noted:
            labels = {"labels": dict(span.labels)} if span.labels else {}
            value = {"event": span.event, "outcome": span.outcome, **labels}
            self.file.append(
                Note(kind="trigger", name=span.event, value=value, start_ns=self.start_ns, end_ns=self.end_ns)
            )
            self._noted = True
        summary = said_of({name: out.looked for name, out in self._streams.items()})
        if span.decisions is not None:
            quality = quality_of(self.place, summary["health"])
            summary |= worth_of(span.decisions, self.start_ns, self.end_ns, quality).summary()
        if span.outcome:
            summary[OUTCOME] = span.outcome
        if late := dict(span.labels.items() - self.file.manifest.labels.items()):
            summary[LABELS] = late
        rows = {name: out.tally.stored for name, out in self._streams.items()}
        self.file.seal(reason, rows, self.accounts(), summary, self.end_ns)
        took = {name: (out.tally.stored, out.file_bytes) for name, out in self._streams.items()}
        if span.growing == self.grown:
            span.growing = None
        span.took.append(Took(self.start_ns, self.end_ns, self.file.written, self._note_bytes, took))

    def _gather(self, out: _StreamOut, *, everything: bool = False) -> None:
        """Make chunks of the rows held; with `everything`, of the last few too, padded."""
        chunk_rows = out.entry.chunk_rows
        if len(out.rows) == 1 and out.held_rows > chunk_rows:
            self._cut(out, out.rows.popleft())
        while out.held_rows >= chunk_rows or (everything and out.held_rows):
            pieces, n = [], 0
            while out.rows and n < chunk_rows:
                piece = out.rows.popleft()
                if len(piece) > chunk_rows - n:
                    piece, rest = piece.split(chunk_rows - n)
                    out.rows.appendleft(rest)
                pieces.append(piece)
                n += len(piece)
            out.held_rows -= n
            parts = [decoded(piece.content) for piece in pieces]
            if len(parts) == 1 and n == chunk_rows and parts[0].dtype.isnative:
                data = parts[0]
            else:
                data = np.zeros((chunk_rows, *out.entry.spec.shape), out.entry.spec.dtype)
                np.concatenate(parts, out=data[:n])
            self._complete(out, pieces, out.encode(data))

    def _cut(self, out: _StreamOut, piece: Piece) -> None:
        """Make chunks of one piece that fills more than one; what is left of it is held."""
        chunk_rows, counts, data = out.entry.chunk_rows, out.tally.running(), decoded(piece.content)
        end = len(piece) - len(piece) % chunk_rows if data.dtype.isnative else 0
        for first in range(0, end, chunk_rows):
            rows = slice(first, first + chunk_rows)
            own = None if piece.sensor_ns is None else piece.sensor_ns[rows]
            self._unwritten.append(_Unwritten(out, piece.captured_ns[rows], own, out.encode(data[rows]), counts))
        out.held_rows -= end
        if end < len(piece):
            out.rows.append(piece.split(end)[1] if end else piece)

    def _complete(self, out: _StreamOut, pieces: list[Piece], payload: "Future[bytes] | bytes") -> None:
        own = [piece.sensor_ns for piece in pieces if piece.sensor_ns is not None]
        stamps = _joined([piece.captured_ns for piece in pieces])
        self._unwritten.append(_Unwritten(out, stamps, _joined(own) if own else None, payload, out.tally.running()))

    def _write(self, chunk: _Unwritten) -> None:
        out, rows = chunk.out, len(chunk.captured_ns)
        try:
            payload = chunk.payload if isinstance(chunk.payload, bytes) else chunk.payload.result()
        except SensoriumError as error:
            log.error("%s", error)
            out.tally.leave("encoder", rows)
            return
        before = self.file.written
        try:
            self.file.append(_header(chunk, out.next_row, len(payload)), payload)
        except SpoolError:
            out.tally.leave("spool_full", rows)
            raise
        out.written(rows, len(payload), self.file.written - before - len(payload))


def _header(chunk: _Unwritten, first_row: int, payload_bytes: int) -> Chunk | Items:
    captured, filtered, lost = chunk.counts
    header = Chunk(
        stream=chunk.out.number,
        first_row=first_row,
        captured_ns=_bytes_of(chunk.captured_ns),
        captured=captured,
        sensor_ns=b"" if chunk.sensor_ns is None else _bytes_of(chunk.sensor_ns),
        filtered=filtered,
        lost=lost,
    )
    if not chunk.out.codec.stores_items:
        return header
    return Items(lengths=(payload_bytes,), **{name: getattr(header, name) for name in Chunk.__struct_fields__})


def _bytes_of(stamps: Stamps) -> bytes:
    return (stamps if stamps.dtype is _STAMP else stamps.astype(_STAMP)).tobytes()


def _joined(parts: list[Stamps]) -> Stamps:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
