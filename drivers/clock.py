"""Clocks: which one a device's stamps are in, and how this machine's own is read."""

import time
from pathlib import Path
from typing import Literal

import msgspec

ClockKind = Literal["boottime", "recording", "simulated"]

SECOND_NS = 1_000_000_000


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """The one clock that all `captured_ns` of a device are in.

    `boottime` is CLOCK_BOOTTIME, meaningful only together with `boot_id`; `recording` is the clock of the
    recording that is replayed; `simulated` belongs to a world. `states_utc` says that a recording's stamps are
    themselves nanoseconds since 1970 UTC, true to `utc_within_ns` where that is known.
    """

    kind: ClockKind
    boot_id: str | None = None
    states_utc: bool = False
    utc_within_ns: int | None = None


def boottime_ns() -> int:
    """Nanoseconds since this machine booted, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """The kernel's random name of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def live_clock() -> Clock:
    """The clock of a sensor attached to this machine."""
    return Clock(kind="boottime", boot_id=boot_id())
