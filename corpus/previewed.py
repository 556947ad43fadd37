"""Where the full episode is that a preview tells of: in the store, on its device, released, evicted or given up."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from sensorium.corpus.catalog_tables import previews
from sensorium.episode.documents import PREVIEW_OF
from sensorium.episode.where_times import TEXT

BYTES_AT = "bytes_at"
OF_PREVIEWS = {BYTES_AT: TEXT, PREVIEW_OF: TEXT}
"""Columns that conditions may name beside those of a row: where an episode's bytes are, and of which full one it is
the preview (NULL of what is none)."""
STORE, DEVICE = "store", "device"
_FATE = (
    "CASE WHEN ledger.reason LIKE 'released%' THEN 'released' WHEN ledger.reason LIKE 'evicted%' THEN 'evicted'"
    " WHEN ledger.reason LIKE 'rejected%' THEN 'rejected' ELSE 'discarded' END"
)
_OWN = "ledger.device = episodes.device AND ledger.spool_id = episodes.spool_id AND ledger.ordinal = told.whole_ordinal"
_GIVEN_UP = (
    f"SELECT CASE ledger.state WHEN 'discarded' THEN {_FATE} ELSE 'rejected' END FROM ledger WHERE {_OWN}"
    " AND (ledger.state = 'discarded' OR ledger.state = 'committed' AND ledger.episode <> told.whole)"
)
"""Where another has its place in the store, it was rejected: the two are a conflict."""
_WHOLE = (
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM episodes AS whole WHERE whole.episode = told.whole"
    " AND whole.spool_id = episodes.spool_id) THEN 'store'"
    f" ELSE coalesce(({_GIVEN_UP}), 'device') END FROM previews AS told WHERE told.preview = episodes.episode"
)
_AT = f"(CASE WHEN episodes.kind = 'preview' THEN coalesce(({_WHOLE}), 'device') ELSE 'store' END)"


class Previewed(NamedTuple):
    """A preview of the store and the full `episode` that it tells of, number `ordinal` of its spool, of so many
    `bytes` there; `at`: store, device, released, evicted, rejected or discarded."""

    preview: str
    episode: str
    device: str
    spool_id: str
    ordinal: int
    bytes: int
    at: str


def has_previews(connection: sqlite3.Connection) -> bool:
    """Whether the catalog has any; one of before there were such has no table of them."""
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (previews.name,)).fetchone()
    return there is not None and connection.execute("SELECT 1 FROM previews LIMIT 1").fetchone() is not None


def of_previews(connection: sqlite3.Connection | None, name: str) -> str:
    """One of `OF_PREVIEWS` of a row of `episodes`, as SQL; without a connection that of a catalog without previews.
    Where the bytes are is, of a preview, where those of its full episode are."""
    there = connection is not None and has_previews(connection)
    if name == BYTES_AT:
        return _AT if there else f"'{STORE}'"
    return "(SELECT told.whole FROM previews AS told WHERE told.preview = episodes.episode)" if there else "NULL"


def previewed(connection: sqlite3.Connection, condition: str, values: dict[str, Any], source: str) -> list[Previewed]:
    """Those whose previews match a condition over `episodes`, in the order that they were begun."""
    if not has_previews(connection):
        return []
    text = (
        f"SELECT episodes.episode, whole, device, spool_id, whole_ordinal, whole_bytes, {_AT} FROM {source}"
        f" JOIN previews ON previews.preview = episodes.episode WHERE ({condition}) ORDER BY episodes.episode"
    )
    return [Previewed(*row) for row in connection.execute(text, values)]


def whereabouts(connection: sqlite3.Connection, episodes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By episode where its bytes are; of a preview with the full one, and of a full one with its preview."""
    if not has_previews(connection):
        return {each: {BYTES_AT: STORE} for each in episodes}
    text = (
        f"SELECT episodes.episode, {_AT}, mine.whole, mine.whole_bytes, its.preview FROM episodes"
        " LEFT JOIN previews AS mine ON mine.preview = episodes.episode"
        " LEFT JOIN previews AS its ON its.whole = episodes.episode"
        " WHERE episodes.episode IN (SELECT value FROM json_each(?))"
    )
    found: dict[str, dict[str, Any]] = {}
    for episode, at, whole, size, preview in connection.execute(text, (json.dumps([*episodes]),)):
        said = {BYTES_AT: at, PREVIEW_OF: whole, "whole_bytes": size, "preview": preview}
        found[episode] = {name: value for name, value in said.items() if value is not None}
    return found
