"""The time offset between a camera and a gyro beside it: turned back by the gyro, what is seen only travels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.drivers.stream import Stamps
from sensorium.perception.image_motion import MOST_POINTS, Followed
from sensorium.perception.travel import TravelFit

Floats = npt.NDArray[np.float64]

MOST_S = 0.2
"""Offsets are looked for up to so much, either way."""
LEAST_PAIRS = 25
LEAST_SHARE = 0.25
"""So much of what does not fit one direction of travel must the gyro's turns explain. The least of what was right is
the EuRoC excerpt's, which hardly turns (0.011 rad/s): 0.43; rovers and drones are at 0.8 to 0.9."""
FLOOR_S = 0.0025
"""An interval is no narrower than so much either way: its scatter does not show what all pictures of a drive share, as
the delay of a gyro's own filter. What was told was up to 1 ms off, by a scatter of 0.1 to 0.6."""
_STEP_S = 0.005
_LONGEST_S = 0.25
_OFFSETS: Floats = np.arange(-round(MOST_S / _STEP_S), round(MOST_S / _STEP_S) + 1).astype(np.float64) * _STEP_S
_ROUGH_POINTS, _ROUGH_LIKE, _ROUGH_STEPS, _TRIED = 30, 3.0, 2, 5
_PASSES, _STEPS = 2, 8
_MOST_STEP: Floats = np.array([_STEP_S, 0.05, 0.05, 0.05])
_NEAR: Floats = np.array([0.0005, 0.002, 0.002, 0.002])
# Consecutive pairs share what they are off by.
_BLOCK = 8


class TimeOffset(NamedTuple):
    """By how much the camera's stamps are late against the gyro's, s, and between what it lies (about 99%)."""

    offset_s: float
    low_s: float
    high_s: float


def time_offset(
    seen_ns: Stamps,
    followed: Sequence[Followed | None],
    gyro_ns: Stamps,
    rates: Floats,
    camera_of_gyro: Floats,
    readout_s: float = 0.0,
) -> TimeOffset | str:
    """The offset, or why it cannot be told.

    Args:
        seen_ns: When each picture was taken, its middle row, [n].
        followed: The points from the one before to each, [n]; None where there are too few, as in the first.
        gyro_ns: Stamps of the gyro's rows, [m].
        rates: Its rates around three axes, rad/s, [m, 3].
        camera_of_gyro: What turns a vector in the gyro's axes into the camera's, [3, 3].
        readout_s: How much later the last row of a picture was taken than its first. Each point is then turned by how
            the gyro turned between its own row and the middle one.

    For each offset the points of each pair of pictures are turned back by how the gyro turned between them, and what
    does not fit one direction of travel is summed (see `TravelFit`): near and far points may pass by at whatever speed.
    The gyro's constant error is found along with it. From the best of a grid offset and error are followed to where
    the least is left (Gauss and Newton). The interval is three deviations of that by the scatter of blocks of pairs
    (P. Huber's sandwich), and `FLOOR_S`.

    >>> at, rng = np.arange(0, 4, 0.005), np.random.default_rng(0)
    >>> angle = lambda t: 0.1 * np.outer(np.sin(4 * t) + np.sin(7 * t), [0, 0, 1.0])  # around the optical axis
    >>> taken, before = np.arange(0.5, 3.5, 0.05), rng.uniform(-0.5, 0.5, (30, 2))
    >>> turned = np.diff(angle(taken)[:, 2])
    >>> seen = [before @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in turned]
    >>> followed = [None, *(Followed(before, after, 1 / 200) for after in seen)]
    >>> late_ns = np.round(taken * 1e9).astype(np.int64) + 30_000_000
    >>> rates = np.gradient(angle(at), at, axis=0)
    >>> found = time_offset(late_ns, followed, np.round(at * 1e9).astype(np.int64), rates, np.eye(3))
    >>> round(found.offset_s, 3), found.low_s < 0.03 < found.high_s
    (0.03, True)
    """
    start_ns = int(min(seen_ns[0], gyro_ns[0])) if len(seen_ns) and len(gyro_ns) else 0
    seen, gyro = (seen_ns - start_ns) / 1e9, (gyro_ns - start_ns) / 1e9
    if len(gyro) < 2 or len(seen) < 2:
        return "too few samples"
    steps = (rates[1:] + rates[:-1]) / 2 * np.diff(gyro)[:, None]
    turned = np.vstack([np.zeros(3), np.cumsum(steps, axis=0)]) @ camera_of_gyro.T
    spans = np.diff(seen, prepend=seen[0])
    held = np.array([each is not None for each in followed]) & (spans > 0) & (spans < _LONGEST_S)
    around_s = MOST_S + readout_s / 2
    held &= (seen - spans - around_s >= gyro[0]) & (seen + around_s <= gyro[-1])
    pairs = int(held.sum())
    if pairs < LEAST_PAIRS:
        return f"{pairs} pairs of pictures with points to follow and the gyro around them, at least {LEAST_PAIRS}"
    kept = [each for each, holds in zip(followed, held, strict=True) if holds and each is not None]
    return _Search(kept, seen[held], spans[held], gyro, turned, readout_s).found()


class _Search:
    """For the offset of pairs of pictures, `spans` long (s), against what the gyro `turned` up to each of its rows."""

    def __init__(
        self,
        followed: Sequence[Followed],
        seen: Floats,
        spans: Floats,
        gyro: Floats,
        turned: Floats,
        readout_s: float,
    ) -> None:
        self._rough, self._travel = TravelFit(followed, _ROUGH_POINTS, _ROUGH_LIKE), TravelFit(followed, MOST_POINTS)
        self._seen, self._spans, self._gyro, self._turned = seen, spans[:, None], gyro, turned
        self._readout_s = readout_s

    def found(self) -> TimeOffset | str:
        """The offset at which least is left, or why there is none."""
        best, at = self._begin()
        if best in (0, len(_OFFSETS) - 1):
            return f"it lies beyond {MOST_S * 1000:g} ms, or what is seen does not move as the gyro turns"
        for _ in range(_PASSES):
            way = self._stood(self._travel, at).guess(self._turns(at))
            for _ in range(_STEPS):
                first, second, way = self._slopes(at, way)
                step = -np.linalg.lstsq(second, first.sum(axis=0))[0]
                at = at + np.clip(step, -_MOST_STEP, _MOST_STEP)
        offset_s = float(at[0])
        if abs(offset_s - _OFFSETS[best]) > 2 * _STEP_S:
            return "too little turns to tell (no offset is clearly the best)"
        left = float(self._stood(self._travel, at).misfit(self._turns(at), way).left.sum())
        still = self._still()
        if still - left < LEAST_SHARE * still:
            share = (still - left) / max(still, 1e-9)
            return f"what is seen does not move as the gyro turns ({share:.0%} explained, at least {LEAST_SHARE:.0%})"
        half_s = 3 * self._deviation(at, way) + FLOOR_S
        return TimeOffset(offset_s, offset_s - half_s, offset_s + half_s)

    def _begin(self) -> tuple[int, Floats]:
        """Which offset of the grid is the best, and it with the gyro's error there [4]: by few points of each pair,
        and of those that are best by these by all points."""
        tried = []
        for offset_s in _OFFSETS:
            at = np.array([offset_s, 0.0, 0.0, 0.0])
            for _ in range(_ROUGH_STEPS):
                at = self._drifted(self._rough, at, None)
            tried.append((float(self._stood(self._rough, at).misfit(self._turns(at)).left.sum()), at))
        chosen = sorted(range(len(tried)), key=lambda index: tried[index][0])[:_TRIED]
        lefts = {}
        for index in chosen:
            turns, travel = self._turns(tried[index][1]), self._stood(self._travel, tried[index][1])
            lefts[index] = float(travel.misfit(turns, travel.guess(turns)).left.sum())
        best = min(chosen, key=lefts.__getitem__)
        return best, tried[best][1]

    def _still(self) -> float:
        """What is left where it does not turn."""
        at, way = np.zeros(4), self._travel.guess(np.zeros((len(self._seen), 3)))
        for _ in range(_STEPS):
            at = self._drifted(self._travel, at, way, turns=False)
        return float(self._travel.misfit(at[1:] * self._spans, way).left.sum())

    def _turns(self, at: Floats) -> Floats:
        """Of each pair by the gyro, with the camera's stamps late by so much, and that error of it, rad, [pairs, 3]."""
        begun, ended = self._seen - self._spans[:, 0], self._seen
        ends = [_between(self._gyro, self._turned, each - at[0]) for each in (begun, ended)]
        return ends[1] - ends[0] + at[1:] * self._spans

    def _stood(self, travel: TravelFit, at: Floats) -> TravelFit:
        """The points as they were to be seen had all rows been taken with the middle one; the stamps are late by so
        much."""
        if not self._readout_s:
            return travel
        ends = np.stack([self._seen - self._spans[:, 0], self._seen])[..., None] - at[0]
        own = _between(self._gyro, self._turned, (ends + self._readout_s * travel.rows).ravel())
        middle = _between(self._gyro, self._turned, ends.ravel()).reshape(2, -1, 1, 3)
        return travel.turned(own.reshape(*travel.rows.shape, 3) - middle)

    def _drifted(self, travel: TravelFit, at: Floats, way: Floats | None, turns: bool = True) -> Floats:
        """With the gyro's error a step nearer to where least is left."""
        if turns:
            found = self._stood(travel, at).misfit(self._turns(at), way)
        else:
            found = travel.misfit(at[1:] * self._spans, way)
        second = (self._spans[..., None] ** 2 * found.second).sum(axis=0)
        step = -np.linalg.lstsq(second, (self._spans * found.first).sum(axis=0))[0]
        moved: Floats = at + np.concatenate([[0.0], np.clip(step, -_MOST_STEP[1], _MOST_STEP[1])])
        return moved

    def _slopes(self, at: Floats, way: Floats) -> tuple[Floats, Floats, Floats]:
        """How what is left changes with offset and error: of each pair first [pairs, 4], of all second [4, 4]."""
        found = self._stood(self._travel, at).misfit(self._turns(at), way)
        near = np.array([0.001, 0.0, 0.0, 0.0])
        by_offset = (self._turns(at + near) - self._turns(at - near)) / 0.002
        by = np.concatenate([by_offset[..., None], self._spans[..., None] * np.eye(3)], axis=2)
        return (
            np.einsum("kia,ki->ka", by, found.first),
            np.einsum("kia,kij,kjb->ab", by, found.second, by),
            found.way,
        )

    def _deviation(self, at: Floats, way: Floats) -> float:
        """Of the offset, s, by how far blocks of pairs disagree, and how fast what is left rises around it."""
        first = self._slopes(at, way)[0]
        blocks = np.add.reduceat(first, np.arange(0, len(first), _BLOCK), axis=0)
        rises = []
        for near in np.diag(_NEAR):
            ends = [self._slopes(each, way)[0].sum(axis=0) for each in (at + near, at - near)]
            rises.append((ends[0] - ends[1]) / (2 * near.sum()))
        second = (np.array(rises) + np.array(rises).T) / 2
        inverse = np.linalg.pinv(second)
        return float(np.sqrt((inverse @ (blocks.T @ blocks) @ inverse)[0, 0]))


def _between(gyro: Floats, turned: Floats, at: Floats) -> Floats:
    return np.column_stack([np.interp(at, gyro, turned[:, axis]) for axis in range(3)])
