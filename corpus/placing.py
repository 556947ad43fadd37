"""Where the episodes are of which windows are wanted: the catalog is asked once for all of them, however many."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensorium.corpus.around import kinds_with_names
from sensorium.corpus.episode_ids import EpisodeIds
from sensorium.corpus.finding import Condition, Finder, OpenCatalog
from sensorium.corpus.known_names import check_streams
from sensorium.corpus.placed import KEY, UNKNOWN, OfRuns, Placed
from sensorium.drivers.stream import Stamps

Kinds = dict[int, list[Any]]
"""By layout, shape and dtype of some streams."""
_LACKS_EVENTS = "timeline IS NULL OR kind <> 'full'"
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
            figures += ["id"] if of_runs else ["id", lacks]
        ids, keys, columns = _gathered(asked, condition, figures, of_runs)
        if not ids:
            check_streams(asked.connection, having, former)
        more = OfRuns(columns[2], columns[3], keys) if of_runs else None
        events = np.full(len(ids), UNKNOWN if former else 0, np.int64)
        if event and ids and not former:
            lack = columns[3] if more is None else more.lacks_events
            events = np.where(lack, UNKNOWN, _counted(asked, columns[2 if more is None else 4], event))
        kinds = _kinds(asked, having) if of_runs and not former and having else {}
    return Placed.of(ids, columns[0], columns[1], events, more), kinds


def check_known(finder: Finder, names: Sequence[str]) -> None:
    """Raise `ConfigError` for a name that no episode's stream has, unless there is none at all."""
    with finder.asking() as asked:
        check_streams(asked.connection, names, asked.form.former)


def varying(finder: Finder, streams: Sequence[str]) -> list[str]:
    """Those of `streams` that have several shapes or dtypes, in whatever episodes of the store; of a catalog of before
    that is not known."""
    with finder.asking() as asked:
        if asked.form.former or not streams:
            return []
        names = ", ".join("?" * len(streams))
        text = f"SELECT name FROM layout_streams WHERE name IN ({names}) GROUP BY name"
        several = "HAVING count(DISTINCT shape || ' ' || dtype) > 1"
        return [name for (name,) in asked.connection.execute(f"{text} {several} ORDER BY name", tuple(streams))]


def one_of_each(finder: Finder, where: str, having: Sequence[str], most: int) -> list[str]:
    """An episode of each layout, `most` at most, of those for which `where` is true that have all streams `having`; of
    a catalog of before, which has no layouts, one.

    Raises:
        ConfigError: the condition is none.
    """
    with finder.asking() as asked:
        condition = asked.condition(where, having)
        by = "''" if asked.form.former else "layout"
        text = (
            f"SELECT min(episode) FROM {asked.form.source} WHERE {condition.text} GROUP BY {by} ORDER BY 1 LIMIT :most"
        )
        return [episode for (episode,) in asked.connection.execute(text, condition.values | {"most": most})]


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


def _counted(asked: OpenCatalog, numbers: Stamps, event: str) -> Stamps:
    """How many such events each of some episodes has; below 0 of one of which the catalog does not know all."""
    low, high = int(numbers.min()), int(numbers.max())
    such, values = _such(event)
    if len(numbers) * _SCANNED < high - low:
        among, values["ids"] = "id IN (SELECT value FROM json_each(:ids))", json.dumps(numbers.tolist())
    else:
        among, values["low"], values["high"] = "id BETWEEN :low AND :high", low, high
    # What stands under no kind says that there are more, and nobody asks how many. To have SQLite sum them by episode
    # takes thrice as long.
    counted = f"CASE kind WHEN '' THEN {UNKNOWN} ELSE count END"
    where = f"{among} AND (kind = '' OR {such})"
    text = f"SELECT group_concat(id), group_concat({counted}) FROM events WHERE {where}"
    columns = asked.connection.execute(text, values).fetchone()
    ids, counts = (np.fromstring(each or "", np.int64, sep=",") for each in columns)
    order = np.argsort(numbers, kind="stable")
    wanted = numbers[order]
    at = np.minimum(np.searchsorted(wanted, ids), len(wanted) - 1)
    ours = wanted[at] == ids
    at, counts = order[at[ours]], counts[ours]
    known = np.bincount(at, counts, len(numbers)).astype(np.int64)
    known[at[counts < 0]] = UNKNOWN
    return known


def _such(event: str) -> tuple[str, dict[str, Any]]:
    """SQL of whether a row is of such events, by kind, by name, or `KIND/NAME`; and its values.

    >>> _such("a/b")
    ('(:event IN (kind, name) OR kind = :kind0 AND name = :name0)', {'event': 'a/b', 'kind0': 'a', 'name0': 'b'})
    """
    ways, values = [":event IN (kind, name)"], {"event": event}
    for at, (kind, name) in enumerate(kinds_with_names(event)):
        ways.append(f"kind = :kind{at} AND name = :name{at}")
        values |= {f"kind{at}": kind, f"name{at}": name}
    return f"({' OR '.join(ways)})", values


def _kinds(asked: OpenCatalog, streams: Sequence[str]) -> Kinds:
    names = ", ".join("?" * len(streams))
    text = f"SELECT layout, name, shape, dtype FROM layout_streams WHERE name IN ({names}) ORDER BY name"
    found: Kinds = {}
    for layout, *kind in asked.connection.execute(text, tuple(streams)):
        found.setdefault(layout, []).append(kind)
    return found
