"""Ordering: what a recording has out of order by up to a second comes in the order of its stamps.

What is further back is left where it stands: whether a clock was set back, or a stamp is wrong, shows only by what
follows, and is decided where samples of every kind of source come in.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class _Read:
    """A sample, or a loss, as it was read when the file had come to `read_ns`."""

    stamp_ns: int
    read_ns: int
    sample: object
    lost: int = 0
    lost_at_ns: int | None = None


@dataclass(slots=True)
class _Held:
    """Of one stream: what has its turn, and what an earlier sample may yet precede."""

    ready: list[_Read] = field(default_factory=list)
    waiting: deque[_Read] = field(default_factory=deque)

    def put(self, read: _Read) -> None:
        waiting = self.waiting
        if waiting and read.stamp_ns < waiting[-1].stamp_ns - FAR_NS:
            self.ready += waiting
            waiting.clear()
        place = len(waiting)
        while place and waiting[place - 1].stamp_ns > read.stamp_ns:
            place -= 1
        if place == len(waiting):
            waiting.append(read)
        else:
            waiting.insert(place, read)

    def take(self, until_ns: int | None) -> list[_Read]:
        """What was read up to a moment, and what comes before that."""
        ready, self.ready = self.ready, []
        while self.waiting and (until_ns is None or self.waiting[0].read_ns <= until_ns):
            ready.append(self.waiting.popleft())
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

    def add(self, stream: str, stamp_ns: int, sample: object, read_ns: int | None = None) -> Iterator[Due]:
        """Take one sample, that was read when the file's own time was `read_ns` (by default its stamp); what has its
        turn comes out."""
        read_ns = stamp_ns if read_ns is None else read_ns
        self._held[stream].put(_Read(stamp_ns, read_ns, sample))
        self._held_bytes += self._bytes[stream]
        is_full = self._held_bytes > _MOST_BYTES
        self._read_ns = read_ns if self._read_ns is None else self._read_ns
        if is_full or read_ns < self._read_ns - FAR_NS:
            yield from self._release(None)
        elif read_ns - self._read_ns >= BLOCK_NS:
            yield from self._release(read_ns - FAR_NS)
        else:
            return
        self._read_ns = read_ns

    def lose(self, stream: str, count: int = 1, at_ns: int | None = None) -> None:
        """`count` samples of `stream` are missing here; they had the stamp `at_ns`, if that can be told."""
        waiting = self._held[stream].waiting
        last = waiting[-1] if waiting else _Read(-(2**63), -(2**63), None)
        waiting.append(_Read(last.stamp_ns, last.read_ns, None, count, at_ns))

    def end(self) -> list[Due]:
        """Everything that was taken, and the losses that no sample follows."""
        return [*self._release(None), *self._batcher.end()]

    def _release(self, until_ns: int | None) -> Iterator[Due]:
        for stream, held in self._held.items():
            for read in held.take(until_ns):
                if read.lost:
                    self._batcher.lose(stream, read.lost, read.lost_at_ns)
                else:
                    self._held_bytes -= self._bytes[stream]
                    yield from self._batcher.add(stream, read.stamp_ns, read.sample)
