"""What a store that is open does beside commits: what others ask of it, and deletions whose grace is over."""

import logging
import threading
import time
from collections.abc import Mapping

from sensorium.corpus.catalog import Catalog
from sensorium.corpus.deletions import certificates, tombstones
from sensorium.episode.utc_text import utc_text
from sensorium.errors import Corrupt, StoreError
from sensorium.ingest.commit import Committer
from sensorium.ingest.deleting import remove_due
from sensorium.ingest.import_requests import ImportJobs
from sensorium.ingest.pack_requests import PackJobs
from sensorium.ingest.packing import Alone
from sensorium.ingest.requests import asked_for, carry_out, drop_untaken
from sensorium.ingest.store_folder import StoreFolder, store_errors

log = logging.getLogger(__name__)

AGAIN_S = 10.0
"""What is due and could not be done, as it is on hold or a reader was in the way, is tried again so late."""


class Due:
    """One thread at a time calls it. `removals` grows when episodes may have gone: who keeps something made of episodes
    in memory makes it anew then, and who saves it does so under `guard`, or it would be there again behind a removal.
    `alone` keeps commits from episodes that are packed, or taken over. `deleted` has the month of each tombstone, by
    episode, as it is at the start."""

    def __init__(
        self, store: StoreFolder, catalog: Catalog, commits: Committer, alone: Alone, deleted: Mapping[str, str]
    ) -> None:
        self._store, self._catalog, self._alone = store, catalog, alone
        self._imports = ImportJobs(store, catalog, commits, alone)
        self._packs = PackJobs(store, catalog, alone)
        self.removals = 0
        self.guard = threading.Lock()
        self._first_utc, self._look_s, self._drop_s = "", 0.0, 0.0
        self._remove(deleted)

    def step(self) -> None:
        """Do what is asked, and what is due by now."""
        if asked_for(self._store):
            with self.guard:
                carry_out(self._store, self._catalog, self._alone)
                self.removals += 1
            self._first_utc = self._first()
        if self._first_utc and time.monotonic() >= self._look_s and self._first_utc <= (utc_text(time.time_ns()) or ""):
            self._look_s = time.monotonic() + AGAIN_S
            self._remove()
        if time.monotonic() >= self._drop_s:
            self._drop_s = time.monotonic() + AGAIN_S
            drop_untaken(self._store.path)
        self._imports.step()
        self._packs.step()

    def _remove(self, deleted: Mapping[str, str] | None = None) -> None:
        try:
            with self.guard, store_errors(self._store.path):
                if remove_due(self._store, self._catalog, deleted=deleted):
                    self.removals += 1
        except Corrupt as error:  # that is no reason to receive nothing
            log.error("deletions that are due wait: %s", error)
        except StoreError as error:
            log.warning("%s", error)
        self._first_utc = self._first(deleted)

    def _first(self, deleted: Mapping[str, str] | None = None) -> str:
        """When the first that waits is due, so that nothing is read until then; empty where none waits, or it cannot be
        said which do."""
        try:
            certified = {each.tombstone.episode for each in certificates(self._store.path)}
        except Corrupt:
            return ""
        waiting = (
            each.remove_after_utc for each in tombstones(self._store.path, deleted) if each.episode not in certified
        )
        return min(waiting, default="")
