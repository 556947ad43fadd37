"""The floor of a spool: what must stay free on its file system is less than that has, and whether it is free now."""

import os
from pathlib import Path

from sensorium.agents.spool.held import SUFFIX
from sensorium.agents.spool.listing import listed
from sensorium.agents.spool.room import RESERVE_BYTES
from sensorium.errors import ConfigError


def check_floor(path: Path, min_free_bytes: int) -> None:
    """Raise `ConfigError` if nothing could ever be recorded in the folder `path`, were all else of its disk deleted.

    >>> check_floor(Path("/"), 0)
    """
    disk = _disk(path)
    has_bytes = (disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize
    if min_free_bytes and min_free_bytes + RESERVE_BYTES > has_bytes:
        raise ConfigError(
            f"spool.min_free_bytes: {min_free_bytes} bytes must stay free, and the file system of {path} has"
            f" {has_bytes} in all, so that nothing could ever be recorded; lower it"
        )


def no_room_now(path: Path, max_bytes: int, min_free_bytes: int, *, evicts: bool) -> str:
    """Why the spool in the folder `path` would record nothing now, in one line with the next step; empty if it would.
    Where it `evicts`, what waits gives way.

    >>> no_room_now(Path("/"), 1 << 30, 0, evicts=False)
    ''
    """
    folders = (path / kind for kind in ("episodes", "rejected"))
    sizes = [listed(folder).sizes for folder in folders if folder.is_dir()]  # an agent may be delivering them
    used = sum(size for each in sizes for name, size in each.items() if name.endswith(SUFFIX))
    if not evicts and used + 2 * RESERVE_BYTES > max_bytes:
        return (
            f"spool.max_bytes: {used} of {max_bytes} bytes are used in {path}, and nothing is recorded until what waits"
            " there is delivered; deliver it, or raise spool.max_bytes"
        )
    disk = _disk(path)
    free = disk.f_bavail * disk.f_frsize
    if free + used * evicts < min_free_bytes + RESERVE_BYTES:
        return (
            f"spool.min_free_bytes: {min_free_bytes} bytes must stay free, and {free} are free on the file system of"
            f" {path} now, so that nothing is recorded; make room, or lower spool.min_free_bytes"
        )
    return ""


def _disk(path: Path) -> os.statvfs_result:
    there = next((folder for folder in (path, *path.absolute().parents) if folder.is_dir()), Path("/"))
    return os.statvfs(there)
