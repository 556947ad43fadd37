"""Files that are whole or absent after any crash: synced under another name, then linked into place."""

import os
import uuid
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_synced(path: Path, data: bytes) -> None:
    """Write and sync a file; its name is durable once its folder is."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(data)
        while len(rest):
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(path: Path, data: bytes, staging: Path) -> bool:
    """Make `path` hold `data`, durably, unless it exists: nobody ever sees part of it. Whether it was made.

    `link` is used and not `rename`, so that of two writers the second does not replace the first's file.
    """
    temporary = staging / f"new-{uuid.uuid4().hex}"
    try:
        write_synced(temporary, data)
        os.link(temporary, path)
        made = True
    except FileExistsError:
        made = False
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return made


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
