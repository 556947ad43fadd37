"""The SQLite file under a spool's ledger: whole changes, which are on disk when they are made, or not made at all."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from sensorium.episode.remedy import no_file_opens, remedy
from sensorium.errors import SpoolError, SpoolFull

SHARED_BYTES = 1 << 16


class LedgerFile:
    """WAL, synchronous FULL. Thread-safe.

    Args:
        path: Made if it is not there.
        schema: SQL that makes the tables where they are missing.
        columns: SQL of columns of the table `episodes` that are added where they are missing.

    Raises:
        SpoolFull: there is no room to open it.
        SpoolError: it cannot be used.
    """

    def __init__(self, path: Path, schema: str, columns: dict[str, str]) -> None:
        self.path = path
        self.changes = 0
        """How often it was changed, or that was tried."""
        self._lock = threading.Lock()
        self._meta: dict[str, Any] = {}
        try:
            _check_beside(path)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(schema)
                there = {row[1] for row in self._db.execute("PRAGMA table_info(episodes)")}
                for name in columns.keys() - there:
                    self._db.execute(f"ALTER TABLE episodes ADD COLUMN {name} {columns[name]}")
            except BaseException:
                self._db.close()
                raise
        except sqlite3.Error as error:
            raise _unopened(error, path) from error

    def close(self) -> None:
        """Close it; twice is no error."""
        with self._lock:
            self._db.close()

    def read(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows that a query finds.

        Raises:
            SpoolError: the disk is in trouble.
        """
        with self._lock:
            return self._read(sql, values)

    def meta(self, key: str) -> Any:
        """What was noted under a key; None if nothing was. Of what was asked for since the last change, from memory:
        so no episode that begins waits for others to be on disk.

        Raises:
            SpoolError: the disk is in trouble.
        """
        try:
            return self._meta[key]
        except KeyError:
            with self._lock:
                rows = self._read("SELECT value FROM meta WHERE key = ?", (key,))
                value = self._meta[key] = rows[0][0] if rows else None
                return value

    def _read(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            short = no_file_opens()
            step = "see to the disk" if short is None else f"{short.strerror}; {remedy(short)}"
            raise SpoolError(f"{self.path}: cannot be read: {error}; {step}") from error

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Make all that is done with the connection durable, or nothing of it.

        Raises:
            SpoolFull: there is no room.
            SpoolError: the disk is in trouble.
        """
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                kind = SpoolFull if _is_full(error, self.path) else SpoolError
                raise kind(f"{self.path}: {error}; nothing was changed") from error
            finally:
                self.changes += 1
                self._meta.clear()
                # SQLite may have rolled back by itself, and where not even that can be done there is nothing to say.
                with contextlib.suppress(sqlite3.Error):
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")


def note(change: sqlite3.Connection, key: str, document: object) -> None:
    """Note a document under a key."""
    change.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, msgspec.msgpack.encode(document)))


def _check_beside(path: Path) -> None:
    """SQLite does not say what is wrong with the files beside a ledger, or waits for what is none."""
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(f"{path.name}{suffix}")
        if (beside.exists() or beside.is_symlink()) and not beside.is_file():
            raise SpoolError(f"{path}: cannot be opened: {beside} is no file; remove that")


def _unopened(error: sqlite3.Error, path: Path) -> SpoolError:
    """What it is to a spool's user that a ledger does not open. Of much SQLite says that it is unable, and no more."""
    if (short := no_file_opens()) is not None:
        return SpoolError(f"{path}: cannot be opened: {short.strerror}; {remedy(short)}")
    if _is_full(error, path):
        return SpoolFull(f"{path}: cannot be opened: {error}; make room on its file system")
    return SpoolError(f"{path}: cannot be used as a ledger: {error}; move it away to begin a new one")


def _is_full(error: sqlite3.Error, path: Path) -> bool:
    """Whether there is no room; of the memory that SQLite shares beside its file it says only that it failed."""
    if "full" in str(error):
        return True
    if no_file_opens() is not None:
        return False
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return False
    return isinstance(error, sqlite3.OperationalError) and disk.f_bavail * disk.f_frsize < SHARED_BYTES
