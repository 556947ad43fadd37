"""Notes of sources: each goes into the episode whose interval holds its start, or is dropped and counted."""

import logging
from collections.abc import Callable
from typing import Any

from sensorium.agents.recording.episode_writer import EpisodeWriter
from sensorium.agents.recording.placing import Placing
from sensorium.agents.recording.states import States
from sensorium.agents.triggers.trigger import Placement
from sensorium.drivers.controls import CONTROL
from sensorium.drivers.marks import STATE, SourceNote
from sensorium.errors import SpoolError

log = logging.getLogger(__name__)

MAX_WAITING = 1024
MAX_WAITING_BYTES = 1 << 20


class Notes:
    """Those that wait for samples of their time; `dropped` counts those that are in no episode.

    Args:
        episodes: Those that are open.
        place: Where the trigger puts a stamp.
        failed: Who is told that a file could not take one.
    """

    def __init__(
        self, episodes: Placing, place: Callable[[int], Placement], failed: Callable[[SpoolError], object]
    ) -> None:
        self._episodes = episodes
        self.place = place
        self._failed = failed
        self._waiting: list[tuple[int, SourceNote]] = []
        self._waiting_bytes = 0
        self._states = States()
        self.dropped = 0

    def put(self, epoch: int, note: SourceNote) -> None:
        """A source says something of a moment of this epoch."""
        if note.kind == STATE:
            self._states.put(epoch, note)
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + note.nbytes > MAX_WAITING_BYTES:
            self._drop(note, "too many wait for samples of their time")
            return
        self._waiting.append((epoch, note))
        self._waiting_bytes += note.nbytes

    def cause(
        self,
        epoch: int,
        proposal: str,
        at_ns: int,
        until_ns: int | None = None,
        value: Any = None,
        *,
        on_the_way: bool = False,
    ) -> None:
        """From a stamp on (to another) episodes come to be by a proposal, if only of the way to where it leads, and
        each is told `value` of it; none is by it and by another. Empty: by none any more."""
        from_ns = self._episodes.cause(epoch, at_ns, proposal, on_the_way)
        self._states.put(epoch, SourceNote(CONTROL, proposal, value, start_ns=from_ns))
        if until_ns is not None and until_ns > from_ns:
            until_ns = self._episodes.cause(epoch, until_ns, "")
            self._states.put(epoch, SourceNote(CONTROL, "", start_ns=until_ns))

    def settle(self, epoch: int) -> None:
        """Write those whose episode has samples behind them, so that it cannot be cut before them any more; drop those
        that none can hold. `epoch` is the present one."""
        for episode in self._episodes:
            self._tell(episode, episode.last_ns + 1)
            if episode.last_ns >= episode.start_ns:
                self._begin(episode)
        if not self._waiting:
            return
        for episode in self._episodes:
            self._write(episode, episode.last_ns + 1)
        for note in self._take(lambda of, at_ns: self._is_homeless(of, at_ns, epoch)):
            self._drop(note, "it is in no episode")

    def seal(self, episode: EpisodeWriter) -> None:
        """Write what an episode holds besides, whose end is known, and what its trigger says of it."""
        self._begin(episode)
        self._states.forget(episode.id)
        self._write(episode, episode.end_ns)
        self._tell(episode, episode.end_ns)

    def go_on_from(self, before: "Notes") -> None:
        """How things are is as it was said before these began."""
        self._states = before._states

    def stop(self) -> None:
        """No episode begins any more."""
        for note in self._take(lambda *_: True):
            self._drop(note, "it is in no episode")

    def _begin(self, episode: EpisodeWriter) -> None:
        """Write how things are at its start."""
        for note in self._states.at_start(episode.id, episode.epoch, episode.start_ns, episode.place):
            self._keep(episode, note)

    def _tell(self, episode: EpisodeWriter, until_ns: int) -> None:
        """Write what its trigger says of moments before that, early: a kill leaves an episode with what it says."""
        notes = episode.span.notes
        end_ns = min(until_ns, episode.end_ns)
        if not notes or notes[0].start_ns >= end_ns:
            return
        for note in [note for note in notes if episode.start_ns <= note.start_ns < end_ns]:
            notes.remove(note)
            self._keep(episode, note)

    def _write(self, episode: EpisodeWriter, until_ns: int) -> None:
        end_ns = min(until_ns, episode.end_ns)
        for note in self._take(lambda of, at_ns: of == episode.epoch and episode.start_ns <= at_ns < end_ns):
            if note.stream and note.stream not in episode.place:
                self._drop(note, "its stream is in none of its time")
            else:
                self._keep(episode, note)

    def _keep(self, episode: EpisodeWriter, note: SourceNote) -> None:
        try:
            if not episode.note(note):
                self._drop(note, "there are too many in its episode")
        except SpoolError as error:
            self._drop(note, "there is no room")
            self._failed(error)

    def _is_homeless(self, epoch: int, at_ns: int, present: int) -> bool:
        """Whether no episode holds a stamp, nor will one."""
        if self._episodes.at(epoch, at_ns) is not None:
            return False
        if epoch < present:
            return True
        placed = self.place(at_ns)
        return placed.decided and self._episodes.is_over(epoch, at_ns, placed.until_ns)

    def _drop(self, note: SourceNote, why: str) -> None:
        if note.kind == STATE:
            return  # the next episode is told
        self.dropped += 1
        log.warning("note %r (%s) at %d ns is dropped: %s", note.name, note.kind, note.start_ns, why)

    def _take(self, is_wanted: Callable[[int, int], bool]) -> list[SourceNote]:
        taken: list[SourceNote] = []
        left: list[tuple[int, SourceNote]] = []
        for epoch, note in self._waiting:
            if is_wanted(epoch, note.start_ns):
                taken.append(note)
            else:
                left.append((epoch, note))
        self._waiting = left
        self._waiting_bytes -= sum(note.nbytes for note in taken)
        return taken
