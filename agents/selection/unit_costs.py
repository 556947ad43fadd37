"""Unit costs: what a unit will cost in bytes, from what kept samples really took, and what it then cost besides."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from sensorium.episode.documents import StreamEntry

RECENT = 16
NOTE_BYTES = 512
"""More than the note of a decision takes."""
FRAMING_BYTES = 512
"""More than the frame and header of a small record take."""
OPENING_BYTES, OF_STREAM_BYTES = 2048, 1024
"""Until one was sealed: what OPEN and SEAL take, and what each stream adds to them."""
OF_ITEMS = 4
"""What came raw is expected to be a quarter of that as a JPEG or another medium, until some were encoded."""


class Took(NamedTuple):
    """What a sealed episode of [start_ns, end_ns) took: bytes of its file in all and of its notes, and by stream the
    samples and the bytes of their records."""

    start_ns: int
    end_ns: int
    size: int
    note_size: int
    streams: Mapping[str, tuple[int, int]]


class UnitCostsState(msgspec.Struct, frozen=True):
    """What a restart needs: bytes a sample by stream, and bytes besides, of episodes of late; what is to be booked."""

    streams: dict[str, list[float]] = {}
    besides: list[int] = []
    booked: int = 0


class UnitCosts:
    """Of a sample, the most that those of late episodes took on average; before the first, as much as it has raw.

    So estimates are rather too high, and what was not needed is booked back with the episode that holds the unit.

    >>> costs = UnitCosts()
    >>> costs.learn(Took(0, 10, 900, 100, {"cam": (5, 500)}), deque([(0, 1000), (10, 1000)]))
    >>> costs.of({"cam": 2.0}) == 2 * 100 + NOTE_BYTES + 300, costs.booked(), costs.booked()
    (True, -100, 0)
    """

    def __init__(self, entries: Sequence[StreamEntry] = (), state: UnitCostsState | None = None) -> None:
        self._first: dict[str, float] = {}
        self.learnt = 0
        """How often something was."""
        self.take_over(state or UnitCostsState())
        self.know(entries)

    @property
    def state(self) -> UnitCostsState:
        """For `UnitCosts` after a restart."""
        streams = {name: list(each) for name, each in self._streams.items()}
        return UnitCostsState(streams, list(self._besides), self._booked)

    def take_over(self, state: UnitCostsState) -> None:
        """Go on from a state."""
        self._streams = {name: deque(each, RECENT) for name, each in state.streams.items()}
        self._besides = deque(state.besides, RECENT)
        self._booked = state.booked

    def know(self, entries: Sequence[StreamEntry]) -> None:
        """How these streams are stored."""
        for entry in entries:
            raw = float(entry.spec.sample_bytes)
            framing = 16 + FRAMING_BYTES / entry.chunk_rows
            self._first[entry.spec.name] = framing + (raw if entry.encoding.codec == "lossless" else raw / OF_ITEMS)

    def of(self, counts: Mapping[str, float]) -> int:
        """What a unit with so many samples by stream will cost."""
        size = float(NOTE_BYTES)
        for name, count in counts.items():
            if count:
                late = self._streams.get(name)
                size += count * (max(late) if late else self._first.get(name, 0.0))
        besides = max(self._besides, default=OPENING_BYTES + OF_STREAM_BYTES * len(self._first))
        return round(size) + besides

    def learn(self, took: Took, spent: deque[tuple[int, int]]) -> None:
        """An episode was sealed: book what it cost more than was `spent`, (start_ns, bytes), on its units, or less."""
        self.learnt += 1
        held = 0
        for name, (rows, size) in took.streams.items():
            held += size
            if rows:
                self._streams.setdefault(name, deque(maxlen=RECENT)).append(size / rows)
        self._besides.append(max(took.size - held - took.note_size, 0))
        self._booked += took.size
        while spent and spent[0][0] < took.end_ns:
            self._booked -= spent.popleft()[1]

    def advance(self, more_bytes: int) -> None:
        """An episode that is not sealed has come to so many bytes more than was spent on it: book them now, or, where
        they are fewer than 0, what was booked so of one that is sealed by now."""
        if more_bytes:
            self.learnt += 1
            self._booked += more_bytes

    def booked(self) -> int:
        """How much more, or less, was needed since the last time this was asked."""
        booked, self._booked = self._booked, 0
        return booked
