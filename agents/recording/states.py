"""States: how sources said that things are, for the episodes that begin before they say otherwise."""

from collections import deque
from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from sensorium.drivers.controls import CONTROL
from sensorium.drivers.marks import SourceNote

KEPT = 16
"""So many of one name: an episode may begin before what was said last, as far as its pre-roll reaches."""


class States:
    """The last notes of the kind `STATE`, by stream and name, and which episodes were told of them; and that of the
    kind `CONTROL` that holds, of which there is one at a time, whatever its name."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], deque[tuple[int, SourceNote]]] = {}
        self._told: set[UUID] = set()

    def put(self, epoch: int, note: SourceNote) -> None:
        """From its start on, things are so; of one without a name, as if nothing had been said."""
        key = ("", "") if note.kind == CONTROL else (note.stream, note.name)
        said = self._said.setdefault(key, deque(maxlen=KEPT))
        while said and note.kind == CONTROL and said[-1][0] == epoch and said[-1][1].start_ns >= note.start_ns:
            said.pop()  # it was said ahead, and is not to be
        said.append((epoch, note))

    def at_start(self, episode: UUID, epoch: int, start_ns: int, streams: Collection[str]) -> list[SourceNote]:
        """How things were when an episode of some streams began, at its start; once."""
        if not self._said or episode in self._told:
            return []
        self._told.add(episode)
        found = []
        for (stream, _), said in self._said.items():
            # One that starts just then is told by itself, but of the kind `CONTROL`, of which no episode holds two.
            before = [note for of, note in said if (of, note.start_ns - (note.kind == CONTROL)) < (epoch, start_ns)]
            if before and before[-1].name and (not stream or stream in streams):
                found.append(replace(before[-1], start_ns=start_ns, end_ns=None))
        return found

    def forget(self, episode: UUID) -> None:
        """It is sealed."""
        self._told.discard(episode)
