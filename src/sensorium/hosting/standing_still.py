"""An import that stands still, as a disk is full: an ingest waits for its disk for ever, a command ends and says so."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sensorium.errors import StoreError

STILL_S = 10.0
"""So long nothing need be committed while the store is in trouble, or delivered while its spool takes nothing."""


class StandingStill:
    """Watches an import on its way from `spool` into `store`; `then` says what becomes of what has come so far."""

    def __init__(self, store: Path, spool: Path, then: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._spool, self._then, self._clock = store, spool, then, clock
        self._moved: object = None
        self._since_s = clock()

    def check(self, trouble: str, status: Mapping[str, Any]) -> None:
        """Look at the `trouble` of the store, and at the agent's status.

        Raises:
            StoreError: it has stood still for `STILL_S`, and why: what is to be done, and how much is free.
        """
        full = status["error"] if status["state"] == "full" else ""
        committed = status["ordinals"].get("committed", 0)
        moved = (committed,) if trouble else (committed, status["link"].get("sent_bytes", 0), status["spool_bytes"])
        if not (trouble or full) or moved != self._moved:
            self._moved, self._since_s = moved, self._clock()
        elif self._clock() - self._since_s > STILL_S:
            where = self._store if trouble else self._spool
            raise StoreError(
                f"{trouble or full}; {_free_bytes(where)} bytes are free on the file system of {where}; make room, then"
                f" import again: {self._then}"
            )


def _free_bytes(path: Path) -> int:
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
    disk = os.statvfs(there)
    return disk.f_bavail * disk.f_frsize
