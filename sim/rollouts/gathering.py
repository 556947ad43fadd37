"""Gathering: what came of many steps becomes few blocks, as every block that a device delivers costs the same."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from sensorium.drivers.stream import Block, Samples, Stamps

MOST_BYTES = 2 << 20
MOST_S = 0.1
MOST_BLOCKS = 8192
"""What is gathered is delivered when it is so many bytes, or so old, or so many blocks and rows."""


class Gathering:
    """What a world delivers, under its bare names and in its own time, as the blocks of a host: under `prefix`, with
    stamps from `base_ns` on. Blocks are joined where they are of rows of one stream and nothing is missing between."""

    def __init__(self, prefix: str, base_ns: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._prefix, self._base_ns = prefix, base_ns
        self._now_s = now_s
        self._blocks: dict[str, list[Block]] = {}
        self._rows: dict[str, tuple[list[int], list[Sequence[float]]]] = {}
        self._bytes = self._count = 0
        self._since_s = now_s()

    def add(self, block: Block) -> None:
        """Hold a block; one that says nothing is nothing."""
        if len(block.captured_ns) or block.lost_before:
            self._bytes += block.content.nbytes
            self._count += 1
            held = self._blocks.get(block.stream)
            if held is None:
                held = self._blocks[block.stream] = []
            held.append(block)

    def row(self, stream: str, at_ns: int, values: Sequence[float]) -> None:
        """Hold a row of float64."""
        held = self._rows.get(stream)
        if held is None:
            held = self._rows[stream] = [], []
        held[0].append(at_ns)
        held[1].append(values)
        self._count += 1

    @property
    def is_due(self) -> bool:
        """Whether what is held is to be delivered."""
        return self._bytes >= MOST_BYTES or self._count >= MOST_BLOCKS or self._now_s() >= self._since_s + MOST_S

    def take(self) -> list[Block]:
        """All that is held, stream by stream."""
        taken = [self._named(block) for blocks in self._blocks.values() for block in _joined(blocks)]
        for stream, (stamps, rows) in self._rows.items():
            at_ns = np.array(stamps, np.int64)
            at_ns += self._base_ns
            taken.append(Block(self._prefix + stream, at_ns, np.array(rows, np.float64)))
        self._blocks, self._rows = {}, {}
        self._bytes = self._count = 0
        self._since_s = self._now_s()
        return taken

    def _named(self, block: Block) -> Block:
        lost_at_ns = None if block.lost_at_ns is None else block.lost_at_ns + self._base_ns
        stamps: Stamps = block.captured_ns + self._base_ns
        stream = self._prefix + block.stream
        return Block(stream, stamps, block.content, block.lost_before, block.sensor_ns, lost_at_ns=lost_at_ns)


def _joined(blocks: list[Block]) -> list[Block]:
    if len(blocks) == 1:
        return blocks
    runs: list[list[Block]] = []
    for block in blocks:
        if runs and _is_rows(block) and not block.lost_before and _is_rows(runs[-1][-1]):
            runs[-1].append(block)
        else:
            runs.append([block])
    return [run[0] if len(run) == 1 else _one(run) for run in runs]


def _is_rows(block: Block) -> bool:
    """Whether a block can be joined to others; pictures are encoded one by one in any case."""
    content = block.content
    return isinstance(content, np.ndarray) and content.ndim <= 2 and block.sensor_ns is None and len(content) > 0


def _one(run: list[Block]) -> Block:
    stamps: Stamps = np.concatenate([block.captured_ns for block in run])
    content: Samples = np.concatenate([block.content for block in run])
    return Block(run[0].stream, stamps, content, run[0].lost_before)
