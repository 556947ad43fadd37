"""A camera that is asked for fewer frames: as many as were asked for, from a moment that is told, and all again."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.drivers.controls import CONTROL
from sensorium.drivers.live import thinning as module
from sensorium.drivers.live.thinning import Thinning

S = 1_000_000_000


@given(st.floats(0.2, 60.0), st.floats(1.0, 120.0), st.integers(0, S), st.integers(0, 3_000_000))
def test_as_many_pass_as_were_asked_for(rate_hz: float, full_hz: float, begin_ns: int, jitter_ns: int) -> None:
    thinning = Thinning(full_hz)
    thinning.rate_hz = rate_hz
    seconds = 30
    stamps = [begin_ns + round(n * S / full_hz) + (n * 7919 % (jitter_ns + 1)) for n in range(round(seconds * full_hz))]
    passed = sum(thinning.passes(stamp) for stamp in stamps)
    assert passed == pytest.approx(min(rate_hz, full_hz) * seconds, rel=0.15, abs=2)


def test_it_is_told_with_the_first_frame_and_all_come_again() -> None:
    thinning = Thinning(10.0)
    with pytest.raises(ValueError, match=r"rate_hz: expected 0\.1 to 10 Hz"):
        thinning.ask("p", {"rate_hz": 20.0})
    assert all(thinning.passes(n * S // 10) for n in range(10))
    thinning.ask("p", {"rate_hz": 2.0})
    (note,) = thinning.due(2 * S)
    assert (note.kind, note.name, note.end_ns, note.value["did"]) == (CONTROL, "p", 2 * S, {"rate_hz": 2.0})
    assert [thinning.passes(2 * S + n * S // 10) for n in range(6)] == [True, False, False, False, False, True]
    thinning.ask("p", {})
    assert thinning.due(3 * S) == []
    assert thinning.passes(3 * S)
    assert thinning.passes(3 * S + 1)


def test_of_an_unknown_rate_none_are_left_out() -> None:
    assert Thinning(None).controls == ()


def test_examples() -> None:
    assert doctest.testmod(module).failed == 0
