"""The folder of a spool: where its files are, the lock that keeps other processes out, and a sign of life."""

import contextlib
import errno
import os
import struct
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from sensorium.agents.spool.episode_file import disk_error
from sensorium.agents.spool.listing import listed
from sensorium.drivers.clock import Clock, boot_id, boottime_ns
from sensorium.episode import durable, file_system
from sensorium.episode.locking import take_lock
from sensorium.episode.remedy import FULL, TOO_MANY, remedy
from sensorium.errors import SpoolError

_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_ALIVE = struct.Struct("<16sq")
"""The boot, and the moment of it in CLOCK_BOOTTIME."""


class Folder:
    """Made if absent, locked (flock) until `unlock`.

    `beat` notes in the file `alive` that its owner lives. That is never synced: a kill leaves it, power loss perhaps an
    older one, or none.

    Raises:
        SpoolError: it cannot be made, or another process holds it for longer than `wait_s`.
    """

    def __init__(self, path: Path, wait_s: float) -> None:
        self.path = path
        self.episodes = path / "episodes"
        self.rejected = path / "rejected"
        try:
            for folder in (self.episodes, self.rejected):
                durable.make_folder(folder)
            _try_sync(path)
            is_one = path.stat().st_dev == self.episodes.stat().st_dev
            self._lock_fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            what = "no folders that can be synced" if error.errno in _NO_SYNC else ""
            raise _unusable(path, error, what) from error
        self._is_one, self._alive_fd = is_one, -1
        self._naming = threading.Lock()
        self._made = self._named = 0
        try:
            self._take_lock(wait_s)
            self._boot, self._last_alive = UUID(boot_id()).bytes, b""
            with contextlib.suppress(OSError):  # on a disk without room it goes without
                self._alive_fd = os.open(path / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                self._last_alive = os.pread(self._alive_fd, _ALIVE.size, 0)
        except BaseException:
            self.unlock()
            raise

    def unlock(self) -> None:
        """Let go of it."""
        if self._alive_fd >= 0:
            os.close(self._alive_fd)
        os.close(self._lock_fd)

    def beat(self) -> None:
        """Its owner lives."""
        with contextlib.suppress(OSError):  # it is not there, or a disk in trouble has worse to say
            os.pwrite(self._alive_fd, _ALIVE.pack(self._boot, boottime_ns()), 0)

    def last_alive_ns(self, clock: Clock) -> int | None:
        """When its owner before this one gave its last sign of life, in `clock`; None if that is not known."""
        if len(self._last_alive) < _ALIVE.size or clock.kind != "boottime" or clock.boot_id is None:
            return None
        boot, at_ns = _ALIVE.unpack(self._last_alive)
        return int(at_ns) if str(UUID(bytes=boot)) == clock.boot_id else None

    def made(self) -> None:
        """An episode's file was made just now."""
        with self._naming:
            self._made += 1

    def sync_names(self) -> None:
        """Make durable the names of all files that were made, if that is not done."""
        with self._naming:
            if self._named < self._made:
                self.sync()
                self._named = self._made

    def sync(self) -> None:
        """Make durable which files there are."""
        durable.sync_folder(self.episodes)

    def sync_all(self) -> bool:
        """Put on disk all that was written to the file system of the episodes, names too; False where that is not known
        to be what syncs of each file are, or would wait for much of others'.

        Raises:
            OSError: something that was written since the folder was opened, or a name, is not on disk; said once.
        """
        if not (file_system.is_trusted(self._lock_fd) and self._is_one and file_system.is_calm()):
            return False
        made = self._made
        durable.sync_file_system(self._lock_fd)
        # Last: without a journal ext4 writes inodes behind its order to empty the disk's memory; this gives another.
        self.sync()
        with self._naming:
            self._named = max(self._named, made)
        return True

    def try_disk(self) -> None:
        """Write and sync a little. Raises `SpoolError` if that cannot be done."""
        try:
            durable.write_synced(self.path / "trial", b"can it be written?")
            durable.remove(self.path / "trial")
        except OSError as error:
            raise disk_error(error, f"spool {self.path}", "tried again until it can be written") from error

    def delete(self, files: Iterable[str]) -> None:
        """Delete episodes' files; without one that is no error."""
        for file in files:
            durable.remove(file)
        self.sync()

    def place_aside(self, name: str) -> Path:
        """Where the file of an episode that was set aside is."""
        return self.rejected / f"{name}.episode"

    def set_aside(self, file: Path, name: str, why: str) -> None:
        """Move an episode's file to the rejected, and write beside it why; where that was begun before, end it."""
        target = self.place_aside(name)
        if file.is_file():
            durable.write_synced(target.with_suffix(".why"), f"{why}\n".encode())
            durable.rename(file, target)
        durable.sync_folder(self.rejected)
        durable.sync_folder(self.episodes)

    def rejected_bytes(self) -> int:
        """What lies among the rejected."""
        return sum(listed(self.rejected).sizes.values())

    def _take_lock(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                if take_lock(self._lock_fd):
                    return
            except OSError as error:
                raise _unusable(self.path, error, "no locks") from error
            if time.monotonic() >= deadline:
                raise SpoolError(
                    f"spool {self.path}: another agent is using it: stop that one, or name another spool.path"
                )
            time.sleep(0.05)


def _try_sync(path: Path) -> None:
    """Raise an `OSError` where no folder can be synced: this one may have been made by something that did not need it.
    A disk in trouble is tried again later."""
    try:
        durable.sync_folder(path)
    except OSError as error:
        if error.errno in _NO_SYNC:
            raise


def _unusable(path: Path, error: OSError, lacks: str) -> SpoolError:
    """What is wrong with the folder `path`, or what its file system `lacks`."""
    if error.errno in (*FULL, *TOO_MANY):
        return SpoolError(f"spool {path}: {error.strerror}; {remedy(error)}")
    if not lacks:
        at = error.filename if isinstance(error.filename, str | os.PathLike) else path
        inside = "" if Path(at) == path else f"{at}: "
        return SpoolError(f"spool {path}: {inside}{error.strerror}; check `spool.path` in the device file")
    return SpoolError(
        f"spool {path}: this file system has {lacks} ({error.strerror}), which a spool needs; put it on ext4, xfs, ..."
    )
