"""What is beside the episodes, in the catalog: entered line by line, found by kind, episode and name."""

import functools
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sensorium.corpus import standing_labels
from sensorium.corpus.beside import (
    BESIDE,
    LOCK,
    SUFFIX,
    UNCATALOGUED,
    beside_kinds,
    beside_paths,
    kind_held,
    read_lines,
)
from sensorium.corpus.catalog_reading import CATALOG, LOCKED_S, check_version, is_read_only, no_catalog, read_engine
from sensorium.episode import durable
from sensorium.episode.remedy import FULL, SHORT
from sensorium.errors import StoreError

log = logging.getLogger(__name__)

_META = sa.MetaData()
beside = sa.Table(
    "beside",
    _META,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("writer", sa.Text, primary_key=True),
    sa.Column("at", sa.Integer, primary_key=True),
    sa.Column("episode", sa.Text),
    sa.Column("name", sa.Text),
    sa.Column("utc", sa.Text),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index("beside_episode", "kind", "episode", "name", "utc"),
    sa.Index("beside_score", "kind", "name", sa.text("json_extract(document, '$.verdict.score')")),
    sqlite_with_rowid=False,
)
beside_files = sa.Table(
    "beside_files",
    _META,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("writer", sa.Text, primary_key=True),
    sa.Column("entered", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Up to which byte each file is entered."""

_NEWEST = "ORDER BY utc DESC, writer DESC, at DESC LIMIT 1"
VERDICT = (
    "(SELECT json_extract(document, {path}) FROM beside WHERE beside.kind = 'verdicts'"
    f" AND beside.episode = episodes.episode AND beside.name = {{name}} {_NEWEST})"
)
"""The field of an episode's newest verdict by one verifier, for `Where.sql`."""
VERDICTS = (
    "SELECT episode FROM beside WHERE kind = 'verdicts' AND name = {name} AND json_extract(document, {path}) {test}"
)
"""The episodes of which one verdict of a verifier passes a test, the newest or another."""
SCORE_PATH = "$.verdict.score"
"""The field that has an index, where it is written as there."""
NO_VERDICT = "CASE WHEN 0 THEN {name} || {path} END"
"""The same, of a catalog of before there were verdicts."""
_ENTER = "INSERT OR REPLACE INTO beside (kind, writer, at, episode, name, utc, document) VALUES (?, ?, ?, ?, ?, ?, ?)"
_ENTERED = (
    "INSERT INTO beside_files (kind, writer, entered) VALUES (?, ?, ?)"
    " ON CONFLICT (kind, writer) DO UPDATE SET entered = max(entered, excluded.entered)"
)
_LINES = 1000
"""Of one transaction."""


def has_beside(connection: sa.Connection) -> bool:
    """Whether a catalog knows of records beside episodes: one of before there were such does not."""
    return sa.inspect(connection).has_table(beside.name)


def enter_beside(store: Path) -> int:
    """Enter what the catalog of a store lacks of what is beside its episodes; how many lines. An ingest may be at work.

    Raises:
        StoreError: the catalog cannot be written.
    """
    path = store / CATALOG

    def connect() -> sqlite3.Connection:
        if not path.is_file():
            raise no_catalog(path)
        if is_read_only(path):
            raise StoreError(f"{store}: nobody can write here, and what is said of episodes is kept in their store")
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=LOCKED_S)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.StaticPool)
    try:
        with engine.begin() as connection:
            version = connection.exec_driver_sql("SELECT value FROM about WHERE name = 'version'").scalar()
            check_version(path, version)

        def transact(what: Callable[[sa.Connection], None]) -> None:
            with engine.begin() as connection:
                what(connection)

        return fill_beside(transact, store)
    except sa.exc.DBAPIError as error:
        raise StoreError(f"{path}: {error.orig}; try again, or run `sensorium rebuild-catalog {store}`") from error
    finally:
        engine.dispose()


def fill_beside(transact: Callable[[Callable[[sa.Connection], None]], None], store: Path) -> int:
    """`enter_beside`, where `transact` does something in a transaction of its own."""
    entered = 0
    known: dict[tuple[str, str], int] = {}

    def prepare(connection: sa.Connection) -> None:
        _META.create_all(connection)
        for index in beside.indexes:  # one of before there was this or that
            connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
        standing_labels.prepare(connection)
        for kind, writer, end in connection.execute(sa.select(beside_files)):
            known[kind, writer] = end

    transact(prepare)
    kept = set()
    for kind in _catalogued(store):
        try:
            with kind_held(store / BESIDE / kind):  # or what a deletion takes out would be entered all the same
                entered += _enter_kind(transact, store, kind, known)
        except OSError as error:
            if error.errno in (*FULL, *SHORT):  # no fault of this kind's files
                raise
            kept.add(kind)
            where = error.filename or store / BESIDE / kind
            log.error("%s: %s; remove it: until then the catalog hears of no more %s", where, error.strerror, kind)
    for kind, writer in known:
        if kind not in kept:
            transact(functools.partial(forget_file, kind=kind, writer=writer))
    return entered


def _catalogued(store: Path) -> list[str]:
    return [kind for kind in beside_kinds(store) if kind not in UNCATALOGUED]


def _enter_kind(
    transact: Callable[[Callable[[sa.Connection], None]], None],
    store: Path,
    kind: str,
    known: dict[tuple[str, str], int],
) -> int:
    entered = 0
    for path in beside_paths(store, kind):
        if not durable.is_file(path):  # which `sensorium verify` says
            continue
        start = known.pop((kind, path.stem), 0)
        size = path.stat().st_size
        if size < start:  # another file has its name: it came from a copy of the store, say
            transact(functools.partial(forget_file, kind=kind, writer=path.stem))
            start = 0
        if size > start:
            # What a writer that was killed had not synced must not be believed, and then be gone.
            durable.sync_file(path)
            entered += _enter_file(transact, kind, path, start)
    return entered


def _enter_file(transact: Callable[[Callable[[sa.Connection], None]], None], kind: str, path: Path, start: int) -> int:
    count = 0
    rows: list[tuple[Any, ...]] = []
    end = start

    def enter(connection: sa.Connection) -> None:
        if rows:
            connection.exec_driver_sql(_ENTER, rows)
        connection.exec_driver_sql(_ENTERED, (kind, path.stem, end))
        if kind == standing_labels.KIND:
            standing_labels.stand_anew(connection, {row[3] for row in rows if row[3] is not None})

    for line in read_lines(path, start):
        end = line.end
        if line.record is not None:
            found = (line.record.get(name) for name in ("episode", "name", "utc"))
            texts = (each if isinstance(each, str) else None for each in found)
            rows.append((kind, line.writer, line.at, *texts, json.dumps(line.record)))
        if len(rows) == _LINES:
            transact(enter)
            count += len(rows)
            rows = []
    transact(enter)
    return count + len(rows)


def forget_file(connection: sa.Connection, kind: str, writer: str) -> None:
    """Take out all that a file holds, which is gone, or is to be entered anew."""
    labelled = standing_labels.labelled_by(connection, writer) if kind == standing_labels.KIND else []
    for table in (beside, beside_files):
        connection.execute(sa.delete(table).where(table.c.kind == kind, table.c.writer == writer))
    standing_labels.stand_anew(connection, labelled)


def newest(
    connection: sa.Connection, kind: str, episodes: Iterable[str] | None = None
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(episode, name, record) of the newest record of one kind by episode and name; of these episodes, or of all that
    are in the store: what is said of one that is not there counts for nothing.
    """
    if not has_beside(connection):
        return
    text = (
        "SELECT episode, name, document FROM (SELECT *, row_number() OVER (PARTITION BY episode, name"
        " ORDER BY utc DESC, writer DESC, at DESC) AS age FROM beside"
        " WHERE kind = :kind AND episode IN (SELECT episode FROM episodes){}) WHERE age = 1 ORDER BY episode, name"
    )
    wanted = None if episodes is None else list(episodes)
    for start in range(0, 1 if wanted is None else len(wanted), 500):
        some = [] if wanted is None else wanted[start : start + 500]
        values = {"kind": kind} | {f"e{number}": episode for number, episode in enumerate(some)}
        which = "" if wanted is None else f" AND episode IN ({', '.join(f':e{number}' for number in range(len(some)))})"
        for episode, name, document in connection.execute(sa.text(text.format(which)), values):
            yield episode, name, json.loads(document)


def judged(connection: sa.Connection, name: str, version: str, code: str) -> set[str]:
    """The episodes that a verifier has judged, at this version and with this code."""
    if not has_beside(connection):
        return set()
    text = (
        "SELECT episode FROM beside WHERE kind = 'verdicts' AND name = :name"
        " AND json_extract(document, '$.version') = :version AND json_extract(document, '$.code') = :code"
    )
    return set(connection.execute(sa.text(text), {"name": name, "version": version, "code": code}).scalars())


def damage_beside(store: Path) -> Iterator[tuple[str, Path, str]]:
    """What is wrong with the files beside the episodes, and with what the catalog has of them: what, where, next."""
    known: dict[tuple[str, str], int] | None = {}
    try:
        with read_engine(store / CATALOG).connect() as connection:
            if has_beside(connection):
                known = {(kind, writer): end for kind, writer, end in connection.execute(sa.select(beside_files))}
    except (StoreError, sa.exc.SQLAlchemyError):
        known = None  # which is said already
    for kind in beside_kinds(store):
        lock = store / BESIDE / kind / LOCK
        if (lock.exists() or lock.is_symlink()) and not durable.is_file(lock):
            yield "is no file, and nothing of this kind can be said", lock, "remove it"
        for path in beside_paths(store, kind):
            end = 0
            if not durable.is_file(path):
                yield "is no file", path, "remove it, or restore it from a copy"
                continue
            try:
                for number, line in enumerate(read_lines(path), 1):
                    end = line.end
                    if line.record is None:
                        what = f"line {number}, byte {line.at}: is not what was written, and counts for nothing"
                        yield what, path, "restore the file from a copy, or remove the line and say it again"
            except OSError as error:
                yield f"cannot be read ({error.strerror})", path, "restore it from a copy"
                continue
            if kind in UNCATALOGUED:
                continue
            if known is not None and known.pop((kind, path.stem), 0) != end:
                yield "is not in the catalog as it is", path, f"run `sensorium rebuild-catalog {store}`"
    for kind, writer in known or ():
        path = store / BESIDE / kind / f"{writer}{SUFFIX}"
        yield "is gone, but in the catalog", path, "restore it from a copy, or run `sensorium rebuild-catalog`"
