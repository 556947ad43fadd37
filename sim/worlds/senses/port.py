"""A port: the way of one stream's samples out of a world, through its faults and its clock, into blocks."""

import itertools
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec, loss_alone
from sensorium.sim.worlds.senses.clock import SenseClock
from sensorium.sim.worlds.senses.faults import Faults, Faulty

_END_NS = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class _Sent:
    captured_ns: int
    delivered_ns: int
    sample: Any
    lost_before: int


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
        stamps, deliveries = self._clock.stamps(true_ns, faulty.shift_ns, faulty.delay_ns)
        rows = zip(stamps.tolist(), deliveries.tolist(), faulty.data, faulty.kept.tolist(), strict=True)
        for captured_ns, delivered_ns, sample, kept in rows:
            if not kept:
                self._missing += 1
                continue
            self._on_the_way.append(_Sent(captured_ns, delivered_ns, sample, self._missing))
            self._missing = 0
        return faulty

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
        due: list[_Sent] = []
        while self._on_the_way and self._on_the_way[0].delivered_ns <= now_ns:
            due.append(self._on_the_way.popleft())
        starts = [row for row, sent in enumerate(due) if sent.lost_before or row == 0]
        parts = [due[start:stop] for start, stop in itertools.pairwise([*starts, len(due)])]
        return [(part[-1].delivered_ns, self._block(part)) for part in parts]

    def rest(self) -> list[Block]:
        """What no later call will deliver: samples on their way, and the losses that none follows."""
        return [*self.until(_END_NS), *self._lost()]

    def rest_due(self, end_ns: int) -> list[tuple[int, Block]]:
        """The same with the time of each; `end_ns` is that of a loss."""
        return [*self.due(), *((end_ns, block) for block in self._lost())]

    def _lost(self) -> list[Block]:
        lost, self._missing = self._missing, 0
        return [loss_alone(self._spec, lost)] if lost else []

    def _block(self, sent: list[_Sent]) -> Block:
        stamps = np.array([each.captured_ns for each in sent], np.int64)
        # A picture comes by itself, and is large.
        data = (
            np.asarray(sent[0].sample, self._spec.dtype)[None]
            if len(sent) == 1
            else np.array([each.sample for each in sent], self._spec.dtype)
        )
        return Block(self._spec.name, stamps, data, sent[0].lost_before)
