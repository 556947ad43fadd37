"""What is in a folder that somebody else filled: no link in it is followed, and nothing is opened but files."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from sensorium.corpus.commits import record_name, zip_name
from sensorium.episode import durable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder_beneath(fd: int, path: str) -> int:
    """A folder under the open folder `fd`; `OSError` if it, or one above it, is a link, or none."""
    at = os.dup(fd)
    for part in path.split("/"):
        try:
            below = os.open(part, _FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def open_beneath(fd: int, path: str) -> int:
    """A file under the open folder `fd`, to be read; `OSError` if it is none, or there is a link on the way."""
    parent, _, name = path.rpartition("/")
    at = open_folder_beneath(fd, parent) if parent else os.dup(fd)
    try:
        file = os.open(name, _FILE, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(file).st_mode):  # a pipe would keep whoever reads it
        os.close(file)
        raise FileNotFoundError(2, "not a file", path)
    return file


def read_beneath(fd: int, path: str, most_bytes: int) -> bytes:
    """All that a file under the open folder `fd` holds; `OSError` if that is more than `most_bytes`, too."""
    file = open_beneath(fd, path)
    try:
        parts, size = [], 0
        while part := os.read(file, 1 << 20):
            parts.append(part)
            if (size := size + len(part)) > most_bytes:
                raise FileNotFoundError(2, f"more than {most_bytes} bytes", path)
    finally:
        os.close(file)
    return b"".join(parts)


def names_beneath(fd: int, path: str) -> list[str]:
    """The names in a folder under the open folder `fd`, sorted; none if it is no folder."""
    try:
        at = open_folder_beneath(fd, path)
    except OSError:
        return []
    try:
        return durable.names(Path(), dir_fd=at)
    finally:
        os.close(at)


def removing(folder: Path, dir_fd: int) -> Iterator[None]:
    """Remove a folder and all that is in it, a name at a time."""
    try:
        fd = os.open(folder, _FOLDER, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    try:
        for name in durable.names(Path(), dir_fd=fd):
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                yield from removing(Path(name), fd)
            else:
                durable.remove(name, dir_fd=fd)
                yield
    finally:
        os.close(fd)
    durable.remove_tree(folder, dir_fd=dir_fd)


def forget(fd: int, episode: UUID) -> None:
    """Remove the names of an episode under the open folder of a store, its record first, durably or not."""
    record, packed = record_name(episode), zip_name(episode)
    for name in (record, packed):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            at = open_folder_beneath(fd, str(Path(name).parent))
            try:
                durable.remove(Path(name).name, dir_fd=at)
                if name is packed:
                    durable.remove_tree(Path(str(episode)), dir_fd=at)
            finally:
                durable.close(at)
