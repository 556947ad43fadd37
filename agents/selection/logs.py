"""Logs: what the spools of a store remember, in the order in which their devices decided of it."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.policy_file import check_policy
from sensorium.agents.selection.replay import SpoolLog
from sensorium.corpus.queried import Queried
from sensorium.corpus.traces import LeftOut, TracedUnit, traces
from sensorium.drivers.registry import nearest


class TracedLog(NamedTuple):
    """A spool's log, and the same units as they were traced; `told` is whether all its policies are known."""

    log: SpoolLog
    traced: Sequence[TracedUnit]
    told: bool

    @property
    def merged(self) -> int:
        """Rows that stand for several units, of which nothing can be decided again exactly."""
        return sum(unit.count > 1 for unit in self.traced)


def traced_logs(corpus: Queried, where: str = "", left_out: LeftOut | None = None) -> list[TracedLog]:
    """The logs of a store, by device and spool, of those of its traces for which `where` is true.

    Boots follow each other as their traces do, by ordinal: their names say nothing of which was first. `left_out` is
    told of each trace that cannot be read.

    Raises:
        ConfigError: the condition is none.
        Corrupt: a trace is damaged, and nobody is told.
    """
    condition = f"({where}) and kind = 'trace'" if where.strip() else "kind = 'trace'"
    ordinals = {each.id: int(each.row["ordinal"]) for each in corpus.query(condition)}
    units = [unit for unit in traces(corpus, left_out=left_out) if unit.episode in ordinals] if ordinals else []
    found = []
    for _, of in itertools.groupby(units, key=lambda unit: (unit.device, unit.spool_id)):
        times = [list(time) for _, time in itertools.groupby(of, key=lambda unit: (unit.judged.unit.boot, unit.resets))]
        times.sort(key=lambda time: min(ordinals[unit.episode] for unit in time))
        found.append(log_of(list(itertools.chain.from_iterable(times))))
    return found


def cut_otherwise(logs: Iterable[TracedLog], policy: SelectionPolicy) -> str:
    """How the units of logs were cut where `policy` says otherwise, in words; "" where it says the same."""
    known = {_units(each) for log in logs for each in log.log.policies.values()} - {_units(policy)}
    return f"units of {' and of '.join(sorted(known))} where it says {_units(policy)}" if known else ""


def named_in_vain(logs: Iterable[TracedLog], policy: SelectionPolicy) -> list[str]:
    """Streams and scores that a policy names and no unit has: nothing is judged by them."""
    units = [judged.unit for log in logs for judged in log.log.judged]
    streams = set[str]().union(*(unit.novelty for unit in units))
    scores = set[str]().union(*(unit.scores for unit in units))
    return sorted(
        [f"stream {name!r}{nearest(name, streams)}" for name in policy.streams.keys() - streams]
        + [f"score {name!r}{nearest(name, scores)}" for name in policy.columns - scores]
    )


def _units(policy: SelectionPolicy) -> str:
    return f"{policy.unit_s:g} s" if policy.unit == "time" else "a frame"


def log_of(traced: Sequence[TracedUnit]) -> TracedLog:
    """The log of one spool, from its units in the order in which they were decided of."""
    policies = _policies(traced)
    spool_id = traced[0].spool_id if traced else ""
    told = all(unit.judged.decision.policy in policies for unit in traced)
    return TracedLog(SpoolLog(spool_id, [unit.judged for unit in traced], policies), traced, told)


def _policies(traced: Iterable[TracedUnit]) -> dict[str, SelectionPolicy]:
    found: dict[str, SelectionPolicy] = {}
    for unit in traced:
        version = unit.judged.decision.policy
        if version not in found and unit.policy:
            policy = check_policy(unit.policy, f"of the trace in {unit.episode}")
            if policy.version == version:  # else it is of another release, which decided otherwise
                found[version] = policy
    return found
