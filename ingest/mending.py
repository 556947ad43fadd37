"""What puts a store right: at every start after whatever ended the last one, and its catalog made anew on request."""

from collections.abc import Callable
from pathlib import Path

from sensorium.corpus.catalog import CATALOG, Catalog, fill
from sensorium.corpus.commits import check_store_version, record_paths
from sensorium.episode import durable
from sensorium.ingest.commit import Committer
from sensorium.ingest.partials import Partials
from sensorium.ingest.store_folder import EPISODES_FOLDER, STAGING, StoreFolder, store_errors


def mend(store: StoreFolder, commits: Committer, catalog: Catalog) -> Partials:
    """Set aside what was not committed, and enter into the catalog what was; what is staged and can be gone on from."""
    committed = {path.stem for path in record_paths(store.path)}
    partials = Partials(STAGING, store.fd, committed)
    for month in durable.names(EPISODES_FOLDER, dir_fd=store.fd):
        if not _is_folder(EPISODES_FOLDER / month, store.fd):
            continue
        commits.make_month(month)
        for name in durable.names(EPISODES_FOLDER / month, dir_fd=store.fd):
            if name not in committed and _is_folder(EPISODES_FOLDER / month / name, store.fd):
                commits.set_orphan_aside(EPISODES_FOLDER / month / name)
    fill(catalog, store.path)
    return partials


def rebuild_catalog(path: str | Path, progress: Callable[[int, int], None] = lambda _done, _total: None) -> int:
    """Make the catalog of the store at `path` anew from its commit records; the number of episodes.

    It takes the old one's place once it is whole; readers that are at work keep the old. Only what devices last said
    of ordinals not yet delivered is lost, until they connect again. `progress(done, total)` counts episodes.

    Raises:
        StoreError: an ingest is running, or it is not a store.
        Corrupt: a commit record cannot be read.
    """
    check_store_version(Path(path))
    with store_errors(Path(path)):
        store = StoreFolder(Path(path))
        try:
            fresh = f"{CATALOG}-new"
            for leftover in durable.names(Path(), dir_fd=store.fd):
                if leftover.startswith(fresh):
                    durable.remove(Path(leftover), dir_fd=store.fd)
            catalog = Catalog(store.path / fresh)
            try:
                count = fill(catalog, store.path, progress)
            finally:
                catalog.close()
            for suffix in ("-wal", "-shm"):
                durable.remove(Path(f"{CATALOG}{suffix}"), dir_fd=store.fd)
            durable.rename(Path(fresh), Path(CATALOG), dir_fd=store.fd)
            durable.sync_folder(Path(), dir_fd=store.fd)
        finally:
            store.close()
    return count


def _is_folder(path: Path, dir_fd: int) -> bool:
    seen = durable.look(path, dir_fd=dir_fd)
    return seen is not None and seen.is_folder
