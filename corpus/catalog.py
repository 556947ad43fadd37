"""The SQL index over a store's episodes, and the ledger of every spool; rebuilt from `commits/` when lost."""

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sensorium.corpus.catalog_entries import enter_records
from sensorium.corpus.catalog_reading import LOCKED_S, check_version, columns_of
from sensorium.corpus.catalog_tables import (
    CATALOG_VERSION,
    COLUMNS,
    FORMER,
    META,
    OF_RECORDS,
    about,
    between_totals,
    episodes,
    ledger,
    spools,
)
from sensorium.corpus.commits import LOOSE_VERSION, CommitRecord, check_store_version
from sensorium.episode import durable
from sensorium.episode.documents import BetweenReport
from sensorium.errors import Corrupt, StoreError

# Keys as JSON, one statement for all of them: at each SQLite lets go of the interpreter.
_KEYS = msgspec.json.Encoder()
_AT = [f"json_extract(value, '$[{place}]')" for place in range(3)]
_ENTRIES_OF = (
    "SELECT asked.key, state, episode, reason FROM json_each(?) AS asked CROSS JOIN ledger"
    f" WHERE device = {_AT[0]} AND spool_id = {_AT[1]} AND ordinal = {_AT[2]}"
)
_FOLDING_MS = 200
"""So long who closes waits for readers; what they keep from being folded is where it was, and counts."""
_INDICES = [index for table in META.tables.values() for index in table.indexes]


class LedgerEntry(NamedTuple):
    """What became of one ordinal of a spool: committed as `episode`, deleted since, or discarded on the device for
    `reason`."""

    state: Literal["committed", "deleted", "discarded"]
    episode: uuid.UUID | None
    reason: str


class Discards(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `commits/discarded/DEVICE/SPOOL_ID.jsonl`."""

    ordinals: tuple[int, ...]
    reason: str


class Catalog:
    """The catalog as the one writer has it; every method may be called from any thread, and is one transaction.

    It is made where there is none, and then never again but by `make_again`: once the file is gone, or another is in
    its place, what needs a new connection fails. Where the open folder `dir_fd` is given the file is the one in there:
    SQLite opens it by its path all the same, and is told to make none.
    """

    def __init__(self, path: Path, dir_fd: int | None = None) -> None:
        self._path = path
        self._name = path if dir_fd is None else Path(path.name)
        self._dir_fd = dir_fd
        self._file: durable.FileId | None = None
        self._engine = sa.create_engine("sqlite://", creator=self._connect, poolclass=sa.QueuePool)
        self._writing = threading.Lock()
        self._make()

    @property
    def is_there(self) -> bool:
        """Whether the file that was opened still has its name."""
        seen = durable.look(self._name, dir_fd=self._dir_fd)
        return seen is not None and seen.id == self._file

    @property
    def is_lost(self) -> bool:
        """Whether that is not so, or the file was emptied: then its log alone is left, which no reader understands."""
        seen = durable.look(self._name, dir_fd=self._dir_fd)
        return seen is None or seen.id != self._file or not seen.size

    def make_again(self, fill: Callable[[], object]) -> None:
        """Open what has the name now, or an empty catalog where nothing has, and `fill` it with what it lacks."""
        with self._writing:
            self._engine.dispose()
            self._file = None
            self._make()
        try:
            fill()
        except BaseException:
            self._file = None  # or it would pass for whole
            raise

    def _make(self) -> None:
        try:
            # One that is there is not opened here: when that was closed SQLite would lose its locks on it.
            if (seen := durable.look(self._name, dir_fd=self._dir_fd)) is not None:
                self._file = seen.id
            else:
                fd = durable.create(self._name, dir_fd=self._dir_fd)
                self._file = durable.identity(fd)
                durable.close(fd)
            self._create()
        except BaseException:
            self._file = None
            raise

    def _create(self) -> None:
        """Make the tables, or bring those of an earlier release to this one; what it cannot bring is left to `fill`."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # or each table is a transaction, which waits for the disk
            there = set(sa.inspect(connection).get_table_names())
            version = None
            if about.name in there:
                version = connection.execute(sa.select(about.c.value).where(about.c.name == "version")).scalar()
            if version is not None:
                check_version(self._path, version)
            if self._is_of_old(version, there, connection):
                # The version is written last, and a table that is gone is reason enough: what is cut off is done again.
                META.drop_all(connection, [table for table in OF_RECORDS if table.name in there])
                for name in FORMER:
                    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
            META.create_all(connection)
            _add_columns(connection)
            _make_indices(connection)
            now = {"name": "version", "value": str(CATALOG_VERSION)}
            connection.execute(insert(about).prefix_with("OR REPLACE"), now)

    def _is_of_old(self, version: str | None, there: Set[str], connection: sa.Connection) -> bool:
        """Whether the commit records must be entered anew. A column that is missing alone stays empty: so it is in the
        records of before there was such, but not in those of ZIPs."""
        if version != str(CATALOG_VERSION) or not there >= {table.name for table in OF_RECORDS}:
            return True
        return columns_of(connection) != COLUMNS and check_store_version(self._path.parent) != LOOSE_VERSION

    def _connect(self) -> sqlite3.Connection:
        """A connection to the file that was opened; SQLite would make another where it is gone."""
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        if not self.is_there:
            raise StoreError(f"{self._path}: the catalog that was opened here is gone; it is made again")
        connection = sqlite3.connect(uri, uri=True, timeout=LOCKED_S, check_same_thread=False)
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute("pragma journal_mode = wal")
                cursor.execute("pragma synchronous = full")
            seen = durable.look(self._path)
            if seen is None or seen.id != self._file:
                raise StoreError(f"{self._path}: not the catalog that was opened here; put the store back")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """A transaction. After an error every connection is opened anew: one that was opened while the disk could only
        be read would never write again."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError:
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Close, and fold the write-ahead log into the file, which SQLite does only where nobody else has it open."""
        with suppress(sa.exc.SQLAlchemyError, StoreError), self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_FOLDING_MS}")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self._engine.dispose()

    def add(self, records: Iterable[CommitRecord]) -> None:
        """Enter commits, in place of what is here of the same episodes; a discard of the same ordinal gives way."""
        those = list(records)
        if those:
            with self._writing, self._transaction() as connection:
                try:
                    enter_records(_raw(connection), those)
                except sqlite3.Error as error:  # as SQLAlchemy would have said it
                    raise sa.exc.OperationalError("entering commit records", None, error) from error

    @contextmanager
    def filled_anew(self) -> Iterator[None]:
        """While all commits are entered there are no indices: to make each behind them takes less than to keep it.

        What is cut off meanwhile is made when the catalog is opened next.
        """
        self.transact(_drop_indices)
        yield
        self.transact(_make_indices)

    def discard(self, device: str, spool_id: str, discards: Iterable[Discards]) -> None:
        """Enter what a device says it discarded; a commit of the same ordinal stays."""
        given = [(ordinal, each.reason) for each in discards for ordinal in each.ordinals]
        rows = [_entry(device, spool_id, ordinal, "discarded", None, reason) for ordinal, reason in given]
        if rows:
            with self._writing, self._transaction() as connection:
                connection.execute(insert(ledger).on_conflict_do_nothing(), rows)

    def between(self, device: str, spool_id: str, report: BetweenReport) -> None:
        """Enter a spool's totals, in place of what was here."""
        statement = insert(between_totals).values(
            device=device, spool_id=spool_id, document=msgspec.json.encode(report)
        )
        latest = {"document": statement.excluded.document}
        with self._writing, self._transaction() as connection:
            key = list(between_totals.primary_key)
            connection.execute(statement.on_conflict_do_update(index_elements=key, set_=latest))

    def saw_spool(self, device: str, spool_id: str, oldest: int, next_ordinal: int) -> int:
        """Remember the range of ordinals that a device last said it had given out; the next one that was known of."""
        ours = (ledger.c.device == device) & (ledger.c.spool_id == spool_id)
        told = (spools.c.device == device) & (spools.c.spool_id == spool_id)
        statement = insert(spools).values(device=device, spool_id=spool_id, oldest=oldest, next_ordinal=next_ordinal)
        furthest = sa.func.max(spools.c.next_ordinal, statement.excluded.next_ordinal)  # a copy may be behind
        seen = {"oldest": statement.excluded.oldest, "next_ordinal": furthest}
        with self._writing, self._transaction() as connection:
            settled = connection.execute(sa.select(sa.func.max(ledger.c.ordinal)).where(ours)).scalar()
            known = connection.execute(sa.select(spools.c.next_ordinal).where(told)).scalar()
            connection.execute(statement.on_conflict_do_update(index_elements=list(spools.primary_key), set_=seen))
        return max(0 if known is None else int(known), 0 if settled is None else int(settled) + 1)

    def episode(self, episode: uuid.UUID) -> dict[str, Any] | None:
        """The columns of one episode."""
        with self._transaction() as connection:
            statement = sa.select(*(episodes.c[name] for name in COLUMNS)).where(episodes.c.episode == str(episode))
            row = connection.execute(statement).first()
        return None if row is None else dict(row._mapping)

    def ordinal(self, device: str, spool_id: str, ordinal: int) -> LedgerEntry | None:
        """The ledger's entry, or None while the ordinal is pending or unknown."""
        return self.ordinals([(device, spool_id, ordinal)])[0]

    def ordinals(self, keys: Iterable[tuple[str, str, int]]) -> list[LedgerEntry | None]:
        """The ledger's entries of these (device, spool_id, ordinal)."""
        asked = list(keys)
        with self._transaction() as connection:
            found = {
                row[0]: row[1:] for row in connection.exec_driver_sql(_ENTRIES_OF, (_KEYS.encode(asked).decode(),))
            }
        return [_ledger_entry(*found[at]) if at in found else None for at in range(len(asked))]

    def transact(self, what: Callable[[sa.Connection], None]) -> None:
        """Do `what` in a transaction of its own."""
        with self._writing, self._transaction() as connection:
            what(connection)

    def compact(self) -> bool:
        """Write the file anew without what was deleted, and empty its log; False where a reader keeps that."""
        with self._writing:
            self._engine.dispose()
            try:
                with closing(self._connect()) as connection:
                    connection.isolation_level = None
                    connection.execute("VACUUM")
                    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError as error:  # a full disk, a lock: as of any other use of it
                raise sa.exc.OperationalError("VACUUM", None, error) from error
        return not busy

    def ids(self) -> set[str]:
        """Every episode's id."""
        with self._transaction() as connection:
            return {episode for (episode,) in _raw(connection).execute("SELECT episode FROM episodes")}


def _drop_indices(connection: sa.Connection) -> None:
    for index in _INDICES:
        index.drop(connection, checkfirst=True)


def _make_indices(connection: sa.Connection) -> None:
    for index in _INDICES:
        index.create(connection, checkfirst=True)


class _Undone(Exception):
    """Ends a transaction of which nothing is to stay."""


def check_row(catalog: Catalog, record: CommitRecord) -> None:
    """See whether a commit record that nobody has entered makes a row, before anybody believes it; nothing is entered.

    Raises:
        Corrupt: it makes none.
    """

    def enter(connection: sa.Connection) -> None:
        try:
            enter_records(_raw(connection), [record])
        except sqlite3.OperationalError as error:  # the disk's fault, not the record's
            raise sa.exc.OperationalError("entering a commit record", None, error) from error
        except (sqlite3.Error, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Corrupt(f"the commit record of episode {record.row.get('episode')} makes no row: {error}") from error
        raise _Undone

    with suppress(_Undone):
        catalog.transact(enter)


def _raw(connection: sa.Connection) -> sqlite3.Cursor:
    """SQLite's own cursor, in the transaction that the connection is in."""
    if not isinstance(raw := connection.connection.driver_connection, sqlite3.Connection):
        raise StoreError(f"{raw!r}: no connection of SQLite's")
    return raw.cursor()


def _add_columns(connection: sa.Connection) -> None:
    there = columns_of(connection)
    for name in COLUMNS:
        if name not in there:
            column = sa.schema.CreateColumn(episodes.c[name]).compile(connection)
            connection.execute(sa.text(f"ALTER TABLE episodes ADD COLUMN {column}"))
            if name == "interval_s":  # that is what `duration_s` was before
                connection.execute(sa.update(episodes).values(interval_s=episodes.c.duration_s))


def _entry(
    device: str, spool_id: str, ordinal: int, state: str, episode: str | None, reason: str
) -> dict[str, str | int | None]:
    return {
        "device": device,
        "spool_id": spool_id,
        "ordinal": ordinal,
        "state": state,
        "episode": episode,
        "reason": reason,
    }


def _ledger_entry(state: Literal["committed", "deleted", "discarded"], episode: str | None, reason: str) -> LedgerEntry:
    return LedgerEntry(state, uuid.UUID(episode) if episode else None, reason)
