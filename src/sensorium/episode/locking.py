"""A lock on an open file or folder, which nobody else has, and which ends with whoever holds it."""

import fcntl


def take_lock(fd: int) -> bool:
    """Have it to ourselves until it is closed, as it is of whoever is killed; False if somebody else has it.

    Raises:
        OSError: its file system has no locks.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
