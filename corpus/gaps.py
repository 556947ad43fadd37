"""Gaps explained: what was judged while nothing was kept, by reason, as the traces have it."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from sensorium.corpus.corpus import Corpus
from sensorium.corpus.episode import Episode
from sensorium.corpus.traces import LeftOut, overlapping, read_episode, traces, units_of, unreadable_s, where_text
from sensorium.episode.starts import began_at
from sensorium.episode.trace_row import seconds_by_reason
from sensorium.episode.utc_text import utc_text
from sensorium.errors import Corrupt, SensoriumError, StoreError

UNREADABLE = "unreadable"
"""Beside the reasons: time that traces were judged in which cannot be read."""


class Gap(NamedTuple):
    """A stretch of a device's clock in which nothing was kept, and seconds by what was decided of them."""

    start_ns: int
    end_ns: int
    judged_s: dict[str, float]


def judged_s(episode: Episode) -> dict[str, float]:
    """Of a trace, seconds by reason; of one that was cut off they are counted anew.

    Raises:
        Corrupt: it is damaged.
    """
    if episode.judged_s:
        return episode.judged_s
    found: Counter[str] = Counter()
    for row in read_episode(episode)[1]:
        found.update(seconds_by_reason(row))
    return dict(found)


def judged_by_spool(
    corpus: Corpus, device: str | None = None, left_out: LeftOut = lambda *_: None
) -> dict[tuple[str, str], dict[str, float]]:
    """By device and spool_id, seconds by reason; what a replay judged again counts once, as it was judged last. Of a
    trace that is needed and cannot be read `left_out` is told, and its time is `UNREADABLE`."""
    where = "kind = 'trace'" + ("" if device is None else f" and device = {where_text(device)}")
    found: dict[tuple[str, str], Counter[str]] = {}
    episodes = sorted(corpus.query(where), key=_owner)
    for owner, those in itertools.groupby(episodes, key=_owner):
        found[owner] = _judged_once(list(those), left_out)
    return {owner: dict(seconds) for owner, seconds in found.items()}


def _owner(episode: Episode) -> tuple[str, str]:
    return episode.device, str(episode.row["spool_id"])


def _judged_once(traced: Iterable[Episode], left_out: LeftOut) -> Counter[str]:
    """Of the traces of one spool."""
    found: Counter[str] = Counter()

    def leave_out(trace: Episode, why: SensoriumError) -> None:
        found.update({UNREADABLE: unreadable_s(trace)})
        left_out(trace, why)

    by_clock: dict[bool, list[Episode]] = {True: [], False: []}
    for each in traced:
        by_clock[each.row["clock"] == "boottime"].append(each)
    for cluster in [*([each] for each in by_clock[True]), *overlapping(by_clock[False])]:  # what is live comes once
        if len(cluster) == 1:
            try:
                found.update(judged_s(cluster[0]))
            except (Corrupt, StoreError) as error:
                leave_out(cluster[0], error)
        else:
            for unit in units_of(cluster, leave_out):
                found.update(seconds_by_reason(unit))
    return found


def gap_before(corpus: Corpus, episode: Episode, left_out: LeftOut = lambda *_: None) -> Gap | None:
    """What was judged between a full episode and the one before it; None where no trace tells. Of a trace that cannot
    be read `left_out` is told, and its time is `UNREADABLE`."""
    start_ns, boot, ordinal = episode.start_ns, boot_of(episode), int(episode.row["ordinal"])
    spool_id = str(episode.row["spool_id"])
    mine = f"device = {where_text(episode.device)} and spool_id = {where_text(spool_id)}"
    begun = _start_of(corpus, episode, boot)
    mine += f" and ordinal >= {begun} and ordinal < {ordinal}"  # what other starts kept is in other times
    before = corpus.query(f"{mine} and end_ns <= {start_ns}", "end_ns desc", 1)
    from_ns = int(before[0].row["end_ns"]) if before and boot_of(before[0]) == boot else None
    found: Counter[str] = Counter()
    starts: list[int] = []

    def leave_out(trace: Episode, why: SensoriumError) -> None:
        first_ns = trace.start_ns if from_ns is None else max(trace.start_ns, from_ns)
        last_ns = min(int(trace.row["end_ns"]), start_ns)
        found.update({UNREADABLE: max(last_ns - first_ns, 0) / 1e9})
        starts.append(first_ns)
        left_out(trace, why)

    units = traces(
        corpus,
        device=episode.device,
        spool_id=spool_id,
        start_ns=from_ns,
        end_ns=start_ns,
        boot=boot,
        left_out=leave_out,
    )
    for unit in units:
        if began_at(unit.judged.unit.boot) == begun:
            found.update(seconds_by_reason(unit))
            starts.append(unit.start_ns)
    if not starts:
        return None
    return Gap(min(starts) if from_ns is None else from_ns, start_ns, dict(found))


def _start_of(corpus: Corpus, episode: Episode, boot: str) -> int:
    """The ordinal with which the start began that an episode is of, as far as traces tell; 0 of the first, and where
    it is live."""
    if episode.attributes["clock"].get("boot_id"):
        return 0
    spool_id, ordinal = str(episode.row["spool_id"]), int(episode.row["ordinal"])
    units = traces(corpus, device=episode.device, spool_id=spool_id, boot=boot, left_out=lambda *_: None)
    return max((begun for unit in units if (begun := began_at(unit.judged.unit.boot)) <= ordinal), default=0)


def boot_of(episode: Episode) -> str:
    """The time that an episode is in, as units of a trace say it: the boot, or what is played."""
    clock = episode.attributes["clock"]
    return str(clock.get("boot_id") or episode.row["source"] or "")


def in_brief(seconds: Mapping[str, float]) -> str:
    """`dull (14 s), budget (6 s)`, what was most first."""
    most = sorted(seconds.items(), key=lambda each: (-round(each[1], 3), each[0]))
    return ", ".join(f"{reason} ({_said(length_s)} s)" for reason, length_s in most if length_s)


def time_of(episode: Episode, at_ns: int) -> str:
    """A stamp of an episode's clock: UTC where that is known and can be read, else seconds of that clock."""
    try:
        utc_ns, _ = episode.utc(np.array([at_ns], np.int64))
    except (Corrupt, StoreError):
        utc_ns = None
    text = None if utc_ns is None else utc_text(int(utc_ns[0]))
    if text is None:
        return f"{round(Decimal(at_ns).scaleb(-9), 6).normalize():f} s"
    whole, _, part = text.removesuffix("Z").partition(".")
    return f"{whole}.{part[:3]}".removesuffix(".000") + "Z"


def _said(length_s: float) -> str:
    return f"{length_s:.1f}".removesuffix(".0") if length_s < 10 else f"{length_s:.0f}"
