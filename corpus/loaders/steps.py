"""Who reads what: an epoch from a position on in steps of all ranks, of which each takes its part."""

from collections.abc import Iterator
from typing import NamedTuple

from sensorium.errors import ConfigError


class LoaderStep(NamedTuple):
    """What one rank reads in a step, and at which position the next one begins, for all ranks."""

    positions: range
    after: int


class Steps:
    """The steps of rank `rank` of `ranks`, from position `begin` on. A step takes `batch_size` neighbouring windows for
    each rank; the last may have fewer, divided evenly, so that some ranks have one less, or none; with `drop_last` such
    a step is not taken.

    >>> [step.positions for step in Steps(0, 10, batch_size=2, rank=1, ranks=2)]
    [range(2, 4), range(6, 8), range(9, 10)]
    >>> [step.after for step in Steps(4, 10, batch_size=1)]
    [5, 6, 7, 8, 9, 10]
    """

    def __init__(
        self, begin: int, total: int, *, batch_size: int, rank: int = 0, ranks: int = 1, drop_last: bool = False
    ) -> None:
        if batch_size < 1 or not 0 <= rank < ranks:
            raise ConfigError(
                f"batches of {batch_size}, rank {rank} of {ranks}: expected 1 or more, and a rank from 0 to {ranks - 1}"
            )
        self._begin, self._total = begin, total
        self._batch_size, self._rank, self._ranks = batch_size, rank, ranks
        left, size = max(0, total - begin), batch_size * ranks
        self._count = left // size if drop_last else -(-left // size)
        if self._count and not self[self._count - 1].positions:
            self._count -= 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[LoaderStep]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> LoaderStep:
        if not 0 <= number < self._count:
            raise IndexError(number)
        first = self._begin + number * self._batch_size * self._ranks
        count = min(self._batch_size * self._ranks, self._total - first)
        low, high = (-(-rank * count // self._ranks) for rank in (self._rank, self._rank + 1))
        return LoaderStep(range(first + low, first + high), first + count)
