"""A row of the trace: a unit as a device judged it, or several neighbours as one, where rows must be few.

Of merged units it is known how many there were, what became of them, and between which values each number was.
"""

from typing import Protocol

import msgspec

from sensorium.episode.unit import Judged

REASONS = ("always", "novelty", "floor", "roll", "never", "dull", "budget")
OTHER = "other"
"""Any other reason, where they are counted."""
JUDGED_S = "judged_s"
"""In the summary of a trace: seconds by reason."""


class Decided(Protocol):
    """A unit of which was decided, or `count` of them, and how many for which reason."""

    @property
    def start_ns(self) -> int: ...

    @property
    def end_ns(self) -> int: ...

    @property
    def count(self) -> int: ...

    @property
    def by_reason(self) -> dict[str, int]: ...


class TraceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One unit as it was judged; or `count` neighbours as one, from the start of the first to the end of the last.

    `judged` of several is that with the greatest score, over the span of all, its `booked_bytes` their sum. `least` and
    `greatest` are those of all, by the names of numbers: `score`, `novelty/STREAM`, `change/STREAM`,
    `scores/STREAM.SCORE`; `reasons` is how many had which. Of a single unit all three are empty.
    """

    judged: Judged
    count: int = 1
    least: dict[str, float] = {}
    greatest: dict[str, float] = {}
    reasons: dict[str, int] = {}

    @property
    def start_ns(self) -> int:
        """Where its first unit begins."""
        return self.judged.unit.start_ns

    @property
    def end_ns(self) -> int:
        """Where its last unit ends."""
        return self.judged.unit.end_ns

    @property
    def by_reason(self) -> dict[str, int]:
        """How many units had which reason, of a single one too."""
        return self.reasons or {self.judged.decision.reason: 1}


def seconds_by_reason(row: Decided) -> dict[str, float]:
    """How much of its time was decided for which reason; merged units count alike."""
    length_s = (row.end_ns - row.start_ns) / 1e9
    return {_known(reason): length_s * n / row.count for reason, n in row.by_reason.items()}


def _known(reason: str) -> str:
    return reason if reason in REASONS else OTHER


def numbers_of(judged: Judged) -> dict[str, float]:
    """What was found in a unit, by the names that the trace has for it."""
    unit = judged.unit
    named: dict[str, float] = {}
    for kind, values in (("novelty", unit.novelty), ("change", unit.change), ("scores", unit.scores)):
        named.update((f"{kind}/{name}", value) for name, value in values.items())
    return named


def merged(one: TraceRow, other: TraceRow) -> TraceRow:
    """Two neighbours as one row, `one` the earlier."""
    first, last = one.judged, other.judged
    shown, beside = (first, last) if first.decision.score >= last.decision.score else (last, first)
    start_ns, end_ns = first.unit.start_ns, max(first.unit.end_ns, last.unit.end_ns)
    booked = first.unit.booked_bytes + last.unit.booked_bytes
    replace = msgspec.structs.replace
    judged = Judged(
        unit=replace(shown.unit, start_ns=start_ns, end_ns=end_ns, booked_bytes=booked),
        decision=replace(shown.decision, start_ns=start_ns, end_ns=end_ns),
        looks={**beside.looks, **shown.looks},
        saved=last.saved,
        begun=first.begun,
    )
    reasons: dict[str, int] = {}
    for row in (one, other):
        for reason, n in row.by_reason.items():
            reasons[_known(reason)] = reasons.get(_known(reason), 0) + n
    (least, greatest), (least_too, greatest_too) = extremes(one), extremes(other)
    for name, value in least_too.items():
        least[name] = min(value, least.get(name, value))
    for name, value in greatest_too.items():
        greatest[name] = max(value, greatest.get(name, value))
    return TraceRow(judged=judged, count=one.count + other.count, least=least, greatest=greatest, reasons=reasons)


def extremes(row: TraceRow) -> tuple[dict[str, float], dict[str, float]]:
    """The least and the greatest of each number, of a single unit too; what is NaN is neither."""
    if row.count > 1:
        return dict(row.least), dict(row.greatest)
    named = {"score": row.judged.decision.score, **numbers_of(row.judged)}
    found = {name: value for name, value in named.items() if value == value}
    return found, dict(found)
