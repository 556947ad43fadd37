"""The epoch: whether stamps that are said to count from 1970 UTC are of a time at which there were sensors."""

import logging

from sensorium.drivers.replay.units import TIME_NS

log = logging.getLogger(__name__)

_YEAR_NS = 31_556_952 * 10**9
_FIRST, _LAST = 1990, 2100


def year_of(stamp_ns: int) -> int:
    """The year of a stamp that counts from 1970, any year.

    >>> year_of(1_700_000_000 * 10**9), year_of(-1)
    (2023, 1969)
    """
    return 1970 + stamp_ns // _YEAR_NS


def _fits(stamp_ns: int) -> bool:
    return _FIRST <= year_of(stamp_ns) < _LAST


def check_epoch(what: str, stamp_ns: int, unit: str = "", then: str = "do its stamps count from 1970?") -> bool:
    """Whether the first stamp of `what` can count from 1970; the log says what is wrong, and in which other `unit` it
    could, or what follows `then`."""
    if _fits(stamp_ns):
        return True
    number = stamp_ns // TIME_NS[unit] if unit in TIME_NS else 0
    fitting = (f"in {other} it would be {year_of(number * ns)}" for other, ns in TIME_NS.items() if _fits(number * ns))
    log.warning("%s: its first stamp is of the year %d, as UTC; %s", what, year_of(stamp_ns), next(fitting, then))
    return False
