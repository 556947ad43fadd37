"""What lies in a folder of a spool: its files, and what has an episode's name and is none, which nobody may open."""

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

from sensorium.agents.spool.held import SUFFIX

_NOWHERE, _LOOP = "a link that leads nowhere", os.strerror(errno.ELOOP)
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


class Listed(NamedTuple):
    """The bytes of each file, and of what is named as an episode is and no file what it is instead; by name."""

    sizes: dict[str, int]
    others: dict[str, str]


def listed(folder: Path) -> Listed:
    """What is in `folder`, which may change meanwhile. A link to a file is as that file; nothing is opened, as whoever
    opens a pipe waits for its other end.

    Raises:
        OSError: it cannot be looked through.
    """
    found = Listed({}, {})
    with os.scandir(folder) as entries:
        for entry in entries:
            what = _kind_or_size(entry)
            if isinstance(what, int):
                found.sizes[entry.name] = what
            elif what and entry.name.endswith(SUFFIX):
                found.others[entry.name] = what
    return found


def may_come_back(what: str) -> bool:
    """Whether what is no file now may be one when a disk is mounted again."""
    return what.startswith(_NOWHERE) and _LOOP not in what


def _kind_or_size(entry: os.DirEntry[str]) -> int | str:
    """The bytes of a file, or what it is that is none; empty if it is gone."""
    try:
        about = entry.stat()
    except OSError as error:
        if entry.is_symlink():
            return f"{_NOWHERE} ({error.strerror})"
        if isinstance(error, FileNotFoundError):
            return ""
        raise
    return about.st_size if stat.S_ISREG(about.st_mode) else _KINDS.get(stat.S_IFMT(about.st_mode), "a device")
