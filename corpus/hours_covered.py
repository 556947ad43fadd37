"""Coverage in time: of each hour of UTC how much a device captured."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Covering:
    """By (device, day) the share of each of its 24 hours, 0 to 1; `unplaced` episodes have no known UTC."""

    days: dict[tuple[str, str], list[float]]
    unplaced: int

    def as_list(self) -> list[dict[str, Any]]:
        """As JSON."""
        return [{"device": device, "day": day, "hours": shares} for (device, day), shares in self.days.items()]


def covering(records: Iterable[Mapping[str, Any]]) -> Covering:
    """Of episodes as `Corpus.each_record` has them; two at once count once more, up to the whole hour.

    >>> found = covering([{"device": "rig", "start_utc": "2026-05-03T23:30:00Z", "duration_s": 3600.0}])
    >>> {day: max(shares) for (_, day), shares in found.days.items()}
    {'2026-05-03': 0.5, '2026-05-04': 0.5}
    """
    days: dict[tuple[str, str], list[float]] = {}
    unplaced = 0
    for record in records:
        begun = record["start_utc"]
        if not begun:
            unplaced += 1
            continue
        start = datetime.fromisoformat(begun)
        end = start + timedelta(seconds=record["duration_s"] or 0.0)
        hour = start.replace(minute=0, second=0, microsecond=0)
        for _ in range(max(1, math.ceil((end - hour) / _HOUR))):
            part = (min(end, hour + _HOUR) - max(start, hour)) / _HOUR
            shares = days.setdefault((str(record["device"]), f"{hour:%Y-%m-%d}"), [0.0] * 24)
            shares[hour.hour] = min(1.0, shares[hour.hour] + part)
            hour += _HOUR
    return Covering(dict(sorted(days.items())), unplaced)
