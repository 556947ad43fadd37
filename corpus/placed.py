"""Where episodes are in their device's time, and what each may have in common with the next, as the catalog has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.drivers.stream import Stamps

Row = tuple[Any, ...]
OF_ALL = ("episode", "start_ns", "end_ns")
OF_RUNS = ("device", "spool_id", "kind", "clock", "source", "timeline")
ORDER_OF_RUNS = ("device", "spool_id", "kind", "ordinal")


@dataclass(frozen=True, eq=False)
class Placed:
    """Episodes in an order: `ids`, int64 [n] `starts_ns` and `ends_ns`; how many `events` each has of those that were
    asked for, None where the catalog does not know; and where it was asked which follow each other, what else it has of
    each: `rows`, the layout, then `OF_RUNS`, of which the last is None where it does not know.

    In columns, as there may be a hundred thousand before the first is read.
    """

    ids: Sequence[str]
    starts_ns: Stamps
    ends_ns: Stamps
    events: Sequence[int | None]
    rows: Sequence[Row]

    @classmethod
    def of(cls, found: Sequence[Row]) -> "Placed":
        """Of rows of `OF_ALL`, events, layout, `OF_RUNS`; the last two may be left out."""
        ids, starts_ns, ends_ns, events = list(zip(*found, strict=True))[:4] if found else [()] * 4
        return cls(ids, np.array(starts_ns, np.int64), np.array(ends_ns, np.int64), events, found)

    def __len__(self) -> int:
        return len(self.ids)

    def has_in_common(self, row: int) -> Row:
        """What a row has in common with the one that it follows, but for the layout and the timeline."""
        return self.rows[row][5:-1]

    def layout(self, row: int) -> int | None:
        """What streams there are; None where the catalog does not know."""
        layout: int | None = self.rows[row][4]
        return layout

    def timeline(self, row: int) -> str | None:
        """In what time its stamps are; None where the catalog does not know."""
        timeline: str | None = self.rows[row][-1]
        return timeline

    def is_same_time(self, row: int, other: int) -> bool:
        """Whether the stamps of two can be compared, as far as the catalog knows."""
        mine = self.timeline(row)
        is_same = mine is not None and mine == self.timeline(other)
        return is_same and self.has_in_common(row) == self.has_in_common(other)
