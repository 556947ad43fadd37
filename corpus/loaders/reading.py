"""One batch read: each window straight into its place in the stack; what is damaged is raised, or left out and told."""

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.loaders.batch import Batch, Skipped, Stack, collate, one_shape
from sensorium.corpus.loaders.memory import BatchMemory
from sensorium.corpus.loaders.plan import EpochPlan
from sensorium.corpus.loaders.steps import LoaderStep
from sensorium.corpus.stream import Samples, Stream
from sensorium.corpus.within import Reading
from sensorium.errors import Corrupt

OPEN_EPISODES = 64
DAMAGED = ("raise", "skip")


class Episodes(Protocol):
    """A `Corpus`, which says what this does."""

    def episodes(self, ids: Sequence[str]) -> dict[str, Episode]: ...


@dataclass(frozen=True)
class How:
    """What is read of a window, and whether what is `damaged` is raised or skipped."""

    streams: tuple[str, ...]
    damaged: str = DAMAGED[0]
    reading: Reading = field(default_factory=Reading)


class _RowsOf(NamedTuple):
    """Rows of a stream, which a window has."""

    stream: Stream
    first: int
    last: int


class _Window(NamedTuple):
    """A window that is to be read, or why it cannot be."""

    episode: str
    start_ns: int
    opened: Episode | None
    parts: dict[str, _RowsOf]
    why: Corrupt | None


class ComingBatch:
    """A batch on its way: `jobs` read it, in any order and in any threads; then `batch` is whole."""

    def __init__(self, windows: Sequence[_Window], queries: Sequence[int], length_ns: int, how: How) -> None:
        self._windows, self._queries, self._length_ns, self._how = windows, queries, length_ns, how
        self._whys = [each.why for each in windows]
        self._samples: list[Mapping[str, Samples]] = [{} for _ in windows]
        self._stacks: dict[str, Stack] = {}

    def make_room(self, memory: BatchMemory) -> None:
        """BatchMemory for what is as long as it is in the episode; what is aligned finds its own."""
        whole = [row for row, why in enumerate(self._whys) if why is None]
        if self._how.reading.grid is not None or not whole:
            return
        for name in self._how.streams:
            parts = [self._windows[row].parts[name] for row in whole]
            divide = self._how.reading.shrink.get(name, 1)
            shape, dtype = one_shape(name, ((_shape(part.stream, divide), part.stream.dtype) for part in parts))
            size = len(self._windows), max(part.last - part.first for part in parts)
            kinds = (dtype, np.dtype(np.bool_), np.dtype(np.int64))
            data, present, stamps = (
                memory.take((*size, *more), kind) for more, kind in zip((shape, (), ()), kinds, strict=True)
            )
            self._stacks[name] = Stack(data, present, stamps)

    @property
    def jobs(self) -> list[Callable[[], None]]:
        return [functools.partial(self._read, row) for row, why in enumerate(self._whys) if why is None]

    def batch(self, epoch: int, after: int) -> Batch:
        """What was read, without what could not be.

        Raises:
            Corrupt: a window is damaged or gone, and that is to be raised.
        """
        first = next((why for why in self._whys if why is not None), None)
        if first is not None and self._how.damaged == "raise":
            raise first
        bad = [row for row, why in enumerate(self._whys) if why is not None]
        good = [row for row, why in enumerate(self._whys) if why is None]
        stacks: Mapping[str, Stack] = self._stacks
        if self._how.reading.grid is not None:
            stacks = collate([self._samples[row] for row in good])
        elif bad:
            stacks = {name: stack.only(good) for name, stack in self._stacks.items() if good}
        starts_s = np.array([self._windows[row].start_ns / 1e9 for row in good], np.float64)
        queries = np.array([self._queries[row] for row in good], np.int64)
        ids = tuple(self._windows[row].episode for row in good)
        skipped = tuple(
            Skipped(self._windows[row].episode, self._windows[row].start_ns / 1e9, str(self._whys[row])) for row in bad
        )
        return Batch(ids, starts_s, queries, stacks, epoch, after, skipped)

    def _read(self, row: int) -> None:
        window = self._windows[row]
        try:
            if self._how.reading.grid is not None and window.opened is not None:
                start_ns = window.opened.start_ns + window.start_ns
                end_ns = start_ns + self._length_ns
                self._samples[row] = window.opened.read(start_ns, end_ns, self._how.streams, self._how.reading)
                return
            for name, (stream, first, last) in window.parts.items():
                data, present, stamps = (array[row] for array in self._stacks[name])
                count = last - first
                stream.read(first, last, shrink=self._how.reading.shrink.get(name, 1), out=data[:count])
                stamps[:count] = stream.captured_ns[first:last]
                data[count:], present[:count], present[count:], stamps[count:] = 0, True, False, 0
        except Corrupt as error:
            self._whys[row] = error


class BatchReader:
    """Finds the windows of a plan in a corpus. It keeps little of what it has opened, and any thread may use it."""

    def __init__(self, corpus: Episodes, plan: EpochPlan, how: How, memory: BatchMemory) -> None:
        self._corpus, self._plan, self._how, self._memory = corpus, plan, how, memory
        self._opened: OrderedDict[str, Episode] = OrderedDict()
        self._guard = threading.Lock()

    def located(self, epoch: int, step: LoaderStep) -> ComingBatch:
        """The windows of a step, found, and memory for them."""
        places = self._plan.at(epoch, np.array(step.positions, np.int64))
        queries = places.queries.tolist()
        rows = zip(queries, places.episodes.tolist(), strict=True)
        ids = [self._plan.snapshots[query].id(row) for query, row in rows]
        opened = self._open(ids)
        starts_ns = places.starts_ns.tolist()
        windows = [self._window(each, opened.get(each), at) for each, at in zip(ids, starts_ns, strict=True)]
        pending = ComingBatch(windows, queries, self._plan.length_ns, self._how)
        pending.make_room(self._memory)
        return pending

    def _open(self, ids: Sequence[str]) -> dict[str, Episode]:
        with self._guard:
            found = {each: self._opened[each] for each in ids if each in self._opened}
        absent = sorted(set(ids) - found.keys())
        made = self._corpus.episodes(absent) if absent else {}
        with self._guard:
            self._opened.update(made)
            for each in (*found, *made):
                with contextlib.suppress(KeyError):
                    self._opened.move_to_end(each)
            while len(self._opened) > OPEN_EPISODES:
                self._opened.popitem(last=False)
        return found | made

    def _window(self, episode: str, opened: Episode | None, start_ns: int) -> _Window:
        parts = {}
        try:
            if opened is None:
                raise Corrupt(f"episode {episode}: no longer in the store; damaged='skip' leaves it out")
            span_ns = np.array([start_ns, start_ns + self._plan.length_ns]) + opened.start_ns
            for name in self._how.streams:
                if name not in opened.streams:
                    raise Corrupt(f"episode {episode}: stream {name!r} is missing; run `sensorium verify`")
                stream = opened.streams[name]
                first, last = np.searchsorted(stream.captured_ns, span_ns, "left").tolist()
                parts[name] = _RowsOf(stream, first, last)
        except Corrupt as error:
            return _Window(episode, start_ns, None, {}, error)
        return _Window(episode, start_ns, opened, parts, None)


def _shape(stream: Stream, divide: int) -> tuple[int, ...]:
    """Of one sample, its first sides divided."""
    sides: Sequence[Any] = stream.spec.shape
    return (*(-(-side // divide) for side in sides[:2]), *sides[2:])
