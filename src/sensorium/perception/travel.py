"""Travel: how badly points, turned back by how the camera turned, fit one direction in which it went."""

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.perception.image_motion import Followed

Floats = npt.NDArray[np.float64]

_LIKE_PX = 0.3
_ROUNDS = 5
_GUESSES = 48
_LEAST_FAR = 0.05
"""A point nearer than so much (rad) to where the camera goes tells no more than one that far off."""


class Misfit(NamedTuple):
    """Of each pair of pictures what is left, up to 1/2 of each point [pairs], and how that changes with the turn
    between them: `first` derivative [pairs, 3] and `second` [pairs, 3, 3], the direction of travel, `way` [pairs, 3],
    following (the weight of what fits less is held, so that steps by these do not overshoot)."""

    left: Floats
    first: Floats
    second: Floats
    way: Floats


class TravelFit:
    """Points followed between pairs of pictures, `most` of each; `like` times 0.3 pixels they may be off.

    A camera goes to the right by a tenth, past points at 1 to 5 m, and turns by nothing:

    >>> rng = np.random.default_rng(0)
    >>> before, deep = rng.uniform(-0.5, 0.5, (40, 2)), rng.uniform(1, 5, (40, 1))
    >>> fit = TravelFit([Followed(before, before - [0.1, 0] / deep, 1 / 200)], 40)
    >>> still, turned = np.zeros((1, 3)), np.array([[0.02, 0, 0]])
    >>> abs(fit.misfit(still, fit.guess(still)).way[0]).round(3).tolist()
    [1.0, 0.0, 0.0]
    >>> bool(fit.misfit(still).left[0] < 0.01 < 1 < fit.misfit(turned).left[0])
    True
    """

    def __init__(self, followed: Sequence[Followed], most: int, like: float = 1.0) -> None:
        self._before, self._after = np.zeros((2, len(followed), most, 3))
        self.rows = np.zeros((2, len(followed), most))
        """Where each stood in the picture before and after, in heights below the middle."""
        self._held = np.zeros((len(followed), most))
        self._like = np.array([each.pixel_rad for each in followed])[:, None] * _LIKE_PX * like
        for pair, each in enumerate(followed):
            # Spread over them all: those that were found first may be of one thing, which moves itself.
            chosen = np.linspace(0, len(each.before) - 1, min(len(each.before), most)).round().astype(np.int64)
            count = len(chosen)
            self._before[pair, :count] = np.column_stack([each.before[chosen], np.ones(count)])
            self._after[pair, :count] = np.column_stack([each.after[chosen], np.ones(count)])
            self._held[pair, :count] = 1.0
            if each.rows is not None:
                self.rows[:, pair, :count] = each.rows[chosen].T

    def turned(self, turns: Floats) -> "TravelFit":
        """The same with the rays before and after turned, each by as little as `turns` has (rad, [2, pairs, most, 3]):
        of a rolling shutter to how the camera stood at the middle row."""
        made = copy.copy(self)
        made._before = self._before + np.cross(turns[0], self._before)
        made._after = self._after + np.cross(turns[1], self._after)
        return made

    def guess(self, turns: Floats) -> Floats:
        """Of many ways that each fit two points, the one of each pair that fits best, [pairs, 3] (M. Fischler and R.
        Bolles, "Random sample consensus", 1981): points that move by themselves do not say where the camera goes."""
        _, normals = self._planes(turns)
        every, count = np.arange(len(normals)), self._held.sum(axis=1)
        best, found = np.full(len(normals), np.inf), np.zeros((len(normals), 3))
        rng = np.random.default_rng(0)
        for _ in range(_GUESSES):
            one, two = ((rng.random(len(normals)) * count).astype(np.int64) for _ in range(2))
            way = np.cross(normals[every, one], normals[every, two])
            length = np.linalg.norm(way, axis=1)
            way /= np.maximum(length, 1e-300)[:, None]
            left = np.where(length > 0, self._left(self._off(normals, way)[0]), np.inf)
            found[left < best], best = way[left < best], np.minimum(left, best)
        return found

    def misfit(self, turns: Floats, way: Floats | None = None) -> Misfit:
        """What is left when between each pair the camera turned by `turns` (rad, around its own axes, [pairs, 3]).

        Turned back, a point's ray before and after and the way of the camera lie in one plane, whatever its distance
        (H. Longuet-Higgins, "A computer algorithm for reconstructing a scene from two projections", 1981): the way is
        the direction least along the planes' normals, found again, from `way` on [pairs, 3], as points that do not fit
        lose their weight (S. Geman and D. McClure): what moves by itself, and all alike, pulls at nothing.
        """
        back, normals = self._planes(turns)
        if way is None:  # as if each were off by all that it moved: else the few that move most would say it
            way = _least(normals, self._held / ((normals**2).sum(axis=2) + self._like**2))
        for _ in range(_ROUNDS):
            off, far = self._off(normals, way)
            way = _least(normals, self._certain(off) / far**2)
        off, far = self._off(normals, way)
        certain = self._certain(off)
        apart = np.einsum("kpi,kpi->kp", self._before, back)[..., None] * way[:, None]
        by_turn = (apart - np.einsum("kpi,ki->kp", back, way)[..., None] * self._before) / far[..., None]
        by_way = (normals - (off * far)[..., None] * way[:, None]) / far[..., None]
        first = np.einsum("kp,kp,kpi->ki", certain, off, by_turn)
        both = np.einsum("kp,kpi,kpj->kij", certain, by_way, by_turn)
        ways = np.linalg.pinv(np.einsum("kp,kpi,kpj->kij", certain, by_way, by_way), rcond=1e-6, hermitian=True)
        second = np.einsum("kp,kpi,kpj->kij", certain, by_turn, by_turn)
        return Misfit(self._left(off), first, second - both.transpose(0, 2, 1) @ ways @ both, way)

    def _planes(self, turns: Floats) -> tuple[Floats, Floats]:
        """The rays after, turned back, and the normals of the planes that they span with those before."""
        back = np.einsum("kij,kpj->kpi", _rotations(turns), self._after)
        return back, np.cross(self._before, back)

    def _off(self, normals: Floats, way: Floats) -> tuple[Floats, Floats]:
        """By how much each point is off (rad), and how far it is from where the camera goes."""
        far = np.maximum(np.linalg.norm(np.cross(way[:, None], self._before), axis=2), _LEAST_FAR)
        return np.einsum("kpi,ki->kp", normals, way) / far, far

    def _certain(self, off: Floats) -> Floats:
        found: Floats = self._held / ((1 + (off / self._like) ** 2) * self._like) ** 2
        return found

    def _left(self, off: Floats) -> Floats:
        square = (off / self._like) ** 2
        found: Floats = (square / (1 + square) * self._held).sum(axis=1) / 2
        return found


def _least(normals: Floats, weights: Floats) -> Floats:
    """The direction least along them, [pairs, 3]."""
    found: Floats = np.linalg.eigh(np.einsum("kp,kpi,kpj->kij", weights, normals, normals))[1][:, :, 0]
    return found


def _rotations(turns: Floats) -> Floats:
    """Rotation vectors [n, 3] as matrices [n, 3, 3] (O. Rodrigues)."""
    angle = np.maximum(np.linalg.norm(turns, axis=1), 1e-9)[:, None, None]
    x, y, z = turns.T
    none = np.zeros(len(turns))
    cross = np.array([[none, -z, y], [z, none, -x], [-y, x, none]]).transpose(2, 0, 1)
    turned: Floats = np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * (cross @ cross)
    return turned
