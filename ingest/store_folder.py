"""The folder of a store as its one writer holds it: what is in it, its lock, and what its failures say."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from sensorium.corpus.catalog import CATALOG
from sensorium.corpus.commits import EPISODES, check_store_version
from sensorium.episode import durable
from sensorium.episode.documents import FORMAT_VERSION
from sensorium.episode.layout import group
from sensorium.errors import SensoriumError, StoreError

COMMITS, STAGING, QUARANTINE, LOCK = "commits", ".staging", "quarantine", ".lock"


def lock_folder(path: Path) -> int:
    """Make the store's folders where they are missing; the descriptor of its lock, held.

    Raises:
        StoreError: another process writes it, it is of another version, or the folder holds something else.
    """
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path}: not a folder; give the folder of a store, or one to make")
    known = {EPISODES, COMMITS, STAGING, QUARANTINE, LOCK, CATALOG, f"{CATALOG}-wal", f"{CATALOG}-shm"}
    if (
        path.is_dir()
        and (others := sorted({entry.name for entry in path.iterdir()} - known))
        and not (path / EPISODES).is_dir()
    ):
        raise StoreError(f"{path}: not a store, it holds {others[0]!r}; give an empty or a new folder")
    durable.make_folder(path)
    lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        root = path / EPISODES / "zarr.json"
        if root.exists():
            check_store_version(path)
        for name in (EPISODES, COMMITS, STAGING, QUARANTINE):
            durable.make_folder(path / name)
        if not root.exists():
            about = group({"sensorium": {"format_version": FORMAT_VERSION}})
            durable.publish(root, msgspec.json.encode(about), path / STAGING)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreError(f"{path}: another ingest writes this store; stop it, or give another folder") from error
    except BaseException:
        os.close(lock)
        raise
    return lock


@contextlib.contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """What the file system or the catalog raises becomes a `StoreError` with the next step."""
    try:
        yield
    except SensoriumError:
        raise
    except OSError as error:
        raise StoreError(
            f"{error.filename or path}: {error.strerror or error}; see to the disk, then try again"
        ) from error
    except SQLAlchemyError as error:
        why = str(error).splitlines()[0]
        raise StoreError(f"{path / CATALOG}: {why}; see to the disk, or run `sensorium rebuild-catalog`") from error
