"""Which of what waits in a spool goes first, and which gives way first where it is full.

The larger mission priority goes first, and is evicted last. Within it what tells of the rest (traces, previews) goes
first; then the larger value per byte, whatever kept it, and, for a fifth of the bytes, what chance kept, the oldest
first: of that the oldest up to the first that is not delivered are an honest sample. Where the spool is full the least
value per byte gives way, then the oldest; where what chance kept has more than a fifth, that does, by its draw alone,
so that what is left is an honest sample; what tells of the rest when nothing else is left.
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
        self._drawn = _Queue(chance, _by_value)
        self._chance_bytes = sum(each.size for each in chance)
        self._weighed_bytes = sum(each.size for each in weighed)
        self._balance_bytes = 0.0
        self._by_age = set[UUID]()

    def __len__(self) -> int:
        return len(self._telling) + len(self._weighed) + len(self._chance)

    def add(self, held: Held) -> None:
        """It waits from now on."""
        if _tells(held):
            self._telling.add(held)
        elif _by_chance(held):
            self._chance.add(held)
            self._ranks.add(held)
            self._drawn.add(held)
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
            self._drawn.remove(held)
            self._chance_bytes -= held.size
        else:
            self._weighed.remove(held)
            self._weighed_bytes -= held.size

    def delivered(self, held: Held) -> None:
        """It is delivered, and removed already: of what follows chance has its part: what goes by its age."""
        by_age = held.episode in self._by_age
        self._by_age.discard(held.episode)
        if not _tells(held) and self._chance and self._weighed:
            balance = _balanced(self._balance_bytes, held, by_age=by_age)
            self._balance_bytes = max(-MOST_OWED_BYTES, min(balance, MOST_OWED_BYTES))
        else:
            self._balance_bytes = 0.0

    def first(self, limit: int | None, is_due: Callable[[Held], bool]) -> list[tuple[Held, float]]:
        """The first that are due, in the order of delivery, each with the value by which a server orders them. No more
        is looked at than is asked for, and what is not due before it."""
        found = []
        for held, value, by_age in islice(self._in_order(is_due), limit):
            found.append((held, value))
            if _by_chance(held):
                (self._by_age.add if by_age else self._by_age.discard)(held.episode)
        if len(self._by_age) > len(self._chance):  # some have given way
            self._by_age &= {each.episode for each in self._chance}
        return found

    def _in_order(self, is_due: Callable[[Held], bool]) -> Iterator[tuple[Held, float, bool]]:
        """Each also with whether it goes by its age."""
        if not self._telling and not self._chance:  # as of most spools: what is weighed, as it stands
            yield from ((held, held.value_per_byte, False) for held in filter(is_due, self._weighed))
            return
        went = set[UUID]()

        def waits(held: Held) -> bool:
            return held.episode not in went and is_due(held)

        tellings, chances = filter(is_due, self._telling), filter(waits, self._chance)
        dears = ((_by_value(each), each) for each in filter(is_due, self._weighed))
        draws = ((_by_value(each), each) for each in filter(waits, self._drawn))
        telling, weighed, drawn, chance = (
            next(tellings, None),
            next(dears, None),
            next(draws, None),
            next(chances, None),
        )
        balance = self._balance_bytes
        while weighed or drawn or telling:
            first = min(weighed, drawn) if weighed and drawn else weighed or drawn
            if telling and (first is None or telling.priority >= -first[0][0]):
                yield telling, MAX_VALUE, False
                telling = next(tellings, None)
            elif first is not None:
                (priority, value, *_), goes = first
                by_age = False
                if chance and chance.priority == -priority:
                    alone = weighed is None or weighed[0][0] > priority
                    if by_age := alone or balance < 0:
                        goes, value = chance, 0.0 if alone else value
                    balance = _balanced(balance, goes, by_age=by_age)
                yield goes, -value, by_age
                if weighed and goes is weighed[1]:
                    weighed = next(dears, None)
                else:
                    went.add(goes.episode)
                    drawn = next(draws, None) if drawn and goes is drawn[1] else drawn
                    chance = next(chances, None) if goes is chance else chance

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


def _balanced(balance_bytes: float, held: Held, *, by_age: bool) -> float:
    """What chance had beyond its share, after one more, that goes by its age or by its value."""
    return balance_bytes + held.size * (1 - CHANCE_SHARE if by_age else -CHANCE_SHARE)


# Of episodes of a former spool and the present one the ordinals may be the same.


def _by_value(held: Held) -> tuple[float, float, int, UUID]:
    return -held.priority, -held.value_per_byte, held.said.ordinal, held.episode


def _by_age(held: Held) -> tuple[float, bool, str, int, UUID]:
    """Those of former spools first: they are older, and each spool has probabilities of its own."""
    return -held.priority, not held.former, held.former, held.said.ordinal, held.episode


def _by_rank(held: Held) -> tuple[float, bool, str, float, int, UUID]:
    """The last gives way first."""
    return -held.priority, bool(held.former), held.former, _rank(held), held.said.ordinal, held.episode
