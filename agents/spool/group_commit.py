"""Group commit: one thread that syncs all growing files at the earlier of 8 MB and 100 ms."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from sensorium.agents.spool.episode_file import SYNC_BYTES, EpisodeFile, Written
from sensorium.agents.spool.folder import Folder
from sensorium.agents.spool.owed import Owed
from sensorium.episode.sync_times import SyncTimes
from sensorium.errors import SpoolError
from sensorium.threads import Thread, Told

log = logging.getLogger(__name__)

INTERVAL_S = 0.1
SHARED_S = 0.01
"""So long what was sealed waits, if the disk was busy a moment ago, for others to be synced with."""
AT_ONCE = 8
"""So many files that are due are put on disk by one sync of their file system, where that means the same: for each of
its own the disk would empty its memory once."""
RETRY_S = 1.0
LAST_TRY_S = 1.0
"""How long a disk in trouble is tried again at the end: what is not on disk then is only as good as after a crash."""


class GroupCommit:
    """Syncs what `growing()` lists, and calls `synced` with the files of which more became sendable.

    A disk in trouble is tried again for ever, and so is what is `owed`. Ten times a second, but for the time a sync
    takes, the `folder` hears that its owner lives. What each round of syncs takes goes to `times`. Should the thread
    die, `died` is told: nothing more becomes sendable.
    """

    def __init__(
        self,
        growing: Callable[[], Sequence[EpisodeFile]],
        synced: Callable[[Sequence[EpisodeFile]], None],
        owed: Owed,
        folder: Folder,
        died: Told,
        times: SyncTimes,
    ) -> None:
        self._times = times
        self._growing = growing
        self._synced = synced
        self._owed = owed
        self._beat, self._sync_all = folder.beat, folder.sync_all
        self._asking = threading.Lock()
        self._doubted: Sequence[EpisodeFile] = ()
        self._said = ""
        self._due = threading.Event()
        self._stop = threading.Event()
        self._thread = Thread("spool-sync", "puts the spool on disk", self._run, died)

    def due(self) -> None:
        """Sync now instead of at the next tick."""
        self._due.set()

    def flush(self, *, every: bool = True) -> bool:
        """Sync everything in the caller's thread, or but what is due before the tick: what is sealed, and 8 MB; False
        if the disk failed for a file."""
        failures: list[str] = []
        synced: list[EpisodeFile] = []
        files = self._growing()
        for file in files:
            try:
                file.put_down()
            except (SpoolError, OSError) as error:
                failures.append(str(error))
        due = [file for file in files if not file.is_early and _is_due(file, 1 if every else SYNC_BYTES)]
        with self._times.taken() if due else contextlib.nullcontext():
            extents = self._synced_at_once(due)
            for number, file in enumerate(due):
                try:
                    file.sync(extents[number] if extents else None)
                    synced.append(file)
                except (SpoolError, OSError) as error:
                    failures.append(str(error))
        if synced:
            try:
                self._synced(synced)
            except (SpoolError, OSError) as error:
                failures.append(str(error))
        said, self._said = self._said, "; ".join(dict.fromkeys(failures))
        if failures and self._said != said:
            log.error("spool: %s", self._said)
        return not failures

    def _synced_at_once(self, due: Sequence[EpisodeFile]) -> list[Written]:
        """How far these had come before one sync put all of them on disk; nothing if each is to be asked for itself.

        What failed is said once, and not of what: until all that grew then is closed each is asked for itself.
        """
        if len(due) < AT_ONCE:
            return []
        with self._asking:
            if not all(file.closed for file in self._doubted):
                return []
            self._doubted = ()
            extents = [file.extent for file in due]
            try:
                return extents if self._sync_all() else []
            except OSError:
                self._doubted = self._growing()
                return []

    def relieve(self, most: int) -> None:
        """Sync everything in the caller's thread. While `most` wait for the disk alone, one is tried for all of them.

        Raises:
            SpoolFull, SpoolError: the disk does not take that one.
        """
        waiting = [file for file in self._growing() if file.sealed or file.is_early]
        if len(waiting) >= most:
            max(waiting, key=lambda file: file.is_early).sync()
        self.flush()

    def stop(self) -> bool:
        """End the thread, then sync what is left; False if the thread hangs, and with it the files that it holds."""
        self._stop.set()
        self._due.set()
        if not self._thread.join():
            return False
        deadline_s = time.monotonic() + LAST_TRY_S
        while not (self.flush() & self._owed.again()) and time.monotonic() < deadline_s:
            time.sleep(INTERVAL_S)
        return True

    def _run(self) -> None:
        again_s, done_s, tick_s = 0.0, 0.0, time.monotonic() + INTERVAL_S
        while not self._stop.is_set():
            self._due.wait(min(INTERVAL_S, max(0.0, tick_s - time.monotonic())))
            self._stop.wait(done_s + SHARED_S - time.monotonic())
            self._due.clear()
            is_tick = (now_s := time.monotonic()) >= tick_s
            if is_tick:
                tick_s = now_s + INTERVAL_S
                self._beat()
            if not self.flush(every=is_tick):
                self._stop.wait(RETRY_S)
            done_s = time.monotonic()
            if self._owed and time.monotonic() >= again_s:
                self._owed.again()
                again_s = time.monotonic() + RETRY_S


def _is_due(file: EpisodeFile, bytes_due: int) -> bool:
    return file.sealed or file.written - file.sendable >= bytes_due
