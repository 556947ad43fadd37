"""The planning loop: cards are read, planners propose, an adjudicator rules, devices are asked, what came is judged.

`step` does all that is due, and never waits; whoever drives it does. It is thin: each part says its own idea.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sensorium.agents.planning.adjudicator import Adjudicator, RuledProposal
from sensorium.agents.planning.approvals import APPROVAL_S, WaitingPlans
from sensorium.agents.planning.awaited import SILENT, AwaitedPlan
from sensorium.agents.planning.council import Council, notebook_of
from sensorium.agents.planning.gain import CellAxes, Price
from sensorium.agents.planning.hosted import key_of
from sensorium.agents.planning.known import KnownCorpus
from sensorium.agents.planning.log import (
    PlanAsked,
    PlannerAside,
    PlannerSpent,
    PlanningLine,
    PlanningLog,
    PlanOutcome,
    ProposalRuled,
    outcomes_of,
    tokens_of,
)
from sensorium.agents.planning.pause import Pause
from sensorium.agents.planning.planner import PlannerConfig
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.rules import PlanRules
from sensorium.agents.planning.saying import line_of
from sensorium.corpus.fleet import reports
from sensorium.episode.utc_text import utc_text
from sensorium.link.approval import Approval

log = logging.getLogger(__name__)


class PlanDesk(Protocol):
    """What asks devices, and knows what they answered."""

    operator: bytes

    def ask(self, proposal: Proposal, seconds: float | None, approved_by: Sequence[Approval]) -> str:
        """Ask the proposal's device; durable when it returns. The directive's name."""
        ...

    def asked(self, device: str, proposal: str) -> str:
        """The directive by which a proposal was asked for; empty where it never was."""
        ...

    def answer(self, device: str, directive: str) -> tuple[str, str] | None:
        """What became of it, and why; None as long as that is not known."""
        ...


class LoopTimes(NamedTuple):
    """For how long nothing more must come before a plan is judged, for how long is waited at the most, and for how long
    a plan waits for a person's approval."""

    settle_s: float = 5.0
    patience_s: float = 600.0
    approval_s: float = APPROVAL_S


class PlanningLoop:
    """One loop over the store at `store`.

    What it logs it has done, or does next: each ruling stands in the log before a device is asked. Begun again, it goes
    on with what was asked, and believes planners as far as the log says that they are to be believed.
    """

    def __init__(
        self,
        store: Path,
        planners: Mapping[str, PlannerConfig],
        rules: PlanRules,
        desk: PlanDesk,
        *,
        axes: CellAxes | None = None,
        price: Price | None = None,
        seed: int = 0,
        each: int = 4,
        times: LoopTimes | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.log = PlanningLog(store)
        self.council = Council(planners, seed, clock_s)
        self.awaited: dict[str, AwaitedPlan] = {}
        self.judge = Adjudicator(list(planners), rules.refuses, price or Price())
        self._store, self._rules, self._desk = store, rules, desk
        self._each, self._times, self._clock_s = each, times or LoopTimes(), clock_s
        self.known = KnownCorpus(store, axes or CellAxes())
        self._pause = Pause()
        self._tokens: dict[str, float | None] = {}
        """By planner what the log says that it has spent."""
        self.has_proposed = False
        self.waiting = WaitingPlans(rules.charter, desk.operator)
        self._resume(self.log.read().lines)

    def step(self, proposing: bool = True) -> list[PlanningLine]:
        """All that is due now; what was logged. Without `proposing` only what was asked is waited for, and judged."""
        lines: list[PlanningLine] = []
        self.look()
        lines += self._settle()
        lines += self._approved()
        if proposing and self.free and self._pause.is_over(self._clock_s()):
            lines += self._propose(len(self.free))
        return [*lines, *self.note_spent()]

    def note_spent(self) -> list[PlanningLine]:
        """Log what planners have written, and, of those that spent tokens since, what they say of themselves: to ask
        them costs that, whatever becomes of what they propose."""
        notes = self.council.notes()
        spent = [self._spent(name) for name in self.council.asked() if self._has_spent(name)]
        self.log.add(*notes, *spent)
        return [*spent]

    def budget(self, device: str) -> dict[str, dict[str, float | None]]:
        """What plans have taken of a device in the last hour and day, and the most that they may (None: any)."""
        spent, limits = self._rules.spent(device), self._rules.charter.plans
        found: dict[str, dict[str, float | None]] = {}
        for name, took, most in (("per_hour", spent.hour, limits.per_hour), ("per_day", spent.day, limits.per_day)):
            for what, limit in most:
                found[f"{what} {name}"] = {
                    "spent": getattr(took, what),
                    "most": None if limit is None else float(limit),
                }
        return found

    @property
    def free(self) -> list[str]:
        """The devices that can be asked, and are not being waited for."""
        return [each.device for each in self.known.reaches if each.device not in self.awaited]

    def look(self) -> None:
        """Take in what is new; where what can be reached is not what it was, all anew."""
        self._rules.heard(reports(self._store))
        seen = self.known.look(self._rules.reaches())
        for card, gain in seen.fresh:
            awaited = self.awaited.get(card.device)
            if awaited is not None and awaited.proposal.id == card.proposal:
                awaited.came(card, gain, self._clock_s())
        if seen.is_other or self.council.is_rested:
            notes = notebook_of(self.log.read().lines)
            self._set_aside(self.council.convene(self.known.reaches, list(self.known.cards.values()), notes))
        else:
            self._set_aside(self.council.ingest([card for card, _ in seen.fresh]))
        if seen.is_other or seen.fresh:
            self._pause.over()

    def _settle(self) -> list[PlanningLine]:
        """Judge what is over."""
        found: list[PlanningLine] = []
        now_s = self._clock_s()
        for device, awaited in list(self.awaited.items()):
            if (answer := self._desk.answer(device, awaited.directive)) is not None:
                awaited.answered(*answer, now_s)
            if not awaited.is_over(now_s, self._times.settle_s, self._times.patience_s):
                continue
            outcome = awaited.outcome(now_s)
            self.log.add(outcome)
            found.append(outcome)
            del self.awaited[device]
            self._count(outcome, awaited.proposal)
            self.council.settled(outcome, awaited.proposal)
            spent = [self._spent(name) for name in self.judge.shares.of()]
            self.log.add(*spent)
            found += spent
        return found

    def _count(self, outcome: PlanOutcome, proposal: Proposal) -> None:
        """What a device did not answer is not its planner's doing."""
        if outcome.state == "refused":
            self.judge.tally(outcome.planner).was_refused(outcome.promised)
        elif outcome.state not in (SILENT, "expired"):
            self.judge.settle(proposal, outcome.got, outcome.seconds, outcome.bytes)

    def _spent(self, planner: str) -> PlannerSpent:
        tally, shares = self.judge.tally(planner), self.judge.shares.of()
        report = self.council.report(planner)
        self._tokens[planner] = tokens_of(report)
        return PlannerSpent(planner=planner, report=report, share=shares[planner], ratio=tally.ratio)

    def _has_spent(self, planner: str) -> bool:
        now = tokens_of(self.council.report(planner))
        return now is not None and now != self._tokens.get(planner)

    def _approved(self) -> list[PlanningLine]:
        """Ask for what a person has approved since; what nobody has in time waits no more."""
        found: list[PlanningLine] = []
        for ruled, approval in self.waiting.approved(self.log, self.awaited):
            rule = self._rules.refuses(ruled.proposal, approved=True)
            ruling = "refused" if rule else "accepted"
            again = RuledProposal(ruled.proposal, "refused" if rule else "accepted", rule, ruled.expected)
            found += self._carry_out([again], {ruled.proposal.id: (approval,)})
            log.info("proposal %s: approved, %s %s", ruled.proposal.id, ruling, rule)
        expired = self.waiting.expired(self.log, self._rules.now_ns())
        self.log.add(*expired)
        return [*found, *expired]

    def _propose(self, n: int) -> list[PlanningLine]:
        ruled = self.ruled(n)
        self.council.ruled(ruled)
        found = self._carry_out(ruled, {})
        self.waiting.were_ruled(each.proposal.id for each in ruled)
        self._pause.began(self._clock_s(), any(each.ruling == "accepted" for each in ruled))
        self._set_aside(self.council.aside())
        self.has_proposed = True
        return found

    def ruled(self, n: int) -> list[RuledProposal]:
        """What planners, and others, propose now, as it is ruled; up to `n` are accepted. Nothing is done yet."""
        waiting = [each.proposal.planner for each in self.waiting.plans]
        return self.judge.decide(self.offers(), n, frozenset(self.awaited), waiting)

    def offers(self) -> dict[str, list[Proposal]]:
        """By planner what is proposed now, each for a device, without what waits for a person already.

        Who has spent its share is asked where nothing of the others' can be carried out, as to ask may cost tokens.
        """
        over = [name for name in self.council.names if self.judge.is_over(name)]
        found = self._placed([name for name in self.council.names if name not in over], self._offered())
        if over and not any(self._can_be_done(each) for those in found.values() for each in those):
            found |= self._placed(over, {})
        return found

    def _placed(self, names: Sequence[str], offered: Mapping[str, list[Proposal]]) -> dict[str, list[Proposal]]:
        offers = self.council.suggest(self._each * max(1, len(self.known.reaches)), names)
        self._rules.heard(reports(self._store))  # a model takes its time, and devices go on to report
        for name, proposals in offered.items():
            offers[name] = [*offers.get(name, []), *proposals]
        busy = frozenset(self.awaited)
        placed = {name: [self._rules.placed(each, busy) for each in those] for name, those in offers.items()}
        return {name: [each for each in those if not self.waiting.has(each)] for name, those in placed.items()}

    def _can_be_done(self, proposal: Proposal) -> bool:
        return proposal.device not in self.awaited and not self._rules.refuses(proposal)

    def _offered(self) -> dict[str, list[Proposal]]:
        """What others put into the log to be ruled."""
        found: dict[str, list[Proposal]] = {}
        for ruled in self.waiting.offered(self.log):
            found.setdefault(ruled.proposal.planner, []).append(ruled.proposal)
        return found

    def _carry_out(
        self, ruled: Sequence[RuledProposal], approvals: Mapping[str, Sequence[Approval]]
    ) -> list[PlanningLine]:
        """Log what is ruled, then ask for what is accepted."""
        found: list[PlanningLine] = []
        until = utc_text(self._rules.now_ns() + round(self._times.approval_s * 1e9)) or ""
        for each in ruled:
            line = ProposalRuled(
                proposal=each.proposal,
                ruling=each.ruling,
                rule=each.rule,
                expected=each.expected,
                seconds=self._rules.seconds,
                operator=self._desk.operator.hex(),
                until=until if each.ruling == "waits" else "",
            )
            if each.ruling == "refused" and not self.waiting.is_news(each.proposal, each.rule):
                continue
            self.log.add(line)
            found.append(line)
            if each.ruling == "waits":
                self.waiting.add(line)
            elif each.ruling == "accepted":
                found.append(self._ask(each, approvals.get(each.proposal.id, ())))
        return found

    def _ask(self, ruled: RuledProposal, approvals: Sequence[Approval]) -> PlanAsked:
        proposal = ruled.proposal
        cost = self._rules.cost(proposal)
        directive = self._desk.ask(proposal, self._rules.seconds, approvals)
        asked = PlanAsked(proposal=proposal.id, device=proposal.device, directive=directive, cost=cost)
        self.log.add(asked)
        self._rules.asked(proposal.device, cost)
        self.awaited[proposal.device] = AwaitedPlan(proposal, directive, ruled.expected, self._clock_s())
        return asked

    def _set_aside(self, lines: Sequence[PlannerAside]) -> None:
        for line in lines:
            log.log(logging.WARNING if line.why else logging.INFO, "%s", line_of(line))
            self.log.add(line)

    def _resume(self, lines: Sequence[PlanningLine]) -> None:
        """Go on from the log."""
        ruled = {line.proposal.id: line for line in lines if isinstance(line, ProposalRuled)}
        over = {line.proposal for line in outcomes_of(lines)}
        asked = {line.proposal for line in lines if isinstance(line, PlanAsked)}
        for line in lines:
            if isinstance(line, ProposalRuled) and line.ruling == "accepted":
                self.judge.tally(line.proposal.planner).accepted += 1
            if isinstance(line, ProposalRuled) and line.ruling == "refused":
                self.judge.tally(line.proposal.planner).was_refused(line.proposal.gain)
            elif isinstance(line, PlannerSpent):
                self._tokens[line.planner] = tokens_of(line.report)
            elif isinstance(line, PlanOutcome) and line.proposal in ruled:
                self._count(line, ruled[line.proposal].proposal)
            elif isinstance(line, PlanAsked) and line.proposal not in over and line.proposal in ruled:
                of = ruled[line.proposal]
                self.awaited[line.device] = AwaitedPlan(of.proposal, line.directive, of.expected, self._clock_s())
            elif isinstance(line, ProposalRuled) and line.ruling == "accepted" and line.proposal.id not in asked:
                self._find_asked(line)
        self._rules.remember(lines)
        self.waiting.resume(lines)

    def _find_asked(self, line: ProposalRuled) -> None:
        """One that was accepted, and of which the log does not say that it was asked for: it may have been."""
        if directive := self._desk.asked(line.proposal.device, line.proposal.id):
            self.log.add(PlanAsked(proposal=line.proposal.id, device=line.proposal.device, directive=directive))
            awaited = AwaitedPlan(line.proposal, directive, line.expected, self._clock_s())
            self.awaited[line.proposal.device] = awaited


def would_ask(loop: PlanningLoop, most: int = 12) -> list[ProposalRuled]:
    """What a loop would ask for now, what it would refuse, and, up to `most` in all, what would come `later`; no device
    is asked, and nothing is logged but what it cost to ask planners, where it cost tokens, and what they wrote."""
    loop.look()
    offers = loop.offers()
    for line in loop.council.aside():
        log.warning("%s", line_of(line))
    loop.note_spent()
    waiting = [each.proposal.planner for each in loop.waiting.plans]
    ruled = loop.judge.decide(offers, max(1, len(loop.free)), frozenset(loop.awaited), waiting)
    known = {key_of(each.proposal) for each in ruled}
    later = [
        ProposalRuled(proposal=each, ruling="later", expected=loop.judge.expected(each))
        for each in loop.judge.in_order(offers)
        if key_of(each) not in known
    ]
    now = [ProposalRuled(proposal=each, ruling=how, rule=rule, expected=gain) for each, how, rule, gain in ruled]
    return [*now, *later[: max(0, most - len(now))]]


def status_of(loop: PlanningLoop) -> dict[str, Any]:
    """How a loop stands, as JSON can say it."""
    shares = loop.judge.shares.of()
    return {
        "cells": len(loop.known.book.cells),
        "places": dict(zip(("covered", "reachable"), loop.known.places_covered(), strict=True)),
        "budgets": {device: loop.budget(device) for device in (each.device for each in loop.known.reaches)},
        "cards": len(loop.known.cards),
        "devices": [each.device for each in loop.known.reaches],
        "awaited": {device: each.proposal.id for device, each in loop.awaited.items()},
        "waiting_for_approval": [each.proposal.id for each in loop.waiting.plans],
        "planners": {
            name: {
                "share": round(shares.get(name, 0.0), 4),
                "ratio": round(tally.ratio, 4),
                "accepted": tally.accepted,
                "refused": tally.refused,
                "outcomes": tally.outcomes,
                "promised": round(tally.expected, 4),
                "got": round(tally.got, 4),
                "aside": loop.council.why(name),
            }
            for name, tally in sorted(loop.judge.shares.tallies.items())
        },
    }
