"""Holes: what a trace that is left out makes uncertain of all that its spool decided behind it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sensorium.agents.selection.logs import TracedLog
from sensorium.corpus.episode import Episode
from sensorium.corpus.traces import unreadable_s


class Hole(NamedTuple):
    """A trace that is left out, and how many rows of its spool's log were decided behind it."""

    trace: Episode
    behind: int

    def __str__(self) -> str:
        what = f"{unreadable_s(self.trace):.0f} s of {self.trace.device}, trace {self.trace.id}, are left out"
        if not self.behind:
            return f"{what}; nothing was decided behind them"
        return (
            f"{what}: what was kept and spent there is not known, so that {self.behind} units decided behind them may"
            " come out otherwise than on the device"
        )


def holes(logs: Sequence[TracedLog], left_out: Sequence[Episode], ordinals: Mapping[str, int]) -> list[Hole]:
    """Of each trace that is left out once, in the order in which they were written; `ordinals` are those of traces."""
    found = []
    for trace in sorted({each.id: each for each in left_out}.values(), key=lambda each: (each.device, each.id)):
        of = str(trace.row["device"]), str(trace.row["spool_id"])
        mine = [unit for log in logs for unit in log.traced if (unit.device, unit.spool_id) == of]
        at = int(trace.row["ordinal"])
        found.append(Hole(trace, sum(ordinals.get(unit.episode, -1) > at for unit in mine)))
    return found


def behind(found: Sequence[Hole], logs: Sequence[TracedLog]) -> int:
    """How many rows of all logs were decided behind any: of each spool those behind its first."""
    first: dict[tuple[str, str], int] = {}
    for each in found:
        of = each.trace.device, str(each.trace.row["spool_id"])
        first[of] = max(first.get(of, 0), each.behind)
    there = {(log.traced[0].device, log.traced[0].spool_id) for log in logs if log.traced}
    return sum(count for of, count in first.items() if of in there)
