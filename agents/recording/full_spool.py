"""The full spool: what it has no room for is handed back, and what is open is cut, so that it can be sealed."""

import logging
import time
from collections.abc import Callable, Iterable, Sized

from sensorium.agents.recording.episode_writer import EpisodeWriter
from sensorium.agents.spool.room import RESERVE_BYTES
from sensorium.agents.spool.spool import Spool
from sensorium.errors import SpoolError, SpoolFull

log = logging.getLogger(__name__)

MARGIN_BYTES = 1 << 16
"""For the headers of what is written meanwhile."""
PLENTY_BYTES, PLENTY_S = 64 << 20, 0.05
"""Where there is room for so much more than is held, the next of it are taken unasked, for so long: of small blocks
there are thousands a second, and to ask looks at all that is open."""
LAST_PAUSES_S = (0.1,) * 20


class FullSpool:
    """Knows whether capture may go on. `reason` says why not; empty while there is room."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.reason = ""
        self._refused_bytes = 0
        self._kept = True
        self._plenty_bytes, self._plenty_until_s = 0, 0.0

    def has_plenty(self, most_bytes: int) -> bool:
        """Whether so much fits for sure; if not it is to be asked for: `takes`."""
        self._plenty_bytes -= most_bytes
        return self._plenty_bytes > 0 and time.monotonic() < self._plenty_until_s

    def takes(self, size: int, held_bytes: int, episodes: Iterable[EpisodeWriter]) -> bool:
        """Whether `size` bytes fit beside `held_bytes` and what `episodes` hold; if not, the newest of them is cut."""
        held_bytes += sum(episode.held_bytes for episode in episodes)
        # What is smaller waits until the refused block fits: a stream that overtook another would make that late.
        needed = max(size, self._refused_bytes)
        try:
            self._spool.require(needed + held_bytes + MARGIN_BYTES)
        except SpoolFull as error:
            self._refused_bytes = needed
            if not self.reason:
                self._stop(error)
                # The earlier ones still get what slower streams have for them.
                newest = max(episodes, key=lambda e: (e.epoch, e.start_ns), default=None)
                if newest is not None:
                    newest.cut()
            return False
        if self.reason and not self._works():
            return False
        if self.reason:
            log.warning("capture goes on: the spool has room again")
            self.reason, self._refused_bytes = "", 0
            self._spool.room.restore_reserve()
        if (now_s := time.monotonic()) >= self._plenty_until_s:
            more_bytes = needed + held_bytes + MARGIN_BYTES + PLENTY_BYTES
            lacks = self._spool.room.lacks(self._spool.used_bytes(), more_bytes)
            self._plenty_bytes, self._plenty_until_s = 0 if lacks else PLENTY_BYTES, now_s + PLENTY_S
        return True

    def failed(self, error: SpoolError, episodes: Iterable[EpisodeWriter]) -> None:
        """The file system itself has no room: what is open is ended with the help of the reserve."""
        self._stop(error)
        self._refused_bytes = max(self._refused_bytes, 2 * RESERVE_BYTES)
        self._spool.room.release_reserve()
        for episode in episodes:
            episode.cut()

    def persist(self, episodes: Iterable[EpisodeWriter]) -> None:
        """Make durable what became of samples in no episode; where the disk will not have it, that is owed."""
        try:
            self._spool.persist()
            self._kept = True
        except SpoolFull as error:
            self.failed(error, episodes)
        except SpoolError as error:
            if self._kept:
                log.error("samples in no episode are not noted yet: %s", error)
            self._kept = False

    def insist(self, seal: Callable[[], object], open_episodes: Sized) -> None:
        """Seal at the end what is open. A disk in trouble is tried again, for a while: what stays unsealed is only as
        good as after a crash. Then `reason` is what it is at the end."""
        for pause_s in (0.0, *LAST_PAUSES_S):
            seal()
            if not open_episodes:
                break
            time.sleep(pause_s)
        if self.reason:
            self.takes(0, 0, ())

    def _works(self) -> bool:
        try:
            self._spool.try_disk()
        except SpoolError as error:
            self.reason = str(error)
            return False
        return True

    def _stop(self, error: SpoolError) -> None:
        if not self.reason:
            log.warning("capture stops: %s", error)
        self.reason, self._plenty_bytes = str(error), 0
