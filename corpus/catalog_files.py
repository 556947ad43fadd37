"""The files that SQLite has of a catalog: whether they are what was opened, and how what is damaged is set aside."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from sensorium.episode import durable
from sensorium.errors import StoreError

BESIDE_CATALOG = ("-wal", "-shm")
"""Its log, and what those who have it open share; none of them may stand beside another's catalog."""
ASIDE = ".damaged-"
"""Between the name of a catalog and when it was set aside."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY = 0xFF
_LACKING = ("no such table: ", "no such column: ")

FileIds = tuple[durable.FileId | None, ...]


def is_damage(error: BaseException) -> bool:
    """Whether an error of SQLite's is of what the files hold; others are of this moment, or of the disk."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        error = error.orig
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_ERROR:  # somebody has taken a table out, or written another catalog over it
        return str(error).startswith(_LACKING)
    return code is not None and (code & _PRIMARY in _DAMAGED or code == sqlite3.SQLITE_IOERR_SHORT_READ)


def beside_of(name: Path, dir_fd: int | None) -> FileIds:
    """Which files have the names of the log and the shared memory of a catalog."""
    seen = (durable.look(f"{name}{suffix}", dir_fd=dir_fd) for suffix in BESIDE_CATALOG)
    return tuple(each and each.id for each in seen)


def no_file(name: Path, dir_fd: int | None) -> str | None:
    """Which of the names of a catalog something has that is no file; whoever opens a pipe may wait for ever."""
    for suffix in ("", *BESIDE_CATALOG):
        at = f"{name}{suffix}"
        if _has(at, dir_fd) and not durable.is_file(at, dir_fd=dir_fd):
            return at
    return None


def set_aside(name: Path, dir_fd: int | None) -> Path | None:
    """Give what is there of a catalog other names, by which SQLite still opens it; None where it is not there itself:
    then its log, which is of no use to anybody, goes.

    What was set aside before goes too, so that no more than one is kept.

    Raises:
        OSError: the names cannot be changed.
    """
    is_there = _has(f"{name}", dir_fd)
    if is_there:
        remove_aside(name, dir_fd)
    stem = f"{name}{ASIDE}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    aside = next(each for each in _numbered(stem) if not _has(each, dir_fd))
    for suffix in (*BESIDE_CATALOG, ""):
        if not is_there and durable.is_file(f"{name}{suffix}", dir_fd=dir_fd):
            durable.remove(Path(f"{name}{suffix}"), dir_fd=dir_fd)
            continue
        with suppress(FileNotFoundError):
            durable.rename(Path(f"{name}{suffix}"), Path(f"{aside}{suffix}"), dir_fd=dir_fd)
    return Path(aside) if is_there else None


def remove_files(name: Path, dir_fd: int | None) -> None:
    """Remove a catalog, and what is beside it."""
    for suffix in ("", *BESIDE_CATALOG):
        durable.remove(Path(f"{name}{suffix}"), dir_fd=dir_fd)


def remove_aside(name: Path, dir_fd: int | None) -> None:
    """Remove what was set aside; what is no file, which nobody of us made, stays."""
    for each in durable.names(name.parent, dir_fd=dir_fd):
        at = name.with_name(each)
        if each.startswith(f"{name.name}{ASIDE}") and durable.is_file(at, dir_fd=dir_fd):
            durable.remove(at, dir_fd=dir_fd)


def read_apart(file: Path) -> bytes:
    """What a file of a catalog holds, as another process reads it: if it were closed here, this process would lose its
    locks on it, and the next reader to go would take the log away under it.

    Raises:
        FileNotFoundError: it is gone.
        StoreError: it cannot be read.
    """
    if not file.exists():
        raise FileNotFoundError(file)
    read = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", read, file], capture_output=True, check=False)
    if done.returncode:
        raise StoreError(f"{file}: cannot be searched: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return done.stdout


def _numbered(stem: str) -> Iterator[str]:
    yield stem
    number = 1
    while True:
        number += 1
        yield f"{stem}-{number}"


def _has(at: str, dir_fd: int | None) -> bool:
    """Whether anything has that name, a link that leads nowhere too."""
    try:
        os.stat(at, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
