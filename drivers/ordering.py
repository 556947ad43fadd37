"""Ordering: what a recording has out of order by up to a second comes in the order of its stamps.

What is further back is left where it stands: whether a clock was set back, or a stamp is wrong, shows only by what
follows, and is decided where samples of every kind of source come in.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from sensorium.drivers.batching import BLOCK_NS, Batcher
from sensorium.drivers.pacing import Due
from sensorium.drivers.stream import Stamps, StreamSpec

FAR_NS = 1_000_000_000
"""A stamp that is further back than this is not out of order: its clock was set back, or it is wrong."""

_MOST_BYTES = 64 << 20


def order_of(captured_ns: Stamps) -> npt.NDArray[np.int64] | None:
    """The order in which rows with these stamps, int64 [n], come; None where they are in order.

    >>> order_of(np.array([0, 50, 40, 60], np.int64) * 10**6).tolist()
    [0, 2, 1, 3]
    >>> order_of(np.array([0, 5, 1, 2], np.int64) * 10**9) is None
    True
    """
    back = np.flatnonzero(np.diff(captured_ns) < 0)
    if not len(back):
        return None
    starts, newest_ns = [0], int(captured_ns[0])
    for row, stamp_ns in enumerate(captured_ns.tolist()):
        if stamp_ns < newest_ns - FAR_NS:
            starts.append(row)
            newest_ns = stamp_ns
        newest_ns = max(newest_ns, stamp_ns)
    runs = np.split(captured_ns, starts[1:])
    order = np.concatenate([start + np.argsort(run, kind="stable") for start, run in zip(starts, runs, strict=True)])
    return None if (np.diff(order) == 1).all() else order


_Read = tuple[int, int, object, int, int | None]
"""A sample, by its stamp and what time the file had come to; or a loss: how many, and at which stamp."""
_STAMP: Final = 0
_READ: Final = 1


@dataclass(slots=True)
class _Held:
    """Of one stream: what has its turn, and what an earlier sample may yet precede."""

    ready: list[_Read] = field(default_factory=list)
    waiting: deque[_Read] = field(default_factory=deque)

    def put(self, read: _Read) -> None:
        waiting, stamp_ns = self.waiting, read[_STAMP]
        if not waiting or stamp_ns >= waiting[-1][_STAMP]:
            waiting.append(read)
            return
        if stamp_ns < waiting[-1][_STAMP] - FAR_NS:
            self.ready += waiting
            waiting.clear()
        place = len(waiting)
        while place and waiting[place - 1][_STAMP] > stamp_ns:
            place -= 1
        waiting.insert(place, read)

    def take(self, until_ns: int | None) -> list[_Read]:
        """What was read up to a moment, and what comes before that."""
        ready, self.ready = self.ready, []
        waiting = self.waiting
        while waiting and (until_ns is None or waiting[0][_READ] <= until_ns):
            ready.append(waiting.popleft())
        return ready


class Ordered:
    """A `Batcher` for rows of a file that may be out of order by up to a second: it takes as many samples ahead."""

    def __init__(self, specs: Iterable[StreamSpec]) -> None:
        specs = list(specs)
        self._batcher = Batcher(specs)
        self._held = {spec.name: _Held() for spec in specs}
        self._bytes = {spec.name: spec.sample_bytes for spec in specs}
        self._held_bytes = 0
        self._read_ns: int | None = None

    def add(self, stream: str, stamp_ns: int, sample: object, read_ns: int | None = None) -> Iterable[Due]:
        """Take one sample, that was read when the file's own time was `read_ns` (by default its stamp); what has its
        turn comes out."""
        read_ns = stamp_ns if read_ns is None else read_ns
        self._held[stream].put((stamp_ns, read_ns, sample, 0, None))
        self._held_bytes += self._bytes[stream]
        is_full = self._held_bytes > _MOST_BYTES
        before_ns = self._read_ns = read_ns if self._read_ns is None else self._read_ns
        if not is_full and -FAR_NS <= read_ns - before_ns < BLOCK_NS:
            return ()
        self._read_ns = read_ns
        return self._release(None if is_full or read_ns < before_ns else read_ns - FAR_NS)

    def lose(self, stream: str, count: int = 1, at_ns: int | None = None) -> None:
        """`count` samples of `stream` are missing here; they had the stamp `at_ns`, if that can be told."""
        waiting = self._held[stream].waiting
        stamp_ns, read_ns = (waiting[-1][_STAMP], waiting[-1][_READ]) if waiting else (-(2**63), -(2**63))
        waiting.append((stamp_ns, read_ns, None, count, at_ns))

    def end(self) -> list[Due]:
        """Everything that was taken, and the losses that no sample follows."""
        return [*self._release(None), *self._batcher.end()]

    def _release(self, until_ns: int | None) -> Iterator[Due]:
        for stream, held in self._held.items():
            for stamp_ns, _, sample, lost, lost_at_ns in held.take(until_ns):
                if lost:
                    self._batcher.lose(stream, lost, lost_at_ns)
                else:
                    self._held_bytes -= self._bytes[stream]
                    yield from self._batcher.add(stream, stamp_ns, sample)
