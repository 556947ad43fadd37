"""Whole episodes that come from another store: what is known of them here, and the steps by which they are in it."""

import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from sensorium.corpus.catalog import Catalog, LedgerEntry
from sensorium.corpus.commits import ZIP, CommitRecord, decode_commit, month_of
from sensorium.corpus.deletions import tombstone_name
from sensorium.corpus.verify import Finding
from sensorium.drivers.stream import check_name
from sensorium.episode import durable
from sensorium.errors import Corrupt
from sensorium.ingest.commit import Committer
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, STAGING, StoreFolder

AGAIN = "restore it from a copy, or deliver the episode again"
_DIGEST_BYTES = 32
_ORPHAN, _ID_LENGTH = "orphan-", 36
_NO_NAMES = {"", ".", ".."}


class Coming(NamedTuple):
    """An episode on its way in: its record, as it says and as it was read, and its name in staging; as texts, of which
    hundreds are asked for a second."""

    record: CommitRecord
    data: bytes
    name: str
    episode: uuid.UUID
    month: str

    @property
    def record_name(self) -> str:
        """Where its record is written."""
        return f"{self.name}.json"

    @property
    def place(self) -> str:
        """Where it is to be in the store."""
        return f"{EPISODES_FOLDER}/{self.month}/{self.episode}{ZIP if self.record.zipped else ''}"

    @property
    def record_place(self) -> str:
        """Where its record is to be in the store."""
        return f"{COMMITS}/{self.month}/{self.episode}.json"

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(n_bytes for n_bytes, _ in self.record.objects.values())


class LeftOut(Exception):
    """An episode that cannot come."""

    def __init__(self, what: str, where: Path, next_step: str = AGAIN) -> None:
        super().__init__(what)
        self.finding = Finding(what, where, next_step)


def coming_of(data: bytes, at: Path, staged: str) -> Coming:
    """The episode of the commit record that `at` holds; its name in staging begins with `staged`.

    Raises:
        LeftOut: it is no record, or names files that no episode can have.
    """
    try:
        record = decode_commit(data, at)
        for what in ("device", "spool_id"):
            check_name(record.row[what], what)
        if len(record.digest) != _DIGEST_BYTES or not isinstance(record.row["ordinal"], int):
            raise Corrupt("digest or ordinal is none")
    except Corrupt as error:
        raise LeftOut(str(error).removeprefix(f"{at}: "), at) from error
    except (LookupError, TypeError, ValueError) as error:
        raise LeftOut(f"no commit record of an episode: {error!r}", at) from error
    for name in record.objects:
        if "\0" in name or not _NO_NAMES.isdisjoint(name.split("/")):
            raise LeftOut(f"names {name!r}, which is no file of an episode", at)
    episode = record.episode
    return Coming(record, data, f"{STAGING}/{staged}{episode}", episode, month_of(episode))


def owner(record: CommitRecord) -> tuple[str, str, int]:
    """Of which device and spool it is, and its ordinal there."""
    return record.row["device"], record.row["spool_id"], record.row["ordinal"]


def state_there(
    store: StoreFolder, coming: Coming, entry: LedgerEntry | None
) -> Literal["committed", "deleted"] | None:
    """What became of an episode there, of whose ordinal the ledger has `entry`; from its tombstone on it is deleted,
    though its record stays for the grace.

    Raises:
        LeftOut: its id or its ordinal is committed there with other content.
    """
    if durable.look(tombstone_name(coming.episode), dir_fd=store.fd) is not None:
        return "deleted"
    at = coming.record_place
    where = store.path / at
    if durable.look(at, dir_fd=store.fd) is not None:
        there = decode_commit(durable.read_whole(at, dir_fd=store.fd), where)
        if there.digest != coming.record.digest:
            raise LeftOut("is committed there with other content", where, "see which of the two is the true one")
        return "committed"
    if entry is not None and entry.state == "deleted":
        return "deleted"
    if entry is not None and entry.episode is not None:
        device, spool_id, ordinal = owner(coming.record)
        what = f"ordinal {ordinal} of {device}, spool {spool_id}, is committed there as"
        raise LeftOut(f"{what} episode {entry.episode}", where, "see which of the two is the true one")
    return None


def make_known(store: StoreFolder, commits: Committer, catalog: Catalog, those: Sequence[Coming]) -> None:
    """Commit episodes that are in staging, durably, with their records."""
    if any(each.record.zipped for each in those):
        store.raise_version()
    months = {each.month for each in those}
    for month in months:
        commits.make_month(month)
    for each in those:
        if durable.look(each.place, dir_fd=store.fd) is not None:
            commits.set_orphan_aside(each.place)
        durable.rename(each.name, each.place, dir_fd=store.fd)
    for month in months:
        durable.sync_folder(EPISODES_FOLDER / month, dir_fd=store.fd)
    store.check()
    for each in those:
        durable.rename(each.record_name, each.record_place, dir_fd=store.fd)
    for month in months:
        durable.sync_folder(COMMITS / month, dir_fd=store.fd)
    catalog.add([each.record for each in those])


def put_away(store: StoreFolder, each: Coming) -> None:
    """Remove what is in staging of an episode."""
    durable.remove(each.record_name, dir_fd=store.fd)
    seen = durable.look(each.name, dir_fd=store.fd)
    if seen is not None:
        (durable.remove_tree if seen.is_folder else durable.remove)(each.name, dir_fd=store.fd)


def remove_orphans(store: StoreFolder, episodes: Collection[str] | None = None) -> None:
    """Remove what was named, and not committed, as what brought it was cut off: it is brought again.

    Of these episodes alone, if they are given.
    """
    for name in durable.names(STAGING, dir_fd=store.fd):
        if name.startswith(_ORPHAN) and (episodes is None or name.removeprefix(_ORPHAN)[:_ID_LENGTH] in episodes):
            seen = durable.look(STAGING / name, dir_fd=store.fd)
            remove = durable.remove_tree if seen is not None and seen.is_folder else durable.remove
            remove(STAGING / name, dir_fd=store.fd)
