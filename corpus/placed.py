"""Where episodes are in their device's time, and what each may have in common with the next, as the catalog has it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.drivers.stream import Stamps

Row = tuple[Any, ...]
OF_ALL = ("episode", "start_ns", "end_ns")
OF_RUNS = ("device", "spool_id", "kind", "clock", "source", "timeline")
_UNKNOWN = -1


@dataclass(frozen=True, eq=False)
class Placed:
    """Episodes in an order: `ids`, int64 [n] `starts_ns` and `ends_ns`; how many `events` each has of those that were
    asked for, None where the catalog does not know.

    Where it was asked which follow each other, int64 [n] each: the number of the `layout`, which says what streams
    there are; a number of what else one has `in_common` with the one that it follows; and one of that with the time
    that its stamps are in (`times`). Of what the catalog does not know it is below 0.

    In columns, as there may be a hundred thousand before the first is read.
    """

    ids: Sequence[str]
    starts_ns: Stamps
    ends_ns: Stamps
    events: Sequence[int | None]
    layouts: Stamps
    in_common: Stamps
    times: Stamps

    @classmethod
    def of(cls, found: Sequence[Row], ordinals: Sequence[int] | None = None) -> "Placed":
        """Of rows of `OF_ALL`, events, layout, `OF_RUNS`; the last two may be left out. With the `ordinals` of
        episodes, they come spool by spool in the order of these, each kind by itself; else as they are."""
        ids, starts_ns, ends_ns, events, *more = list(zip(*found, strict=True)) if found else [()] * 4
        unknown = np.full(len(ids), _UNKNOWN, np.int64)
        begin, end = np.array(starts_ns, np.int64), np.array(ends_ns, np.int64)
        if not more:
            return cls(ids, begin, end, events, unknown, unknown, unknown)
        layouts = np.array([_UNKNOWN if each is None else each for each in more[0]], np.int64)
        which, different = _numbered(zip(*more[1:], strict=True))
        common, _ = _numbered(each[:-1] for each in different)
        times = np.array([_UNKNOWN if each[-1] is None else at for at, each in enumerate(different)], np.int64)
        placed = cls(ids, begin, end, events, layouts, common[which], times[which])
        if ordinals is None:
            return placed
        spools = [[(part is not None, part or "") for part in each[:3]] for each in different]
        order = sorted(range(len(spools)), key=spools.__getitem__)
        ranks, _ = _numbered(tuple(spools[at]) for at in order)
        rank = np.empty(len(order), np.int64)
        rank[order] = ranks
        return placed._in_order(np.lexsort((np.array(ordinals, np.int64), rank[which])))

    def _in_order(self, order: Stamps) -> "Placed":
        ids, events = self.ids, self.events
        rows = order.tolist()
        arrays = (self.layouts, self.in_common, self.times)
        return Placed(
            [ids[row] for row in rows],
            self.starts_ns[order],
            self.ends_ns[order],
            [events[row] for row in rows],
            *(each[order] for each in arrays),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def is_same_time(self, row: int, other: int) -> bool:
        """Whether the stamps of two can be compared, as far as the catalog knows."""
        return bool(self.times[row] == self.times[other] != _UNKNOWN)


def _numbered(keys: Iterable[Row]) -> tuple[Stamps, list[Row]]:
    """Of each key the number under which it was seen first, int64 [n]; and the different keys."""
    seen: dict[Row, int] = {}
    numbers = np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)
    return numbers, list(seen)
