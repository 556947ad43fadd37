"""Effective episodes: how many different things a corpus holds, however often each was copied."""

from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.perception.coverage import unit_vectors

ALIKE = 0.98
"""The cosine from which on two descriptors are of the same thing."""

Vectors = npt.NDArray[Any]


def representatives(vectors: Vectors, alike: float = ALIKE) -> npt.NDArray[np.int64]:
    """One of each group of near-duplicates of the descriptors [n, d], int64: a copy adds none.

    Each that is not alike to one taken before is taken. They are looked at in the order of their own numbers, so that
    the order in which they come, and how often, changes nothing.

    >>> representatives(np.array([[1, 0], [1, 0], [0, 1], [1, 0]])).tolist()
    [2, 0]
    """
    distinct, first = np.unique(vectors, axis=0, return_index=True)
    unit = unit_vectors(distinct)
    taken = np.empty_like(unit)
    chosen: list[int] = []
    for number, vector in enumerate(unit):
        if not chosen or float((taken[: len(chosen)] @ vector).max()) < alike:
            taken[len(chosen)] = vector
            chosen.append(number)
    return first[chosen].astype(np.int64)


def vendi(vectors: Vectors, mean: npt.NDArray[np.float64] | None = None) -> float:
    """The Vendi score of descriptors [n, d]: exp of the entropy of the eigenvalues of K/n, K their cosines; 0 of none.

    n of which each is like no other score n, n copies of one score 1 (D. Friedman and A. B. Dieng, "The Vendi Score",
    2023). `mean`, float64 [d], is subtracted from the descriptors, brought to length 1, before: what all have in common
    says nothing. It is to be a published one: that of these very descriptors would make three points out of two.

    >>> round(vendi(np.eye(5)), 6), round(vendi(np.ones((5, 3))), 6)
    (5.0, 1.0)
    """
    if not len(vectors):
        return 0.0
    unit = unit_vectors(vectors)
    if mean is not None:
        unit = unit_vectors(unit - mean)
    # the eigenvalues of K/n are those of the second moments too, and one of the two is small
    small = unit.T @ unit if len(unit) > unit.shape[1] else unit @ unit.T
    values = np.linalg.eigvalsh(small / len(unit))
    values = values[values > 1e-12]
    values = values / values.sum() if len(values) else np.ones(1)
    return float(np.exp(-(values * np.log(values)).sum()))


def effective_episodes(vectors: Vectors, mean: npt.NDArray[np.float64] | None = None, alike: float = ALIKE) -> float:
    """The Vendi score of one representative of each group: copying any number of episodes changes nothing.

    >>> effective_episodes(np.repeat(np.eye(3), 50, axis=0)) == effective_episodes(np.eye(3))
    True
    """
    return vendi(vectors[representatives(vectors, alike)], mean)
