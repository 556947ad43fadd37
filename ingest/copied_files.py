"""The files of episodes copied into staging by threads, each held to its commit record on the way; batches of them
made durable together, while the next is being copied."""

import os
import queue
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sensorium.corpus.parallel import ENOUGH_BYTES
from sensorium.corpus.verify import Finding
from sensorium.episode import durable, file_system
from sensorium.ingest.coming import AGAIN, Coming, put_away
from sensorium.ingest.store_folder import EPISODES_FOLDER, STAGING, StoreFolder
from sensorium.threads import Pool

_AT_ONCE = 16
"""From so many files on one sync of the file system is less than one of each, as in `sensorium.episode.together`."""
_PART_BYTES = 1 << 18
"""What a core keeps at hand: of larger parts each is fetched from memory twice."""
_EARLY_BYTES = 1 << 20
"""Of a file so large the disk begins while others are copied; smaller ones are not worth the call."""
_ONE_JOB_BYTES = 64 << 20
"""An episode so large is copied by several threads."""


@dataclass(slots=True)
class CopiedBatch:
    """Episodes that are being copied; by name in staging, what is not as its record says."""

    those: Sequence[Coming]
    synced: "Synced"
    jobs: list[Future[None]] = field(default_factory=list)
    failed: dict[str, Finding] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all their files."""
        return sum(each.size for each in self.those)


class Copiers:
    """The threads that copy from the store `source` into the staging of `store`; at the end of a `with` of it nothing
    is left there of a batch that was not whole."""

    def __init__(self, source: Path, store: StoreFolder) -> None:
        self._source = source
        self._store = store
        self._begun: list[CopiedBatch] = []
        threads = len(os.sched_getaffinity(0))
        self._pool = Pool("copy", "copies episodes", threads)
        self._parts: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        for _ in range(threads):
            self._parts.put(memoryview(bytearray(_PART_BYTES)))

    def __enter__(self) -> "Copiers":
        return self

    def __exit__(self, *_: object) -> None:
        jobs = [job for batch in self._begun for job in batch.jobs]
        for job in jobs:
            job.cancel()
        wait(jobs)
        self._pool.close()
        for batch in self._begun:
            batch.synced.close()
            with suppress(OSError):  # what is there must not take the room that the next try needs
                for staged in batch.those:
                    put_away(self._store, staged)

    def begin(self, those: Sequence[Coming]) -> CopiedBatch:
        """Have these copied, where they are large by the threads, from here on."""
        sizes = [size for staged in those for size, _ in staged.record.objects.values()]
        waiting = sum(batch.size for batch in self._begun)
        batch = CopiedBatch(those, Synced(self._store, len(sizes), sum(sizes) + waiting))
        self._begun.append(batch)
        for staged in those:
            shares = [list(staged.record.objects)]
            if staged.size > _ONE_JOB_BYTES:
                self._make_folders(staged)
                shares = [[name] for name in shares[0]]
            for names in shares:
                if sum(sizes) > ENOUGH_BYTES:
                    batch.jobs.append(self._pool.submit(self._copy, batch, staged, names))
                else:
                    self._copy(batch, staged, names)
        return batch

    def whole(self, batch: CopiedBatch) -> list[Coming]:
        """Those of a batch that are as their records say, once they and their records are durable; of the others
        nothing is left but what `batch.failed` has."""
        for job in batch.jobs:
            job.result()
        whole = [staged for staged in batch.those if staged.name not in batch.failed]
        for staged in batch.those:
            if staged.name in batch.failed:
                put_away(self._store, staged)
        for staged in whole:
            if not staged.record.zipped:
                batch.synced.folders(_folders(staged))
            batch.synced.write(staged.record_name, staged.data)
        batch.synced.end()
        return whole

    def done(self, batch: CopiedBatch) -> None:
        """These are committed."""
        self._begun.remove(batch)
        batch.synced.close()

    def _copy(self, batch: CopiedBatch, staged: Coming, names: Sequence[str]) -> None:
        """Copy some files, or all, of an episode."""
        if staged.name in batch.failed:
            return
        if len(names) == len(staged.record.objects):
            self._make_folders(staged)
        folder = f"{self._source}/{EPISODES_FOLDER}/{staged.month}"
        with self._part() as part:
            for name in names:
                if staged.record.zipped:
                    at, into = f"{folder}/{name}", staged.name
                else:
                    at, into = f"{folder}/{staged.episode}/{name}", f"{staged.name}/{name}"
                expected = staged.record.objects[name]
                finding = _copy_file(at, into, self._store.fd, expected, part, batch.synced)
                if finding is not None:
                    batch.failed.setdefault(staged.name, finding)
                    return

    def _make_folders(self, staged: Coming) -> None:
        if not staged.record.zipped and durable.look(staged.name, dir_fd=self._store.fd) is None:
            for folder in _folders(staged):
                durable.new_folder(folder, dir_fd=self._store.fd)

    @contextmanager
    def _part(self) -> Iterator[memoryview]:
        """Memory for a thread to copy by, which is made once."""
        part = self._parts.get()
        try:
            yield part
        finally:
            self._parts.put(part)


class Synced:
    """Makes what is written durable by `end`: each file as it is written, or, where that is trusted and waits for
    nobody else, all by one sync of the file system, which tells what failed from here on."""

    def __init__(self, store: StoreFolder, count: int, nbytes: int) -> None:
        self._store = store
        self._fd: int | None = None
        if count >= _AT_ONCE and file_system.is_trusted(store.fd) and file_system.is_calm(nbytes):
            self._fd = durable.open_folder(STAGING, dir_fd=store.fd)

    def close(self) -> None:
        """Of what is not durable by now nothing is known."""
        if self._fd is not None:
            durable.close(self._fd)
            self._fd = None

    def end(self) -> None:
        """All is written."""
        if self._fd is not None:
            durable.sync_file_system(self._fd)

    def file(self, fd: int, size: int) -> None:
        """This file of `size` bytes is written."""
        if self._fd is None:
            durable.sync(fd)
        elif size >= _EARLY_BYTES:
            durable.begin_sync(fd)

    def folders(self, folders: Sequence[str]) -> None:
        """All names in these are there, the names of the folders in those before them."""
        if self._fd is None:
            for folder in reversed(folders):
                durable.sync_folder(folder, dir_fd=self._store.fd)

    def write(self, path: str, data: bytes) -> None:
        """A file of `data`."""
        fd = durable.create(path, dir_fd=self._store.fd)
        try:
            durable.write_at(fd, data, 0)
            self.file(fd, len(data))
        finally:
            durable.close(fd)


def _folders(staged: Coming) -> list[str]:
    """The folders that an episode has in staging, each behind the one that it is in."""
    found = {""}
    for name in staged.record.objects:
        while (name := name.rpartition("/")[0]) not in found:
            found.add(name)
    return [f"{staged.name}/{folder}".removesuffix("/") for folder in sorted(found)]


def _copy_file(
    source: str, target: str, dir_fd: int, expected: tuple[int, int], part: memoryview, synced: Synced
) -> Finding | None:
    """Copy one file, by way of `part`; what is not as its record says."""
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
            while at <= size and (n := os.readv(file, [part])):
                some = part[:n]
                found = zlib.crc32(some, found)
                durable.write_at(fd, some, at)
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
