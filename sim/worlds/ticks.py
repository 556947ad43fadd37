"""Ticks: the moments of a steady rate since a reset, exactly, however long ago that was."""

from fractions import Fraction

import numpy as np

from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.stream import Stamps


def ticks(rate_hz: float, after_ns: int, until_ns: int) -> Stamps:
    """The moments in (after_ns, until_ns] at which a stream of `rate_hz` is sampled; tick n stands at floor(n / rate).

    `after_ns` of -1 and `until_ns` of 0 are the reset.

    >>> ticks(30.0, 0, 100_000_000).tolist()
    [33333333, 66666666, 100000000]
    """
    rate = Fraction(rate_hz).limit_denominator(1000)
    first, last = (_first_behind(rate, moment_ns) for moment_ns in (after_ns, until_ns))
    tick = np.arange(first, last, dtype=np.int64)
    # whole turns of `denominator` seconds first, so that the product stays within 64 bits
    turns, within = np.divmod(tick, rate.numerator)
    stamps: Stamps = turns * rate.denominator * SECOND_NS + within * rate.denominator * SECOND_NS // rate.numerator
    return stamps


def _first_behind(rate: Fraction, moment_ns: int) -> int:
    """The least n whose tick is behind the moment: n seconds / rate >= moment + 1 ns, as floor turns it."""
    return max(0, -(-(moment_ns + 1) * rate.numerator // (rate.denominator * SECOND_NS)))
