"""BatchMemory that serves again: arrays are made in that of those which nobody has any more."""

import math
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

_ONLY_OURS = 3
"""References to a block that nobody uses: the list's, the loop's, and that of the call that counts them."""


class BatchMemory:
    """Gives arrays. A fresh one costs the kernel a zeroed page for each 4 KiB, which is as much as a tenth of decoding
    into it; so up to `most` blocks are kept, and given again when neither an array of theirs nor a view of one is left.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._blocks: list[npt.NDArray[np.uint8]] = []
        self._guard = threading.Lock()

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """A C-contiguous array, whose content may be anything."""
        nbytes = math.prod(shape) * dtype.itemsize
        with self._guard:
            block = self._free(nbytes)
            return block[:nbytes].view(dtype).reshape(shape)

    def _free(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """A block that nobody uses, of that size and not more than a half as much again, or a new one.

        A view of a view refers to the block itself: numpy sees to that.
        """
        for block in self._blocks:
            if nbytes <= block.nbytes <= nbytes * 3 // 2 and sys.getrefcount(block) == _ONLY_OURS:
                return block
        made = np.empty(nbytes, np.uint8)
        self._blocks.append(made)
        if len(self._blocks) > self._most:
            del self._blocks[0]  # whoever uses it keeps it
        return made
