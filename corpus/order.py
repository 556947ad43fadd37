"""The shuffle: a number for each position, each once, found without a list of them.

A Feistel network permutes the smallest square of two that holds all; who falls outside walks on until inside. It is
arithmetic on integers alone, so that the order of a run is the same with any release of anything.
"""

import hashlib

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
ROUNDS = 6
_U64 = np.uint64


class Shuffle:
    """A permutation of `range(count)` that `key` alone decides.

    >>> shuffle = Shuffle(10, b"any")
    >>> sorted(shuffle.at(np.arange(10)).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    >>> bool((shuffle.at(np.array([7])) == Shuffle(10, b"any").at(np.arange(10))[7]).all())
    True
    >>> bool(Shuffle(10**12, b"any").at(np.array([0, 1, 2])).max() < 10**12)
    True
    """

    def __init__(self, count: int, key: bytes) -> None:
        self.count = count
        half = max(1, ((count - 1).bit_length() + 1) // 2)
        self._half, self._mask = _U64(half), _U64((1 << half) - 1)
        drawn = hashlib.blake2b(key, digest_size=8 * ROUNDS).digest()
        self._keys = np.frombuffer(drawn, "<u8").astype(_U64)

    def at(self, positions: Numbers) -> Numbers:
        """The numbers at `positions`, int64 [n], all within `range(count)`."""
        numbers = self._once(positions.astype(_U64))
        outside = np.flatnonzero(numbers >= _U64(self.count))
        while len(outside):
            numbers[outside] = self._once(numbers[outside])
            outside = outside[numbers[outside] >= _U64(self.count)]
        return numbers.astype(np.int64)

    def _once(self, numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = numbers >> self._half, numbers & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right + key) & self._mask)
        return left << self._half | right


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014, as in Java's SplittableRandom)."""
    numbers = (numbers ^ numbers >> _U64(30)) * _U64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ numbers >> _U64(27)) * _U64(0x94D049BB133111EB)
    return numbers ^ numbers >> _U64(31)
