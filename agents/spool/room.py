"""Room for a spool: its quota, what must stay free on the file system, a reserve for when that is full, its syncs."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sensorium.episode.remedy import remedy
from sensorium.episode.sync_times import SyncTimes
from sensorium.errors import SpoolFull

log = logging.getLogger(__name__)

RESERVE_BYTES = 4 << 20
LOOK_EVERY_S = 0.05
ROOMY_BYTES = 256 << 20
"""So much beside what is needed is not used up between two looks at the file system."""

T = TypeVar("T")


class Room:
    """The limits of the folder `path`. `RESERVE_BYTES` of the quota, and a file of that size, are kept for SEAL and
    ledger, so that what is open can be closed when nothing else fits. Where it `evicts`, what waits gives way."""

    def __init__(self, path: Path, max_bytes: int, min_free_bytes: int, *, evicts: bool = False) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self.evicts = evicts
        self._reserve = path / "reserve"
        self._free_bytes = 0
        self._looked_s = 0.0
        self._released = True
        self.times = SyncTimes()
        """How long the disk took to be synced, a round of what was due at a time."""

    def limit(self, max_bytes: int, min_free_bytes: int, *, evicts: bool) -> None:
        """Other limits, from now on."""
        self.max_bytes, self.min_free_bytes, self.evicts = max_bytes, min_free_bytes, evicts

    def lacks(self, used_bytes: int, more_bytes: int) -> str:
        """Why `more_bytes` do not fit beside `used_bytes`, in one line with the next step; empty if they do."""
        if used_bytes + more_bytes + RESERVE_BYTES > self.max_bytes:
            return (
                f"spool {self.path}: {used_bytes} of {self.max_bytes} bytes used, {more_bytes} more do not fit: "
                "deliver what waits, or raise spool.max_bytes"
            )
        try:
            free = self._free(self.min_free_bytes + more_bytes)
        except OSError as error:
            return f"spool {self.path}: its file system does not answer: {error.strerror}; see to the disk"
        if free - more_bytes < self.min_free_bytes:
            return (
                f"spool {self.path}: {free} bytes free on its file system, {self.min_free_bytes} must stay: "
                "make room, or lower spool.min_free_bytes"
            )
        return ""

    def _free(self, needed_bytes: int) -> int:
        """Bytes that are free on the file system, as it was looked at just now, or a moment ago if that is enough.

        It is asked for every block, and whoever asks the system lets go of the interpreter, which encoders then have.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_EVERY_S or self._free_bytes < needed_bytes + ROOMY_BYTES:
            disk = os.statvfs(self.path)
            self._free_bytes, self._looked_s = disk.f_bavail * disk.f_frsize, now_s
        return self._free_bytes

    def take_reserve(self) -> None:
        """Occupy the reserve; without room for it, say so and go on.

        Raises:
            SpoolFull: not even the folder can be written.
        """
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in its place is not waited for
            fd = os.open(self._reserve, flags, 0o644)
            try:
                os.posix_fallocate(fd, 0, RESERVE_BYTES)
            finally:
                os.close(fd)
            self._released = False
        except PermissionError as error:
            raise SpoolFull(f"spool {self.path}: {error.strerror}; make it writable for this user") from error
        except OSError as error:
            said = self.path, RESERVE_BYTES, error.strerror, remedy(error)
            log.warning("spool %s: its reserve of %d bytes cannot be had: %s; %s", *said)
            self.release_reserve()  # a part of it would help nobody

    def release_reserve(self) -> None:
        """Give the reserve back to the file system."""
        self._released = True
        try:
            self._reserve.unlink(missing_ok=True)
        except OSError as error:
            log.warning("spool %s: its reserve cannot be given back: %s", self.path, error.strerror)

    def restore_reserve(self) -> None:
        """Take the reserve again, if it was given back and there is room for more than that."""
        try:
            needed_bytes = self.min_free_bytes + 2 * RESERVE_BYTES
            if self._released and self._free(needed_bytes) >= needed_bytes:
                self.take_reserve()
        except OSError as error:
            log.warning("spool %s: no reserve yet: %s", self.path, error)

    def with_reserve(self, change: Callable[[], T]) -> T:
        """Make a change of the ledger, for which there is the reserve if there is no other room.

        Raises:
            SpoolFull: not even so. What `change` raises else.
        """
        try:
            return change()
        except SpoolFull:
            self.release_reserve()
            return change()
