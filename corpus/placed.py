"""Where episodes are in their device's time, and what each may have in common with the next, as the catalog has it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.corpus.episode_ids import EpisodeIds
from sensorium.drivers.stream import Stamps

UNKNOWN = -1
_BETWEEN, _NONE = "\x1f", "\x1e"
_OF_RUNS = ("device", "spool_id", "kind", "clock", "source", "timeline")
_KIND, _TIMELINE = _OF_RUNS.index("kind"), _OF_RUNS.index("timeline")
_OR_NONE = ", ".join(f"ifnull({name}, '{_NONE}')" for name in _OF_RUNS)
KEY = f"printf('{_BETWEEN.join(['%s'] * len(_OF_RUNS))}', {_OR_NONE})"
"""SQL of what says whether the stamps of two episodes are of one spool and time: one text, which is read sooner."""


def key(*parts: str | None) -> str:
    """What `KEY` is of these."""
    return _BETWEEN.join(_NONE if part is None else part for part in parts)


class OfRuns:
    """By episode what says which follow each other: int64 [n] `layouts`, below 0 where unknown, and `ordinals`; and
    `which` of the different keys (`KEY`) it has, whose parts are `keys`."""

    def __init__(self, layouts: Stamps, ordinals: Stamps, keys: Sequence[str]) -> None:
        self.layouts, self.ordinals = layouts, ordinals
        self.which, different = _numbered(keys)
        self.keys = [each.split(_BETWEEN) for each in different]

    @property
    def lacks_events(self) -> npt.NDArray[np.bool_]:
        """Of each whether the catalog does not know all of its events: it has none of traces, and none of before there
        were timelines."""
        lacks = [parts[_TIMELINE] == _NONE or parts[_KIND] != "full" for parts in self.keys]
        return np.array(lacks, np.bool_)[self.which]


@dataclass(frozen=True, eq=False)
class Placed:
    """Episodes in an order: `ids`, int64 [n] `starts_ns` and `ends_ns`; how many `events` each has of those that were
    asked for, below 0 where the catalog does not know.

    Where it was asked which follow each other, int64 [n] each: the number of the `layout`, which says what streams
    there are; a number of what else one has `in_common` with the one that it follows; and one of that with the time
    that its stamps are in (`times`). Of what the catalog does not know it is below 0.

    In columns, as there may be a hundred thousand before the first is read.
    """

    ids: EpisodeIds
    starts_ns: Stamps
    ends_ns: Stamps
    events: Stamps
    layouts: Stamps
    in_common: Stamps
    times: Stamps

    @classmethod
    def of(
        cls, ids: EpisodeIds, starts_ns: Stamps, ends_ns: Stamps, events: Stamps, of_runs: OfRuns | None = None
    ) -> "Placed":
        """In the order of their ids; `of_runs`, spool by spool in that of their ordinals, each kind by itself."""
        unknown = np.full(len(ids), UNKNOWN, np.int64)
        if of_runs is None:
            return cls(ids, starts_ns, ends_ns, events, unknown, unknown, unknown)._in_order(ids.order)
        which, parts = of_runs.which, of_runs.keys
        common, _ = _numbered([key(*each[:-1]) for each in parts])
        times = np.array([UNKNOWN if each[-1] == _NONE else at for at, each in enumerate(parts)], np.int64)
        placed = cls(ids, starts_ns, ends_ns, events, of_runs.layouts, common[which], times[which])
        spools = [[(part != _NONE, part) for part in each[:3]] for each in parts]
        order = sorted(range(len(spools)), key=spools.__getitem__)
        ranks, _ = _numbered([key(*parts[at][:3]) for at in order])
        rank = np.empty(len(order), np.int64)
        rank[order] = ranks
        by_id = ids.order
        return placed._in_order(by_id[_by_rank(rank[which][by_id], of_runs.ordinals[by_id])])

    def _in_order(self, order: Stamps) -> "Placed":
        arrays = (self.starts_ns, self.ends_ns, self.events, self.layouts, self.in_common, self.times)
        return Placed(self.ids.at(order), *(each[order] for each in arrays))

    def __len__(self) -> int:
        return len(self.ids)

    def is_same_time(self, row: int, other: int) -> bool:
        """Whether the stamps of two can be compared, as far as the catalog knows."""
        return bool(self.times[row] == self.times[other] != UNKNOWN)


def _by_rank(ranks: Stamps, ordinals: Stamps) -> Stamps:
    """Places in the order of ranks, and of ordinals within one. Episodes of a spool nearly always lie in that of their
    ordinals, and few numbers are sorted in a tenth of the time."""
    few = ranks.astype(np.min_scalar_type(int(ranks.max(initial=0))))
    order = np.argsort(few, kind="stable")
    is_next, rises = np.diff(ranks[order]) > 0, np.diff(ordinals[order]) >= 0
    return order if bool((is_next | rises).all()) else np.lexsort((ordinals, ranks))


def _numbered(keys: Sequence[str]) -> tuple[Stamps, list[str]]:
    """Of each key the number under which it was seen first, int64 [n]; and the different keys."""
    different = list(dict.fromkeys(keys))
    numbers = dict(zip(different, range(len(different)), strict=True))
    return np.fromiter(map(numbers.__getitem__, keys), np.int64, len(keys)), different
