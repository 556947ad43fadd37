"""Conditions in SQL, one grammar for two places: the catalog's `where`, and triggers over a mapping on the device.

    device = 'rig-1' and (duration_s > 5 or mission in ('kitchen', 'hall')) and has('front')
    start_utc >= '2026-11-25T23:00+02:00' and committed_utc > now() - interval '1 hour'

Allowed are and, or, not, parentheses, comparisons, `in`, `between`, `like`, `is [not] null|true|false`, numbers,
'text', the known columns, times where a column holds such (`sensorium.episode.where_times`), and `has('stream')`; of a
store also `stream('front').rate_hz`, `label('task')`, `event('grasp')`, `verdict('verifier').passed` and others
(`sensorium.episode.store_terms`). Meaning is SQLite's, with NULL as neither true nor false.
"""

import difflib
import functools
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sensorium.episode.store_terms import FUNCTIONS, StoreTerm, StoreTerms, expected_of, put_shapes, store_term
from sensorium.episode.where_mistakes import mistake_of
from sensorium.episode.where_sql import COMPARISONS, Sql, chain_of, column_of, has_name, literal, sql_of
from sensorium.episode.where_times import NUMBER, TEXT, TIME, put_times
from sensorium.errors import ConfigError

MAX_LETTERS = 10_000
MAX_DEPTH = 60
_SELECT = "SELECT "

Row = Mapping[str, Any]

# What sqlglot may hang on a node; anything else (`symmetric`, a subquery, ...) would be lost in translation.
_ARGUMENTS: dict[type[exp.Expression], set[str]] = {
    exp.Like: {"this", "expression", "negate"},
    exp.In: {"this", "expressions"},
    exp.Between: {"this", "low", "high"},
    exp.Anonymous: {"this", "expressions"},
    exp.Column: {"this", "table", "db", "catalog"},
    exp.Literal: {"this", "is_string"},
}


@dataclass(frozen=True)
class Where:
    """A checked condition. `kinds` says what each column holds, "text" or "number"; None: whatever the row has."""

    source: str
    tree: exp.Expression
    kinds: Mapping[str, str] | None

    @functools.cached_property
    def _nodes(self) -> list[Any]:
        return list(self.tree.walk())

    @functools.cached_property
    def columns(self) -> frozenset[str]:
        """The columns that the condition names."""
        return frozenset(column_of(node) for node in self._nodes if isinstance(node, exp.Column))

    @functools.cached_property
    def needed(self) -> frozenset[str]:
        """The columns that must be as the condition says for it to be true at all."""
        found: set[str] = set()
        parts: list[Any] = [self.tree]
        while parts:
            node = parts.pop().unnest()
            if isinstance(node, exp.And):
                parts += [node.this, node.expression]
            elif isinstance(node, exp.EQ | exp.LT | exp.LTE | exp.GT | exp.GTE | exp.Between | exp.In):
                sides: list[Any] = [side.unnest() for side in node.iter_expressions()]
                found |= {column_of(side) for side in sides}
        return frozenset(found)

    def needs(self, column: str) -> str | None:
        """The text that a column must be for the condition to be true at all, if it says so in plain words."""
        parts: list[Any] = [self.tree]
        while parts:
            node = parts.pop().unnest()
            if isinstance(node, exp.And):
                parts += [node.this, node.expression]
            elif isinstance(node, exp.EQ) and column_of(node.this.unnest()) == column:
                value = node.expression.unnest()
                if isinstance(value, exp.Literal) and value.is_string:
                    return str(value.this)
        return None

    @functools.cached_property
    def terms(self) -> list[StoreTerm]:
        """What the condition asks of a store beyond columns; of `has('stream')` see `streams`."""
        asking = (node for node in self._nodes if isinstance(node, exp.Dot | exp.Anonymous))
        return [term for node in asking if (term := store_term(node)) is not None]

    @functools.cached_property
    def streams(self) -> list[str]:
        """The streams that it asks for by `has`."""
        asking = (node for node in self._nodes if isinstance(node, exp.Anonymous) and node.name.lower() == "has")
        return [name for node in asking if (name := has_name(node)) is not None]

    def sql(self, terms: StoreTerms) -> Sql:
        """As SQL over rows of `episodes`."""
        return sql_of(self.tree, terms)

    def evaluate(self, row: Row, streams: Collection[str] = ()) -> bool:
        """Whether the condition is true of `row` (NULL is not); a column that the row lacks raises `ConfigError`."""
        return bool(_value(self.tree, row, streams, self.source))


def parse_where(expression: str, kinds: Mapping[str, str] | None, of_store: bool = False) -> Where:
    """Check a condition; `kinds` maps the known columns to "text", "number" or "time", None leaves them to the row.
    `of_store`: it may ask for what only a store has.

    Raises:
        ConfigError: it does not parse, uses more than the grammar, names an unknown column, or compares text with a
            number.
    """
    if len(expression) > MAX_LETTERS:
        raise ConfigError(f"condition of {len(expression)} letters: expected at most {MAX_LETTERS}")
    source = expression if len(expression) <= 80 else f"{expression[:77]}..."
    if not expression.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in expression):
        raise ConfigError(f"condition {source!r}: is not all UTF-8")
    try:
        trees = sqlglot.parse(f"{_SELECT}{expression}", read="sqlite")
    except (SqlglotError, RecursionError) as error:
        why = "nested too deep" if isinstance(error, RecursionError) else mistake_of(error, expression, _SELECT)
        raise ConfigError(f"condition {source!r}: {why}; expected e.g. device = 'rig-1' and duration_s > 5") from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1 or _extras(tree):
        raise ConfigError(f"condition {source!r}: expected one boolean expression, e.g. device = 'rig-1'")
    condition = tree.expressions[0]
    if kinds is not None and (of_store or TIME in kinds.values()):
        condition = _said_plainly(tree, kinds, source)
        kinds = {name: TEXT if kind == TIME else kind for name, kind in kinds.items()}
    if _kind(condition, kinds, source, MAX_DEPTH, of_store) == TEXT:
        raise ConfigError(f"condition {source!r}: is text; expected a condition, e.g. device = 'rig-1'")
    return Where(source, condition, kinds)


def _said_plainly(tree: exp.Select, kinds: Mapping[str, str], source: str) -> exp.Expression:
    """The condition with times and shapes as a store has them."""

    try:
        nodes = list(tree.walk())
        put_times(nodes, functools.partial(is_time, kinds), source)
        put_shapes(nodes)
    except RecursionError as error:
        raise ConfigError(f"condition {source!r}: nested too deep") from error
    condition: exp.Expression = tree.expressions[0]
    return condition


def is_time(kinds: Mapping[str, str], node: Any) -> bool:
    """Whether a node is a column or a term of a store that holds times."""
    if isinstance(node, exp.Column):
        return kinds.get(node.name) == TIME
    return isinstance(node, exp.Dot) and (term := store_term(node)) is not None and term.holds == TIME


def evaluate(expression: str, row: Row, streams: Collection[str] = ()) -> bool:
    """Whether `expression` is true of `row`, whose keys are the known columns; see `parse_where` for errors."""
    kinds = {name: TEXT if isinstance(value, str) else NUMBER for name, value in row.items() if value is not None}
    untyped = row.keys() - kinds.keys()
    where = parse_where(expression, None if untyped else kinds)
    return where.evaluate(row, streams)


def compile_order(order: str, columns: Collection[str]) -> str:
    """`start_utc desc, device` as checked SQL; else `ConfigError`."""
    terms = []
    for term in order.split(","):
        name, *direction = term.split()[:3] or [""]
        if len(direction) > 1 or (direction and direction[0].lower() not in ("asc", "desc")):
            raise ConfigError(f"order by {term.strip()!r}: expected a column, then asc or desc")
        known_column(name, columns, order)
        terms.append(" ".join((f'"{name}"', *direction)))
    return ", ".join(terms)


def _extras(tree: exp.Select) -> bool:
    return any(value for name, value in tree.args.items() if name not in ("expressions", "kind"))


def known_column(name: str, columns: Iterable[str], source: str, or_text: bool = False) -> None:
    """Raise `ConfigError` for a column that is none of `columns`, with the nearest; `source` is where it is named, and
    `or_text` says that a text without its quotes, or in those of names, may have been meant."""
    known = sorted(columns)
    if name not in known:
        near = [each for each in known if each.lower() == name.lower()]
        near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        text = f"; text stands in single quotes, as '{name}'" if or_text else ""
        raise ConfigError(f"{source!r}: unknown column {name!r}; {hint}{text}")


def _kind(node: exp.Expression, kinds: Mapping[str, str] | None, source: str, depth: int, of_store: bool) -> str | None:
    """What a node holds: text, number, or None where it may be either; raises on all that is not in the grammar."""
    if depth < 0:
        raise ConfigError(f"condition {source!r}: nested more than {MAX_DEPTH} deep")

    def inner(child: exp.Expression) -> str | None:
        return _kind(child, kinds, source, depth - 1, of_store)

    def truth(child: exp.Expression) -> None:
        if inner(child) == TEXT:
            raise ConfigError(f"condition {source!r}: {child.sql()} is text, expected a condition")

    def alike(*children: exp.Expression) -> None:
        found = {kind for kind in map(inner, children) if kind is not None}
        if len(found) > 1:
            raise ConfigError(f"condition {source!r}: {node.sql()} compares text with a number; quote 'text' only")

    known = _ARGUMENTS.get(type(node), {"this", "expression"})
    match node:
        case _ if any(value for name, value in node.args.items() if name not in known):
            _refuse(node, source)
        case exp.Paren():
            return inner(node.this)
        case exp.And() | exp.Or():
            for part in chain_of(node):
                truth(part)
        case exp.Not():
            truth(node.this)
        case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            alike(node.this, node.expression)
        case exp.Is() if isinstance(node.expression, exp.Null):
            inner(node.this)
        case exp.Is() if isinstance(node.expression, exp.Boolean):
            truth(node.this)
        case exp.In() if node.expressions:
            alike(node.this, *node.expressions)
        case exp.Between():
            alike(node.this, node.args["low"], node.args["high"])
        case exp.Like() if isinstance(node.expression, exp.Literal) and node.expression.is_string:
            if inner(node.this) == NUMBER:
                raise ConfigError(f"condition {source!r}: {node.sql()} looks for text in a number")
        case exp.Anonymous() if node.name.lower() == "has" and has_name(node) is not None:
            pass
        case exp.Dot() | exp.Anonymous() if of_store and (term := store_term(node)) is not None:
            return TEXT if term.holds == TIME else term.holds
        case exp.Literal() | exp.Neg() | exp.Boolean():
            return TEXT if isinstance(literal(node, source), str) else NUMBER
        case exp.Null():
            return None
        case exp.Column() if not isinstance(node.this, exp.Star):
            name = column_of(node)
            if kinds is None:
                return None
            is_right = node.arg_key in ("expression", "expressions", "low", "high")
            known_column(name, kinds, source, or_text=is_right)
            return kinds[name]
        case _:
            _refuse(node, source)
    return NUMBER


def _refuse(node: exp.Expression, source: str) -> NoReturn:
    if (expected := expected_of(node)) is not None:
        raise ConfigError(f"condition {source!r}: {node.sql()[:80]} is not allowed: {expected}")
    raise ConfigError(
        f"condition {source!r}: {node.sql()[:80]} is not allowed; use and, or, not, comparisons, in, between, like,"
        f" is null, columns, numbers, 'text', and of a store {', '.join(FUNCTIONS)}"
    )


def _value(node: exp.Expression, row: Row, streams: Collection[str], source: str) -> Any:
    """The node's value in SQL's three-valued logic: None is NULL, NaN too, as SQLite has it."""

    def inner(child: exp.Expression) -> Any:
        return _value(child, row, streams, source)

    match node:
        case exp.Paren():
            return inner(node.this)
        case exp.And() | exp.Or():
            wins = isinstance(node, exp.Or)
            found = [None if value is None else bool(value) for value in map(inner, chain_of(node))]
            return wins if wins in found else None if None in found else not wins
        case exp.Not():
            value = inner(node.this)
            return None if value is None else not value
        case exp.Is():
            value = inner(node.this)
            expected = None if isinstance(node.expression, exp.Null) else bool(node.expression.this)
            return value is None if expected is None else value is not None and bool(value) == expected
        case exp.In():
            value = inner(node.this)
            found = [_compare(exp.EQ, value, inner(item), source) for item in node.expressions]
            return True if True in found else None if None in found else False
        case exp.Between():
            value = inner(node.this)
            found = [_compare(exp.GTE, value, inner(node.args["low"]), source)]
            found.append(_compare(exp.LTE, value, inner(node.args["high"]), source))
            return False if False in found else None if None in found else True
        case exp.Like():
            value = inner(node.this)
            negate = bool(node.args.get("negate"))
            return None if value is None else _like(str(node.expression.this), value, source) != negate
        case exp.Anonymous():
            return has_name(node) in streams
        case exp.Column():
            known_column(column_of(node), row, source)
            value = row[column_of(node)]
            return None if isinstance(value, float) and math.isnan(value) else value
        case exp.Null():
            return None
        case exp.Literal() | exp.Neg() | exp.Boolean():
            return literal(node, source)
    return _compare(type(node), inner(node.this), inner(node.expression), source)


def _compare(operator: type[exp.Expression], left: Any, right: Any, source: str) -> bool | None:
    if left is None or right is None:
        return None
    if isinstance(left, str) != isinstance(right, str):
        raise ConfigError(f"condition {source!r}: compares text with a number ({left!r}, {right!r})")
    return COMPARISONS[operator][1](left, right)


def _like(pattern: str, value: Any, source: str) -> bool:
    if not isinstance(value, str):
        raise ConfigError(f"condition {source!r}: looks for text in {value!r}")
    parts = (".*" if letter == "%" else "." if letter == "_" else re.escape(letter) for letter in pattern)
    # SQLite ignores the case of ASCII letters alone.
    return re.fullmatch("".join(parts), value, re.DOTALL | re.IGNORECASE | re.ASCII) is not None
