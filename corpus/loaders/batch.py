"""A batch: windows stacked by stream, those that have fewer samples filled up, with a mask that says so."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.corpus.stream import Samples
from sensorium.errors import ConfigError


class Stack(NamedTuple):
    """One stream of b windows: `data` [b, n, *shape], `present` bool [b, n] and `captured_ns` int64 [b, n], where n is
    the most samples that one of them has. Where none is, `present` is False, data and stamp are 0."""

    data: npt.NDArray[Any]
    present: npt.NDArray[np.bool_]
    captured_ns: npt.NDArray[np.int64]

    def only(self, rows: Sequence[int]) -> "Stack":
        """A copy of some of its windows."""
        return Stack(self.data[rows], self.present[rows], self.captured_ns[rows])


class Skipped(NamedTuple):
    """A window that could not be read, and why."""

    episode: str
    start_s: float
    why: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Up to `batch_size` windows: `episodes` b ids, `start_s` float64 [b] after the episodes' starts, `queries` int64
    [b], and by stream their samples.

    `after` is the position that the epoch is at when all ranks have had this step; `skipped` are the windows of it that
    could not be read.
    """

    episodes: tuple[str, ...]
    start_s: npt.NDArray[np.float64]
    queries: npt.NDArray[np.int64]
    streams: Mapping[str, Stack]
    epoch: int
    after: int
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, stream: str) -> Stack:
        return self.streams[stream]


def collate(windows: Sequence[Mapping[str, Samples]]) -> dict[str, Stack]:
    """Windows as one stack for each stream, for a batch of `Corpus.windows` too: `collate([w.samples for w in batch])`.

    Raises:
        ConfigError: a stream has samples of several shapes or types.
    """
    stacks = {}
    for name in windows[0] if windows else ():
        samples = [each[name] for each in windows]
        shape, dtype = one_shape(name, ((each.data.shape[1:], each.data.dtype) for each in samples))
        most = max(len(each.data) for each in samples)
        stack = Stack(
            np.zeros((len(samples), most, *shape), dtype),
            np.zeros((len(samples), most), np.bool_),
            np.zeros((len(samples), most), np.int64),
        )
        for row, each in enumerate(samples):
            count = len(each.data)
            stack.data[row, :count] = each.data
            stack.present[row, :count] = True if each.present is None else each.present
            stack.captured_ns[row, :count] = each.captured_ns
        stacks[name] = stack
    return stacks


def one_shape(
    stream: str, kinds: Iterable[tuple[tuple[int, ...], np.dtype[Any]]]
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and type that all windows have of a stream; `ConfigError` where there are several."""
    found = dict.fromkeys(kinds)
    if len(found) > 1:
        several = " and ".join(f"{dtype} {list(shape)}" for shape, dtype in found)
        raise ConfigError(f"stream {stream!r}: {several} cannot be in one batch; ask for episodes of one of them")
    return next(iter(found))
