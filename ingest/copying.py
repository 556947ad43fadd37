"""Copies of episodes into another store: the files byte for byte, each held to its commit record on the way."""

import contextlib
import functools
import os
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sensorium.corpus.beside import BesideWriter, beside_kinds, read_beside
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import folder_path, record_path, zip_path
from sensorium.corpus.corpus import open_store
from sensorium.corpus.filling import fill
from sensorium.corpus.parallel import run_all
from sensorium.corpus.verify import Finding
from sensorium.episode import durable, file_system
from sensorium.errors import ConfigError
from sensorium.ingest.both_forms import remove_leftovers
from sensorium.ingest.coming import (
    AGAIN,
    Coming,
    LeftOut,
    coming_of,
    make_known,
    owner,
    put_away,
    remove_orphans,
    state_there,
)
from sensorium.ingest.commit import Committer
from sensorium.ingest.mending import mend
from sensorium.ingest.store_folder import STAGING, StoreFolder, store_errors

BATCH, BATCH_BYTES = 64, 256_000_000
"""What is synced together."""
_AT_ONCE = 16
"""From so many files on one sync of the file system is less than one of each, as in `sensorium.episode.together`."""
TAKEN = ("verdicts", "labels", "advantages", "preferences")
"""The kinds of records beside the episodes that go with them; what is said of two goes where both are."""
_PART_BYTES = 1 << 18
"""What a core keeps at hand: of larger parts each is fetched from memory twice."""
_EARLY_BYTES = 1 << 20
"""Of a file so large the disk begins while others are copied; smaller ones are not worth the call."""
_ONE_JOB_BYTES = 64 << 20
"""An episode so large is copied by several threads."""

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class CopyReport:
    """Episodes and their bytes that were copied, how many were there already, records beside them that were copied;
    the ids of those that were deleted there; and what was left, with the next step."""

    episodes: int = 0
    bytes: int = 0
    already: int = 0
    beside: int = 0
    deleted: list[str] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    interrupted: bool = False


def copy(
    source: str | Path,
    target: str | Path,
    where: str = "",
    *,
    progress: Progress = lambda _done, _total: None,
    stop: Callable[[], bool] = lambda: False,
) -> CopyReport:
    """Put the episodes of the store `source` for which `where` is true into the store `target`, made if absent.

    Each is the same there, folder or ZIP, byte for byte: every file is held to the CRC-32 that its commit record has of
    it before the episode is committed, and what is damaged is left out and named. Labels and verdicts go with them. An
    episode that is there already is not written again, so a copy that was cut off goes on; one that was deleted there
    stays so, with what is said beside it. The source may be in use.
    `progress(done, total)` counts episodes. Once `stop()` is true it ends after the batch that it is at.

    Raises:
        ConfigError: the condition is none, or both are one store.
        StoreError: one of them is no store, another process writes `target`, or a disk fails: what was committed by
            then stays, nothing half-written does.
    """
    source, target = Path(source), Path(target)
    if source.resolve() == target.resolve():
        raise ConfigError(f"{target}: the store that is copied; give another folder")
    ids = [episode.id for episode in open_store(source).query(where)]
    report = CopyReport()
    with store_errors(target), contextlib.ExitStack() as stack:
        store = StoreFolder(target)
        stack.callback(store.close)
        remove_leftovers(store)
        catalog = Catalog((target / CATALOG).absolute(), store.fd)
        stack.callback(catalog.close)
        commits = Committer(store, lambda _name: None)
        stack.callback(commits.close)
        mend(store, commits, catalog)
        remove_orphans(store)
        for batch in _batches(_wanted(source, store, catalog, ids, report)):
            _put(source, store, commits, catalog, batch, report)
            progress(report.episodes + report.already + len(report.deleted) + len(report.left), len(ids))
            if stop():
                report.interrupted = True
                return report
        report.beside = _copy_beside(source, target, set(ids).difference(report.deleted))
        fill(catalog, target)
    progress(len(ids), len(ids))
    return report


def _wanted(
    source: Path, store: StoreFolder, catalog: Catalog, ids: Sequence[str], report: CopyReport
) -> Iterator[Coming]:
    """Those that are not there yet, by their records; what cannot be copied is reported."""
    for at in range(0, len(ids), BATCH):
        read: list[Coming] = []
        for episode in ids[at : at + BATCH]:
            try:
                read.append(_coming(source, episode))
            except LeftOut as left:
                report.left.append(left.finding)
        entries = catalog.ordinals([owner(staged.record) for staged in read])
        for staged, entry in zip(read, entries, strict=True):
            try:
                match state_there(store, staged.record, entry):
                    case "committed":
                        report.already += 1
                    case "deleted":
                        report.deleted.append(str(staged.record.episode))
                    case None:
                        yield staged
            except LeftOut as left:
                report.left.append(left.finding)


def _coming(source: Path, episode: str) -> Coming:
    at = record_path(source, uuid.UUID(episode))
    try:
        return coming_of(durable.read_whole(at), at, "new-copy-")
    except FileNotFoundError as error:
        raise LeftOut("is in the store no more", at, "run the same copy again") from error
    except OSError as error:
        raise LeftOut(str(error).removeprefix(f"{at}: "), at) from error


def _batches(wanted: Iterator[Coming]) -> Iterator[list[Coming]]:
    batch: list[Coming] = []
    size = 0
    for staged in wanted:
        batch.append(staged)
        size += sum(n_bytes for n_bytes, _ in staged.record.objects.values())
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _put(
    source: Path, store: StoreFolder, commits: Committer, catalog: Catalog, batch: list[Coming], report: CopyReport
) -> None:
    """Copy a batch, make it durable, then publish its records."""
    try:
        sizes = [size for staged in batch for size, _ in staged.record.objects.values()]
        with _Synced(store, len(sizes), sum(sizes)) as synced:
            whole = _staged(source, store, batch, report, synced)
            for staged in whole:
                synced.write(staged.record_name, staged.data)
        make_known(store, commits, catalog, whole)
    except BaseException:
        with contextlib.suppress(OSError):  # what is there must not take the room that the next try needs
            for staged in batch:
                put_away(store, staged)
        raise
    report.episodes += len(whole)
    report.bytes += sum(size for staged in whole for size, _ in staged.record.objects.values())


class _Synced:
    """Makes what is written in a `with` of it durable at its end: each file as it is written, or, where that is trusted
    and waits for nobody else, all by one sync of the file system; the copy ends if that fails."""

    def __init__(self, store: StoreFolder, count: int, nbytes: int) -> None:
        self._store = store
        self._fd: int | None = None
        if count >= _AT_ONCE and file_system.is_trusted(store.fd) and file_system.is_calm(nbytes):
            self._fd = durable.open_folder(STAGING, dir_fd=store.fd)  # it is told what fails from now on

    def __enter__(self) -> "_Synced":
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if self._fd is not None:
            try:
                if failed is None:
                    durable.sync_file_system(self._fd)
            finally:
                durable.close(self._fd)

    def file(self, fd: int, size: int) -> None:
        """This file of `size` bytes is written."""
        if self._fd is None:
            durable.sync(fd)
        elif size >= _EARLY_BYTES:
            durable.begin_sync(fd)

    def folders(self, staged: Coming) -> None:
        """All names in the folders of an episode are there."""
        if self._fd is None and not staged.record.zipped:
            folders = {staged.name / parent for name in staged.record.objects for parent in Path(name).parents}
            for path in sorted(folders, reverse=True):
                durable.sync_folder(path, dir_fd=self._store.fd)

    def write(self, path: Path, data: bytes) -> None:
        """A file of `data`."""
        fd = durable.create(path, dir_fd=self._store.fd)
        try:
            durable.write_at(fd, data, 0)
            self.file(fd, len(data))
        finally:
            durable.close(fd)


def _staged(
    source: Path, store: StoreFolder, batch: Sequence[Coming], report: CopyReport, synced: _Synced
) -> list[Coming]:
    """Those of a batch that are whole in staging."""
    jobs: list[_Share] = []
    for staged in batch:
        names = list(staged.record.objects)
        if sum(size for size, _ in staged.record.objects.values()) <= _ONE_JOB_BYTES:
            jobs.append(_Share(staged, names, True))
        else:
            _make_folders(staged, store)
            jobs += [_Share(staged, [name], False) for name in names]
    failed: dict[Path, Finding] = {}
    run_all(
        [functools.partial(_copy, source, store, job, failed, synced) for job in jobs],
        sum(size for staged in batch for size, _ in staged.record.objects.values()),
    )
    whole = []
    for staged in batch:
        if (finding := failed.get(staged.name)) is not None:
            report.left.append(finding)
            put_away(store, staged)
            continue
        synced.folders(staged)
        whole.append(staged)
    return whole


class _Share(NamedTuple):
    """What one thread copies: files of an episode, for which folders may be missing."""

    staged: Coming
    names: list[str]
    alone: bool


def _make_folders(staged: Coming, store: StoreFolder) -> None:
    if not staged.record.zipped:
        for parent in sorted({name.rpartition("/")[0] for name in staged.record.objects}):
            durable.add_folder(staged.name / parent, dir_fd=store.fd)


def _copy(source: Path, store: StoreFolder, job: _Share, failed: dict[Path, Finding], synced: _Synced) -> None:
    """Copy some files; `failed` has what is not as its record says."""
    staged = job.staged
    record = staged.record
    if job.alone:
        _make_folders(staged, store)
    folder = zip_path(source, record.episode).parent if record.zipped else folder_path(source, record.episode)
    buffer = memoryview(bytearray(_PART_BYTES))
    for name in job.names:
        into = str(staged.name) if record.zipped else f"{staged.name}/{name}"
        finding = _copy_file(f"{folder}/{name}", into, store.fd, record.objects[name], buffer, synced)
        if finding is not None:
            failed.setdefault(staged.name, finding)
            return


def _copy_file(
    source: str, target: str, dir_fd: int, expected: tuple[int, int], buffer: memoryview, synced: _Synced
) -> Finding | None:
    """Copy one file, by way of `buffer`; what is not as its record says."""
    size, crc = expected
    try:
        file = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        return Finding(what, Path(source), "run the same copy again, or `sensorium verify`")
    try:
        fd = durable.create(target, dir_fd=dir_fd)
        try:
            at = found = 0
            while at <= size and (n := os.readv(file, [buffer])):
                found = zlib.crc32(buffer[:n], found)
                durable.write_at(fd, buffer[:n], at)
                at += n
            synced.file(fd, at)
        finally:
            durable.close(fd)
    finally:
        os.close(file)
    if at != size:
        return Finding(
            f"is {at if at < size else 'more than ' + str(size)} bytes, expected {size}", Path(source), AGAIN
        )
    if found != crc:
        return Finding(f"checksum {found:08x}, expected {crc:08x}", Path(source), AGAIN)
    return None


def _copy_beside(source: Path, target: Path, episodes: set[str]) -> int:
    """Copy what is said beside these episodes and is not there yet; how many records."""
    count = 0
    for kind in set(TAKEN) & set(beside_kinds(source)):
        there = {repr(each.record) for each in read_beside(target, kind)} if kind in beside_kinds(target) else set()
        records = [
            each.record
            for each in read_beside(source, kind)
            if each.record is not None
            and each.record.get("episode") in episodes
            and each.record.get("other", each.record["episode"]) in episodes
            and repr(each.record) not in there
        ]
        if records:
            with BesideWriter(target, kind) as writer:
                writer.append(records)
        count += len(records)
    return count
