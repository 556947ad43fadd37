"""The episodes that match a condition, each read from the catalog when it is asked for: of many that is soon enough."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from sensorium.corpus.episode import Episode
from sensorium.corpus.finding import Finder
from sensorium.errors import StoreError

OPENED = 64
"""So many are kept, of those that were asked for last."""


class Matching(Sequence[Episode]):
    """In the order of their ids, those that have all of some streams; what is committed later is not among them.

    Raises:
        ConfigError: the condition is none, or no episode has one of the streams.
    """

    def __init__(self, store: Path, finder: Finder, version: int, where: str, streams: Sequence[str]) -> None:
        self._store, self._finder, self._version = store, finder, version
        found = finder.spans(where, streams)
        self._ids = [episode for episode, _, _ in found]
        self.bounds_ns = [(start_ns, end_ns) for _, start_ns, end_ns in found]
        self._opened = functools.lru_cache(OPENED)(self._open)

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, at: int) -> Episode: ...
    @overload
    def __getitem__(self, at: slice) -> list[Episode]: ...
    def __getitem__(self, at: int | slice) -> Episode | list[Episode]:
        """The episode.

        Raises:
            StoreError: the catalog no longer has it.
        """
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        return self._opened(self._ids[at])

    def __iter__(self) -> Iterator[Episode]:
        return iter(self.every())

    def every(self) -> list[Episode]:
        """All of them, but for those that the catalog no longer has."""
        return [Episode(self._store, row, self._version) for row in self._finder.by_ids(self._ids)]

    def _open(self, episode: str) -> Episode:
        rows = self._finder.by_id(episode)
        if not rows:
            raise StoreError(f"{self._store}: episode {episode} is no longer in it; query again")
        return Episode(self._store, rows[0], self._version)
