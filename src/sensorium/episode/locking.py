"""A lock on an open file or folder, which nobody else has, and which ends with whoever holds it."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from sensorium.episode import durable

_LOOK_S = 0.02


def take_lock(fd: int, *, patient: bool = False) -> bool:
    """Have it to ourselves until it is closed, as it is of whoever is killed; False if somebody else has it, and, where
    one is `patient`, is no `is_locked` that looks for an instant.

    Raises:
        OSError: its file system has no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not patient:
            return False
        time.sleep(_LOOK_S)
        return take_lock(fd)
    return True


def new_locked_folder(named: Callable[[], Path]) -> tuple[Path, int]:
    """A new folder, under a name that nothing has, and the lock on it. Whoever removes what was left may be quicker
    than the lock: then there is another, with the next name."""
    while True:
        folder = named()
        durable.make_folder(folder)
        with contextlib.suppress(FileNotFoundError):
            lock = durable.open_folder(folder)
            seen = durable.look(folder)
            if take_lock(lock) and seen is not None and seen.id == durable.identity(lock):
                return folder, lock
            durable.close(lock)


def is_locked(path: Path) -> bool:
    """Whether somebody else has a file locked; False where that cannot be said. While it looks nobody can lock it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False
