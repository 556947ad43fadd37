"""A driver of tests: a recording that says where its episodes begin and end, and what happened in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery, DriverConfig
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, SourceNote
from sensorium.drivers.stream import Block, StreamSpec

MS = 1_000_000
SAYS: tuple[Delivery, ...] = (
    EpisodeBegin(100 * MS, {"task": "pour", "attempt": 1, "sim": True}, base_ns=90 * MS),
    SourceNote("event", "grasp", {"force": [1.5, 2]}, "{name}.state", start_ns=150 * MS),
    SourceNote("event", "before", start_ns=20 * MS),
    EpisodeEnd(305 * MS, "success"),
    EpisodeBegin(500 * MS),
    SourceNote("action", "push", 0.25, start_ns=600 * MS, end_ns=640 * MS),
    EpisodeEnd(1000 * MS, "failure"),
    SourceNote("event", "after", start_ns=1001 * MS),
)


class MarkingSource(DriverConfig):
    """A hundred rows of `state` at 100 Hz and ten of `slow`, in blocks of `per_block` rows; what it says comes as late
    as it may."""

    kind: str = "marking-source"
    per_block: int = 7

    def open(self, name: str, base: Path) -> "Tape":
        return Tape(name, self.per_block, SAYS)


class Tape:
    def __init__(self, name: str, per_block: int, says: Sequence[Delivery]) -> None:
        state = StreamSpec(name=f"{name}.state", modality="state", dtype="float64", shape=(1,), rate_hz=100.0)
        slow = StreamSpec(name=f"{name}.slow", modality="state", dtype="float64", shape=(), rate_hz=10.0)
        self.specs = (state, slow)
        self.clock = Clock(kind="recording")
        blocks: list[Block] = []
        for spec, rows, period_ns in ((state, 100, 10 * MS), (slow, 10, 100 * MS)):
            for first in range(0, rows, per_block):
                stamps = np.arange(first, min(first + per_block, rows), dtype=np.int64) * period_ns
                blocks.append(Block(spec.name, stamps, np.zeros((len(stamps), *spec.shape))))
        blocks.sort(key=lambda block: int(block.captured_ns[-1]))
        self._left: list[Delivery] = list(blocks)
        for each in says:
            if isinstance(each, SourceNote):
                each = SourceNote(
                    each.kind, each.name, each.value, each.stream.format(name=name),
                    start_ns=each.start_ns, end_ns=each.end_ns,
                )  # fmt: skip
            self._left.insert(self._place(each), each)

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        return [self._left.pop(0)] if self._left else None

    def close(self) -> None:
        self._left.clear()

    def _place(self, said: Delivery) -> int:
        """Before the first block with a sample at or behind it."""
        at_ns = said.start_ns if isinstance(said, SourceNote) else getattr(said, "at_ns", 0)
        rows = enumerate(self._left)
        return next(
            (n for n, each in rows if isinstance(each, Block) and each.captured_ns[-1] >= at_ns), len(self._left)
        )
