"""The plan of an epoch: which window stands at each position, from snapshots, seed and epoch alone."""

import functools
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium.corpus.loaders.quotas import Mix
from sensorium.corpus.loaders.snapshot import CorpusSnapshot
from sensorium.corpus.order import Numbers, Shuffle
from sensorium.errors import ConfigError

EXHAUSTED = ("repeat", "end")
"""What becomes of an epoch when a query has no more windows: it begins again until each has had all of its, in another
order; or the epoch ends."""


class WindowPlaces(NamedTuple):
    """Windows: the query of each, the row of its episode in the query's snapshot, and its start therein; int64 [n]."""

    queries: Numbers
    episodes: Numbers
    starts_ns: Numbers


class EpochPlan:
    """Whole windows of `length_ns`, each `stride_ns` from an episode's start, in an order without end of each epoch.

    `parts` are the queries' shares. Nothing here depends on who reads which of them.
    """

    def __init__(
        self,
        snapshots: Sequence[CorpusSnapshot],
        length_ns: int,
        stride_ns: int,
        parts: tuple[int, ...] = (1,),
        exhausted: str = EXHAUSTED[0],
        seed: int = 0,
    ) -> None:
        self.snapshots, self.length_ns, self.stride_ns = tuple(snapshots), length_ns, stride_ns
        self.exhausted, self.seed = exhausted, seed
        self._mix = Mix(parts)
        counts = [np.maximum((each.spans_ns - length_ns) // stride_ns + 1, 0) for each in self.snapshots]
        self._firsts = [np.concatenate(([0], np.cumsum(each))).astype(np.int64) for each in counts]
        self.windows = tuple(int(each[-1]) for each in self._firsts)
        if len(parts) > 1 and not all(self.windows):
            empty = self.windows.index(0)
            raise ConfigError(f"query {empty} of {len(parts)} finds no window: nothing can be mixed in its share")

    @functools.cached_property
    def digest(self) -> str:
        """What names the snapshots."""
        return hashlib.blake2b(" ".join(each.digest for each in self.snapshots).encode(), digest_size=16).hexdigest()

    @functools.cached_property
    def total(self) -> int:
        """How many windows an epoch has."""
        if not all(self.windows):
            return 0
        if self.exhausted == "end":
            return min(self._mix.position(query, count) for query, count in enumerate(self.windows))
        return 1 + max(self._mix.position(query, count - 1) for query, count in enumerate(self.windows))

    def at(self, epoch: int, positions: Numbers) -> WindowPlaces:
        """The windows at `positions`, int64 [n] below `total`."""
        queries, turns = self._mix.at(positions)
        episodes, starts_ns = np.zeros_like(turns), np.zeros_like(turns)
        again, within = np.divmod(turns, np.array(self.windows, np.int64)[queries])
        for query, time in sorted(set(zip(queries.tolist(), again.tolist(), strict=True))):
            mine = (queries == query) & (again == time)
            key = f"{self.digest} {self.seed} {epoch} {query} {time}".encode()
            windows = Shuffle(self.windows[query], key).at(within[mine])
            firsts = self._firsts[query]
            rows = np.searchsorted(firsts, windows, "right") - 1
            episodes[mine], starts_ns[mine] = rows, (windows - firsts[rows]) * self.stride_ns
        return WindowPlaces(queries, episodes, starts_ns)
