"""A file that should hold a key, looked at before it is read: it may be anything."""

import stat
from pathlib import Path

MAX_KEY_BYTES = 16 << 10


def check_key_file(path: Path) -> int:
    """The mode of a file that may hold a key.

    Raises:
        OSError: it is not there, or cannot be looked at.
        ValueError: it is not a file, or larger than any key's.
    """
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):  # a pipe would be waited for, for ever
        raise ValueError("not a file")
    if about.st_size > MAX_KEY_BYTES:
        raise ValueError(f"{about.st_size} bytes, at most {MAX_KEY_BYTES}")
    return about.st_mode
