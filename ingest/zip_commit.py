"""Small episodes into the store: one ZIP and one record each, made durable together with those that are ready too.

The steps are those of any commit: data, its name, the record, its name; each waits for the disk once for all. What goes
wrong with one episode is its own, what goes wrong with a folder is that of all whose it is.
"""

import contextlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from sensorium.corpus.commits import EPISODES, ZIP, ZIP_VERSION, CommitRecord, month_of
from sensorium.corpus.extent import extent_of
from sensorium.episode import durable
from sensorium.episode.zip_form import DOCUMENT, chunk, document, zip_file
from sensorium.errors import StoreError
from sensorium.ingest.assembly import Assembly
from sensorium.ingest.at_once import AtOnce
from sensorium.ingest.at_once_zip import made
from sensorium.ingest.commit import Committer, Ready
from sensorium.ingest.episode_group import commit_record, group_files, objects_of
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, STAGING, StoreFolder


class ZipCommit:
    """One small episode on its way into the store; `error` is what ended that, until it is tried again."""

    def __init__(self, ready: Ready[Assembly | AtOnce]) -> None:
        self.ready = ready
        self.assembly = ready.assembly
        self.month = month = month_of(self.assembly.episode)
        episode = str(self.assembly.episode)
        self.zip_name, self.record_name = f"{episode}{ZIP}", f"{episode}.json"
        self.zip_path, self.record_path = f"{EPISODES}/{month}/{self.zip_name}", f"{COMMITS}/{month}/{self.record_name}"
        self.data = b""
        self.in_the_way = False
        self.record: CommitRecord | None = None
        self.error: Exception | None = None

    @property
    def outcome(self) -> CommitRecord | Exception:
        """The record that is published, or why none is."""
        if self.error is None and self.record is not None:
            return self.record
        return self.error or StoreError(f"episode {self.assembly.episode}: not committed; it is tried again")

    def make(self) -> None:
        """Make the ZIP, and the record that commits it now."""
        assembly, manifest, seal, identity, probes = self.ready
        if assembly.failed is not None:
            raise StoreError(f"episode {assembly.episode}: failed before ({assembly.failed}); begin it again")
        extent = extent_of(manifest, seal, assembly.spans)
        if isinstance(assembly, AtOnce):
            self.data, self.record = made(assembly, identity, extent, probes, self.zip_name)
            return
        for stream in assembly.streams:
            stream.sink.finish()
        files = group_files(assembly, identity, extent, probes, ZIP_VERSION)
        members = [
            document(path, data) if path.endswith(DOCUMENT) else chunk(path, data) for path, data in files.items()
        ]
        for stream in assembly.streams:
            members += [chunk(shard.name, data, shard.crc) for shard, data in stream.sink.shards.content()]
        self.data = zip_file(members)
        zipped = {self.zip_name: (len(self.data), zlib.crc32(self.data))}
        objects = objects_of(assembly, files)
        self.record = commit_record(assembly, manifest, seal, extent, identity, probes, objects, zipped)


class ZipCommitter:
    """Commits small episodes, those of one call together; what any commit does is `commits`'."""

    def __init__(self, store: StoreFolder, commits: Committer) -> None:
        self._store = store
        self._commits = commits

    def put(self, commits: Sequence[ZipCommit]) -> None:
        """Write, sync, and publish the records; what was not published has an `error`, and may be given again."""
        step = self._commits.step
        for commit in commits:
            with failing([commit]):
                self._make(commit)
        step("finished")
        if not list(going(commits)):  # or the store would be of another version for a ZIP that there is not
            return
        with failing(commits):
            durable.make_folder(STAGING, dir_fd=self._store.fd)  # which somebody may have removed to have room
            self._store.raise_version()
        for month, those in _by_month(commits):
            with failing(those):
                self._commits.make_month(month)
        step("version")
        with failing(commits):
            self._write(list(going(commits)))
        step("synced")
        for month, those in _by_month(commits):
            with failing(those):
                durable.sync_folder(EPISODES_FOLDER / month, dir_fd=self._store.fd)
        step("folder")
        self.check(commits)
        step("writing record")
        for _, those in _by_month(commits):
            with failing(those):
                self._publish(those)
        step("record")

    def check(self, commits: Iterable[ZipCommit]) -> None:
        """An `error` for each of which not all that was written is in the store, by its name there."""
        for month, those in _by_month(commits):
            with failing(those):
                zips = {commit.zip_name: commit.assembly.written[commit.zip_name] for commit in those}
                gone = set(self._store.unlike(EPISODES_FOLDER / month, zips))
                records = {commit.record_name: commit.assembly.published for commit in those}
                published = {name: seen for name, seen in records.items() if seen is not None}
                if published:
                    gone |= set(self._store.unlike(COMMITS / month, published))
                for commit in those:
                    names = (
                        (commit.record_name, commit.record_path, "record"),
                        (commit.zip_name, commit.zip_path, "file"),
                    )
                    for name, path, what in names:
                        if name in gone:
                            where = self._store.path / path
                            commit.error = StoreError(
                                f"{where}: not the {what} that was written there; it is tried again"
                            )

    def _make(self, commit: ZipCommit) -> None:
        assembly = commit.assembly
        assembly.published = None  # of a try whose record is there no more
        if isinstance(assembly, Assembly) and assembly.staged.made:
            self._commits.check_staged(assembly)
        try:
            commit.make()
        except StoreError as error:  # what is staged of it is not what came
            assembly.failed = assembly.failed or str(error)
            raise

    def _write(self, commits: list[ZipCommit]) -> None:
        """The ZIPs, durable but for their names."""
        fd = self._store.fd
        in_the_way = []
        written = durable.write_all([(commit.zip_path, commit.data) for commit in commits], dir_fd=fd)
        for commit, seen in zip(commits, written, strict=True):
            if isinstance(seen, FileExistsError) and not commit.in_the_way:  # without a record: of a try that failed
                in_the_way.append(commit)
            elif isinstance(seen, OSError):
                commit.error = seen
            else:
                commit.assembly.written = {commit.zip_name: seen}
        for commit in in_the_way:
            commit.in_the_way = True
            with failing([commit]):
                self._commits.set_orphan_aside(Path(commit.zip_path))
        if in_the_way:
            self._write(list(going(in_the_way)))

    def _publish(self, commits: list[ZipCommit]) -> None:
        files = [(commit.record_path, msgspec.json.encode(commit.record)) for commit in commits]
        published = durable.publish_all(files, STAGING, dir_fd=self._store.fd)
        for commit, seen in zip(commits, published, strict=True):
            if isinstance(seen, OSError):
                commit.error = seen
            elif seen is None:
                with failing([commit]):
                    commit.record = self._commits.record(Path(commit.record_path))
            else:
                commit.assembly.published = seen


def going(commits: Iterable[ZipCommit]) -> Iterator[ZipCommit]:
    """Those that nothing has ended yet."""
    return (commit for commit in commits if commit.error is None)


def _by_month(commits: Iterable[ZipCommit]) -> Iterable[tuple[str, list[ZipCommit]]]:
    """Those that go on, by the month whose folders they share."""
    months: dict[str, list[ZipCommit]] = {}
    for commit in going(commits):
        months.setdefault(commit.month, []).append(commit)
    return months.items()


@contextlib.contextmanager
def failing(commits: Sequence[ZipCommit]) -> Iterator[None]:
    """What goes wrong here ends those of `commits` that go on."""
    try:
        yield
    except Exception as error:  # also of what nobody thought of only those hear whose it is
        for commit in going(commits):
            commit.error = error
