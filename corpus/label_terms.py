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
KNOWN = "label_stands"
"""The table of labels that count; a catalog of before there was it lacks it."""
_NEWEST = "ORDER BY said.utc DESC, said.writer DESC, said.at DESC LIMIT 1"


def has_labels(connection: sqlite3.Connection) -> bool:
    """Whether there are labels beside episodes."""
    return _any(connection, "SELECT 1 FROM beside WHERE kind = 'labels'")


def _any(connection: sqlite3.Connection, text: str) -> bool:
    with contextlib.suppress(sqlite3.OperationalError):  # a catalog of before there was such a table
        return connection.execute(f"{text} LIMIT 1").fetchone() is not None
    return False


class LabelTerms:
    """Labels of a catalog, as SQL; one of before it knew which count has each record looked at."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._beside = has_labels(connection)
        self._standing = self._beside and _any(connection, f"SELECT 1 FROM sqlite_master WHERE name = '{KNOWN}'")

    @property
    def any_beside(self) -> bool:
        """Whether there are labels beside episodes."""
        return self._beside

    def value(self, name: str) -> str:
        """The label that counts; `name` stands for its name."""
        if not self._beside:
            return recorded_value(name)
        if self._standing:
            said = (
                f"SELECT value FROM label_stands AS said WHERE said.episode = episodes.episode AND said.name = {name}"
            )
        else:
            mine = f"FROM beside AS said WHERE said.episode = episodes.episode AND said.name = {name} AND {STANDS}"
            said = f"SELECT json_extract(said.document, '$.value') {mine} {_NEWEST}"
        return f"coalesce(({said}), {recorded_value(name)})"

    def among(self, name: str, test: str, bind: Bind) -> str:
        """The episodes whose label passes a test: those that are labelled so, and those that were recorded so and are
        not labelled otherwise."""
        mine = bind(name)
        recorded = f"SELECT id FROM labels WHERE labels.name = {mine} AND labels.value {test}"
        if not self._standing:
            since = f"SELECT episode FROM beside WHERE kind = 'labels' AND name = {mine}"
            found = f"(episodes.id IN ({recorded}) OR episodes.episode IN ({since}))"
            return f"({found} AND {self.value(mine)} {test})"
        said = f"SELECT episode FROM label_stands WHERE name = {mine} AND value {test}"
        other = f"SELECT 1 FROM label_stands AS said WHERE said.episode = episodes.episode AND said.name = {mine}"
        return f"(episodes.episode IN ({said}) OR (episodes.id IN ({recorded}) AND NOT EXISTS ({other})))"


def recorded_value(name: str) -> str:
    """The label that was recorded with a row of `episodes`; `name` stands for its name."""
    return f"(SELECT value FROM labels WHERE labels.id = episodes.id AND labels.name = {name})"
