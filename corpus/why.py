"""Why: what a device saw at a moment, and why it kept or dropped that, in a sentence; or why nothing is known of it."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec
import numpy as np

from sensorium.corpus.by_stream import beside, gated
from sensorium.corpus.corpus import Corpus
from sensorium.corpus.episode import Episode
from sensorium.corpus.gaps import boot_of, in_brief, time_of
from sensorium.corpus.traces import read_episode, where_text
from sensorium.drivers.registry import nearest
from sensorium.episode.starts import is_of_start
from sensorium.episode.trace_row import TraceRow, seconds_by_reason
from sensorium.episode.utc_text import utc_text
from sensorium.errors import ConfigError, Corrupt, StoreError

_MAX_NS = 1 << 62


class At(NamedTuple):
    """A moment: of a device's clock, or UTC, ns."""

    ns: int
    utc: bool


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a moment. `row` is what the trace `trace` has of it, `episodes` are the full ones that hold it;
    both may be absent. `unreadable` is why that trace cannot be read. `sentence` says it all; `when` is the unit's
    time, or the moment's."""

    device: str
    sentence: str
    when: str = ""
    spool_id: str = ""
    boot: str = ""
    row: TraceRow | None = None
    trace: str = ""
    episodes: tuple[str, ...] = ()
    unreadable: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON; descriptors are left out."""
        found: dict[str, Any] = {
            name: getattr(self, name) for name in ("device", "sentence", "when", "spool_id", "boot")
        }
        found |= {"trace": self.trace or None, "episodes": list(self.episodes), "judged": None}
        found |= {"unreadable": self.unreadable or None}
        if self.row is not None:
            unit, decision = self.row.judged.unit, self.row.judged.decision
            found["judged"] = {
                **msgspec.to_builtins(decision),
                "count": self.row.count,
                "reasons": self.row.by_reason,
                "least": self.row.least,
                "greatest": self.row.greatest,
                "novelty": unit.novelty,
                "change": unit.change,
                "scores": unit.scores,
                "gate": unit.gate,
                "gates": unit.gates,
            }
        return found


def moment(text: str) -> At:
    """`2026-11-25T05:10:03Z` is UTC (so it is without a zone), `12.5` or `12.5s` seconds and `12500000000ns`
    nanoseconds of the device's clock.

    Raises:
        ConfigError: it is none of these.
    """
    said = text.strip()
    try:
        if (found := re.fullmatch(r"([-+]?\d+)ns", said)) is not None:
            at = At(int(found[1]), False)
        elif (found := re.fullmatch(r"([-+]?[0-9.]+)s?", said)) is not None:
            at = At(round(Decimal(found[1]) * 10**9), False)
        else:
            whole = datetime.fromisoformat(said)
            whole = whole if whole.tzinfo is not None else whole.replace(tzinfo=UTC)
            since = whole - datetime(1970, 1, 1, tzinfo=UTC)
            at = At((since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000, True)
    except (ValueError, InvalidOperation, OverflowError) as error:
        raise ConfigError(
            f"time {text!r}: expected UTC as 2026-11-25T05:10:03Z, or of the device's clock seconds as 12.5, or"
            " nanoseconds as 12500000000ns"
        ) from error
    if not abs(at.ns) < _MAX_NS:
        raise ConfigError(f"time {text!r}: expected one within 146 years of 0")
    return at


def why(corpus: Corpus, device: str, at: At) -> list[Explanation]:
    """What `device` saw then: one answer, or one a boot and recording that has this moment, the newest first. A trace
    of it that cannot be read has an answer of its own, which says so.

    Raises:
        ConfigError: the store knows no such device.
    """
    mine = f"device = {where_text(device)} and kind in ('full', 'trace')"
    start, end, when = (
        ("start_utc", "end_utc", f"'{utc_text(at.ns)}'") if at.utc else ("start_ns", "end_ns", str(at.ns))
    )
    around = corpus.query(f"{mine} and {start} <= {when} and {end} > {when}")
    before = corpus.query(f"{mine} and kind = 'trace' and {end} <= {when}", f"{end} desc", 1)
    hits: dict[tuple[str, str], tuple[Episode, TraceRow, Sequence[TraceRow]]] = {}
    unreadable: dict[str, str] = {}
    full: dict[tuple[str, str], list[Episode]] = {}
    for episode in sorted([*around, *before], key=lambda each: int(each.row["ordinal"])):
        if episode.kind == "trace":
            try:
                at_ns = _device_ns(episode, at)
                about, rows = read_episode(episode)
            except (Corrupt, StoreError) as error:
                unreadable[episode.id] = str(error)
                continue
            row = next((row for row in reversed(rows) if row.start_ns <= at_ns < row.end_ns), None)
            if row is not None:
                hits[str(episode.row["spool_id"]), about.boot] = episode, row, rows
        else:
            full.setdefault((str(episode.row["spool_id"]), boot_of(episode)), []).append(episode)
    boots = {boot for _, boot in hits}
    answers = [
        _judged(corpus, device, *owner, trace, row, rows, full, boots) for owner, (trace, row, rows) in hits.items()
    ]
    known = {(spool_id, boot.partition("#")[0]) for spool_id, boot in hits}
    answers += [
        _kept(device, *owner, those, at, bool(unreadable)) for owner, those in full.items() if owner not in known
    ]
    answers += [_unreadable(device, each, at, unreadable[each.id]) for each in around if each.id in unreadable]
    answers.sort(key=lambda each: max(each.trace, *each.episodes, ""), reverse=True)
    if answers:
        return answers
    within = next((each for each in around if each.kind == "trace"), None)
    nothing = _nothing(corpus, device, at, within, (mine, start, end, when))
    return [nothing, *(_unreadable(device, each, at, unreadable[each.id]) for each in before if each.id in unreadable)]


def _device_ns(episode: Episode, at: At) -> int:
    """A moment in the clock of an episode that is near it."""
    if not at.utc:
        return at.ns
    at_ns = episode.start_ns
    for _ in range(3):  # what the clock gains in between is next to nothing
        utc_ns, _ = episode.utc(np.array([at_ns], np.int64))
        if utc_ns is None:
            return at_ns
        at_ns += at.ns - int(utc_ns[0])
    return at_ns


def _judged(
    corpus: Corpus,
    device: str,
    spool_id: str,
    boot: str,
    trace: Episode,
    row: TraceRow,
    rows: Sequence[TraceRow],
    full: dict[tuple[str, str], list[Episode]],
    boots: Collection[str],
) -> Explanation:
    there = full.get((spool_id, boot.partition("#")[0]), [])
    holds = [each.id for each in there if is_of_start(boot, boots, int(each.row["ordinal"]))]
    when = f"{time_of(trace, row.start_ns)} to {time_of(trace, row.end_ns)}"
    said = f"{device}, {when}: {_decided(row)}{beside(row, rows)}"
    if row.count > 1:
        said += f" It is one of {row.count} units that the trace has as one, to save bytes: {_counted(row)}."
    if holds:
        said += f" It is in episode {' and '.join(holds)}."
    elif any(each in row.by_reason for each in ("always", "novelty", "floor", "roll")):
        said += f" No episode in the store holds it: {_missing(corpus, device, spool_id)}."
    return Explanation(
        device=device,
        sentence=said,
        when=when,
        spool_id=spool_id,
        boot=boot,
        row=row,
        trace=trace.id,
        episodes=tuple(holds),
    )


def _decided(row: TraceRow) -> str:
    """What became of the unit that a row shows."""
    unit, decision = row.judged.unit, row.judged.decision
    p = f"chance could have kept it with p = {decision.p:.3g}, and the draw was {decision.draw:.3g}"
    of = decision.by if decision.by in unit.novelty else ""
    raw = f" (novelty {unit.novelty[of]:.3f})" if of else ""
    shown = f"{of} scored {decision.score:.2f} in its own still noise{raw}" if of else _still(row)
    score = f"{shown}, the threshold was {decision.threshold:.2f}"
    tie = f", and of a tie a draw of {decision.tie:.3g} decided" if decision.tie >= 0 else ""
    match decision.reason:
        case "never":
            gate = gated(unit) or f"the gate {unit.gate!r} was closed"
            gate = gate if unit.gate else f"the condition {decision.by!r} is never kept"
            return f"dropped, never: {gate}."
        case "always":
            return f"kept, always: {decision.by!r} was true. {_upper(score)}; {p}."
        case "novelty":
            return f"kept, novelty: {score}{tie}; {p}."
        case "budget" if not of and decision.by:
            return f"dropped, budget: {decision.by!r} was true, and the budget had no room. {_upper(score)}; {p}."
        case "budget":
            return f"dropped, budget: {score}{tie}, but the budget had no room; {p}."
        case "dull":
            return f"dropped, dull: {score}{tie}; {p}."
        case "floor":
            drawn = f"chance kept it, with p = {decision.p:.3g} and a draw of {decision.draw:.3g}"
            return f"kept, floor: {drawn}. {_upper(score)}."
        case "roll":
            return f"kept, roll: it is beside what was wanted. {_upper(score)}; {p}."
    return f"{'kept' if decision.kept else 'dropped'}, {decision.reason}: {score}; {p}."


def _still(row: TraceRow) -> str:
    """Of a unit in which no stream's novelty counted."""
    score, novelty = row.judged.decision.score, row.judged.unit.novelty
    raw = ", ".join(f"{name} {value:.3f}" for name, value in sorted(novelty.items()))
    shown = f"the score was {score:.2f}" if score else "no stream showed more than its own still noise"
    return shown + (f" (novelty of {raw})" if raw else "")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _counted(row: TraceRow) -> str:
    lengths = in_brief(seconds_by_reason(row))
    between = f"; scores from {row.least['score']:.2f} to {row.greatest['score']:.2f}" if "score" in row.least else ""
    return f"{lengths}{between}"


def _missing(corpus: Corpus, device: str, spool_id: str) -> str:
    """Why something that was kept may not be there."""
    for each in corpus.ledger(device):
        if each.spool_id == spool_id:
            said = [f"{each.pending} wait on the device"] if each.pending > 0 else []
            said += [f"{n} {why}" for why, n in each.discarded.items()]
            return ", ".join(said) or "it was cut off, or its store lost it; `sensorium verify` tells"
    return "`sensorium ledger` tells what became of its spool"


def _kept(device: str, spool_id: str, boot: str, those: Sequence[Episode], at: At, unreadable: bool) -> Explanation:
    read = " that can be read" if unreadable else ""
    when = time_of(those[0], _device_ns(those[0], at))
    names = " and ".join(each.id for each in those)
    said = f"{device}, {when}: it is in episode {names}; the store has no trace of it{read}, so not why."
    return Explanation(
        device=device,
        sentence=said,
        when=when,
        spool_id=spool_id,
        boot=boot,
        episodes=tuple(each.id for each in those),
    )


def _unreadable(device: str, trace: Episode, at: At, why: str) -> Explanation:
    """Of a moment of which a trace that is damaged may tell."""
    said = f"{device}, {_said(at)}: the trace {trace.id}, which may tell of it, cannot be read: {why}"
    spool_id = str(trace.row["spool_id"])
    return Explanation(device=device, sentence=said, when=_said(at), spool_id=spool_id, trace=trace.id, unreadable=why)


def _said(at: At) -> str:
    return (utc_text(at.ns) or "") if at.utc else f"{Decimal(at.ns).scaleb(-9).normalize():f} s"


def _nothing(
    corpus: Corpus, device: str, at: At, within: Episode | None, asked: tuple[str, str, str, str]
) -> Explanation:
    """Why nothing is known."""
    if within is not None:
        at_ns = _device_ns(within, at)
        ends = [row.end_ns for row in read_episode(within)[1] if row.end_ns <= at_ns]
        when, since = time_of(within, at_ns), time_of(within, max(ends, default=within.start_ns))
        said = f"{device}, {when}: nothing was judged since {since}: no judged stream delivered anything."
        return Explanation(device=device, sentence=said, when=when, trace=within.id)
    mine, start, end, when = asked
    before = corpus.query(f"{mine} and {end} <= {when}", f"{end} desc", 1)
    after = corpus.query(f"{mine} and {start} > {when}", start, 1)
    if not before and not after:
        _check_device(corpus, device)
    at_text = _said(at)
    said = f"{device}, {at_text}: nothing is known"
    if not before and not after:
        said += "; none of its episodes says UTC: give seconds of the device's clock" if at.utc else ""
    elif not before:
        said += f"; the first that the store has of it begins at {time_of(after[0], after[0].start_ns)}"
    elif not after:
        said += f"; the last that the store has of it ends at {time_of(before[0], int(before[0].row['end_ns']))}"
    else:
        said += (
            f" between {time_of(before[0], int(before[0].row['end_ns']))} and {time_of(after[0], after[0].start_ns)}"
        )
        if _begins(after[0]):
            said += ", when it was started again: it did not run, or a crash lost what was not on disk yet"
        elif before[0].row["reason"] == "interrupted":
            said += ": it was cut off there, and a crash lost what was not on disk yet"
        else:
            said += ": nothing was captured, none of it was judged, or a crash lost what was not on disk yet"
    waiting = sum(max(each.pending, 0) for each in corpus.ledger(device))
    gone = {why: n for each in corpus.ledger(device) for why, n in each.discarded.items()}
    said += f"; {waiting} of its episodes are not delivered yet" if waiting else ""
    said += "; given up were " + ", ".join(f"{n} ({why})" for why, n in gone.items()) if gone else ""
    return Explanation(device=device, sentence=f"{said}.", when=at_text)


def _begins(episode: Episode) -> bool:
    """Whether it is a trace of which the first unit is the first since the device was started."""
    if episode.kind != "trace":
        return False
    try:
        return any(row.judged.begun for row in read_episode(episode)[1][:1])
    except (Corrupt, StoreError):
        return False


def _check_device(corpus: Corpus, device: str) -> None:
    known = {each.device for each in corpus.ledger()}
    if device not in known:
        there = f"; it has {', '.join(sorted(known))}" if known else "; it is empty"
        raise ConfigError(f"{corpus.path}: no device {device!r}{nearest(device, known)}{there}")
