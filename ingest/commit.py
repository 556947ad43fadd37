"""The steps of a commit: before the last one an episode is not in the store, after it the whole of it is."""

import itertools
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec

from sensorium.corpus.commits import (
    LOOSE_VERSION,
    CommitRecord,
    decode_commit,
    folder_path,
    month_of,
    record_path,
)
from sensorium.corpus.extent import extent_of
from sensorium.corpus.utc import Probes
from sensorium.episode import durable
from sensorium.episode.documents import Open, Seal
from sensorium.episode.layout import group
from sensorium.errors import StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.at_once import AtOnce
from sensorium.ingest.episode_group import commit_record, group_files, objects_of
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, STAGING, StoreFolder
from sensorium.threads import Pool

SYNC_THREADS = 8
_STORE = Path()
"""Paths here are those under the store's folder."""


Came = TypeVar("Came", bound=Assembly | AtOnce, covariant=True)


class Ready(NamedTuple, Generic[Came]):
    """An episode that is whole, with what is said of it beside its file: who sent it, and the time probes."""

    assembly: Came
    manifest: Open
    seal: Seal
    identity: str
    probes: Probes


class Committer:
    """Commits into a store, several episodes at once, none of them twice at a time.

    `step(name)` is called after each step; tests end the process there.
    """

    def __init__(self, store: StoreFolder, step: Callable[[str], None]) -> None:
        self._store = store
        self.step = step
        self._orphans = itertools.count()
        self._syncing = Pool("fsync", "puts episodes on disk", SYNC_THREADS)

    def close(self) -> bool:
        """Finish what was begun; False if that hangs."""
        return self._syncing.close()

    def put(self, ready: Ready[Assembly]) -> CommitRecord:
        """Write, sync, rename, and publish the record; may be called again after it failed, unless the assembly did.

        The store's name, and that of every file, lead to what was written when the record is published; `check` says
        whether they still do.
        """
        assembly, manifest, seal, identity, probes = ready
        assembly.put_down()
        extent = extent_of(manifest, seal, assembly.spans)
        for stream in assembly.streams:
            stream.sink.finish()
        files = group_files(assembly, identity, extent, probes, LOOSE_VERSION)
        self.step("finished")
        month = month_of(assembly.episode)
        folder = folder_path(_STORE, assembly.episode)
        if not assembly.staged.moved:
            self.check_staged(assembly)
            self._write(assembly, files)
            self.step("synced")
            self.make_month(month)
            self._move(assembly, folder)
            self.step("renamed")
        durable.sync_folder(folder.parent, dir_fd=self._store.fd)
        self.step("folder")
        self.check(assembly)
        objects = objects_of(assembly, files)
        record = commit_record(assembly, manifest, seal, extent, identity, probes, objects)
        path = record_path(_STORE, assembly.episode)
        self.step("writing record")
        data = msgspec.json.encode(record)
        published = durable.publish(path, data, STAGING, dir_fd=self._store.fd)
        if published is None:
            record = self.record(path)
        else:
            assembly.published = durable.Seen(published, len(data), False)
        self.step("record")
        return record

    def check(self, assembly: Assembly) -> None:
        """Raise `StoreError` unless all that was written of an episode is in the store, by its name there."""
        folder = folder_path(_STORE, assembly.episode)
        missing = self._store.unlike(folder, assembly.written)
        if missing:
            assembly.failed = f"{missing[0]} is not what was written there"
            where = self._store.path / folder / missing[0]
            raise StoreError(f"{where}: not the file that was written there; it is sent again")
        path, published = record_path(_STORE, assembly.episode), assembly.published
        if published is not None and self._store.unlike(path.parent, {path.name: published}):
            assembly.published = None
            raise StoreError(f"{self._store.path / path}: not the record that was written there; it is tried again")

    def record(self, path: Path) -> CommitRecord:
        """The commit record at `path` under the store's folder."""
        return decode_commit(durable.read_whole(path, dir_fd=self._store.fd), self._store.path / path)

    def make_month(self, month: str) -> None:
        """The folders of a month, `yyyy-mm`, and the group without which other readers would not see its episodes."""
        fd = self._store.fd
        durable.make_folder(EPISODES_FOLDER / month, dir_fd=fd)
        durable.make_folder(COMMITS / month, dir_fd=fd)
        about = EPISODES_FOLDER / month / "zarr.json"
        if durable.look(about, dir_fd=fd) is None:
            durable.publish(about, msgspec.json.encode(group({})), STAGING, dir_fd=fd)

    def set_orphan_aside(self, path: Path | str) -> None:
        """Move away the folder, or the ZIP, of an episode that was not committed."""
        durable.rename(path, STAGING / f"orphan-{Path(path).name}-{next(self._orphans)}", dir_fd=self._store.fd)

    def check_staged(self, assembly: Assembly) -> None:
        """Raise `StoreError` unless an assembly that is on disk is in staging still."""
        if not assembly.staged.is_there:
            assembly.failed = "it was taken out of staging"
            raise StoreError(f"{self._store.path / assembly.folder}: it was taken out of staging; it is sent again")

    def _move(self, assembly: Assembly, folder: Path) -> None:
        if durable.look(folder, dir_fd=self._store.fd) is not None:
            self.set_orphan_aside(folder)
        assembly.staged.move(folder)
        assembly.close()
        assembly.staged.heads.remove()

    def _write(self, assembly: Assembly, files: dict[str, bytes]) -> None:
        """Make every file durable, then every folder."""
        fd = assembly.staged.fd
        folders = {parent for path in files for parent in Path(path).parents}
        for folder in sorted(folders):
            durable.add_folder(folder, dir_fd=fd)
        shards = [self._syncing.submit(stream.sink.shards.sync) for stream in assembly.streams]
        small = {
            path: self._syncing.submit(durable.write_synced, Path(path), data, dir_fd=fd)
            for path, data in files.items()
        }
        wait(shards)
        wait(small.values())
        self.step("files")
        for synced in shards:
            # The kernel may have dropped the pages, and would report success next time: this copy is not to be trusted.
            if (error := synced.exception()) is not None:
                assembly.failed = str(error)
        for done in shards:
            done.result()
        written = {path: durable.Seen(done.result(), len(files[path]), False) for path, done in small.items()}
        shard_files = {
            file.name: durable.Seen(file.id, file.size, False) for file in assembly.files if file.id is not None
        }
        assembly.written = written | shard_files
        synced_folders = [self._syncing.submit(durable.sync_folder, folder, dir_fd=fd) for folder in folders]
        wait(synced_folders)
        for synced_folder in synced_folders:
            synced_folder.result()
