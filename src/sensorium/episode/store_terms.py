"""What a condition may ask of a store beyond columns: `stream('front').rate_hz`, `label('task')`, `event('grasp')`."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from sqlglot import exp

from sensorium.episode.where_times import NUMBER, TEXT, TIME

_Node = Any
"""A node of sqlglot's; what its base class is called depends on the version."""


class Bind(Protocol):
    """Makes a parameter of a value; what stands for it in SQL."""

    values: dict[str, str | int | float | None]

    def __call__(self, value: str | int | float | None) -> str: ...


VERDICT, STREAM, HEALTH, SCORE, EVENT, LABEL = "verdict", "stream", "health", "score", "event", "label"
RECORDED_LABEL = "recorded_label"

_VERDICT = {"passed": NUMBER, "score": NUMBER, "explanation": TEXT}
"""What a verdict has beside its components."""
_VERDICT_ABOUT = {"version": TEXT, "code": TEXT, "utc": TIME, "who": TEXT, "failed": TEXT}
"""What is recorded with one."""
SPEC = {"modality": TEXT, "dtype": TEXT, "shape": TEXT, "media_type": TEXT, "rate_hz": NUMBER}
"""What of a stream is the same in all its episodes. A shape is text: '480x640x3'; '' of single numbers."""
COUNTS = dict.fromkeys(("rows", "bytes", "captured", "stored", "filtered", "lost"), NUMBER)
"""What of a stream each episode has of its own."""
HEALTH_FIELDS = (
    "rate_hz",
    "interval_ms",
    "interval_p99_ms",
    "jitter_ms",
    "jitter_p99_ms",
    "gaps",
    "longest_gap_ms",
    "saturated_share",
    "saturated",
    "stuck",
    "sharpness",
    "sharpness_p10",
)
"""Numbers of `sensorium.perception.health`: medians where nothing else is said; of lists of channels how many."""
FIELDS: dict[str, Mapping[str, str]] = {
    VERDICT: _VERDICT | _VERDICT_ABOUT,
    STREAM: SPEC | COUNTS,
    HEALTH: dict.fromkeys(HEALTH_FIELDS, NUMBER),
    EVENT: {"count": NUMBER},
}
_ARGUMENTS = {VERDICT: 1, STREAM: 1, HEALTH: 1, SCORE: 2, EVENT: 1, LABEL: 1, RECORDED_LABEL: 1}
EXPECTED = {
    VERDICT: f"verdict('NAME') with .{', .'.join(_VERDICT)}, .components.NAME, .{', .'.join(_VERDICT_ABOUT)}",
    STREAM: f"stream('NAME') with .{', .'.join(FIELDS[STREAM])}",
    HEALTH: f"health('STREAM') with .{', .'.join(HEALTH_FIELDS)}",
    SCORE: "score('STREAM', 'NAME')",
    EVENT: "event('NAME'), or event('NAME').count",
    LABEL: "label('NAME')",
    RECORDED_LABEL: "recorded_label('NAME')",
}
"""How each is said."""
FUNCTIONS = ("has", *EXPECTED)


class StoreTerm(NamedTuple):
    """A term: its function, the texts that it is given, the field (of a verdict the JSON path of it; empty where the
    term has none) and what it holds (None: text or number)."""

    function: str
    names: tuple[str, ...]
    field: str
    holds: str | None


class StoreTerms(Protocol):
    """How a store finds what terms ask for, as SQL over a row of `episodes`."""

    def value(self, term: StoreTerm, bind: Bind) -> str:
        """The term's value: an expression, NULL where there is none."""

    def among(self, term: StoreTerm, test: str, bind: Bind) -> str | None:
        """What is true of the episodes whose value passes a test (`> :p1`; none: that have one) and of no others;
        None where that is no quicker than to look at the value of each."""

    def has(self, stream: str, bind: Bind) -> str:
        """Whether the episode has a stream."""

    def column(self, name: str) -> str:
        """The value of a column."""


def store_term(node: _Node) -> StoreTerm | None:
    """The term that a node is; None where it is none.

    The name of a verdict's component is all that follows `.components.`, with dots in it; one that is no plain name
    stands in double quotes.
    """
    fields: list[str] = []
    while isinstance(node, exp.Dot):
        if not isinstance(node.expression, exp.Identifier):
            return None
        fields.insert(0, node.expression.name)
        node = node.this
    if not isinstance(node, exp.Anonymous):
        return None
    function, given = node.name.lower(), node.expressions
    if _ARGUMENTS.get(function) != len(given):
        return None
    if not all(isinstance(each, exp.Literal) and each.is_string for each in given):
        return None
    return _term(function, tuple(each.name for each in given), fields)


def _term(function: str, names: tuple[str, ...], fields: list[str]) -> StoreTerm | None:
    first = fields[0].lower() if fields else ""
    if function == VERDICT:
        if first == "components" and len(fields) > 1 and not any('"' in name for name in fields):
            return StoreTerm(function, names, f'$.verdict.components."{".".join(fields[1:])}"', NUMBER)
        if len(fields) == 1 and first in FIELDS[VERDICT]:
            within = "$.verdict." if first in _VERDICT else "$."
            return StoreTerm(function, names, within + first, FIELDS[VERDICT][first])
        return None
    if len(fields) == 1 and first in FIELDS.get(function, {}):
        return StoreTerm(function, names, first, FIELDS[function][first])
    if not fields and function in (SCORE, EVENT):
        return StoreTerm(function, names, "", NUMBER)
    return StoreTerm(function, names, "", None) if not fields and function in (LABEL, RECORDED_LABEL) else None


def expected_of(node: _Node) -> str | None:
    """What would have been right where a node looks like a term and is none: its form, or the nearest function."""
    fields = []
    while isinstance(node, exp.Dot):
        fields.append(node.expression.name)
        node = node.this
    if not isinstance(node, exp.Anonymous):
        return None
    function = node.name.lower()
    if function in EXPECTED:
        near = difflib.get_close_matches(fields[-1].lower(), FIELDS.get(function, ()), n=1) if fields else []
        return (f"did you mean .{near[0]}? " if near else "") + f"expected, of a store, {EXPECTED[function]}"
    if function == "has":
        return "expected has('STREAM')"
    near = difflib.get_close_matches(function, FUNCTIONS, n=1, cutoff=0.5)
    return f"unknown function {node.name!r}, did you mean {near[0]!r}?" if near else None


def put_shapes(nodes: Iterable[_Node]) -> None:
    """Put every text that a stream's shape is compared with, in a condition of these nodes, as the catalog has
    shapes."""
    for dot in nodes:
        term = store_term(dot) if isinstance(dot, exp.Dot) else None
        if term is not None and (term.function, term.field) == (STREAM, "shape"):
            for each in dot.parent.iter_expressions() if isinstance(dot.parent, exp.Condition) else ():
                if isinstance(each, exp.Literal) and each.is_string:
                    each.replace(exp.Literal.string(shape_text(each.this)))


def shape_text(said: str) -> str:
    """A shape as the catalog has it, of how people write one.

    >>> shape_text("[480, 640, 3]"), shape_text("480 x 640 x 3"), shape_text("(6,)")
    ('480x640x3', '480x640x3', '6')
    """
    return "x".join(said.lower().strip("[]() ").replace(",", " ").replace("x", " ").split())
