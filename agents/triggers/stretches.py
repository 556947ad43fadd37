"""Stretches: what was decided of captured time, as spans to keep and stretches that a rule leaves out."""

import bisect
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sensorium.agents.selection.campaigns import CAMPAIGN
from sensorium.agents.selection.fleet_claims import NoveltyClaim
from sensorium.agents.selection.knowledge import difference
from sensorium.agents.selection.unit_costs import UnitCosts
from sensorium.agents.selection.value import DECISION
from sensorium.agents.triggers.trigger import FOREVER_NS, EpisodeSpan, Placement
from sensorium.drivers.marks import SourceNote
from sensorium.episode.account import SELECTION
from sensorium.episode.look_note import LOOK, look_value
from sensorium.episode.unit import Decision, Look

Fired = Mapping[str, Mapping[str, str | float | None]]
"""Campaigns that look for a unit, by name, and the values that made them."""
KEPT_RUNS = 16_384
KEPT_UNBOOKED = 256
_NOTE_BYTES = 128
"""What a note takes beside its value."""
ALIKE, MOST_LOOKS = 0.01, 64
"""Looks that are less different are noted once, and of a stream no more than so many in one episode."""
NO_LOOKS: Mapping[str, Look] = {}
MOST_NOTES = 128 << 10
"""Bytes of notes of decisions in one episode: half of what may be noted there, the rest is for its sources."""


@dataclass(slots=True)
class Stretch:
    """Neighbouring units with one fate: kept in a `span`, with what was `spent` on each, (start_ns, bytes), and booked
    in `advance` of a seal, or left out by a `rule`."""

    start_ns: int
    end_ns: int
    rule: str
    span: EpisodeSpan | None
    note_bytes: int = 0
    spent: deque[tuple[int, int]] = field(default_factory=deque)
    advance: int = 0
    seen: dict[str, list[Look]] = field(default_factory=dict)

    def new_looks(self, decision: Decision, looks: Mapping[str, Look]) -> list[SourceNote]:
        """Notes of those that are like none before, of which there are few."""
        found = []
        for name, look in looks.items():
            before = self.seen.setdefault(name, [])
            vector = np.frombuffer(look.vector, np.int8)
            if len(before) < MOST_LOOKS and not any(
                each.by == look.by
                and len(each.vector) == len(look.vector)
                and difference(vector, np.frombuffer(each.vector, np.int8)) < ALIKE
                for each in before
            ):
                before.append(look)
                start_ns, end_ns = decision.start_ns, decision.end_ns
                found.append(SourceNote(LOOK, name, look_value(look), start_ns=start_ns, end_ns=end_ns))
        return found


class Stretches:
    """Those of one time, in its order. Neighbouring kept units are one span, as long as its notes have room in one
    episode."""

    def __init__(self, before: "Stretches | None" = None) -> None:
        """`before` are those of the time before, of which something may be sealed yet."""
        self._runs: list[Stretch] = []
        self._starts: list[int] = []
        self._unbooked: deque[Stretch] = deque(maxlen=KEPT_UNBOOKED) if before is None else before._unbooked

    def add(
        self,
        decision: Decision,
        looks: Mapping[str, Look] = NO_LOOKS,
        claim: NoveltyClaim | None = None,
        fired: Fired | None = None,
    ) -> None:
        """The next unit has its final decision. Its `looks` are noted, as far as none before in its span is like it;
        `claim` is why it is new; campaigns have `fired`. Where it is kept its episode says so."""
        last = self._runs[-1] if self._runs and self._runs[-1].end_ns == decision.start_ns else None
        if not decision.kept:
            self.close()
            rule = SELECTION + decision.reason
            if last is not None and last.rule == rule:
                last.end_ns = decision.end_ns
            else:
                self._begin(Stretch(decision.start_ns, decision.end_ns, rule, None))
            return
        note = note_of(decision, fired)
        size = note.nbytes + _NOTE_BYTES + sum(len(look.vector) * 4 // 3 + _NOTE_BYTES for look in looks.values())
        span = None if last is None else last.span
        if last is None or span is None or last.note_bytes + size > MOST_NOTES:
            self.close()
            span = EpisodeSpan(decision.start_ns, decision.end_ns, decisions=[])
            last = Stretch(decision.start_ns, decision.end_ns, "", span)
            self._begin(last)
            self._unbooked.append(last)
        last.end_ns = span.end_ns = decision.end_ns
        if fired:
            before = str(span.labels.get(CAMPAIGN, "")).split(", ")
            span.labels = {**span.labels, CAMPAIGN: ", ".join(sorted({*before, *fired} - {""}))[:200]}
        span.notes.append(note)
        if span.decisions is not None:
            span.decisions.append(decision)
        span.notes += (noted := last.new_looks(decision, looks))
        size = note.nbytes + _NOTE_BYTES + sum(each.nbytes + _NOTE_BYTES for each in noted)
        span.claims += [] if claim is None else [claim]
        last.note_bytes += size
        last.spent.append((decision.start_ns, decision.cost_bytes))

    def close(self) -> None:
        """The last span ends where it ends now."""
        if self._runs and (span := self._runs[-1].span) is not None:
            span.closed = True

    def place(self, stamp_ns: int, until_ns: int) -> Placement:
        """Where a stamp before `until_ns` belongs, up to which all is decided."""
        at = bisect.bisect_right(self._starts, stamp_ns) - 1
        if at >= 0 and stamp_ns < (run := self._runs[at]).end_ns:
            return Placement(run.end_ns, run.span, rule=run.rule)
        following_ns = self._starts[at + 1] if at + 1 < len(self._starts) else FOREVER_NS
        return Placement(min(following_ns, until_ns))

    def book(self, costs: UnitCosts, *, growing: bool = True) -> None:
        """Tell the costs what was sealed since the last time, and, if asked for, what `growing` episodes have come to
        beyond what was spent on them: samples that are larger than those before are paid for at once."""
        for run in list(self._unbooked):
            took = [] if run.span is None else run.span.took
            if took:
                costs.advance(-run.advance)
                run.advance = 0
            while took:
                costs.learn(took.pop(0), run.spent)
            if growing and run.span is not None and run.span.growing is not None:
                more = run.span.growing() - sum(size for _, size in run.spent) - run.advance
                costs.advance(max(more, 0))
                run.advance += max(more, 0)
            if run.span is None or (run.span.closed and not run.spent):
                self._unbooked.remove(run)

    def _begin(self, run: Stretch) -> None:
        self._runs.append(run)
        self._starts.append(run.start_ns)
        if len(self._runs) > KEPT_RUNS:
            del self._runs[: KEPT_RUNS // 2], self._starts[: KEPT_RUNS // 2]


def note_of(decision: Decision, fired: Fired | None = None) -> SourceNote:
    """What an episode says of a unit that it holds."""
    value: dict[str, Any] = {
        "reason": decision.reason,
        "by": decision.by,
        "score": _short(decision.score),
        "threshold": _short(decision.threshold),
        "p": decision.p if decision.drawn else _short(decision.p),
        "drawn": decision.drawn,
        "policy": decision.policy,
        "cost_bytes": decision.cost_bytes,
    }
    if fired:
        value["campaigns"] = {name: dict(values) for name, values in fired.items()}
    if decision.drawn:  # to the last bit, as what chance kept is evicted by it
        value["draw"] = decision.draw
    return SourceNote(DECISION, decision.reason, value, start_ns=decision.start_ns, end_ns=decision.end_ns)


def _short(number: float) -> float:
    return float(f"{number:.6g}")
