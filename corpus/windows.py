"""Windows over many episodes: each whole one once, or one around each event, in an order that a seed alone decides."""

import functools
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.corpus.episode import Episode
from sensorium.corpus.joined import Gaps, Joined
from sensorium.corpus.order import Shuffle
from sensorium.corpus.stream import Samples
from sensorium.corpus.utc import UtcMapping
from sensorium.corpus.within import Reading
from sensorium.drivers.stream import Stamps
from sensorium.episode.documents import Note
from sensorium.errors import ConfigError

OPEN_EPISODES = 64


class Window(NamedTuple):
    """A stretch of a device's clock, [start_ns, end_ns): it begins `start_s` after the episode `episode` does.

    `gaps` are its parts that no episode holds that was read; `note` is the event that it is around, `utc` how the
    device's clock stands to UTC at its two ends, where it was asked for so.
    """

    episode: str
    start_s: float
    samples: dict[str, Samples]
    device: str = ""
    start_ns: int = 0
    end_ns: int = 0
    gaps: Gaps = ()
    note: Note | None = None
    utc: UtcMapping | None = None


class WindowPlace(NamedTuple):
    """Where a window is: it begins at `start_ns` of what is number `source` of those that are read."""

    source: int
    start_ns: int
    note: Note | None = None


NO_TIME, NOTHING_CAPTURED = "no place in time", "nothing captured"
"""Why an event has no window."""


class NoPlace(NamedTuple):
    """That an event has no window, and why; of one that has its window elsewhere it does not say."""

    why: str = ""


MOST_SHUFFLED = 100_000_000
"""Windows of one pass."""
_ORDERED = 256
"""Windows whose place in the order is found at once: of many thousands all would take longer than the first is read."""
BoundsNs = tuple[Stamps, Stamps]
"""Where some spans of time begin, and where they end: int64 [n] each."""


def check_count(counts: npt.NDArray[np.int64], most: int) -> None:
    """Raise `ConfigError` for more windows than anybody goes through, as of a stride that was meant in another unit."""
    if (count := float(counts.sum(dtype=np.float64))) > most:
        raise ConfigError(f"{count:.3g} windows, expected at most {most:.0e}: give a greater stride_s")


def check_rows(out: Mapping[str, npt.NDArray[Any]], batch_size: int) -> None:
    """Raise `ConfigError` unless each of `out` has a row for each window of a batch."""
    for name, memory in out.items():
        if not memory.ndim or len(memory) < batch_size:
            raise ConfigError(f"out[{name!r}]: {list(memory.shape)}, expected [{batch_size}, n, ...]: a row a window")


class Strided:
    """The places of every whole window of some spans of time, which begin each `stride_ns` from each span's start."""

    def __init__(self, bounds_ns: BoundsNs, length_ns: int, stride_ns: int) -> None:
        self._starts_ns, ends_ns = bounds_ns
        self._stride_ns = stride_ns
        counts = np.maximum((ends_ns - self._starts_ns - length_ns) // stride_ns + 1, 0)
        check_count(counts, MOST_SHUFFLED)
        self._firsts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, number: int) -> WindowPlace:
        source = int(np.searchsorted(self._firsts, number, "right")) - 1
        begins_ns = int(self._starts_ns[source]) + (number - int(self._firsts[source])) * self._stride_ns
        return WindowPlace(source, begins_ns)


class WindowPass(Iterator[list[Window]]):
    """Batches of windows, one after the other; `left_out` counts the events so far that have none, by why."""

    def __init__(self, batches: Generator[list[Window]], left_out: Counter[str]) -> None:
        self._batches, self.left_out = batches, left_out

    def __next__(self) -> list[Window]:
        return next(self._batches)

    def close(self) -> None:
        """Let go of what was opened; there are no more."""
        self._batches.close()


def windows_in_batches(
    sources: Sequence[Episode] | Sequence[Joined],
    places: Strided | Sequence[WindowPlace | NoPlace],
    length_ns: int,
    streams: Sequence[str],
    batch_size: int,
    seed: int,
    reading: Reading,
) -> WindowPass:
    """The windows of `places`, once each. Each of a batch has its own row of what `reading.out` has of a stream, and so
    the next batch (`check_rows`)."""
    left_out: Counter[str] = Counter()
    return WindowPass(_in_batches(sources, places, length_ns, streams, batch_size, seed, reading, left_out), left_out)


def _in_batches(
    sources: Sequence[Episode] | Sequence[Joined],
    places: Strided | Sequence[WindowPlace | NoPlace],
    length_ns: int,
    streams: Sequence[str],
    batch_size: int,
    seed: int,
    reading: Reading,
    left_out: Counter[str],
) -> Generator[list[Window]]:
    order = Shuffle(len(places), f"windows {seed}".encode())
    # What an episode has read is let go when others were used since: a pass over a large corpus keeps little.
    opened = functools.lru_cache(OPEN_EPISODES)(Episode.reopened)
    batch: list[Window] = []
    has_any = False
    for number in _in_order(order):
        place = places[number]
        if isinstance(place, NoPlace):
            left_out.update([place.why] if place.why else [])
            continue
        source, row = sources[place.source], len(batch)
        into = replace(reading, out={name: memory[row] for name, memory in reading.out.items()})
        window = _window(source, place, place.start_ns + length_ns, streams, into, opened)
        if window is None:
            left_out[NOTHING_CAPTURED] += 1
            continue
        has_any = True
        batch.append(window)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch
    if not has_any and left_out[NO_TIME] and not left_out[NOTHING_CAPTURED]:
        raise ConfigError(
            f"none of the {left_out[NO_TIME]} such events has a place in time, so nothing is around one; the condition"
            " event(...) finds their episodes"
        )


def _in_order(order: Shuffle) -> Iterator[int]:
    for first in range(0, order.count, _ORDERED):
        yield from order.at(np.arange(first, min(first + _ORDERED, order.count))).tolist()


def _window(
    source: Episode | Joined,
    place: WindowPlace,
    end_ns: int,
    streams: Sequence[str],
    reading: Reading,
    opened: Callable[[Episode], Episode],
) -> Window | None:
    """The window at a place; None of one of which no episode has a part."""
    start_ns = place.start_ns
    if isinstance(source, Episode):
        samples = opened(source).read(start_ns, end_ns, streams, reading)
        return Window(source.id, (start_ns - source.start_ns) / 1e9, samples, source.device, start_ns, end_ns)
    near = source.near(start_ns, end_ns)
    if next(near.over(start_ns, end_ns), None) is None:
        return None
    samples = Joined([opened(each) for each in near.episodes]).read(start_ns, end_ns, streams, reading)
    first = near.first(start_ns, end_ns)
    gaps = near.gaps(start_ns, end_ns)
    start_s = (start_ns - first.start_ns) / 1e9
    return Window(first.id, start_s, samples, first.device, start_ns, end_ns, gaps, place.note)
