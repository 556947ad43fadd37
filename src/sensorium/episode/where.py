"""Conditions in SQL, one grammar for two places: the catalog's `where`, and triggers over a mapping on the device.

    device = 'rig-1' and (duration_s > 5 or mission in ('kitchen', 'hall')) and has('front')
    start_utc >= '2026-11-25T23:00+02:00' and committed_utc > now() - interval '1 hour'

Allowed are and, or, not, parentheses, comparisons, `in`, `between`, `like`, `is [not] null|true|false`, numbers,
'text', the known columns, times where a column holds such (`sensorium.episode.where_times`), and `has('stream')`; of a
store also `verdict('verifier').passed` and its other fields (`sensorium.episode.verdict_terms`). Meaning is SQLite's,
with NULL as neither true nor false.
"""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sensorium.episode.verdict_terms import EXPECTED, verdict_term
from sensorium.episode.where_times import TIME, with_times
from sensorium.errors import ConfigError

MAX_LETTERS = 10_000
MAX_DEPTH = 60
TEXT, NUMBER = "text", "number"

Value = str | int | float | None
Row = Mapping[str, Any]

_COMPARISONS: dict[type[exp.Expression], tuple[str, Callable[[Any, Any], bool]]] = {
    exp.EQ: ("=", lambda a, b: a == b),
    exp.NEQ: ("<>", lambda a, b: a != b),
    exp.LT: ("<", lambda a, b: a < b),
    exp.LTE: ("<=", lambda a, b: a <= b),
    exp.GT: (">", lambda a, b: a > b),
    exp.GTE: (">=", lambda a, b: a >= b),
}
# What sqlglot may hang on a node; anything else (`symmetric`, a subquery, ...) would be lost in translation.
_ARGUMENTS: dict[type[exp.Expression], set[str]] = {
    exp.Like: {"this", "expression", "negate"},
    exp.In: {"this", "expressions"},
    exp.Between: {"this", "low", "high"},
    exp.Anonymous: {"this", "expressions"},
    exp.Column: {"this", "table", "db", "catalog"},
    exp.Literal: {"this", "is_string"},
}


class Sql(NamedTuple):
    """A condition as SQL with named parameters, `:p0` and so on, and their values."""

    text: str
    values: dict[str, Value]


@dataclass(frozen=True)
class Where:
    """A checked condition. `kinds` says what each column holds, "text" or "number"; None: whatever the row has."""

    source: str
    tree: exp.Expression
    kinds: Mapping[str, str] | None

    @property
    def columns(self) -> frozenset[str]:
        """The columns that the condition names."""
        return frozenset(_column(node) for node in self.tree.find_all(exp.Column))

    def sql(self, has: str = "", verdict: str = "") -> Sql:
        """As SQL. `has` is the SQL for `has(name)`, with `{}` for the parameter; `verdict` that for a field of the
        newest verdict, with `{name}` of the verifier and `{path}` of the field."""
        values: dict[str, Value] = {}

        def bind(value: Value) -> str:
            name = f"p{len(values)}"
            values[name] = value
            return f":{name}"

        return Sql(_sql(self.tree, bind, has, verdict), values)

    def evaluate(self, row: Row, streams: Collection[str] = ()) -> bool:
        """Whether the condition is true of `row` (NULL is not); a column that the row lacks raises `ConfigError`."""
        return bool(_value(self.tree, row, streams, self.source))


def parse_where(expression: str, kinds: Mapping[str, str] | None, verdicts: bool = False) -> Where:
    """Check a condition; `kinds` maps the known columns to "text", "number" or "time", None leaves them to the row.
    With `verdicts` it may ask for them too, which only a store has.

    Raises:
        ConfigError: it does not parse, uses more than the grammar, names an unknown column, or compares text with a
            number.
    """
    if len(expression) > MAX_LETTERS:
        raise ConfigError(f"condition of {len(expression)} letters: expected at most {MAX_LETTERS}")
    source = expression if len(expression) <= 80 else f"{expression[:77]}..."
    try:
        trees = sqlglot.parse(f"SELECT {expression}", read="sqlite")
    except (SqlglotError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        why = "nested too deep" if deep else re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()[0]
        raise ConfigError(f"condition {source!r}: {why}; expected e.g. device = 'rig-1' and duration_s > 5") from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Select) or len(tree.expressions) != 1 or _extras(tree):
        raise ConfigError(f"condition {source!r}: expected one boolean expression, e.g. device = 'rig-1'")
    condition = tree.expressions[0]
    if kinds is not None and TIME in kinds.values():
        condition = _timed(condition, kinds, source)
        kinds = {name: TEXT if kind == TIME else kind for name, kind in kinds.items()}
    if _kind(condition, kinds, source, MAX_DEPTH, verdicts) == TEXT:
        raise ConfigError(f"condition {source!r}: is text; expected a condition, e.g. device = 'rig-1'")
    return Where(source, condition, kinds)


def _timed(condition: exp.Expression, kinds: Mapping[str, str], source: str) -> exp.Expression:
    try:
        return with_times(condition, kinds, source)
    except RecursionError as error:
        raise ConfigError(f"condition {source!r}: nested too deep") from error


def compile_where(expression: str, kinds: Mapping[str, str], has: str = "", verdict: str = "") -> Sql:
    """`expression` as checked SQL text with bound values; empty is always true. See `parse_where` for errors, and
    `Where.sql`."""
    return parse_where(expression, kinds, bool(verdict)).sql(has, verdict) if expression.strip() else Sql("1", {})


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
        _known(name, columns, order)
        terms.append(" ".join((f'"{name}"', *direction)))
    return ", ".join(terms)


def _extras(tree: exp.Select) -> bool:
    return any(value for name, value in tree.args.items() if name not in ("expressions", "kind"))


def _known(name: str, columns: Iterable[str], source: str) -> None:
    known = sorted(columns)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        raise ConfigError(f"{source!r}: unknown column {name!r}; {hint}")


def _column(node: exp.Expression) -> str:
    return ".".join(part.name for part in node.parts) if isinstance(node, exp.Column) else ""


def _kind(node: exp.Expression, kinds: Mapping[str, str] | None, source: str, depth: int, verdicts: bool) -> str | None:
    """What a node holds: text, number, or None where it may be either; raises on all that is not in the grammar."""
    if depth < 0:
        raise ConfigError(f"condition {source!r}: nested more than {MAX_DEPTH} deep")

    def inner(child: exp.Expression) -> str | None:
        return _kind(child, kinds, source, depth - 1, verdicts)

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
            truth(node.this)
            truth(node.expression)
        case exp.Not():
            truth(node.this)
        case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            alike(node.this, node.expression)
        case exp.Is() if isinstance(node.expression, exp.Null | exp.Boolean):
            if isinstance(node.expression, exp.Boolean):
                truth(node.this)
            inner(node.this)
        case exp.In() if node.expressions:
            alike(node.this, *node.expressions)
        case exp.Between():
            alike(node.this, node.args["low"], node.args["high"])
        case exp.Like() if isinstance(node.expression, exp.Literal) and node.expression.is_string:
            if inner(node.this) == NUMBER:
                raise ConfigError(f"condition {source!r}: {node.sql()} looks for text in a number")
        case exp.Anonymous() if node.name.lower() == "has" and _has_name(node) is not None:
            pass
        case exp.Dot() if verdicts and (term := verdict_term(node)) is not None:
            return term.holds
        case exp.Literal() | exp.Neg() | exp.Boolean():
            return TEXT if isinstance(_literal(node, source), str) else NUMBER
        case exp.Null():
            return None
        case exp.Column() if not isinstance(node.this, exp.Star):
            name = _column(node)
            if kinds is None:
                return None
            _known(name, kinds, source)
            return kinds[name]
        case _:
            _refuse(node, source)
    return NUMBER


def _refuse(node: exp.Expression, source: str) -> NoReturn:
    if isinstance(node, exp.Dot | exp.Anonymous) and node.sql().lower().startswith("verdict("):
        raise ConfigError(f"condition {source!r}: {node.sql()[:80]}: expected, of a store, {EXPECTED}")
    raise ConfigError(
        f"condition {source!r}: {node.sql()[:80]} is not allowed; use and, or, not, comparisons, in, between, like,"
        " is null, columns, numbers, 'text', has('stream')"
    )


def _has_name(node: exp.Anonymous) -> str | None:
    given = node.expressions
    return given[0].name if len(given) == 1 and isinstance(given[0], exp.Literal) and given[0].is_string else None


def _literal(node: exp.Expression, source: str) -> str | int | float:
    if isinstance(node, exp.Boolean):
        return int(node.this)
    if isinstance(node, exp.Neg):
        value = _literal(node.this, source) if isinstance(node.this, exp.Literal | exp.Paren) else None
        if isinstance(value, int | float):
            return -value
    if isinstance(node, exp.Literal):
        if node.is_string:
            return str(node.this)
        try:
            integer = int(node.this)
            return integer if abs(integer) < 1 << 63 else float(integer)
        except (ValueError, OverflowError):
            pass
        try:
            return float(node.this)
        except ValueError:
            pass
    raise ConfigError(f"condition {source!r}: {node.sql()[:80]} is not a number")


def _sql(node: exp.Expression, bind: Callable[[Value], str], has: str, verdict: str) -> str:
    def inner(child: exp.Expression) -> str:
        return _sql(child, bind, has, verdict)

    match node:
        case exp.Paren():
            return inner(node.this)
        case exp.And():
            return f"({inner(node.this)} AND {inner(node.expression)})"
        case exp.Or():
            return f"({inner(node.this)} OR {inner(node.expression)})"
        case exp.Not():
            return f"(NOT {inner(node.this)})"
        case exp.Is():
            return f"({inner(node.this)} IS {node.expression.sql().upper()})"
        case exp.In():
            return f"({inner(node.this)} IN ({', '.join(map(inner, node.expressions))}))"
        case exp.Between():
            return f"({inner(node.this)} BETWEEN {inner(node.args['low'])} AND {inner(node.args['high'])})"
        case exp.Like():
            negate = "NOT " if node.args.get("negate") else ""
            return f"({inner(node.this)} {negate}LIKE {inner(node.expression)})"
        case exp.Anonymous():
            return has.format(bind(_has_name(node)))
        case exp.Dot() if (term := verdict_term(node)) is not None:
            return verdict.format(name=bind(term.verifier), path=bind(term.path))
        case exp.Column():
            return f'"{_column(node)}"'
        case exp.Null():
            return "NULL"
        case exp.Literal() | exp.Neg() | exp.Boolean():
            return bind(_literal(node, ""))
    return f"({inner(node.this)} {_COMPARISONS[type(node)][0]} {inner(node.expression)})"


def _value(node: exp.Expression, row: Row, streams: Collection[str], source: str) -> Any:
    """The node's value in SQL's three-valued logic: None is NULL, NaN too, as SQLite has it."""

    def inner(child: exp.Expression) -> Any:
        return _value(child, row, streams, source)

    match node:
        case exp.Paren():
            return inner(node.this)
        case exp.And() | exp.Or():
            wins = isinstance(node, exp.Or)
            found = [None if value is None else bool(value) for value in (inner(node.this), inner(node.expression))]
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
            return _has_name(node) in streams
        case exp.Column():
            _known(_column(node), row, source)
            value = row[_column(node)]
            return None if isinstance(value, float) and math.isnan(value) else value
        case exp.Null():
            return None
        case exp.Literal() | exp.Neg() | exp.Boolean():
            return _literal(node, source)
    return _compare(type(node), inner(node.this), inner(node.expression), source)


def _compare(operator: type[exp.Expression], left: Any, right: Any, source: str) -> bool | None:
    if left is None or right is None:
        return None
    if isinstance(left, str) != isinstance(right, str):
        raise ConfigError(f"condition {source!r}: compares text with a number ({left!r}, {right!r})")
    return _COMPARISONS[operator][1](left, right)


def _like(pattern: str, value: Any, source: str) -> bool:
    if not isinstance(value, str):
        raise ConfigError(f"condition {source!r}: looks for text in {value!r}")
    parts = (".*" if letter == "%" else "." if letter == "_" else re.escape(letter) for letter in pattern)
    # SQLite ignores the case of ASCII letters alone.
    return re.fullmatch("".join(parts), value, re.DOTALL | re.IGNORECASE | re.ASCII) is not None
