"""The loop of agency in one process: what a body captures, what is kept, a card of it, a planner, a choice, an ask.

It stands for device, link, store and adjudicator where these would only take time: cards have what those of a store
have, a proposal is looked at by the same rules, and the world waits for the answer to each, so that a seed gives the
same numbers twice.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sensorium.agents.planning.card import EpisodeCard
from sensorium.agents.planning.notebook import Learning, ProposalFate
from sensorium.agents.planning.planner import Planner
from sensorium.agents.planning.proposal import Proposal
from sensorium.drivers.controls import Value
from sensorium.sim.agency.body import Body, Captured

Keeps = Callable[[Captured], bool]
"""Whether something is kept, asked once for each, in order."""
Allows = Callable[[Proposal], bool]

MOST_PROPOSED = 16
"""So many are asked for; the first that is allowed is carried out."""
WAIT_NS = 1_000_000_000
"""So long nothing is done where none is."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Something to ask for, and until when to stay then, ns; it goes on at once where that has passed."""

    asked: Mapping[str, Value]
    until_ns: int = 0


class Loop:
    """One body. All that it keeps is in `kept`, in order, and in `ended_ns` when each ask was over."""

    def __init__(self, body: Body, keeps: Keeps) -> None:
        self.body = body
        self.kept: list[Captured] = []
        self.ended_ns: list[int] = []
        self._keeps = keeps

    def planned(
        self,
        planner: Planner,
        until_ns: int,
        allows: Allows,
        most: int | None = None,
        patience: int | None = None,
        may_ask: Callable[[], bool] = lambda: True,
    ) -> None:
        """Do what a planner proposes until then, or `most` proposals; where none is allowed, wait and ask again, up to
        `patience` times in a row. While nothing at all `may_ask`, as there is no budget left, nobody proposes."""
        body, asked, waited = self.body, 0, 0
        while self._goes_on(until_ns) and (most is None or asked < most) and (patience is None or waited < patience):
            proposed = planner.suggest(MOST_PROPOSED) if may_ask() else []
            chosen, refused = _ruled(filter(_is_possible(body), proposed), allows)
            fates = [ProposalFate(proposal=each, became="refused") for each in refused]
            if chosen is None:
                waited += 1
                kept, name, why = self.stay(min(body.now_ns + WAIT_NS, until_ns)), "", ""
            else:
                asked, waited = asked + 1, 0
                (kept, why), name = self._carried_out(chosen.parameters, until_ns), f"{chosen.planner}-{asked}"
            if chosen is not None:
                fates.append(ProposalFate(proposal=chosen, became="failed" if why else "done", why=why))
            for captured in kept:
                planner.ingest(self.card(captured, name))
            if isinstance(planner, Learning):
                for fate in fates:
                    planner.learn(fate)

    def followed(self, stops: Iterable[Stop], until_ns: int) -> None:
        """Do what stands in a list, from stop to stop."""
        for stop in stops:
            if not self._goes_on(until_ns):
                return
            self._carried_out(stop.asked, until_ns)
            self.stay(min(stop.until_ns, until_ns))

    def stay(self, until_ns: int) -> list[Captured]:
        """Ask for nothing until then; what was kept of it."""
        kept: list[Captured] = []
        while self._goes_on(until_ns):
            kept += self._taken(self.body.step().captured)
        return kept

    def card(self, captured: Captured, proposal: str = "") -> EpisodeCard:
        """The card of what was captured, with nothing in it that the body does not know itself."""
        device = self.body.reach.device
        return EpisodeCard(
            episode=f"{device}-{captured.number}",
            device=device,
            start_ns=captured.start_ns,
            end_ns=captured.end_ns,
            stored_bytes=captured.size_bytes,
            proposal=proposal,
            where=captured.where,
            labels=captured.labels,
            measured=captured.measured,
            looks=(captured.look,) if captured.look else (),
        )

    def _goes_on(self, until_ns: int) -> bool:
        return self.body.now_ns < until_ns and not self.body.is_over

    def _carried_out(self, asked: Mapping[str, Value], until_ns: int) -> tuple[list[Captured], str]:
        """What was kept of it, and why it was given up, if it was."""
        self.body.ask(asked)
        kept: list[Captured] = []
        why = "there was no more time"
        while self._goes_on(until_ns):
            moment = self.body.step()
            kept += self._taken(moment.captured)
            if moment.ended:
                why = moment.why
                break
        self.ended_ns.append(self.body.now_ns)
        return kept, why

    def _taken(self, captured: Iterable[Captured]) -> list[Captured]:
        kept = [each for each in captured if self._keeps(each)]
        self.kept += kept
        return kept


def _is_possible(body: Body) -> Callable[[Proposal], bool]:
    """Whether a proposal is sound and within what the body states; whoever proposes knows no more than that."""
    controls = {control.name: control for control in body.reach.controls}

    def is_possible(proposal: Proposal) -> bool:
        return proposal.is_sound and all(
            name in controls
            and (
                value in controls[name].choices
                if isinstance(value, str)
                else not controls[name].choices and controls[name].low <= value <= controls[name].high
            )
            for name, value in proposal.parameters.items()
        )

    return is_possible


def _ruled(proposed: Iterable[Proposal], allows: Allows) -> tuple[Proposal | None, list[Proposal]]:
    """The first that is allowed, and those before it."""
    refused: list[Proposal] = []
    for each in proposed:
        if allows(each):
            return each, refused
        refused.append(each)
    return None, refused
