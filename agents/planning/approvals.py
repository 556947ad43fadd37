"""Approvals: plans that wait for a person, and what that person signs; and proposals that others put into the log."""

import time
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import msgspec

from sensorium.agents.charter import Charter
from sensorium.agents.planning.hosted import Key, key_of
from sensorium.agents.planning.log import PlanApproved, PlanningLine, PlanningLog, ProposalRuled
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.rules import approvers_of, asked_plan
from sensorium.episode.utc_text import utc_ns_of
from sensorium.errors import ConfigError
from sensorium.link.approval import Approval, approval_of, is_approved
from sensorium.link.operators import OperatorPair

APPROVAL_S = 86_400.0
"""So long a plan waits for a person, where nothing else is said."""
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

    def expired(self, log: PlanningLog, now_ns: int) -> list[ProposalRuled]:
        """Those that wait no more, as nobody has approved them in time, as they are to be logged. One that was stays
        until its device can be asked."""
        late = [line for line in self._plans.values() if has_expired(line, now_ns)]
        if late:
            lines = [line for line in self._read(log) if isinstance(line, PlanApproved)]
            held = {ruled.proposal.id for ruled in late for line in lines if self._holds(line, ruled)}
            late = [line for line in late if line.proposal.id not in held]
        for line in late:
            del self._plans[line.proposal.id]
        rule = "approval: nobody has approved it until"
        return [msgspec.structs.replace(line, ruling="expired", rule=f"{rule} {line.until}", utc="") for line in late]

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

    def _holds(self, line: PlanApproved, ruled: ProposalRuled) -> bool:
        return line.proposal == ruled.proposal.id and self._checked(line, ruled) is not None

    def _checked(self, line: PlanApproved, ruled: ProposalRuled) -> Approval | None:
        try:
            if has_expired(ruled, utc_ns_of(line.utc)):
                return None
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


def has_expired(line: ProposalRuled, now_ns: int) -> bool:
    """Whether one that waits did so long enough by this UTC, in nanoseconds since 1970; where it does not say until
    when, as long as is usual."""
    try:
        until_ns = utc_ns_of(line.until) if line.until else utc_ns_of(line.utc) + round(APPROVAL_S * 1e9)
    except ValueError:
        return True
    return now_ns >= until_ns


def waiting_plans(lines: Iterable[PlanningLine], now_ns: int | None = None) -> dict[str, ProposalRuled]:
    """By proposal what waits for a person, as far as the log says; given a UTC, in nanoseconds since 1970, without what
    has expired by then."""
    found: dict[str, ProposalRuled] = {}
    for line in lines:
        if isinstance(line, ProposalRuled):
            found.pop(line.proposal.id, None)
            if line.ruling == "waits":
                found[line.proposal.id] = line
    return {name: line for name, line in found.items() if now_ns is None or not has_expired(line, now_ns)}


def approve(store: Path, proposal: str, pair: OperatorPair, why: str = "") -> PlanApproved:
    """Approve a proposal that waits, in the name of `pair`; in the log when it returns.

    Raises:
        ConfigError: none waits whose id begins so, or several; it has expired; or it was asked for in the same name.
        StoreError: it is no store, or its disk is in trouble.
    """
    log, now_ns = PlanningLog(store), time.time_ns()
    lines = log.read().lines
    waiting = waiting_plans(lines, now_ns)
    found = [name for name in waiting if name.startswith(proposal)] if proposal else []
    if not found and (late := _expired(lines, proposal, now_ns)) is not None:
        raise ConfigError(
            f"proposal {late.proposal.id}: has expired: it waited from {late.utc} until {late.until or 'a day after'},"
            " and is not asked for any more; a planner may propose it anew"
        )
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


def _expired(lines: Sequence[PlanningLine], proposal: str, now_ns: int) -> ProposalRuled | None:
    """The last that waited, whose id begins so, and does so no more as it was not approved in time."""
    last = {line.proposal.id: line.ruling for line in lines if isinstance(line, ProposalRuled)}
    for line in reversed(lines if proposal else ()):
        if isinstance(line, ProposalRuled) and line.ruling == "waits" and line.proposal.id.startswith(proposal):
            ruling = last[line.proposal.id]
            if ruling == "expired" or (ruling == "waits" and has_expired(line, now_ns)):
                return line
    return None
