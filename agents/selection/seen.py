"""Seen: what filters said of one stream's samples that are in no unit yet, and what that makes of a unit."""

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sensorium.drivers.described import Described, Vectors
from sensorium.drivers.stream import Block, Scores, Stamps
from sensorium.episode.unit import Look
from sensorium.perception.descriptor import quantised
from sensorium.perception.gates import Gates

OF_MOMENTS = frozenset({"frozen", "flicker", "hash_distance", "jitter", "saturated", "stuck", "surprise"})
"""Scores of what happens at a moment: a unit has the greatest of them, and the mean of all others."""

BEFORE_ALL = -(2**63)


@dataclass(frozen=True, slots=True)
class Part:
    """What is kept of n samples: their stamps, scores and descriptors; never the samples."""

    captured_ns: Stamps
    scores: Mapping[str, Scores]
    described: Described | None

    def __len__(self) -> int:
        return len(self.captured_ns)

    def cut(self, n: int) -> tuple["Part", "Part"]:
        """The first n, and the others."""
        head, tail = (
            Part(
                self.captured_ns[rows],
                {name: values[rows] for name, values in self.scores.items()},
                None if self.described is None else self.described.take(rows, len(self)),
            )
            for rows in (slice(0, n), slice(n, None))
        )
        return head, tail


class StreamSeen:
    """One judged stream: how far it has come, since when nothing is heard of it, whether it is `here`, and what waits
    to be part of a unit."""

    def __init__(self, passed_ns: int) -> None:
        self.passed_ns = self.heard_ns = passed_ns
        self.here = True
        self._parts: deque[Part] = deque()

    @property
    def first_ns(self) -> int | None:
        """The stamp of the first sample that waits."""
        return int(self._parts[0].captured_ns[0]) if self._parts else None

    def put(self, block: Block) -> None:
        """Samples have come."""
        if len(block):
            self._parts.append(Part(block.captured_ns, block.scores, block.described))

    def next_ns(self, after_ns: int) -> int | None:
        """The first stamp later than this that waits."""
        for part in self._parts:
            if part.captured_ns[-1] > after_ns:
                return int(part.captured_ns[np.searchsorted(part.captured_ns, after_ns, side="right")])
        return None

    def take(self, end_ns: int) -> list[Part]:
        """All before a moment, which wait no more."""
        taken = []
        while self._parts and self._parts[0].captured_ns[0] < end_ns:
            part = self._parts.popleft()
            if part.captured_ns[-1] >= end_ns:
                part, rest = part.cut(int(np.searchsorted(part.captured_ns, end_ns)))
                self._parts.appendleft(rest)
            taken.append(part)
        return taken

    def forget(self) -> None:
        """The clock was set back: what waits is void."""
        self._parts.clear()
        self.passed_ns = self.heard_ns = BEFORE_ALL


@dataclass(frozen=True, slots=True)
class Summary:
    """What one stream was like in a unit: how many samples, how many gates closed by name, scores, and its look; and
    which scores are `infinite` of some sample."""

    count: int
    closed: Counter[str]
    scores: dict[str, float]
    look: Look | None
    infinite: tuple[str, ...] = ()

    @property
    def gate(self) -> str:
        """The one that closes most of its samples, if one does of each; or ""."""
        return self.closed.most_common(1)[0][0] if self.count and self.closed.total() == self.count else ""


def summary(parts: list[Part], gates: Gates, surprise: Scores | None = None) -> Summary:
    """Of all samples of a stream in a unit. Its look is that of those which no gate closes; a score that is NaN of all
    is absent. `surprise`, float64 [n], is a score more.

    >>> noise = Part(np.arange(3), {"noise": np.array([0.5, 0.7, 9.0]), "flicker": np.array([0.0, 0.2, 0.1])}, None)
    >>> found = summary([noise], Gates())
    >>> found.count, dict(found.closed), {name: round(value, 2) for name, value in found.scores.items()}, found.look
    (3, {'noise': 1}, {'noise': 3.4, 'flicker': 0.2}, None)
    """
    count = sum(map(len, parts))
    joined = _joined(parts)
    closed = gates.closed(joined) if joined else [""] * count
    if surprise is not None:
        joined["surprise"] = surprise
    scores = {}
    infinite = []
    for name, values in joined.items():
        if count == 1:
            if math.isfinite(value := float(values[0])):
                scores[name] = value
            elif math.isinf(value):
                infinite.append(name)
            continue
        finite = values[np.isfinite(values)]
        if len(finite) < count and np.isinf(values).any():
            infinite.append(name)
        if len(finite):
            scores[name] = float(finite.max() if name in OF_MOMENTS else finite.mean())
    return Summary(count, Counter(filter(None, closed)), scores, _look(parts, closed), tuple(infinite))


def looks_like(vectors: Vectors) -> Vectors:
    """One descriptor, int8 [d], for those of several samples, int8 [n, d]: their mean direction."""
    if len(vectors) == 1:
        return np.asarray(vectors[0])
    numbers = vectors.astype(np.float64)
    return quantised((numbers / np.maximum(np.linalg.norm(numbers, axis=1, keepdims=True), 1e-9)).mean(axis=0))


def _joined(parts: list[Part]) -> dict[str, Scores]:
    names: dict[str, None] = {name: None for part in parts for name in part.scores}
    if len(parts) == 1:
        return dict(parts[0].scores)
    return {
        name: np.concatenate([part.scores[name] if name in part.scores else _unknown(len(part)) for part in parts])
        for name in names
    }


def _unknown(n: int) -> npt.NDArray[np.float64]:
    return np.full(n, np.nan)


def _look(parts: list[Part], closed: list[str]) -> Look | None:
    """Of one maker: the last, where there are several in a unit."""
    first, found = 0, []
    for part in parts:
        if part.described is not None and len(part.described):
            rows = [place for place, row in enumerate(part.described.rows.tolist()) if not closed[first + row]]
            found += [(part.described, rows)] if rows else []
        first += len(part)
    if not found:
        return None
    by = found[-1][0].by
    same = [(each, rows) for each, rows in found if each.by == by]
    vectors = np.concatenate([each.vectors[rows] for each, rows in same])
    hashes = np.concatenate([each.hashes[rows] for each, rows in same])
    if len(vectors) == 1:
        return Look(by=by, vector=vectors[0].tobytes(), hashes=tuple(hashes[0].tolist()))
    mean = looks_like(vectors)
    numbers = vectors.astype(np.float64)
    alike = numbers @ mean.astype(np.float64) / np.maximum(np.linalg.norm(numbers, axis=1), 1e-9)
    return Look(by=by, vector=mean.tobytes(), hashes=tuple(hashes[int(np.argmax(alike))].tolist()))
