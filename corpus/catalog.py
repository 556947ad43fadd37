"""The SQL index over a store's episodes, and the ledger of every spool; rebuilt from `commits/` when lost."""

import logging
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sensorium.corpus.catalog_entries import enter_records
from sensorium.corpus.catalog_hold import TOLD, CatalogHold
from sensorium.corpus.catalog_making import drop_indices, make_indices, make_tables
from sensorium.corpus.catalog_tables import COLUMNS, between_totals, episodes, ledger, spools
from sensorium.corpus.commits import CommitRecord
from sensorium.episode.documents import BetweenReport
from sensorium.errors import Corrupt, StoreError

log = logging.getLogger(__name__)

# Keys as JSON, one statement for all of them: at each SQLite lets go of the interpreter.
_KEYS = msgspec.json.Encoder()
_AT = [f"json_extract(value, '$[{place}]')" for place in range(3)]
_ENTRIES_OF = (
    "SELECT asked.key, state, episode, reason FROM json_each(?) AS asked CROSS JOIN ledger"
    f" WHERE device = {_AT[0]} AND spool_id = {_AT[1]} AND ordinal = {_AT[2]}"
)
_FOLDING_MS = 200
"""So long who closes waits for readers; what they keep from being folded is where it was, and counts."""


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
    its place, what needs a new connection fails. One that is damaged when it is opened is set aside, said, and made
    anew; whoever opens a catalog fills it. `path` and `dir_fd` are those of its `CatalogHold`.
    """

    def __init__(self, path: Path, dir_fd: int | None = None) -> None:
        self._path = path
        self._hold = CatalogHold(path, dir_fd)
        self._remaking = ""
        self._engine = sa.create_engine("sqlite://", creator=self._hold.connect, poolclass=sa.QueuePool)
        self._writing = threading.Lock()
        try:
            self._make()
        except (sa.exc.SQLAlchemyError, sqlite3.Error, StoreError):
            if not self._hold.is_damaged:
                raise
            self.make_again(lambda: None)

    @property
    def loss(self) -> str:
        """What has become of it that leaves but to make it again; empty while it is as it was opened."""
        return self._hold.loss

    def try_reading(self, *, whole: bool = False) -> None:
        """See whether who opens it now can read it: what was written last, or the `whole`, unless that is very large.
        If not, that is its `loss`."""
        self._hold.try_reading(whole=whole)

    def make_again(self, fill: Callable[[], object], *, as_it_is: bool = False) -> None:
        """Set aside what there is, make an empty catalog and `fill` it, and say so; or open what has the name now,
        `as_it_is`, and `fill` it with what it lacks."""
        why = self._remaking or self.loss
        with self._writing:
            told = self._hold.told()
            aside = None
            if self._remaking:
                self._hold.remove()
            elif not as_it_is:
                aside = self._hold.set_aside()
            self._remaking = "" if as_it_is else why
            self._let_go()
            self._hold.disown()
            self._make(to_fill=not as_it_is)
        try:
            fill()
            self.transact(lambda connection: _tell(connection, told))
        except BaseException:
            self._hold.disown()
            raise
        if not as_it_is:
            self._remaking = ""
            kept = "" if aside is None else f"; what was there is kept as {aside.name}"
            less = "" if told else ", all but what devices said last of what they have not delivered"
            log.warning("%s: %s; it is made again from the commit records%s%s", self._path, why, less, kept)

    def _make(self, *, to_fill: bool = False) -> None:
        try:
            self._hold.take()
            with self._hold.noting(), self._engine.begin() as connection:
                make_tables(connection, self._path, to_fill=to_fill)
            self._hold.keep()
        except BaseException:
            self._hold.disown()
            raise

    def _let_go(self) -> None:
        """Close every connection."""
        self._engine.dispose()
        self._hold.let_go()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """A transaction. After an error every connection is opened anew: one that was opened while the disk could only
        be read would never write again."""
        try:
            with self._hold.noting(), self._engine.begin() as connection:
                yield connection
        except (sa.exc.SQLAlchemyError, sqlite3.Error):
            self._engine.dispose()
            raise

    def close(self) -> None:
        """Close, and fold the write-ahead log into the file, which SQLite does only where nobody else has it open."""
        with suppress(sa.exc.SQLAlchemyError, StoreError), self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_FOLDING_MS}")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        self._let_go()

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
        self.transact(drop_indices)
        yield
        self.transact(make_indices)

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
        """Write the file anew without what was deleted, and empty its log; False where a reader keeps that. What was
        set aside goes: it may have all of it."""
        with self._writing:
            self._hold.remove_aside()
            self._engine.dispose()
            try:
                with closing(self._hold.connect()) as connection:
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


def _tell(connection: sa.Connection, told: list[tuple[str, str, int, int]]) -> None:
    """Enter what devices had said of their ordinals, where they have not said it again."""
    if told:
        connection.exec_driver_sql(f"INSERT OR IGNORE INTO spools ({TOLD}) VALUES (?, ?, ?, ?)", told)


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
