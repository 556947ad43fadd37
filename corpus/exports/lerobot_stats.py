"""The statistics that LeRobot keeps of every feature, of an episode and of all: a model's inputs are scaled by them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Stats = dict[str, Array]
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
MOST_PICTURES = 100
"""Of an episode so many are looked at, evenly spread, as LeRobot does."""
_STRIDE = 4


def of_numbers(rows: Array) -> Stats:
    """Of rows [n, d]: min, max, mean, std and quantiles, float64 [d], of what is finite, else NaN; count, int64 [1].

    >>> of_numbers(np.array([[1.0], [3.0]]))["mean"].tolist()
    [2.0]
    """
    rows = rows.astype(np.float64)
    if np.isfinite(rows).all():
        found = _of_finite(rows)
    else:  # one column has numbers where another has none
        apart = [_of_finite(column[np.isfinite(column)][:, None]) for column in rows.T]
        found = {name: np.concatenate([each[name] for each in apart]) for name in apart[0]}
    return found | {"count": np.array([len(rows)], np.int64)}


def _of_finite(rows: Array) -> Stats:
    if not len(rows):
        return {name: np.full(rows.shape[1], np.nan) for name in ("min", "max", "mean", "std", *QUANTILES)}
    found = {"min": rows.min(axis=0), "max": rows.max(axis=0), "mean": rows.mean(axis=0), "std": rows.std(axis=0)}
    return found | {name: np.quantile(rows, at, axis=0) for name, at in QUANTILES.items()}


def of_pictures(pictures: Sequence[Array]) -> Stats:
    """Of pictures uint8 [h, w, 3] in the order RGB: by channel, [3, 1, 1], of values from 0 to 1."""
    pixels = np.concatenate([each[::_STRIDE, ::_STRIDE].reshape(-1, 3) for each in pictures])
    found = of_numbers(pixels / 255.0)
    found["count"] = np.array([len(pictures)], np.int64)
    return {name: each if name == "count" else each.reshape(3, 1, 1) for name, each in found.items()}


def of_all(episodes: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Of all episodes by feature; quantiles are their means, weighted by counts, as LeRobot has them."""
    return {key: _together([each[key] for each in episodes]) for key in episodes[0]}


def _together(those: Sequence[Stats]) -> Stats:
    means = np.stack([each["mean"] for each in those])
    counts = np.array([float(each["count"][0]) for each in those]).reshape(-1, *[1] * (means.ndim - 1))
    weights = np.where(np.isnan(means), 0.0, counts)
    total = weights.sum(axis=0)
    weights = weights / np.where(total > 0, total, np.nan)

    def weighted(values: Array) -> Array:
        found: Array = (weights * np.nan_to_num(values)).sum(axis=0)  # NaN where no episode has a number
        return found

    def stacked(name: str) -> Array:
        return np.stack([each[name] for each in those])

    mean = weighted(means)
    variance = weighted(stacked("std") ** 2 + (means - mean) ** 2)
    found = {"min": np.fmin.reduce(stacked("min")), "max": np.fmax.reduce(stacked("max")), "mean": mean}
    found |= {"std": np.sqrt(variance), "count": np.array([int(counts.sum())], np.int64)}
    return found | {name: weighted(stacked(name)) for name in QUANTILES}
