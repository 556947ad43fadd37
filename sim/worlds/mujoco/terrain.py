"""Rough ground: a seeded field of heights, what stands on it, and where rays meet it.

MuJoCo's own rays through a height field look at each triangle below them: 5,760 rays took 64 ms on 128 x 128 cells (as
a mesh, 6 ms). Rays from one point over a field of heights are cheaper: along each azimuth the steepest ground so far
only rises, so where a ray first meets it is a search in a sorted row.
"""

import itertools
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

_AZIMUTHS = 360
_NEAR_M = 0.2
_STEP_M, _STEP_PER_M = 0.25, 0.05
"""How far apart a ray looks at the ground: fixed near by, and growing with the distance."""
_STEEPEST = 100.0


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
        self._ground = ground
        reach = [_NEAR_M]
        while reach[-1] < most_m:
            reach.append(min(reach[-1] + max(_STEP_M, _STEP_PER_M * reach[-1]), most_m))
        self._reach = np.array(reach, np.float32)
        angle = np.arange(_AZIMUTHS + 1) * (2 * np.pi / _AZIMUTHS)  # the last is the first again
        self._across = np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)

    def ranges(self, origin: Floats, rays: Singles) -> Singles:
        """Distances [n], m, along unit vectors `rays` [3, n] from `origin` [3], in the world; inf where none is met."""
        x, y, z = rays
        flat, turned = (found.ravel() for found in cv2.cartToPolar(x, y, angleInDegrees=True))  # good to 0.01 degrees
        flat = np.maximum(flat, np.float32(1e-6))
        climb = z / flat
        turn = (turned * np.float32(_AZIMUTHS / 360) + np.float32(0.5)).astype(np.int32)
        is_looked = np.zeros(_AZIMUTHS + 1, np.bool_)  # a sector of a revolution needs no other azimuths
        is_looked[turn] = True
        looked, place = np.flatnonzero(is_looked), (np.cumsum(is_looked) - 1)[turn]
        ground, half = self._ground, self._ground.half_m
        column, row = ((float(origin[axis]) + half) / ground.cell_m for axis in (0, 1))
        # Where the ground ends it is highest: each azimuth is looked at up to its border, and there once more.
        across = self._across[:, looked]
        start = np.array([[origin[0]], [origin[1]]], np.float32)
        toward = np.where(np.abs(across) < 1e-6, np.float32(1e-6), across)
        borders = ((np.copysign(np.float32(half), toward) - start) / toward).min(axis=0)
        reaches = np.minimum(self._reach, np.maximum(borders, np.float32(_NEAR_M))[:, None])
        steps = reaches * np.float32(1 / ground.cell_m)
        heights = ground._sampled(
            steps * across[0][:, None] + np.float32(column), steps * across[1][:, None] + np.float32(row)
        )
        steepest = (heights - np.float32(origin[2])) / reaches
        np.clip(steepest, -_STEEPEST, _STEEPEST, out=steepest)
        rising = np.ascontiguousarray(steepest.T)  # place by place, all azimuths at once: twice as fast as `accumulate`
        for below, here in itertools.pairwise(rising):
            np.maximum(below, here, out=here)
        ranges = np.full(len(x), np.inf, np.float32)
        meets = np.flatnonzero(climb <= rising[-1][place])
        if not len(meets):
            return ranges
        # All rows as one sorted row: each stands a whole span above the one before it.
        above = np.arange(len(looked)) * (4 * _STEEPEST)
        found = np.searchsorted((rising.T + above[:, None]).ravel(), climb[meets] + above[place[meets]])
        step = found - place[meets] * len(self._reach)
        climb = climb[meets]
        rightwards, upwards = (value[meets] / (flat[meets] * np.float32(ground.cell_m)) for value in (x, y))

        def above_ray(reach: Singles, some: Any) -> Singles:
            columns, rows = np.float32(column) + reach * rightwards[some], np.float32(row) + reach * upwards[some]
            over: Singles = ground._sampled(columns, rows) - (np.float32(origin[2]) + reach * climb[some])
            return over

        # The azimuth of the row was rounded: on the ray's own path it is met there, or a step later, or passed.
        mine, last = place[meets], len(self._reach) - 1
        near, far = np.where(step > 0, reaches[mine, step - 1], np.float32(0)), reaches[mine, step]
        over = above_ray(np.stack([near, far]), ...)
        before, behind = over
        later = np.flatnonzero(behind < 0)
        if len(later):
            near[later], before[later] = far[later], behind[later]
            far[later] = reaches[mine[later], np.minimum(step[later] + 1, last)]
            behind[later] = above_ray(far[later][None], later)[0]
        reach = _refined(above_ray, near, far, before, behind)
        ranges[meets] = np.where(behind < 0, np.inf, reach / flat[meets])
        return ranges


AboveRay = Callable[[Singles, Any], Singles]
"""How far the ground is above some of the rays, m, at these reaches."""


def _refined(above_ray: AboveRay, near: Singles, far: Singles, before: Singles, behind: Singles) -> Singles:
    """Where rays meet the ground between two places: false position, twice."""
    at = _crossing(near, far, before, behind)
    middle = above_ray(at[None], ...)[0]
    is_met = middle > 0
    return _crossing(
        np.where(is_met, near, at), np.where(is_met, at, far),
        np.where(is_met, before, middle), np.where(is_met, middle, behind),
    )  # fmt: skip


def _crossing(near: Singles, far: Singles, before: Singles, behind: Singles) -> Singles:
    """Where between two places a height that is `before` (below 0) and then `behind` is 0, if it is straight."""
    share = np.clip(before / np.minimum(before - behind, np.float32(-1e-9)), 0, 1)
    at: Singles = near + share * (far - near)
    return at


def _octave(rng: np.random.Generator, n: int, knots: int) -> Singles:
    """Smooth noise [n, n] of about unit sigma, with this many knots along a side."""
    coarse = rng.standard_normal((knots + 1, knots + 1), np.float32)
    return np.asarray(cv2.resize(coarse, (n, n), interpolation=cv2.INTER_CUBIC), np.float32)
