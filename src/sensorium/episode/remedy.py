"""What to do about what the file system says: a full disk, too few open files and a failing disk have other ends."""

import errno
import os

FULL = (errno.ENOSPC, errno.EDQUOT)
TOO_MANY = (errno.EMFILE, errno.ENFILE)
SHORT = (*TOO_MANY, errno.ENOMEM)
"""What this process, or this machine, lacks: it says nothing of the file that was to be opened."""
_OF_SQLITE = 4
"""A database, its log, their index and their folder."""


def remedy(error: OSError) -> str:
    """The next step, in a few words.

    >>> remedy(OSError(errno.ENOSPC, "full")), remedy(OSError(errno.EMFILE, "too many"))
    ('make room', 'let it open more files (ulimit -n)')
    """
    if error.errno in FULL:
        return "make room"
    if error.errno in TOO_MANY:
        return "let it open more files (ulimit -n)"
    return "see to the disk"


def no_file_opens() -> OSError | None:
    """What the system says where this process may open hardly a file more; for what SQLite says of it without a reason,
    which opens some at a time and closes them when one fails."""
    opened: list[int] = []
    try:
        while len(opened) < _OF_SQLITE:
            opened.append(os.open("/", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error if error.errno in TOO_MANY else None
    finally:
        for fd in opened:
            os.close(fd)
    return None
