"""Taking up a run: what lies behind its last sealed end is recorded anew, so what is there of it goes first."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

from sensorium.agents.spool.held import Held
from sensorium.agents.spool.ledger import Ledger
from sensorium.agents.spool.pending import Pending
from sensorium.agents.spool.runs import Position, Run
from sensorium.episode.account import Place, Tally
from sensorium.episode.device_account import DeviceAccount
from sensorium.episode.documents import Account
from sensorium.episode.run_counts import RunCounts

log = logging.getLogger(__name__)

REDONE = "recorded anew: the replay that was cut off is taken up"


class Runs:
    """The runs of replays whose episodes are in this spool. `lock` is the spool's, `delete` deletes a file there."""

    def __init__(
        self,
        ledger: Ledger,
        account: DeviceAccount,
        pending: Pending,
        delete: Callable[[Held], None],
        lock: AbstractContextManager[object],
    ) -> None:
        self._ledger = ledger
        self._account = account
        self._pending = pending
        self._delete = delete
        self._lock = lock

    def take_up(self, run: str, again: str = "") -> Run:
        """What is known of a run, which begins now, or goes on where it was unless it is finished.

        Its episodes that were not sealed are given up: they are recorded anew, and their samples, which are read again,
        are counted then. A word in `again` begins it from its beginning, once.
        """
        with self._lock:
            found = self._ledger.runs.get(run)
            if found is None or (again and found.again != again):
                if found is None:
                    _tell_news(run, self._ledger.runs.all())
                found = Run(run=run, again=again)
                self._ledger.runs.start(found)
            if found.finished:
                return found
            before: Place = {} if found.position is None else _place(found.position.counted)
            redone = [episode for episode in self._ledger.runs.unsealed(run) if self._pending.get(episode) is not None]
            with self._account.changing() as between:
                known = between.run is not None
                for episode in redone:
                    between.give_up({}, self._ledger.manifest(episode).between)
                between.go_back(_place(found.counted), before)
                between.run = RunCounts(run, before)
                self._ledger.redone(redone, REDONE, between)
            for episode in redone:
                self._delete(self._pending.remove(episode))
        if not known and (found.position is not None or redone):
            log.warning("a replay that was ended early is taken up; %d episodes of it are recorded anew", len(redone))
        return found

    def go_back(self, run: str, again: str = "") -> None:
        """Do what `take_up` does, of a run that was begun before; of no other is anything known yet."""
        if run and self._ledger.runs.get(run) is not None:
            self.take_up(run, again)

    def reaches(self, episode: UUID, position: Position) -> None:
        """Once the file of a growing episode is sealed and on disk, the run that it is of has come so far."""
        with self._lock:
            self._pending[episode].position = position

    def end(self, run: str, *, finished: bool) -> None:
        """It ends as it should; `finished` if its sources have ended, and all its episodes are sealed."""
        self._ledger.runs.end(run, finished=finished and not self._ledger.unbegun)


def _tell_news(run: str, others: list[str]) -> None:
    """Say what is other than before, of a run that is nearly one of those that this spool has seen."""
    source, _, configuration = run.partition("-")
    if any(other.startswith(f"{source}-") for other in others):
        log.warning("this was collected before, with other sensors, filters or another trigger: now anew, as these say")
    elif any(other.endswith(f"-{configuration}") for other in others):
        log.warning("what is played is not what was before, by size, mtime or content: it is collected whole")


def _place(said: dict[str, Account]) -> Place:
    return {stream: Tally.of(account) for stream, account in said.items()}
