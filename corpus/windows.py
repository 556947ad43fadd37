"""Windows over many episodes: each whole one once, in an order that a seed alone decides, in batches."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Samples

OPEN_EPISODES = 64


class Window(NamedTuple):
    """A stretch of one episode: it begins `start_s` after the episode does."""

    episode: str
    start_s: float
    samples: dict[str, Samples]


def windows_in_batches(
    episodes: Sequence[Episode], length_ns: int, stride_ns: int, streams: Sequence[str], batch_size: int, seed: int
) -> Iterator[list[Window]]:
    """Every whole window of `episodes`, once each; they begin each `stride_ns` from an episode's start."""
    spans = np.array([each.row["end_ns"] - each.start_ns for each in episodes], np.int64)
    counts = np.maximum((spans - length_ns) // stride_ns + 1, 0)
    firsts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    order = np.random.default_rng(seed).permutation(int(firsts[-1]))
    # What an episode has read is let go when others were used since: a pass over a large corpus keeps little.
    opened = functools.lru_cache(OPEN_EPISODES)(lambda which: episodes[which].reopened())
    for begin in range(0, len(order), batch_size):
        batch = []
        for number in order[begin : begin + batch_size]:
            which = int(np.searchsorted(firsts, number, "right")) - 1
            start_ns = int(number - firsts[which]) * stride_ns
            episode = opened(which)
            at_ns = episode.start_ns + start_ns
            batch.append(Window(episode.id, start_ns / 1e9, episode.samples(at_ns, at_ns + length_ns, streams)))
        yield batch
