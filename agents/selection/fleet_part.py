"""The fleet's part: what a device may spend on what others of its fleet nearly have, so that all spend as one would."""

from collections.abc import Mapping

from sensorium.agents.selection.budget import MICRO, TIME, Purse
from sensorium.agents.selection.budgets import SelectionBudget
from sensorium.drivers.clock import SECOND_NS
from sensorium.episode.unit import Unit

FLEET = "fleet"
"""The score of a judged stream that is its novelty to what the fleet has seen."""
AMONG = "selection.among"
"""The score that says among how many devices, this one with them, chance is shared: what one draws none of the others
need draw. So is what may be spent on what they nearly have."""
NEARLY = "selection.nearly"
"""The score that says what the fleet nearly has: what differs by less. Where it is not told, nothing is."""
MET = "selection.met"
"""The score that is 1 of a unit to which something of another device is near, clearly nearer than all of its own."""
NEARLY_HAD = 0.2
"""In descriptors of pictures: a place from a little beside, which one device comes back to within its own budget."""
CLEARLY = 0.02
"""By so much, in cosine, is it nearer: a row of the sketch tells of this device's own looks no more exactly."""
MET_NS = 600 * SECOND_NS
"""So long after that a device is where others are."""


class FleetPart:
    """Of each limit the income over the number of devices that share a memory, less all that is kept. It begins empty,
    holds a burst at most, and owes a burst at most: a device that is first where others will be, and keeps what is new
    there, leaves what is nearly had to them.
    """

    def __init__(self, budget: SelectionBudget, levels: Mapping[str, int], met_ns: int | None = None) -> None:
        self._buckets = Purse(budget).buckets
        self.met_ns = met_ns
        """Where the last unit ended that was where others are, in this time."""
        for name, bucket in self._buckets.items():
            bucket.level = max(min(levels.get(name, 0), bucket.capacity), -bucket.capacity)

    @property
    def levels(self) -> dict[str, int]:
        """What is left, by limit."""
        return {name: bucket.level for name, bucket in self._buckets.items()}

    def forget_time(self) -> None:
        """Another time begins: nobody knows how long ago it was that others were met."""
        self.met_ns = None

    def leave(self) -> None:
        """What was spent is not known: nothing is left."""
        for bucket in self._buckets.values():
            bucket.level = min(bucket.level, 0)

    def earn(self, unit: Unit, passed_ns: int) -> None:
        """`unit` was captured in the `passed_ns` that passed."""
        among = max(unit.scores.get(AMONG, 1.0), 1.0)
        for name, bucket in self._buckets.items():
            income = int(bucket.income(unit.length_ns if name == TIME else passed_ns) / among)
            booked = 0 if name == TIME else unit.booked_bytes * MICRO
            bucket.level = max(min(bucket.level + income - booked, bucket.capacity), -bucket.capacity)
        if unit.scores.get(MET):
            self.met_ns = unit.end_ns

    def spend(self, costs: Mapping[str, int]) -> None:
        """Something is kept, for whatever reason."""
        for name, bucket in self._buckets.items():
            bucket.level = max(bucket.level - costs[name], -bucket.capacity)

    def refuses(self, unit: Unit, stream: str, costs: Mapping[str, int]) -> bool:
        """Whether what is new in a stream of a unit is nearly had by the fleet, of which others are here, and costs
        more than is left for that."""
        if self.met_ns is None or unit.start_ns >= self.met_ns + MET_NS:
            return False
        if (nearly := unit.scores.get(NEARLY)) is None or unit.scores.get(f"{stream}.{FLEET}", nearly) >= nearly:
            return False
        return any(bucket.level < costs[name] for name, bucket in self._buckets.items())
