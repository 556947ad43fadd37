"""The planning report: cells before the first plan and now, and what each planner promised and brought, for what."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.cards import CardReader
from sensorium.agents.planning.gain import Cell, CellAxes, GainBook
from sensorium.agents.planning.log import (
    PlannerAside,
    PlannerSpent,
    PlanningBegan,
    PlanningLine,
    PlanningLog,
    PlanOutcome,
    ProposalRuled,
    tokens_of,
)
from sensorium.agents.planning.planner import Reach
from sensorium.agents.planning.reachable import Cut
from sensorium.agents.planning.rules import controls_by_sensor, one_name_each
from sensorium.corpus.fleet import by_spool, reports


@dataclass
class PlannerFigures:
    """Of one planner, over all its loops. `tokens` is what it says that it has spent."""

    accepted: int = 0
    refused: int = 0
    outcomes: int = 0
    promised: float = 0.0
    got: float = 0.0
    seconds: float = 0.0
    n_bytes: float = 0.0
    tokens: float = 0.0
    share: float = 0.0
    aside: str = ""
    by_rule: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)

    def row(self, name: str) -> dict[str, Any]:
        """As it is printed; what cannot be divided is None."""
        return {
            "planner": name,
            "share": round(self.share, 3),
            "accepted": self.accepted,
            "refused": self.refused,
            "outcomes": self.outcomes,
            "promised": round(self.promised, 3),
            "got": round(self.got, 3),
            "ratio": round(self.got / self.promised, 3) if self.promised else None,
            "seconds": round(self.seconds, 3),
            "bytes": round(self.n_bytes),
            "tokens": round(self.tokens),
            "got per MB": round(self.got / self.n_bytes * 1e6, 3) if self.n_bytes else None,
            "got per 1000 tokens": round(self.got / self.tokens * 1e3, 3) if self.tokens else None,
            "aside": self.aside,
        }


UNKNOWN = "plans that are not logged"
BEFORE, ROAMING = "before any plan", "by themselves since"
"""Who brought a cell that no plan did: devices before the first episode of a plan, and after that."""


@dataclass(frozen=True)
class PlanningReport:
    """What came of plans. `brought` has all cells, in the order in which they were had first, and by whom: a planner's
    name, or, of what no plan has caused, `BEFORE` or `ROAMING`; `places` is along what places are told apart."""

    planners: Mapping[str, PlannerFigures]
    brought: Mapping[Cell, str]
    axes: CellAxes
    places: Sequence[Cut | str]
    reaches: Sequence[Reach]
    outcomes: Sequence[PlanOutcome]
    damaged: int

    @property
    def cells_before(self) -> int:
        return self.by[BEFORE]

    @property
    def cells_after(self) -> int:
        return len(self.brought)

    @property
    def by(self) -> Counter[str]:
        """How many cells each brought."""
        return Counter(self.brought.values())

    def said_of_cells(self) -> str:
        """How many there were, and are, and by whom."""
        more = ", ".join(f"{count} {'' if name == ROAMING else 'by '}{name}" for name, count in self._since())
        return f"cells {self.cells_before} before, {self.cells_after} after{f': {more}' if more else ''}"

    def _since(self) -> list[tuple[str, int]]:
        return [(name, count) for name, count in self.by.most_common() if name != BEFORE]

    def rows(self) -> list[dict[str, Any]]:
        """A row a planner."""
        return [each.row(name) for name, each in sorted(self.planners.items())]

    def said_of_refusals(self) -> str:
        """By rule how often one refused."""
        rules = sum((each.by_rule for each in self.planners.values()), Counter[str]())
        said = ", ".join(f"{rule} ({count})" for rule, count in rules.most_common(5))
        return f"refused by: {said}" if said else "nothing was refused"

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        more = {
            name: {"refused_by": dict(each.by_rule), "states": dict(each.states)}
            for name, each in self.planners.items()
        }
        planners = [row | more[row["planner"]] for row in self.rows()]
        return {
            "cells_before": self.cells_before,
            "cells_after": self.cells_after,
            "cells_by": dict(self.by),
            "planners": planners,
            "damaged_lines": self.damaged,
        }


def planning_report(store: Path, axes: CellAxes | None = None) -> PlanningReport:
    """What the log and the episodes of a store tell; cells are told apart by `axes`, or as by the last loop.

    Raises:
        StoreError: it is no store, or cannot be read.
    """
    lines, damaged = PlanningLog(store).read()
    axes = axes or _axes_of(lines)
    reaches = reaches_known(store)
    reader = CardReader(store)
    reader.new()
    book = GainBook(axes, reaches)
    brought = _brought(list(reader.cards.values()), book, lines)
    outcomes = [line for line in lines if isinstance(line, PlanOutcome)]
    return PlanningReport(_figures(lines), brought, axes, book.axes_of_places, reaches, outcomes, damaged)


def reaches_known(store: Path) -> list[Reach]:
    """What devices said last of their controls, whatever charters allow."""
    found: dict[str, Reach] = {}
    for report in sorted(by_spool(reports(store)), key=lambda each: (each.device, each.spool_id)):
        controls = {name: each for name, each in controls_by_sensor(report.state).items() if each}
        if controls:  # of several of one name those of one, always the same
            found.setdefault(report.device, Reach(device=report.device, controls=one_name_each(controls)))
    return list(found.values())


def _brought(cards: Sequence[EpisodeCard], book: GainBook, lines: Sequence[PlanningLine]) -> dict[Cell, str]:
    """By cell who had it first, of cards in the order in which their episodes were begun."""
    of = {line.proposal.id: line.proposal.planner for line in lines if isinstance(line, ProposalRuled)}
    found: dict[Cell, str] = {}
    nobody = BEFORE
    for card in cards:
        nobody = ROAMING if card.proposal else nobody
        who = of.get(card.proposal, UNKNOWN) if card.proposal else nobody
        found |= dict.fromkeys(book.take_in(card).new, who)
    return found


def _axes_of(lines: Sequence[PlanningLine]) -> CellAxes:
    for line in reversed(lines):
        if isinstance(line, PlanningBegan) and line.cells:
            try:
                return CellAxes.model_validate(line.cells)
            except ValueError:
                break
    return CellAxes()


def _figures(lines: Sequence[PlanningLine]) -> dict[str, PlannerFigures]:
    found: dict[str, PlannerFigures] = {}
    tokens: dict[str, float] = {}
    for line in lines:
        if isinstance(line, PlanningBegan):
            for name in line.planners:
                found.setdefault(name, PlannerFigures()).aside = ""  # a loop begun anew asks all
        elif isinstance(line, ProposalRuled):
            mine = found.setdefault(line.proposal.planner, PlannerFigures())
            mine.accepted += line.ruling == "accepted"
            mine.refused += line.ruling == "refused"
            if line.ruling == "refused":
                mine.by_rule[_rule(line.rule)] += 1
        elif isinstance(line, PlanOutcome):
            mine = found.setdefault(line.planner, PlannerFigures())
            mine.outcomes += 1
            mine.states[line.state] += 1
            mine.promised += line.promised
            mine.got += line.got
            mine.seconds += line.seconds
            mine.n_bytes += line.bytes
        elif isinstance(line, PlannerSpent):
            mine = found.setdefault(line.planner, PlannerFigures())
            mine.share = line.share
            before, now = tokens.get(line.planner, 0.0), tokens_of(line.report)
            if now is None:  # it says nothing of them, as one that hangs
                continue
            mine.tokens += now - before if now >= before else now  # one without a notebook counts anew at each start
            tokens[line.planner] = now
        elif isinstance(line, PlannerAside):
            found.setdefault(line.planner, PlannerFigures()).aside = line.why
    return found


def _rule(said: str) -> str:
    """A rule without its numbers.

    >>> _rule("charter: plans.controls: x_m: expected at most 3, got 9.0"), _rule("reach: device 'a' is not there")
    ('charter: plans.controls: x_m', 'reach: device')
    """
    parts = said.split(": ")
    kept = [part for part in parts[:3] if not part.startswith("expected")]
    return ": ".join(kept).partition(" '")[0].partition(",")[0]
