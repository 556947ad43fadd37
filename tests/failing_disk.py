"""A disk in trouble: calls that change or sync it fail for a while, and then work again."""

import errno
import os
import sqlite3
from typing import Any

import pytest

from sensorium.episode import durable

CALLS = ("open", "write", "writev", "pwrite", "ftruncate", "fsync", "fdatasync", "close", "mkdir", "rename", "unlink")


class FailingDisk:
    """Stands in for `os` in `durable`, and for SQLite under every ledger that is opened meanwhile.

    Calls are counted from 0. Those from `first` on fail with `error`, `n` of them, as a disk fails: a write puts half
    of it there, a descriptor is closed all the same, and a transaction may be over or not.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._first = self._n = 0
        self._error = errno.EIO
        patch.setattr(durable, "os", self)
        real, disk = sqlite3.connect, self

        class Watched(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                if sql.startswith(("BEGIN", "COMMIT")) and disk.fails():
                    full = disk._error == errno.ENOSPC
                    if full and self.in_transaction:
                        super().execute("ROLLBACK")
                    raise sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
                return super().execute(sql.replace("synchronous=FULL", "synchronous=OFF"), *values)

        patch.setattr(sqlite3, "connect", lambda *args, **options: real(*args, **{"factory": Watched} | options))

    def trouble(self, first: int, n: int, error: int) -> None:
        """From call `first` on, counted from now, `n` calls fail."""
        self.calls, self._first, self._n, self._error = 0, first, n, error

    def works(self) -> None:
        """Nothing fails any more."""
        self._n = 0

    def fails(self) -> bool:
        """Count a call; whether it is one that fails."""
        number, self.calls = self.calls, self.calls + 1
        return self._first <= number < self._first + self._n

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            if not self.fails():
                return (
                    None if name in ("fsync", "fdatasync") else real(*arguments, **named)
                )  # it is not power that goes
            if name == "close":
                real(*arguments)
            if name == "writev" and (half := b"".join(arguments[1])[: sum(map(len, arguments[1])) // 2]):
                return os.write(arguments[0], half)
            raise OSError(self._error, os.strerror(self._error))

        return call
