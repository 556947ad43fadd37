"""Which episodes are committed, and how: none twice at a time, none that is there already, small ones together."""

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from sensorium.corpus.catalog import Catalog, LedgerEntry
from sensorium.corpus.commits import CommitRecord, folder_path, record_name, record_path, zip_path
from sensorium.corpus.deletions import Tombstone, read_tombstone, tombstone_name
from sensorium.corpus.utc import Probes
from sensorium.episode import durable
from sensorium.episode.documents import Open
from sensorium.episode.sync_times import SyncTimes
from sensorium.episode.zip_form import MAX_MEMBERS
from sensorium.errors import Corrupt, PeerViolation, StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.at_once import AtOnce
from sensorium.ingest.commit import Committer, Ready
from sensorium.ingest.store_folder import StoreFolder
from sensorium.ingest.zip_commit import ZipCommit, ZipCommitter, failing, going

_NO_PROBES: Probes = np.zeros((0, 3), np.int64)


class Conflict(PeerViolation):
    """An episode id or an ordinal that the store knows came with other content."""


class Deleted(Conflict):
    """An episode that was deleted comes again, or was on its way: nothing of it is kept."""


class Commits:
    """The commits of a store; from any thread. `loose` commits one folder; episodes whose file is no longer than
    `small_bytes` become one ZIP each."""

    def __init__(self, store: StoreFolder, catalog: Catalog, small_bytes: int, step: Callable[[str], None]) -> None:
        self.loose = Committer(store, step)
        self._zips = ZipCommitter(store, self.loose)
        self._store, self._catalog, self._small_bytes = store, catalog, small_bytes
        self._guard = threading.Lock()
        self._claimed: set[object] = set()
        self.times = SyncTimes()
        """What commits took to be written, synced, named and recorded; small ones together."""

    def close(self) -> bool:
        """Finish what was begun; False if that hangs."""
        return self.loose.close() and not self._claimed

    def is_small(self, assembly: Assembly) -> bool:
        """Whether a whole episode becomes a ZIP."""
        members = len(assembly.files) + 8 * len(assembly.streams) + 8  # documents and small arrays, at the most
        return assembly.accepted <= self._small_bytes and members <= MAX_MEMBERS

    def commit(self, ready: Ready[Assembly]) -> CommitRecord:
        """Commit a folder, unless it is there already; its record."""
        if not self._claim(ready):
            raise _busy(ready)
        try:
            [entry] = self._catalog.ordinals([_owner(ready)])
            record = self._known(ready, entry)
            fresh = record is None
            if record is None:
                with self.times.taken():
                    record = self.loose.put(ready)
            self._catalog.add([record])
            self.loose.step("catalog")
            if fresh:
                self.loose.check(ready.assembly)
            return record
        finally:
            self._unclaim([ready])

    def commit_small(self, ready: Sequence[Ready[Assembly | AtOnce]]) -> list[CommitRecord | Exception]:
        """Commit ZIPs, those that are not there already: of each its record, or what ended that."""
        commits = [ZipCommit(each) for each in ready]
        mine: list[ZipCommit] = []
        for commit in commits:
            if self._claim(commit.ready):
                mine.append(commit)
            else:
                commit.error = _busy(commit.ready)
        try:
            with failing(mine):
                entries = self._catalog.ordinals([_owner(commit.ready) for commit in mine])
                for commit, entry in zip(mine, entries, strict=True):
                    with failing([commit]):
                        commit.record = self._known(commit.ready, entry)
            fresh = [commit for commit in going(mine) if commit.record is None]
            with self.times.taken() if fresh else contextlib.nullcontext():
                self._zips.put(fresh)
            with failing(mine):
                self._catalog.add([commit.record for commit in going(mine) if commit.record is not None])
            self.loose.step("catalog")
            self._zips.check(fresh)
        finally:
            self._unclaim([commit.ready for commit in mine])
        return [commit.outcome for commit in commits]

    def is_published(self, episode: uuid.UUID) -> bool:
        """Whether there is a record of it, durable or not."""
        return durable.look(record_name(episode), dir_fd=self._store.fd) is not None

    def is_deleted(self, episode: uuid.UUID) -> bool:
        """Whether there is a tombstone of it."""
        return durable.look(tombstone_name(episode), dir_fd=self._store.fd) is not None

    def tombstone(self, episode: uuid.UUID) -> Tombstone | None:
        """What says that an episode was deleted, if it was.

        Raises:
            StoreError: it cannot be read: no fault of who sends the episode again.
        """
        if not self.is_deleted(episode):
            return None
        name, where = Path(tombstone_name(episode)), self._store.path
        try:
            return read_tombstone(durable.read_whole(name, dir_fd=self._store.fd), where / name)
        except Corrupt as error:
            raise StoreError(f"{error}: the device keeps the episode") from error

    def committed(self, episode: uuid.UUID) -> CommitRecord | None:
        """The commit record of an episode, if it has one; the catalog is but an index.

        Raises:
            StoreError: the record cannot be read, or a file that it names is not there: no fault of who sends it again.
        """
        if not self.is_published(episode):
            return None
        path = record_path(Path(), episode)
        where = self._store.path
        try:
            record = self.loose.record(path)
        except Corrupt as error:
            raise StoreError(f"{error}; run `sensorium verify {where}`: the device keeps the episode") from error
        folder = zip_path(Path(), episode).parent if record.zipped else folder_path(Path(), episode)
        for name, (size, _) in record.objects.items():
            seen = durable.look(folder / name, dir_fd=self._store.fd)
            if seen is None or seen.size != size:
                raise StoreError(
                    f"{where / folder / name}: committed, but missing or of another size; run"
                    f" `sensorium verify {where}` and restore it from a copy: the device keeps the episode"
                )
        return record

    @contextlib.contextmanager
    def apart(self, episodes: Sequence[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
        """Those of the episodes of which nobody commits anything, who finds them taken meanwhile."""
        with self._guard:
            mine = [each for each in episodes if each not in self._claimed]
            self._claimed |= set(mine)
        try:
            yield mine
        finally:
            with self._guard:
                self._claimed -= set(mine)

    def _claim(self, ready: Ready[Assembly | AtOnce]) -> bool:
        """Have the episode, and its ordinal, to ourselves; False if somebody has."""
        keys = {ready.assembly.episode, _owner(ready)}
        with self._guard:
            if self._claimed & keys:
                return False
            self._claimed |= keys
        return True

    def _unclaim(self, ready: Sequence[Ready[Assembly | AtOnce]]) -> None:
        with self._guard:
            for each in ready:
                self._claimed -= {each.assembly.episode, _owner(each)}

    def _known(self, ready: Ready[Assembly | AtOnce], entry: LedgerEntry | None) -> CommitRecord | None:
        """The record of what is there already, of whose ordinal the ledger has `entry`."""
        episode, digest = ready.assembly.episode, ready.seal.digest
        if self.tombstone(episode) is not None:
            raise Deleted("this episode was deleted from the store")
        if entry is not None and entry.state == "deleted":
            device, spool_id, ordinal = _owner(ready)
            raise Conflict(
                f"episode {episode}: ordinal {ordinal} of {device}, spool {spool_id}, was deleted from the store"
            )
        record = self.committed(episode)
        if record is not None:
            if record.digest != digest:
                raise Conflict(
                    f"episode {episode}: came with digest {digest.hex()}, committed is {record.digest.hex()}"
                )
            # It may be there because the sync of its name failed when it was published.
            durable.sync_folder(record_path(Path(), episode).parent, dir_fd=self._store.fd)
            return record
        if entry is not None and entry.episode is not None and self.committed(entry.episode) is not None:
            device, spool_id, ordinal = _owner(ready)
            raise Conflict(
                f"episode {episode}: ordinal {ordinal} of {device}, spool {spool_id},"
                f" is committed as episode {entry.episode}"
            )
        return None


def ready_of(
    assembly: Assembly, device: str, identity: str, probes: Sequence[tuple[int, int, int]] = ()
) -> Ready[Assembly]:
    """An assembly that is whole, of a `device` that was authenticated as `identity`.

    Raises:
        Corrupt: it has not come to its end.
        PeerViolation: it is another device's.
        StoreError: it failed before.
    """
    manifest, seal = assembly.manifest, assembly.seal
    if manifest is None or seal is None:
        raise Corrupt(f"episode {assembly.episode}: {assembly.accepted} bytes end before SEAL")
    if assembly.failed is not None:
        raise StoreError(f"episode {assembly.episode}: failed before ({assembly.failed}); begin it again")
    if manifest.device != device:
        raise PeerViolation(f"episode {assembly.episode}: it says device {manifest.device!r}, {device!r} sent it")
    return Ready(assembly, manifest, seal, identity, probes_of(manifest, probes))


def probes_of(manifest: Open, probes: Sequence[tuple[int, int, int]]) -> Probes:
    """The probes as an array; none of a clock that needs none."""
    if not probes or manifest.clock.kind != "boottime":
        return _NO_PROBES
    return np.array(probes, np.int64)


def _owner(ready: Ready[Assembly | AtOnce]) -> tuple[str, str, int]:
    manifest = ready.manifest
    return manifest.device, manifest.spool_id, manifest.ordinal


def _busy(ready: Ready[Assembly | AtOnce]) -> StoreError:
    return StoreError(f"episode {ready.assembly.episode}: it is being committed already; ask again")
