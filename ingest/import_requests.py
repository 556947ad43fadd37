"""An import beside an ingest: it is made in a store of its own, and the ingest that holds the store takes that over.

    STORE/requests/ID.import/   that store; who makes it holds a lock on the folder
    STORE/requests/ID.take      it is made: its episodes are to be taken over
    STORE/requests/ID.answer    what became of it; folder and request go before

The ingest takes them over a batch at a time, between all else, each held to its commit record on the way. What was cut
off is gone on with by whoever holds the store next, and what nobody makes any more goes.
"""

import contextlib
import fcntl
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uuid_utils

from sensorium.corpus.between import between_paths, read_between
from sensorium.corpus.catalog import Catalog
from sensorium.corpus.commits import record_paths
from sensorium.corpus.filling import read_discards
from sensorium.episode import durable
from sensorium.errors import SensoriumError, StoreError
from sensorium.ingest.between import keep_between
from sensorium.ingest.both_forms import remove_leftovers
from sensorium.ingest.commit import Committer
from sensorium.ingest.copying import CopyReport, steps
from sensorium.ingest.deleting import finish
from sensorium.ingest.packing import Alone
from sensorium.ingest.requests import ANSWER, LOOK_S, REQUESTS
from sensorium.ingest.store_folder import COMMITS, STAGING, StoreFolder, StoreHeld, store_errors

log = logging.getLogger(__name__)

MADE, TAKE = ".import", ".take"
BATCH_BYTES = 32_000_000
"""So much is taken over before anything else has its turn."""


class TakingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many episodes were taken over, and what ended that, if it was an error."""

    episodes: int = 0
    error: str = ""


@contextlib.contextmanager
def made_beside(path: Path) -> Iterator[Path]:
    """A folder under `STORE/requests` to make a store in; it goes at the end, with all that is asked of it.

    Raises:
        StoreError: the disk fails.
    """
    folder = path / REQUESTS / f"{uuid.UUID(bytes=uuid_utils.uuid7().bytes)}{MADE}"
    with store_errors(path):
        durable.make_folder(folder)
        lock = durable.open_folder(folder)
    try:
        with contextlib.suppress(OSError):  # where there are no locks, nobody takes it for one that was left
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        durable.close(lock)
        with store_errors(path):
            for ending in (TAKE, ANSWER):
                durable.remove(folder.with_suffix(ending))
            _remove_made(folder)


def hand_over(path: Path, folder: Path, sleep: Callable[[float], None] = time.sleep) -> int:
    """Have the ingest that holds the store at `path` take over what was made in `folder`, and wait for it; how many
    episodes. Where that ends meanwhile it is done here.

    Raises:
        StoreError: it could not be, or not all of it: the message says what is left.
    """
    is_asked = False
    while True:
        with contextlib.suppress(StoreHeld):
            finish(path, lambda store, catalog: _take_here(store, catalog, folder))
            return len(list(record_paths(folder)))
        with store_errors(path):
            if not is_asked:
                durable.replace(folder.with_suffix(TAKE), folder.with_suffix(".new"), [[b"{}"]])
                is_asked = True
            if (answer := _taken(folder)) is not None:
                if answer.error:
                    raise StoreError(answer.error)
                return answer.episodes
        sleep(LOOK_S)


class ImportJobs:
    """What was made beside an ingest, taken over by it one after the other; one thread at a time calls it."""

    def __init__(self, store: StoreFolder, catalog: Catalog, commits: Committer, alone: Alone) -> None:
        self._store, self._catalog, self._commits, self._alone = store, catalog, commits, alone
        self._at: Path | None = None
        self._going: Iterator[int] = iter(())
        self._report = CopyReport()
        self._sweep()

    def step(self) -> None:
        """Take over a batch, if that is asked; answer at the end."""
        if self._at is None and not self._begin():
            return
        try:
            with store_errors(self._store.path):
                if next(self._going, None) is None:
                    self._answer(_left(self._report))
        except SensoriumError as error:
            self._answer(str(error))

    def _begin(self) -> bool:
        """Begin with what has waited longest; whether there is any."""
        at = next((each for each in self._named(TAKE)), None)
        if at is None:
            return False
        self._at, self._report = at, CopyReport()
        self._going = _taking(self._store, self._catalog, self._commits, self._folder(at), self._report, self._alone)
        log.warning("%s: an import is taken over", self._store.path)
        return True

    def _answer(self, error: str = "") -> None:
        """Say what became of it to whoever waits. What is asked goes first; behind an error also what was made, by who
        made it, or else the next start."""
        at, self._at, self._going = self._at, None, iter(())
        if at is None:
            return
        with store_errors(self._store.path):
            waits = _is_held(self._folder(at))
            durable.remove(at, dir_fd=self._store.fd)
            durable.sync_folder(REQUESTS, dir_fd=self._store.fd)
            if not waits:
                self._sweep()
                return
            answer = TakingAnswer(episodes=self._report.episodes + self._report.already, error=error)
            durable.publish(at.with_suffix(ANSWER), msgspec.json.encode(answer), STAGING, dir_fd=self._store.fd)

    def _sweep(self) -> None:
        """Remove what nobody makes any more, and nobody is asked to take over."""
        for at in self._named(MADE):
            asked = durable.look(at.with_suffix(TAKE), dir_fd=self._store.fd) is not None
            if not asked and not _is_held(self._folder(at)):
                _remove_made(self._folder(at))

    def _named(self, ending: str) -> list[Path]:
        if durable.look(REQUESTS, dir_fd=self._store.fd) is None:
            return []
        names = durable.names(REQUESTS, dir_fd=self._store.fd)
        return [REQUESTS / name for name in names if name.endswith(ending)]

    def _folder(self, at: Path) -> Path:
        return Path(f"/proc/self/fd/{self._store.fd}") / at.with_suffix(MADE)


def _take_here(store: StoreFolder, catalog: Catalog, folder: Path) -> None:
    """Take it over into a store that nobody else holds."""
    remove_leftovers(store)
    report = CopyReport()
    commits = Committer(store, lambda _name: None)
    try:
        for _ in _taking(store, catalog, commits, folder, report):
            pass
    finally:
        commits.close()
    if error := _left(report):
        raise StoreError(error)


def _taking(
    store: StoreFolder,
    catalog: Catalog,
    commits: Committer,
    folder: Path,
    report: CopyReport,
    alone: Alone = lambda those: contextlib.nullcontext(list(those)),
) -> Iterator[int]:
    """Take over what was made in a folder, a batch at a time."""
    ids = [at.stem for at in record_paths(folder)]
    yield from steps(folder, store, commits, catalog, ids, report, BATCH_BYTES, alone)
    for device, spool_id, path in between_paths(folder):
        catalog.between(device, spool_id, keep_between(store, device, spool_id, read_between(path)))
    for path in sorted((folder / COMMITS / "discarded").glob("*/*.jsonl")):
        at = COMMITS / "discarded" / path.parent.name / path.name
        durable.make_folder(at.parent, dir_fd=store.fd)
        durable.publish(at, path.read_bytes(), STAGING, dir_fd=store.fd)
        catalog.discard(path.parent.name, path.stem, read_discards(path))


def _left(report: CopyReport) -> str:
    """What to say of what was left; nothing where nothing was."""
    return f"{len(report.left)} episodes were not taken over, of which the first: {report.left[0]}" if report.left else ""


def _is_held(folder: Path) -> bool:
    """Whether somebody makes it, or waits for what becomes of it; where there are no locks it is taken to be so."""
    try:
        fd = durable.open_folder(folder)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        durable.close(fd)
    return False


def _remove_made(folder: Path) -> None:
    """Remove what was made, unless somebody is at that already."""
    with contextlib.suppress(FileNotFoundError):
        durable.remove_tree(folder)


def _taken(folder: Path) -> TakingAnswer | None:
    """The answer, if it is there."""
    try:
        return msgspec.json.decode(folder.with_suffix(ANSWER).read_bytes(), type=TakingAnswer)
    except FileNotFoundError:
        return None
