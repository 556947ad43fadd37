"""The timeline: episodes one behind the other on one simulated clock, also those that went on side by side.

Each begins at a base, a whole second with one between it and the end before. Of one environment alone what happens is
placed at once. Of several side by side an episode waits, as blocks, until it has ended, and is then placed whole: each
has its own time since its reset, and none is cut by another's beginning.
"""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.stream import Block
from sensorium.sim.worlds.running import next_base_ns

MAX_HELD_BYTES = 128 << 20
"""Of samples that wait; what is beyond waits in a file without a name, in the system's folder for temporary files."""


class Timeline:
    """Places what logs of `subs` environments give, stamps since the reset, from `start_ns` on."""

    def __init__(self, start_ns: int, subs: int) -> None:
        self._base_ns = start_ns
        self._alone = subs == 1
        self._held: dict[int, list[Delivery]] = {}
        self._held_bytes: dict[int, int] = {}

    def place(self, sub: int, given: Iterable[Delivery]) -> list[Delivery]:
        """What can be delivered, stamps on the one clock."""
        placed: list[Delivery] = []
        for each in given:
            if self._alone:
                placed.append(self._based(each))
                continue
            self._hold(sub, each)
            if isinstance(each, EpisodeEnd):
                placed += map(self._based, self._held.pop(sub))
                self._held_bytes.pop(sub, None)
        return placed

    def _hold(self, sub: int, given: Delivery) -> None:
        if isinstance(given, Block):
            size = given.nbytes
            if sum(self._held_bytes.values()) + size > MAX_HELD_BYTES:
                given = replace(given, content=_in_file(given.data))
            else:
                self._held_bytes[sub] = self._held_bytes.get(sub, 0) + size
        self._held.setdefault(sub, []).append(given)

    def _based(self, given: Delivery) -> Delivery:
        base_ns = self._base_ns
        match given:
            case EpisodeBegin():
                return replace(given, at_ns=given.at_ns + base_ns, base_ns=base_ns)
            case EpisodeEnd():
                self._base_ns = next_base_ns(given.at_ns + base_ns)
                return replace(given, at_ns=given.at_ns + base_ns)
            case SourceNote():
                return replace(given, start_ns=given.start_ns + base_ns)
            case Block():
                at_ns = None if given.lost_at_ns is None else given.lost_at_ns + base_ns
                return replace(given, captured_ns=given.captured_ns + base_ns, lost_at_ns=at_ns)
        raise TypeError(f"{type(given).__name__} is none that a log gives")


def _in_file(samples: "np.typing.NDArray[Any]") -> "np.typing.NDArray[Any]":
    """The same samples, on disk; the file goes with the array."""
    with tempfile.TemporaryFile(prefix="sensorium-") as file:
        file.write(np.ascontiguousarray(samples).data)
        file.flush()
        return np.asarray(np.memmap(file, samples.dtype, "r", shape=samples.shape))
