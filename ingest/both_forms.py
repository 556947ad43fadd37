"""An episode that is there as a folder and as a ZIP: its commit record says which of the two counts, the other goes."""

import logging
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from sensorium.corpus.catalog import Catalog
from sensorium.corpus.commits import ZIP, CommitRecord, decode_commit, folder_path, zip_path
from sensorium.episode import durable
from sensorium.episode.utc_text import utc_text
from sensorium.errors import Corrupt
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, STAGING, StoreFolder

log = logging.getLogger(__name__)

STORE = Path()
"""Paths here are those under the store's folder."""
_GOING, _COMING = "packed-", "new-"


class PackedRecord(CommitRecord, frozen=True, kw_only=True):
    """The record of an episode that was a folder before: until `loose_until_utc` that is left to those who read it."""

    loose_until_utc: str

    @property
    def is_over(self) -> bool:
        """Whether nobody is to find the folder any more."""
        return self.loose_until_utc <= (utc_text(time.time_ns()) or "")


def packed_record(record: CommitRecord, **changes: Any) -> PackedRecord:
    """A record with these of its fields in place of its own."""
    return PackedRecord(**msgspec.structs.asdict(record) | changes)


def in_both_forms(names: Iterable[str]) -> list[str]:
    """Of the names in a month, those that are there with and without the ending of a ZIP."""
    there = set(names)
    return sorted(name for name in there if name + ZIP in there)


def settle(store: StoreFolder, catalog: Catalog, both: Iterable[tuple[str, str]]) -> None:
    """Bring to its end what was interrupted of episodes, by (month, id), that are there in both forms.

    By a record of a folder the ZIP was never committed. By one of a ZIP the folder is what is left of it: it goes once
    its time is over, and once the catalog has the record, which may be where it ended. The names of records must be
    durable already.
    """
    for record in unfinished(store, catalog, both):
        if record.is_over:
            try:
                remove_loose(store, record)
            except Corrupt as error:
                log.error("%s", error)


def unfinished(store: StoreFolder, catalog: Catalog, both: Iterable[tuple[str, str]]) -> list[PackedRecord]:
    """As `settle`, but the folders are left: the records of those that are to go, each at its time."""
    packed, uncommitted = read_both(store.path, store.fd, both)
    for path in uncommitted:
        durable.remove(path, dir_fd=store.fd)
    catalog.add(packed)
    return packed


def read_both(path: Path, fd: int, both: Iterable[tuple[str, str]]) -> tuple[list[PackedRecord], list[Path]]:
    """Of episodes, by (month, id), in both forms: the records of ZIPs, and the ZIPs that are not committed."""
    packed, uncommitted = [], []
    for month, name in both:
        at = COMMITS / month / f"{name}.json"
        try:
            data = durable.read_whole(at, dir_fd=fd)
            record = decode_commit(data, path / at)
        except FileNotFoundError:
            continue
        except Corrupt as error:
            log.warning("%s; episode %s is left in both forms", error, name)
            continue
        if record.zipped:
            packed.append(_packed(record, data))
        else:
            uncommitted.append(EPISODES_FOLDER / month / f"{name}{ZIP}")
    return packed, uncommitted


def remove_loose(store: StoreFolder, record: CommitRecord) -> None:
    """Remove the folder of an episode that is a ZIP.

    It goes at once from where readers look: to them a chunk that is absent might be one of zeros.

    Raises:
        Corrupt: the ZIP is not what was committed; the folder is left.
    """
    folder, packed = folder_path(STORE, record.episode), zip_path(STORE, record.episode)
    if not _holds(store, packed, record):
        raise Corrupt(
            f"{store.path / packed}: not the file that was committed; the episode's folder is left beside it:"
            f" run `sensorium verify --deep {store.path}`"
        )
    going = STAGING / f"{_GOING}{record.episode}"
    durable.remove_tree(going, dir_fd=store.fd)
    durable.rename(folder, going, dir_fd=store.fd)
    durable.remove_tree(going, dir_fd=store.fd)


def next_record(record: CommitRecord) -> Path:
    """Where a record is written that is to take the place of another."""
    return STAGING / f"{_GOING}{record.episode}.json"


def remove_leftovers(store: StoreFolder, about_to: Callable[[Path], None] = lambda _folder: None) -> None:
    """Remove what was on its way out, or in, when the process ended; a start of an ingest does so too.

    `about_to(folder)` is called before each folder goes."""
    for name in durable.names(STAGING, dir_fd=store.fd):
        if name.startswith((_GOING, _COMING)):
            seen = durable.look(STAGING / name, dir_fd=store.fd)
            if seen is not None and seen.is_folder:
                about_to(STAGING / name)
                durable.remove_tree(STAGING / name, dir_fd=store.fd)
            else:
                durable.remove(STAGING / name, dir_fd=store.fd)


def _packed(record: CommitRecord, data: bytes) -> PackedRecord:
    """A record that does not say until when its folder stays is one whose time is over."""
    try:
        return msgspec.json.decode(data, type=PackedRecord)
    except msgspec.ValidationError:
        return packed_record(record, loose_until_utc="")


def _holds(store: StoreFolder, packed: Path, record: CommitRecord) -> bool:
    ((size, crc),) = record.objects.values()
    try:
        data = durable.read_whole(packed, dir_fd=store.fd)
    except FileNotFoundError:
        return False
    return len(data) == size and zlib.crc32(data) == crc
