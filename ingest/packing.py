"""Cold small episodes that are folders become ZIPs: fewer inodes and blocks, the same chunks byte for byte."""

import contextlib
import heapq
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa

from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_reading import CATALOG, columns_of, read_engine
from sensorium.corpus.catalog_tables import episodes
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
from sensorium.corpus.deletions import tombstone_name
from sensorium.corpus.filling import fill
from sensorium.corpus.verify import Finding
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode import durable, together, zip_form
from sensorium.episode.utc_text import utc_text
from sensorium.errors import Corrupt
from sensorium.ingest.both_forms import (
    STORE,
    PackedRecord,
    in_both_forms,
    next_record,
    packed_record,
    read_both,
    remove_leftovers,
    remove_loose,
    unfinished,
)
from sensorium.ingest.held_room import SMALL_BYTES
from sensorium.ingest.mending import folders_in, sync_what_is_believed
from sensorium.ingest.pack_report import PackReport, Taken, blocks, look_at
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, StoreFolder, store_errors

GRACE_S = 30.0
"""How long a folder is left to those who read it already, once its ZIP is committed."""
BATCH, BATCH_BYTES = 32, 32_000_000
"""What is synced together."""
_POLL_S = 0.05
_AGAIN = "restore it from a copy, or deliver the episode again"

Progress = Callable[[str, int, int], None]
Going = list[tuple[str, str, PackedRecord]]
"""A heap of the folders that are to go, by until when each is left, and by episode."""
Alone = Callable[[Sequence[UUID]], contextlib.AbstractContextManager[Sequence[UUID]]]


class _Packed(NamedTuple):
    """An episode as it will be, and what its folder and its record take now."""

    record: PackedRecord
    data: bytes
    folder: Taken
    record_bytes: int


def pack(
    path: str | Path,
    older_than_s: float,
    *,
    small_bytes: int = SMALL_BYTES,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
    progress: Progress = lambda _what, _done, _total: None,
    stop: Callable[[], bool] = lambda: False,
    report: PackReport | None = None,
) -> PackReport:
    """Make ZIPs of the episodes of the store at `path` that are folders of up to `small_bytes` and were committed
    `older_than_s` ago; then remove the folders, each `grace_s` after its ZIP is what counts.

    An episode of which a file is not what was committed is left as it is, and named. It may be interrupted anywhere:
    every episode is whole in one form, and the next `pack`, or start of an ingest, goes on. Once `stop()` is true it
    ends by itself, after what it is at. All is counted in `report`, which tells it also where an error ends this.
    `dry_run` does all but write, beside an ingest too. `progress(what, done, total)` counts episodes.

    Raises:
        StoreError: an ingest is running (`StoreHeld`), it is not a store, or the disk fails.
    """
    path = Path(path)
    report = PackReport() if report is None else report
    check_store_version(path)
    with store_errors(path):
        if dry_run:
            _plan(path, older_than_s, small_bytes, progress, stop, report)
        else:
            _pack(path, older_than_s, small_bytes, grace_s, progress, stop, report)
    report.interrupted = stop()
    return report


def _plan(
    path: Path,
    older_than_s: float,
    small_bytes: int,
    progress: Progress,
    stop: Callable[[], bool],
    report: PackReport,
) -> None:
    fd = durable.open_folder(path)
    try:
        for record in read_both(path, fd, _both(fd))[0]:
            if record.is_over:
                report.count_removed(look_at(fd, folder_path(STORE, record.episode))[1])
            else:
                report.count_left([record.loose_until_utc])
        block = os.fstatvfs(fd).f_bsize
        for packed in _read_cold(path, fd, _cold(path, older_than_s, small_bytes), 0.0, report, progress, stop):
            sizes = len(packed.data), len(msgspec.json.encode(packed.record))
            report.count_packed(packed.folder, packed.record_bytes, sum(-(-size // block) * block for size in sizes))
            report.count_removed(packed.folder)
    finally:
        durable.close(fd)


def _pack(
    path: Path,
    older_than_s: float,
    small_bytes: int,
    grace_s: float,
    progress: Progress,
    stop: Callable[[], bool],
    report: PackReport,
) -> None:
    with contextlib.ExitStack() as stack:
        store = StoreFolder(path)
        stack.callback(store.close)
        sync_what_is_believed(store.fd)
        remove_leftovers(store, lambda folder: report.count_removed(look_at(store.fd, folder)[1]))
        catalog = Catalog((path / CATALOG).absolute(), store.fd)
        stack.callback(catalog.close)
        fill(catalog, path)
        for waits in steps(store, catalog, older_than_s, small_bytes, grace_s, progress, stop, report):
            if waits:
                time.sleep(_POLL_S)


def steps(
    store: StoreFolder,
    catalog: Catalog,
    older_than_s: float,
    small_bytes: int,
    grace_s: float,
    progress: Progress,
    stop: Callable[[], bool],
    report: PackReport,
    alone: Alone = lambda those: contextlib.nullcontext(list(those)),
) -> Iterator[bool]:
    """`pack` of a store that is open, a batch at a time; True where all that is left is to wait.

    `alone(those)` is entered while these episodes are looked at and packed: it gives those of them that nobody else is
    at, and the others are left to the next `pack`.
    """
    going: Going = []
    try:
        for record in unfinished(store, catalog, _both(store.fd)):
            _push(going, record)
        _remove_over(store, going, report, stop)
        cold = [] if stop() else _cold(store.path, older_than_s, small_bytes)
        for at in range(0, len(cold), BATCH):
            told = _told_from(progress, at, len(cold))
            with alone(cold[at : at + BATCH]) as mine:
                for batch in _batches(_read_cold(store.path, store.fd, mine, grace_s, report, told, stop)):
                    _convert(store, catalog, batch)
                    for packed in batch:
                        taken = blocks(store.fd, zip_path(STORE, packed.record.episode), _record(packed))
                        report.count_packed(packed.folder, packed.record_bytes, taken)
                        _push(going, packed.record)
                    _remove_over(store, going, report, stop)
                    yield False
        progress("packing", len(cold), len(cold))
        yield from _remove_in_time(store, going, grace_s, report, progress, stop)
    finally:
        report.count_left(until for until, _, _ in going)


def _told_from(progress: Progress, first: int, total: int) -> Progress:
    return lambda what, done, _total: progress(what, first + done, total)


def _both(fd: int) -> list[tuple[str, str]]:
    """The episodes of a store, by (month, id), that are there in both forms."""
    months = folders_in(EPISODES_FOLDER, fd)
    return [(month.name, name) for month in months for name in in_both_forms(durable.names(month, dir_fd=fd))]


def _push(going: Going, record: PackedRecord) -> None:
    heapq.heappush(going, (record.loose_until_utc, str(record.episode), record))


def _remove_over(store: StoreFolder, going: Going, report: PackReport, stop: Callable[[], bool]) -> None:
    """Remove the folders that nobody is to find any more."""
    while going and going[0][2].is_over and not stop():
        record = going[0][2]
        if _is_deleted(store.fd, record.episode):  # meanwhile, and all of it
            heapq.heappop(going)
            continue
        folder = look_at(store.fd, folder_path(STORE, record.episode))[1]
        try:
            remove_loose(store, record)
            report.count_removed(folder)
        except Corrupt as error:
            report.left.append(Finding(str(error), store.path / zip_path(STORE, record.episode), _AGAIN))
        heapq.heappop(going)


def _remove_in_time(
    store: StoreFolder,
    going: Going,
    grace_s: float,
    report: PackReport,
    progress: Progress,
    stop: Callable[[], bool],
) -> Iterator[bool]:
    """Wait until nobody is to find the folders any more. One that is to stay for longer, an earlier run said so."""
    end, total = time.monotonic() + grace_s, len(going)
    while going and not stop():
        progress("leaving folders to their readers", total - len(going), total)
        _remove_over(store, going, report, stop)
        if going and time.monotonic() >= end and not going[0][2].is_over:
            return
        if going and not stop():
            yield True


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
    before = utc_text(time.time_ns() - round(older_than_s * SECOND_NS)) or ""
    with read_engine(path / CATALOG).connect() as connection:
        wanted = (episodes.c.committed_utc <= before) & (episodes.c.bytes <= small_bytes)
        if "form" in columns_of(connection):
            wanted &= episodes.c.form.is_distinct_from("zip")
        found = connection.execute(sa.select(episodes.c.episode).where(wanted).order_by(episodes.c.episode))
        return [UUID(name) for name in found.scalars()]


def _read_cold(
    path: Path,
    fd: int,
    cold: Sequence[UUID],
    grace_s: float,
    report: PackReport,
    progress: Progress,
    stop: Callable[[], bool],
) -> Iterator[_Packed]:
    for number, episode in enumerate(cold):
        if stop():
            return
        progress("packing", number, len(cold))
        at = record_path(STORE, episode)
        try:
            record = decode_commit(durable.read_whole(at, dir_fd=fd), path / at)
            if not record.zipped and len(record.objects) <= zip_form.MAX_MEMBERS:
                yield _read_loose(path, fd, record, grace_s)
        except _LeftAlone as left:
            if not _is_deleted(fd, episode):
                report.left.append(left.finding)
        except (Corrupt, OSError) as error:
            if not _is_deleted(fd, episode):
                report.left.append(Finding(str(error), path / at, _AGAIN))


def _is_deleted(fd: int, episode: UUID) -> bool:
    return durable.look(tombstone_name(episode), dir_fd=fd) is not None


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
    there, taken = look_at(fd, folder)
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
        loose_until_utc=utc_text(time.time_ns() + round(grace_s * SECOND_NS)) or "",
    )
    return _Packed(packed, data, taken, blocks(fd, record_path(STORE, record.episode)))


def _member(name: str, data: bytes, crc: int, where: Path) -> zip_form.NewMember:
    if name.rpartition("/")[2] != zip_form.DOCUMENT:
        return zip_form.chunk(name, data, crc)
    try:
        return zip_form.document(name, with_version(data) if name == zip_form.DOCUMENT else data)
    except Corrupt as error:
        raise _LeftAlone(str(error), where) from error


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
    for written in together.write_all(files, dir_fd=dir_fd):
        if isinstance(written, OSError):
            raise written


def _record(packed: _Packed) -> Path:
    return record_path(STORE, packed.record.episode)
