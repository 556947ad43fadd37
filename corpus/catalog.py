"""The SQL index over a store's episodes, and the ledger of every spool; rebuilt from `commits/` when lost."""

import os
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sensorium.corpus.commits import LOOSE_VERSION, CommitRecord, check_store_version
from sensorium.episode import durable
from sensorium.episode.documents import LABELS, OUTCOME, BetweenReport
from sensorium.episode.trace_row import JUDGED_S
from sensorium.episode.where_times import TIME
from sensorium.errors import StoreError

CATALOG_VERSION = 1
CATALOG = "catalog.sqlite"
LOCKED_S = 5.0
"""How long a transaction waits for a catalog that another process holds; then it fails, and is to be tried again."""
TEXT, NUMBER = "text", "number"

_NAMES = ("episode", "device", "spool_id", "identity", "mission", "domain", "origin", "clock", "reason", "digest")
_TIMES = ("start_utc", "end_utc", "committed_utc")
_TEXTS = (*_NAMES, *_TIMES, "licence", "consent", "source", "form", "kind")
_COUNTS = ("bytes", "streams", "rows", "captured", "stored", "filtered", "lost")
_INTEGERS = ("ordinal", "start_ns", "end_ns", *_COUNTS, "generation")
_REALS = ("priority", "duration_s")
COLUMNS: dict[str, str] = (
    dict.fromkeys(_TEXTS, TEXT) | dict.fromkeys((*_INTEGERS, *_REALS), NUMBER) | dict.fromkeys(_TIMES, TIME)
)
"""The columns that `where` and `order_by` know, and what they hold."""

_META = sa.MetaData()
about = sa.Table("about", _META, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))
episodes = sa.Table(
    "episodes",
    _META,
    sa.Column("episode", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Text) for name in _TEXTS if name not in ("episode", "form", "kind")),
    sa.Column("form", sa.Text, server_default="loose"),
    sa.Column("kind", sa.Text, server_default="full"),
    *(sa.Column(name, sa.Integer) for name in _INTEGERS),
    *(sa.Column(name, sa.REAL) for name in _REALS),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Index("episodes_device", "device", "start_utc"),
    sa.Index("episodes_mission", "mission", "start_utc"),
    sa.Index("episodes_start", "start_utc"),
    sa.Index("episodes_committed", "committed_utc"),
)
streams = sa.Table(
    "streams",
    _META,
    sa.Column("episode", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)
ledger = sa.Table(
    "ledger",
    _META,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("spool_id", sa.Text, primary_key=True),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("episode", sa.Text),
    sa.Column("reason", sa.Text),
    sqlite_with_rowid=False,
)
spools = sa.Table(
    "spools",
    _META,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("spool_id", sa.Text, primary_key=True),
    sa.Column("oldest", sa.Integer, nullable=False),
    sa.Column("next_ordinal", sa.Integer, nullable=False),
)
between_totals = sa.Table(
    "between_totals",
    _META,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("spool_id", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False),
)


# As text, for what every commit does: to have it made anew each time took longer than to do it.
_ENTER = f"INSERT OR REPLACE INTO episodes ({', '.join(COLUMNS)}, document) VALUES ({'?, ' * len(COLUMNS)}?)"
# Rows of JSON, one statement for all of them: at each SQLite lets go of the interpreter.
_ROWS = msgspec.json.Encoder()
_AT = [f"json_extract(value, '$[{place}]')" for place in range(4)]
_ENTER_STREAMS = f"INSERT OR IGNORE INTO streams (episode, name) SELECT {_AT[0]}, {_AT[1]} FROM json_each(?)"
_ENTER_COMMITTED = (
    "INSERT INTO ledger (device, spool_id, ordinal, state, episode, reason)"
    f" SELECT {_AT[0]}, {_AT[1]}, {_AT[2]}, 'committed', {_AT[3]}, '' FROM json_each(?) WHERE true"
    " ON CONFLICT (device, spool_id, ordinal)"
    " DO UPDATE SET state = 'committed', episode = excluded.episode, reason = ''"
)
_ENTRIES_OF = (
    "SELECT asked.key, state, episode, reason FROM json_each(?) AS asked CROSS JOIN ledger"
    f" WHERE device = {_AT[0]} AND spool_id = {_AT[1]} AND ordinal = {_AT[2]}"
)
_OF_RECORDS = (episodes, streams, ledger)
"""What the commit records are entered in, all of an episode at once."""


class LedgerEntry(NamedTuple):
    """What became of one ordinal of a spool: committed as `episode`, or discarded on the device for `reason`."""

    state: Literal["committed", "discarded"]
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
            there = set(sa.inspect(connection).get_table_names())
            version = None
            if about.name in there:
                version = connection.execute(sa.select(about.c.value).where(about.c.name == "version")).scalar()
            if version is not None:
                check_version(self._path, version)
            if self._is_of_old(version, there, connection):
                # The version is written last, and a table that is gone is reason enough: what is cut off is done again.
                _META.drop_all(connection, [table for table in _OF_RECORDS if table.name in there])
            _META.create_all(connection)
            _add_columns(connection)
            for index in episodes.indexes:
                index.create(connection, checkfirst=True)
            now = {"name": "version", "value": str(CATALOG_VERSION)}
            connection.execute(insert(about).prefix_with("OR REPLACE"), now)

    def _is_of_old(self, version: str | None, there: Set[str], connection: sa.Connection) -> bool:
        """Whether the commit records must be entered anew. A column that is missing alone stays empty: so it is in the
        records of before there was such, but not in those of ZIPs."""
        if version != str(CATALOG_VERSION) or not there >= {table.name for table in _OF_RECORDS}:
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
        """Close; the last to do so folds the write-ahead log into the file."""
        self._engine.dispose()

    def add(self, records: Iterable[CommitRecord]) -> None:
        """Enter commits, in place of what is here of the same episodes; a discard of the same ordinal gives way."""
        rows: list[tuple[Any, ...]] = []
        names: list[tuple[Any, ...]] = []
        entries: list[tuple[Any, ...]] = []
        for record in records:
            row = record.row | {"form": record.form, "kind": record.kind}
            document = catalog_document(record)
            rows.append((*map(row.get, COLUMNS), document))
            names += [(row["episode"], name) for name in record.streams]
            entries.append((row["device"], row["spool_id"], row["ordinal"], row["episode"]))
        if not rows:
            return
        with self._writing, self._transaction() as connection:
            connection.exec_driver_sql(_ENTER, rows)
            connection.exec_driver_sql(_ENTER_COMMITTED, (_ROWS.encode(entries).decode(),))
            connection.exec_driver_sql(_ENTER_STREAMS, (_ROWS.encode(names).decode(),))

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
                row[0]: row[1:] for row in connection.exec_driver_sql(_ENTRIES_OF, (_ROWS.encode(asked).decode(),))
            }
        return [_ledger_entry(*found[at]) if at in found else None for at in range(len(asked))]

    def transact(self, what: Callable[[sa.Connection], None]) -> None:
        """Do `what` in a transaction of its own."""
        with self._writing, self._transaction() as connection:
            what(connection)

    def ids(self) -> set[str]:
        """Every episode's id."""
        with self._transaction() as connection:
            return set(connection.execute(sa.select(episodes.c.episode)).scalars())


def columns_of(connection: sa.Connection) -> dict[str, str]:
    """Those of `COLUMNS` that a catalog has: one of before there was a column lacks it until it is written to."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(episodes.name)}
    return {name: kind for name, kind in COLUMNS.items() if name in there}


def _add_columns(connection: sa.Connection) -> None:
    there = columns_of(connection)
    for name in COLUMNS:
        if name not in there:
            column = sa.schema.CreateColumn(episodes.c[name]).compile(connection)
            connection.execute(sa.text(f"ALTER TABLE episodes ADD COLUMN {column}"))


def read_engine(path: Path) -> sa.Engine:
    """An engine that reads the catalog at `path` while another process may write it, or on a read-only file system.

    It keeps no connection between uses, so that it may be carried over a fork.
    """

    def connect() -> sqlite3.Connection:
        if not path.is_file():
            raise StoreError(f"{path}: no catalog; run `sensorium rebuild-catalog {path.parent}`")
        log = path.with_name(f"{path.name}-wal")
        # Where nobody can write SQLite must be told so: it would want shared memory beside the file.
        mode = "mode=ro" if os.access(path.parent, os.W_OK) or _has_bytes(log) else "immutable=1"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=30, check_same_thread=False
        )
        try:
            version = connection.execute("select value from about where name = 'version'").fetchone()
            check_version(path, version[0] if version else None)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise StoreError(
                f"{path}: cannot be read ({error}); run `sensorium rebuild-catalog {path.parent}`,"
                " or, of a store that was copied while in use or is read-only, copy it to where you can write"
            ) from error
        except StoreError:
            connection.close()
            raise
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)


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


def catalog_document(record: CommitRecord) -> bytes:
    """What the catalog has of an episode beside its columns: JSON of `streams`, `account`, of a ZIP its `crc`, of a
    trace the seconds by reason, and what the source said: `labels` and `outcome`."""
    more = {} if record.zip_object is None else {"crc": record.zip_object[1]}
    more |= {name: record.row[name] for name in (JUDGED_S, LABELS, OUTCOME) if name in record.row}
    return msgspec.json.encode({"streams": record.streams, "account": record.account, **more})


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


def _ledger_entry(state: Literal["committed", "discarded"], episode: str | None, reason: str) -> LedgerEntry:
    return LedgerEntry(state, uuid.UUID(episode) if episode else None, reason)
