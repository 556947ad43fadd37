"""Windows that were asked for: what was asked is looked at, episodes are found, and where the windows are is known."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sensorium.corpus.around import no_such_event
from sensorium.corpus.asked_for import names, text, whole
from sensorium.corpus.episode import nanoseconds
from sensorium.corpus.finding import Finder
from sensorium.corpus.foreseen import Foresight, streams_read, tell_none
from sensorium.corpus.matching import CatalogEpisodes, Matching
from sensorium.corpus.placing import placed as placed_of
from sensorium.corpus.runs import EpisodeRuns, EventPlaces, runs
from sensorium.corpus.windows import Strided, WindowPass, check_rows, windows_in_batches
from sensorium.corpus.within import Reading
from sensorium.errors import ConfigError


class Lengths(NamedTuple):
    """How long windows are, how far apart, and how much of one is before and behind what it is around."""

    length_ns: int
    stride_ns: int
    before_ns: int
    after_ns: int

    @classmethod
    def of(
        cls, length_s: float | None, stride_s: float | None, before_s: float, after_s: float, around: str
    ) -> "Lengths":
        """Of seconds.

        Raises:
            ConfigError: they do not go together, or are no lengths.
        """
        if around and (length_s is not None or stride_s is not None):
            raise ConfigError(f"windows around {around!r}: before_s and after_s say how long they are, not length_s")
        before_ns, after_ns = nanoseconds(before_s), nanoseconds(after_s)
        if not around and (length_s is None or before_s or after_s):
            raise ConfigError("windows: give length_s; or around, what they are around, with before_s and after_s")
        length_ns = before_ns + after_ns if length_s is None else nanoseconds(length_s)
        stride_ns = length_ns if stride_s is None else nanoseconds(stride_s)
        if length_ns < 1 or stride_ns < 1:
            raise ConfigError(f"windows of {length_ns / 1e9:g} s each {stride_ns / 1e9:g} s: expected more than 0")
        return cls(length_ns, stride_ns, before_ns, after_ns)


def windows_asked(
    finder: Finder,
    known: CatalogEpisodes,
    where: str,
    streams: Sequence[str],
    lengths: Lengths,
    *,
    batch_size: int,
    seed: int,
    reading: Reading,
    across: bool,
    around: str,
) -> WindowPass:
    """See `Corpus.windows`."""
    streams, around = names("streams", streams), text("around", around)
    batch_size, seed = whole("batch_size", batch_size, 1), whole("seed", seed, 0)
    check_rows(reading.out, batch_size)
    reading = Foresight(finder, known).checked([text("where", where)], streams, reading, lengths.length_ns)
    having = streams_read(streams, reading)
    placed, kinds = placed_of(finder, where, having, around, across)
    begins = np.arange(len(placed) + 1)
    if across:
        reach_ns = max(lengths.length_ns, lengths.before_ns, lengths.after_ns)
        begins = runs(placed, kinds, reach_ns, known.of, having)
    runs_of = EpisodeRuns(known, placed, begins)
    sources = runs_of if across or around else Matching(known, placed.ids)
    places: Strided | EventPlaces
    if around:
        span_ns = -lengths.before_ns, lengths.after_ns
        places = EventPlaces(known, placed, begins, around, span_ns, across, finder.stretches(around))
        if len(placed) and not len(places):
            raise no_such_event(around, finder.event_names(where, having))
    else:
        places = Strided(runs_of.bounds_ns, lengths.length_ns, lengths.stride_ns)
    if not len(places):
        starts_ns, ends_ns = runs_of.bounds_ns
        tell_none(where, having, lengths.length_ns, ends_ns - starts_ns)
    return windows_in_batches(sources, places, lengths.length_ns, streams, batch_size, seed, reading)
