"""The selector: units in, decisions out; no clock, no disk, and the same again from what was logged."""

from collections.abc import Mapping, Sequence

import msgspec

from sensorium.agents.selection.budget import Purse, costs_of
from sensorium.agents.selection.campaigns import CAMPAIGN, CampaignState, RunningCampaigns
from sensorium.agents.selection.chance import draw
from sensorium.agents.selection.fleet_part import AMONG, FleetPart
from sensorium.agents.selection.judging import Impression, Judge
from sensorium.agents.selection.policy import SelectionPolicy
from sensorium.agents.selection.stillness import StillnessState
from sensorium.agents.selection.threshold import Threshold
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Decision, Unit
from sensorium.errors import Corrupt

NEVER, ALWAYS, NOVELTY, FLOOR, ROLL = "never", "always", "novelty", "floor", "roll"
DULL, BUDGET = "dull", "budget"
LEFT = "selection.left"
"""The score of the first unit after a kill: what had been spent is not known, but this part of the budget was left."""


class SelectorState(msgspec.Struct):
    """What a restart needs."""

    levels: dict[str, tuple[int, int]]
    part: float
    stillness: dict[str, StillnessState]
    waiting: list[Decision]
    end_ns: int | None
    boot: str
    roll_until_ns: int | None
    campaigns: dict[str, CampaignState] = {}
    fleet: dict[str, int] = {}
    met_ns: int | None = None


class Selector:
    """Decides of one unit after the other, in the order of their time.

    A gate or a condition of `never` drops; a condition of `always` or novelty over the threshold keeps, if the budget
    has it, and of what others of a fleet nearly have the device's part of it; chance may keep what else was dropped,
    out of what is left to it; rolls keep what is around. While a pre-roll may still claim a unit its decision waits,
    so that `step` returns those that are final, in order.
    """

    def __init__(self, policy: SelectionPolicy, spool_id: str, state: bytes | None = None) -> None:
        """Begin, or go on from `state`, under this policy or another.

        Raises:
            Corrupt: `state` is none.
        """
        self.policy = policy
        self._spool_id = spool_id
        self._purse = Purse(policy.budget)
        self._threshold, self._judge = Threshold(), Judge(policy, {})
        self._waiting: list[Decision] = []
        self._end_ns: int | None = None
        self._boot = ""
        self._roll_until_ns: int | None = None
        self._campaigns = RunningCampaigns(policy.campaigns, {})
        self._fleet = FleetPart(policy.budget, {})
        if state is not None:
            self._go_on(state)

    @property
    def state(self) -> bytes:
        """All that the next decisions depend on."""
        return msgspec.msgpack.encode(
            SelectorState(
                self._purse.levels(),
                self._threshold.part,
                self._judge.stillness,
                self._waiting,
                self._end_ns,
                self._boot,
                self._roll_until_ns,
                self._campaigns.state,
                self._fleet.levels,
                self._fleet.met_ns,
            )
        )

    @property
    def waiting(self) -> Sequence[Decision]:
        """The decisions that a pre-roll may still change, as they are now, in order."""
        return self._waiting

    @property
    def left(self) -> float:
        """This part of the budget, at least, is left to spend."""
        return min(self._purse.left, self._campaigns.left)

    def leave(self, left: float) -> None:
        """No more than this part is left: what was spent is not known, nor when. So time before brings nothing."""
        self._purse.leave(left)
        self._campaigns.leave(left)
        self._fleet.leave()
        self._end_ns = None

    def step(self, unit: Unit) -> list[Decision]:
        """Decide of the next unit; what is final by now."""
        final: list[Decision] = []
        if (left := unit.scores.get(LEFT)) is not None:
            self.leave(left)
        self._purse.share_chance(unit.scores.get(AMONG, 1.0))
        if unit.boot != self._boot or (self._end_ns is not None and unit.start_ns < self._end_ns):
            final = self.finish()  # another time: no roll reaches over, and none knows how long it was
            self._boot, self._end_ns, self._roll_until_ns = unit.boot, None, None
            self._campaigns.forget_rolls()
            self._fleet.forget_time()
        passed_ns = unit.length_ns if self._end_ns is None else max(unit.end_ns - self._end_ns, 0)
        self._purse.earn(unit.length_ns, passed_ns)
        self._purse.book(unit.booked_bytes)
        self._campaigns.earn(unit.length_ns, passed_ns)
        self._fleet.earn(unit, passed_ns)
        self._end_ns = unit.end_ns
        decision = self._decide(unit, passed_ns)
        if decision.kept and decision.reason in (ALWAYS, NOVELTY):
            self._roll_until_ns = unit.end_ns + round(self.policy.post_roll_s * SECOND_NS)
            self._roll_back(unit.start_ns - round(self.policy.pre_roll_s * SECOND_NS))
        decision = self._for_campaigns(unit, decision)
        self._waiting.append(decision)
        reach_ns = unit.end_ns - round(self.policy.reach_s * SECOND_NS)
        while self._waiting and self._waiting[0].end_ns <= reach_ns:
            final.append(self._waiting.pop(0))
        return final

    def finish(self) -> list[Decision]:
        """What waited for a pre-roll, now final."""
        final, self._waiting = self._waiting, []
        return final

    def _decide(self, unit: Unit, passed_ns: int) -> Decision:
        costs = costs_of(unit.length_ns, unit.estimate_bytes)
        earned, wasted = self._purse.units(costs, passed_ns)
        self._threshold.follow(earned, wasted)
        found = self._judge.judge(unit)
        threshold = self._threshold.value(found.most_novel, self._purse.fullness(costs))
        # fixed before the draw is looked at, and by nothing that this unit shows but its gate
        p = 0.0 if found.closed else self._purse.chance(costs, passed_ns)
        number = draw(self.policy.seed, self._spool_id, unit.boot, unit.start_ns)
        kept, reason, by, tie = False, NEVER, found.closed, -1.0
        if not found.closed:
            reason, by, tie = self._wanted(unit, found, threshold)
            if reason != DULL:
                had = reason == NOVELTY and self._fleet.refuses(unit, by, costs)
                if kept := not had and self._purse.affords(costs):
                    self._spend(costs)
                else:
                    reason = BUDGET
            if not kept and number < p:
                kept, reason = True, FLOOR
                self._spend(costs, by_chance=True)
            if not kept and self._in_post_roll(unit) and self._purse.affords(costs):
                kept, reason = True, ROLL
                self._spend(costs)
        return Decision(
            start_ns=unit.start_ns,
            end_ns=unit.end_ns,
            boot=unit.boot,
            kept=kept,
            reason=reason,
            by=by,
            score=found.score,
            threshold=threshold,
            p=p,
            draw=number,
            drawn=number < p,
            tie=tie,
            policy=self.policy.version,
            cost_ns=unit.length_ns,
            cost_bytes=unit.estimate_bytes,
        )

    def _wanted(self, unit: Unit, found: Impression, threshold: float) -> tuple[str, str, float]:
        """Why it is wanted, or that it is dull; by what; and the draw that broke a tie, or -1."""
        if found.rule:
            return ALWAYS, found.rule, -1.0
        tie = -1.0
        over = found.score > threshold
        if found.score == threshold:
            tie = draw(self.policy.seed, self._spool_id, unit.boot, unit.start_ns, "tie")
            over = tie < 0.5
        return (NOVELTY if over else DULL), found.stream, tie

    def _spend(self, costs: Mapping[str, int], by_chance: bool = False) -> None:
        self._purse.spend(costs, by_chance)
        self._fleet.spend(costs)

    def _in_post_roll(self, unit: Unit) -> bool:
        return self._roll_until_ns is not None and unit.start_ns < self._roll_until_ns

    def _for_campaigns(self, unit: Unit, decision: Decision) -> Decision:
        """What campaigns make of a decision: they keep what is not, unless a gate is closed, or `never` says so."""
        if decision.reason == NEVER:
            return decision
        fired = self._campaigns.fired(unit)
        if not decision.kept:
            name, looked_for = self._campaigns.keeps(unit, fired)
            if not name:
                return decision
            decision = msgspec.structs.replace(decision, kept=True, reason=CAMPAIGN if looked_for else ROLL, by=name)
        for each in fired:
            self._roll_back(unit.start_ns - round(each.pre_roll_s * SECOND_NS), each.name)
        return decision

    def _roll_back(self, from_ns: int, campaign: str = "") -> None:
        """Keep what came just before, as far as it is still there and the budget has it, or that of a campaign."""
        for place in range(len(self._waiting) - 1, -1, -1):
            before = self._waiting[place]
            if before.end_ns <= from_ns or before.reason == NEVER:
                return
            if before.kept:
                continue
            costs = costs_of(before.cost_ns, before.cost_bytes)
            if campaign:
                if not self._campaigns.pays(campaign, before.cost_ns, before.cost_bytes):
                    return
            elif self._purse.affords(costs):
                self._spend(costs)
            else:
                return
            by = campaign or before.by
            self._waiting[place] = msgspec.structs.replace(before, kept=True, reason=ROLL, by=by)

    def _go_on(self, state: bytes) -> None:
        try:
            before = msgspec.msgpack.decode(state, type=SelectorState)
        except msgspec.DecodeError as error:
            raise Corrupt(f"state of selection: {error}; without it selection begins anew") from error
        self._purse.take_over(before.levels)
        self._threshold = Threshold(before.part)
        self._judge = Judge(self.policy, before.stillness)
        self._waiting, self._end_ns, self._boot = before.waiting, before.end_ns, before.boot
        self._roll_until_ns = before.roll_until_ns
        self._fleet = FleetPart(self.policy.budget, before.fleet, before.met_ns)
        self._campaigns = RunningCampaigns(self.policy.campaigns, before.campaigns)
