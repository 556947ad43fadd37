"""The folder of a spool: where its files are, and the lock that keeps other processes out."""

import errno
import fcntl
import os
import time
from pathlib import Path

from sensorium.agents.spool.episode_file import disk_error
from sensorium.episode import durable
from sensorium.errors import SpoolError


class Folder:
    """Made if absent, locked (flock) until `unlock`.

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
            self._lock_fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            what = "no folders that can be synced" if error.errno == errno.EINVAL else ""
            raise _unusable(path, error, what) from error
        try:
            self._take_lock(wait_s)
        except BaseException:
            self.unlock()
            raise

    def unlock(self) -> None:
        """Let go of it."""
        os.close(self._lock_fd)

    def sync(self) -> None:
        """Make durable which files there are."""
        durable.sync_folder(self.episodes)

    def try_disk(self) -> None:
        """Write and sync a little. Raises `SpoolError` if that cannot be done."""
        try:
            durable.write_synced(self.path / "trial", b"can it be written?")
            durable.remove(self.path / "trial")
        except OSError as error:
            raise disk_error(error, f"spool {self.path}", "tried again until it can be written") from error

    def delete(self, file: Path) -> None:
        """Delete an episode's file; without it that is no error."""
        durable.remove(file)
        self.sync()

    def place_aside(self, name: str) -> Path:
        """Where the file of an episode that was set aside is."""
        return self.rejected / f"{name}.episode"

    def set_aside(self, file: Path, name: str, why: str) -> None:
        """Move an episode's file to the rejected, and write beside it why; where that was begun before, end it."""
        target = self.place_aside(name)
        if file.exists():
            durable.write_synced(target.with_suffix(".why"), f"{why}\n".encode())
            durable.rename(file, target)
        durable.sync_folder(self.rejected)
        durable.sync_folder(self.episodes)

    def rejected_bytes(self) -> int:
        """What lies among the rejected."""
        return sum(file.stat().st_size for file in self.rejected.iterdir())

    def _take_lock(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise SpoolError(
                        f"spool {self.path}: another agent is using it: stop that one, or name another spool.path"
                    ) from None
                time.sleep(0.05)
            except OSError as error:
                raise _unusable(self.path, error, "no locks") from error
            else:
                return


def _unusable(path: Path, error: OSError, lacks: str) -> SpoolError:
    """What is wrong with the folder `path`, or what its file system `lacks`."""
    if not lacks:
        return SpoolError(f"spool {path}: {error.strerror}; check `spool.path` in the device file")
    return SpoolError(
        f"spool {path}: this file system has {lacks} ({error.strerror}), which a spool needs; put it on ext4, xfs, ..."
    )
