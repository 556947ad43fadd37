"""Which of what waits in a spool goes first, and which gives way first where it is full.

The larger mission priority goes first, and is evicted last. Within it what tells of the rest (traces, previews) goes
first; then the larger value per byte, and, for a fifth of the bytes, what chance kept, the oldest first. Where the
spool is full the least value per byte gives way, then the oldest; where what chance kept has more than a fifth, that
does, by its draw alone, so that what is left is an honest sample; what tells of the rest when nothing else is left.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from sensorium.agents.spool.held import Held
from sensorium.episode.value import Evicted
from sensorium.link.wire import MAX_VALUE

CHANCE_SHARE = 0.2
MOST_OWED_BYTES = 256_000_000
"""So much of what one of the two had too much is remembered: about the largest episode."""
EVICTED = "evicted"


class Victim(NamedTuple):
    """The episode that gives way, and what the ledger is to say of it."""

    episode: UUID
    why: str


class Order:
    """What waits, in queues. No place of an episode changes between `add` and `remove`."""

    def __init__(self, held: Iterable[Held]) -> None:
        telling: list[Held] = []
        weighed: list[Held] = []
        chance: list[Held] = []
        for each in held:
            (telling if _tells(each) else chance if _by_chance(each) else weighed).append(each)
        self._telling, self._weighed = _Queue(telling, _by_value), _Queue(weighed, _by_value)
        self._chance, self._ranks = _Queue(chance, _by_age), _Queue(chance, _by_rank)
        self._chance_bytes = sum(each.size for each in chance)
        self._weighed_bytes = sum(each.size for each in weighed)
        self._balance_bytes = 0.0

    def add(self, held: Held) -> None:
        """It waits from now on."""
        if _tells(held):
            self._telling.add(held)
        elif _by_chance(held):
            self._chance.add(held)
            self._ranks.add(held)
            self._chance_bytes += held.size
        else:
            self._weighed.add(held)
            self._weighed_bytes += held.size

    def remove(self, held: Held) -> None:
        """It waits no longer, or not where it did."""
        if _tells(held):
            self._telling.remove(held)
        elif _by_chance(held):
            self._chance.remove(held)
            self._ranks.remove(held)
            self._chance_bytes -= held.size
        else:
            self._weighed.remove(held)
            self._weighed_bytes -= held.size

    def delivered(self, held: Held) -> None:
        """It is delivered, and removed already: of what follows chance has its part."""
        if not _tells(held) and self._chance and self._weighed:
            balance = _balanced(self._balance_bytes, held)
            self._balance_bytes = max(-MOST_OWED_BYTES, min(balance, MOST_OWED_BYTES))
        else:
            self._balance_bytes = 0.0

    def first(self, limit: int | None, is_due: Callable[[Held], bool]) -> list[tuple[Held, float]]:
        """The first that are due, in the order of delivery, each with the value by which a server orders them. No more
        is looked at than is asked for, and what is not due before it."""
        return list(islice(self._in_order(is_due), limit))

    def _in_order(self, is_due: Callable[[Held], bool]) -> Iterator[tuple[Held, float]]:
        queues = [filter(is_due, queue) for queue in (self._telling, self._weighed, self._chance)]
        balance = self._balance_bytes
        telling, weighed, chance = (next(queue, None) for queue in queues)
        while heads := [head for head in (telling, weighed, chance) if head is not None]:
            top = max(head.priority for head in heads)
            follows = weighed if weighed is not None and weighed.priority == top else None
            value = 0.0 if follows is None else follows.value_per_byte
            if telling is not None and telling.priority == top:
                yield telling, MAX_VALUE
                telling = next(queues[0], None)
            elif chance is not None and chance.priority == top and (follows is None or balance < 0):
                yield chance, value
                balance, chance = _balanced(balance, chance), next(queues[2], None)
            elif follows is not None:
                yield follows, value
                balance, weighed = _balanced(balance, follows), next(queues[1], None)

    def least(self) -> Victim | None:
        """The sealed episode to give up first; None if there is none."""
        weighed, chance = self._weighed.least(), self._ranks.last()
        if chance is not None and (weighed is None or self._gives_way(chance, weighed)):
            return Victim(chance.episode, self._evicted(chance).why)
        found = weighed or self._telling.least()
        return None if found is None else Victim(found.episode, EVICTED)

    def _gives_way(self, chance: Held, weighed: Held) -> bool:
        if chance.priority != weighed.priority:
            return chance.priority < weighed.priority
        return self._chance_bytes > CHANCE_SHARE * (self._chance_bytes + self._weighed_bytes)

    def _evicted(self, victim: Held) -> Evicted:
        """What is to be told: among those of its spool and priority it has the highest rank."""
        alike = self._chance.alike(victim, 3)
        return Evicted(_rank(victim), alike[0].said.ordinal, alike[-1].said.ordinal)


class _Queue:
    """Sorted by `place`."""

    def __init__(self, held: Iterable[Held], place: Callable[[Held], Any]) -> None:
        self._place = place
        self._sorted = sorted(held, key=place)

    def __iter__(self) -> Iterator[Held]:
        return iter(self._sorted)

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, held: Held) -> None:
        insort(self._sorted, held, key=self._place)

    def remove(self, held: Held) -> None:
        del self._sorted[bisect_left(self._sorted, self._place(held), key=self._place)]

    def last(self) -> Held | None:
        return self._sorted[-1] if self._sorted else None

    def alike(self, held: Held, parts: int) -> list[Held]:
        """Those whose places begin with the same parts."""
        begin = self._place(held)[:parts]
        first = bisect_left(self._sorted, begin, key=lambda each: self._place(each)[:parts])
        found = islice(self._sorted, first, None)
        return [each for each in found if self._place(each)[:parts] == begin]

    def least(self) -> Held | None:
        """Of the sealed ones of the last priority and value the first."""
        end = len(self._sorted)
        while end:
            value = self._place(self._sorted[end - 1])[:2]
            first = bisect_left(self._sorted, value, key=lambda held: self._place(held)[:2])
            for held in islice(self._sorted, first, end):
                if held.file is None:
                    return held
            end = first
        return None


def _tells(held: Held) -> bool:
    return held.said.kind != "full"


def _by_chance(held: Held) -> bool:
    return held.worth.chance is not None


def _rank(held: Held) -> float:
    return 0.0 if held.worth.chance is None else held.worth.chance.rank


def _balanced(balance_bytes: float, held: Held) -> float:
    """What chance had beyond its share, after one more."""
    return balance_bytes + held.size * (1 - CHANCE_SHARE if _by_chance(held) else -CHANCE_SHARE)


# Of episodes of a former spool and the present one the ordinals may be the same.


def _by_value(held: Held) -> tuple[float, float, int, UUID]:
    return -held.priority, -held.value_per_byte, held.said.ordinal, held.episode


def _by_age(held: Held) -> tuple[float, bool, str, int, UUID]:
    """Those of former spools first: they are older, and each spool has probabilities of its own."""
    return -held.priority, not held.former, held.former, held.said.ordinal, held.episode


def _by_rank(held: Held) -> tuple[float, bool, str, float, int, UUID]:
    """The last gives way first."""
    return -held.priority, bool(held.former), held.former, _rank(held), held.said.ordinal, held.episode
