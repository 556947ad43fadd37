"""Estimates from units that chance kept: totals and means of all that a device saw, with honest uncertainty."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FEW = 30
"""Below so many draws nobody knows how far off the estimate is likely to be: no interval is stated."""
Z_95 = 1.959963984540054

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """`value`, its standard error, and the 95% interval, None where there were fewer than `FEW` draws."""

    value: float
    error: float
    draws: int
    interval: tuple[float, float] | None


def total(f: Floats, p: Floats) -> Estimate:
    """Horvitz-Thompson: the total of f over all units with p > 0, from the drawn ones' `f` and `p`, float64 [n].

    Its variance is estimated from (1 - p) f^2 / p^2: draws are independent (Poisson sampling).

    >>> total(np.array([2.0, 4.0]), np.array([0.5, 1.0]))[:3]
    (8.0, 2.8284271247461903, 2)
    """
    _check(f, p)
    return _estimate(float((f / p).sum()), (1 - p) * f**2 / p**2)


def mean(f: Floats, p: Floats) -> Estimate:
    """Hajek: the mean of f over all units with p > 0, from the drawn ones: the weights are brought to a sum of 1.

    The variance is that of the ratio's linear part; NaN where nothing was drawn.

    >>> mean(np.array([2.0, 4.0]), np.array([0.5, 0.5])).value
    3.0
    """
    _check(f, p)
    if not len(f):
        return Estimate(math.nan, math.nan, 0, None)
    units = float((1 / p).sum())
    value = float((f / p).sum()) / units
    return _estimate(value, (1 - p) * (f - value) ** 2 / p**2 / units**2)


def total_beside(f: Floats, p: Floats, model: Floats, modelled_total: float) -> Estimate:
    """Difference estimator: the total of f, where something like it is known of every unit.

    `model` [n] is what was expected of the drawn ones, from their scores in the trace, and `modelled_total` its sum
    over all units with p > 0. The better it fits, the smaller the error; it need not fit for the estimate to be right,
    as long as it was not made from these draws.

    >>> total_beside(np.array([2.0]), np.array([0.5]), np.array([1.5]), 10.0).value
    11.0
    """
    return _moved(total(f - model, p), modelled_total)


def mean_beside(f: Floats, p: Floats, model: Floats, modelled_mean: float) -> Estimate:
    """The same of a mean: `modelled_mean` is that of the model over all units with p > 0."""
    return _moved(mean(f - model, p), modelled_mean)


def _estimate(value: float, parts: Floats) -> Estimate:
    """`parts` [n] of the variance, by draw: where a few are most of it, the interval is wider (F. E. Satterthwaite,
    1946), as if only so many had been drawn."""
    variance, draws = float(parts.sum()), len(parts)
    error = math.sqrt(variance)
    if draws < FEW:
        return Estimate(value, error, draws, None)
    wide = _student(variance**2 / float((parts**2).sum())) * error if variance else 0.0
    return Estimate(value, error, draws, (value - wide, value + wide))


def _moved(estimate: Estimate, by: float) -> Estimate:
    held = estimate.interval
    return estimate._replace(value=estimate.value + by, interval=held and (held[0] + by, held[1] + by))


def _student(freedom: float) -> float:
    """The 97.5th percentile of Student's t (R. A. Fisher and E. A. Cornish, 1960); at 5 degrees within 0.01."""
    z, n = Z_95, max(freedom, 5.0)
    return z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)


def _check(f: Floats, p: Floats) -> None:
    if f.shape != p.shape or f.ndim != 1:
        raise ValueError(f"f {f.shape} and p {p.shape}: expected one of each a drawn unit, [n]")
    if len(p) and not (float(p.min()) > 0 and float(p.max()) <= 1):
        raise ValueError("p: expected within (0, 1]; a unit that could not be drawn was not")
