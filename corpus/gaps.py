"""Gaps explained: what was judged while nothing was kept, by reason, as the traces have it."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from sensorium.corpus.corpus import Corpus
from sensorium.corpus.episode import Episode
from sensorium.corpus.traces import read_episode, where_text
from sensorium.episode.trace import about_of
from sensorium.episode.trace_row import seconds_by_reason
from sensorium.episode.utc_text import utc_text
from sensorium.errors import Corrupt


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


def judged_by_spool(corpus: Corpus, device: str | None = None) -> dict[tuple[str, str], dict[str, float]]:
    """By device and spool_id, seconds by reason. What a replay judged again counts again; what is damaged does not, and
    `sensorium verify` tells of that."""
    where = "kind = 'trace'" + ("" if device is None else f" and device = {where_text(device)}")
    found: dict[tuple[str, str], Counter[str]] = {}
    for episode in corpus.query(where):
        with contextlib.suppress(Corrupt):
            found.setdefault((episode.device, str(episode.row["spool_id"])), Counter()).update(judged_s(episode))
    return {owner: dict(seconds) for owner, seconds in found.items()}


def gap_before(corpus: Corpus, episode: Episode) -> Gap | None:
    """What was judged between a full episode and the one before it; None where no trace tells.

    Raises:
        Corrupt: a trace is damaged.
    """
    start_ns, boot = episode.start_ns, boot_of(episode)
    mine = f"device = {where_text(episode.device)} and spool_id = {where_text(str(episode.row['spool_id']))}"
    before = corpus.query(f"{mine} and end_ns <= {start_ns}", "end_ns desc", 1)
    from_ns = int(before[0].row["end_ns"]) if before and boot_of(before[0]) == boot else None
    found: Counter[str] = Counter()
    first_ns: int | None = None
    for trace in corpus.query(f"{mine} and kind = 'trace' and start_ns < {start_ns}", "start_ns desc"):
        about = about_of(trace.attributes["notes"])
        if about.boot.partition("#")[0] != boot:
            continue
        ended = trace.row["reason"] in ("complete", "clock_reset")
        if from_ns is not None and ended and trace.row["end_ns"] <= from_ns:
            break
        for row in read_episode(trace)[1]:
            if row.start_ns < start_ns and (from_ns is None or row.end_ns > from_ns):
                found.update(seconds_by_reason(row))
                first_ns = row.start_ns if first_ns is None else min(first_ns, row.start_ns)
    if first_ns is None:
        return None
    return Gap(first_ns if from_ns is None else from_ns, start_ns, dict(found))


def boot_of(episode: Episode) -> str:
    """The time that an episode is in, as units of a trace say it: the boot, or what is played."""
    clock = episode.attributes["clock"]
    return str(clock.get("boot_id") or episode.row["source"] or "")


def in_brief(seconds: Mapping[str, float]) -> str:
    """`dull (14 s), budget (6 s)`, what was most first."""
    most = sorted(seconds.items(), key=lambda each: (-round(each[1], 3), each[0]))
    return ", ".join(f"{reason} ({_said(length_s)} s)" for reason, length_s in most if length_s)


def time_of(episode: Episode, at_ns: int) -> str:
    """A stamp of an episode's clock: UTC where that is known, else seconds of that clock."""
    utc_ns, _ = episode.utc(np.array([at_ns], np.int64))
    text = None if utc_ns is None else utc_text(int(utc_ns[0]))
    if text is None:
        return f"{round(Decimal(at_ns).scaleb(-9), 6).normalize():f} s"
    whole, _, part = text.removesuffix("Z").partition(".")
    return f"{whole}.{part[:3]}".removesuffix(".000") + "Z"


def _said(length_s: float) -> str:
    return f"{length_s:.1f}".removesuffix(".0") if length_s < 10 else f"{length_s:.0f}"
