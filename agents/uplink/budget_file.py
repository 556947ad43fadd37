"""What was spent of an uplink's budget, in a file of the spool's folder."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import msgspec

from sensorium.agents.uplink.budget import Budget, Spent
from sensorium.drivers.clock import boot_id, boottime_ns
from sensorium.episode import durable
from sensorium.threads import reason

log = logging.getLogger(__name__)


def open_budget(
    path: Path,
    bytes_per_s: int | None,
    bytes_per_day: int | None,
    hours: Sequence[str] | None,
    utc_ns: Callable[[], int] = time.time_ns,
) -> Budget:
    """A budget, as far as it is spent by what the file at `path` says, which keeps it."""
    file = _SpentFile(path)
    return Budget(
        bytes_per_s,
        bytes_per_day,
        hours,
        now_ns=boottime_ns(),
        boot_id=boot_id(),
        utc_ns=utc_ns,
        before=file.read(),
        keep=file.keep,
    )


class _SpentFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._trouble = ""

    def read(self) -> Spent | None:
        """None where there is none; of one that cannot be read the bucket is empty, and today counts from here on."""
        try:
            spent = msgspec.msgpack.decode(durable.read_whole(self._path), type=Spent)
            date.fromisoformat(spent.day)
            if not math.isfinite(spent.level) or spent.day_bytes < 0:
                raise ValueError(f"level {spent.level}, day_bytes {spent.day_bytes}: nobody notes such")
            return spent
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, ValueError) as error:
            log.error("%s: what was spent cannot be read: %s; counted anew from here on", self._path, reason(error))
            return Spent(level=0.0, boot_id="", at_ns=0, utc_ns=time.time_ns(), day="0001-01-01", day_bytes=0)

    def keep(self, spent: Spent) -> None:
        """Where the disk does not take it, delivery goes on: that is what makes room."""
        try:
            durable.replace(self._path, self._path.with_suffix(".new"), [[msgspec.msgpack.encode(spent)]])
            self._trouble = ""
        except OSError as error:
            if str(error) != self._trouble:
                log.warning("%s: what is sent cannot be noted: %s; a restart may spend it again", self._path, error)
            self._trouble = str(error)
