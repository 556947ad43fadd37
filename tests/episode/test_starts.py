"""Starts of what is played without an end: each is in a time of its own, and an episode is of one of them."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from sensorium.episode import starts
from sensorium.episode.starts import began_at, is_of_start, start_word


def test_examples_hold() -> None:
    results = doctest.testmod(starts)
    assert (results.failed, results.attempted > 0) == (0, True)


@given(st.lists(st.integers(0, 50), min_size=1, unique=True), st.integers(0, 60), st.integers(0, 3))
def test_an_episode_is_of_the_last_start_before_it(begun: list[int], ordinal: int, resets: int) -> None:
    begun = [0, *begun]
    boots = [start_word("ab12", each) + (f"#{resets}" if resets else "") for each in begun]
    assert [began_at(boot) for boot in boots] == begun
    assert {began for boot, began in zip(boots, begun, strict=True) if is_of_start(boot, boots, ordinal)} == {
        max(each for each in begun if each <= ordinal)
    }
