"""Samples out of step: what is lost, what waits for the next, and when time is taken to be another."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium.agents.capture.disorder import Disordered, InStep
from sensorium.drivers.stream import Block

S = 1_000_000_000


def block(stamps: list[int], lost_before: int = 0) -> Block:
    return Block("a", np.array(stamps, np.int64), np.array(stamps, np.float64)[:, None], lost_before)


def passed(stamps: list[float], *, live: bool = False) -> tuple[list[float], list[float]]:
    """The stamps, in seconds, of what goes on, and those at which the lost are counted; each comes as a block."""
    in_step = InStep(live=live)
    found = [each for stamp in stamps for each in in_step.take(block([round(stamp * S)]))] + list(in_step.end())
    going = [ns / S for each in found if isinstance(each, Block) for ns in each.captured_ns.tolist()]
    return going, [each.at_ns / S for each in found if isinstance(each, Disordered)]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("stamps", "going", "lost"),
    [
        ([1, 1, 1.5, 2], [1, 1, 1.5, 2], []),
        ([1, 2, 1.5, 2.1], [1, 2, 2.1], [1.5]),
        ([1, 2, 1.0, 1.2, 2.1], [1, 2, 2.1], [1.0, 1.2]),
        ([10, 10.1, 5, 10.2, 10.3], [10, 10.1, 10.2, 10.3], [10.1]),
        ([10, 10.1, 5, 5.1, 10.2], [10, 10.1, 10.2], [10.1, 10.1]),
        ([10, 10.1, 5, 5.1, 5.2, 5.3], [10, 10.1, 5, 5.1, 5.2, 5.3], []),
        ([10, 10.1, 0, 10.2, 0, 10.3], [10, 10.1, 10.2, 10.3], [10.1, 10.2]),
        ([10, 5, 0, 0.1, 0.2], [10, 0, 0.1, 0.2], [10]),
        ([10, 5, 5.1], [10], [10, 10]),
        ([10, 5, 5.1, 5.05, 5.2, 5.3], [10, 5, 5.1, 5.2, 5.3], [5.1]),
    ],
)
def test_steps_back(live: bool, stamps: list[float], going: list[float], lost: list[float]) -> None:
    assert passed(stamps, live=live) == (going, lost)


@pytest.mark.parametrize(
    ("stamps", "going", "lost"),
    [
        ([1, 1.1, 1e9, 1.2, 1.3], [1, 1.1, 1.2, 1.3], [1.1]),
        ([1, 1.1, 1e9, 2e9, 1.2], [1, 1.1, 1.2], [1.1, 1.1]),
        ([1, 61, 121, 181], [1, 61, 121, 181], []),
        ([1, 61], [1, 61], []),
        ([1, 1.1, 30, 30.1, 30.2, 30.3], [1, 1.1, 30, 30.1, 30.2, 30.3], []),
    ],
)
def test_jumps_ahead_of_a_recording(stamps: list[float], going: list[float], lost: list[float]) -> None:
    assert passed(stamps) == (going, lost)
    assert passed([1, 1.1, 50], live=True) == ([1, 1.1, 50], [])


@given(st.lists(st.lists(st.integers(0, 12 * S), min_size=1, max_size=4), max_size=12), st.booleans())
def test_every_sample_goes_on_or_is_lost_and_every_loss_stays(blocks: list[list[int]], live: bool) -> None:
    in_step = InStep(live=live)
    found: list[Block | Disordered] = []
    for number, stamps in enumerate(blocks):
        found += in_step.take(block(sorted(stamps), number))
    found += in_step.end()
    going = [each for each in found if isinstance(each, Block)]
    lost = len(found) - len(going)
    assert sum(map(len, going)) + lost == sum(map(len, blocks))
    assert sum(each.lost_before for each in going) == sum(range(len(blocks)))
    assert all((np.diff(each.captured_ns) >= 0).all() for each in going)


def test_what_is_in_step_goes_on_as_it_came() -> None:
    in_step = InStep(live=False)
    for stamps in ([0, 10], [10, S], [S, S + 1]):
        (whole,) = in_step.take(made := block(stamps))
        assert whole is made


def test_a_source_that_says_so_begins_anew_however_little_it_steps_back() -> None:
    in_step = InStep(live=False)
    blocks = [block([0, S // 2]), replace(block([0]), begins_anew=True), block([S // 4])]
    found = [each for one in blocks for each in in_step.take(one)]
    assert [list(each.captured_ns) for each in found if isinstance(each, Block)] == [[0, S // 2], [0], [S // 4]]
