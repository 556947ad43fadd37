"""Batching: the rows of a recording become blocks, cut where time steps back and where samples are missing."""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator
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


def rows_source(stream: str, captured_ns: Stamps, data: Samples, lost_before: Stamps) -> Source:
    """A source over a whole stream in memory: `captured_ns` int64 [n], `data` [n, ...], `lost_before` int64 [n + 1].

    `lost_before[i]` samples are missing just before row i, `lost_before[n]` after the last. A loss begins a new block.
    """
    starts = {start for start, _ in batches(captured_ns)} | set(np.flatnonzero(lost_before).tolist()) - {len(data)}
    bounds = [*sorted(starts), len(data)]
    last_ns = 0
    for start, stop in itertools.pairwise(bounds):
        last_ns = int(captured_ns[stop - 1])
        yield last_ns, Block(stream, captured_ns[start:stop], data[start:stop], int(lost_before[start]))
    if lost_before[-1]:
        yield last_ns, Block(stream, captured_ns[:0], data[:0], int(lost_before[-1]))


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

    def lose(self, stream: str, count: int = 1) -> None:
        """`count` samples of `stream` are missing here."""
        self._rows[stream].lose(count)

    def flush(self) -> list[Due]:
        """Everything gathered so far."""
        return list(heapq.merge(*[rows.take() for rows in self._rows.values()], key=itemgetter(0)))

    def end(self) -> list[Due]:
        """Everything gathered so far, and the losses that no sample follows."""
        return self.flush() + [due for rows in self._rows.values() for due in rows.end()]


class _Rows:
    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        self._stamps: list[int] = []
        self._samples: list[object] = []
        self._lost_before = 0
        self._lost = 0
        self._last_ns = 0
        self._cut: list[Due] = []

    def add(self, stamp_ns: int, sample: object) -> None:
        if self._lost or (self._stamps and stamp_ns < self._last_ns):
            self._close()
            self._lost_before, self._lost = self._lost, 0
        self._stamps.append(stamp_ns)
        self._samples.append(sample)
        self._last_ns = stamp_ns

    def lose(self, count: int) -> None:
        self._lost += count

    def take(self) -> list[Due]:
        self._close()
        taken, self._cut = self._cut, []
        return taken

    def end(self) -> list[Due]:
        if not self._lost:
            return []
        none = np.empty((0, *self._spec.shape), self._spec.dtype)
        return [(self._last_ns, Block(self._spec.name, np.empty(0, np.int64), none, self._lost))]

    def _close(self) -> None:
        if self._stamps:
            data = np.array(self._samples, self._spec.dtype)
            block = Block(self._spec.name, np.array(self._stamps, np.int64), data, self._lost_before)
            self._cut.append((self._last_ns, block))
            self._stamps, self._samples, self._lost_before = [], [], 0
