"""What a store answers to a model: gaps, episodes, reasons, budgets, proposals, cards. It knows of no protocol."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.cards import CardReader
from sensorium.agents.planning.language.covered import Coverage
from sensorium.agents.planning.language.quoted import quoted
from sensorium.agents.planning.log import (
    PlanAsked,
    PlannerSpent,
    PlanningLine,
    PlanningLog,
    PlanOutcome,
    ProposalRuled,
    outcomes_of,
)
from sensorium.agents.planning.mcp.said import (
    BudgetSaid,
    BudgetsSaid,
    CoverageSaid,
    EpisodesSaid,
    GapsSaid,
    ProposalSaid,
    ProposalsSaid,
    WhySaid,
)
from sensorium.agents.planning.report import reaches_known
from sensorium.agents.planning.sampled import TRUTH
from sensorium.corpus.corpus import open_store
from sensorium.corpus.why import moment, why
from sensorium.errors import ConfigError

MOST_EPISODES, MOST_PROPOSALS = 100, 200
_MOST_TEXT = 300
NEWEST_FIRST = "episode desc"
"""By ids, which tell when episodes were begun: one without a UTC has its place too."""
_TOLD = ("episode", "device", "kind", "mission", "start_utc", "duration_s", "bytes", "proposal", "outcome", "labels")


class StoreAnswers:
    """Of the store at `store`, opened anew for each question, so that many may be asked at once.

    Text that devices and people have recorded is shortened, and what cannot be printed is taken out of it. `keep` lets
    it write what reading samples gave beside the episodes, so that nobody reads them again.
    """

    def __init__(self, store: Path, *, keep: bool = False, limits: Mapping[str, Any] | None = None) -> None:
        self.store, self._keep, self._limits = store, keep, dict(limits or {})
        with open_store(store):
            pass

    def gaps(self, device: str = "") -> GapsSaid:
        """Coverage of what can be reached, by device."""
        cards = CardReader(self.store, keep=self._keep).new()
        found = []
        for reach in reaches_known(self.store):
            if device and reach.device != device:
                continue
            coverage = Coverage(reach)
            for card in cards:
                if card.device == reach.device and card.kind == "full":
                    coverage.count(card)
            found.append(CoverageSaid(device=reach.device, **coverage.told()))
        if device and not found:
            raise ConfigError(f"device {device!r}: has said of nothing that can be changed about it")
        return GapsSaid(episodes=sum(card.kind == "full" for card in cards), devices=found)

    def episodes(self, where: str = "", order_by: str = NEWEST_FIRST, limit: int = 20) -> EpisodesSaid:
        """Those for which a condition is true, in an order."""
        if not 0 < limit <= MOST_EPISODES:
            raise ConfigError(f"limit: expected 1 to {MOST_EPISODES}, got {limit}")
        with open_store(self.store) as corpus:
            rows = corpus.records(where, order_by, limit + 1)
        return EpisodesSaid(episodes=[_row(each) for each in rows[:limit]], more=len(rows) > limit)

    def why(self, device: str, time: str) -> WhySaid:
        """What a device saw at a time, and why that was kept or dropped."""
        with open_store(self.store) as corpus:
            found = why(corpus, device, moment(time))
        return WhySaid(sentences=[quoted(each.sentence, 2000) for each in found])

    def budgets(self) -> BudgetsSaid:
        """What planners promised, brought and spent."""
        lines = PlanningLog(self.store).read().lines
        planners = {_planner(line) for line in lines} - {""}
        return BudgetsSaid(planners=[_budget(name, lines) for name in sorted(planners)], limits=self._limits)

    def proposals(self, limit: int = 20) -> ProposalsSaid:
        """Of the newest, what became of each."""
        if not 0 < limit <= MOST_PROPOSALS:
            raise ConfigError(f"limit: expected 1 to {MOST_PROPOSALS}, got {limit}")
        lines = PlanningLog(self.store).read().lines
        ruled = {line.proposal.id: line for line in lines if isinstance(line, ProposalRuled)}
        asked = {line.proposal for line in lines if isinstance(line, PlanAsked)}
        outcomes = {line.proposal: line for line in outcomes_of(lines)}
        newest = list(ruled.values())[::-1][:limit]
        return ProposalsSaid(proposals=[_proposal(each, asked, outcomes) for each in newest])

    def card(self, episode: str) -> dict[str, Any]:
        """The card of an episode whose id begins so, as JSON; its picture and descriptors left out."""
        with open_store(self.store) as corpus:
            whole = corpus.episode(episode).id
        for card in CardReader(self.store, keep=self._keep).new():
            if card.episode == whole:
                return _card(card)
        raise ConfigError(f"episode {whole}: has no card")


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: record[name] for name in _TOLD if record.get(name) not in (None, "", {})}
    told["streams"] = sorted(name for name, each in record["streams"].items() if each.get("modality") not in TRUTH)
    verdicts = {name: (each.get("verdict") or {}).get("passed") for name, each in record["verdicts"].items()}
    found: dict[str, Any] = _plain(told | ({"verdicts": verdicts} if verdicts else {}))
    return found


def _card(card: EpisodeCard) -> dict[str, Any]:
    found: dict[str, Any] = _plain(msgspec.to_builtins(msgspec.structs.replace(card, looks=(), thumbnail=b"")))
    return found


def _plain(said: object) -> Any:
    """What was recorded, with its texts short and printable."""
    if isinstance(said, str):
        return quoted(said, _MOST_TEXT)
    if isinstance(said, Mapping):
        return {quoted(name, 60): _plain(value) for name, value in said.items()}
    if isinstance(said, list | tuple):
        return [_plain(each) for each in said]
    return said if isinstance(said, int | float | bool) or said is None else quoted(said, _MOST_TEXT)


def _planner(line: PlanningLine) -> str:
    if isinstance(line, ProposalRuled):
        return line.proposal.planner
    return line.planner if isinstance(line, PlanOutcome | PlannerSpent) else ""


def _budget(name: str, lines: Sequence[PlanningLine]) -> BudgetSaid:
    ruled = [line for line in lines if isinstance(line, ProposalRuled) and line.proposal.planner == name]
    outcomes = [line for line in outcomes_of(lines) if line.planner == name]
    spent = [line for line in lines if isinstance(line, PlannerSpent) and line.planner == name]
    tokens = spent[-1].report.get("tokens", 0) if spent else 0
    return BudgetSaid(
        planner=name,
        share=spent[-1].share if spent else 0.0,
        ratio=spent[-1].ratio if spent else 1.0,
        accepted=sum(line.ruling == "accepted" for line in ruled),
        refused=sum(line.ruling == "refused" for line in ruled),
        expected=sum(line.expected for line in outcomes),
        got=sum(line.got for line in outcomes),
        seconds=sum(line.seconds for line in outcomes),
        bytes=sum(line.bytes for line in outcomes),
        tokens=float(tokens) if isinstance(tokens, int | float) else 0.0,
    )


def _proposal(ruled: ProposalRuled, asked: set[str], outcomes: Mapping[str, PlanOutcome]) -> ProposalSaid:
    proposal, outcome = ruled.proposal, outcomes.get(ruled.proposal.id)
    state = outcome.state if outcome is not None else "asked" if proposal.id in asked else ruled.ruling
    return ProposalSaid(
        id=proposal.id,
        plan=proposal.plan,
        device=quoted(proposal.device),
        planner=quoted(proposal.planner),
        parameters={
            quoted(name, 60): quoted(value) if isinstance(value, str) else value
            for name, value in proposal.parameters.items()
        },
        state=state,
        rule=quoted(ruled.rule or (outcome.why if outcome is not None else ""), _MOST_TEXT),
        expected=ruled.expected,
        got=outcome.got if outcome is not None else 0.0,
    )
