"""Waiting bytes: how much is held of what nothing was decided of, over all streams of an agent."""

from collections import deque

from sensorium.drivers.stream import Block


class WaitingBytes:
    """Of blocks as they came; `total` is of those that are not decided to their last sample.

    >>> import numpy as np
    >>> waiting = WaitingBytes()
    >>> for at in (0, 10):
    ...     waiting.put(Block("cam", np.array([at]), np.zeros((1, 8), np.uint8)))
    >>> waiting.total, waiting.decided(10), waiting.total
    (16, None, 8)
    """

    def __init__(self) -> None:
        self._blocks: dict[str, deque[tuple[int, int]]] = {}
        self.total = 0

    def put(self, block: Block) -> None:
        """A block has come."""
        size = block.nbytes
        self._blocks.setdefault(block.stream, deque()).append((int(block.captured_ns[-1]), size))
        self.total += size

    def decided(self, until_ns: int) -> None:
        """All before a moment is decided."""
        for blocks in self._blocks.values():
            while blocks and blocks[0][0] < until_ns:
                self.total -= blocks.popleft()[1]

    def clear(self) -> None:
        """Nothing waits."""
        self._blocks.clear()
        self.total = 0
