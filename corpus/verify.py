"""Whether a store is what it says: commit records, folders, files, catalog, and with `deep` every checksum."""

import os
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from sensorium.corpus.catalog import CATALOG, columns_of, episodes, read_engine
from sensorium.corpus.commits import (
    EPISODES,
    CommitRecord,
    check_store_version,
    month_of,
    read_record,
    record_path,
    record_paths,
)
from sensorium.corpus.episode import Episode
from sensorium.errors import ConfigError, Corrupt, StoreError

_READ_BYTES = 1 << 20


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
    being committed in that instant shows as not committed.

    Raises:
        StoreError: it is no store, or of another version.
    """
    check_store_version(store)
    # In this order: an ingest at work publishes the record first, and then enters it.
    paths = list(record_paths(store))
    entered, trouble = _catalog(store)
    yield from trouble
    committed = {path.stem for path in paths}
    for number, path in enumerate(paths):
        progress(number, len(paths))
        try:
            record = read_record(path)
        except Corrupt as error:
            yield Finding(str(error), path, "restore it from a copy, or deliver the episode again")
            continue
        if not trouble:
            row = entered.get(path.stem)
            if row is None or any(row[name] != record.row.get(name) for name in row):
                what = "is not in the catalog" if row is None else "differs from its row in the catalog"
                yield Finding(what, path, f"run `sensorium rebuild-catalog {store}`")
        yield from _episode(store, record, deep)
    progress(len(paths), len(paths))
    for episode in sorted(entered.keys() - committed):
        if not record_path(store, uuid.UUID(episode)).exists():
            step = f"run `sensorium rebuild-catalog {store}`"
            yield Finding(f"episode {episode} has no commit record", store / CATALOG, step)
    yield from _orphans(store, committed | entered.keys())


def _catalog(store: Path) -> tuple[dict[str, dict[str, object]], list[Finding]]:
    try:
        with read_engine(store / CATALOG).connect() as connection:
            columns = [episodes.c[name] for name in columns_of(connection)]
            rows = connection.execute(sa.select(*columns)).mappings().all()
    except (StoreError, sa.exc.SQLAlchemyError) as error:
        step = f"run `sensorium rebuild-catalog {store}`"
        return {}, [Finding(f"cannot be read: {str(error).splitlines()[0]}", store / CATALOG, step)]
    return {row["episode"]: dict(row) for row in rows}, []


def _episode(store: Path, record: CommitRecord, deep: bool) -> Iterator[Finding]:
    folder = store / EPISODES / month_of(record.episode) / str(record.episode)
    again = "restore it from a copy, or deliver the episode again"
    if not folder.is_dir():
        yield Finding("committed, but the folder is missing", folder, again)
        return
    damaged = False
    for name, (size, crc) in record.objects.items():
        path = folder / name
        try:
            actual = path.stat().st_size
            if actual != size:
                yield Finding(f"is {actual} bytes, expected {size}", path, again)
                damaged = True
            elif deep and (found := _crc_of(path)) != crc:
                yield Finding(f"checksum {found:08x}, expected {crc:08x}", path, again)
                damaged = True
        except OSError as error:
            yield Finding(f"cannot be read ({error.strerror})", path, again)
            damaged = True
    extra = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - record.objects.keys()
    for name in sorted(extra):
        yield Finding("does not belong to the episode", folder / name, "remove it")
    if damaged:
        return
    row = record.row | {"document": msgspec.json.encode({"streams": record.streams, "account": record.account})}
    try:
        episode = Episode(store, row)
        rows = {name: len(stream) for name, stream in episode.streams.items()}
        expected = {name: summary.rows for name, summary in record.streams.items()}
        if rows != expected or episode.attributes["digest"] != record.row["digest"]:
            yield Finding(f"holds rows {rows}, its commit record says {expected}, or the digest differs", folder, again)
        for stream in episode.streams.values() if deep else ():
            stream.check()
    except Corrupt as error:
        yield Finding(str(error), folder, again)
    except ConfigError as error:
        yield Finding(f"chunks are not decoded: {error}", folder, "install the codec here, then verify again")


def _orphans(store: Path, committed: set[str]) -> Iterator[Finding]:
    for month in sorted((store / EPISODES).iterdir()):
        if month.is_dir():
            if not (month / "zarr.json").is_file():
                yield Finding("has no zarr.json, so that other readers do not see it", month, "restart ingest")
            for folder in sorted(month.iterdir()):
                if folder.is_dir() and folder.name not in committed:
                    yield Finding("is not committed", folder, "restart ingest, which sets it aside; readers ignore it")


def _crc_of(path: Path) -> int:
    crc = 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while data := os.read(fd, _READ_BYTES):
            crc = zlib.crc32(data, crc)
    finally:
        os.close(fd)
    return crc
