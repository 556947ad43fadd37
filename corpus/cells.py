"""Cells: what an episode is of, as whoever asks names it: SQL expressions over the columns of the catalog."""

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sensorium.drivers.registry import nearest
from sensorium.episode.where import MAX_LETTERS
from sensorium.errors import ConfigError

_EXAMPLE = "expected one expression over the catalog's columns, e.g. mission or substr(start_utc, 1, 13)"


def compile_cells(expressions: Sequence[str], columns: Collection[str]) -> str:
    """`expressions` as checked SQL, separated by commas: scalars of one row, without subqueries.

    >>> compile_cells(["mission", "cast(duration_s / 10 as int)"], ["mission", "duration_s"])
    '"mission", CAST("duration_s" / 10 AS INTEGER)'

    Raises:
        ConfigError: one is something else, or names a column that is not there.
    """
    return ", ".join(_compiled(expression, columns) for expression in expressions)


def _compiled(expression: str, columns: Collection[str]) -> str:
    if len(expression) > MAX_LETTERS:
        raise ConfigError(f"cells of {len(expression)} letters: expected at most {MAX_LETTERS}")
    try:
        trees = sqlglot.parse(f"SELECT {expression}", read="sqlite")
    except (SqlglotError, RecursionError) as error:
        raise ConfigError(f"cells {expression!r}: is no SQL; {_EXAMPLE}") from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1 or _is_more(tree):
        raise ConfigError(f"cells {expression!r}: {_EXAMPLE}")
    found = tree.expressions[0]
    if isinstance(found, exp.Alias) or found.find(exp.Query, exp.Star, exp.Window, exp.AggFunc, exp.Placeholder):
        raise ConfigError(f"cells {expression!r}: {_EXAMPLE}")
    for column in found.find_all(exp.Column):
        if column.table or column.name not in columns:
            near = nearest(column.name, columns)
            raise ConfigError(f"cells {expression!r}: unknown column {column.sql()}{near}")
        column.this.set("quoted", True)
    text: str = found.sql(dialect="sqlite")
    _check_known(text, expression, columns)
    return text


def _check_known(text: str, expression: str, columns: Collection[str]) -> None:
    """That SQLite knows what it calls: else it would say so of the catalog."""
    row = ", ".join(f'NULL AS "{name}"' for name in columns)
    with closing(sqlite3.connect(":memory:")) as nothing:
        try:
            nothing.execute(f"EXPLAIN SELECT {text} FROM (SELECT {row})")
        except sqlite3.Error as error:
            raise ConfigError(f"cells {expression!r}: {error}; {_EXAMPLE}") from error


def _is_more(tree: exp.Select) -> bool:
    return any(value for name, value in tree.args.items() if name not in ("expressions", "kind"))
