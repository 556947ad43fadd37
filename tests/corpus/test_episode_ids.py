"""Ids in an array are those that were put there, in any order, whatever they are."""

import doctest

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensorium.corpus import episode_ids
from sensorium.corpus.episode_ids import EpisodeIds

TEXTS = st.lists(st.text(st.characters(exclude_characters="\0,", exclude_categories=["Cs"]), min_size=1, max_size=5))


@given(TEXTS)
def test_they_are_what_was_put_there(texts: list[str]) -> None:
    ids = EpisodeIds.of(texts)
    assert ids.texts == list(ids) == texts
    assert list(ids.at(ids.order)) == sorted(texts)
    assert list(ids[1:3]) == texts[1:3]
    assert list(EpisodeIds.joined([ids, ids])) == texts * 2
    if texts:
        between = EpisodeIds.between(",".join(texts), ",", len(texts))
        assert between is not None
        assert list(between) == texts
        assert ids[len(texts) - 1] == texts[-1]


@given(st.lists(st.text("ab,", max_size=4), min_size=1))
def test_what_is_between_them_may_be_within_one(texts: list[str]) -> None:
    """Then the text does not say which they are."""
    found = EpisodeIds.between(",".join(texts), ",", len(texts))
    assert (found is None) == any("," in text for text in texts)


def test_of_the_order_equal_ones_stay() -> None:
    sized = 1000
    order = EpisodeIds.of([f"{number % 3}" for number in range(sized)]).order
    assert [row % 3 for row in order.tolist()] == sorted(number % 3 for number in range(sized))
    assert all(np.diff(order)[np.diff(order % 3) == 0] > 0)


def test_examples_hold() -> None:
    results = doctest.testmod(episode_ids)
    assert results.failed == 0
    assert results.attempted > 0
