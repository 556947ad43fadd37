"""Times in conditions: ISO 8601 and `now() - interval '1 hour'`, brought to the one form that columns of times have."""

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from sqlglot import exp

from sensorium.episode.utc_text import utc_ns_of, utc_text
from sensorium.errors import ConfigError

_Node = Any
"""A node of sqlglot's; what its base class is called depends on the version."""
TEXT, NUMBER, TIME = "text", "number", "time"
"""What a column or a term holds; of UTC times text that sorts as the times do."""
EXPECTED = "expected a time: '2026-11-25', '2026-11-25T23:00+02:00' (UTC without a zone), now() - interval '1 hour'"

_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400, "WEEK": 604_800}
_COMPARED = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Between)
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")


def put_times(nodes: Iterable[_Node], is_time: Callable[[_Node], bool], source: str) -> None:
    """Put every time that is compared with what `is_time`, in a condition of these nodes, as columns of times have it:
    microseconds, `Z`.

    `now()` is the same moment throughout, that of this call.

    Raises:
        ConfigError: a time is compared with what is none.
    """
    now_ns = time.time_ns()
    for node in nodes:
        if not isinstance(node, _COMPARED):
            continue
        sides = list(node.iter_expressions())
        if not any(is_time(side.unnest()) for side in sides):
            continue
        for side in sides:
            plain = side.unnest()
            if not is_time(plain) and not isinstance(plain, exp.Null):
                text = utc_text(_moment_ns(plain, now_ns, source))
                if text is None:
                    raise _no_time(plain, source)
                side.replace(exp.Literal.string(text))


def _moment_ns(node: _Node, now_ns: int, source: str) -> int:
    match node:
        case exp.Literal() if node.is_string:
            try:
                return utc_ns_of(node.this)
            except ValueError as error:
                raise _no_time(node, source) from error
        case exp.Anonymous() if node.name.lower() == "now" and not node.expressions:
            return now_ns
        case exp.Sub() | exp.Add() if isinstance(node.expression, exp.Interval):
            length_ns = _length_ns(node.expression, source)
            sign = -1 if isinstance(node, exp.Sub) else 1
            return _moment_ns(node.this, now_ns, source) + sign * length_ns
    raise _no_time(node, source)


def _length_ns(interval: exp.Interval, source: str) -> int:
    unit = str(interval.args.get("unit") or "").upper().removesuffix("S")
    given = interval.this
    if unit not in _SECONDS or not isinstance(given, exp.Literal) or not _NUMBER.fullmatch(given.this):
        known = ", ".join(name.lower() for name in _SECONDS)
        raise ConfigError(f"condition {source!r}: {interval.sql()[:80]}: expected e.g. interval '1 hour', of {known}")
    return round(float(given.this) * _SECONDS[unit] * 1e9)


def _no_time(node: _Node, source: str) -> ConfigError:
    return ConfigError(f"condition {source!r}: {node.sql()[:80]}: {EXPECTED}")
