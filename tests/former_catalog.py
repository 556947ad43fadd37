"""A catalog as releases wrote it whose rows had the documents in them: version 1."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

TEXTS = [
    "device",
    "spool_id",
    "identity",
    "mission",
    "domain",
    "origin",
    "clock",
    "reason",
    "digest",
    "start_utc",
    "end_utc",
    "committed_utc",
    "licence",
    "consent",
    "source",
]
INTEGERS = [
    "ordinal",
    "start_ns",
    "end_ns",
    "bytes",
    "streams",
    "rows",
    "captured",
    "stored",
    "filtered",
    "lost",
    "generation",
]
REALS = ["priority", "duration_s"]
COLUMNS = ["episode", *TEXTS, "form", "kind", *INTEGERS, *REALS, "document"]
GONE = ["episodes", "documents", "layouts", "layout_streams", "scores", "events", "labels"]
TABLES = (
    "CREATE TABLE episodes (episode TEXT NOT NULL PRIMARY KEY, "
    + "".join(f"{name} TEXT, " for name in TEXTS)
    + "form TEXT DEFAULT 'loose', kind TEXT DEFAULT 'full', "
    + "".join(f"{name} INTEGER, " for name in INTEGERS)
    + "".join(f"{name} REAL, " for name in REALS)
    + "document BLOB NOT NULL)",
    "CREATE INDEX episodes_device ON episodes (device, start_utc)",
    "CREATE INDEX episodes_mission ON episodes (mission, start_utc)",
    "CREATE INDEX episodes_start ON episodes (start_utc)",
    "CREATE INDEX episodes_committed ON episodes (committed_utc)",
    "CREATE TABLE streams (episode TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (episode, name)) WITHOUT ROWID",
    "UPDATE about SET value = '1' WHERE name = 'version'",
)


def as_former(store: Path) -> None:
    """Make the catalog of a store one of version 1."""
    with closing(sqlite3.connect(store / "catalog.sqlite")) as catalog:
        rows = catalog.execute(
            f"SELECT {', '.join(COLUMNS)} FROM episodes JOIN documents ON documents.id = episodes.id"
        ).fetchall()
        for table in GONE:
            catalog.execute(f"DROP TABLE {table}")
        for statement in TABLES:
            catalog.execute(statement)
        for row in rows:
            catalog.execute(f"INSERT INTO episodes VALUES ({', '.join('?' * len(COLUMNS))})", row)
            names = json.loads(row[-1])["streams"]
            catalog.executemany("INSERT INTO streams VALUES (?, ?)", [(row[0], name) for name in names])
        catalog.commit()
