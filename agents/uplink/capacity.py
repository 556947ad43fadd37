"""Capacity: what an uplink's budget carries in a day, and whether that is enough for what is recorded in one."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from sensorium.agents.uplink.budget import amount
from sensorium.agents.uplink.hours import DAY_MINUTES, Hours

DAY_S = 86_400
_ANY_DAY = datetime(2000, 1, 1)


def bytes_in_a_day(bytes_per_s: int | None, bytes_per_day: int | None, hours: Sequence[str] | None) -> float:
    """The most that a budget lets go in 24 hours; infinite where nothing bounds it.

    >>> bytes_in_a_day(1000, None, ["22:00-06:00"]), bytes_in_a_day(1000, 10_000_000, [])
    (28800000.0, 10000000.0)
    """
    open_at = Hours(hours)
    minutes = sum(open_at.is_open(_ANY_DAY + timedelta(minutes=minute)) for minute in range(DAY_MINUTES))
    most = math.inf if bytes_per_s is None else 60.0 * minutes * bytes_per_s
    return most if bytes_per_day is None else min(most, float(bytes_per_day))


def too_little(carried: float, recorded: float) -> str:
    """That a day's `carried` bytes are less than those `recorded`, in words; "" where they are not.

    >>> too_little(1e6, 2.5e6)
    'uplink: it carries at most 1 MB a day, and up to about 2.5 MB a day are recorded; what is left fills the spool'
    """
    if recorded <= carried:
        return ""
    return (
        f"uplink: it carries at most {amount(round(carried))} a day, and up to about {amount(_rounded(recorded))} a day"
        " are recorded; what is left fills the spool"
    )


def _rounded(size: float) -> int:
    """To two digits: it is an estimate."""
    return round(float(f"{size:.2g}"))
