"""Unpaid: what a shadow campaign would have kept, had it been none, by the code that decides on devices."""

import msgspec

from sensorium.agents.selection.campaigns import CAMPAIGN
from sensorium.agents.selection.logs import TracedLog
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.replay import SpoolLog, decided_again
from sensorium.agents.selection.selector import ROLL


class Unpaid(msgspec.Struct):
    """What would have been kept for a campaign, within its budget and with its pre- and post-rolls, that the policy did
    not keep anyway: seconds, and bytes as the device estimates them."""

    keep_s: float = 0.0
    keep_bytes: int = 0


def unpaid(log: TracedLog, campaign: str) -> Unpaid | None:
    """Of one spool; None where no shadow of that name was in force, or not all policies are known. Of rows that stand
    for several units it is not exact."""
    policies = {version: _paid(policy, campaign) for version, policy in log.log.policies.items()}
    if not log.told or policies == log.log.policies:
        return None
    found = Unpaid()
    again = decided_again(SpoolLog(log.log.spool_id, log.log.judged, policies))
    for judged, traced in zip(again, log.traced, strict=True):
        if judged.decision.reason in (CAMPAIGN, ROLL) and judged.decision.by == campaign:
            found.keep_s = round(found.keep_s + judged.unit.length_ns / 1e9, 3)
            found.keep_bytes += judged.unit.estimate_bytes * traced.count
    return found


def _paid(policy: SelectionPolicy, campaign: str) -> SelectionPolicy:
    """A policy in which the campaign of that name is no shadow."""
    paid = [each.model_copy(update={"shadow": False}) if each.name == campaign else each for each in policy.campaigns]
    return policy if tuple(paid) == policy.campaigns else policy.model_copy(update={"campaigns": tuple(paid)})
