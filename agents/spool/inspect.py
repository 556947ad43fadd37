"""Looking into a spool from outside, also while its agent runs: what waits, what was discarded and why."""

import sqlite3
from pathlib import Path
from typing import Any
from uuid import UUID

from sensorium.errors import SpoolError


def inspect_spool(path: Path) -> dict[str, Any]:
    """device, spool_id, next_ordinal, counts by state, and episodes: what is pending, discarded or rejected.

    Raises:
        SpoolError: there is no spool, or it cannot be read.
    """
    file = path / "ledger.sqlite"
    if not file.is_file():
        raise SpoolError(f"{path}: no spool here (no ledger.sqlite); `spool.path` in the device file names it")
    try:
        database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            meta = dict(database.execute("SELECT key, value FROM meta WHERE key != 'between'").fetchall())
            counts = dict(database.execute("SELECT state, count(*) FROM episodes GROUP BY state").fetchall())
            rows = database.execute(
                "SELECT ordinal, episode, state, why FROM episodes WHERE state != 'committed' ORDER BY ordinal"
            ).fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise SpoolError(f"{file}: cannot be read: {error}") from error
    return meta | {"counts": counts, "episodes": [_episode(path, *row) for row in rows]}


def _episode(path: Path, ordinal: int, episode: bytes, state: str, why: str) -> dict[str, Any]:
    name = UUID(bytes=episode)
    places = (path / "episodes" / f"{ordinal:010d}-{name}.episode", path / "rejected" / f"{name}.episode")
    held = next((place for place in places if place.exists()), None)
    return {
        "ordinal": ordinal,
        "episode": str(name),
        "state": state,
        "why": why,
        "bytes": held.stat().st_size if held else 0,
        "file": str(held.relative_to(path)) if held else None,
    }
