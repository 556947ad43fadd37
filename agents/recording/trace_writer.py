"""The trace writer: every judged unit goes into a trace episode, on a budget of its own; if short, merged."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sensorium.agents.recording.trace_bucket import TraceBucket
from sensorium.agents.recording.trace_file import TraceFile, TraceForm
from sensorium.agents.recording.trace_rows import TraceRows
from sensorium.agents.spool.spool import Spool
from sensorium.episode.account import Tally
from sensorium.episode.documents import Open, Reason
from sensorium.episode.trace import PREFIX, About, Layout
from sensorium.episode.trace_row import TraceRow
from sensorium.episode.unit import Judged
from sensorium.errors import ConfigError, SpoolError

log = logging.getLogger(__name__)

EPISODE_NS = 60 * 10**9
MAX_ROWS = 4096
CHUNK_ROWS = 8
OVERHEAD = 4
"""Where bytes are short an episode grows until it is so many times what each of them costs beside its rows."""
LAST_PAUSES_S = (0.1,) * 5


class TraceStatus(msgspec.Struct, kw_only=True):
    """What a run has traced: units, the rows that they are, bytes of files. Of the units `waiting` are not written yet,
    `lost` never were: the spool did not take them to the end."""

    units: int = 0
    rows: int = 0
    bytes: int = 0
    waiting: int = 0
    lost: int = 0


class TraceWriter:
    """Takes final decisions in the order of time, kept or not. One thread calls it, that of the recorder.

    Every unit is in exactly one row. Rows wait until they fill a chunk; where the budget has no room for that, or the
    spool none, neighbours become one. An episode holds one boot and one policy, and the names that it began with: with
    another the next begins. So it does whatever the budget holds where a boot or a policy ends, or the run: what it
    must hold back for the latter it does, the others are a debt.

    Args:
        spool: Where the episodes go.
        manifest: An OPEN as those of the recorder.
        bytes_per_s: Of files, over captured time. 0: nothing is traced.
        documents: Policies by their version.
        chunk_rows: How many rows wait at most; what a crash loses.
        left: The file in which what is left of the budget survives restarts.

    Raises:
        ConfigError: a sensor's stream has a name that is the trace's.
    """

    def __init__(
        self,
        spool: Spool,
        manifest: Open,
        *,
        bytes_per_s: float,
        documents: Mapping[str, Mapping[str, Any]] | None = None,
        chunk_rows: int = CHUNK_ROWS,
        episode_ns: int = EPISODE_NS,
        left: Path | None = None,
    ) -> None:
        for entry in manifest.streams:
            if entry.spec.name.startswith(PREFIX):
                raise ConfigError(f"stream {entry.spec.name!r}: the trace's streams are called so; rename the sensor")
        self._spool, self._manifest = spool, manifest
        self._on = bytes_per_s > 0
        self.documents = {version: dict(document) for version, document in (documents or {}).items()}
        self._bucket = TraceBucket(bytes_per_s, left)
        self._episode_ns = episode_ns
        self._waiting = TraceRows(chunk_rows)
        self._layout, self._about = Layout(), About()
        self._form: TraceForm | None = None
        self._file: TraceFile | None = None
        self._unsealed: list[tuple[TraceFile, Reason]] = []
        self._last: Judged | None = None
        self._trouble = ""
        self.status = TraceStatus()

    def log(self, judged: Judged) -> None:
        """Remember a unit."""
        if not self._on:
            return
        last, unit = self._last, judged.unit
        goes_on = last is not None and unit.boot == last.unit.boot and unit.start_ns >= last.unit.start_ns
        if not goes_on or judged.decision.policy != self._about.policy:
            self._begin_other(judged, goes_on)
        passed_ns = unit.end_ns - last.unit.end_ns if last is not None and goes_on else unit.length_ns
        self._bucket.earn(max(passed_ns, 0))
        form = self._formed(judged)
        if last is None:
            self._bucket.begin(unit)
        self._last = judged
        self._waiting.add(judged)
        self.status.units += 1
        if self._waiting.full and self._affords(form):
            self._write()
        self._seal_what_is_due(form)
        self.status.waiting = self._waiting.units

    def stop(self) -> None:
        """No more units come: what waits is written, and what is open is sealed. What the disk does not take is lost,
        and said."""
        for pause_s in (0.0, *LAST_PAUSES_S):
            time.sleep(pause_s)
            if self._finish():
                break
            self._spool.room.release_reserve()
        self._lose()
        self.status.waiting = 0

    def _finish(self) -> bool:
        """Write and seal all; whether all is."""
        if len(self._waiting) and not self._write(last=True):
            return False
        self._end("complete")
        return not self._unsealed

    def _begin_other(self, judged: Judged, goes_on: bool) -> None:
        """What comes is of another boot or policy, or the clock was set back: what waits is of the one before."""
        if len(self._waiting) and not self._write():
            self._lose()
        self._end("complete" if goes_on else "clock_reset")
        unit, policy = judged.unit, judged.decision.policy
        same_boot = self._last is not None and unit.boot == self._last.unit.boot
        resets = self._about.resets + (not goes_on) if same_boot else 0
        document = self.documents.get(policy, {})
        self._about = About(boot=unit.boot, resets=resets, policy=policy, document=document)
        self._form = None

    def _formed(self, judged: Judged) -> TraceForm:
        """How rows are stored from now on: with room for all that this unit shows too."""
        row = TraceRow(judged=judged)
        if self._form is not None and self._layout.holds(row):
            return self._form
        wide = self._layout.widened([row])
        sizes = {name: size for name, size, _ in self._layout.looks}
        other_size = any(size != sizes.get(name, size) for name, size, _ in wide.looks)
        if other_size and len(self._waiting) and not self._write():
            self._lose()  # they go with no descriptor of another size
        self._layout = wide
        form = self._form = TraceForm(self._manifest, wide, self._about, self._waiting.most)
        least = 2 * (form.seal_bytes + form.chunk_bytes([*self._waiting.rows, row])) + form.open_bytes
        self._bucket.require(least, fill=self._last is None)
        return form

    def _affords(self, form: TraceForm) -> bool:
        """Whether the budget has what a chunk costs, and then still what the end of the run does."""
        chunk = cost = form.chunk_bytes(self._waiting.rows)
        if self._file is None or self._file.form is not form:
            cost += form.open_bytes + (0 if self._file is None else self._file.form.seal_bytes)
        return self._bucket.level - cost >= chunk + form.seal_bytes

    def _seal_what_is_due(self, form: TraceForm) -> None:
        self._retry()
        file, last = self._file, self._last
        if file is None or last is None or not file.rows:
            return
        if last.unit.end_ns - file.start_ns < self._episode_ns and file.rows < MAX_ROWS:
            return
        each = form.open_bytes + form.seal_bytes
        short = self._bucket.level < self._bucket.capacity / 2
        worth = not short or file.written >= OVERHEAD * each
        if worth and self._bucket.level - file.form.seal_bytes >= each + form.chunk_bytes(self._waiting.rows):
            if len(self._waiting) and file.form is form and self._affords(form):
                self._write()
            self._end("complete")

    def _write(self, *, last: bool = False) -> bool:
        """Write all that waits; False if the spool does not take it, and it waits on. The `last` goes into what is open
        though it is full, as its SEAL does."""
        rows, form = self._waiting.rows, self._form
        if form is None:
            return False
        try:
            if not last:
                self._spool.require(form.open_bytes + form.chunk_bytes(rows))
            if self._file is not None and (self._file.full or self._file.form is not form):
                self._end("complete")
            if self._file is None:
                self._file = TraceFile(self._spool, form, rows[0].start_ns)
            self._file.write(rows)
        except SpoolError as error:
            self._complain(error)
            return False
        finally:
            self._book(self._file)
        self._trouble = ""
        self._waiting.clear()
        self.status.rows += len(rows)
        return True

    def _end(self, reason: Reason) -> None:
        """Nothing more comes into the open episode."""
        if self._file is not None:
            self._unsealed.append((self._file, reason))
            self._file = None
        self._retry()

    def _retry(self) -> None:
        """Seal what is to be sealed; what the disk does not let us is tried again."""
        while self._unsealed:
            file, reason = self._unsealed[0]
            try:
                file.seal(reason)
            except SpoolError as error:
                self._complain(error)
                return
            self._book(file)
            del self._unsealed[0]

    def _lose(self) -> None:
        """What waits has no place."""
        n, form = len(self._waiting), self._form
        if not n or form is None:
            return
        log.error("trace: %d units are lost: %s", self._waiting.units, self._trouble)
        for entry in form.entries:
            lost = Tally()
            lost.count("spool_full", n)
            self._spool.account.enter(entry.spec.name, n)
            self._spool.account.between(entry.spec.name, lost)
        self.status.lost += self._waiting.units
        self._waiting.clear()

    def _book(self, file: TraceFile | None) -> None:
        size = 0 if file is None else file.take_written()
        self._bucket.spend(size, None if self._last is None else self._last.unit)
        self.status.bytes += size

    def _complain(self, error: SpoolError) -> None:
        if not self._trouble:
            log.warning("trace: units wait: %s", error)
        self._trouble = str(error)
