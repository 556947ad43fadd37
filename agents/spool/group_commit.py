"""Group commit: one thread that syncs all growing files at the earlier of 8 MB and 100 ms."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from sensorium.agents.spool.episode_file import EpisodeFile
from sensorium.agents.spool.owed import Owed
from sensorium.errors import SpoolError
from sensorium.threads import Thread, Told

log = logging.getLogger(__name__)

INTERVAL_S = 0.1
RETRY_S = 1.0
LAST_TRY_S = 1.0
"""How long a disk in trouble is tried again at the end: what is not on disk then is only as good as after a crash."""


class GroupCommit:
    """Syncs what `growing()` lists, and calls `synced` for each file of which more became sendable.

    A disk in trouble is tried again for ever, and so is what is `owed`; `beat` is called ten times a second, but for
    the time that a sync takes. Should the thread die, `died` is told: nothing
    more becomes sendable.
    """

    def __init__(
        self,
        growing: Callable[[], Sequence[EpisodeFile]],
        synced: Callable[[EpisodeFile], None],
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

    def flush(self) -> bool:
        """Sync everything in the caller's thread; False if the disk failed for a file."""
        failures = []
        for file in self._growing():
            if file.sendable < file.written or file.sealed:
                try:
                    file.sync()
                    self._synced(file)
                except (SpoolError, OSError) as error:
                    failures.append(str(error))
        said, self._said = self._said, "; ".join(failures)
        if failures and self._said != said:
            log.error("spool: %s", self._said)
        return not failures

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
        again_s = 0.0
        while not self._stop.is_set():
            self._due.wait(INTERVAL_S)
            self._due.clear()
            self._beat()
            if not self.flush():
                self._stop.wait(RETRY_S)
            if self._owed and time.monotonic() >= again_s:
                self._owed.again()
                again_s = time.monotonic() + RETRY_S
