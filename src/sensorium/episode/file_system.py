"""The sync of a whole file system, for which Python has no call: where it can be trusted, and when it waits for little.

A sync of each of a hundred files has the disk empty its own memory a hundred times; this has it do so once. It waits
for what others wrote too, so it is nothing to do beside somebody who copies a film.
"""

import ctypes
import os
import re
from pathlib import Path

MOST_WAITING_BYTES = 128 << 20
_TYPES = {0xEF53: "ext2, ext3, ext4", 0x58465342: "XFS", 0x9123683E: "Btrfs"}
"""Of others it is not known that they do as these; of those of FUSE it is known that they do not."""
_SINCE = (5, 8)
"""Linux of before then does not say what failed."""
_STATFS_BYTES = 256
_MEMORY = Path("/proc/meminfo")
_WAITING = re.compile(rb"^(?:Dirty|Writeback): +(\d+) kB$", re.MULTILINE)
_libc = ctypes.CDLL(None, use_errno=True)


def sync(fd: int) -> None:
    """Make durable all that was written to the file system that `fd` is on.

    Raises:
        OSError: something that was written to it since `fd` was opened is not, or may not be; it is not said what.
    """
    if _libc.syncfs(fd):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def is_trusted(fd: int) -> bool:
    """Whether `sync` of the file system that `fd` is on means, here, what `fsync` of each of its files would."""
    about = (ctypes.c_ulong * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_ulong)))()
    if not _says_errors() or _libc.fstatfs(fd, ctypes.byref(about)):
        return False
    return about[0] & 0xFFFFFFFF in _TYPES


def is_calm(own_bytes: int = 0) -> bool:
    """Whether little waits for any disk: the most that `sync` would wait for beside one's own, of which there will be
    `own_bytes`."""
    try:
        waiting = _WAITING.findall(_MEMORY.read_bytes())
    except OSError:
        return False
    return bool(waiting) and sum(map(int, waiting)) << 10 <= max(MOST_WAITING_BYTES, own_bytes)


def _says_errors() -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return numbers is not None and tuple(map(int, numbers.groups())) >= _SINCE and hasattr(_libc, "syncfs")
