"""How the catalog of a store is opened to be read, while another process may write it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from sensorium.corpus.catalog_tables import CATALOG_VERSION, COLUMNS, episodes
from sensorium.corpus.commits import WRITER_LOCK
from sensorium.episode.locking import is_locked
from sensorium.errors import StoreError

CATALOG = "catalog.sqlite"
FILLING = "filling"
"""Among what a catalog says of itself, as long as it is being filled from the commit records."""
LOCKED_S = 5.0
"""How long a transaction waits for a catalog that another process holds; then it fails, and is to be tried again."""


def columns_of(connection: sa.Connection) -> dict[str, str]:
    """Those of `COLUMNS` that a catalog has: one of before there was a column lacks it until it is written to."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(episodes.name)}
    return {name: kind for name, kind in COLUMNS.items() if name in there}


def read_engine(path: Path) -> sa.Engine:
    """An engine that reads the catalog at `path` while another process may write it, or on a read-only file system.

    It keeps no connection between uses, so that it may be carried over a fork.
    """
    return sa.create_engine("sqlite://", creator=lambda: open_catalog(path), poolclass=sa.NullPool)


def open_catalog(path: Path) -> sqlite3.Connection:
    """A connection of one's own that reads the catalog at `path`; it is to be closed.

    Raises:
        StoreError: there is none, it cannot be read, it is being made again, or it is of a later release.
    """
    if not path.is_file():
        raise no_catalog(path)
    # Where nobody can write SQLite must be told so: it would want shared memory beside the file.
    log = path.with_name(f"{path.name}-wal")
    mode = "immutable=1" if is_read_only(path) and not _has_bytes(log) else "mode=ro"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=30, check_same_thread=False)
    try:
        check_version(path, version_of(connection))
        if is_being_filled(connection):
            raise StoreError(
                f"{path}: it is being made again from the commit records, and lacks some of them yet: ask again in some"
                f" seconds; where nothing writes the store, run `sensorium rebuild-catalog {path.parent}`"
            )
    except sqlite3.DatabaseError as error:
        connection.close()
        copied = ", or, of a store that was copied while in use or is read-only, copy it to where you can write"
        step = _at_work(path) or f"run `sensorium rebuild-catalog {path.parent}`{copied}"
        raise StoreError(f"{path}: cannot be read ({error}); {step}") from error
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """`open_catalog`, closed in the end; what goes wrong meanwhile is a `StoreError`."""
    with closing(open_catalog(path)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            step = _at_work(path) or f"run `sensorium rebuild-catalog {path.parent}`"
            raise StoreError(f"{path}: {error}; {step}") from error


def no_catalog(path: Path) -> StoreError:
    """What is to be raised where there is none at `path`: who writes the store makes it again within seconds."""
    step = _at_work(path) or f"run `sensorium rebuild-catalog {path.parent}`"
    return StoreError(f"{path}: no catalog; {step}")


def _at_work(path: Path) -> str:
    """What to do where somebody writes the store of this catalog; empty where nobody does."""
    if not is_locked(path.with_name(WRITER_LOCK)):
        return ""
    return (
        "an ingest, or another command, writes this store, and makes it again: ask again in some seconds; where that"
        f" does not help see what it says, or stop it and run `sensorium rebuild-catalog {path.parent}`"
    )


def document_of(path: Path, episode: str) -> bytes:
    """What the catalog at `path` has of an episode beside its columns, JSON.

    Raises:
        StoreError: it has no such episode any more.
    """
    with reading(path) as connection:
        apart = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'documents'").fetchone() is not None
        found = connection.execute(_DOCUMENT if apart else _DOCUMENT_IN_ROW, (episode,)).fetchone()
    if found is None:
        raise StoreError(f"{path}: episode {episode} is no longer in it; query again")
    return bytes(found[0])


_DOCUMENT = "SELECT document FROM documents WHERE id = (SELECT id FROM episodes WHERE episode = ?)"
_DOCUMENT_IN_ROW = "SELECT document FROM episodes WHERE episode = ?"


def is_read_only(path: Path) -> bool:
    """Whether nothing can be written beside the catalog at `path`."""
    return not os.access(path.parent, os.W_OK)


def version_of(connection: sqlite3.Connection) -> str | None:
    """The version that a catalog says it is of."""
    found = connection.execute("SELECT value FROM about WHERE name = 'version'").fetchone()
    return found[0] if found else None


def is_being_filled(connection: sqlite3.Connection) -> bool:
    """Whether a catalog lacks what is being entered, so that a query would give a part for all."""
    return connection.execute("SELECT 1 FROM about WHERE name = ?", (FILLING,)).fetchone() is not None


def _has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def check_version(path: Path, version: str | None) -> None:
    """Raise `StoreError` for a catalog of a later release; an earlier one's is read as it is until it is written to."""
    if version is None or not version.isdecimal() or int(version) > CATALOG_VERSION:
        raise StoreError(
            f"{path}: catalog of version {version}, this release reads up to {CATALOG_VERSION}; use the release that"
            f" made it, or run `sensorium rebuild-catalog {path.parent}`, which makes it anew"
        )
