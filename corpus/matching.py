"""The episodes that match a condition, each read from the catalog when it is asked for: of many that is soon enough."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from sensorium.corpus.episode import Episode
from sensorium.corpus.finding import Finder
from sensorium.errors import StoreError

OPENED = 64
"""So many are kept, of those that were asked for last."""


class CatalogEpisodes:
    """Episodes by their ids, as the catalog has them when they are asked for; the last of them are kept."""

    def __init__(self, store: Path, finder: Finder, version: int) -> None:
        self._store, self._finder, self._version = store, finder, version
        self.of = functools.lru_cache(OPENED)(self._of)

    def _of(self, episode: str) -> Episode:
        rows = self._finder.by_id(episode)
        if not rows:
            raise StoreError(f"{self._store}: episode {episode} is no longer in it; query again")
        return Episode(self._store, rows[0], self._version)


class Matching(Sequence[Episode]):
    """Episodes in the order of their `ids`; what is committed later is not among them."""

    def __init__(self, known: CatalogEpisodes, ids: Sequence[str]) -> None:
        self._known, self._ids = known, ids

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
        return self._known.of(self._ids[at])
