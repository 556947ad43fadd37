"""An import beside an ingest: it is made in a store of its own, and the ingest that holds the store takes that over.

    STORE/requests/ID.making/    it is being made, by who holds a lock on the folder; or was, and is removed
    STORE/requests/ID.import/    it is made, and is to be taken over, whoever waits for that
    STORE/requests/ID.import/said      of which recording it is, for an import of the same again
    STORE/requests/ID.import/answer    it was taken over; the folder goes once that is read, or nobody is there to

The ingest does it in turns, between all else. What was cut off is gone on with by whoever holds the store next.
"""

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import uuid_utils

from sensorium.corpus.catalog import Catalog
from sensorium.corpus.commits import commit_names
from sensorium.episode import durable
from sensorium.episode.locking import new_locked_folder, take_lock
from sensorium.errors import SensoriumError, StoreError
from sensorium.ingest.beneath import open_folder_beneath, read_beneath, removing
from sensorium.ingest.both_forms import remove_leftovers
from sensorium.ingest.commit import Committer
from sensorium.ingest.deleting import finish
from sensorium.ingest.packing import Alone
from sensorium.ingest.requests import LOOK_S
from sensorium.ingest.store_folder import COMMITS, EPISODES_FOLDER, REQUESTS, StoreFolder, StoreHeld, store_errors
from sensorium.ingest.taking_over import TURN_S, TakenOver, taking_over

log = logging.getLogger(__name__)

MAKING, MADE, ANSWERED, SAID = ".making", ".import", "answer", "said"
MAX_SAID_BYTES = 1 << 20
IDLE_S = 0.25
"""So often it is looked for what is to be taken over."""
AGAIN_S = 10.0
"""After trouble with the disk it is tried again so late."""


class ImportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How many episodes were taken over, and what was left, with why."""

    episodes: int
    left: tuple[str, ...] = ()


class HandedOver(msgspec.Struct, frozen=True, kw_only=True):
    """Of which recording it is, how many episodes that has, and by which error it ended."""

    recording: str
    episodes: int
    error: str = ""


class SideStore:
    """A folder under `STORE/requests` for a store to be made in, and then to be handed over; see `made_beside`.

    `before` is what was handed over in it by who was ended, of the same `recording`.
    """

    def __init__(self, path: Path, recording: str = "") -> None:
        self._path, self._recording = path, recording
        self._answered = self._here = False
        self._first = durable.look(path / REQUESTS) is None
        self.before: HandedOver | None = None
        if recording and not self._first and (left := _left(path, recording)):
            self.folder, self._lock, self.before = left
        else:
            self.folder, self._lock = new_locked_folder(
                lambda: path / REQUESTS / f"{uuid.UUID(bytes=uuid_utils.uuid7().bytes)}{MAKING}"
            )
        self._handed = self.before is not None

    def hand_over(
        self,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        sleep: Callable[[float], None] = time.sleep,
        error: str = "",
    ) -> bool:
        """Have the ingest that holds the store take over what was made, and wait for it; whether it did: where it ends
        meanwhile that is done here. `progress(done, total)` counts episodes; `error` is how the recording ended.

        Raises:
            StoreError: not all could be taken over: the message says what is left.
        """
        with store_errors(self._path):
            if not self._handed:
                self._hand(error)
            total = _count(self.folder)
            while (answer := self._answer()) is None:
                progress(total - _count(self.folder), total)
                with contextlib.suppress(StoreHeld):
                    finish(self._path, self._take_over)
                    continue
                sleep(LOOK_S)
        self._answered = True
        progress(total, total)
        if answer.left:
            more = f", and {len(answer.left) - 1} more" if len(answer.left) > 1 else ""
            raise StoreError(f"{len(answer.left)} of {total} episodes were not taken over: {answer.left[0]}{more}")
        return not self._here

    def count(self) -> int:
        """How many episodes are in it."""
        return _count(self.folder)

    def close(self) -> None:
        """Remove it, unless it is the ingest's by now."""
        try:
            if self._handed and not self._answered:
                log.warning("%s: what was imported is taken over all the same", self._path)
                return
            with store_errors(self._path):
                if self._handed:  # or the ingest would look at what is half removed
                    made, self.folder = self.folder, self.folder.with_suffix(MAKING)
                    durable.rename(made, self.folder)
                durable.remove_tree(self.folder)
                if self._first and not self._handed:
                    with contextlib.suppress(OSError):  # others may have asked for something meanwhile
                        (self._path / REQUESTS).rmdir()
        finally:
            durable.close(self._lock)

    def _hand(self, error: str) -> None:
        """From here on it is the ingest's; of the store that it was episodes and records are left."""
        for name in durable.names(self.folder):
            if name not in (str(EPISODES_FOLDER), str(COMMITS)):
                seen = durable.look(self.folder / name)
                (durable.remove_tree if seen is not None and seen.is_folder else durable.remove)(self.folder / name)
        if self._recording:
            said = HandedOver(recording=self._recording, episodes=_count(self.folder), error=error)
            durable.write_synced(self.folder / SAID, msgspec.json.encode(said))
        durable.sync_folder(self.folder)
        made = self.folder.with_suffix(MADE)
        durable.rename(self.folder, made)
        self.folder, self._handed = made, True
        durable.sync_folder(made.parent)

    def _take_over(self, store: StoreFolder, catalog: Catalog) -> None:
        """Do it here."""
        if self._answer() is not None:
            return
        remove_leftovers(store)
        commits, report, name = Committer(store, lambda _name: None), TakenOver(), REQUESTS / self.folder.name
        try:
            for _ in taking_over(store, commits, catalog, name, report):
                pass
        finally:
            commits.close()
        self._here = True
        _say(store, name, report)

    def _answer(self) -> ImportAnswer | None:
        at = self.folder / ANSWERED
        try:
            return msgspec.json.decode(at.read_bytes(), type=ImportAnswer)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise StoreError(f"{at}: no answer: {error}; `sensorium query` says what is in the store") from error


@contextlib.contextmanager
def made_beside(path: Path, recording: str = "") -> Iterator[SideStore]:
    """A place to make a store in that the ingest which holds the store at `path` is to take over. At the end it goes,
    unless it was handed over and is not yet taken. What was handed over of the same `recording`, and waits, though who
    made it is no more, is `before` in it, and there is nothing to make.

    Raises:
        StoreError: the disk fails.
    """
    with store_errors(path):
        side = SideStore(path, recording)
    try:
        yield side
    finally:
        side.close()


class ImportJobs:
    """What was made beside an ingest, taken over by it one after the other, and what was left of that, removed; one
    thread at a time calls it."""

    def __init__(
        self,
        store: StoreFolder,
        catalog: Catalog,
        commits: Committer,
        alone: Alone,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._catalog, self._commits, self._alone, self._clock = store, catalog, commits, alone, clock
        self._going: Iterator[None] | None = None
        self._look_s = 0.0

    def step(self) -> None:
        """Do a turn of what there is to do. What the disk refuses is tried again."""
        if self._going is None:
            if self._clock() < self._look_s:
                return
            self._going = self._turns()
        try:
            with store_errors(self._store.path):
                next(self._going)
        except StopIteration:
            self._going, self._look_s = None, self._clock() + IDLE_S
        except SensoriumError as error:
            self._going, self._look_s = None, self._clock() + AGAIN_S
            log.warning("%s; what was imported is taken over when that is over", error)

    def _turns(self) -> Iterator[None]:
        """All that there is, in turns."""
        if durable.look(REQUESTS, dir_fd=self._store.fd) is None:
            return
        for name in durable.names(REQUESTS, dir_fd=self._store.fd):
            if name.endswith((MAKING, MADE)):
                folder = REQUESTS / name
                if name.endswith(MADE) and durable.look(folder / ANSWERED, dir_fd=self._store.fd) is None:
                    yield from self._take_over(folder)
                yield from self._remove(folder)

    def _take_over(self, folder: Path) -> Iterator[None]:
        report = TakenOver()
        try:
            yield from taking_over(self._store, self._commits, self._catalog, folder, report, self._alone, self._clock)
        except (FileNotFoundError, NotADirectoryError):  # gone meanwhile; or a file, or a link that somebody laid there
            return
        _say(self._store, folder, report)
        if report.episodes:
            log.warning("%s: imported episodes are taken over: %d", self._store.path, report.episodes)
        for left in report.left:
            log.warning("not taken over: %s", left)

    def _remove(self, folder: Path) -> Iterator[None]:
        """Remove it, if nobody is at it any more."""
        try:
            lock = open_folder_beneath(self._store.fd, str(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            if not take_lock(lock):
                return
            end_s = self._clock() + TURN_S
            for _ in removing(folder, self._store.fd):
                if self._clock() >= end_s:
                    yield
                    end_s = self._clock() + TURN_S
        finally:
            durable.close(lock)


def _say(store: StoreFolder, folder: Path, report: TakenOver) -> None:
    """Say what became of it to who waits."""
    answer = ImportAnswer(episodes=report.episodes, left=tuple(str(each) for each in report.left))
    data = msgspec.json.encode(answer)
    durable.replace(folder / ANSWERED, folder / f"{ANSWERED}.new", [[data]], dir_fd=store.fd)


def _left(path: Path, recording: str) -> tuple[Path, int, HandedOver] | None:
    """A folder that was handed over of a recording by who is no more, the lock on it, and what it says."""
    above = durable.open_folder(path / REQUESTS)
    try:
        for name in durable.names(Path(), dir_fd=above):
            if not name.endswith(MADE):
                continue
            try:
                lock = open_folder_beneath(above, name)
            except OSError:  # it is gone, or none of ours: a file, a link
                continue
            if (said := _said(lock)) and said.recording == recording and take_lock(lock):
                seen = durable.look(name, dir_fd=above)
                if seen is not None and seen.id == durable.identity(lock):
                    return path / REQUESTS / name, lock, said
            durable.close(lock)
    finally:
        durable.close(above)
    return None


def _said(fd: int) -> HandedOver | None:
    try:
        return msgspec.json.decode(read_beneath(fd, SAID, MAX_SAID_BYTES), type=HandedOver)
    except (OSError, msgspec.DecodeError):
        return None


def _count(folder: Path) -> int:
    """How many episodes wait there."""
    return sum(len(names) for _, names in commit_names(folder).by_month)
