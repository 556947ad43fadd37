"""Small episodes into the store: one ZIP and one record each, made durable together with those that are ready too.

The steps are those of any commit: data, its name, the name of the record; each waits for the disk once for all. The
record is written with the data, where nobody looks for it, so that it is not waited for by itself. What goes wrong with
one episode is its own, what goes wrong with a folder is that of all whose it is.
"""

import contextlib
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from sensorium.corpus.commits import EPISODES, ZIP, ZIP_VERSION, CommitRecord, month_of
from sensorium.corpus.extent import extent_of
from sensorium.episode import durable, together
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
        self.temporary = ""
        self.in_the_way = False
        self.record: CommitRecord | None = None
        self.made: durable.Seen | None = None
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
        try:
            self._put(commits)
        finally:
            for commit in commits:
                self._remove_temporary(commit)

    def _put(self, commits: Sequence[ZipCommit]) -> None:
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
        """The ZIPs, durable but for their names, and the records, which nobody sees yet."""
        files: list[tuple[str, bytes]] = []
        batch = uuid.uuid4().hex
        for number, commit in enumerate(commits):
            commit.temporary = f"{STAGING}/new-{batch}-{number}"
            files += ((commit.zip_path, commit.data), (commit.temporary, msgspec.json.encode(commit.record)))
        written = together.write_all(files, dir_fd=self._store.fd)
        in_the_way = []
        for commit, seen, record in zip(commits, written[::2], written[1::2], strict=True):
            if isinstance(seen, FileExistsError) and not commit.in_the_way:  # without a record: of a try that failed
                in_the_way.append(commit)
                self._remove_temporary(commit)
            elif isinstance(seen, OSError):
                commit.error = seen
            elif isinstance(record, OSError):
                commit.error = record
            else:
                commit.assembly.written = {commit.zip_name: seen}
                commit.made = record
        for commit in in_the_way:
            commit.in_the_way = True
            with failing([commit]):
                self._commits.set_orphan_aside(Path(commit.zip_path))
        if in_the_way:
            self._write(list(going(in_the_way)))

    def _publish(self, commits: list[ZipCommit]) -> None:
        named = together.name_all([(each.temporary, each.record_path) for each in commits], dir_fd=self._store.fd)
        for commit, was_free in zip(commits, named, strict=True):
            commit.temporary = ""
            if isinstance(was_free, OSError):
                commit.error = was_free
            elif was_free:
                commit.assembly.published = commit.made
            else:
                with failing([commit]):
                    commit.record = self._commits.record(Path(commit.record_path))

    def _remove_temporary(self, commit: ZipCommit) -> None:
        if commit.temporary:
            with contextlib.suppress(OSError):  # it is removed at the next start
                durable.remove(commit.temporary, dir_fd=self._store.fd)
            commit.temporary = ""


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
