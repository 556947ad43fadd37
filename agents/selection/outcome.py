"""Outcomes: what policies would have kept of what was seen, side by side, against the choice of hindsight."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sensorium.agents.selection.landscape import Landscape
from sensorium.agents.selection.logs import TracedLog
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.replay import decided_again, differing
from sensorium.corpus.traces import TracedUnit
from sensorium.episode.trace_row import REASONS
from sensorium.episode.unit import Judged

_DROPPED = frozenset({"never", "dull", "budget"})

IN_FORCE = "as it was"
"""What the policies that were in force did, from the log."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy keeps of n units.

    `judged` are its decisions, in the order of the logs; of rows that stand for several of its `units` one each, while
    `reasons` (how many were kept or dropped for which) and `kept_units` are of all. `bytes` are those of what it keeps,
    `estimated_bytes` the part of them that was never encoded, or is not in the store. `regret` is one minus coverage
    over that of greedy k-centre. `differing` is how many decisions are not those that were logged; None where its
    policy was not in force.
    """

    name: str
    judged: Sequence[Judged]
    units: int
    reasons: dict[str, int]
    kept_units: int
    share: float
    bytes: float
    estimated_bytes: float
    coverage: float
    effective: float
    regret: float
    differing: int | None

    @property
    def kept(self) -> list[int]:
        """The rows that it keeps, by their places."""
        return [place for place, each in enumerate(self.judged) if each.decision.kept]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "policy": self.name,
            "units": self.units,
            "kept": self.kept_units,
            "share_of_time": self.share,
            "bytes": round(self.bytes),
            "estimated_bytes": round(self.estimated_bytes),
            "coverage": self.coverage,
            "effective_episodes": self.effective,
            "regret": self.regret,
            "differing": self.differing,
            "reasons": self.reasons,
        }


class Comparison:
    """Logs, the landscape of all that they saw, and what keeping each unit cost where that is known.

    `clusters` 0 is one for five units, at least 2 and at most 100.
    """

    def __init__(
        self, logs: Sequence[TracedLog], clusters: int, bytes_of: Callable[[TracedUnit], float | None]
    ) -> None:
        self.logs = logs
        self.traced = list(chain.from_iterable(each.traced for each in logs))
        cells = clusters or min(max(len(self.traced) // 5, 2), 100)
        self.landscape = Landscape([unit.judged for unit in self.traced], cells)
        self._bytes_of = bytes_of

    def logged(self) -> Outcome:
        """What was decided on the devices; `differing` is how many decisions come out otherwise when decided again."""
        again = [decided_again(each.log) for each in self.logs if each.told]
        known = [each.log for each in self.logs if each.told]
        off = sum(len(differing(log, judged)) for log, judged in zip(known, again, strict=True))
        judged = [unit.judged for unit in self.traced]
        by_reason = [unit.by_reason for unit in self.traced]
        return self._outcome(IN_FORCE, judged, by_reason, off if len(known) == len(self.logs) else None)

    def outcome(self, name: str, policy: SelectionPolicy) -> Outcome:
        """What a policy decides."""
        again = [decided_again(each.log, policy) for each in self.logs]
        pairs = zip(self.logs, again, strict=True)
        off = sum(len(differing(each.log, judged)) for each, judged in pairs)
        was = all(set(each.log.policies) == {policy.version} for each in self.logs)
        judged = list(chain.from_iterable(again))
        by_reason = [{each.decision.reason: unit.count} for each, unit in zip(judged, self.traced, strict=True)]
        return self._outcome(name, judged, by_reason, off if was else None)

    def _outcome(
        self, name: str, judged: Sequence[Judged], by_reason: Sequence[Mapping[str, int]], off: int | None
    ) -> Outcome:
        kept = [place for place, each in enumerate(judged) if each.decision.kept]
        units = [_kept(each, reasons) for each, reasons in zip(judged, by_reason, strict=True)]
        real = estimated = 0.0
        for place, number in enumerate(units):
            size = self._bytes_of(self.traced[place]) if number else 0.0
            real += size or 0.0
            estimated += judged[place].unit.estimate_bytes * number if size is None else 0.0
        seen_ns = sum(each.unit.length_ns for each in judged)
        kept_ns = sum(
            each.unit.length_ns * number / unit.count
            for each, number, unit in zip(judged, units, self.traced, strict=True)
        )
        reasons: Counter[str] = Counter()
        for each in by_reason:
            reasons.update(each)
        return Outcome(
            name=name,
            judged=judged,
            units=sum(unit.count for unit in self.traced),
            reasons=dict(sorted(reasons.items())),
            kept_units=sum(units),
            share=kept_ns / seen_ns if seen_ns else 0.0,
            bytes=real + estimated,
            estimated_bytes=estimated,
            coverage=self.landscape.coverage(kept),
            effective=self.landscape.effective(kept),
            regret=self.landscape.regret(kept),
            differing=off,
        )


def _kept(judged: Judged, by_reason: Mapping[str, int]) -> int:
    """How many units of a row were kept; of reasons of a plug-in it is that of the row that says which they are."""
    dropped = sum(number for reason, number in by_reason.items() if reason in _DROPPED)
    others = sum(number for reason, number in by_reason.items() if reason not in REASONS)
    return sum(by_reason.values()) - dropped - (0 if judged.decision.kept else others)
