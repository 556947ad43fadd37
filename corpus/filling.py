"""What a catalog lacks of its store, entered: after a crash, or all of it when the catalog was lost.

What cannot be read is left where it is and out of the catalog, and said: one damaged file stops nothing.
"""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import msgspec
import sqlalchemy as sa

from sensorium.corpus.beside_catalog import fill_beside
from sensorium.corpus.between import between_paths, read_between
from sensorium.corpus.catalog import Catalog, Discards
from sensorium.corpus.catalog_deletions import bury
from sensorium.corpus.catalog_making import begin_filling, end_filling
from sensorium.corpus.commits import CommitNames, CommitRecord, commit_names, read_record
from sensorium.corpus.deletions import tombstones
from sensorium.episode import durable
from sensorium.episode.remedy import SHORT
from sensorium.errors import Corrupt

log = logging.getLogger(__name__)

SAID = 10
_DAMAGED = (Corrupt, TypeError, ValueError, LookupError, AttributeError, OverflowError, RecursionError)

AT_ONCE = 500
"""Records of one transaction: each waits for the disk."""
_MANY = 1000
"""Of so many the indices are made behind."""


def fill(
    catalog: Catalog,
    store: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    names: CommitNames | None = None,
) -> int:
    """Enter every commit record, discard, total and record beside an episode that the catalog lacks; the number of
    episodes entered.

    Where that takes more than one transaction readers refuse the catalog meanwhile. `progress(done, total)` is called
    once a few hundred records. `names` are those of the store, if they are known.
    """
    known = catalog.ids()
    names = commit_names(store) if names is None else names
    missing = list(names.paths(store, known | names.deleted.keys()))
    left_out = _LeftOut()
    if len(missing) > AT_ONCE:
        catalog.transact(begin_filling)
    with nullcontext() if known or len(missing) < _MANY else catalog.filled_anew():
        for start in range(0, len(missing), AT_ONCE):
            _add(catalog, _read(missing[start : start + AT_ONCE], left_out), left_out)
            progress(min(start + AT_ONCE, len(missing)), len(missing))
    entered = len(missing) - left_out.count
    for path in sorted((store / "commits" / "discarded").glob("*/*.jsonl")):
        try:
            catalog.discard(path.parent.name, path.stem, read_discards(path))
        except _DAMAGED as error:
            left_out.say(f"{path}: not what a spool discarded: {error}")
        except OSError as error:
            left_out.cannot_read(path, error)
    for device, spool_id, path in between_paths(store):
        try:
            catalog.between(device, spool_id, read_between(path))
        except Corrupt as error:
            left_out.say(str(error))
        except OSError as error:
            left_out.cannot_read(path, error)
    if deleted := names.deleted:
        buried = list(tombstones(store, deleted, lambda _, why: left_out.say(why)))
        catalog.transact(lambda connection: bury(connection, buried))
    left_out.end()
    fill_beside(catalog.transact, store)
    catalog.transact(end_filling)
    return entered


def _read(paths: Sequence[Path], left_out: "_LeftOut") -> list[CommitRecord]:
    records: list[CommitRecord] = []
    for path in paths:
        try:
            records.append(read_record(path))
        except Corrupt as error:
            left_out.say(str(error))
        except OSError as error:
            left_out.cannot_read(path, error)
    return records


def _add(catalog: Catalog, records: Sequence[CommitRecord], left_out: "_LeftOut") -> None:
    """Enter the records; of those that make no row, the others."""
    try:
        catalog.add(records)
    except (*_DAMAGED, sa.exc.DBAPIError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else None
        if isinstance(cause, sqlite3.OperationalError):  # a full disk, a lock: no fault of any record
            raise
        if len(records) == 1:
            left_out.say(f"the commit record of episode {records[0].row.get('episode')} makes no row: {cause or error}")
            return
        for record in records:
            _add(catalog, [record], left_out)


class _LeftOut:
    """What is left out of the catalog, of which the first are said."""

    def __init__(self) -> None:
        self.count = 0

    def say(self, why: str) -> None:
        self.count += 1
        if self.count <= SAID:
            log.error("left out of the catalog, and left where it is: %s", why)

    def cannot_read(self, path: Path, error: OSError) -> None:
        """Say it; raise it where it is no fault of the file."""
        if error.errno in SHORT:
            raise error
        self.say(f"{path}: cannot be read: {error.strerror}")

    def end(self) -> None:
        if self.count > SAID:
            log.error("left out of the catalog: %d more", self.count - SAID)
        if self.count:
            log.error("`sensorium verify` names each file that is damaged; restore it from a copy")


def read_discards(path: Path) -> list[Discards]:
    """The discards of one spool; a last line that a crash tore was never confirmed, and does not count."""
    return decode_discards(durable.read_whole(path))


def decode_discards(data: bytes) -> list[Discards]:
    """Those that the lines of a file say."""
    found = []
    for line in data.split(b"\n"):
        try:
            found.append(msgspec.json.decode(line, type=Discards))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return found
