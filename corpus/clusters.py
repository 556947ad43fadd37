"""Clusters: all that was seen, kept or not, cut into parts by its looks, of which full episodes have some."""

from collections.abc import Mapping, Sequence

import numpy as np

from sensorium.corpus.appearance import Appearance
from sensorium.corpus.episode import Episode
from sensorium.corpus.kept import Kept
from sensorium.corpus.traces import TracedUnit, read_episode
from sensorium.drivers.described import Vectors
from sensorium.episode.trace_row import TraceRow
from sensorium.episode.unit import Look
from sensorium.errors import ConfigError, Corrupt, StoreError
from sensorium.perception.coverage import centres_of, nearest_of


class AllSeen:
    """Different looks by their maker: those of full episodes, and all others. How often each was seen plays no part."""

    def __init__(self, kept: Kept, full: Sequence[Episode]) -> None:
        self._kept = kept
        self._full = {each.id for each in full}
        self._had: dict[str, set[bytes]] = {}
        self._all: dict[str, set[bytes]] = {}

    def tell(self, traces: Sequence[Episode], looks: Sequence[tuple[Episode, Appearance]]) -> list[str]:
        """Traces tell of units, of which the store has those that were kept and are in its full episodes; an episode of
        which none tells, nor of another that looks the same, has each of its pictures, or what goes on in its rows.

        Returns what is wrong with those that cannot be read.
        """
        unreadable, told = [], set[str]()
        for episode in traces:
            try:
                _, rows = read_episode(episode.reopened())
            except (Corrupt, ConfigError, StoreError) as error:
                unreadable.append(str(error))
                continue
            told |= self._tell(episode, rows)
        alike = {(look.by, look.vector.tobytes()) for episode, look in looks if episode.id in told}
        for _, look in looks:
            if (look.by, look.vector.tobytes()) not in alike:  # a copy of one that is told of is none of its own
                self._put(look.by, {part.tobytes() for part in look.parts}, True)
        return unreadable

    def _tell(self, trace: Episode, rows: Sequence[TraceRow]) -> set[str]:
        """Returns the full episodes that hold units of a trace."""
        holding = set[str]()
        pictures = any(look.hashes for row in rows for look in row.judged.looks.values())
        for row in rows:
            unit = TracedUnit(judged=row.judged, device=trace.device, spool_id=str(trace.row["spool_id"]))
            had = {each.id for each in self._kept.episodes(unit)} if row.judged.decision.kept else set[str]()
            had &= self._full
            holding |= had
            for look in _looks(row, pictures):
                self._put(look.by, {look.vector}, bool(had))
        return holding

    def cells(self, count: int) -> tuple[int, int]:
        """How many cells full episodes have, and how many there are, where all looks are cut into `count`: looks of
        two makers, or two lengths, have nothing in common, so that each stands at right angles to the other."""
        everything, had = self._side_by_side(self._all), self._side_by_side(self._had)
        if not len(everything):
            return 0, 0
        centres = centres_of(everything, count)
        there = len(np.unique(nearest_of(centres, everything)))
        return (len(np.unique(nearest_of(centres, had))) if len(had) else 0), there

    def _side_by_side(self, of: Mapping[str, set[bytes]]) -> Vectors:
        """Looks int8 [n, d], those of each maker and length in columns of their own, of all that there are."""
        kinds = [(by, size) for by in sorted(self._all) for size in sorted({len(each) for each in self._all[by]})]
        width, first = sum(size for _, size in kinds), 0
        parts = [np.zeros((0, width), np.int8)]
        for by, size in kinds:
            vectors = _stacked(of.get(by, set()), size)
            parts.append(np.zeros((len(vectors), width), np.int8))
            parts[-1][:, first : first + size] = vectors
            first += size
        return np.concatenate(parts)

    def _put(self, by: str, vectors: set[bytes], had: bool) -> None:
        self._all.setdefault(by, set()).update(vectors)
        if had:
            self._had.setdefault(by, set()).update(vectors)


def _looks(row: TraceRow, pictures: bool) -> list[Look]:
    """A unit looks like its pictures where its trace has some, as an episode does; else like its rows."""
    return [look for look in row.judged.looks.values() if look.vector and (look.hashes or not pictures)]


def _stacked(vectors: set[bytes], size: int) -> Vectors:
    those = sorted(vector for vector in vectors if len(vector) == size)
    return np.frombuffer(b"".join(those), np.int8).reshape(len(those), size)
