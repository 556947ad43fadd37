"""The cover: a sketch that takes in what is unlike all that it has, and coarsens where that becomes too much."""

from collections.abc import Iterator

import msgspec
import numpy as np
import numpy.typing as npt

from sensorium.perception.sketch import FORMAT, Rows, Sketch, SketchDelta, SketchOf, SketchPosition, coarse, unit_rows

CAPACITY = 3840
"""Of rows of 512 numbers these are less than 1 MB on the wire (`bench/sketch.py`)."""
NEAR = 0.01
"""How unlike all others a look must be at first to be taken in."""
GROWTH = 1.1
ROOMY = 0.9
"""It is thinned to this part of its capacity, so that it is not thinned at every second row."""
_BLOCK = 512


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
    ([[15, 0], [0, 15]], 1)
    >>> cover.take_in(np.array([[90, 40]], np.int8))
    1
    >>> len(cover.sketch), cover.sketch.edition, cover.radius > 0.01
    (1, 2, True)
    """

    def __init__(self, of: SketchOf, edition: int, capacity: int = CAPACITY) -> None:
        self.capacity, self.radius = capacity, NEAR
        self.sketch = Sketch(of, edition)
        self._former, self._kept = 0, np.zeros(0, np.int64)

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
        made.sketch.append(np.frombuffer(file.rows, np.int8).reshape(-1, file.dimensions))
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
            nearest = _nearest(unit, unit_rows(self.sketch.rows))
            for place in np.flatnonzero(nearest < 1.0 - self.radius).tolist():
                if float(self.sketch.novelty(some[place : place + 1])[0]) > self.radius:
                    self.sketch.append(rows[place : place + 1])
                    new += 1
            if len(self.sketch) > self.capacity:
                self._thin()
        return new

    def delta(self, position: SketchPosition, most_bytes: int) -> SketchDelta | None:
        """What is missing there, or the first of it; None if nothing is."""
        return self.sketch.delta(position, self._former, self._kept, most_bytes)

    def _thin(self) -> None:
        unit = unit_rows(self.sketch.rows)
        alike = unit @ unit.T
        kept = list(range(len(unit)))
        while len(kept) > max(1, int(self.capacity * ROOMY)):
            self.radius = min(self.radius * GROWTH, 2.0)
            kept = _apart(alike, 1.0 - self.radius)
        self._former, self._kept = self.sketch.edition, np.array(kept, np.int64)
        self.sketch = Sketch(self.sketch.of, self.sketch.edition + 1, self.sketch.rows[self._kept])


def _apart(alike: npt.NDArray[np.float32], most: float) -> list[int]:
    """The rows, the earlier first, that are to none before them more alike than `most`."""
    free = np.ones(len(alike), np.bool_)
    kept = []
    for row in range(len(alike)):
        if free[row]:
            kept.append(row)
            free[alike[row] > most] = False
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
