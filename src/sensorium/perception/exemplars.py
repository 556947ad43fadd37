"""Exemplars: what has been kept so far, in so few descriptors that anything new can be compared with all of them."""

import numpy as np
import numpy.typing as npt

from sensorium.drivers.described import Vectors

CAPACITY = 512
_NONE = -2.0
"""Less than any cosine."""


class Exemplars:
    """Up to `capacity` descriptors by one maker. When one more comes, the older of the two that are most alike goes.

    Dot products of int8 vectors, of a length below 4,096 (`quantised` sees to that), are whole numbers that
    float32 holds exactly, in whatever order they are summed: so all that is said here is the same on every machine, and
    after a restart from `vectors`. To compare or to add takes one pass over the exemplars, 0.1 ms where this was
    written; similarities between them are kept, so that the closest pair need not be looked for.

    >>> east, north, north_east = np.array([[90, 0], [0, 90], [60, 60]], np.int8)
    >>> known = Exemplars("example", 2, capacity=2)
    >>> known.novelty(east[None]).tolist()
    [1.0]
    >>> for seen in (east, north):
    ...     known.add(seen)
    >>> known.novelty(np.stack([east, -east, north_east])).round(3).tolist()
    [0.0, 1.0, 0.293]
    >>> known.add(east)
    >>> known.vectors.tolist()
    [[0, 90], [90, 0]]
    """

    def __init__(self, by: str, dimensions: int, capacity: int = CAPACITY) -> None:
        self.by, self.dimensions, self.capacity = by, dimensions, capacity
        slots = capacity + 1  # one is free, for the next
        self._vectors = np.zeros((slots, dimensions), np.float32)
        self._squares = np.zeros(slots)
        self._entered = np.full(slots, -1)
        self._alike = np.full((slots, slots), _NONE)
        self._most_alike = np.full(slots, _NONE)
        self._next = 0

    def __len__(self) -> int:
        return int(np.count_nonzero(self._entered >= 0))

    @property
    def vectors(self) -> Vectors:
        """Those that are held, int8 [n, d], the oldest first: what is made of them in this order is the same."""
        order = np.argsort(self._entered)
        return self._vectors[order[self._entered[order] >= 0]].astype(np.int8)

    def novelty(self, vectors: Vectors) -> npt.NDArray[np.float64]:
        """One minus the greatest cosine to any exemplar, float64 [m] of int8 [m, d]: 0 known, 1 and above unlike all.

        Of vectors of length 0 two are alike, and unlike all others.

        Raises:
            ValueError: they are not of this maker's size.
        """
        nearest = [float(self._cosines(vector).max()) for vector in vectors]
        return 1.0 - np.maximum(np.array(nearest, np.float64), 0.0 if not len(self) else _NONE)

    def add(self, vector: Vectors) -> None:
        """Take in a descriptor, int8 [d].

        Raises:
            ValueError: it is not of this maker's size.
        """
        cosines = self._cosines(vector)
        np.maximum(self._most_alike, cosines, out=self._most_alike)  # of the free slot both are `_NONE`
        slot = int(np.argmin(self._entered))
        self._vectors[slot] = vector
        self._squares[slot] = _square(self._vectors[slot])
        self._entered[slot] = self._next
        self._next += 1
        self._alike[slot] = self._alike[:, slot] = cosines
        self._most_alike[slot] = cosines.max()
        if len(self) > self.capacity:
            self._drop_one()

    def _drop_one(self) -> None:
        closest = np.flatnonzero(self._most_alike == self._most_alike.max())
        gone = int(closest[np.argmin(self._entered[closest])])
        orphans = np.flatnonzero(self._most_alike == self._alike[gone])
        self._entered[gone] = -1
        self._alike[gone] = self._alike[:, gone] = _NONE
        self._most_alike[gone] = _NONE
        self._most_alike[orphans] = self._alike[orphans].max(axis=1)

    def _cosines(self, vector: Vectors) -> npt.NDArray[np.float64]:
        """To every slot; below any cosine where nothing is held."""
        if vector.shape != (self.dimensions,):
            raise ValueError(f"descriptor by {self.by!r}: shape {vector.shape}, expected ({self.dimensions},)")
        one = vector.astype(np.float32)
        square = _square(one)
        # einsum and not BLAS, which takes all cores for this, and waits for them
        dots = np.einsum("ij,j->i", self._vectors, one)
        # the product of two squares is a whole number too, so that of a vector to itself is 1 and not nearly
        lengths = np.sqrt(self._squares * square)
        alike = np.where(lengths > 0, dots / np.where(lengths > 0, lengths, 1.0), self._squares == square)
        return np.where(self._entered < 0, _NONE, alike)


def _square(vector: npt.NDArray[np.float32]) -> float:
    """Its length, squared."""
    return float(np.einsum("i,i->", vector, vector))
