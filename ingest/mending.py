"""What puts a store right: at every start after whatever ended the last one, and its catalog made anew on request."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from sensorium.corpus.catalog import Catalog
from sensorium.corpus.catalog_reading import CATALOG
from sensorium.corpus.commits import ZIP, CommitNames, check_store_version, commit_names
from sensorium.corpus.filling import fill
from sensorium.corpus.sketches import rebuild_sketches
from sensorium.episode import durable
from sensorium.ingest.both_forms import in_both_forms, settle
from sensorium.ingest.commit import Committer
from sensorium.ingest.partials import Partials
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, STAGING, StoreFolder, StoreHeld, store_errors


def mend(store: StoreFolder, commits: Committer, catalog: Catalog) -> tuple[Partials, CommitNames]:
    """Set aside what was not committed, and enter into the catalog what was; what is staged and can be gone on from,
    and what the names in `commits` say."""
    sync_what_is_believed(store.fd)
    said = commit_names(store.path)
    committed = said.committed
    partials = Partials(STAGING, store.fd, committed)
    both: list[tuple[str, str]] = []
    for month in folders_in(EPISODES_FOLDER, store.fd):
        commits.make_month(month.name)
        names = durable.names(month, dir_fd=store.fd)
        for name in names:
            if name.removesuffix(ZIP) not in committed and (name.endswith(ZIP) or _is_folder(month / name, store.fd)):
                commits.set_orphan_aside(month / name)
        both += [(month.name, name) for name in in_both_forms(names) if name in committed]
    _fill(catalog, store.path, said)
    settle(store, catalog, both)
    return partials, said


def _fill(catalog: Catalog, path: Path, said: CommitNames) -> None:
    """Enter what the catalog lacks; where that finds it damaged, all, in a new one."""
    try:
        fill(catalog, path, names=said)
    except (SQLAlchemyError, sqlite3.Error):
        if not catalog.loss:
            raise
        catalog.make_again(lambda: fill(catalog, path, names=said))


def rebuild_catalog(path: str | Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> int:
    """Make the catalog of the store at `path` anew from its commit records; the number of episodes.

    It takes the old one's place once it is whole; readers that are at work keep the old. Only what devices last said
    of ordinals not yet delivered is lost, until they connect again. `progress(done, total)` counts episodes.

    A record that cannot be read is left where it is, left out, and said in the log.

    Raises:
        StoreError: an ingest is running (`StoreHeld`), or it is not a store.
    """
    check_store_version(Path(path))
    with store_errors(Path(path)):
        try:
            store = StoreFolder(Path(path))
        except StoreHeld as error:
            raise StoreHeld(
                f"{path}: another ingest writes this store, and makes a catalog that is lost or damaged again by"
                " itself, within seconds: leave it to that, or stop it, then run this again"
            ) from error
        try:
            fresh = f"{CATALOG}-new"
            for leftover in durable.names(Path(), dir_fd=store.fd):
                if leftover.startswith(fresh):
                    durable.remove(Path(leftover), dir_fd=store.fd)
            catalog = Catalog(store.path / fresh, store.fd)
            try:
                count = fill(catalog, store.path, progress)
                rebuild_sketches(store.path, catalog)
            finally:
                catalog.close()
            for suffix in ("-wal", "-shm"):
                durable.remove(Path(f"{CATALOG}{suffix}"), dir_fd=store.fd)
            durable.rename(Path(fresh), Path(CATALOG), dir_fd=store.fd)
            durable.sync_folder(Path(), dir_fd=store.fd)
        finally:
            store.close()
    return count


def sync_what_is_believed(store: int) -> None:
    """Make durable what a run that was killed had named or written, and not synced: a record, a line of discards."""
    discarded = COMMITS / "discarded"
    for device in folders_in(discarded, store):
        for name in durable.names(device, dir_fd=store):
            if durable.is_file(device / name, dir_fd=store):
                durable.sync_file(device / name, dir_fd=store)
        durable.sync_folder(device, dir_fd=store)
    for folder in (*folders_in(COMMITS, store), COMMITS, *folders_in(EPISODES_FOLDER, store), EPISODES_FOLDER, Path()):
        durable.sync_folder(folder, dir_fd=store)


def folders_in(path: Path, dir_fd: int) -> list[Path]:
    """The folders in a folder, if that is there."""
    found = [path / name for name in durable.names(path, dir_fd=dir_fd)] if _is_folder(path, dir_fd) else []
    return [folder for folder in found if _is_folder(folder, dir_fd)]


def _is_folder(path: Path, dir_fd: int) -> bool:
    seen = durable.look(path, dir_fd=dir_fd)
    return seen is not None and seen.is_folder
