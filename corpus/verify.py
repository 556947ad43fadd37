"""Whether a store is what it says: commit records, folders, files, catalog, and with `deep` every checksum."""

import json
import os
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from sensorium.corpus.beside_catalog import damage_beside
from sensorium.corpus.catalog_reading import CATALOG, columns_of, read_engine
from sensorium.corpus.catalog_tables import episodes
from sensorium.corpus.commits import (
    EPISODES,
    ZIP,
    ZIP_VERSION,
    CommitRecord,
    check_store_version,
    folder_path,
    read_record,
    record_path,
    record_paths,
    zip_path,
)
from sensorium.corpus.deletions import DELETIONS, certificates, tombstoned, tombstones
from sensorium.corpus.episode import Episode
from sensorium.corpus.vectors import read_arrays, read_parts
from sensorium.episode import durable
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError, Corrupt, StoreError

_READ_BYTES = 1 << 20
_AGAIN = "restore it from a copy, or deliver the episode again"
_SETTLE = "the next `sensorium pack`, or start of the ingest, removes it"
_KEPT = "keep it: the same chunks are in it, and the ZIP is damaged"


class Finding(NamedTuple):
    """Something that is not as it should be: what, where, and what to do next."""

    what: str
    where: Path
    next_step: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.next_step}"


def verify(
    store: Path, deep: bool = False, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Iterator[Finding]:
    """Everything that is wrong with a store, cheap looks at each episode; `deep` reads every byte.

    `progress(done, total)` counts episodes. The store may be in use; an episode that is
    being committed or packed in that instant shows as not committed, or as differing from the catalog.

    Raises:
        StoreError: it is no store, or of another version.
    """
    version = check_store_version(store)
    # In this order: an ingest at work publishes the record first, and then enters it.
    gone = tombstoned(store)
    paths = [path for path in record_paths(store) if path.stem not in gone]
    entered, trouble = _catalog(store)
    yield from trouble
    committed = {path.stem for path in paths}
    for number, path in enumerate(paths):
        progress(number, len(paths))
        try:
            record = _record_now(store, path)
        except (Corrupt, OSError) as error:
            yield Finding(_said(error, path), path, _AGAIN)
            continue
        if not trouble:
            row = entered.get(path.stem)
            if _differs(row, record):
                row = _entered(store, path.stem).get(path.stem)  # it may have been packed since
            if _differs(row, record):
                what = "is not in the catalog" if row is None else "differs from its row in the catalog"
                yield Finding(what, path, f"run `sensorium rebuild-catalog {store}`")
        if record.zipped and version < ZIP_VERSION and (version := check_store_version(store)) < ZIP_VERSION:
            what = f"says that the episode is a ZIP, but the store is of version {version}: readers give nothing of it"
            yield Finding(what, path, f"restore {store / EPISODES / 'zarr.json'} from a copy, or set its version to 2")
        yield from (_zipped if record.zipped else _loose)(store, record, deep)
    progress(len(paths), len(paths))
    for episode in sorted(entered.keys() - committed):
        if not record_path(store, uuid.UUID(episode)).exists():
            step = f"run `sensorium rebuild-catalog {store}`"
            yield Finding(f"episode {episode} has no commit record", store / CATALOG, step)
    yield from _orphans(store, committed | entered.keys() | gone)
    yield from _deletions(store)
    for damage in damage_beside(store):
        yield Finding(*damage)
    yield from _vectors(store)


def _deletions(store: Path) -> Iterator[Finding]:
    """Deletions that are not finished though their time is over, and certificates that do not hold."""
    step = f"run `sensorium delete {store}`, which goes on with it"
    try:
        certified = {each.tombstone.episode for each in certificates(store)}
        now = utc_text(time.time_ns()) or ""
        damaged: list[tuple[Path, str]] = []
        for each in tombstones(store, damaged=lambda path, why: damaged.append((path, why))):
            path = record_path(store, uuid.UUID(each.episode))
            if each.episode not in certified and each.remove_after_utc <= now:
                yield Finding(f"episode {each.episode} is deleted, but not certified to be gone", path, step)
            elif each.episode in certified and (
                path.exists()
                or folder_path(store, uuid.UUID(each.episode)).exists()
                or zip_path(store, uuid.UUID(each.episode)).exists()
            ):
                yield Finding(f"episode {each.episode} is certified to be gone, and is there again", path, "remove it")
        for path, why in damaged:
            what = why.removeprefix(f"{path}: ").rpartition("; ")[0]
            yield Finding(f"{what}: the episode is gone for readers", path, "restore it from a copy")
    except Corrupt as error:
        yield Finding(_said(error, store / DELETIONS), store / DELETIONS, "restore it from a copy")


def _vectors(store: Path) -> Iterator[Finding]:
    for path, part in read_parts(store):
        whole = part if isinstance(part, str) else read_arrays(path, part)
        if isinstance(whole, str):
            step = f"remove its files; `sensorium similar {store}` makes it again"
            yield Finding(whole.removeprefix(f"{path}: "), path, step)


def _catalog(store: Path) -> tuple[dict[str, dict[str, object]], list[Finding]]:
    try:
        return _entered(store), []
    except (StoreError, sa.exc.SQLAlchemyError) as error:
        step = f"run `sensorium rebuild-catalog {store}`"
        return {}, [Finding(f"cannot be read: {str(error).splitlines()[0]}", store / CATALOG, step)]


def _entered(store: Path, episode: str | None = None) -> dict[str, dict[str, object]]:
    """The catalog's rows by episode, or of one."""
    with read_engine(store / CATALOG).connect() as connection:
        statement = sa.select(*(episodes.c[name] for name in columns_of(connection)))
        if episode is not None:
            statement = statement.where(episodes.c.episode == episode)
        rows = connection.execute(statement).mappings().all()
    return {row["episode"]: dict(row) for row in rows}


def _differs(row: Mapping[str, object] | None, record: CommitRecord) -> bool:
    said = record.columns
    return row is None or row != {name: said.get(name) for name in row}


def _record_now(store: Path, path: Path) -> CommitRecord:
    """A commit record; once more where the episode is not there: it may have been packed since."""
    record = read_record(path)
    return record if record.zipped or folder_path(store, record.episode).is_dir() else read_record(path)


def _loose(store: Path, record: CommitRecord, deep: bool) -> Iterator[Finding]:
    folder, packed = folder_path(store, record.episode), zip_path(store, record.episode)
    if packed.exists():
        yield Finding("beside the episode's folder, which is what was committed: a pack was cut off", packed, _SETTLE)
    if not folder.is_dir():
        yield Finding("committed, but the folder is missing", folder, _AGAIN)
        return
    damaged = False
    for name, (size, crc) in record.objects.items():
        for finding in _file(folder / name, size, crc, deep):
            yield finding
            damaged = True
    extra = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - record.objects.keys()
    for name in sorted(extra):
        yield Finding("does not belong to the episode", folder / name, "remove it")
    if not damaged:
        yield from _content(Episode(store, record.columns, ZIP_VERSION), record, deep, folder)


def _zipped(store: Path, record: CommitRecord, deep: bool) -> Iterator[Finding]:
    path, folder = zip_path(store, record.episode), folder_path(store, record.episode)
    ((size, crc),) = record.objects.values()
    findings = list(_file(path, size, crc, deep))
    if folder.is_dir() and _left_until(record_path(store, record.episode)) <= (utc_text(time.time_ns()) or ""):
        step = _KEPT if findings else _SETTLE
        yield Finding("beside the episode's ZIP, which is what was committed: a pack was cut off", folder, step)
    if findings:
        yield from findings
        return
    # One for all: its directory is read once.
    episode = Episode(store, {**record.columns, "bytes": size, "crc": crc}, ZIP_VERSION)
    try:
        names = episode.members_of_zip(deep)
        expected = episode.file_names()
    except (Corrupt, OSError) as error:
        yield Finding(_said(error, path), path, _AGAIN)
        return
    for name in sorted(names - expected):
        yield Finding(f"{name}: does not belong to the episode", path, _AGAIN)
    for name in sorted(expected - names):
        yield Finding(f"{name}: missing", path, _AGAIN)
    if names == expected:
        yield from _content(episode, record, deep, path)


def _file(path: Path, size: int, crc: int, deep: bool) -> Iterator[Finding]:
    try:
        actual = path.stat().st_size
        if actual != size:
            yield Finding(f"is {actual} bytes, expected {size}", path, _AGAIN)
        elif deep and (found := _crc_of(path)) != crc:
            yield Finding(f"checksum {found:08x}, expected {crc:08x}", path, _AGAIN)
    except OSError as error:
        yield Finding(f"cannot be read ({error.strerror})", path, _AGAIN)


def _content(episode: Episode, record: CommitRecord, deep: bool, path: Path) -> Iterator[Finding]:
    """What is wrong with an episode whose files are those that were committed."""
    try:
        rows = {name: len(stream) for name, stream in episode.streams.items()}
        expected = {name: summary.rows for name, summary in record.streams.items()}
        if rows != expected:
            yield Finding(f"holds rows {rows}, its commit record says {expected}", path, _AGAIN)
        for stream in episode.streams.values() if deep else ():
            stream.check()
    except Corrupt as error:
        yield Finding(_said(error, path), path, _AGAIN)
    except ConfigError as error:
        yield Finding(f"chunks are not decoded: {error}", path, "install the codec here, then verify again")


def _left_until(record: Path) -> str:
    """Until when the folder is left to those who read it, of an episode that was packed: UTC, or nothing."""
    try:
        return str(json.loads(durable.read_whole(record)).get("loose_until_utc", ""))
    except (OSError, ValueError, RecursionError):
        return ""


def _said(error: Exception, where: Path) -> str:
    """What an error says, but for where, which a finding says itself."""
    return str(error).removeprefix(f"{where}: ").removesuffix("; run `sensorium verify`")


def _orphans(store: Path, committed: set[str]) -> Iterator[Finding]:
    for month in sorted((store / EPISODES).iterdir()):
        if month.is_dir():
            if not (month / "zarr.json").is_file():
                yield Finding("has no zarr.json, so that other readers do not see it", month, "restart ingest")
            for path in sorted(month.iterdir()):
                if (path.suffix == ZIP or path.is_dir()) and path.name.removesuffix(ZIP) not in committed:
                    yield Finding("is not committed", path, "restart ingest, which sets it aside; readers ignore it")


def _crc_of(path: Path) -> int:
    crc = 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while data := os.read(fd, _READ_BYTES):
            crc = zlib.crc32(data, crc)
    finally:
        os.close(fd)
    return crc
