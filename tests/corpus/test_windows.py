"""Windows: half-open, each once in the order of the seed; what cannot be one says so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sensorium
from sensorium.errors import ConfigError


def test_a_window_is_half_open(corpus_path: Path) -> None:
    episode = sensorium.open(corpus_path).query("has('wheel')")[0]
    window = episode.window(0.5, 0.5)
    assert list(window["front"].captured_ns) == [1_500_000_000 + n * 100_000_000 for n in range(5)]
    assert list(window["wheel"].data) == [5, 6, 7, 8, 9]
    np.testing.assert_array_equal(window["front"].data, episode.streams["front"][5:10])
    by_stamps = episode.samples(1_500_000_000, 2_000_000_000)
    assert by_stamps.keys() == window.keys()
    np.testing.assert_array_equal(by_stamps["wheel"].data, window["wheel"].data)
    assert list(episode.samples(1_500_000_000, 2_000_000_001, ["front"])["front"].captured_ns)[-1] == 2_000_000_000
    assert window["front"].utc_ns is not None
    assert window["front"].utc_ns[0] == 1_700_000_000 * 10**9 + 500_000_000
    assert window["front"].uncertainty_ns is not None
    assert window["front"].uncertainty_ns[0] == 1_000_000 + 25_000 + 1
    assert list(episode.window(-5, 5.1, ["front"])["front"].captured_ns) == [10**9]
    assert episode.window(1.9, 99, ["front"])["front"].data.shape == (1, 8, 8)
    with pytest.raises(ConfigError, match="no stream 'back'; it has front, wheel"):
        episode.window(0, 1, ["back"])


def test_windows_come_once_each_in_the_order_of_the_seed(corpus_path: Path) -> None:
    corpus = sensorium.open(corpus_path)

    def taken(**how: Any) -> list[list[tuple[str, float]]]:
        given: dict[str, Any] = {"length_s": 0.5, "streams": ["front"], "batch_size": 3} | how
        return [[(one.episode, one.start_s) for one in batch] for batch in corpus.windows(**given)]

    batches = taken(seed=1)
    flat = [one for batch in batches for one in batch]
    assert [len(batch) for batch in batches] == [3] * 6 + [2]
    assert sorted(flat) == sorted((episode.id, start) for episode in corpus.query() for start in (0.0, 0.5, 1.0, 1.5))
    assert taken(seed=1) == batches
    assert taken(seed=2) != batches
    assert len([one for batch in taken(stride_s=0.25) for one in batch]) == 5 * 7
    assert len([one for batch in taken(streams=["front", "wheel"]) for one in batch]) == 4 * 4
    assert len([one for batch in taken(where="mission = 'hall' or ordinal = 1") for one in batch]) == 4 * 4
    assert taken(length_s=2.5) == []
    for one in next(corpus.windows(length_s=1.0, streams=["front"], batch_size=4)):
        expected = corpus.episode(one.episode).window(one.start_s, 1.0, ["front"])["front"].data
        np.testing.assert_array_equal(one.samples["front"].data, expected)
        assert len(expected) == 10
    with pytest.raises(ConfigError, match="more than 0"):
        next(corpus.windows(length_s=0, streams=["front"]))


def test_what_cannot_be_a_window_says_so(corpus_path: Path) -> None:
    corpus = sensorium.open(corpus_path)
    episode = corpus.query()[0]
    for start_s, length_s in ((2.0, 1.0), (100.0, 1.0), (-1.0, 1.0)):
        with pytest.raises(ConfigError, match=r"has nothing of it: it is 2 s long"):
            episode.window(start_s, length_s)
    for length_s in (0.0, -1.0, 1e-10):
        with pytest.raises(ConfigError, match=r"a window of -?[01] s: expected more than 0"):
            episode.window(0.5, length_s)
    for start_s, length_s in ((float("nan"), 1.0), (0.0, float("inf")), (1e300, 1.0)):
        with pytest.raises(ConfigError, match="expected a number of seconds"):
            episode.window(start_s, length_s)
    with pytest.raises(ConfigError, match="did you mean 'front'"):
        episode.window(0, 1, ["fornt"])
    with pytest.raises(ConfigError, match="expected a number of seconds"):
        list(corpus.windows(length_s=float("nan"), streams=["front"]))
    with pytest.raises(ConfigError, match="did you mean 'wheel'"):
        list(corpus.windows(length_s=1, streams=["front", "weel"]))
    assert list(corpus.windows("device = 'nobody'", length_s=1, streams=["front"])) == []
    assert len(corpus.query(limit=2**70)) == 5
