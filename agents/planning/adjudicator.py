"""The adjudicator: which proposals of several planners are carried out; no planner talks it out of a rule."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec
import uuid_utils

from sensorium.agents.planning.gain import Price
from sensorium.agents.planning.got import PlannerTally, Shares
from sensorium.agents.planning.hosted import Key, key_of
from sensorium.agents.planning.proposal import Proposal
from sensorium.agents.plans.limits import AWAITS

Ruling = Literal["accepted", "refused", "waits"]
Refuses = Callable[[Proposal], str]
"""Which rule is against a proposal; empty if none is; it begins with `AWAITS` where a person must approve."""


MOST_WAITING_EACH, MOST_WAITING = 32, 128
"""So many proposals wait for a person at the most: of one planner, and of all."""


class RuledProposal(NamedTuple):
    """A proposal with the id that it has from here on, what became of it, by which rule, and the gain that is expected
    of it by who knows its planner."""

    proposal: Proposal
    ruling: Ruling
    rule: str
    expected: float


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid.UUID(bytes=uuid_utils.uuid7().bytes))


class Adjudicator:
    """Merges what planners propose.

    Each expectation is scaled by its planner's own ratio of got to expected. Of proposals that ask for the same the one
    of which most is expected stays. A rule refuses whatever the gain. Of what is left that goes first of which most is
    expected for its cost, among planners that have not spent their share; a share follows what a planner brings.
    """

    def __init__(
        self, planners: Sequence[str], refuses: Refuses, price: Price, make_id: Callable[[], str] = new_id
    ) -> None:
        self.shares = Shares(planners)
        self._refuses, self._price, self._make_id = refuses, price, make_id

    def decide(
        self,
        offers: Mapping[str, Sequence[Proposal]],
        n: int,
        busy: frozenset[str] = frozenset(),
        waiting: Iterable[str] = (),
    ) -> list[RuledProposal]:
        """Up to `n` proposals that are to be carried out, one a device and none of a `busy` one, and all that a rule is
        against. What is neither is passed over, and may be proposed again. `waiting` are the planners of those that
        wait for a person, each as often as it has one: where these are too many, no more wait, and what would is
        refused, so that what a person reads stays what it was."""
        found: list[RuledProposal] = []
        waits = Counter(waiting)
        taken: set[str] = set(busy)
        left = n
        for proposal in self.in_order(offers):
            rule = self._refuses(proposal)
            if rule.startswith(AWAITS):
                rule = _too_many(waits, proposal.planner) or rule
            if rule.startswith(AWAITS):
                found.append(self._ruled(proposal, "waits", rule))
                waits[proposal.planner] += 1
            elif rule:
                found.append(self._ruled(proposal, "refused", rule))
                self.tally(proposal.planner).was_refused(proposal.gain)
            elif left > 0 and proposal.device not in taken:
                found.append(self._ruled(proposal, "accepted", ""))
                self.tally(proposal.planner).accepted += 1
                taken.add(proposal.device)
                left -= 1
        return found

    def settle(self, proposal: Proposal, got: float, seconds: float, n_bytes: float) -> None:
        """What came of one that was carried out."""
        self.shares.came(proposal.planner, proposal.gain, got, self._price.of(seconds, n_bytes))
        tally = self.tally(proposal.planner)
        tally.seconds += seconds
        tally.bytes += n_bytes

    def tally(self, planner: str) -> PlannerTally:
        """Of a planner, which may be new."""
        return self.shares.tallies.setdefault(planner, PlannerTally())

    def is_over(self, planner: str) -> bool:
        """Whether a planner has spent more than its share."""
        self.tally(planner)
        return self.shares.is_over(planner)

    def expected(self, proposal: Proposal) -> float:
        """The gain that is to be expected of it: what its planner says, as far as that came true."""
        return proposal.gain * self.tally(proposal.planner).ratio

    def worth(self, proposal: Proposal) -> float:
        """That, for its cost."""
        return self.expected(proposal) / self._price.of(proposal.cost_s, proposal.cost_bytes)

    def in_order(self, offers: Mapping[str, Sequence[Proposal]]) -> list[Proposal]:
        """Each that is asked for once, the most promising first; those of planners that overspent come behind."""
        best: dict[Key, Proposal] = {}
        for name in sorted(offers):
            for each in offers[name]:
                known = best.get(key := key_of(each))
                if known is None or self.worth(each) > self.worth(known):
                    best[key] = each
        over = {name: self.is_over(name) for name in offers}
        if all(over.values()):
            over = dict.fromkeys(over, False)
        those = sorted(
            enumerate(best.values()), key=lambda each: (over[each[1].planner], -self.worth(each[1]), each[0])
        )
        return [each for _, each in those]

    def _ruled(self, proposal: Proposal, ruling: Ruling, rule: str) -> RuledProposal:
        named = proposal if proposal.id else msgspec.structs.replace(proposal, id=self._make_id())
        return RuledProposal(named, ruling, rule, self.expected(proposal))


def _too_many(waits: Counter[str], planner: str) -> str:
    """Why no more of a planner may wait; empty if it may."""
    if waits[planner] >= MOST_WAITING_EACH:
        return f"approval: {MOST_WAITING_EACH} of this planner wait for a person already (`sensorium approve`)"
    if waits.total() >= MOST_WAITING:
        return f"approval: {MOST_WAITING} wait for a person already (`sensorium approve`)"
    return ""
