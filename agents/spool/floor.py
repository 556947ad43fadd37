"""The floor of a spool: what must stay free on its file system is less than that has."""

import os
from pathlib import Path

from sensorium.agents.spool.room import RESERVE_BYTES
from sensorium.errors import ConfigError


def check_floor(path: Path, min_free_bytes: int) -> None:
    """Raise `ConfigError` if nothing could ever be recorded in the folder `path`, were all else of its disk deleted.

    >>> check_floor(Path("/"), 0)
    """
    there = next((folder for folder in (path, *path.absolute().parents) if folder.is_dir()), Path("/"))
    disk = os.statvfs(there)
    has_bytes = (disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize
    if min_free_bytes and min_free_bytes + RESERVE_BYTES > has_bytes:
        raise ConfigError(
            f"spool.min_free_bytes: {min_free_bytes} bytes must stay free, and the file system of {path} has"
            f" {has_bytes} in all, so that nothing could ever be recorded; lower it"
        )
