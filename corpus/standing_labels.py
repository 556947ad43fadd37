"""The labels beside episodes that count, in the catalog: of each episode and name the newest that none supersedes.

They follow from the records alone, and are kept so that conditions find episodes by their label as by a column. The
scores of a rubric stand under RUBRIC.CRITERION.
"""

import json
from collections.abc import Collection

import sqlalchemy as sa

KIND = "labels"
META = sa.MetaData()
label_stands = sa.Table(
    "label_stands",
    META,
    sa.Column("episode", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary),  # text or number: no kind of column at all
    sa.Index("label_stands_value", "name", "value", "episode"),
    sqlite_with_rowid=False,
)

# Told which index to take, as SQLite would go through all labels for every few that are entered.
_OF_SOME = "json_each(?) AS some CROSS JOIN beside AS said INDEXED BY beside_episode"
_GONE = (
    "SELECT json_extract(later.document, '$.supersedes') FROM beside AS later INDEXED BY beside_episode"
    " WHERE later.kind = 'labels'"
    " AND later.episode = said.episode AND json_extract(later.document, '$.supersedes') IS NOT NULL"
)
_NEWEST = (
    "SELECT episode, name, document FROM (SELECT episode, name, document, row_number() OVER"
    f" (PARTITION BY episode, name ORDER BY utc DESC, writer DESC, at DESC) AS age FROM {_OF_SOME}"
    " WHERE said.kind = 'labels' AND said.episode = some.value AND name IS NOT NULL"
    " AND json_type(document, '$.value') <> 'null'"
    f" AND coalesce(json_extract(document, '$.id'), '') NOT IN ({_GONE})) WHERE age = 1"
)
_STAND = f"INSERT INTO label_stands SELECT episode, name, json_extract(document, '$.value') FROM ({_NEWEST})"
_SCORES = (
    "INSERT OR IGNORE INTO label_stands SELECT episode, name || '.' || score.key, score.value"
    f" FROM ({_NEWEST}) AS newest, json_each(newest.document, '$.scores') AS score"
    " WHERE score.type IN ('integer', 'real')"
)
_EPISODES = "SELECT DISTINCT episode FROM beside WHERE kind = 'labels' AND episode IS NOT NULL"


def prepare(connection: sa.Connection) -> None:
    """Make the table where a catalog of before there was such lacks it, and enter what follows from the records."""
    if sa.inspect(connection).has_table(label_stands.name):
        return
    META.create_all(connection)
    stand_anew(connection, [each for (each,) in connection.exec_driver_sql(_EPISODES)])


def labelled_by(connection: sa.Connection, writer: str) -> list[str]:
    """The episodes that the labels in one file are of."""
    return [each for (each,) in connection.exec_driver_sql(f"{_EPISODES} AND writer = ?", (writer,))]


def standing_of(connection: sa.Connection, episodes: Collection[str]) -> dict[str, dict[str, str | int | float]]:
    """By episode and name what counts, of these; nothing in a catalog of before there was such."""
    if not sa.inspect(connection).has_table(label_stands.name):
        return {}
    text = "SELECT episode, name, value FROM label_stands WHERE episode IN (SELECT value FROM json_each(?))"
    found: dict[str, dict[str, str | int | float]] = {}
    for episode, name, value in connection.exec_driver_sql(text, (json.dumps(sorted(episodes)),)):
        found.setdefault(episode, {})[name] = value
    return found


def stand_anew(connection: sa.Connection, episodes: Collection[str]) -> None:
    """Enter what counts of these episodes, in place of what did."""
    if not episodes:
        return
    some = (json.dumps(sorted(episodes)),)
    connection.exec_driver_sql("DELETE FROM label_stands WHERE episode IN (SELECT value FROM json_each(?))", some)
    connection.exec_driver_sql(_STAND, some)
    connection.exec_driver_sql(_SCORES, some)
