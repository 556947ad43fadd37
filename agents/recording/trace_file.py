"""One trace episode as it is written: judged units of one boot, policy and layout, with an account of its own."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from uuid import UUID

import msgspec
import numpy as np
import uuid_utils

from sensorium.agents.recording.encode import encoder
from sensorium.agents.spool.spool import Spool
from sensorium.episode.account import Place, Tally
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Account, Chunk, Open, Reason
from sensorium.episode.parser import Header
from sensorium.episode.trace import About, Layout, Words
from sensorium.episode.trace_row import JUDGED_S, TraceRow, seconds_by_reason

NOMINAL_NS = 3600 * 10**9
"""How long it lasts, as OPEN says, which is before anybody knows."""
_RECORD_BYTES = 256
"""More than the frame and header of a record take, but for its stamps."""


class TraceForm:
    """How rows of one layout are stored, and at most how many bytes that takes."""

    def __init__(self, manifest: Open, layout: Layout, about: About, chunk_rows: int) -> None:
        self.layout, self.about, self.chunk_rows = layout, about, chunk_rows
        self.entries = layout.entries(chunk_rows)
        self.manifest = msgspec.structs.replace(manifest, kind="trace", streams=self.entries, absent={})
        self._codecs = [codec_of(entry) for entry in self.entries]
        self.encoders = [encoder(codec) for codec in self._codecs]

    @cached_property
    def open_bytes(self) -> int:
        """Of an OPEN and the note that follows it."""
        said = len(msgspec.msgpack.encode(self.manifest)) + len(msgspec.msgpack.encode(self.about))
        return said + 2 * _RECORD_BYTES

    @cached_property
    def seal_bytes(self) -> int:
        """Of a SEAL."""
        return _RECORD_BYTES * (1 + len(self.entries))

    def chunk_bytes(self, rows: Sequence[TraceRow]) -> int:
        """Of one chunk a stream, with these rows, and the note of their words."""
        words = sum(len(word.encode()) + 5 for row in rows for word in _words(row))
        each = _RECORD_BYTES + 4 + 8 * self.chunk_rows
        return words + _RECORD_BYTES + sum(codec.max_bytes + each for codec in self._codecs)


def _words(row: TraceRow) -> list[str]:
    judged = row.judged
    said = [judged.decision.reason, judged.decision.by, judged.unit.gate]
    said += judged.unit.gates.values()
    return said + [look.by for look in judged.looks.values()]


class TraceFile:
    """An episode of the kind `trace` that grows in a spool. Between calls nothing of it is held in memory.

    Raises:
        SpoolFull, SpoolError: it could not begin.
    """

    def __init__(self, spool: Spool, form: TraceForm, start_ns: int) -> None:
        self.form, self.start_ns = form, start_ns
        self.rows = 0
        self._spool = spool
        self._id = UUID(bytes=uuid_utils.uuid7().bytes)

        def manifest(ordinal: int, _: dict[str, Account]) -> Open:
            return msgspec.structs.replace(
                form.manifest,
                episode=self._id.bytes,
                ordinal=ordinal,
                start_ns=start_ns,
                end_ns=start_ns + NOMINAL_NS,
            )

        self._file = spool.create(manifest, apart=True)
        self._place: Place = {entry.spec.name: Tally() for entry in form.entries}
        self._words, self._told = Words(), False
        self._end_ns = start_ns
        self._judged_s: Counter[str] = Counter()
        self._counted = 0
        spool.account.begin(self._id, self._place)

    @property
    def written(self) -> int:
        """Bytes of the file."""
        return self._file.written

    @property
    def full(self) -> bool:
        """Whether nothing fits behind its last chunk, which has fewer rows than it holds."""
        return self.rows % self.form.chunk_rows > 0

    def take_written(self) -> int:
        """How many bytes came since this was asked last."""
        more, self._counted = self.written - self._counted, self.written
        return more

    def write(self, rows: Sequence[TraceRow]) -> None:
        """Append rows as one chunk a stream, all with one call to the disk; fewer than a chunk holds are the last.

        Raises:
            SpoolFull, SpoolError: none is in the file.
        """
        form, n = self.form, len(rows)
        stamps, arrays = form.layout.arrays(rows, self._words)
        records: list[tuple[Header, bytes]] = []
        if not self._told:
            records.append((form.about.note(self.start_ns), b""))
        if (note := self._words.note(rows[0].start_ns)) is not None:
            records.append((note, b""))
        for number, (array, encode) in enumerate(zip(arrays, form.encoders, strict=True)):
            padded = np.zeros((form.chunk_rows, *array.shape[1:]), array.dtype)
            padded[:n] = array
            told = stamps.astype("<i8", copy=False).tobytes()
            header = Chunk(stream=number, first_row=self.rows, captured_ns=told, captured=self.rows + n)
            records.append((header, encode(padded)))
        self._file.append_all(records)
        self._told = True
        self._words.fresh.clear()
        self.rows += n
        self._end_ns = max(self._end_ns, *(row.end_ns for row in rows))
        for row in rows:
            self._judged_s.update(seconds_by_reason(row))
        for name, tally in self._place.items():
            self._spool.account.enter(name, n)
            tally.hold(n)
            tally.store(n)

    def seal(self, reason: Reason) -> None:
        """End it.

        Raises:
            SpoolFull, SpoolError: there is no room for the SEAL; may be called again.
        """
        accounts = {name: tally.account() for name, tally in self._place.items()}
        rows = dict.fromkeys(self._place, self.rows)
        summary = {JUDGED_S: {reason: round(seconds, 3) for reason, seconds in self._judged_s.items()}}
        self._file.seal(reason, rows, accounts, summary, self._end_ns)
        self._spool.account.sealed(self._id)
