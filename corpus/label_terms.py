"""`label('task')` as SQL: the newest label beside the episode that none supersedes, else the one recorded with it."""

import contextlib
import sqlite3

from sensorium.episode.store_terms import Bind

STANDS = (
    "said.kind = 'labels' AND json_type(said.document, '$.value') <> 'null' AND NOT EXISTS ("
    "SELECT 1 FROM beside AS later WHERE later.kind = 'labels' AND later.episode = said.episode"
    " AND json_extract(later.document, '$.supersedes') = json_extract(said.document, '$.id'))"
)
"""That a row `said` of `beside` is a label which counts."""
_NEWEST = "ORDER BY said.utc DESC, said.writer DESC, said.at DESC LIMIT 1"


def has_labels(connection: sqlite3.Connection) -> bool:
    """Whether there are labels beside episodes."""
    with contextlib.suppress(sqlite3.OperationalError):  # a catalog of before there was such a table
        return connection.execute("SELECT 1 FROM beside WHERE kind = 'labels' LIMIT 1").fetchone() is not None
    return False


def recorded_value(name: str) -> str:
    """The label that was recorded with a row of `episodes`; `name` stands for its name."""
    return f"(SELECT value FROM labels WHERE labels.id = episodes.id AND labels.name = {name})"


def label_value(name: str) -> str:
    """The label that counts."""
    mine = f"FROM beside AS said WHERE said.episode = episodes.episode AND said.name = {name} AND {STANDS}"
    return f"coalesce((SELECT json_extract(said.document, '$.value') {mine} {_NEWEST}), {recorded_value(name)})"


def labelled(name: str, test: str, bind: Bind) -> str:
    """The episodes whose label passes a test: looked for among those that were recorded so, or labelled since."""
    mine = bind(name)
    recorded = f"SELECT id FROM labels WHERE labels.name = {mine} AND labels.value {test}"
    since = f"SELECT episode FROM beside WHERE kind = 'labels' AND name = {mine}"
    found = f"(episodes.id IN ({recorded}) OR episodes.episode IN ({since}))"
    return f"({found} AND {label_value(mine)} {test})"
