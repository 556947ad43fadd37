"""The tables and indices of a catalog are made, or those of an earlier release brought to this one."""

from collections.abc import Set
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from sensorium.corpus.catalog_reading import FILLING, check_version, columns_of
from sensorium.corpus.catalog_tables import CATALOG_VERSION, COLUMNS, FORMER, META, OF_RECORDS, about, episodes
from sensorium.corpus.commits import LOOSE_VERSION, check_store_version

_INDICES = [index for table in META.tables.values() for index in table.indexes]


def make_tables(connection: sa.Connection, path: Path, *, to_fill: bool = False) -> None:
    """Make the tables of the catalog at `path`, or bring those of an earlier release to this one, in one transaction;
    what cannot be brought is left to who fills it. `to_fill`: readers refuse it until it was filled.

    Raises:
        StoreError: it is of a later release.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # or each table is a transaction, which waits for the disk
    there = set(sa.inspect(connection).get_table_names())
    version = None
    if about.name in there:
        version = connection.execute(sa.select(about.c.value).where(about.c.name == "version")).scalar()
    if version is not None:
        check_version(path, version)
    if _is_of_old(path, version, there, connection):
        # The version is written last, and a table that is gone is reason enough: what is cut off is done again.
        META.drop_all(connection, [table for table in OF_RECORDS if table.name in there])
        for name in FORMER:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
    META.create_all(connection)
    _add_columns(connection)
    make_indices(connection)
    now = {"name": "version", "value": str(CATALOG_VERSION)}
    connection.execute(insert(about).prefix_with("OR REPLACE"), now)
    if to_fill:
        begin_filling(connection)


def begin_filling(connection: sa.Connection) -> None:
    """From here on readers are told that it lacks much of what the store has: they would take the part for all."""
    connection.execute(insert(about).prefix_with("OR REPLACE"), {"name": FILLING, "value": "yes"})


def end_filling(connection: sa.Connection) -> None:
    """It has all that the store has."""
    said = about.c.name == FILLING
    if connection.execute(sa.select(about.c.value).where(said)).first() is not None:
        connection.execute(sa.delete(about).where(said))


def drop_indices(connection: sa.Connection) -> None:
    """Take them out, to be made again behind much that is entered."""
    for index in _INDICES:
        index.drop(connection, checkfirst=True)


def make_indices(connection: sa.Connection) -> None:
    """Make those that are missing."""
    there = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'").scalars())
    for index in _INDICES:  # to ask for each by itself took longer than the rest of opening a store
        if index.name not in there:
            index.create(connection)


def _is_of_old(path: Path, version: str | None, there: Set[str], connection: sa.Connection) -> bool:
    """Whether the commit records must be entered anew. A column that is missing alone stays empty: so it is in the
    records of before there was such, but not in those of ZIPs."""
    if version != str(CATALOG_VERSION) or not there >= {table.name for table in OF_RECORDS}:
        return True
    return columns_of(connection) != COLUMNS and check_store_version(path.parent) != LOOSE_VERSION


def _add_columns(connection: sa.Connection) -> None:
    there = columns_of(connection)
    for name in COLUMNS:
        if name not in there:
            column = sa.schema.CreateColumn(episodes.c[name]).compile(connection)
            connection.execute(sa.text(f"ALTER TABLE episodes ADD COLUMN {column}"))
            if name == "interval_s":  # that is what `duration_s` was before
                connection.execute(sa.update(episodes).values(interval_s=episodes.c.duration_s))
