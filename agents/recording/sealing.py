"""Sealing: an open episode ends; what is missing in it is said, its notes are written, and its file is closed."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from uuid import UUID

from sensorium.agents.recording.episode_writer import EpisodeWriter
from sensorium.agents.recording.full_spool import FullSpool
from sensorium.agents.recording.notes import Notes
from sensorium.agents.recording.placing import Placing
from sensorium.agents.recording.portion import Portion
from sensorium.agents.recording.stream_state import BEFORE_ALL, StreamState
from sensorium.agents.spool.spool import Spool
from sensorium.episode.account import Place, Tally, merge, withdraw
from sensorium.episode.documents import Reason
from sensorium.errors import SpoolError
from sensorium.threads import reason as why

log = logging.getLogger(__name__)

GIVEN_UP = "agent"
"""The cause of loss of a sample that the agent took and could bring nowhere."""


class Sealing:
    """Ends the open `episodes` of a recorder, whose `streams` it looks at."""

    def __init__(
        self,
        spool: Spool,
        episodes: Placing,
        streams: Mapping[str, StreamState],
        notes: Notes,
        full: FullSpool,
        portion: Portion,
    ) -> None:
        self._spool = spool
        self._episodes = episodes
        self._streams = streams
        self._notes = notes
        self._full = full
        self._portion = portion
        self.sealed: list[UUID] = []

    def seal(self, episode: EpisodeWriter, reason: Reason) -> None:
        """End one. Where there is no room for its SEAL it stays open, and the reserve is released for the next try."""
        if reason != "complete":
            episode.cut()
        for name, state in self._streams.items():
            state.absence.count_in(episode, episode.end_ns)
            if state.failed and state.epoch == episode.epoch and episode.start_ns <= state.passed_ns < episode.end_ns:
                rest_ns = (state.passed_ns + 1, max(episode.end_ns, state.passed_ns + 1))
                if name in episode.place:
                    episode.place[name].add(Tally(estimated=True, lost_interval_ns=rest_ns))
                reason = "truncated" if reason == "complete" else reason
        self._notes.seal(episode)
        try:
            if episode.span.discard:
                self._spool.discard(episode.id, "discarded by hand")
            else:
                self._portion.seals(episode)
                episode.seal(reason)
                self._spool.account.sealed(episode.id)
                self.sealed.append(episode.id)
        except SpoolError as error:
            self._full.failed(error, self._episodes)
            return
        self._episodes.sealed(episode)

    def seal_all(self, reason: Reason) -> None:
        """End what is open now; `reason` is for those that some stream has not passed."""
        for episode in self._episodes.in_order():
            here = [state for name, state in self._streams.items() if name in episode.place]
            whole = all(state.passed(episode.epoch, episode.end_ns) for state in here)
            self.seal(episode, "complete" if whole else reason)

    def end_absences(self, now_ns: int) -> None:
        """Nothing more comes, and no episode is open: what streams missed up to `now_ns`, or any stamp, is in none."""
        for state in self._streams.values():
            state.absence.stop(max(now_ns, self._last_ns(state.epoch)))

    def give_up(self) -> None:
        """The run cannot go on: write what open episodes hold, and end them. All else that is held is lost: in the
        newest of them, if that can be sealed, else between.

        Whatever failed may fail again here, so that no step keeps the others from theirs.
        """
        account = self._spool.account
        for episode in self._episodes:
            _try(episode.write, "write what an episode holds")
            episode.lose_held(GIVEN_UP)
        held: Place = {}
        for stream, n in account.held().items():
            held[stream] = Tally()
            held[stream].count(GIVEN_UP, n)
        newest = max(self._episodes, key=lambda episode: (episode.epoch, episode.start_ns), default=None)
        told = {stream: tally for stream, tally in held.items() if newest is not None and stream in newest.place}
        if newest is not None:
            merge(newest.place, told)
        for episode in [*self._episodes, *self._episodes]:  # the second time its SEAL has the reserve's room
            if episode in list(self._episodes):
                _try(partial(self.seal, episode, "truncated"), "seal an episode")
        if newest is not None and newest in list(self._episodes):
            withdraw(newest.place, told)
            told = {}
        for stream, tally in held.items():
            if stream not in told:
                account.between(stream, tally)

    def _last_ns(self, epoch: int) -> int:
        """The last stamp of any stream."""
        return max((state.passed_ns for state in self._streams.values() if state.epoch == epoch), default=BEFORE_ALL)


def _try(step: Callable[[], object], what: str) -> None:
    try:
        step()
    except Exception as error:
        log.error("the agent gives up, and could not %s: %s", what, why(error))
