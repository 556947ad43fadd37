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
    """Of rows [n, d]: min, max, mean, std and quantiles, float64 [d], and count, int64 [1].

    >>> of_numbers(np.array([[1.0], [3.0]]))["mean"].tolist()
    [2.0]
    """
    rows = rows.astype(np.float64)
    found = {"min": rows.min(axis=0), "max": rows.max(axis=0), "mean": rows.mean(axis=0), "std": rows.std(axis=0)}
    found["count"] = np.array([len(rows)], np.int64)
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
    counts = np.array([float(each["count"][0]) for each in those])
    weights = (counts / counts.sum()).reshape(-1, *[1] * those[0]["mean"].ndim)

    def stacked(name: str) -> Array:
        return np.stack([each[name] for each in those])

    mean = (weights * stacked("mean")).sum(axis=0)
    variance = (weights * (stacked("std") ** 2 + (stacked("mean") - mean) ** 2)).sum(axis=0)
    found = {"min": stacked("min").min(axis=0), "max": stacked("max").max(axis=0), "mean": mean}
    found |= {"std": np.sqrt(variance), "count": np.array([int(counts.sum())], np.int64)}
    return found | {name: (weights * stacked(name)).sum(axis=0) for name in QUANTILES}
