"""The landscape: all that was seen in units, cut into cells by its looks, against which a choice of units is judged."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.corpus.stats import effective
from sensorium.drivers.described import Vectors
from sensorium.episode.unit import Judged, Look
from sensorium.perception.coverage import centres_of, coverage, nearest_of, regret, unit_vectors

Cells = set[int]


class Place(NamedTuple):
    """Whose looks are compared with each other: those of one stream by one maker."""

    stream: str
    by: str
    dimensions: int


class Landscape:
    """Of n units, what they look like together and the cells that each covers.

    A unit looks like its pictures, where any unit has some, and else like its rows. Each stream is cut into `clusters`
    cells around looks that are as far from each other as can be; a unit covers a cell of each of its streams.
    """

    def __init__(self, judged: Sequence[Judged], clusters: int) -> None:
        self._looks = [_looks(each) for each in judged]
        if any(look.hashes for looks in self._looks for look in looks.values()):
            self._looks = [{at: look for at, look in looks.items() if look.hashes} for looks in self._looks]
        self.cells: list[Cells] = [set() for _ in judged]
        self.open = np.flatnonzero([bool(looks) for looks in self._looks])
        """The units that were looked at, which is none that a gate closed."""
        parts = []
        first = 0
        for place in sorted({place for looks in self._looks for place in looks}):
            rows = np.array([row for row, looks in enumerate(self._looks) if place in looks], np.int64)
            vectors = np.stack([_vector(self._looks[row][place]) for row in rows.tolist()])
            for row, cell in zip(
                rows.tolist(), nearest_of(centres_of(vectors, clusters), vectors).tolist(), strict=True
            ):
                self.cells[row].add(first + cell)
            first += clusters
            part = np.zeros((len(judged), place.dimensions), np.float32)
            part[rows] = unit_vectors(vectors)
            parts.append(part[self.open])
        self._vectors: npt.NDArray[np.float32] = (
            np.concatenate(parts, axis=1) if parts else np.zeros((0, 1), np.float32)
        )
        self._open_cells = [self.cells[row] for row in self.open.tolist()]
        self._at = {row: place for place, row in enumerate(self.open.tolist())}

    def coverage(self, kept: Sequence[int]) -> float:
        """The share of all cells that the units `kept` cover."""
        return coverage(self._open_cells, self._known(kept))

    def regret(self, kept: Sequence[int]) -> float:
        """One minus coverage over that of greedy k-centre with as many units."""
        return regret(self._open_cells, self._vectors, self._known(kept))

    def effective(self, kept: Sequence[int]) -> float:
        """Effective episodes, each unit taken for one."""
        by: dict[str, list[Vectors]] = {}
        for row in kept:
            for place, look in self._looks[row].items():
                by.setdefault(f"{place.by}\0{place.dimensions}", []).append(_vector(look))
        return effective({name.partition("\0")[0]: np.stack(vectors) for name, vectors in by.items()})

    def _known(self, kept: Sequence[int]) -> list[int]:
        return [self._at[row] for row in kept if row in self._at]


def _looks(judged: Judged) -> dict[Place, Look]:
    return {Place(name, look.by, len(look.vector)): look for name, look in judged.looks.items() if look.vector}


def _vector(look: Look) -> Vectors:
    return np.frombuffer(look.vector, np.int8)
