"""What puts a store right: at every start after whatever ended the last one, and its catalog made anew on request."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from sensorium.corpus.catalog import CATALOG, Catalog, fill
from sensorium.corpus.commits import EPISODES, check_store_version, record_paths
from sensorium.episode import durable
from sensorium.ingest.commit import Committer
from sensorium.ingest.store_folder import STAGING, lock_folder, store_errors


def mend(store: Path, commits: Committer, catalog: Catalog) -> None:
    """Remove what was staged, set aside what was not committed, and enter into the catalog what was."""
    for stale in (store / STAGING).iterdir():
        shutil.rmtree(stale) if stale.is_dir() else durable.remove(stale)
    committed = {path.stem for path in record_paths(store)}
    for month in [entry for entry in (store / EPISODES).iterdir() if entry.is_dir()]:
        commits.make_month(month.name)
        for folder in month.iterdir():
            if folder.name not in committed and folder.is_dir():
                commits.set_orphan_aside(folder)
    fill(catalog, store)


def rebuild_catalog(path: str | Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> int:
    """Make the catalog of the store at `path` anew from its commit records; the number of episodes.

    It takes the old one's place once it is whole; readers that are at work keep the old. Only what devices last said
    of ordinals not yet delivered is lost, until they connect again. `progress(done, total)` counts episodes.

    Raises:
        StoreError: an ingest is running, or it is not a store.
        Corrupt: a commit record cannot be read.
    """
    store = Path(path)
    check_store_version(store)
    with store_errors(store):
        lock = lock_folder(store)
        try:
            fresh = store / f"{CATALOG}-new"
            for leftover in store.glob(f"{fresh.name}*"):
                durable.remove(leftover)
            catalog = Catalog(fresh)
            try:
                count = fill(catalog, store, progress)
            finally:
                catalog.close()
            for suffix in ("-wal", "-shm"):
                durable.remove(store / f"{CATALOG}{suffix}")
            durable.rename(fresh, store / CATALOG)
            durable.sync_folder(store)
        finally:
            os.close(lock)
    return count
