"""What many episodes come to: counted, summed, averaged by mission, device, day, or whatever columns tell."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.corpus.asked_for import names as names_of
from sensorium.corpus.asked_for import text
from sensorium.corpus.finding import Finder
from sensorium.corpus.orders import between_commas, order_terms
from sensorium.drivers.registry import nearest
from sensorium.episode.where_times import NUMBER
from sensorium.errors import ConfigError

Names = str | Sequence[str]
"""One by one, or in one text with commas between."""

_OF_COLUMN = {"sum": "sum({})", "mean": "avg({})", "min": "min({})", "max": "max({})"}
_CALL = re.compile(r"(\w+) ?\( ?(\w+) ?\)")
_KNOWN = "count, hours, a column of numbers (its sum), sum(C), mean(C), min(C) and max(C) of one"


def aggregated(
    finder: Finder, group_by: Names, agg: Names, where: str, order_by: str, limit: int | None
) -> list[dict[str, Any]]:
    """See `Corpus.aggregate`."""
    groups, measures = _split(group_by, "group by"), _split(agg, "aggregates")
    if not measures:
        raise ConfigError(f"no aggregates: expected {_KNOWN}")
    columns = finder.columns()
    what = [_measure(each, columns) for each in measures]
    names = [*groups, *measures]
    order = (
        _order(order_by, names)
        if text("order by", order_by).strip()
        else [str(place + 1) for place in range(len(groups))]
    )
    return [dict(zip(names, row, strict=True)) for row in finder.grouped(groups, what, where, order, limit)]


def _split(names: Names, what: str) -> list[str]:
    """The texts between those commas that are in no parentheses and in no text."""
    given = [names] if isinstance(names, str) else names_of(what, names) if names not in ([], ()) else []
    found = [part for each in given for part in between_commas(each, what)]
    return [each for each in found if each]


def _measure(said: str, columns: Mapping[str, str]) -> str:
    """An aggregate as SQL.

    >>> _measure("hours", {}), _measure("bytes", {"bytes": "number"}), _measure("mean(rows)", {"rows": "number"})
    ('total(duration_s) / 3600', 'sum("bytes")', 'avg("rows")')
    """
    if said == "count":
        return "count(*)"
    if said == "hours":
        return "total(duration_s) / 3600"
    call = _CALL.fullmatch(said)
    function, column = (call[1].lower(), call[2]) if call else ("sum", said)
    if function not in _OF_COLUMN:
        raise ConfigError(f"aggregate {said!r}: unknown{nearest(function, _OF_COLUMN)}; expected {_KNOWN}")
    if column not in columns:
        near = nearest(column, ["count", "hours", *columns])
        raise ConfigError(f"aggregate {said!r}: unknown column {column!r}{near}; expected {_KNOWN}")
    if columns[column] != NUMBER and function in ("sum", "mean"):
        raise ConfigError(f"aggregate {said!r}: {column} holds no numbers; of it there are min and max, or group by it")
    return _OF_COLUMN[function].format(f'"{column}"')


def _order(order_by: str, names: Sequence[str]) -> list[str]:
    """Terms of an order by what is shown, each by its place."""
    found = []
    for term in order_terms(order_by):
        if term.expression not in names:
            near = nearest(term.expression, names)
            raise ConfigError(f"order by {term.said!r}: not among what is shown, {', '.join(names)}{near}")
        found.append(f"{names.index(term.expression) + 1} {term.direction}".strip())
    return found
