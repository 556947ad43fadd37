"""A port: the way of one stream's samples out of a world, through its faults and its clock, into blocks."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec, loss_alone
from sensorium.sim.worlds.senses.clock import SenseClock
from sensorium.sim.worlds.senses.faults import Faults, Faulty

_END_NS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class _Sent:
    """Samples one behind the other; how many are missing before the first."""

    captured_ns: Stamps
    delivered_ns: Stamps
    data: Samples
    lost_before: int

    def part(self, start: int, stop: int | None = None) -> "_Sent":
        rows = slice(start, stop)
        lost = 0 if start else self.lost_before
        return _Sent(self.captured_ns[rows], self.delivered_ns[rows], self.data[rows], lost)


class Port:
    """`put` samples as they are taken, `lose` those that never come, and take what has been delivered `until` now.

    What is still on its way when the world ends is `rest`.
    """

    def __init__(self, spec: StreamSpec, clock: SenseClock, faults: Faults) -> None:
        self._spec = spec
        self._clock = clock
        self._faults = faults
        self._on_the_way: deque[_Sent] = deque()
        self._missing = 0

    def put(self, true_ns: Stamps, data: Samples) -> Faulty:
        """Samples [n, *spec.shape] of `spec.dtype`, taken at `true_ns` int64 [n] since the reset; what faults made of
        them."""
        faulty = self._faults.apply(self._spec.name, true_ns, data)
        if not len(true_ns):
            return faulty
        if not self._faults.strikes(self._spec.name):
            self._send(*self._clock.stamps(true_ns), data)
            return faulty
        stamps, deliveries = self._clock.stamps(true_ns, faulty.shift_ns, faulty.delay_ns)
        edges = np.flatnonzero(np.diff(faulty.kept, prepend=False, append=False)).tolist()
        at = 0
        for start, stop in zip(edges[::2], edges[1::2], strict=True):  # what is kept, run by run
            self._missing += start - at
            self._send(stamps[start:stop], deliveries[start:stop], faulty.data[start:stop])
            at = stop
        self._missing += len(stamps) - at
        return faulty

    def _send(self, stamps: Stamps, deliveries: Stamps, data: Samples) -> None:
        self._on_the_way.append(_Sent(stamps, deliveries, data, self._missing))
        self._missing = 0

    def lose(self, count: int = 1) -> None:
        """Samples that never come: the next one says how many."""
        self._missing += count

    def until(self, now_ns: int) -> list[Block]:
        """Blocks of what was delivered by `now_ns`; cut where samples are missing."""
        return [block for _, block in self._due(now_ns)]

    def due(self) -> list[tuple[int, Block]]:
        """All that was put, for whoever waits by himself: blocks, each with the time at which its last came."""
        return self._due(_END_NS)

    def _due(self, now_ns: int) -> list[tuple[int, Block]]:
        due: list[list[_Sent]] = []
        while self._on_the_way and self._on_the_way[0].delivered_ns[0] <= now_ns:
            run = self._on_the_way.popleft()
            if run.delivered_ns[-1] > now_ns:
                count = int(np.searchsorted(run.delivered_ns, now_ns, side="right"))
                self._on_the_way.appendleft(run.part(count))
                run = run.part(0, count)
            if due and not run.lost_before:
                due[-1].append(run)
            else:
                due.append([run])
        return [(int(runs[-1].delivered_ns[-1]), self._block(runs)) for runs in due]

    def rest(self) -> list[Block]:
        """What no later call will deliver: samples on their way, and the losses that none follows."""
        return [*self.until(_END_NS), *self._lost()]

    def rest_due(self, end_ns: int) -> list[tuple[int, Block]]:
        """The same with the time of each; `end_ns` is that of a loss."""
        return [*self.due(), *((end_ns, block) for block in self._lost())]

    def _lost(self) -> list[Block]:
        lost, self._missing = self._missing, 0
        return [loss_alone(self._spec, lost)] if lost else []

    def _block(self, runs: list[_Sent]) -> Block:
        stamps, data = runs[0].captured_ns, runs[0].data
        if len(runs) > 1:
            stamps = np.concatenate([run.captured_ns for run in runs])
            data = np.concatenate([run.data for run in runs])
        return Block(self._spec.name, stamps, data.astype(self._spec.dtype, copy=False), runs[0].lost_before)
