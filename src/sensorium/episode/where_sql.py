"""A condition that was checked as SQL with bound values."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlglot import exp

from sensorium.episode.store_terms import EVENT, Bind, StoreTerms, store_term
from sensorium.errors import ConfigError

Value = str | int | float | None

COMPARISONS: dict[type[exp.Expression], tuple[str, Callable[[Any, Any], bool]]] = {
    exp.EQ: ("=", lambda a, b: a == b),
    exp.NEQ: ("<>", lambda a, b: a != b),
    exp.LT: ("<", lambda a, b: a < b),
    exp.LTE: ("<=", lambda a, b: a <= b),
    exp.GT: (">", lambda a, b: a > b),
    exp.GTE: (">=", lambda a, b: a >= b),
}
_FLIPPED: dict[type[exp.Expression], type[exp.Expression]] = {
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}


class Sql(NamedTuple):
    """A condition as SQL with named parameters, `:p0` and so on, and their values."""

    text: str
    values: dict[str, Value]


class Bound:
    """Values that were given names, `p0` and so on."""

    def __init__(self, values: dict[str, Value]) -> None:
        self.values = values

    def __call__(self, value: Value) -> str:
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def sql_of(tree: exp.Expression, terms: StoreTerms) -> Sql:
    """A checked condition over rows of `episodes`."""
    bind = Bound({})
    return Sql(_conjunct(tree, bind, terms), bind.values)


def chain_of(node: exp.Expression) -> list[exp.Expression]:
    """What a chain of `and`, or of `or`, is made of, in its order: `a or b or c` is nested no deeper than `a or b`."""
    found: list[exp.Expression] = []
    kind = type(node)
    while type(node) is kind:
        found.append(node.expression)
        node = node.this
    return [node, *reversed(found)]


def _balanced(parts: Sequence[str], word: str) -> str:
    """A chain as SQL that is nested no deeper than it must be: SQLite takes no more than 1,000.

    >>> _balanced(["a", "b", "c"], "OR")
    '(a OR (b OR c))'
    """
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_balanced(parts[:half], word)} {word} {_balanced(parts[half:], word)})"


def column_of(node: exp.Expression) -> str:
    """The column that a node names; empty of any other."""
    return ".".join(part.name for part in node.parts) if isinstance(node, exp.Column) else ""


def has_name(node: exp.Anonymous) -> str | None:
    """The stream of `has('stream')`; None if the node is something else."""
    given = node.expressions
    return given[0].name if len(given) == 1 and isinstance(given[0], exp.Literal) and given[0].is_string else None


def literal(node: exp.Expression, source: str) -> str | int | float:
    """The value that a node says; `ConfigError` of one that says none."""
    if isinstance(node, exp.Boolean):
        return int(node.this)
    if isinstance(node, exp.Neg):
        value = literal(node.this, source) if isinstance(node.this, exp.Literal | exp.Paren) else None
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


def _conjunct(node: exp.Expression, bind: Bind, terms: StoreTerms) -> str:
    """A part of the condition that must be true: there NULL is as good as false, and what finds episodes by a term
    may take the place of what looks at each of them."""
    match node:
        case exp.Paren():
            return _conjunct(node.this, bind, terms)
        case exp.And():
            return _balanced([_conjunct(part, bind, terms) for part in chain_of(node)], "AND")
        case exp.Dot() | exp.Anonymous() if (term := store_term(node)) is not None and term.function == EVENT:
            return (terms.among(term, "", bind) if not term.field else None) or _sql(node, bind, terms)
        case exp.EQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            sides = (node.this.unnest(), node.expression.unnest())
            operator: type[exp.Expression] = type(node)
            if isinstance(sides[0], exp.Literal | exp.Neg):
                sides, operator = sides[::-1], _FLIPPED.get(operator, operator)
            if isinstance(sides[1], exp.Literal | exp.Neg) and (term := store_term(sides[0])) is not None:
                test = f"{COMPARISONS[operator][0]} {bind(literal(sides[1], ''))}"
                return terms.among(term, test, bind) or _sql(node, bind, terms)
        case exp.Between() | exp.In() if (term := store_term(node.this.unnest())) is not None:
            plain = [each.unnest() for each in node.expressions or (node.args["low"], node.args["high"])]
            if all(isinstance(each, exp.Literal | exp.Neg) for each in plain):
                values = [bind(literal(each, "")) for each in plain]
                test = f"IN ({', '.join(values)})" if node.expressions else f"BETWEEN {' AND '.join(values)}"
                return terms.among(term, test, bind) or _sql(node, bind, terms)
    return _sql(node, bind, terms)


def _sql(node: exp.Expression, bind: Bind, terms: StoreTerms) -> str:
    def inner(child: exp.Expression) -> str:
        return _sql(child, bind, terms)

    match node:
        case exp.Paren():
            return inner(node.this)
        case exp.And() | exp.Or():
            return _balanced([*map(inner, chain_of(node))], "AND" if isinstance(node, exp.And) else "OR")
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
        case exp.Dot() | exp.Anonymous() if (term := store_term(node)) is not None:
            return terms.value(term, bind)
        case exp.Anonymous():
            return terms.has(has_name(node) or "", bind)
        case exp.Column():
            return terms.column(column_of(node))
        case exp.Null():
            return "NULL"
        case exp.Literal() | exp.Neg() | exp.Boolean():
            return bind(literal(node, ""))
    return f"({inner(node.this)} {COMPARISONS[type(node)][0]} {inner(node.expression)})"
