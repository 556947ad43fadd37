"""Where the episodes are of which windows are wanted: the catalog is asked once for all of them, however many."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.corpus.episode_ids import EpisodeIds
from sensorium.corpus.finding import Condition, Finder, OpenCatalog
from sensorium.corpus.known_names import check_streams
from sensorium.corpus.placed import KEY, UNKNOWN, OfRuns, Placed
from sensorium.drivers.stream import Stamps

Kinds = dict[int, list[Any]]
"""By layout, shape and dtype of some streams."""
_LACKS_EVENTS = "timeline IS NULL OR kind <> 'full'"
_SUCH = ":event IN (name, kind, kind || '/' || name)"
_BETWEEN = "\n"
TOGETHER = 1_000_000
"""Episodes whose columns are in one text each, of which SQLite makes none above 1 GB."""
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
        lacks = "1" if former else _LACKS_EVENTS
        figures = ["start_ns", "end_ns"]
        if of_runs:
            figures += [str(UNKNOWN) if former else f"ifnull(layout, {UNKNOWN})", "ifnull(ordinal, 0)"]
        if event:
            figures += [lacks, "id"]
        ids, keys, columns = _gathered(asked, condition, figures, of_runs)
        if not ids:
            check_streams(asked.connection, having, former)
        events = np.full(len(ids), UNKNOWN if former else 0, np.int64)
        if event and ids and not former:
            events = _counted(asked, columns[-1], columns[-2], event)
        kinds = _kinds(asked, having) if of_runs and not former and having else {}
    more = OfRuns(columns[2], columns[3], keys) if of_runs else None
    return Placed.of(ids, columns[0], columns[1], events, more), kinds


def _gathered(
    asked: OpenCatalog, condition: Condition, figures: Sequence[str], with_keys: bool
) -> tuple[EpisodeIds, list[str], list[Stamps]]:
    """Of what matches the ids, the keys and the figures.

    SQLite makes one text of each column: a hundred thousand rows of Python take several times as long as these.
    """
    texts = ["episode", *([KEY] if with_keys else [])]
    what = [*(f"group_concat({each}, '{_BETWEEN}')" for each in texts), *(f"group_concat({each})" for each in figures)]
    last = int(asked.connection.execute(f"SELECT coalesce(max(id), 0) FROM {asked.form.source}").fetchone()[0])
    # A condition that has an index is not kept from it.
    number = "+id" if condition.narrowed or last < TOGETHER else "id"
    text = (
        f"SELECT {', '.join(what)} FROM {asked.form.source} WHERE {condition.text}"
        f" AND {number} >= :first AND {number} < :behind"
    )
    ids: list[EpisodeIds] = []
    keys: list[str] = []
    columns: list[list[Stamps]] = [[] for _ in figures]
    for first in range(0, last + 1, TOGETHER):
        values = condition.values | {"first": first, "behind": first + TOGETHER}
        row = asked.connection.execute(text, values).fetchone()
        if row[0] is None:
            continue
        for column, each in zip(columns, row[len(texts) :], strict=True):
            column.append(np.fromstring(each, np.int64, sep=","))
        count = len(columns[0][-1])

        def one_by_one(name: str, values: Mapping[str, Any] = values) -> list[str]:
            by_itself = text.replace(", ".join(what), name, 1)
            return [word for (word,) in asked.connection.execute(by_itself, values)]

        # What is between them may be within one.
        ids.append(EpisodeIds.between(row[0], _BETWEEN, count) or EpisodeIds.of(one_by_one(texts[0])))
        if with_keys:
            some = row[1].split(_BETWEEN)
            keys += some if len(some) == count else one_by_one(KEY)
    joined = [np.concatenate(each) if each else np.empty(0, np.int64) for each in columns]
    return EpisodeIds.joined(ids), keys, joined


def _counted(asked: OpenCatalog, numbers: Stamps, lack: Stamps, event: str) -> Stamps:
    """How many such events each of some episodes has; below 0 of one of which the catalog does not know all."""
    low, high = int(numbers.min()), int(numbers.max())
    values: dict[str, Any] = {"event": event}
    if len(numbers) * _SCANNED < high - low:
        among, values["ids"] = "id IN (SELECT value FROM json_each(:ids))", json.dumps(numbers.tolist())
    else:
        among, values["low"], values["high"] = "id BETWEEN :low AND :high", low, high
    what = f"id, CAST(total(CASE WHEN {_SUCH} THEN count END) AS INTEGER) AS number, max(kind = '') AS lacks"
    each = f"SELECT {what} FROM events WHERE {among} AND (kind = '' OR {_SUCH}) GROUP BY id"
    text = f"SELECT group_concat(id), group_concat(CASE WHEN lacks THEN {UNKNOWN} ELSE number END) FROM ({each})"
    found = [np.fromstring(each or "", np.int64, sep=",") for each in asked.connection.execute(text, values).fetchone()]
    order = np.argsort(found[0], kind="stable")
    ids, counts = found[0][order], found[1][order]
    at = np.searchsorted(ids, numbers)
    known = np.zeros(len(numbers), np.int64)
    there = at < len(ids)
    there[there] = ids[at[there]] == numbers[there]
    known[there] = counts[at[there]]
    return np.where(lack, UNKNOWN, known)


def _kinds(asked: OpenCatalog, streams: Sequence[str]) -> Kinds:
    names = ", ".join("?" * len(streams))
    text = f"SELECT layout, name, shape, dtype FROM layout_streams WHERE name IN ({names}) ORDER BY name"
    found: Kinds = {}
    for layout, *kind in asked.connection.execute(text, tuple(streams)):
        found.setdefault(layout, []).append(kind)
    return found
