"""Cells: what an episode is of, as whoever asks names it: SQL expressions over the columns of the catalog."""

from collections.abc import Collection, Sequence

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
    return text


def _is_more(tree: exp.Select) -> bool:
    return any(value for name, value in tree.args.items() if name not in ("expressions", "kind"))
