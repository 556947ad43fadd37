"""The sketch: what a fleet has seen, in exemplars so few and so coarse that every device of it can be told them.

It only grows, row by row, within an edition; in the next one the rows that stay are those of the former, thinned. So
whoever has a part of it, and says which, is told what is missing.
"""

import zlib
from typing import NamedTuple

import crc32c
import msgspec
import numpy as np
import numpy.typing as npt

FORMAT = 2
LEVELS = 15
"""The greatest number in a row, where few numbers do not do."""
MOST_ROWS = 1 << 14
MOST_DIMENSIONS = 4096
MOST_AMONG = 8
"""Chance is shared among so many devices; where there are more, each draws an eighth, so that of each something is."""
_ROOM = 64
_STEP, _FEW = 1.3, 2
"""A number counts how many of these times the deviation of all it has, up to two; of pictures it takes 1.6 bits."""
_OFF = 0.03
"""What a row may say wrongly of a look at a right angle (one deviation) if so few numbers are to do."""
_LEAST, _PARTS = 0.5, 255

Rows = npt.NDArray[np.int8]
Unit = npt.NDArray[np.float32]


class SketchOf(NamedTuple):
    """What it is a sketch of: looks by one maker, of so many dimensions, kept for one mission."""

    by: str
    mission: str
    dimensions: int


class SketchPosition(NamedTuple):
    """How much of a sketch somebody has: the first `rows` of an edition, and their running CRC32C."""

    edition: int = 0
    rows: int = 0
    crc: int = 0


class SketchDelta(msgspec.Struct, frozen=True, kw_only=True):
    """What one is told: behind the first `at` rows of the edition those of `data` (rows, deflated), so that there
    are `count`, with that `crc`. Where `former` is not 0, the first `at` are those rows of that edition whose numbers
    `keep` has (uint16, little); else they are of this one, or none. Where `at` is `count` it tells of no row."""

    format: int = FORMAT
    by: str
    mission: str
    dimensions: int
    edition: int
    former: int = 0
    keep: bytes = b""
    at: int
    count: int
    crc: int
    data: bytes
    among: int = 1
    """Among how many devices chance is shared."""

    @property
    def of(self) -> SketchOf:
        """What it is of."""
        return SketchOf(self.by, self.mission, self.dimensions)

    @property
    def position(self) -> SketchPosition:
        """Where one is who has it."""
        return SketchPosition(self.edition, self.count, self.crc)


class Sketch:
    """Rows int8 [n, d + 1] (`coarse`), compared by their cosine. One thread adds; others may compare meanwhile.

    >>> of = SketchOf("example", "hall", 2)
    >>> here, there = Sketch(of, 1), None
    >>> here.append(coarse(np.array([[90, 0], [0, 90]], np.int8)))
    >>> delta = here.delta(SketchPosition())
    >>> there = applied(there, delta)
    >>> there.novelty(np.array([[50, 0], [60, 60], [-9, -9]], np.int8)).round(3).tolist()
    [0.0, 0.293, 1.707]
    >>> there.position == here.position, here.delta(there.position)
    (True, None)
    """

    def __init__(self, of: SketchOf, edition: int, rows: Rows | None = None) -> None:
        self.of, self.edition = of, edition
        self._rows: Rows = np.zeros((_ROOM, of.dimensions + 1), np.int8)
        self._unit: Unit = np.zeros((_ROOM, of.dimensions), np.float32)
        self._crcs = [0]
        self._count = 0
        if rows is not None:
            self.append(rows)

    def __len__(self) -> int:
        return self._count

    @property
    def rows(self) -> Rows:
        """All, in order, int8 [n, d + 1]."""
        return self._rows[: self._count]

    @property
    def directions(self) -> Unit:
        """What they stand for, float32 [n, d]: the product of one with a look of length 1 is their cosine."""
        return self._unit[: self._count]

    @property
    def position(self) -> SketchPosition:
        """Where one is who has all of it."""
        return SketchPosition(self.edition, self._count, self._crcs[self._count])

    def has(self, position: SketchPosition) -> bool:
        """Whether that is a part of this edition of it."""
        same = position.edition == self.edition and 0 <= position.rows <= self._count
        return same and self._crcs[position.rows] == position.crc

    def append(self, rows: Rows) -> None:
        """Add rows, int8 [n, d + 1], as they are."""
        count, more = self._count, len(rows)
        if count + more > len(self._rows):
            room = max(2 * len(self._rows), count + more)
            rows_before, unit_before = self._rows, self._unit
            self._rows = np.zeros((room, self.of.dimensions + 1), np.int8)
            self._unit = np.zeros((room, self.of.dimensions), np.float32)
            self._rows[:count], self._unit[:count] = rows_before[:count], unit_before[:count]
        self._rows[count : count + more] = rows
        self._unit[count : count + more] = directions(rows)
        self._crcs += crcs_of(rows, self._crcs[count])
        self._count = count + more  # last: who compares meanwhile sees whole rows

    def novelty(self, vectors: Rows) -> npt.NDArray[np.float64]:
        """One minus the greatest cosine to any row, float64 [m] of int8 [m, d], as rows tell it; 1 where there is none,
        and of a vector of length 0."""
        count = self._count
        if not count:
            return np.ones(len(vectors))
        unit = self._unit[:count]
        # einsum and not BLAS, which takes all cores for this, and waits for them
        alike = [np.einsum("ij,j->i", unit, vector).max() for vector in unit_rows(vectors)]
        return np.array([1.0 - min(max(float(each), -1.0), 1.0) for each in alike], np.float64)

    def delta(
        self,
        position: SketchPosition,
        former: int = 0,
        kept: npt.NDArray[np.int64] | None = None,
        most_bytes: int = 1 << 20,
    ) -> SketchDelta | None:
        """What is missing there, or the first of it, in about `most_bytes`; None if nothing is. `kept` are the numbers
        that the first rows had in the edition `former`."""
        keep, at = b"", 0
        if self.has(position):
            at, former = position.rows, 0
            if at == self._count:
                return None
        elif kept is not None and former and position.edition == former:
            those = kept[kept < position.rows]
            keep, at = those.astype("<u2").tobytes(), len(those)
        else:
            former = 0
        # No row takes less than a bit a number: what is behind so many need not be compressed to see what fits.
        count, data = min(self._count, at + max(1, 8 * most_bytes // self.of.dimensions)), b""
        while True:
            data = zlib.compress(self._rows[at:count].tobytes(), 9)
            if len(data) + len(keep) <= most_bytes or count <= at + 1:
                break
            count = at + max(1, int((count - at) * 0.97 * max(most_bytes - len(keep), 1) / len(data)))
        by, mission, dimensions = self.of
        return SketchDelta(
            by=by,
            mission=mission,
            dimensions=dimensions,
            edition=self.edition,
            former=former,
            keep=keep,
            at=at,
            count=count,
            crc=self._crcs[count],
            data=data,
        )

    def nothing(self) -> SketchDelta:
        """What is told to whoever has all of it."""
        by, mission, dimensions = self.of
        edition, count, crc = self.position
        return SketchDelta(
            by=by,
            mission=mission,
            dimensions=dimensions,
            edition=edition,
            at=count,
            count=count,
            crc=crc,
            data=zlib.compress(b""),
        )


def applied(held: Sketch | None, delta: SketchDelta) -> Sketch:
    """The sketch with what one is told; `held` itself where that is only more of it, or known already.

    Raises:
        ValueError: it does not fit what is held, or is none.
    """
    if delta.format != FORMAT:
        raise ValueError(f"it has format {delta.format}, this version knows {FORMAT}")
    if not (0 <= delta.at <= delta.count <= MOST_ROWS and 0 < delta.dimensions <= MOST_DIMENSIONS):
        raise ValueError(f"rows {delta.at} to {delta.count} of {delta.dimensions} are none")
    if held is not None and held.of != delta.of:
        raise ValueError(f"it is of {delta.of}, held is one of {held.of}")
    if held is not None and held.has(delta.position):
        return held
    if held is not None and held.edition > delta.edition:
        raise ValueError(f"it is of edition {delta.edition}, and {held.edition} is held")
    base = _base(held, delta)
    more = _rows_of(delta)
    before = 0 if not len(base) else crcs_of(base, 0)[-1]
    crc = crcs_of(more, before)[-1] if len(more) else before
    if crc != delta.crc:
        raise ValueError("it does not go with the rows that are held")
    if held is not None and held.edition == delta.edition and len(held) == delta.at:
        held.append(more)
        return held
    return Sketch(delta.of, delta.edition, np.concatenate([base, more]))


def coarse(vectors: Rows, *, fine: bool = False) -> Rows:
    """Vectors int8 [n, d] as rows of a sketch, int8 [n, d + 1]: about their direction, and, as the last number, the
    cosine to that.

    Numbers are from -2 to 2, if that is enough: in many dimensions what is rounded off is at right angles to nearly all
    else, so that a look's cosine to it is that to its row over the cosine of both, and the nearer the less it errs
    (J. Gao, C. Long, "RaBitQ", SIGMOD 2024, does so with bits). Else, and where it is to be `fine`, up to `LEVELS`.

    >>> coarse(np.array([[127, -64, 3], [0, 0, 0]], np.int8)).tolist()
    [[15, -8, 0, 127], [0, 0, 0, -128]]
    """
    numbers = vectors.astype(np.float32)
    most = np.abs(numbers).max(axis=1, keepdims=True, initial=0.0)
    many = np.rint(numbers * (LEVELS / np.where(most > 0, most, 1.0)))
    step = _STEP * np.sqrt(np.mean(np.square(numbers), axis=1, keepdims=True))
    few = np.clip(np.rint(numbers / np.where(step > 0, step, 1.0)), -_FEW, _FEW)
    alike = _cosines(numbers, few)
    off = np.sqrt(np.maximum(1.0 - alike**2, 0.0) / max(vectors.shape[1] - 1, 1))
    enough = (off <= _OFF * alike) & (not fine)
    made = np.where(enough[:, None], few, many)
    alike = np.where(enough, alike, _cosines(numbers, many))
    said = np.rint(np.clip((alike - _LEAST) / (1.0 - _LEAST), 0.0, 1.0) * _PARTS) - 128
    rows: Rows = np.concatenate([made, said[:, None]], axis=1).astype(np.int8)
    return rows


def directions(rows: Rows) -> Unit:
    """What rows int8 [n, d + 1] stand for, float32 [n, d]: of a length of one over the cosine that they tell."""
    alike = _LEAST + (rows[:, -1:].astype(np.float32) + 128.0) * ((1.0 - _LEAST) / _PARTS)
    found: Unit = (unit_rows(rows[:, :-1]) / alike).astype(np.float32)
    return found


def unit_rows(rows: Rows) -> Unit:
    """Brought to length 1, float32; those of length 0 stay."""
    numbers = rows.astype(np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", numbers, numbers))[:, None]
    unit: Unit = (numbers / np.where(length > 0, length, 1.0)).astype(np.float32)
    return unit


def _cosines(one: Unit, other: Unit) -> Unit:
    """Of rows of each, float32 [n]; 0 where one has no length."""
    lengths = np.sqrt(np.einsum("ij,ij->i", one, one) * np.einsum("ij,ij->i", other, other))
    found: Unit = np.einsum("ij,ij->i", one, other) / np.where(lengths > 0, lengths, 1.0)
    return found


def crcs_of(rows: Rows, before: int) -> list[int]:
    """The running CRC32C behind each row, where it was `before` in front of the first."""
    found = []
    for row in rows:
        before = int(crc32c.crc32c(row.tobytes(), before))
        found.append(before)
    return found


def _base(held: Sketch | None, delta: SketchDelta) -> Rows:
    """The rows that stay."""
    if not delta.at:
        return np.zeros((0, delta.dimensions + 1), np.int8)
    if held is None:
        raise ValueError(f"it goes on from row {delta.at}, and nothing is held")
    if not delta.former:
        if held.edition != delta.edition or len(held) < delta.at:
            raise ValueError(f"it goes on from row {delta.at} of edition {delta.edition}; held is {held.position}")
        return held.rows[: delta.at]
    if held.edition != delta.former or len(delta.keep) != 2 * delta.at:
        raise ValueError(f"it thins edition {delta.former}; held is {held.position}")
    keep = np.frombuffer(delta.keep, "<u2")
    if len(keep) and int(keep.max()) >= len(held):
        raise ValueError(f"it keeps row {int(keep.max())}; held is {held.position}")
    rows: Rows = held.rows[keep]
    return rows


def _rows_of(delta: SketchDelta) -> Rows:
    size = (delta.count - delta.at) * (delta.dimensions + 1)
    try:
        made = zlib.decompressobj()
        data = made.decompress(delta.data, size + 1)
    except zlib.error as error:
        raise ValueError(f"its rows cannot be read: {error}") from error
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes of rows, expected {size}")
    rows: Rows = np.frombuffer(data, np.int8).reshape(-1, delta.dimensions + 1)
    return rows
