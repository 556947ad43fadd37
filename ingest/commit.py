"""The steps of a commit: before the last one an episode is not in the store, after it the whole of it is."""

import itertools
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import msgspec

from sensorium.corpus.commits import EPISODES, CommitRecord, interval_of, month_of, read_record, record_path
from sensorium.corpus.utc import Probes
from sensorium.episode import durable
from sensorium.episode.documents import Open, Seal
from sensorium.episode.layout import group
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.episode_group import commit_record, group_files
from sensorium.ingest.store_folder import COMMITS, STAGING
from sensorium.threads import Pool

SYNC_THREADS = 8


class Committer:
    """Commits into the store in folder `store`, several episodes at once, none of them twice at a time.

    `step(name)` is called after each step; tests end the process there.
    """

    def __init__(self, store: Path, step: Callable[[str], None]) -> None:
        self._store = store
        self._staging = store / STAGING
        self._step = step
        self._months: set[str] = set()
        self._orphans = itertools.count()
        self._syncing = Pool("fsync", "puts episodes on disk", SYNC_THREADS)

    def close(self) -> bool:
        """Finish what was begun; False if that hangs."""
        return self._syncing.close()

    def put(self, assembly: Assembly, manifest: Open, seal: Seal, identity: str, probes: Probes) -> CommitRecord:
        """Write, sync, rename, and publish the record; may be called again after it failed, unless the assembly did."""
        last_ns = max((stream.last_ns for stream in assembly.streams if stream.last_ns is not None), default=None)
        interval_ns = interval_of(manifest, seal, last_ns)
        for stream in assembly.streams:
            stream.sink.finish()
        files = group_files(assembly, identity, interval_ns, probes)
        self._step("finished")
        month = month_of(assembly.episode)
        folder = self._store / EPISODES / month / str(assembly.episode)
        if not assembly.moved:
            self._write(assembly, files)
            self._step("synced")
            self.make_month(month)
            if folder.exists():
                self.set_orphan_aside(folder)
            assembly.close()
            durable.rename(assembly.folder, folder)
            assembly.moved = True
            self._step("renamed")
        durable.sync_folder(folder.parent)
        self._step("folder")
        record = commit_record(assembly, manifest, seal, interval_ns, identity, probes, files)
        path = record_path(self._store, assembly.episode)
        self._step("writing record")
        if not durable.publish(path, msgspec.json.encode(record), self._staging):
            record = read_record(path)
        self._step("record")
        return record

    def make_month(self, month: str) -> None:
        """The folders of a month, `yyyy-mm`, and the group without which other readers would not see its episodes."""
        if month in self._months:
            return
        durable.make_folder(self._store / EPISODES / month)
        durable.make_folder(self._store / COMMITS / month)
        about = self._store / EPISODES / month / "zarr.json"
        if not about.exists():
            durable.publish(about, msgspec.json.encode(group({})), self._staging)
        self._months.add(month)

    def set_orphan_aside(self, folder: Path) -> None:
        """Move away the folder of an episode that was not committed."""
        durable.rename(folder, self._staging / f"orphan-{folder.name}-{next(self._orphans)}")

    def _write(self, assembly: Assembly, files: dict[str, bytes]) -> None:
        """Make every file durable, then every folder."""
        folders = {assembly.folder / parent for path in files for parent in Path(path).parents}
        for folder in sorted(folders):
            durable.add_folder(folder)
        shards = [self._syncing.submit(stream.sink.shards.sync) for stream in assembly.streams]
        small = [self._syncing.submit(durable.write_synced, assembly.folder / path, files[path]) for path in files]
        wait((*shards, *small))
        self._step("files")
        for synced in shards:
            # The kernel may have dropped the pages, and would report success next time: this copy is not to be trusted.
            if (error := synced.exception()) is not None:
                assembly.failed = str(error)
        for written in (*shards, *small):
            written.result()
        wait(synced_folders := [self._syncing.submit(durable.sync_folder, folder) for folder in folders])
        for synced in synced_folders:
            synced.result()
