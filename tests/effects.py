"""What the code does to the disk, watched at the call: syncs that a test lets pass, and how durable a commit is."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FULL = 2
"""`PRAGMA synchronous` of a connection whose commits are on disk when they return."""


class HeldDisk:
    """Every sync of a file waits until `allow`; a file's bytes count as synced once one that began with them ended."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._real = os.fdatasync
        self._changed = threading.Condition()
        self._allowed = 0
        self._synced: dict[int, int] = {}
        self.begun = 0
        self.ended = 0
        patch.setattr(os, "fdatasync", self._sync)

    def allow(self, more: int = 1 << 30) -> None:
        """Let so many syncs pass."""
        with self._changed:
            self._allowed += more
            self._changed.notify_all()

    def synced(self, path: os.PathLike[str]) -> int:
        """How many bytes of the file are on disk."""
        with self._changed:
            return self._synced.get(os.stat(path).st_ino, 0)  # noqa: PTH116 - beside `fstat`, by the same number

    def wait(self, *, begun: int = 0, ended: int = 0) -> None:
        """Wait until so many syncs have begun and ended."""
        with self._changed:
            came = self._changed.wait_for(lambda: self.begun >= begun and self.ended >= ended, timeout=60.0)
        assert came, f"{self.begun} syncs began and {self.ended} ended, not {begun} and {ended}"

    def _sync(self, descriptor: int) -> None:
        about = os.fstat(descriptor)
        with self._changed:
            self.begun += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._allowed > 0, timeout=60.0), "no sync was let pass"
            self._allowed -= 1
        self._real(descriptor)
        with self._changed:
            self._synced[about.st_ino] = max(self._synced.get(about.st_ino, 0), about.st_size)
            self.ended += 1
            self._changed.notify_all()


@contextmanager
def commit_levels() -> Iterator[list[int]]:
    """The level of `PRAGMA synchronous` at every commit of every SQLite connection that is made meanwhile.

    They begin with OFF, as in a SQLite that was built with another default than Debian's: who needs FULL has to say so.
    """
    levels: list[int] = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql.strip().upper() == "COMMIT":
                self._note()
            return super().execute(sql, *values)

        def commit(self) -> None:
            self._note()
            super().commit()

        def _note(self) -> None:
            if self.in_transaction:
                levels.append(super().execute("PRAGMA synchronous").fetchone()[0])

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        made: sqlite3.Connection = real(*args, **{"factory": Watched} | options)
        made.cursor().execute("PRAGMA synchronous=OFF").close()
        return made

    real = sqlite3.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        patch.setattr(sqlite3.dbapi2, "connect", connect)
        yield levels
