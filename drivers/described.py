"""Described: what some samples of a block look like, in numbers that can be compared with those of others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.int8]
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Described:
    """Descriptors of m of the n samples of a block; the others have none.

    `by` names what made them: vectors of one maker are never compared with those of another. `rows`, int64 [m], rising,
    says whose they are. `vectors`, int8 [m, d], are compared by their cosine; d is the maker's. `hashes`, uint64 [m, 2]
    the dHash of a picture from left to right and from top to bottom; of samples that are no pictures [m, 0].
    """

    by: str
    rows: npt.NDArray[np.int64]
    vectors: Vectors
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: slice | npt.NDArray[Any], of: int) -> "Described":
        """Those of the samples that `rows` picks among `of`.

        >>> seen = Described("m", np.array([0, 2]), np.array([[1], [3]], np.int8), np.zeros((2, 0), np.uint64))
        >>> seen.take(slice(1, None), 4).rows.tolist(), seen.take(np.array([False, True, False, True]), 4).rows.tolist()
        ([1], [])
        """
        picked = np.arange(of)[rows]
        places = np.full(of, -1)
        places[picked] = np.arange(len(picked))
        at = places[self.rows]
        kept = at >= 0
        return Described(self.by, at[kept], self.vectors[kept], self.hashes[kept])

    def check(self, of: int) -> None:
        """Raise `ValueError` unless this describes some of `of` samples."""
        m = len(self.rows)
        shapes = self.rows.shape == (m,) and self.vectors.shape[:1] == self.hashes.shape[:1] == (m,)
        if not shapes or self.vectors.ndim != 2 or self.hashes.ndim != 2:
            raise ValueError(
                f"descriptors by {self.by!r}: rows {self.rows.shape}, vectors {self.vectors.shape}, hashes"
                f" {self.hashes.shape}; expected [m], [m, d] and [m, 0 or 2]"
            )
        if self.vectors.dtype != np.int8 or self.hashes.dtype != np.uint64 or self.rows.dtype.kind != "i":
            raise ValueError(
                f"descriptors by {self.by!r}: rows {self.rows.dtype}, vectors {self.vectors.dtype}, hashes"
                f" {self.hashes.dtype}; expected int64, int8 and uint64"
            )
        if m and not (self.rows[0] >= 0 and self.rows[-1] < of and bool((np.diff(self.rows) > 0).all())):
            raise ValueError(f"descriptors by {self.by!r}: rows are not rising numbers below {of}")
