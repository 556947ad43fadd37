"""Chance that can be checked: draws are hashes of what a unit is, so that none can be repeated until it pleases."""

import hashlib


def draw(seed: int, spool_id: str, boot: str, start_ns: int, what: str = "floor") -> float:
    """A number in [0, 1), evenly distributed over units, and the same whenever it is asked for.

    >>> [draw(seed, "spool", "boot", 1) == draw(0, "spool", "boot", 1) for seed in (0, 1)]
    [True, False]
    """
    told = "\0".join((what, str(seed), spool_id, boot, str(start_ns)))
    return (int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "big") >> 11) / (1 << 53)


def rank(drawn: float, p: float) -> float:
    """The place of a drawn unit in the order of eviction, in [0, 1): the highest goes first, whatever it holds.

    >>> rank(0.01, 0.02)
    0.5
    """
    return drawn / p


def evicted_down_to(limit: float, p: float) -> float:
    """The probability of a unit, drawn or not, once all of rank `limit` and above were evicted.

    `limit` is the rank of the last that was evicted. What is left are the units with a rank below it, as if each had
    been drawn with this (sampling with an adaptive threshold: D. Ting, "Adaptive threshold sampling", 2022).

    >>> evicted_down_to(0.5, 0.02)
    0.01
    """
    return p * min(limit, 1.0)
