"""What is beside one episode: what the catalog has of it, and what was said since that was entered."""

import contextlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sensorium.corpus.beside import beside_paths, read_lines
from sensorium.corpus.catalog_reading import CATALOG, open_catalog
from sensorium.episode import durable
from sensorium.errors import StoreError

Said = dict[str, Any]
_MINE = "SELECT utc, writer, at, document FROM beside WHERE kind = ?"
_ENTERED = "SELECT writer, entered FROM beside_files WHERE kind = ?"


def said_beside(store: Path, kind: str, episode: str | None, name: str | None = None) -> list[Said]:
    """All records of a kind of an episode (None: of all), of one `name` where that is given, the oldest first."""
    found: list[tuple[str, str, int, Said]] = []
    entered: dict[str, int] = {}
    # Of a catalog that is not there, or of before there was such, nothing is known: all is read where it stands.
    with contextlib.suppress(StoreError, sqlite3.Error), closing(open_catalog(store / CATALOG)) as connection:
        connection.execute("BEGIN")
        text, values = _MINE, [kind]
        for column, value in (("episode", episode), ("name", name)):
            if value is not None:
                text, values = f"{text} AND {column} = ?", [*values, value]
        rows = connection.execute(text, values).fetchall()
        entered = dict(connection.execute(_ENTERED, (kind,)).fetchall())
        found = [(utc or "", writer, at, json.loads(document)) for utc, writer, at, document in rows]
    is_asked = _asked(episode, name)
    for path in beside_paths(store, kind):
        start = entered.get(path.stem, 0)
        try:
            if durable.is_file(path) and path.stat().st_size > start:
                found += [
                    (str(each.record.get("utc") or ""), each.writer, each.at, each.record)
                    for each in read_lines(path, start)
                    if each.record is not None and is_asked(each.record)
                ]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror}); see to the disk, then try again") from error
    return [record for _, _, _, record in sorted(found, key=lambda each: each[:3])]


def _asked(episode: str | None, name: str | None) -> Callable[[Said], bool]:
    wanted = {key: value for key, value in (("episode", episode), ("name", name)) if value is not None}
    return lambda said: all(said.get(key) == value for key, value in wanted.items())
