"""Cells: what an episode is of, as whoever asks names it: SQL of columns, and what conditions may ask of a store."""

import functools
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sensorium.drivers.registry import nearest
from sensorium.episode.store_terms import Bind, StoreTerm, StoreTerms, expected_of, put_shapes, store_term
from sensorium.episode.where import MAX_LETTERS, is_time
from sensorium.episode.where_mistakes import mistake_of
from sensorium.episode.where_sql import has_name
from sensorium.episode.where_times import put_times
from sensorium.errors import ConfigError

_Node = Any
"""A node of sqlglot's; what its base class is called depends on the version."""
_EXAMPLE = (
    "expected one expression over the catalog's columns, e.g. mission or substr(start_utc, 1, 13), or label('task'),"
    " stream('front').rate_hz, ..."
)
_SELECT = "SELECT "
_OPERATORS = (
    *(exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.Neg, exp.Not, exp.And, exp.Or),
    *(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Is, exp.In, exp.Between, exp.Like),
    *(exp.NullSafeEQ, exp.NullSafeNEQ, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.DPipe),
    *(exp.Case, exp.If, exp.Cast, exp.DataType),
)
# What takes as long as its arguments are, says the same each time, and cannot fail on a row.
_FUNCTIONS = {
    "coalesce": exp.Coalesce,
    "date": exp.Date,
    "instr": exp.StrPosition,
    "length": exp.Length,
    "lower": exp.Lower,
    "nullif": exp.Nullif,
    "round": exp.Round,
    "strftime": exp.TimeToStr,
    "substr": exp.Substring,
    "trim": exp.Trim,
    "upper": exp.Upper,
}
_ALLOWED = (*_OPERATORS, *_FUNCTIONS.values(), exp.TsOrDsToTimestamp)


class Cells(NamedTuple):
    """One such expression, checked."""

    tree: Any

    @classmethod
    def of(cls, expression: str, columns: Mapping[str, str]) -> "Cells":
        """The expression: a scalar of one row, without subqueries; `columns` are those there are, and what they hold.

        >>> Cells.of("label('task') || mission", {"mission": "text"}).terms[0].names
        ('task',)

        Raises:
            ConfigError: it is something else, or names a column or a function that is not there.
        """
        if len(expression) > MAX_LETTERS:
            raise ConfigError(f"cells of {len(expression)} letters: expected at most {MAX_LETTERS}")
        try:
            return cls(_checked(expression, columns))
        except RecursionError as error:
            raise ConfigError(f"cells {expression[:80]!r}: nested too deep; {_EXAMPLE}") from error

    @property
    def terms(self) -> list[StoreTerm]:
        """What it asks of a store beyond columns; of `has('stream')` see `streams`."""
        found = map(store_term, _outer(self.tree))
        return [term for term in found if term is not None]

    @property
    def streams(self) -> list[str]:
        """The streams that it asks for by `has`."""
        return [name for node in _outer(self.tree) if (name := _has(node)) is not None]

    def sql(self, terms: StoreTerms, bind: Bind) -> str:
        """As SQL over a row of `episodes`."""

        def put(node: _Node) -> str | None:
            if (term := store_term(node)) is not None:
                return terms.value(term, bind)
            if (stream := _has(node)) is not None:
                return terms.has(stream, bind)
            return terms.column(node.name) if isinstance(node, exp.Column) else None

        return _sql(self.tree, put)


def _checked(expression: str, columns: Mapping[str, str]) -> _Node:
    try:
        trees = sqlglot.parse(f"{_SELECT}{expression}", read="sqlite")
    except SqlglotError as error:
        raise ConfigError(f"cells {expression!r}: {mistake_of(error, expression, _SELECT)}; {_EXAMPLE}") from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1 or _is_more(tree):
        raise ConfigError(f"cells {expression!r}: {_EXAMPLE}")
    _put_plainly(tree, columns, expression)
    found = tree.expressions[0]
    for node in _outer(found):
        if _is_asked(node):
            continue
        _check_allowed(node, expression)
        if isinstance(node, exp.Column):
            if node.table or node.name not in columns:
                near = nearest(node.name, columns)
                raise ConfigError(f"cells {expression!r}: unknown column {node.sql()}{near}")
            node.this.set("quoted", True)
    _check_known(_sql(found, _null), expression, columns)
    return found


def _put_plainly(tree: exp.Select, columns: Mapping[str, str], expression: str) -> None:
    """Texts that times and shapes are compared with, as conditions have them; what is reckoned of others stays."""
    nodes: list[_Node] = list(tree.walk())
    a_time = functools.partial(is_time, columns)

    def is_plain(node: _Node) -> bool:
        said = (side.unnest() for side in node.iter_expressions())
        return all(a_time(side) or isinstance(side, exp.Null | exp.Literal) for side in said)

    put_times(filter(is_plain, nodes), a_time, expression)
    put_shapes(nodes)


def _check_allowed(node: _Node, expression: str) -> None:
    if type(node) in _ALLOWED and not (isinstance(node, exp.In) and not node.expressions):
        return
    if isinstance(node, exp.Func | exp.Dot) and not isinstance(node, exp.AggFunc):
        said = expected_of(node) or f"no such function here; there are cast, case, {', '.join(_FUNCTIONS)}"
        raise ConfigError(f"cells {expression!r}: {node.sql()[:80]}: {said}; {_EXAMPLE}")
    raise ConfigError(f"cells {expression!r}: {_EXAMPLE}")


def _check_known(text: str, expression: str, columns: Mapping[str, str]) -> None:
    """That SQLite takes it, as with a wrong count of arguments: else it would say so of the catalog."""
    row = ", ".join(f'NULL AS "{name}"' for name in columns)
    with closing(sqlite3.connect(":memory:")) as nothing:
        try:
            nothing.execute(f"EXPLAIN SELECT {text} FROM (SELECT {row})")
        except sqlite3.Error as error:
            raise ConfigError(f"cells {expression!r}: {error}; {_EXAMPLE}") from error


def _is_asked(node: _Node) -> bool:
    return store_term(node) is not None or _has(node) is not None


def _has(node: _Node) -> str | None:
    """The stream of `has('stream')`."""
    return has_name(node) if isinstance(node, exp.Anonymous) and node.name.lower() == "has" else None


def _outer(tree: _Node) -> list[_Node]:
    """All nodes but those within what is asked of the store."""
    return list(tree.walk(prune=_is_asked))


def _sql(tree: _Node, put: Callable[[_Node], str | None]) -> str:
    """As SQL, with what `put` says in place of a node; of None the node stays."""

    def plain(node: _Node) -> _Node:
        return node if (text := put(node)) is None else exp.Var(this=text)

    text: str = tree.transform(plain).sql(dialect="sqlite")
    return text


def _null(node: _Node) -> str | None:
    return "NULL" if _is_asked(node) else None


def _is_more(tree: exp.Select) -> bool:
    return any(value for name, value in tree.args.items() if name not in ("expressions", "kind"))
