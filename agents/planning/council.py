"""The council: the planners of a loop, each hosted; those that are of no use are set aside, and others go on."""

import contextlib
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sensorium.agents.planning.adjudicator import RuledProposal
from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.hosted import HostedPlanner, made
from sensorium.agents.planning.log import PlannerAside, PlanningLine, PlanningNote, PlanOutcome
from sensorium.agents.planning.notebook import NotebookEntry, ProposalFate
from sensorium.agents.planning.planner import PlannerConfig, Reach
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.planning.tries import NOBODYS
from sensorium.errors import SensoriumError
from sensorium.threads import reason

REST_S = 3600.0
"""For so long nobody is asked of whose proposals nothing came: light, places and what is allowed may be others then."""
_OF_DEVICES = ("kill", "plans.per_hour", "plans.per_day", "plans.hottest_c", "plans.least_free_bytes", "plans.privacy")
_PASSING = ("obey: ", "approval: ", "charter: file: ", *(f"charter: {rule}: " for rule in _OF_DEVICES))
"""How rules begin that are against whatever is proposed, for now; which is no planner's fault."""


class Council:
    """Planners by name. It is convened anew where what can be reached changes: who was set aside stays so, for
    `REST_S`, or, where it raised, hung or said nothing of use, as long as the loop goes on."""

    def __init__(
        self, planners: Mapping[str, PlannerConfig], seed: int, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._configs, self._seed, self._clock_s = dict(planners), seed, clock_s
        self._rests_until_s: dict[str, float] = {}
        self._hosted: dict[str, HostedPlanner] = {}
        self._why: dict[str, str] = {}
        self._asked: set[str] = set()
        self._last_words: list[PlanningNote] = []
        self._last_reports: dict[str, dict[str, Any]] = {}
        self._is_convened = False

    def convene(
        self, reaches: Sequence[Reach], cards: Sequence[EpisodeCard], notes: Sequence[NotebookEntry] = ()
    ) -> list[PlannerAside]:
        """Make them anew, over these devices, and tell them all; those that keep a notebook what stands in it."""
        before, self._hosted = self._hosted, {}
        back = [name for name, until_s in self._rests_until_s.items() if self._clock_s() >= until_s]
        for name in back:
            del self._rests_until_s[name], self._why[name]
        first = [PlannerAside(planner=name, why="") for name in back]
        for name, config in self._configs.items():
            if name in self._why:
                continue
            try:
                found = made(name, config, reaches, self._seed)
            except SensoriumError as error:
                if not self._is_convened:  # what it needs is absent: whoever set it must hear of that
                    raise
                found = f"cannot be made: {reason(error)}"
            if isinstance(found, HostedPlanner):
                self._hosted[name] = found
            else:
                self._why[name] = found
                first.append(PlannerAside(planner=name, why=found))
        self._is_convened = True
        for name, hosted in self._hosted.items():
            hosted.remember([each for each in notes if each.planner == name])
            if name in before:
                hosted.go_on_from(before[name])
        return [*first, *self.ingest(cards)]

    @property
    def is_rested(self) -> bool:
        """Whether somebody who was set aside for a while may be asked again, once it is convened anew."""
        return any(self._clock_s() >= until_s for until_s in self._rests_until_s.values())

    def ingest(self, cards: Sequence[EpisodeCard]) -> list[PlannerAside]:
        """Tell all; who was set aside by that."""
        for each in self._hosted.values():
            each.ingest(cards)
        return self.aside()

    def suggest(self, n: int, names: Container[str]) -> dict[str, list[Proposal]]:
        """What each of these has to propose."""
        self._asked |= {name for name in self._hosted if name in names}
        return {name: each.suggest(n) for name, each in self._hosted.items() if name in names}

    def asked(self) -> list[str]:
        """Who was asked since the last call."""
        asked, self._asked = sorted(self._asked), set()
        return asked

    def notes(self) -> list[PlanningNote]:
        """What those that keep a notebook have written since the last call, for the log; who was set aside, too."""
        last, self._last_words = self._last_words, []
        return last + [note for name, hosted in self._hosted.items() for note in _notes_of(name, hosted)]

    def aside(self) -> list[PlannerAside]:
        """Who was set aside since the last call, and why."""
        found = []
        for name, each in list(self._hosted.items()):
            if each.aside:
                self._why[name] = each.aside
                if each.rests:
                    self._rests_until_s[name] = self._clock_s() + REST_S
                    self._why[name] += f"; it is asked again in {REST_S / 60:.0f} minutes"
                self._last_words += _notes_of(name, each)
                self._last_reports[name] = each.report()
                del self._hosted[name]
                found.append(PlannerAside(planner=name, why=self._why[name]))
        return found

    def ruled(self, ruled: Sequence[RuledProposal]) -> None:
        """What the adjudicator made of their proposals."""
        for each in ruled:
            if each.ruling == "refused" and (hosted := self._hosted.get(each.proposal.planner)) is not None:
                if not each.rule.startswith(_PASSING):
                    hosted.came_to_nothing()
                hosted.learn(ProposalFate(proposal=each.proposal, became="refused", why=each.rule))

    def settled(self, outcome: PlanOutcome, proposal: Proposal) -> None:
        """What came of one of them."""
        if (hosted := self._hosted.get(outcome.planner)) is not None:
            if outcome.got > 0:
                hosted.brought()
            elif outcome.state not in NOBODYS and not outcome.why.startswith(_PASSING):
                hosted.came_to_nothing()
            hosted.learn(ProposalFate(proposal=proposal, became=outcome.state, why=outcome.why, got=outcome.got))

    def report(self, name: str) -> dict[str, Any]:
        """What a planner says of itself."""
        if (hosted := self._hosted.get(name)) is not None:
            return hosted.report()
        return self._last_reports.get(name) or ({"aside": why} if (why := self.why(name)) else {})

    def why(self, name: str) -> str:
        """Why a planner is not asked; empty where it is."""
        return self._why.get(name, "")

    @property
    def names(self) -> list[str]:
        """Those that are asked."""
        return list(self._hosted)


def _notes_of(name: str, hosted: HostedPlanner) -> list[PlanningNote]:
    return [PlanningNote(planner=name, name=each.kind, value=msgspec.to_builtins(each)) for each in hosted.written()]


def notebook_of(lines: Iterable[PlanningLine]) -> list[NotebookEntry]:
    """What planners have written into their notebooks, as the log has it."""
    found = []
    for line in lines:
        if isinstance(line, PlanningNote) and isinstance(line.value, Mapping):
            with contextlib.suppress(msgspec.ValidationError):
                found.append(msgspec.convert({**line.value, "planner": line.planner}, NotebookEntry))
    return found
