"""Ticks of any rate, cut anywhere, are each sampled once, and stand where exact arithmetic has them."""

import itertools
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from sensorium.sim.worlds.ticks import ticks

RATES = st.sampled_from([0.5, 7.0, 10.0, 29.97, 30.0, 200.0, 1000.0])


@given(rate_hz=RATES, cuts=st.lists(st.integers(0, 10_000_000_000), max_size=8))
def test_cut_anywhere_each_comes_once(rate_hz: float, cuts: list[int]) -> None:
    bounds = [-1, *sorted(cuts), 10_000_000_000]
    found = [stamp for a, b in itertools.pairwise(bounds) for stamp in ticks(rate_hz, a, b).tolist()]
    rate = Fraction(rate_hz).limit_denominator(1000)
    expected: list[int] = []
    while (stamp := len(expected) * 10**9 // rate) <= 10_000_000_000:
        expected.append(int(stamp))
    assert found == expected


@given(rate_hz=RATES, start_s=st.integers(0, 10**8))
def test_days_later_it_is_as_exact(rate_hz: float, start_s: int) -> None:
    rate = Fraction(rate_hz).limit_denominator(1000)
    start_ns = start_s * 10**9
    for stamp in ticks(rate_hz, start_ns, start_ns + 2 * 10**9).tolist():
        n = round(Fraction(stamp, 10**9) * rate)
        assert stamp == n * 10**9 // rate
        assert start_ns < stamp <= start_ns + 2 * 10**9
