"""Traces: every unit that devices judged, with its decision, read from a store; or from any judged units at hand."""

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from sensorium.corpus.episode import Episode
from sensorium.corpus.queried import Queried
from sensorium.episode.trace import About, Column, about_of, read_trace
from sensorium.episode.trace_row import TraceRow
from sensorium.episode.unit import Judged
from sensorium.errors import Corrupt, SensoriumError, StoreError

T = TypeVar("T")

LeftOut = Callable[[Episode, SensoriumError], object]
"""Who is told of a trace that cannot be read, and why."""


class TracedUnit(TraceRow, frozen=True, kw_only=True):
    """A row of a trace, with whose it is.

    `device` and `spool_id` say that, `episode` which trace holds it, `policy` is the document of the policy that
    decided (empty where it was not told). `resets` is how often the clock had been set back in this boot.
    """

    device: str = ""
    spool_id: str = ""
    episode: str = ""
    resets: int = 0
    policy: dict[str, Any] = msgspec.field(default_factory=dict)


class _Traced(NamedTuple):
    """A trace episode, before its rows are read."""

    episode: Episode
    about: About

    @property
    def of(self) -> tuple[str, str, str, int]:
        """What units must have in common to be of one time."""
        return self.episode.device, str(self.episode.row["spool_id"]), self.about.boot, self.about.resets


class _Reading:
    """Reads traces, and leaves out what cannot be read where somebody is told."""

    def __init__(self, left_out: LeftOut | None) -> None:
        self._left_out = left_out

    def about(self, episode: Episode) -> _Traced | None:
        return self._read(episode, lambda: _Traced(episode, about_of(episode.attributes["notes"])), None)

    def rows(self, episode: Episode) -> list[TraceRow]:
        return self._read(episode, lambda: read_episode(episode)[1], [])

    def _read(self, episode: Episode, call: Callable[[], T], otherwise: T) -> T:
        try:
            return call()
        except (Corrupt, StoreError) as error:
            if self._left_out is None:
                raise
            self._left_out(episode, error)
            return otherwise


def traces(
    corpus: Queried,
    *,
    device: str | None = None,
    spool_id: str | None = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
    boot: str | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[TracedUnit]:
    """The units that devices judged, in the order of device, spool_id, boot (and clock resets in it), and start.

    One that was judged again, by a replay that was taken up after a kill, comes once, as it was judged last. With
    `start_ns` and `end_ns` those that have a part in that interval of the device's clock, with `boot` those of that
    boot, or of what is played. `left_out` is told of each trace that cannot be read, whose units are then missing.

    Raises:
        Corrupt: a trace is damaged, and nobody is told; `sensorium verify` names it.
    """
    read = _Reading(left_out)
    episodes = [each for each in _episodes(corpus, device, spool_id) if _is_in(each, start_ns, end_ns)]
    found = [each for episode in episodes if (each := read.about(episode)) is not None]
    for unit in _in_order([each for each in found if boot is None or each.about.boot.partition("#")[0] == boot], read):
        if (end_ns is None or unit.start_ns < end_ns) and (start_ns is None or unit.end_ns > start_ns):
            yield unit


def units_of(episodes: Iterable[Episode], left_out: LeftOut | None = None) -> Iterator[TracedUnit]:
    """The units of some trace episodes, as `traces` gives those of all."""
    read = _Reading(left_out)
    return _in_order([each for episode in episodes if (each := read.about(episode)) is not None], read)


def traced(
    units: Iterable[Judged], *, device: str = "", spool_id: str = "", policy: Mapping[str, Any] | None = None
) -> Iterator[TracedUnit]:
    """Judged units at hand as if they had been read from a store."""
    for judged in units:
        yield TracedUnit(judged=judged, device=device, spool_id=spool_id, policy=dict(policy or {}))


def read_episode(episode: Episode) -> tuple[About, list[TraceRow]]:
    """The rows of one trace episode, in the order of time, and what they have in common.

    Raises:
        Corrupt: it is damaged, or no trace.
    """
    columns = (Column(each.spec, each.captured_ns, each[:]) for each in episode.streams.values())
    try:
        return read_trace(columns, episode.attributes["notes"])
    except Corrupt as error:
        raise Corrupt(f"episode {episode.id}: {error}; run `sensorium verify`") from error


def _episodes(corpus: Queried, device: str | None, spool_id: str | None) -> list[Episode]:
    where = "kind = 'trace'"
    for column, value in (("device", device), ("spool_id", spool_id)):
        if value is not None:
            where += f" and {column} = {where_text(value)}"
    return corpus.query(where)


def unreadable_s(trace: Episode) -> float:
    """How much time a trace that cannot be read was of, as the catalog has it."""
    return sum(trace.judged_s.values()) or trace.duration_s


def where_text(value: str) -> str:
    """As a text in a condition."""
    quoted = value.replace("'", "''")
    return f"'{quoted}'"


def _is_in(each: Episode, start_ns: int | None, end_ns: int | None) -> bool:
    """Whether a trace may hold units of an interval. Where the last of one ends that was cut off is not known."""
    row = each.row
    ends = row["reason"] in ("complete", "clock_reset")
    return (end_ns is None or row["start_ns"] < end_ns) and (start_ns is None or not ends or row["end_ns"] > start_ns)


def _in_order(found: Iterable[_Traced], read: _Reading) -> Iterator[TracedUnit]:
    """All units, each once."""
    for _, of in itertools.groupby(sorted(found, key=lambda each: each.of), key=lambda each: each.of):
        those = {each.episode.id: each for each in of}
        for cluster in overlapping(each.episode for each in those.values()):
            yield from _latest([those[episode.id] for episode in cluster], read)


def overlapping(episodes: Iterable[Episode]) -> Iterator[list[Episode]]:
    """Episodes of one time, in order, those that overlap together."""
    cluster: list[Episode] = []
    until_ns = 0
    for each in sorted(episodes, key=lambda each: (each.start_ns, each.row["ordinal"])):
        if cluster and each.start_ns >= until_ns:
            yield cluster
            cluster = []
        until_ns = max(int(each.row["end_ns"]), until_ns) if cluster else int(each.row["end_ns"])
        cluster.append(each)
    if cluster:
        yield cluster


def _latest(cluster: list[_Traced], read: _Reading) -> list[TracedUnit]:
    """The units of episodes that overlap: where a later one has judged again, what it says alone."""
    units: list[TracedUnit] = []
    starts: list[int] = []
    ends: list[int] = []
    for each in sorted(cluster, key=lambda each: -int(each.episode.row["ordinal"])):
        device, spool_id, _, resets = each.of
        about, rows = each.about, read.rows(each.episode)
        kept = [row for row in rows if not _is_covered(row.start_ns, starts, ends)]
        units += [
            TracedUnit(
                judged=row.judged,
                count=row.count,
                least=row.least,
                greatest=row.greatest,
                reasons=row.reasons,
                device=device,
                spool_id=spool_id,
                episode=each.episode.id,
                resets=resets,
                policy=about.document,
            )
            for row in kept
        ]
        if len(cluster) > 1:
            both = sorted([*zip(starts, ends, strict=True), *((row.start_ns, row.end_ns) for row in kept)])
            starts, ends = [start for start, _ in both], [end for _, end in both]
    return sorted(units, key=lambda unit: unit.start_ns)


def _is_covered(at_ns: int, starts: list[int], ends: list[int]) -> bool:
    """Whether one of some intervals, which are apart, holds a stamp or begins at it."""
    before = bisect.bisect_right(starts, at_ns) - 1
    return before >= 0 and (at_ns < ends[before] or at_ns == starts[before])
