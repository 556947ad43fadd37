"""Token buckets: what may be kept. No reason overruns them, and chance has what novelty cannot take."""

from collections.abc import Mapping
from dataclasses import dataclass

from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.drivers.clock import SECOND_NS

MICRO = 1_000_000
_DAY_S = 86_400
_FLOOR_BURSTS = 20
_MOST = 1 << 57
"""As much as a bucket holds: what chance is due of many bursts is still a number of 63 bits."""
PARTS = 1024
TIME, BYTES, DAY = "share", "bytes_per_s", "bytes_per_day"


@dataclass(slots=True)
class Bucket:
    """One limit, in whole numbers: nanoseconds kept, or millionths of bytes.

    `level` never passes `capacity`, begins there, and is all that can be spent. Chance may spend only what it is due
    (`due`, up to `most_due`: its part of the income of many bursts), and all else leaves one unit's cost to it.
    Chance that is shared `among` several devices is due so much less of the income, and not of what it may save up.
    """

    per_s: int
    capacity: int
    floor: float
    level: int
    due: int
    wasted: int = 0
    among: float = 1.0

    @property
    def most_due(self) -> int:
        """As much as chance can be due."""
        return int(self.floor * self.capacity) * _FLOOR_BURSTS

    def income(self, span_ns: int) -> int:
        """What `span_ns` brings."""
        return self.per_s * span_ns // SECOND_NS

    def earn(self, span_ns: int) -> None:
        """Let time pass; what is above the brim is `wasted`, counted for this time alone."""
        income = self.income(span_ns)
        self.wasted = max(self.level + income - self.capacity, 0)
        self.level = min(self.level + income, self.capacity)
        self.due = min(self.due + int(self.floor * income / self.among), self.most_due)

    def left_to_chance(self, cost: int) -> int:
        """What all but chance leave for it: one unit, if it is due one, and never so much that nothing else fits."""
        return min(cost, max(self.capacity - cost, 0)) if self.floor and self.due >= cost else 0


class Purse:
    """All limits of a budget. What is spent must fit into each."""

    def __init__(self, budget: SelectionBudget) -> None:
        self.buckets: dict[str, Bucket] = {}
        rates = {
            TIME: None if budget.share is None else round(budget.share * SECOND_NS),
            BYTES: None if budget.bytes_per_s is None else round(budget.bytes_per_s * MICRO),
            DAY: None if budget.bytes_per_day is None else round(budget.bytes_per_day * MICRO / _DAY_S),
        }
        for name, per_s in rates.items():
            if per_s is not None:
                capacity = min(int(per_s * budget.burst_s), _MOST)
                made = Bucket(per_s, capacity, budget.floor, capacity, 0)
                made.due = made.most_due // 2
                self.buckets[name] = made

    def share_chance(self, among: float) -> None:
        """From now on chance is due its part of the income over this: so many devices draw for all of them."""
        for bucket in self.buckets.values():
            bucket.among = max(among, 1.0)

    def take_over(self, levels: Mapping[str, tuple[int, int]]) -> None:
        """Go on with what was left, (level, due) by limit; no more than now fits."""
        for name, (level, due) in levels.items():
            if name in self.buckets:
                bucket = self.buckets[name]
                bucket.level, bucket.due = min(level, bucket.capacity), min(due, bucket.most_due)

    @property
    def left(self) -> float:
        """At least this part of each bucket is left to spend, in `PARTS`; 0 with a debt."""
        parts = [bucket.level * PARTS // max(bucket.capacity, 1) for bucket in self.buckets.values()]
        return max(min(parts, default=PARTS), 0) / PARTS

    def leave(self, left: float) -> None:
        """No more than this part is left to spend, and a debt stays: what was spent is not known."""
        for bucket in self.buckets.values():
            bucket.level = min(bucket.level, bucket.capacity * int(left * PARTS) // PARTS)

    def levels(self) -> dict[str, tuple[int, int]]:
        """What is left, (level, due) by limit."""
        return {name: (bucket.level, bucket.due) for name, bucket in self.buckets.items()}

    def earn(self, captured_ns: int, passed_ns: int) -> None:
        """`captured_ns` were captured and judged in the `passed_ns` that passed."""
        for name, bucket in self.buckets.items():
            bucket.earn(captured_ns if name == TIME else passed_ns)

    def book(self, more_bytes: int) -> None:
        """What was sealed cost so many bytes more than was spent on it, or less: a debt is paid before all else."""
        for name, bucket in self.buckets.items():
            if name != TIME:
                bucket.level = min(bucket.level - more_bytes * MICRO, bucket.capacity)

    def affords(self, costs: Mapping[str, int], by_chance: bool = False) -> bool:
        """Whether so much can be spent, by chance or for any other reason."""
        for name, bucket in self.buckets.items():
            cost = costs[name]
            left = 0 if by_chance else bucket.left_to_chance(cost)
            if bucket.per_s == 0 or bucket.level < cost + left or (by_chance and bucket.due < cost):
                return False
        return True

    def spend(self, costs: Mapping[str, int], by_chance: bool = False) -> None:
        """Spend what was found to be affordable."""
        for name, bucket in self.buckets.items():
            bucket.level -= costs[name]
            if by_chance:
                bucket.due -= costs[name]

    def chance(self, costs: Mapping[str, int], span_ns: int) -> float:
        """The probability with which chance can keep a unit so that in the long run it spends its part; 0 if it is not
        due so much, or so much is not there. The more it is due, the higher."""
        if not self.affords(costs, by_chance=True):
            return 0.0
        found = 1.0
        for name, bucket in self.buckets.items():
            usual = bucket.floor / bucket.among * bucket.income(span_ns) / max(costs[name], 1)
            # never much less than usual: a single draw would then stand for very many units, and no interval hold
            found = min(found, usual * min(max(2 * bucket.due / max(bucket.most_due, 1), 0.5), 1.5))
        return found

    def fullness(self, costs: Mapping[str, int]) -> float:
        """How full the emptiest bucket is, 0 to 1, of what is not left to chance."""
        found = 1.0
        for name, bucket in self.buckets.items():
            left = bucket.left_to_chance(costs[name])
            found = min(found, (bucket.level - left) / max(bucket.capacity - left, 1))
        return max(found, 0.0)

    def units(self, costs: Mapping[str, int], span_ns: int) -> tuple[float, float]:
        """How many such units the income of `span_ns` pays for, and how many more what was wasted would have paid."""
        buckets = [(bucket, costs[name]) for name, bucket in self.buckets.items() if costs[name] > 0]
        if not buckets:  # it costs nothing, and says nothing of what could be paid for
            return 0.0, 0.0
        earned = min(bucket.income(span_ns) / cost for bucket, cost in buckets)
        return earned, min(bucket.wasted / cost for bucket, cost in buckets)


def costs_of(length_ns: int, size: int) -> dict[str, int]:
    """What keeping `length_ns` and `size` bytes costs, by limit."""
    return {TIME: length_ns, BYTES: size * MICRO, DAY: size * MICRO}
