"""Proposing from outside: a proposal is checked, judged by the charter, and put into the log for a loop to rule."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from sensorium.agents.planning.adjudicator import new_id
from sensorium.agents.planning.language.answer import ProposedPlan
from sensorium.agents.planning.language.quoted import quoted
from sensorium.agents.planning.log import PlanningLine, PlanningLog, ProposalRuled
from sensorium.agents.planning.mcp.said import ProposalSaid
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.plans.limits import AWAITS
from sensorium.drivers.controls import PlanKind, Value
from sensorium.errors import ConfigError

PLANNER = "mcp"
"""As which planner it is judged and budgeted, whoever it is."""
OFFERED, REFUSED = "offered", "refused"
MOST_OFFERED = 32
"""So many wait for a loop at the most."""

Refuses = Callable[[Proposal], str]


class Proposing:
    """Puts proposals into the log of the store at `store`; `refuses` says which rule is against one."""

    def __init__(self, store: Path, refuses: Refuses) -> None:
        self._log, self._refuses = PlanningLog(store), refuses

    def propose(
        self, who: str, plan: PlanKind, parameters: Mapping[str, Value], device: str, gain: float, rationale: str
    ) -> ProposalSaid:
        """Log a proposal: refused at once, or offered to whatever loop runs over the store.

        Raises:
            ConfigError: it is none, or too many wait.
            StoreError: it cannot be logged.
        """
        try:
            asked = ProposedPlan(plan=plan, parameters=dict(parameters), device=device, gain=gain)
        except ValueError as error:
            raise ConfigError(f"proposal: {' '.join(str(error).split())[:300]}") from error
        proposal = Proposal(
            plan=asked.plan,
            planner=PLANNER,
            parameters=asked.parameters,
            device=asked.device,
            gain=asked.gain,
            rationale=quoted(rationale, 400),
        )
        if len(waiting_offers(self._log.read().lines)) >= MOST_OFFERED:
            raise ConfigError(f"{MOST_OFFERED} proposals wait for a loop (`sensorium plan`); none more is taken")
        rule = self._refuses(proposal)
        named = msgspec.structs.replace(proposal, id=new_id())
        ruling = REFUSED if rule and not rule.startswith(AWAITS) else OFFERED
        self._log.add(ProposalRuled(proposal=named, ruling=ruling, rule=rule, expected=gain, who=who))
        return ProposalSaid(
            id=named.id,
            plan=named.plan,
            device=named.device,
            planner=PLANNER,
            parameters=dict(named.parameters),
            state=ruling,
            rule=rule,
            expected=gain,
        )


def waiting_offers(lines: list[PlanningLine]) -> list[ProposalRuled]:
    """What was offered, and no loop has ruled yet."""
    last: dict[str, ProposalRuled] = {}
    for line in lines:
        if isinstance(line, ProposalRuled):
            last[line.proposal.id] = line
    return [line for line in last.values() if line.ruling == OFFERED]
