"""A Gaussian process over the points of a stage: how much of what would be measured at each is known already.

What was measured is gathered at the nearest point, so that however much there is, there are no more rows than points:
with 400 of them a step takes as long over 10,000 measurements as over 400.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

LENGTHS = (0.05, 0.08, 0.12, 0.2, 0.35)
NOISES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_MOST_FITTED = 160


@dataclass(frozen=True, slots=True)
class Scale:
    """How far apart places are that have nothing to do with each other, as a part of the stage's longest axis, and the
    variance of a single measurement as a part of that of the field."""

    length: float
    noise: float


def alike(one: Floats, other: Floats, length: float) -> Floats:
    """The covariance [n, m] of a field at places [n, d] and [m, d]: one that may change abruptly (Matern, 1/2)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    found: Floats = np.exp(-np.sqrt(np.maximum(squares, 0)) / length)
    return found


def fitted(places: Floats, values: Floats) -> Scale:
    """The most likely scale for what was measured, [n, c] with a mean of 0, at places [n, d]; of very many of some.

    The likelihood is that of all channels together, each with the variance that suits it best.
    """
    if len(places) > _MOST_FITTED:
        chosen = np.linspace(0, len(places) - 1, _MOST_FITTED).astype(np.int64)
        places, values = places[chosen], values[chosen]
    n = len(places)
    best, most = Scale(LENGTHS[len(LENGTHS) // 2], NOISES[0]), -np.inf
    for length in LENGTHS:
        spread, axes = np.linalg.eigh(alike(places, places, length))
        turned = (axes.T @ values) ** 2
        for noise in NOISES:
            each = np.maximum(spread, 0) + noise
            variance = np.maximum((turned / each[:, None]).mean(axis=0), 1e-12)
            likely = -0.5 * (n * float(np.log(variance).sum()) + values.shape[1] * float(np.log(each).sum()))
            if likely > most:
                best, most = Scale(length, noise), likely
    return best


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was measured, by point: where on the mean, [k, d], the mean [k, c], and how often, [k]."""

    places: Floats
    values: Floats
    times: Floats


def gathered(places: Floats, values: Floats, nearest: Indices) -> Gathered:
    """Measurements [n, c] at places [n, d], each brought to its `nearest` [n] point."""
    _, inverse, times = np.unique(nearest, return_inverse=True, return_counts=True)
    sums = np.zeros((len(times), places.shape[1] + values.shape[1]))
    np.add.at(sums, inverse, np.hstack([places, values]))
    means = sums / times[:, None]
    return Gathered(means[:, : places.shape[1]], means[:, places.shape[1] :], times.astype(np.float64))


class Posterior:
    """What is not known of a field at points, by its `covariance` [m, m]; `noise` is that of a measurement."""

    def __init__(self, covariance: Floats, noise: float) -> None:
        self.covariance, self._noise = covariance, noise

    def after(self, points: Floats, measured: Gathered, length: float) -> "Posterior":
        """With what was measured, of a field of which nothing was known before."""
        between = alike(measured.places, measured.places, length)
        between[np.diag_indices_from(between)] += self._noise / measured.times
        known = np.linalg.solve(np.linalg.cholesky(between), alike(measured.places, points, length))
        return Posterior(self.covariance - known.T @ known, self._noise)

    @property
    def variance(self) -> Floats:
        """[m]: 1 where nothing is known."""
        return np.maximum(np.diagonal(self.covariance), 0)

    def explains(self, weights: Floats) -> Floats:
        """How much of the variance of all points, which count by their `weights` [m], one more measurement at each
        [m] would explain (D. A. Cohn, "Neural network exploration using optimal experiment design", 1996)."""
        squares: Floats = weights @ self.covariance**2
        return squares / (self.variance + self._noise)

    def suppose(self, point: int) -> "Posterior":
        """As if one more had been measured at a point."""
        row = self.covariance[point]
        return Posterior(self.covariance - np.outer(row, row / (self.variance[point] + self._noise)), self._noise)


def restless(points: Floats, measured: Gathered, neighbours: int = 5) -> Floats:
    """How much a field changes around each point [m], as a part of how much it does all over: 0 in the midst of what is
    even, above 1 where one thing meets another."""
    over_all = float(measured.values.var(axis=0).sum())
    if len(measured.times) <= neighbours or over_all <= 0:
        return np.ones(len(points))
    squares = ((points[:, None] - measured.places[None]) ** 2).sum(axis=2)
    near = np.argpartition(squares, neighbours, axis=1)[:, :neighbours]
    found: Floats = measured.values[near].var(axis=1).sum(axis=1) / over_all
    return found
