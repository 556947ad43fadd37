"""The catalog of a store, kept open between questions: to open it and read its schema takes longer than to ask."""

import functools
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sensorium.corpus.catalog_reading import check_version, is_read_only, open_catalog, version_of
from sensorium.errors import ConfigError, StoreError

IDLE = 2
"""Connections that are kept: who asks from more threads at once opens more, which are closed behind the question."""
_TOO_DEEP = "parser stack overflow"

FileState = tuple[tuple[int, int] | None, ...]
"""Device and inode of the catalog and of the memory that its readers share."""


class OpenedCatalog(NamedTuple):
    """A connection, and the files that it is of."""

    connection: sqlite3.Connection
    files: FileState


class KeptCatalog:
    """The catalog at `path`, which is opened when it is asked for, and kept open for what is asked next.

    Until `close`, the end of this object, or a fork, which carries nothing over; and only while the same file has the
    name. Where nobody can write, as on a disk that may be taken away, nothing is kept. Any thread may ask.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[OpenedCatalog] = []
        weakref.finalize(self, _close_all, self._idle)
        _forks().add(self)

    def __reduce__(self) -> tuple[type["KeptCatalog"], tuple[Path]]:
        return KeptCatalog, (self._path,)

    @contextmanager
    def reading(self) -> Iterator[OpenedCatalog]:
        """The catalog, in a transaction: all that is asked in it is of one moment.

        Raises:
            StoreError: there is none, it cannot be read, or it is of a later release.
            ConfigError: what is asked is no Unicode, or nested deeper than SQLite goes.
        """
        opened = self._take()
        try:
            opened.connection.execute("BEGIN")
            check_version(self._path, version_of(opened.connection))
            yield opened
            opened.connection.rollback()
        except BaseException as error:
            opened.connection.close()
            if isinstance(error, UnicodeEncodeError):
                near = error.object[max(0, error.start - 20) : error.end]
                raise ConfigError(f"{near!r}: is not all UTF-8") from error
            if isinstance(error, sqlite3.Error) and str(error) == _TOO_DEEP:
                raise ConfigError("what is asked is nested too deep; leave out what can be said without") from error
            if isinstance(error, sqlite3.Error):
                repair = f"run `sensorium rebuild-catalog {self._path.parent}`"
                raise StoreError(f"{self._path}: {error}; {repair}") from error
            raise
        self._give_back(opened)

    def close(self) -> None:
        """Close what is kept. Who asks afterwards opens it again."""
        with _forks().guard:
            closed = [*self._idle]
            self._idle.clear()
        _close_all(closed)

    def _take(self) -> OpenedCatalog:
        now = _files(self._path)
        with _forks().guard:
            kept = [*self._idle]
            self._idle.clear()
            mine = next((each for each in kept if each.files == now), None)
            self._idle += [each for each in kept if each is not mine and each.files == now]
        _close_all([each for each in kept if each.files != now])
        if mine is not None:
            return mine
        connection = open_catalog(self._path)
        return OpenedCatalog(connection, _files(self._path))

    def _give_back(self, opened: OpenedCatalog) -> None:
        if not is_read_only(self._path):
            with _forks().guard:
                if len(self._idle) < IDLE:
                    self._idle.append(opened)
                    return
        opened.connection.close()


class _Forks:
    """What must be closed before this process forks: of locks that SQLite believes to hold a forked one has none, also
    on what it opens itself, so that others could clear away what it reads."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self._kept: weakref.WeakSet[KeptCatalog] = weakref.WeakSet()
        os.register_at_fork(before=self._before, after_in_parent=self.guard.release, after_in_child=self.guard.release)

    def add(self, kept: KeptCatalog) -> None:
        with self.guard:
            self._kept.add(kept)

    def _before(self) -> None:
        self.guard.acquire()
        for each in self._kept:
            _close_all(each._idle)
            each._idle.clear()


@functools.cache
def _forks() -> _Forks:
    """Of the whole process, as a fork is."""
    return _Forks()


def _files(path: Path) -> FileState:
    return _identity(path), _identity(path.with_name(f"{path.name}-shm"))


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        seen = path.stat()
        return seen.st_dev, seen.st_ino
    return None


def _close_all(opened: list[OpenedCatalog]) -> None:
    for each in opened:
        each.connection.close()
