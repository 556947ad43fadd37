"""Rough ground: a seeded field of heights, what stands on it, and where rays meet it.

MuJoCo's own rays through a height field look at each triangle below them: 5,760 rays took 64 ms on 128 x 128 cells (as
a mesh, 6 ms). Rays from one point over a field of heights are cheaper: along each azimuth the steepest ground so far
only rises, so where a ray first meets it is a search in a sorted row.
"""

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

_AZIMUTHS = 360
_MANY = 4 * _AZIMUTHS
"""So many rays from one place look everywhere."""
_NEAR_M = 0.2
_STEP_M, _STEP_PER_M = 0.25, 0.05
"""How far apart a ray looks at the ground: fixed near by, and growing with the distance."""
_STEEPEST = 100.0
_LEAST = np.float32(1e-6)
_LOOKS = np.linspace(0, 1, 13, dtype=np.float32)[:, None]
_LOST_M = 0.02
"""What is so far from the ground where it should meet it meets it elsewhere, or not at all."""


class Terrain:
    """Heights, m, float32 [n, n], row by y and column by x from -half_m to half_m; bilinear in between."""

    def __init__(self, heights: Singles, half_m: float) -> None:
        self.heights = heights
        self.half_m = half_m
        self.cell_m = 2 * half_m / (len(heights) - 1)

    @classmethod
    def grown(cls, rng: np.random.Generator, half_m: float, cells: int, hills_m: float, bumps_m: float) -> "Terrain":
        """Hills of some metres' length and bumps of a few cells', one sigma each; a rim that keeps what drives in."""
        n = cells + 1
        heights = hills_m * _octave(rng, n, 5) + 0.45 * hills_m * _octave(rng, n, 10)
        heights += bumps_m * _octave(rng, n, cells // 4) + 0.5 * bumps_m * _octave(rng, n, cells // 2)
        across = np.abs(np.linspace(-1, 1, n, dtype=np.float32))
        outside = np.maximum(np.maximum(across[:, None], across[None]) - np.float32(0.86), 0) / np.float32(0.14)
        heights += np.float32(0.16 * half_m) * outside**2
        return cls((heights - heights.min()).astype(np.float32), half_m)

    @property
    def top_m(self) -> float:
        """The height of its highest point; the lowest is at 0."""
        return float(self.heights.max())

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Heights, m, at places of one shape."""
        shape = np.shape(x)
        columns = np.ravel((np.asarray(x, np.float64) + self.half_m) / self.cell_m).astype(np.float32)
        rows = np.ravel((np.asarray(y, np.float64) + self.half_m) / self.cell_m).astype(np.float32)
        found: Floats = self._sampled(columns[None], rows[None])[0].reshape(shape).astype(np.float64)
        return found

    def slope(self) -> Singles:
        """The steepest rise at each point, m/m, [n, n]."""
        rise = np.gradient(self.heights, np.float32(self.cell_m))
        steep: Singles = np.hypot(rise[0], rise[1]).astype(np.float32)
        return steep

    def _sampled(self, columns: Singles, rows: Singles) -> Singles:
        found = cv2.remap(self.heights, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(found, np.float32)


class TerrainRays:
    """Where rays from one point meet the ground, up to `most_m` of horizontal distance.

    OpenCV interpolates in 1/32 of a cell, so ranges are good to about that times the slope: millimetres.
    """

    def __init__(self, ground: Terrain, most_m: float) -> None:
        self._ground, self._top_m = ground, ground.top_m
        reach = [_NEAR_M]
        while reach[-1] < most_m:
            reach.append(min(reach[-1] + max(_STEP_M, _STEP_PER_M * reach[-1]), most_m))
        self._reach = np.array(reach, np.float32)
        angle = np.arange(_AZIMUTHS + 1) * (2 * np.pi / _AZIMUTHS)  # the last is the first again
        across = np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)
        # And the same again, where what is 0 can be divided by.
        self._across = np.concatenate([across, np.where(np.abs(across) < 1e-6, np.float32(1e-6), across)])
        self._numbers = np.arange(len(reach) * len(angle) * 2, dtype=np.float64)

    def ranges(self, origins: Floats, rays: Singles, begins: Indices | None = None) -> Singles:
        """Distances [n], m, along unit vectors `rays` [3, n], in the world; inf where none is met. All begin at one
        origin [3], or each `begins` [n] at one of `origins` [k, 3]."""
        x, y, z = rays
        starts = np.ascontiguousarray(np.atleast_2d(origins).T, np.float32)
        flat, turned = (found.ravel() for found in cv2.cartToPolar(x, y, angleInDegrees=True))  # good to 0.01 degrees
        np.maximum(flat, np.float32(1e-6), out=flat)
        climb = z / flat
        turned *= np.float32(_AZIMUTHS / 360)
        turned += np.float32(0.5)
        turn = turned.astype(np.intp)
        if begins is None and len(turn) > _MANY:
            profile, place = _Profile(self._ground, self._top_m, starts, self._reach, self._across), turn
        else:  # a sector of a revolution needs no other azimuths
            if begins is not None:
                turn += begins * (_AZIMUTHS + 1)
            is_looked = np.zeros(starts.shape[1] * (_AZIMUTHS + 1), np.bool_)
            is_looked[turn] = True
            looked, place = np.flatnonzero(is_looked), (np.cumsum(is_looked) - 1).take(turn)
            origin, azimuth = np.divmod(looked, _AZIMUTHS + 1)
            profile = _Profile(
                self._ground, self._top_m, starts.take(origin, axis=1), self._reach, self._across.take(azimuth, axis=1)
            )
        ranges = np.full(len(x), np.inf, np.float32)
        meets = np.flatnonzero(climb <= profile.highest.take(place))
        if len(meets):
            flat = flat.take(meets)
            begin = None if begins is None else begins.take(meets)
            paths = _Paths.of(self._ground, starts, begin, rays[:2].take(meets, axis=1) / flat, climb.take(meets))
            ranges[meets] = _met(profile, paths, place.take(meets), self._numbers) / flat
        return ranges


class _Profile:
    """The ground as it is seen from `starts` [3, a], or [3, 1] for all, along an azimuth `across` [4, a] each, place by
    place [s, a]: how far it is, how steep it is to look at, and the steepest so far.

    Where the ground ends it is highest: each azimuth is looked at up to its border, and there once more.
    """

    def __init__(self, ground: Terrain, top_m: float, starts: Singles, reach: Singles, across: Singles) -> None:
        half, cells = np.float32(ground.half_m), np.float32(1 / ground.cell_m)
        across, toward = across[:2] * cells, across[2:]
        border = np.copysign(half, toward)
        border -= starts[:2]
        border /= toward
        borders = np.minimum(border[0], border[1])
        np.maximum(borders, np.float32(_NEAR_M), out=borders)
        reach = reach[: reach.searchsorted(borders.max()) + 1]
        self.reaches = np.minimum(reach[:, None], borders)
        column, row = (starts[:2] + half) * cells
        columns, rows = self.reaches * across[0], self.reaches * across[1]
        columns += column
        rows += row
        heights = ground._sampled(columns, rows)
        heights -= starts[2]
        heights /= self.reaches
        self.steepness = heights
        if not -_STEEPEST * _NEAR_M < -starts[2].max() <= top_m - starts[2].min() < _STEEPEST * _NEAR_M:
            np.clip(heights, np.float32(-_STEEPEST), np.float32(_STEEPEST), out=heights)
        self.rising = np.empty_like(heights)
        self.rising[0] = heights[0]  # place by place, all azimuths at once: twice as fast as `accumulate`
        for below, here, there in zip(self.rising[:-1], heights[1:], self.rising[1:], strict=True):
            np.maximum(below, here, out=there)
        self.highest: Singles = self.rising[-1]

    def step(self, climb: Singles, place: Indices, numbers: Floats) -> Floats:
        """Between which places of its azimuth the ground rises over what climbs so steeply [n]: from 0 on, with the
        share of the way from one to the next. `numbers` are 0, 1, ... as far as is known."""
        count, azimuths = self.rising.shape
        # All rows as one that rises: each stands a whole span above the one before it.
        above = np.arange(azimuths) * (4 * _STEEPEST)
        rows = np.add(cv2.transpose(self.rising), above[:, None]).ravel()
        if len(numbers) < len(rows):
            numbers = np.arange(len(rows), dtype=np.float64)
        found: Floats = np.interp(climb + above.take(place), rows, numbers[: len(rows)])
        found -= place * count
        return np.maximum(found, 0, out=found)


class _Paths:
    """The ways of rays over the ground, each from a `column` and a `row` [n] of it, and from so `high`; or [1] for all.
    A metre of reach is so many columns and rows `across` [2, n], and `climb` [n] up."""

    def __init__(self, ground: Terrain, starts: Singles, across: Singles, climb: Singles) -> None:
        self._ground, self._starts, self._across, self.climb = ground, starts, across, climb

    @classmethod
    def of(cls, ground: Terrain, starts: Singles, begins: Indices | None, across: Singles, climb: Singles) -> "_Paths":
        """Of rays that begin at `starts` [3, k], each at one of `begins` [n], and go `across` [2, n] in the plane."""
        places = starts.copy()
        places[:2] += np.float32(ground.half_m)
        places[:2] *= np.float32(1 / ground.cell_m)
        across *= np.float32(1 / ground.cell_m)
        return cls(ground, places if begins is None else places.take(begins, axis=1), across, climb)

    def some(self, chosen: Indices) -> "_Paths":
        """Those of some of the rays."""
        starts = self._starts if self._starts.shape[1] == 1 else self._starts.take(chosen, axis=1)
        return _Paths(self._ground, starts, self._across.take(chosen, axis=1), self.climb.take(chosen))

    def above(self, reach: Singles) -> Singles:
        """How far the ground is above the rays, m, at these reaches [..., n]."""
        column, row, high = self._starts
        columns, rows = reach * self._across[0], reach * self._across[1]
        columns += column
        rows += row
        over = self._ground._sampled(np.atleast_2d(columns), np.atleast_2d(rows)).reshape(reach.shape)
        over -= reach * self.climb
        over -= high
        return over


def _met(profile: _Profile, paths: _Paths, place: Indices, numbers: Floats) -> Singles:
    """How far away each ray meets the ground, m of reach; inf where it does not."""
    count, azimuths = profile.reaches.shape
    step = profile.step(paths.climb, place, numbers)
    first = step.astype(np.intp)
    np.minimum(first, count - 2, out=first)
    share = (step - first).astype(np.float32)
    first *= azimuths
    first += place
    second = first + azimuths
    reaches, steepness = profile.reaches.ravel(), profile.steepness.ravel()
    near, far = reaches.take(first), reaches.take(second)
    # The azimuth of the row was rounded, so this is about by how much the ray itself comes nearer to the ground.
    before, behind = (steepness.take(first) - paths.climb) * near, (steepness.take(second) - paths.climb) * far
    behind -= before
    at_rate = far - near
    share *= at_rate
    at_rate /= np.maximum(behind, _LEAST, out=behind)
    at: Singles = near + share
    at -= paths.above(at) * at_rate
    np.maximum(at, near, out=at)
    np.minimum(at, far, out=at)
    over = paths.above(at)
    at -= over * at_rate
    passed = np.flatnonzero(~(np.abs(over) < _LOST_M))
    if len(passed):
        after = np.ceil(step.take(passed)).astype(np.intp)
        at[passed] = _searched(profile, paths.some(passed), place.take(passed), after)
    return at


def _searched(profile: _Profile, paths: _Paths, place: Indices, step: Indices) -> Singles:
    """The same of rays that pass by where they should meet it: on its own path a ray meets the ground up to two steps
    before the end of that in which it should, or in the next, or has passed."""
    count, azimuths = profile.reaches.shape
    reaches = profile.reaches.ravel()
    start = reaches.take(np.maximum(step - 2, 0) * azimuths + place)
    start[step <= 1] = 0
    end = reaches.take(np.minimum(step + 1, count - 1) * azimuths + place)
    at = _LOOKS * (end - start)
    at += start
    over = paths.above(at)
    is_met = over >= 0
    behind = np.maximum(is_met.argmax(axis=0), 1)
    behind *= len(start)
    behind += np.arange(len(start))
    front = behind - len(start)
    near, before = at.take(front), over.take(front)
    before_share = before / np.minimum(before - over.take(behind), -_LEAST)
    np.maximum(before_share, 0, out=before_share)
    share = np.minimum(before_share, 1, out=before_share)  # where it is 0, if it is straight
    met: Singles = near + share * (at.take(behind) - near)
    met[~is_met.any(axis=0)] = np.inf
    return met


def _octave(rng: np.random.Generator, n: int, knots: int) -> Singles:
    """Smooth noise [n, n] of about unit sigma, with this many knots along a side."""
    coarse = rng.standard_normal((knots + 1, knots + 1), np.float32)
    return np.asarray(cv2.resize(coarse, (n, n), interpolation=cv2.INTER_CUBIC), np.float32)
