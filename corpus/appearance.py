"""Appearance: what an episode looks like, in one descriptor, from its own samples alone."""

from typing import NamedTuple

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.drivers.described import Vectors
from sensorium.perception.coverage import unit_vectors
from sensorium.perception.descriptor import BY, descriptor, quantised
from sensorium.perception.gray import is_pictures
from sensorium.perception.rows import RowsBefore, look_rows, watched
from sensorium.perception.working import working

PICTURES = 16
"""So many of a stream's pictures are looked at, evenly spaced."""
MOST_ROWS = 1 << 16
_MOST_CHANNELS = 1024


class Appearance(NamedTuple):
    """A descriptor int8 [d], and who made it: those of two makers are not compared. `parts` int8 [n, d] are the
    pictures, or stretches of rows, that it is the mean of."""

    by: str
    vector: Vectors
    parts: Vectors


def appearance(episode: Episode) -> Appearance | None:
    """The mean of what the pictures of an episode look like, or, where it has none, of what goes on in its rows.

    A copy of an episode, whatever it is called, looks the same, bit for bit. None where nothing can be said.

    Raises:
        Corrupt: its samples cannot be read.
        ConfigError: its codec is not installed.
    """
    seen = [_of_pictures(stream) for stream in episode.streams.values() if is_pictures(stream.spec) and len(stream)]
    if seen:
        return _of(BY, np.concatenate(seen))
    rows: dict[str, list[Vectors]] = {}
    for stream in episode.streams.values():
        if stream.spec.is_frames or int(np.prod(stream.spec.shape, dtype=np.int64)) > _MOST_CHANNELS:
            continue
        by, vectors = _of_rows(stream)
        if len(vectors):
            rows.setdefault(by, []).append(vectors)
    if not rows:
        return None
    by = max(rows, key=lambda name: (sum(map(len, rows[name])), name))
    return _of(by, np.concatenate(rows[by]))


def _of_pictures(stream: Stream) -> Vectors:
    count = min(len(stream), PICTURES)
    rows = [(2 * place + 1) * len(stream) // (2 * count) for place in range(count)]
    color_order = stream.spec.color_order
    return np.stack([descriptor(working(stream[row], color_order)) for row in rows])


def _of_rows(stream: Stream) -> tuple[str, Vectors]:
    of = watched(stream.spec)
    data, stamps = stream[:MOST_ROWS], stream.captured_ns[:MOST_ROWS]
    return of.bands.by, look_rows(RowsBefore(), of, data, stamps, 0)[1].vectors


def _of(by: str, parts: Vectors) -> Appearance:
    return Appearance(by, quantised(unit_vectors(parts).mean(axis=0)), parts)
