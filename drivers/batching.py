"""Batching: the rows of a recording become blocks, cut where time steps back and where samples are missing."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter

import numpy as np

from sensorium.drivers.pacing import Due, Source
from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec

BLOCK_NS = 50_000_000
"""Blocks of sampled streams span at most this much time (one sample at least), as a live driver would batch them."""

_FAR_BACK_NS = 1_000_000_000


def batches(captured_ns: Stamps, span_ns: int = BLOCK_NS) -> list[tuple[int, int]]:
    """Cut rows into runs (start, stop) that each span less than `span_ns` and in which stamps never step back.

    >>> batches(np.array([0, 10, 60, 70, 5], np.int64), 50)
    [(0, 2), (2, 4), (4, 5)]
    """
    bounds = [0, *(np.flatnonzero(np.diff(captured_ns) < 0) + 1).tolist(), len(captured_ns)]
    runs = []
    for start, stop in itertools.pairwise(bounds):
        while start < stop:
            end = start + int(np.searchsorted(captured_ns[start:stop], captured_ns[start] + span_ns))
            runs.append((start, end))
            start = end
    return runs


def estimate_rate_hz(stamps: Stamps) -> float | None:
    """The rate of the median interval of int64 [n] stamps, to four digits; None below three rows."""
    interval_ns = float(np.median(np.diff(stamps))) if len(stamps) > 2 else 0.0
    return float(f"{1e9 / interval_ns:.4g}") if interval_ns > 1 else None


def rows_source(
    stream: str,
    captured_ns: Stamps,
    data: Samples,
    lost_before: Stamps,
    lost_at: Sequence[tuple[int, int]] = (),
) -> Source:
    """A source over a whole stream in memory: `captured_ns` int64 [n], `data` [n, ...], `lost_before` int64 [n + 1].

    `lost_before[i]` samples are missing just before row i, `lost_before[n]` after the last, beside those of `lost_at`,
    (row that follows, stamp). A loss begins a new block.
    """
    losses = Losses(stream, data[:0])
    placed: dict[int, list[int]] = {}
    for row, at_ns in lost_at:
        placed.setdefault(row, []).append(at_ns)
    starts = {start for start, _ in batches(captured_ns)} | set(np.flatnonzero(lost_before).tolist()) | placed.keys()
    for start, stop in itertools.pairwise([*sorted(starts - {len(data)}), len(data)]):
        for at_ns in placed.get(start, ()):
            losses.lose(1, at_ns)
        losses.lose(int(lost_before[start]), None)
        lost, alone = losses.before(int(captured_ns[start]))
        yield from alone
        yield int(captured_ns[stop - 1]), Block(stream, captured_ns[start:stop], data[start:stop], lost)
        losses.passed(int(captured_ns[stop - 1]))
    for at_ns in placed.get(len(data), ()):
        losses.lose(1, at_ns)
    losses.lose(int(lost_before[-1]), None)
    yield from losses.rest()


def to_the_end(read: Iterator[Due], end: Callable[[], Iterable[Due]]) -> Source:
    """The blocks of `read` and then those of `end()`, also where `read` fails: what was read before that is good."""
    try:
        yield from read
    except Exception:
        yield from end()
        raise
    yield from end()


class Batcher:
    """Rows of several streams, as a file has them one after the other, gathered until they span `BLOCK_NS`.

    Streams need not agree in rate. Their stamps may be out of step by up to a second; beyond that, time was reset.
    """

    def __init__(self, specs: Iterable[StreamSpec]) -> None:
        self._rows = {spec.name: _Rows(spec) for spec in specs}
        self._start_ns: int | None = None

    def add(self, stream: str, stamp_ns: int, sample: object) -> Iterator[Due]:
        """Take one sample of `stream`; what was gathered before comes out, in the order it is due, if it is enough."""
        if self._start_ns is None or not -_FAR_BACK_NS < stamp_ns - self._start_ns < BLOCK_NS:
            yield from self.flush()
            self._start_ns = stamp_ns
        self._rows[stream].add(stamp_ns, sample)

    def lose(self, stream: str, count: int = 1, at_ns: int | None = None) -> None:
        """`count` samples of `stream` are missing here; they had the stamp `at_ns`, if that can be told."""
        self._rows[stream].losses.lose(count, at_ns)

    def flush(self) -> list[Due]:
        """Everything gathered so far."""
        return list(heapq.merge(*[rows.take() for rows in self._rows.values()], key=itemgetter(0)))

    def end(self) -> list[Due]:
        """Everything gathered so far, and the losses that no sample follows."""
        return self.flush() + [due for rows in self._rows.values() for due in rows.losses.rest()]


class Losses:
    """Of one stream: what is missing since its last row, until the next one, or the end, tells where it belongs.

    A stamp is taken at its word between the rows around it, so that one which cannot be right moves nothing else.
    `nothing` is no samples of the stream, [0, ...].
    """

    def __init__(self, stream: str, nothing: Samples) -> None:
        self._stream = stream
        self._nothing = nothing
        self._unplaced = 0
        self._placed: list[tuple[int, int]] = []
        self._last_ns: int | None = None

    def lose(self, count: int, at_ns: int | None) -> None:
        """`count` samples are missing here, with the stamp `at_ns`, if that can be told."""
        if at_ns is None or not abs(at_ns) < 2**63:
            self._unplaced += count
        else:
            self._placed.append((at_ns, count))

    def __bool__(self) -> bool:
        return bool(self._unplaced or self._placed)

    def before(self, stamp_ns: int) -> tuple[int, list[Due]]:
        """How many are missing just before a row at `stamp_ns`, and those that have a stamp of their own."""
        lost, alone = self._unplaced, self._alone(stamp_ns)
        self._unplaced, self._placed = 0, []
        return lost, alone

    def passed(self, stamp_ns: int) -> None:
        """A row with this stamp has come."""
        self._last_ns = stamp_ns

    def rest(self) -> list[Due]:
        """What no row follows."""
        lost, alone = self._unplaced, self._alone(None)
        due_ns = max((due for due, _ in alone), default=self._last_ns or 0)
        self._unplaced, self._placed = 0, []
        return [*alone, *([(due_ns, self._block(lost))] if lost else [])]

    def _alone(self, limit_ns: int | None) -> list[Due]:
        alone: list[Due] = []
        due_ns = self._last_ns
        for at_ns, count in self._placed:
            at_ns = at_ns if self._last_ns is None else max(at_ns, self._last_ns)
            at_ns = at_ns if limit_ns is None else min(at_ns, limit_ns)
            due_ns = at_ns if due_ns is None else max(due_ns, at_ns)
            alone.append((due_ns, self._block(count, at_ns)))
        return alone

    def _block(self, lost: int, at_ns: int | None = None) -> Block:
        return Block(self._stream, np.empty(0, np.int64), self._nothing, lost, lost_at_ns=at_ns)


class _Rows:
    def __init__(self, spec: StreamSpec) -> None:
        self.losses = Losses(spec.name, np.empty((0, *spec.shape), spec.dtype))
        self._spec = spec
        self._stamps: list[int] = []
        self._samples: list[object] = []
        self._lost_before = 0
        self._last_ns = 0
        self._cut: list[Due] = []

    def add(self, stamp_ns: int, sample: object) -> None:
        if self.losses or (self._stamps and stamp_ns < self._last_ns):
            self._close()
            self._lost_before, alone = self.losses.before(stamp_ns)
            self._cut += alone
        self._stamps.append(stamp_ns)
        self._samples.append(sample)
        self._last_ns = stamp_ns
        self.losses.passed(stamp_ns)

    def take(self) -> list[Due]:
        self._close()
        taken, self._cut = self._cut, []
        return taken

    def _close(self) -> None:
        if self._stamps:
            data = np.array(self._samples, self._spec.dtype)
            block = Block(self._spec.name, np.array(self._stamps, np.int64), data, self._lost_before)
            self._cut.append((self._last_ns, block))
            self._stamps, self._samples, self._lost_before = [], [], 0
