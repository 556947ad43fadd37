"""Group commit: one thread that syncs all growing files at the earlier of 8 MB and 100 ms."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from sensorium.agents.spool.episode_file import SYNC_BYTES, EpisodeFile
from sensorium.agents.spool.owed import Owed
from sensorium.errors import SpoolError
from sensorium.threads import Thread, Told

log = logging.getLogger(__name__)

INTERVAL_S = 0.1
SHARED_S = 0.01
"""So long what was sealed waits, if the disk was busy a moment ago, for others to be synced with."""
RETRY_S = 1.0
LAST_TRY_S = 1.0
"""How long a disk in trouble is tried again at the end: what is not on disk then is only as good as after a crash."""


class GroupCommit:
    """Syncs what `growing()` lists, and calls `synced` with the files of which more became sendable.

    A disk in trouble is tried again for ever, and so is what is `owed`; `beat` is called ten times a second, but for
    the time that a sync takes. Should the thread die, `died` is told: nothing
    more becomes sendable.
    """

    def __init__(
        self,
        growing: Callable[[], Sequence[EpisodeFile]],
        synced: Callable[[Sequence[EpisodeFile]], None],
        owed: Owed,
        beat: Callable[[], None],
        died: Told,
    ) -> None:
        self._growing = growing
        self._synced = synced
        self._owed = owed
        self._beat = beat
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
        for file in files:
            is_due = file.sealed or file.written - file.sendable >= (1 if every else SYNC_BYTES)
            if is_due and not file.is_early:
                try:
                    file.sync()
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
