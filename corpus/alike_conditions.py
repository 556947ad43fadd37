"""Conditions that differ in their values alone: parsed once, as most of the time that a question takes is that."""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlglot import exp

from sensorium.episode.utc_text import utc_ns_of, utc_text
from sensorium.episode.where import Where
from sensorium.episode.where_sql import COMPARISONS, Sql, column_of, literal
from sensorium.episode.where_times import TIME

KEPT = 256
_ODD = ('"', "`", "[", "]", "\\", ";", "{", "}", "\0", "--", "/*", "kind", "now", "bytes_at", "preview_of")
"""What may make of a quote something else than the begin of a text; and what depends on what is said."""
_SAID = re.compile(r"([=<>]\s*)(?:('(?:[^']|'')*')|(\d{1,15}(?:\.\d{1,9})?)(?![\w.]))")

Said = tuple[str | int | float, ...]


class _Alike(NamedTuple):
    where: Where
    sql: Sql
    is_time: tuple[bool, ...]


class AlikeConditions:
    """SQL of conditions over columns alone, found by their text without what columns are compared with.

    It is only kept where its values are, one by one, those that the text says: so what is put in their place in a text
    of the same form is what parsing that would have given.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Alike] = OrderedDict()

    def find(self, source: str) -> tuple[Where, Sql] | None:
        """A condition of the same form, with the SQL and the values of this one; None where there is none."""
        form, said = _form_of(source)
        if (found := self._kept.get(form)) is None:
            return None
        values = []
        for value, is_time in zip(said, found.is_time, strict=True):
            text = _as_time(value) if is_time else value
            if text is None:
                return None  # whoever parses it says what is wrong
            values.append(text)
        return found.where, Sql(found.sql.text, dict(zip(found.sql.values, values, strict=True)))

    def keep(self, source: str, where: Where, sql: Sql, kinds: Mapping[str, str]) -> None:
        """Remember it, if it is of columns alone, which hold `kinds`."""
        form, said = _form_of(source)
        if not said or where.terms or where.streams or len(said) != len(sql.values) or len(set(said)) < len(said):
            return
        times = {
            literal(each, ""): kinds.get(column_of(other)) == TIME
            for node in where.tree.walk()
            if type(node) in COMPARISONS
            for each, other in _sides(node)
            if isinstance(each, exp.Literal)
        }
        is_time = []
        for value, bound in zip(said, sql.values.values(), strict=True):
            if bound not in times or bound != (_as_time(value) if times[bound] else value):
                return
            is_time.append(times[bound])
        self._kept[form] = _Alike(where, sql, tuple(is_time))
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def _form_of(source: str) -> tuple[str, Said]:
    """The text with gaps for what is compared with, and what stood there.

    >>> _form_of("device = 'a' and bytes >= 10")
    ('device = \\x00t and bytes >= \\x00n', ('a', 10))
    """
    plain = source.lower()
    if any(odd in plain for odd in _ODD):
        return "", ()
    said: list[str | int | float] = []

    def gap(match: re.Match[str]) -> str:
        operator, text, number = match.groups()
        if text is not None:
            said.append(text[1:-1].replace("''", "'"))
            return f"{operator}\0t"
        said.append(float(number) if "." in number else int(number))
        return f"{operator}\0n"

    return _SAID.sub(gap, source), tuple(said)


def _sides(node: Any) -> Iterator[tuple[Any, Any]]:
    """Both sides of a comparison, each with the other."""
    first, second = node.this.unnest(), node.expression.unnest()
    yield first, second
    yield second, first


def _as_time(value: str | int | float) -> str | None:
    """A time as columns of times have it; None of what is none."""
    if not isinstance(value, str):
        return None
    try:
        return utc_text(utc_ns_of(value))
    except ValueError:
        return None
