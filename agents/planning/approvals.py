"""Approvals: plans that wait for a person, and what that person signs; and proposals that others put into the log."""

from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from sensorium.agents.charter import Charter
from sensorium.agents.planning.hosted import Key, key_of
from sensorium.agents.planning.log import PlanApproved, PlanningLine, PlanningLog, ProposalRuled
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.rules import approvers_of, asked_plan
from sensorium.errors import ConfigError
from sensorium.link.approval import Approval, approval_of, is_approved
from sensorium.link.operators import OperatorPair

_MOST_NEWS = 10_000


class WaitingPlans:
    """What waits for a person's approval, and is offered by others, as far as the log says.

    An approval counts that one of the charter's approvers has signed, of this very plan, who is not `operator`, in
    whose name it is asked. Whatever else is in the log, the device looks again.
    """

    def __init__(self, charter: Charter, operator: bytes) -> None:
        self._approvers = approvers_of(charter)
        self._operator = operator
        self._plans: dict[str, ProposalRuled] = {}
        self._ruled: set[str] = set()
        self._offered: list[ProposalRuled] = []
        self._news: set[tuple[Key, str]] = set()
        self._size = -1
        self._lines: Sequence[PlanningLine] = ()

    @property
    def plans(self) -> list[ProposalRuled]:
        """Those that wait, the earlier first."""
        return list(self._plans.values())

    def add(self, line: ProposalRuled) -> None:
        """One that waits from now on."""
        self._plans[line.proposal.id] = line

    def has(self, proposal: Proposal) -> bool:
        """Whether one that asks for the same waits already."""
        return any(key_of(each.proposal) == key_of(proposal) for each in self._plans.values())

    def is_news(self, proposal: Proposal, rule: str) -> bool:
        """Whether this was not refused by this rule before: what a planner says again and again is logged once. Who
        offered one is told in any case."""
        if any(each.proposal.id == proposal.id for each in self._offered):
            return True
        said = key_of(proposal), rule
        if said in self._news:
            return False
        if len(self._news) >= _MOST_NEWS:
            self._news.clear()
        self._news.add(said)
        return True

    def approved(self, log: PlanningLog, busy: Container[str]) -> list[tuple[ProposalRuled, Approval]]:
        """Those of devices that are not `busy` that were approved, one a device; they wait no more."""
        found: dict[str, tuple[ProposalRuled, Approval]] = {}
        for line in self._read(log) if self._plans else ():
            ruled = self._plans.get(line.proposal) if isinstance(line, PlanApproved) else None
            if ruled is None or ruled.proposal.device in busy or ruled.proposal.device in found:
                continue
            if isinstance(line, PlanApproved) and (approval := self._checked(line, ruled)) is not None:
                found[ruled.proposal.device] = ruled, approval
        for ruled, _ in found.values():
            del self._plans[ruled.proposal.id]
        return list(found.values())

    def offered(self, log: PlanningLog) -> list[ProposalRuled]:
        """Proposals that others put into the log, and no loop has ruled yet."""
        self._offered = [
            line
            for line in self._read(log)
            if isinstance(line, ProposalRuled) and line.ruling == "offered" and line.proposal.id not in self._ruled
        ]
        return self._offered

    def were_ruled(self, proposals: Iterable[str]) -> None:
        """These are offered no more."""
        self._ruled.update(proposals)

    def resume(self, lines: Iterable[PlanningLine]) -> None:
        """What waits, and was ruled, by what a loop before has logged."""
        for line in lines:
            if isinstance(line, ProposalRuled) and line.ruling != "offered":
                self._ruled.add(line.proposal.id)
                if line.ruling == "waits":
                    self._plans[line.proposal.id] = line
                else:
                    self._plans.pop(line.proposal.id, None)

    def _checked(self, line: PlanApproved, ruled: ProposalRuled) -> Approval | None:
        try:
            approval = Approval(operator=bytes.fromhex(line.operator), signature=bytes.fromhex(line.signature))
            digest = asked_plan(ruled.proposal, ruled.seconds).digest
        except (ValueError, ConfigError):
            return None
        may = approval.operator in self._approvers and approval.operator != self._operator
        of = {"proposal": ruled.proposal.id, "digest": digest, "device": ruled.proposal.device}
        return approval if may and is_approved(approval, **of) else None

    def _read(self, log: PlanningLog) -> Sequence[PlanningLine]:
        """The log, read anew where it has grown."""
        if (size := log.size) != self._size:
            self._size, self._lines = size, log.read().lines
        return self._lines


def waiting_plans(lines: Iterable[PlanningLine]) -> dict[str, ProposalRuled]:
    """By proposal what waits for a person, as far as the log says."""
    found: dict[str, ProposalRuled] = {}
    for line in lines:
        if isinstance(line, ProposalRuled):
            found.pop(line.proposal.id, None)
            if line.ruling == "waits":
                found[line.proposal.id] = line
    return found


def approve(store: Path, proposal: str, pair: OperatorPair, why: str = "") -> PlanApproved:
    """Approve a proposal that waits, in the name of `pair`; in the log when it returns.

    Raises:
        ConfigError: none waits whose id begins so, or several; or it was asked for in the same name.
        StoreError: it is no store, or its disk is in trouble.
    """
    log = PlanningLog(store)
    waiting = waiting_plans(log.read().lines)
    found = [name for name in waiting if name.startswith(proposal)] if proposal else []
    if len(found) != 1:
        which = "no proposal that waits begins" if not found else "several proposals that wait begin"
        raise ConfigError(f"{store}: {which} with {proposal!r} (waiting: {', '.join(waiting) or 'none'})")
    ruled = waiting[found[0]]
    if ruled.operator == pair.operator.public.hex():
        raise ConfigError(f"proposal {ruled.proposal.id}: {pair.operator.name} asks for it, and so cannot approve it")
    digest = asked_plan(ruled.proposal, ruled.seconds).digest
    signed = approval_of(pair, proposal=ruled.proposal.id, digest=digest, device=ruled.proposal.device)
    line = PlanApproved(
        proposal=ruled.proposal.id,
        by=pair.operator.name,
        operator=signed.operator.hex(),
        signature=signed.signature.hex(),
        why=why,
    )
    log.add(line)
    return line
