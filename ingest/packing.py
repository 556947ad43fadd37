"""Cold small episodes that are folders become ZIPs: fewer inodes and blocks, the same chunks byte for byte."""

import contextlib
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa

from sensorium.corpus.catalog import CATALOG, Catalog, columns_of, episodes, read_engine
from sensorium.corpus.commits import (
    ZIP,
    ZIP_VERSION,
    CommitRecord,
    check_store_version,
    decode_commit,
    folder_path,
    month_of,
    record_path,
    zip_path,
)
from sensorium.corpus.filling import fill
from sensorium.corpus.utc import utc_text
from sensorium.corpus.verify import Finding
from sensorium.episode import durable, zip_form
from sensorium.errors import Corrupt
from sensorium.ingest.both_forms import (
    STORE,
    PackedRecord,
    in_both_forms,
    next_record,
    packed_record,
    remove_leftovers,
    remove_loose,
    settle,
)
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.mending import folders_in, sync_what_is_believed
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, StoreFolder, store_errors

MAX_SMALL_BYTES = 256_000_000
GRACE_S = 30.0
"""How long a folder is left to those who read it already, once its ZIP is committed."""
BATCH, BATCH_BYTES = 32, 32_000_000
"""What is synced together."""
_SECOND = 1_000_000_000
_POLL_S = 0.05
_BLOCK = 512
_AGAIN = "restore it from a copy, or deliver the episode again"

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class PackReport:
    """What was packed, how many inodes and bytes of disk blocks that takes with its records, and what was `left`."""

    episodes: int = 0
    inodes_before: int = 0
    inodes_after: int = 0
    disk_bytes_before: int = 0
    disk_bytes_after: int = 0
    left: list[Finding] = field(default_factory=list)


class _Packed(NamedTuple):
    """An episode as it will be, and what its folder takes now."""

    record: PackedRecord
    data: bytes
    inodes: int
    disk_bytes: int


def pack(
    path: str | Path,
    older_than_s: float,
    *,
    small_bytes: int = SMALL_BYTES,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    progress: Progress = lambda _what, _done, _total: None,
) -> PackReport:
    """Make ZIPs of the episodes of the store at `path` that are folders of up to `small_bytes` and were committed
    `older_than_s` ago; then remove the folders, each `grace_s` after its ZIP is what counts.

    An episode of which a file is not what was committed is left as it is, and named. It may be interrupted anywhere:
    every episode is whole in one form, and the next `pack`, or start of an ingest, goes on. `dry_run` does all but
    write, beside an ingest too. `progress(what, done, total)` counts episodes.

    Raises:
        StoreError: an ingest is running, it is not a store, or the disk fails.
    """
    path = Path(path)
    check_store_version(path)
    with store_errors(path):
        return (
            _plan(path, older_than_s, small_bytes, progress)
            if dry_run
            else _pack(path, older_than_s, small_bytes, grace_s, progress)
        )


def _plan(path: Path, older_than_s: float, small_bytes: int, progress: Progress) -> PackReport:
    report = PackReport()
    fd = durable.open_folder(path)
    try:
        block = os.fstatvfs(fd).f_bsize
        for packed in _read_cold(path, fd, _cold(path, older_than_s, small_bytes), 0.0, report, progress):
            sizes = len(packed.data), len(msgspec.json.encode(packed.record))
            _count(report, packed, sum(-(-size // block) * block for size in sizes))
    finally:
        durable.close(fd)
    return report


def _pack(path: Path, older_than_s: float, small_bytes: int, grace_s: float, progress: Progress) -> PackReport:
    report = PackReport()
    with contextlib.ExitStack() as stack:
        store = StoreFolder(path)
        stack.callback(store.close)
        sync_what_is_believed(store.fd)
        remove_leftovers(store)
        catalog = Catalog((path / CATALOG).absolute(), store.fd)
        stack.callback(catalog.close)
        fill(catalog, path)
        both = [
            (month.name, name)
            for month in folders_in(EPISODES_FOLDER, store.fd)
            for name in in_both_forms(durable.names(month, dir_fd=store.fd))
        ]
        going = deque(settle(store, catalog, both))
        cold = _cold(path, older_than_s, small_bytes)
        for batch in _batches(_read_cold(path, store.fd, cold, grace_s, report, progress)):
            _convert(store, catalog, batch)
            for packed in batch:
                _count(report, packed, _blocks(store.fd, zip_path(STORE, packed.record.episode), _record(packed)))
                going.append(packed.record)
            while going and going[0].is_over:
                _remove(store, going.popleft(), report)
        _remove_in_time(store, going, grace_s, report, progress)
    return report


def _remove_in_time(
    store: StoreFolder, going: deque[PackedRecord], grace_s: float, report: PackReport, progress: Progress
) -> None:
    """Wait until nobody is to find the folders any more. One that is to stay for longer, an earlier run said so."""
    end, total = time.monotonic() + grace_s, len(going)
    for number in range(total):
        progress("leaving folders to their readers", number, total)
        record = going.popleft()
        while not record.is_over and time.monotonic() < end:
            time.sleep(_POLL_S)
        if record.is_over:
            _remove(store, record, report)


def with_version(document: bytes) -> bytes:
    """A group's document with the version of a ZIP, and otherwise as it is; `Corrupt` if it is not one of ours."""
    raw = dict[str, msgspec.Raw]
    try:
        whole = msgspec.json.decode(document, type=raw)
        attributes = msgspec.json.decode(whole["attributes"], type=raw)
        ours = msgspec.json.decode(attributes["sensorium"], type=raw)
        ours["format_version"]
    except (msgspec.DecodeError, KeyError) as error:
        raise Corrupt(f"not the document of a store or an episode: {error!r}") from error
    ours["format_version"] = msgspec.Raw(str(ZIP_VERSION).encode())
    attributes["sensorium"] = msgspec.Raw(msgspec.json.encode(ours))
    whole["attributes"] = msgspec.Raw(msgspec.json.encode(attributes))
    return msgspec.json.encode(whole)


def _cold(path: Path, older_than_s: float, small_bytes: int) -> list[UUID]:
    """Candidates, by the catalog; their records decide."""
    before = utc_text(time.time_ns() - round(older_than_s * _SECOND)) or ""
    with read_engine(path / CATALOG).connect() as connection:
        wanted = (episodes.c.committed_utc <= before) & (episodes.c.bytes <= small_bytes)
        if "form" in columns_of(connection):
            wanted &= episodes.c.form.is_distinct_from("zip")
        found = connection.execute(sa.select(episodes.c.episode).where(wanted).order_by(episodes.c.episode))
        return [UUID(name) for name in found.scalars()]


def _read_cold(
    path: Path, fd: int, cold: list[UUID], grace_s: float, report: PackReport, progress: Progress
) -> Iterator[_Packed]:
    for number, episode in enumerate(cold):
        progress("packing", number, len(cold))
        at = record_path(STORE, episode)
        try:
            record = decode_commit(durable.read_whole(at, dir_fd=fd), path / at)
            if not record.zipped and len(record.objects) <= zip_form.MAX_MEMBERS:
                yield _read_loose(path, fd, record, grace_s)
        except _LeftAlone as left:
            report.left.append(left.finding)
        except (Corrupt, OSError) as error:
            report.left.append(Finding(str(error), path / at, _AGAIN))
    progress("packing", len(cold), len(cold))


class _LeftAlone(Exception):
    """An episode is not what was committed."""

    def __init__(self, what: str, where: Path, next_step: str = _AGAIN) -> None:
        super().__init__(what)
        self.finding = Finding(what, where, next_step)


def _read_loose(path: Path, fd: int, record: CommitRecord, grace_s: float) -> _Packed:
    """The ZIP of an episode that is a folder, every file of which is held to its record."""
    folder = folder_path(STORE, record.episode)
    seen = durable.look(folder, dir_fd=fd)
    if seen is None or not seen.is_folder:
        raise _LeftAlone("committed, but the folder is missing", path / folder)
    there, inodes, disk_bytes = _look_at(fd, folder)
    if extra := sorted(there - record.objects.keys()):
        raise _LeftAlone("does not belong to the episode, which is not packed", path / folder / extra[0], "remove it")
    members = []
    for name, (size, crc) in record.objects.items():
        where = folder / name
        if name not in there:
            raise _LeftAlone("is missing", path / where)
        try:
            data = durable.read_whole(where, dir_fd=fd)
        except OSError as error:
            raise _LeftAlone(f"cannot be read ({error.strerror})", path / where) from error
        if len(data) != size:
            raise _LeftAlone(f"is {len(data)} bytes, expected {size}", path / where)
        if (found := zlib.crc32(data)) != crc:
            raise _LeftAlone(f"checksum {found:08x}, expected {crc:08x}", path / where)
        members.append(_member(name, data, crc, path / where))
    if zip_form.DOCUMENT not in record.objects:
        raise _LeftAlone("has no document", path / folder)
    data = zip_form.zip_file(members)
    packed = packed_record(
        record,
        format_version=ZIP_VERSION,
        row=record.row | {"form": "zip", "bytes": len(data)},
        objects={f"{record.episode}{ZIP}": (len(data), zlib.crc32(data))},
        loose_until_utc=utc_text(time.time_ns() + round(grace_s * _SECOND)) or "",
    )
    return _Packed(packed, data, inodes + 1, disk_bytes + _blocks(fd, record_path(STORE, record.episode)))


def _member(name: str, data: bytes, crc: int, where: Path) -> zip_form.NewMember:
    if name.rpartition("/")[2] != zip_form.DOCUMENT:
        return zip_form.chunk(name, data, crc)
    try:
        return zip_form.document(name, with_version(data) if name == zip_form.DOCUMENT else data)
    except Corrupt as error:
        raise _LeftAlone(str(error), where) from error


def _look_at(fd: int, folder: Path) -> tuple[set[str], int, int]:
    """The files under a folder, how many inodes it has with itself, and the bytes of their blocks."""
    files, inodes, disk_bytes = set(), 0, 0
    for root, _, names, at in os.fwalk(folder, dir_fd=fd):
        inodes += 1 + len(names)
        disk_bytes += os.fstat(at).st_blocks * _BLOCK
        for name in names:
            files.add(str((Path(root) / name).relative_to(folder)))
            disk_bytes += os.stat(name, dir_fd=at, follow_symlinks=False).st_blocks * _BLOCK
    return files, inodes, disk_bytes


def _batches(read: Iterator[_Packed]) -> Iterator[list[_Packed]]:
    batch: list[_Packed] = []
    for packed in read:
        batch.append(packed)
        if len(batch) == BATCH or sum(len(each.data) for each in batch) >= BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _convert(store: StoreFolder, catalog: Catalog, batch: list[_Packed]) -> None:
    """Make every ZIP durable, then every record in place of the former, then the rows."""
    store.raise_version()
    fd, months = store.fd, {month_of(packed.record.episode) for packed in batch}
    zips = [(zip_path(STORE, packed.record.episode), packed.data) for packed in batch]
    records = [(next_record(packed.record), msgspec.json.encode(packed.record)) for packed in batch]
    try:
        _write(fd, zips)
        for month in months:
            durable.sync_folder(EPISODES_FOLDER / month, dir_fd=fd)
        _write(fd, records)
        store.check()
    except BaseException:  # they must not take the room that the next try needs
        with contextlib.suppress(OSError):
            for path, _ in (*zips, *records):
                durable.remove(path, dir_fd=fd)
        raise
    for packed in batch:
        durable.rename(next_record(packed.record), _record(packed), dir_fd=fd)
    for month in months:
        durable.sync_folder(COMMITS / month, dir_fd=fd)
    catalog.add([packed.record for packed in batch])


def _write(dir_fd: int, files: list[tuple[Path, bytes]]) -> None:
    for written in durable.write_all(files, dir_fd=dir_fd):
        if isinstance(written, OSError):
            raise written


def _record(packed: _Packed) -> Path:
    return record_path(STORE, packed.record.episode)


def _remove(store: StoreFolder, record: CommitRecord, report: PackReport) -> None:
    try:
        remove_loose(store, record)
    except Corrupt as error:
        report.left.append(Finding(str(error), store.path / zip_path(STORE, record.episode), _AGAIN))


def _count(report: PackReport, packed: _Packed, disk_bytes: int) -> None:
    report.episodes += 1
    report.inodes_before += packed.inodes
    report.inodes_after += 2
    report.disk_bytes_before += packed.disk_bytes
    report.disk_bytes_after += disk_bytes


def _blocks(fd: int, *paths: Path) -> int:
    return sum(os.stat(path, dir_fd=fd).st_blocks for path in paths) * _BLOCK
