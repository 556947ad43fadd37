"""Where the episodes are of which windows are wanted: the catalog is asked once for all of them, however many."""

import json
from collections.abc import Sequence
from typing import Any

from sensorium.corpus.finding import Finder, OpenCatalog
from sensorium.corpus.known_names import check_streams
from sensorium.corpus.placed import OF_ALL, OF_RUNS, Placed

Kinds = dict[int, list[Any]]
"""By layout, shape and dtype of some streams."""
_LACKS_EVENTS = "timeline IS NULL OR kind <> 'full'"
_SUCH = ":event IN (name, kind, kind || '/' || name)"
_SCANNED = 8
"""Of episodes among which every so many-th is wanted, or more, all events are gone through."""


def placed(
    finder: Finder, where: str, having: Sequence[str], event: str = "", of_runs: bool = False
) -> tuple[Placed, Kinds]:
    """The episodes for which `where` is true that have all streams `having`, with how many events `event` each has,
    where it is given; and by layout what shape and dtype these streams have.

    They are in the order of their ids; `of_runs`, spool by spool, with what says which follow each other.

    Raises:
        ConfigError: the condition is none, or no episode has a stream.
    """
    with finder.asking() as asked:
        former = asked.form.former
        condition = asked.condition(where, having)
        lacks = "0" if not event else "1" if former else _LACKS_EVENTS
        more = ["NULL" if former else "layout", *OF_RUNS, "ordinal"] if of_runs else []
        what = [*OF_ALL, lacks, "id", *more]
        text = f"SELECT {', '.join(what)} FROM {asked.form.source} WHERE {condition.text}"
        asked.connection.execute("BEGIN")  # what is asked next is of the same moment
        # They lie nearly in the order of their ids: to sort them here takes less than to be given them so.
        found = sorted(asked.connection.execute(text, condition.values).fetchall())
        if not found:
            check_streams(asked.connection, having, former)
            return Placed.of([]), {}
        columns = list(zip(*found, strict=True))
        lack, numbers, rest = columns[3], columns[4], columns[5:]
        counts: Sequence[int | None] = lack
        if event:
            counts = [None] * len(found) if former else _counted(asked, numbers, lack, event)
        kinds = _kinds(asked, having) if of_runs and not former and having else {}
    rows = list(zip(*columns[:3], counts, *rest[:-1], strict=True))
    return Placed.of(rows, [each or 0 for each in rest[-1]] if of_runs else None), kinds


def _counted(asked: OpenCatalog, numbers: Sequence[int], lack: Sequence[int], event: str) -> list[int | None]:
    """How many such events each of some episodes has; None of one of which the catalog does not know all."""
    low, high = min(numbers), max(numbers)
    values: dict[str, Any] = {"event": event}
    if len(numbers) * _SCANNED < high - low:
        among, values["ids"] = "id IN (SELECT value FROM json_each(:ids))", json.dumps(numbers)
    else:
        among, values["low"], values["high"] = "id BETWEEN :low AND :high", low, high
    what = f"id, total(CASE WHEN {_SUCH} THEN count END), max(kind = '')"
    text = f"SELECT {what} FROM events WHERE {among} AND (kind = '' OR {_SUCH}) GROUP BY id"
    known = {number: None if lacks else int(count) for number, count, lacks in asked.connection.execute(text, values)}
    return [None if lacks else known.get(number, 0) for number, lacks in zip(numbers, lack, strict=True)]


def _kinds(asked: OpenCatalog, streams: Sequence[str]) -> Kinds:
    names = ", ".join("?" * len(streams))
    text = f"SELECT layout, name, shape, dtype FROM layout_streams WHERE name IN ({names}) ORDER BY name"
    found: Kinds = {}
    for layout, *kind in asked.connection.execute(text, tuple(streams)):
        found.setdefault(layout, []).append(kind)
    return found
