"""Replay: decide again of what a device saw, by the code that decided there, from its log."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from sensorium.agents.filters.guarded_call import in_line
from sensorium.agents.selection.chooser import Chooser
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.episode.unit import Judged, Unit, encoded
from sensorium.errors import SensoriumError


@dataclass(frozen=True, slots=True)
class SpoolLog:
    """What one spool remembers: its units in the order in which they were decided of, and by their version the policies
    that were in force."""

    spool_id: str
    judged: Sequence[Judged]
    policies: Mapping[str, SelectionPolicy]


def decided_again(log: SpoolLog, policy: SelectionPolicy | None = None) -> list[Judged]:
    """Every unit of `log`, with what `policy` decides of it; None: the policy that was in force then.

    Novelty and change are found anew from the looks, as another policy keeps, and so knows, other things. A restart in
    the log is one here: what was not saved by then is forgotten. With the policy that was in force everything is equal
    to what was logged, byte for byte, unless units are missing from the log or were merged. Another policy spends what
    keeping was thought to cost: what was booked was of what the device kept.

    Raises:
        KeyError: the log lacks a policy that was in force.
        SensoriumError: `policy` is of another package, and raises.
    """
    try:
        return _decided_again(log, policy)
    except SensoriumError:
        raise
    except Exception as error:
        if policy is None or not policy.decider:
            raise
        raise SensoriumError(f"policy {policy.decider!r} raised {in_line(error)}; mend it, or leave it out") from error


def _decided_again(log: SpoolLog, policy: SelectionPolicy | None) -> list[Judged]:
    found: list[Judged] = []
    chooser: Chooser | None = None
    saved: bytes | None = None
    before: SelectionPolicy | None = None
    for each in log.judged:
        wanted = policy or log.policies[each.decision.policy]
        if chooser is None or before is None or each.begun or wanted.version != before.version:
            state = saved if chooser is None or each.begun else chooser.state
            found += [] if chooser is None else chooser.finish()
            chooser, before = Chooser(wanted, log.spool_id, state, contained=policy is None), wanted
        final = chooser.step(_as_it_came(each, wanted.version), each.looks)
        if each.saved:
            saved = chooser.state
            final = chooser.mark_saved(final)
        found += final
    return found + ([] if chooser is None else chooser.finish())


def differing(log: SpoolLog, again: Iterable[Judged]) -> list[Judged]:
    """Those of `again` whose decision is not, byte for byte, what was logged of the same unit."""
    return [new for old, new in zip(log.judged, again, strict=True) if encoded(old.decision) != encoded(new.decision)]


def _as_it_came(each: Judged, version: str) -> Unit:
    """The unit as it was before anybody knew how new it is."""
    unit = each.unit
    return msgspec.structs.replace(
        unit,
        novelty={name: value for name, value in unit.novelty.items() if name not in each.looks},
        change={name: value for name, value in unit.change.items() if name not in each.looks},
        booked_bytes=unit.booked_bytes if version == each.decision.policy else 0,
    )
