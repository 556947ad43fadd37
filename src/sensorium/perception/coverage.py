"""Coverage: of all there was to see, how much a choice of units has; and the choice that hindsight would make."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


def cells_of(units: Sequence[Collection[int]], chosen: Iterable[int]) -> set[int]:
    """The cells that the chosen among `units` cover: a unit covers the cells of all its frames.

    >>> sorted(cells_of([{1}, {1, 2}, {3}], [0, 1]))
    [1, 2]
    """
    return set().union(*(units[number] for number in chosen))


def coverage(units: Sequence[Collection[int]], chosen: Iterable[int]) -> float:
    """The share of the cells of all units that the chosen cover, 0 to 1; 1 where there are none.

    >>> coverage([{1}, {1, 2}, {3}], [0, 1, 0])
    0.6666666666666666
    """
    there = cells_of(units, range(len(units)))
    return len(cells_of(units, chosen)) / len(there) if there else 1.0


def k_centre(vectors: Vectors, k: int) -> Indices:
    """Greedy k-centre: `k` of the descriptors [n, d] (all, if there are fewer), int64, in the order of the choice.

    It begins next to the middle of all; each next one is that which is least like any chosen (T. F. Gonzalez,
    "Clustering to minimize the maximum intercluster distance", 1985: no choice has half its radius). Likeness is
    the cosine; of several that are as good the first is taken.

    >>> k_centre(np.array([[1, 0], [1, 0], [0, 1], [1, 1]]), 3).tolist()
    [3, 0, 2]
    """
    return np.fromiter(itertools.islice(_by_distance(vectors), max(k, 0)), np.int64)


def regret(units: Sequence[Collection[int]], vectors: Vectors, chosen: Sequence[int]) -> float:
    """One minus coverage over that of greedy k-centre with as many units: below 0 where the choice is the better one.

    >>> round(regret([{1}, {1}, {2}, {3}], np.array([[1, 0], [1, 0], [0, 1], [1, 1]]), [0, 1, 2]), 2)
    0.33
    """
    there, best = cells_of(units, range(len(units))), set[int]()
    for number in itertools.islice(_by_distance(vectors), len(set(chosen))):
        best.update(units[number])
        if len(best) == len(there):  # more add nothing
            break
    return 1.0 - len(cells_of(units, chosen)) / len(best) if best else 0.0


def centres_of(vectors: Vectors, count: int) -> Vectors:
    """Up to `count` of the descriptors [n, d] that are as far from each other as can be, whatever is there twice."""
    distinct = np.unique(vectors, axis=0)
    return distinct[k_centre(distinct, count)]


def nearest_of(centres: Vectors, vectors: Vectors) -> Indices:
    """Of each of the descriptors [n, d] the number of the centre that it is nearest to, int64 [n].

    >>> nearest_of(np.array([[9, 0], [0, 9]], np.int8), np.array([[9, 1], [1, 9], [8, 0]], np.int8)).tolist()
    [0, 1, 0]
    """
    found: Indices = np.argmax(unit_vectors(vectors) @ unit_vectors(centres).T, axis=1).astype(np.int64)
    return found


def _by_distance(vectors: Vectors) -> Iterator[int]:
    """All descriptors, in the order of greedy k-centre."""
    unit = unit_vectors(vectors)
    if not len(unit):
        return
    chosen = int(np.argmax(unit @ unit.mean(axis=0)))
    most = np.full(len(unit), -np.inf)
    for _ in range(len(unit)):
        yield chosen
        np.maximum(most, unit @ unit[chosen], out=most)
        most[chosen] = np.inf
        chosen = int(np.argmin(most))


def unit_vectors(vectors: Vectors) -> npt.NDArray[np.float64]:
    """Descriptors [n, d] brought to length 1, float64; those of length 0 stay.

    >>> unit_vectors(np.array([[3, 4], [0, 0]], np.int8)).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    numbers = vectors.astype(np.float64)
    length = np.linalg.norm(numbers, axis=1, keepdims=True)
    return numbers / np.where(length > 0, length, 1.0)
