"""Outcomes: what policies would have kept of what was seen, side by side, against the choice of hindsight."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from sensorium.agents.selection.landscape import Landscape
from sensorium.agents.selection.logs import TracedLog
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.replay import decided_again, differing
from sensorium.corpus.traces import TracedUnit
from sensorium.episode.unit import Judged

IN_FORCE = "as it was"
"""What the policies that were in force did, from the log."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy keeps of n units.

    `judged` are its decisions, in the order of the logs. `bytes` are those of what it keeps, `estimated_bytes` the part
    of them that was never encoded, or is not in the store. `regret` is one minus coverage over that of greedy k-centre.
    `differing` is how many decisions are not those that were logged; None where its policy was not in force.
    """

    name: str
    judged: Sequence[Judged]
    share: float
    bytes: float
    estimated_bytes: float
    coverage: float
    effective: float
    regret: float
    differing: int | None

    @property
    def kept(self) -> list[int]:
        """The units that it keeps, by their places."""
        return [place for place, each in enumerate(self.judged) if each.decision.kept]

    @property
    def reasons(self) -> dict[str, int]:
        """How many units were kept or dropped for which reason."""
        return dict(sorted(Counter(each.decision.reason for each in self.judged).items()))

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "policy": self.name,
            "units": len(self.judged),
            "kept": len(self.kept),
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
        return self._outcome(IN_FORCE, judged, off if len(known) == len(self.logs) else None)

    def outcome(self, name: str, policy: SelectionPolicy) -> Outcome:
        """What a policy decides."""
        again = [decided_again(each.log, policy) for each in self.logs]
        pairs = zip(self.logs, again, strict=True)
        off = sum(len(differing(each.log, judged)) for each, judged in pairs)
        was = all(set(each.log.policies) == {policy.version} for each in self.logs)
        return self._outcome(name, list(chain.from_iterable(again)), off if was else None)

    def _outcome(self, name: str, judged: Sequence[Judged], off: int | None) -> Outcome:
        kept = [place for place, each in enumerate(judged) if each.decision.kept]
        real = estimated = 0.0
        for place in kept:
            size = self._bytes_of(self.traced[place])
            real += size or 0.0
            estimated += judged[place].unit.estimate_bytes if size is None else 0.0
        seen_ns = sum(each.unit.length_ns for each in judged)
        kept_ns = sum(judged[place].unit.length_ns for place in kept)
        return Outcome(
            name=name,
            judged=judged,
            share=kept_ns / seen_ns if seen_ns else 0.0,
            bytes=real + estimated,
            estimated_bytes=estimated,
            coverage=self.landscape.coverage(kept),
            effective=self.landscape.effective(kept),
            regret=self.landscape.regret(kept),
            differing=off,
        )
