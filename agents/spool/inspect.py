"""Looking into a spool from outside, also while its agent runs: what waits, what was discarded and why."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from sensorium.agents.spool.entries import STANDS
from sensorium.agents.spool.listing import Listed, listed
from sensorium.episode.documents import Account, BetweenTotals, Kind
from sensorium.errors import SpoolError


class _OfKind(msgspec.Struct):
    """Of an OPEN what is shown."""

    kind: Kind = "full"


def inspect_spool(path: Path) -> dict[str, Any]:
    """device, spool_id, next_ordinal, counts by state, and episodes: what is pending, held, discarded or rejected.

    An episode's `kind` is None where it is given up, and nothing but that is kept of it. `between` has by stream what
    became of samples in no episode since the last OPEN, `between_totals` since the spool was made. An episode of a
    `former_spool_id` is delivered under that one. `no_files` has, by place, what is named as an episode and what it is.

    Raises:
        SpoolError: there is no spool, or it cannot be read.
    """
    file = path / "ledger.sqlite"
    if not file.is_file():
        raise SpoolError(f"{path}: no spool here (no ledger.sqlite); `spool.path` in the device file names it")
    try:
        database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            meta = dict(database.execute("SELECT key, value FROM meta").fetchall())
            columns = {row[1] for row in database.execute("PRAGMA table_info(episodes)")}
            state, why = (STANDS, "why || held") if "held" in columns else ("state", "why")
            counts = dict(database.execute(f"SELECT {state}, count(*) FROM episodes GROUP BY 1").fetchall())
            own = "coalesce(spool_ordinal, ordinal), coalesce(spool_id, '')" if "spool_id" in columns else "ordinal, ''"
            rows = database.execute(
                f"SELECT {own}, episode, {state}, {why}, manifest FROM episodes WHERE state != 'committed' ORDER BY"
                " ordinal"
            ).fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise SpoolError(f"{file}: cannot be read: {error}") from error
    there = {folder: _listed(path / folder) for folder in ("rejected", "episodes")}
    places = {name: (f"{at}/{name}", size) for at, each in there.items() for name, size in each.sizes.items()}
    between, totals = meta.pop("between", None), meta.pop("between_totals", None)
    hardware, former = meta.pop("hardware", None), meta.pop("former", None)
    return meta | {
        "hardware": msgspec.msgpack.decode(hardware) if hardware else {},
        "former_spool_ids": list(msgspec.msgpack.decode(former)) if former else [],
        "between": _accounts(msgspec.msgpack.decode(between, type=dict[str, Account]) if between else {}),
        "between_totals": _accounts(msgspec.msgpack.decode(totals, type=BetweenTotals).streams if totals else {}),
        "counts": counts,
        "episodes": [_episode(places, *row) for row in rows],
        "no_files": {f"{at}/{name}": what for at, each in there.items() for name, what in sorted(each.others.items())},
    }


def _accounts(streams: Mapping[str, Account]) -> dict[str, Any]:
    return {name: account.as_dict() for name, account in streams.items()}


def _listed(folder: Path) -> Listed:
    """What is in a folder, which may not be there."""
    with suppress(FileNotFoundError):
        return listed(folder)
    return Listed({}, {})


def _episode(
    places: Mapping[str, tuple[str, int]],
    ordinal: int,
    former: str,
    episode: bytes,
    state: str,
    why: str,
    manifest: bytes | None,
) -> dict[str, Any]:
    name = UUID(bytes=episode)
    file, size = places.get(f"{ordinal:010d}-{name}.episode") or places.get(f"{name}.episode") or (None, 0)
    return {
        "ordinal": ordinal,
        "episode": str(name),
        "state": state,
        "kind": msgspec.msgpack.decode(manifest, type=_OfKind).kind if manifest else None,
        "why": why,
        "bytes": size,
        "file": file,
        "former_spool_id": former or None,
    }
