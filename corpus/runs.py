"""Runs of episodes that follow each other, told by the catalog: none is opened that is not read."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from sensorium.corpus.around import is_of
from sensorium.corpus.episode import Episode
from sensorium.corpus.joined import Joined, clock_of
from sensorium.corpus.matching import OPENED, CatalogEpisodes, Matching
from sensorium.corpus.placed import Placed
from sensorium.corpus.windows import NO_TIME, BoundsNs, NoPlace, WindowPlace
from sensorium.episode.documents import Note

Rows = npt.NDArray[np.int64]
Kinds = Sequence[Any]
"""Shape and dtype of some streams."""


def runs(
    placed: Placed,
    kinds: Mapping[int, Kinds],
    longest_gap_ns: int,
    opened: Callable[[str], Episode],
    streams: Sequence[str],
) -> Rows:
    """Where the runs of `placed`, which are in the order of runs, begin, and behind the last: int64 [runs + 1].

    Episodes of one follow each other with gaps below `longest_gap_ns`.

    Of two that do the device, the spool and the clock are the same, its boot too, and the source's own 0 where it says
    one; `streams` have the same shape and dtype, which `kinds` says by layout. What the catalog does not know is looked
    up.

    Raises:
        Corrupt: the document of one that is looked at is damaged.
    """

    @functools.lru_cache(2)
    def looked_up(row: int) -> Any:
        return clock_of(opened(placed.ids[row]))

    def kinds_of(row: int) -> Kinds:
        if (layout := int(placed.layouts[row])) >= 0:
            return kinds.get(layout, ())
        about = opened(placed.ids[row]).summaries
        return [(about[name]["shape"], about[name]["dtype"]) for name in streams]

    def follows(row: int) -> bool:
        former = row - 1
        layout = int(placed.layouts[row])
        if (layout < 0 or layout != placed.layouts[former]) and kinds_of(row) != kinds_of(former):
            return False
        return placed.is_same_time(former, row) or bool(looked_up(former) == looked_up(row))

    gaps_ns = placed.starts_ns[1:] - placed.ends_ns[:-1]
    near = (gaps_ns >= 0) & (gaps_ns < longest_gap_ns) & (placed.in_common[1:] == placed.in_common[:-1])
    times, formers = placed.times[1:], placed.times[:-1]
    may = near & ((times == formers) | (times < 0) | (formers < 0))
    is_known = (
        (placed.layouts[1:] == placed.layouts[:-1]) & (placed.layouts[1:] >= 0) & (times == formers) & (times >= 0)
    )
    joins = may & is_known
    for row in np.flatnonzero(may & ~is_known).tolist():
        joins[row] = follows(row + 1)
    begins = [0] if len(placed) else []
    return np.concatenate((begins, np.flatnonzero(~joins) + 1, [len(placed)])).astype(np.int64)


class EpisodeRuns(Sequence[Joined]):
    """Runs of episodes as sources of windows; `begins` is of `runs`."""

    def __init__(self, known: CatalogEpisodes, placed: Placed, begins: Rows) -> None:
        self._known, self._placed, self._begins = known, placed, begins
        self._joined = functools.lru_cache(OPENED)(self._run)

    @property
    def bounds_ns(self) -> BoundsNs:
        """Where each begins and ends."""
        return self._placed.starts_ns[self._begins[:-1]], self._placed.ends_ns[self._begins[1:] - 1]

    def __len__(self) -> int:
        return len(self._begins) - 1

    @overload
    def __getitem__(self, at: int) -> Joined: ...
    @overload
    def __getitem__(self, at: slice) -> list[Joined]: ...
    def __getitem__(self, at: int | slice) -> Joined | list[Joined]:
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        return self._joined(at)

    def _run(self, at: int) -> Joined:
        mine = slice(int(self._begins[at]), int(self._begins[at + 1]))
        starts_ns, ends_ns = self._placed.starts_ns[mine].tolist(), self._placed.ends_ns[mine].tolist()
        return Joined(Matching(self._known, self._placed.ids[mine]), [*zip(starts_ns, ends_ns, strict=True)])


class EventPlaces(Sequence[WindowPlace | NoPlace]):
    """A window from `span_ns[0]` to `span_ns[1]` of each such event's begin: of the k-th event that an episode tells
    of, looked up when it is asked for; `NoPlace` of one that has none in time, or that an episode before it tells of.

    `across`: `placed` is in the order of runs, and an event that is beyond its own run is in that which was captured
    then. `labelled` are by episode the events that were told of beside it, later.
    """

    def __init__(
        self,
        known: CatalogEpisodes,
        placed: Placed,
        begins: Rows,
        event: str,
        span_ns: tuple[int, int],
        across: bool,
        labelled: Mapping[str, Sequence[Note]],
    ) -> None:
        self._known, self._placed, self._begins = known, placed, begins
        self._event, self._span_ns, self._across, self._labelled = event, span_ns, across, labelled
        self._of = functools.lru_cache(OPENED)(self._starts)
        counts = placed.events.copy()
        for row, episode in enumerate(placed.ids.texts if labelled else ()):
            counts[row] += len(labelled.get(episode, ())) if counts[row] >= 0 else 0
        for row in np.flatnonzero(counts < 0).tolist():
            counts[row] = len(self._of(row))
        self._firsts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)

    def __len__(self) -> int:
        return int(self._firsts[-1])

    @overload
    def __getitem__(self, number: int) -> WindowPlace | NoPlace: ...
    @overload
    def __getitem__(self, number: slice) -> list[WindowPlace | NoPlace]: ...
    def __getitem__(self, number: int | slice) -> WindowPlace | NoPlace | list[WindowPlace | NoPlace]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        row = int(np.searchsorted(self._firsts, number, "right")) - 1
        places, at = self._of(row), number - int(self._firsts[row])
        return places[at] if at < len(places) else NoPlace()

    def _starts(self, row: int) -> list[WindowPlace | NoPlace]:
        found: list[WindowPlace | NoPlace] = []
        for note in self._notes(row):
            if note.start_ns is None:
                found.append(NoPlace(NO_TIME))
            elif not self._is_told_before(row, note, note.start_ns):
                begin_ns, end_ns = (note.start_ns + each for each in self._span_ns)
                found.append(WindowPlace(self._source(row, begin_ns, end_ns), begin_ns, note))
        return found

    def _notes(self, row: int) -> list[Note]:
        # Opened anew, for what was read of it is not kept.
        episode = self._placed.ids[row]
        notes = self._known.of(episode).reopened().notes
        return [*(note for note in notes if is_of(note, self._event)), *self._labelled.get(episode, ())]

    def _is_told_before(self, row: int, note: Note, at_ns: int) -> bool:
        """Whether an event that begins before its episode is one that an earlier episode tells of too."""
        others = self._others(row, at_ns, int(self._placed.starts_ns[row]))
        return any(note in self._notes(other) for other in others)

    def _source(self, row: int, begin_ns: int, end_ns: int) -> int:
        """The run of an episode; where all of [begin_ns, end_ns) is beyond it, the one that has a part of it."""
        mine = self._run(row)
        starts_ns, ends_ns = self._placed.starts_ns, self._placed.ends_ns
        first, last = self._begins[mine], self._begins[mine + 1] - 1
        if begin_ns < ends_ns[last] and end_ns > starts_ns[first]:
            return mine
        return next((self._run(other) for other in self._others(row, begin_ns, end_ns)), mine)

    def _run(self, row: int) -> int:
        return int(np.searchsorted(self._begins, row, "right")) - 1

    def _others(self, row: int, begin_ns: int, end_ns: int) -> Iterator[int]:
        """The rows before or behind that have a part of [begin_ns, end_ns), in the same time as far as it is known."""
        starts_ns, ends_ns = self._placed.starts_ns, self._placed.ends_ns
        step = -1 if begin_ns < starts_ns[row] else 1
        other = row + step
        while self._across and 0 <= other < len(self._placed) and self._placed.is_same_time(row, other):
            if (ends_ns[other] <= begin_ns) if step < 0 else (starts_ns[other] >= end_ns):
                return
            if starts_ns[other] < end_ns and ends_ns[other] > begin_ns:
                yield other
            other += step
