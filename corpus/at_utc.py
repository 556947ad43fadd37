"""Windows by UTC: what each device had in the same stretch of it, by its own clock's mapping, with the uncertainty."""

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, SupportsIndex

import numpy as np

from sensorium.corpus.alignment import grid
from sensorium.corpus.asked_for import names as names_of
from sensorium.corpus.asked_for import said
from sensorium.corpus.episode import Episode, nanoseconds
from sensorium.corpus.joined import Joined, joined
from sensorium.corpus.utc import UtcMapping, device_of
from sensorium.corpus.windows import Window
from sensorium.corpus.within import Grid, Reading
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Stamps
from sensorium.episode.utc_text import utc_ns_of, utc_text
from sensorium.errors import ConfigError

SLACK_NS = 2_000_000_000
"""How far the times in a catalog may be from those that the mapping gives; what is found is looked at closely."""


class UtcWindows(list[Window]):
    """Windows of the same stretch of UTC; `unknown` is by device how many episodes were left out, as they have no UTC:
    nobody knows whether they are of then."""

    def __init__(self, windows: Iterable[Window], unknown: Mapping[str, int]) -> None:
        super().__init__(windows)
        self.unknown = dict(unknown)


class AskedByUtc(Protocol):
    """A `Corpus`, which says what each of these does."""

    def query(self, where: str) -> list[Episode]: ...

    def aggregate(self, group_by: str, agg: str, where: str) -> list[dict[str, Any]]: ...


def at_utc(
    corpus: AskedByUtc,
    start: str | datetime | np.datetime64 | SupportsIndex,
    length_s: float,
    streams: Sequence[str] | None,
    where: str,
    reading: Reading,
) -> UtcWindows:
    """See `Corpus.at_utc`."""
    start_ns = begin_ns(start)
    end_ns = start_ns + nanoseconds(length_s)
    at, rest = where_at(start_ns, end_ns), f"({where}\n) and " if where.strip() else ""
    episodes = corpus.query(f"{rest}{at}")
    counts = corpus.aggregate("device", "count", f"{rest}start_utc is null")
    unknown = {each["device"]: each["count"] for each in counts}
    return UtcWindows(windows_at_utc(episodes, start_ns, end_ns, streams, reading), unknown)


def begin_ns(start: str | datetime | np.datetime64 | SupportsIndex) -> int:
    """UTC nanoseconds of a moment: ISO 8601 (UTC without a zone), a `datetime` of Python or numpy, or such nanoseconds.

    Raises:
        ConfigError: it is no time.
    """
    try:
        if isinstance(start, np.datetime64):
            if np.isnat(start):
                raise ValueError("no time")
            return int(start.astype("datetime64[ns]").astype(np.int64))
        return utc_ns_of(start) if isinstance(start, str | datetime) else int(operator.index(start))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{said(start)}: expected a time: '2026-11-25T23:00:00.5+02:00' (UTC without a zone)"
        ) from error


def where_at(start_ns: int, end_ns: int) -> str:
    """The condition for episodes that may have a part in [start_ns, end_ns) of UTC; `ConfigError` beyond the years."""
    first, last = utc_text(start_ns - SLACK_NS), utc_text(end_ns + SLACK_NS)
    if first is None or last is None or end_ns <= start_ns:
        raise ConfigError(
            f"a window of {(end_ns - start_ns) / 1e9:g} s from {start_ns} ns of UTC: expected some length"
        )
    return f"start_utc < '{last}' and end_utc > '{first}'"


def windows_at_utc(
    episodes: Sequence[Episode], start_ns: int, end_ns: int, streams: Sequence[str] | None, reading: Reading
) -> list[Window]:
    """A window for each device, spool and boot that has a part in [start_ns, end_ns) of UTC; those of `streams` that it
    has. Where one changes its shape in between, one before and one behind. A grid in Hz begins at `start_ns`: its
    moments are the same for all. One of a stream's samples has no moments where there is no such stream.

    Raises:
        ConfigError: none of them has one of the streams that are named, or it cannot be read so.
        Corrupt: what is read is damaged.
    """
    if streams:
        streams = names_of("streams", streams)
    grids = reading.grids
    named = [*(streams or ()), *reading.names]
    known = {name for each in episodes for name in each.summaries}
    for name in named if episodes else ():
        if name not in known:
            raise ConfigError(
                f"no episode then has a stream {name!r}{nearest(name, known)}; there are {', '.join(known)}"
            )
    moments: dict[Grid, Stamps] = {on: grid(start_ns, end_ns, on) for on in grids if not isinstance(on, str)}
    return list(_windows(episodes, start_ns, end_ns, streams, reading, moments))


def _windows(
    episodes: Sequence[Episode],
    start_ns: int,
    end_ns: int,
    streams: Sequence[str] | None,
    reading: Reading,
    moments: Mapping[Grid, Stamps],
) -> Iterator[Window]:
    # Of a stream that changes its shape in between there are two windows: nothing could hold both.
    names = {name for each in episodes for name in each.summaries} if streams is None else streams
    for source in joined(episodes, sorted(names), end_ns - start_ns + 2 * SLACK_NS):
        ends = _stamps_of(source, np.array([start_ns, end_ns], np.int64))
        if ends is None or ends[0] >= source.end_ns or ends[1] <= source.start_ns or ends[0] >= ends[1]:
            continue
        begin, end = (int(each) for each in ends)
        had = {name for each in source.over(begin, end) for name in each.summaries}
        if not had:
            continue
        wanted = None if streams is None else [name for name in streams if name in had]
        first = source.first(begin, end)
        lacking = (on for on in reading.grids if isinstance(on, str) and on not in had)
        known_ns: dict[Grid, Stamps] = {on: np.empty(0, np.int64) for on in lacking}
        for on, at_utc_ns in moments.items():
            if (stamps := _stamps_of(source, at_utc_ns)) is not None:
                known_ns[on] = stamps
        samples = source.read(begin, end, wanted, reading.only(had), known_ns)
        utc_ns, uncertainty_ns = source.utc(ends)
        if utc_ns is None:
            continue
        yield Window(
            first.id,
            (begin - first.start_ns) / 1e9,
            samples,
            first.device,
            begin,
            end,
            source.gaps(begin, end),
            None,
            UtcMapping(ends, utc_ns, uncertainty_ns),
        )


def _stamps_of(source: Joined, utc_ns: Stamps) -> Stamps | None:
    """The stamps of moments of UTC, each by the episode that it is in, or that is before it; None: UTC is unknown."""
    found: Stamps | None = None
    for each in source.episodes:
        stamps = device_of(utc_ns, each.clock, each.probes)
        if stamps is None:
            return None
        found = stamps if found is None else np.where(stamps >= each.start_ns, stamps, found)
    return found
