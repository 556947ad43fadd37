"""How commit records are entered in a catalog: a few statements for hundreds of episodes, each of many rows."""

import functools
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from sensorium.corpus.catalog_tables import COLUMNS, FIGURES
from sensorium.corpus.commits import CommitRecord, StreamSummary
from sensorium.episode.documents import LABELS, OUTCOME, PREVIEW_OF, Account
from sensorium.episode.store_terms import HEALTH_FIELDS, SPEC
from sensorium.episode.trace_row import JUDGED_S

# As text, for what every commit does: to have it made anew each time took longer than to do it. Rows stand in one
# statement: at each SQLite lets go of the interpreter.
_AT_ONCE = 100
_EPISODE = ("id", "layout", "crc", *COLUMNS)
_INTO = {
    "episodes": _EPISODE,
    "documents": ("id", "document"),
    "layout_streams": ("layout", "name", *SPEC),
    "scores": ("id", "stream", "name", "value"),
    "events": ("id", "kind", "name", "count"),
    "labels": ("id", "name", "value"),
    "stream_figures": ("stream", "id", *FIGURES),
}
_ENTRY = ("device", "spool_id", "ordinal", "state", "episode", "reason")
_PREVIEW = ("preview", "whole", "whole_ordinal", "whole_bytes")
_COMMITTED = (
    " ON CONFLICT (device, spool_id, ordinal)"
    " DO UPDATE SET state = 'committed', episode = excluded.episode, reason = ''"
)
_IDS = "SELECT value, (SELECT id FROM episodes WHERE episode = value) FROM json_each(?)"
_LAYOUTS = "SELECT value, (SELECT layout FROM layouts WHERE key = value) FROM json_each(?)"
_FORGOTTEN = ("documents", "scores", "events", "labels", "stream_figures")
_NOTHING = Account()

Rows = list[tuple[Any, ...]]


def enter_records(cursor: sqlite3.Cursor, records: Iterable[CommitRecord]) -> None:
    """Enter commits, in place of what is there of the same episodes and ordinals, in the cursor's transaction."""
    by_episode = {str(record.row["episode"]): record for record in records}
    if not by_episode:
        return
    known = _numbers(cursor, _IDS, list(by_episode))
    if old := [number for number in known.values() if number is not None]:
        for table in _FORGOTTEN:
            cursor.execute(f"DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?))", (_json(old),))
    last = int(cursor.execute("SELECT coalesce(max(id), 0) FROM episodes").fetchone()[0])
    layouts = _layouts(cursor, by_episode)
    into: dict[str, Rows] = {table: [] for table in _INTO if table != "layout_streams"}
    ledger: Rows = []
    for episode, record in by_episode.items():
        number = known[episode]
        if number is None:
            number = last = last + 1
        row = record.columns
        stands = record.zip_object
        crc = None if stands is None else stands[1]
        into["episodes"].append((number, layouts[episode], crc, *map(row.get, COLUMNS)))
        into["documents"].append((number, catalog_document(record)))
        _enter_rest(into, number, record)
        ledger.append((row["device"], row["spool_id"], row["ordinal"], "committed", episode, ""))
    for table, rows in into.items():
        _insert(cursor, f"INSERT OR REPLACE INTO {table}", _INTO[table], rows)
    told = [(episode, said) for episode, record in by_episode.items() if (said := record.row.get(PREVIEW_OF))]
    previews = [(episode, said["episode"], said["ordinal"], said["bytes"]) for episode, said in told]
    _insert(cursor, "INSERT OR REPLACE INTO previews", _PREVIEW, previews)
    _insert(cursor, "INSERT INTO ledger", _ENTRY, ledger, _COMMITTED)


def catalog_document(record: CommitRecord) -> bytes:
    """What the catalog has of an episode beside its columns: JSON of `streams`, `account`, of a ZIP its `crc`, of a
    trace the seconds by reason, and what the source said: `labels` and `outcome`."""
    stands = record.zip_object
    more = {} if stands is None else {"crc": stands[1]}
    more |= {name: record.row[name] for name in (JUDGED_S, LABELS, OUTCOME) if name in record.row}
    return msgspec.json.encode({"streams": record.streams, "account": record.account, **more})


def _enter_rest(into: dict[str, Rows], number: int, record: CommitRecord) -> None:
    for name, stream in record.streams.items():
        known, health = stream.scores, stream.health
        if "sharpness" in health:  # the same measure of all episodes, whatever filters there were
            known = {**known, "sharpness": health["sharpness"]}
        into["scores"] += [(number, name, score, value) for score, value in known.items()]
        had = record.account.get(name, _NOTHING)
        counts = stream.rows, stream.bytes, had.captured, had.stored
        dropped = sum(had.filtered.values()), sum(had.lost.values())
        into["stream_figures"].append((name, number, *counts, *dropped, *map(health.get, HEALTH_FIELDS)))
    for kind, names in record.events.items():
        into["events"] += [(number, kind, name, count) for name, count in names.items()]
    said = record.row.get(LABELS)
    if isinstance(said, dict):
        into["labels"] += [
            (number, name, value) for name, value in said.items() if isinstance(value, str | int | float)
        ]


def _layouts(cursor: sqlite3.Cursor, records: Mapping[str, CommitRecord]) -> dict[str, int]:
    """By episode the number of its layout; those that are new are entered."""
    keys = {episode: _layout_key(record.streams) for episode, record in records.items()}
    found = _numbers(cursor, _LAYOUTS, list(set(keys.values())))
    rows: Rows = []
    for episode, key in keys.items():
        if found[key] is None:
            entered = cursor.execute("INSERT INTO layouts (key) VALUES (?) RETURNING layout", (key,))
            found[key] = new = int(entered.fetchone()[0])
            rows += [(new, name, *_spec(stream)) for name, stream in records[episode].streams.items()]
    _insert(cursor, "INSERT INTO layout_streams", _INTO["layout_streams"], rows)
    return {episode: number for episode, key in keys.items() if (number := found[key]) is not None}


def _layout_key(streams: dict[str, StreamSummary]) -> str:
    return _json([(name, *_spec(streams[name])) for name in sorted(streams)])


def _spec(stream: StreamSummary) -> tuple[Any, ...]:
    """As `SPEC` has it."""
    return stream.modality, stream.dtype, _shape(stream.shape), stream.media_type, stream.rate_hz


@functools.lru_cache(256)
def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _numbers(cursor: sqlite3.Cursor, text: str, keys: list[str]) -> dict[str, int | None]:
    return dict(cursor.execute(text, (_json(keys),)).fetchall())


def _insert(cursor: sqlite3.Cursor, into: str, columns: Sequence[str], rows: Rows, behind: str = "") -> None:
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        cursor.execute(_statement(into, tuple(columns), len(some), behind), tuple(chain.from_iterable(some)))


@functools.lru_cache(256)
def _statement(into: str, columns: tuple[str, ...], rows: int, behind: str) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"{into} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}{behind}"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
