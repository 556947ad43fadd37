"""What numbers of a group of rollouts say: mean, deviation, advantages, and how often one of k would have done."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """Of `n` rewards. `deviation` is the sample deviation (n - 1), None of one alone. The advantage of each is how
    far it lies from the mean, in deviations; 0 for each where all are equal."""

    n: int
    mean: float | None
    deviation: float | None
    advantages: tuple[float, ...]


def group_statistics(rewards: Sequence[float]) -> GroupStatistics:
    """Of the rewards of one group, in the order of their index.

    >>> group_statistics([0.0, 2.0, 1.0])
    GroupStatistics(n=3, mean=1.0, deviation=1.0, advantages=(-1.0, 1.0, 0.0))
    >>> group_statistics([3.0, 3.0]).advantages
    (0.0, 0.0)
    """
    n = len(rewards)
    if not n:
        return GroupStatistics(0, None, None, ())
    mean = math.fsum(rewards) / n
    if n == 1 or min(rewards) == max(rewards):  # of equal ones the mean may miss them by a rounding
        first = float(rewards[0])
        return GroupStatistics(n, first, None if n == 1 else 0.0, (0.0,) * n)
    deviation = math.sqrt(math.fsum((reward - mean) ** 2 for reward in rewards) / (n - 1))
    if not deviation:
        return GroupStatistics(n, mean, 0.0, (0.0,) * n)
    return GroupStatistics(n, mean, deviation, tuple((reward - mean) / deviation for reward in rewards))


def pass_at(k: int, n: int, passed: int) -> float | None:
    """The chance that one of k rollouts passes, from n of which so many did, without bias; None where n < k.

    The estimator is that of Chen et al., "Evaluating Large Language Models Trained on Code" (2021): 1 - C(n - c, k) /
    C(n, k).

    >>> pass_at(1, 16, 4), pass_at(2, 4, 1), pass_at(8, 4, 1)
    (0.25, 0.5, None)
    """
    if n < k:
        return None
    if n - passed < k:
        return 1.0
    return 1.0 - math.comb(n - passed, k) / math.comb(n, k)


def even_odds(passed: int, n: int) -> float:
    """How near even the odds are, from 0 to 1: 4 p (1 - p) for p by Jeffreys' prior, which n of one kind never make 0.

    >>> round(even_odds(8, 16), 3), round(even_odds(0, 16), 3)
    (1.0, 0.114)
    """
    p = (passed + 0.5) / (n + 1)
    return 4 * p * (1 - p)
