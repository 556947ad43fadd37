"""The cover: a sketch that takes in what is unlike all that it has, and coarsens where that becomes too much."""

import zlib
from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from sensorium.perception.sketch import FORMAT, Rows, Sketch, SketchDelta, SketchOf, SketchPosition, coarse, unit_rows

CAPACITY = 7680
MOST_BYTES = 950_000
"""On the wire, about (`bench/sketch.py`): where rows take more than those of pictures do, there are fewer."""
FINE = 512
"""The first rows are fine ones: among so few there is room for that, and a small fleet is told exactly."""
NEAR = 0.01
"""How unlike all others a look must be at first to be taken in."""
GROWTH = 1.05
ROOMY = 0.9
"""It is thinned to this part of its capacity, so that it is not thinned at every second row."""
_BLOCK = 512
WIDER = 1.5
"""What is looked at for being too near as the radius grows, times the radius."""

Alike = npt.NDArray[np.float32]


class CoverFile(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one. `through_utc` is when the last episode was committed that is in it."""

    format: int = FORMAT
    by: str
    mission: str
    dimensions: int
    edition: int
    radius: float
    former: int
    kept: bytes
    rows: bytes
    through_utc: str = ""


class Cover:
    """Every look that was taken in is within `radius` (one minus the cosine) of a row, or was when it came and is
    within the sum of those since. It is incremental k-centre by doubling (Charikar, Chekuri, Feder, Motwani,
    "Incremental clustering and dynamic information retrieval", 1997): where there are too many rows the radius grows,
    and of two that are nearer than that the later goes.

    >>> cover = Cover(SketchOf("example", "hall", 2), edition=1, capacity=2)
    >>> cover.take_in(np.array([[90, 0], [89, 1], [0, 90]], np.int8))
    2
    >>> cover.sketch.rows.tolist(), cover.sketch.edition
    ([[15, 0, 127], [0, 15, 127]], 1)
    >>> cover.take_in(np.array([[90, 40]], np.int8))
    1
    >>> len(cover.sketch), cover.sketch.edition, cover.radius > 0.01
    (1, 2, True)
    """

    def __init__(self, of: SketchOf, edition: int, capacity: int = CAPACITY) -> None:
        self.capacity, self.radius = capacity, NEAR
        self.sketch = Sketch(of, edition)
        self._former, self._kept = 0, np.zeros(0, np.int64)
        self._room = edition - 1, 0

    @classmethod
    def of_file(cls, file: CoverFile, capacity: int = CAPACITY) -> "Cover":
        """As it was kept.

        Raises:
            ValueError: that is none.
        """
        if file.format != FORMAT:
            raise ValueError(f"format {file.format}, this version knows {FORMAT}")
        made = cls(SketchOf(file.by, file.mission, file.dimensions), file.edition, capacity)
        made.radius, made._former = file.radius, file.former
        made._kept = np.frombuffer(file.kept, "<i8").astype(np.int64)
        made.sketch.append(np.frombuffer(file.rows, np.int8).reshape(-1, file.dimensions + 1))
        return made

    def file(self, through_utc: str = "") -> CoverFile:
        """To be kept."""
        by, mission, dimensions = self.sketch.of
        return CoverFile(
            by=by,
            mission=mission,
            dimensions=dimensions,
            edition=self.sketch.edition,
            radius=self.radius,
            former=self._former,
            kept=self._kept.astype("<i8").tobytes(),
            rows=self.sketch.rows.tobytes(),
            through_utc=through_utc,
        )

    def take_in(self, vectors: Rows) -> int:
        """Take in looks, int8 [n, d], the earlier first; how many of them were new."""
        new = 0
        for some in _blocks(vectors):
            rows = coarse(some)
            unit = unit_rows(some)
            nearest = _nearest(unit, self.sketch.directions)
            for place in np.flatnonzero(nearest < 1.0 - self.radius).tolist():
                one = some[place : place + 1]
                if float(self.sketch.novelty(one)[0]) > self.radius:
                    is_fine = len(self.sketch) < FINE
                    self.sketch.append(coarse(one, fine=True) if is_fine else rows[place : place + 1])
                    new += 1
            if len(self.sketch) > (most := self._most()):
                self._thin(most)
        return new

    def begin_edition(self, edition: int) -> None:
        """The same rows are from now on those of a later edition: who has another sketch of one between takes them."""
        self._former, self._kept = self.sketch.edition, np.arange(len(self.sketch), dtype=np.int64)
        self.sketch = Sketch(self.sketch.of, edition, self.sketch.rows)

    def delta(self, position: SketchPosition, most_bytes: int) -> SketchDelta | None:
        """What is missing there, or the first of it; None if nothing is."""
        return self.sketch.delta(position, self._former, self._kept, most_bytes)

    def _most(self) -> int:
        """How many rows it may have: by their bytes, as those behind the fine ones take them."""
        if len(self.sketch) <= min(self.capacity, 4 * FINE):
            return self.capacity
        if self._room[0] != self.sketch.edition:
            each = len(zlib.compress(self.sketch.rows[FINE : 2 * FINE].tobytes(), 9)) / FINE
            self._room = self.sketch.edition, max(1, round(MOST_BYTES / each) - 2 * FINE)
        return min(self.capacity, self._room[1])

    def _thin(self, most: int) -> None:
        rows, wide = self.sketch.directions, self.radius
        kept = list(range(len(rows)))
        near: list[tuple[npt.NDArray[np.int64], Alike]] = []
        while len(kept) > max(1, int(most * ROOMY)):
            self.radius = min(self.radius * GROWTH, 2.0)
            if self.radius > wide or not near:
                wide = self.radius * WIDER
                near = _near(rows, 1.0 - wide)
            kept = _apart(near, 1.0 - self.radius)
        self._former, self._kept = self.sketch.edition, np.array(kept, np.int64)
        self.sketch = Sketch(self.sketch.of, self.sketch.edition + 1, self.sketch.rows[self._kept])


def _near(rows: Alike, least: float) -> list[tuple[npt.NDArray[np.int64], Alike]]:
    """Of each row those behind it that are more alike than `least`, and how much: all by all at once is too much."""
    found = []
    for first in range(0, len(rows), _BLOCK):
        alike = rows[first : first + _BLOCK] @ rows[first:].T
        for row, mine in enumerate(alike):
            places = np.flatnonzero(mine[row + 1 :] > least) + row + 1
            found.append((places + first, mine[places]))
    return found


def _apart(near: list[tuple[npt.NDArray[np.int64], Alike]], most: float) -> list[int]:
    """The rows, the earlier first, that are to none before them more alike than `most`."""
    free = np.ones(len(near), np.bool_)
    kept = []
    for row, (places, alike) in enumerate(near):
        if free[row]:
            kept.append(row)
            free[places[alike > most]] = False
    return kept


def _nearest(unit: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of each the greatest cosine to a row; -2 where there is none."""
    if not len(rows):
        return np.full(len(unit), -2.0, np.float32)
    nearest: npt.NDArray[np.float32] = (unit @ rows.T).max(axis=1)
    return nearest


def _blocks(vectors: Rows) -> Iterator[Rows]:
    for first in range(0, len(vectors), _BLOCK):
        yield vectors[first : first + _BLOCK]
