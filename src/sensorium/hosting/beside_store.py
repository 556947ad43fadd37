"""What an import leaves beside a store, and of a store that it made in vain: nothing, whenever it is cut off."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import commit_names
from sensorium.episode import durable
from sensorium.episode.locking import new_locked_folder, take_lock
from sensorium.errors import StoreError
from sensorium.ingest.beneath import open_folder_beneath
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, LOCK, QUARANTINE, STAGING, StoreFolder, store_errors

_OWN = {*map(str, (COMMITS, EPISODES_FOLDER, LOCK, QUARANTINE, STAGING)), "fleet"}
"""What an ingest makes by itself, and of the devices that came to it."""


@contextlib.contextmanager
def passing_folder(store: Path, settle: Callable[[Path], None] = lambda _: None) -> Iterator[Path]:
    """A folder beside the one of `store`, for what passes through on its way there; it goes at the end. What an import
    that was killed left of its own goes first, if nobody is at it.

    `settle` is called with each before it goes; one of which it raises stays.

    Raises:
        StoreError: the disk fails.
    """
    parent, begins = _where(store)
    with store_errors(store):
        durable.make_folder(parent)
        remove_left(store, settle)
        folder, lock = new_locked_folder(lambda: parent / f"{begins}{secrets.token_hex(4)}")
    try:
        yield folder
    finally:
        with store_errors(store):
            try:
                settle(folder)
                durable.remove_tree(folder)
            finally:
                durable.close(lock)


def _where(store: Path) -> tuple[Path, str]:
    """Where such folders are, and how their names begin."""
    return store.absolute().parent, f".import-{store.absolute().name}-"


def remove_left(store: Path, settle: Callable[[Path], None] = lambda _: None) -> None:
    """Remove the passing folders that imports which were killed left, each once `settle` was called with it.

    Raises:
        StoreError: the disk fails.
    """
    parent, begins = _where(store)
    if durable.look(parent) is None:
        return
    with store_errors(store):
        above = durable.open_folder(parent)
        try:
            for name in durable.names(Path(), dir_fd=above):
                if name.startswith(begins) and len(name) == len(begins) + 8:
                    _remove_one(above, parent / name, settle)
        finally:
            durable.close(above)


def _remove_one(above: int, folder: Path, settle: Callable[[Path], None]) -> None:
    try:
        lock = open_folder_beneath(above, folder.name)
    except OSError:  # it is gone, or none of ours: a file, a link
        return
    try:
        if take_lock(lock):
            settle(folder)
            with contextlib.suppress(OSError):
                durable.remove_tree(Path(folder.name), dir_fd=above)
    finally:
        durable.close(lock)


@contextlib.contextmanager
def made_in_vain(store: Path) -> Iterator[None]:
    """What is refused in it leaves no store behind that was not there before, unless something is in there by then, or
    somebody else is at it."""
    missing = [each for each in (store.absolute(), *store.absolute().parents) if durable.look(each) is None]
    try:
        yield
    except BaseException:
        if missing:
            with contextlib.suppress(OSError, StoreError):
                _remove_empty(store)
                for folder in missing[1:]:
                    folder.rmdir()
        raise


def _remove_empty(path: Path) -> None:
    """Remove a store to which nothing came, and nobody added; parts of episodes are of an import that failed."""
    if durable.look(path) is None:
        return
    held = StoreFolder(path)
    try:
        names = {name for name in durable.names(Path(), dir_fd=held.fd) if not name.startswith(CATALOG)}
        said = commit_names(path)
        if names <= _OWN and not (said.committed or said.deleted or durable.names(QUARANTINE, dir_fd=held.fd)):
            durable.remove_tree(path)
    finally:
        held.close()
