"""What a store has of a traced unit: the full episode that holds it, and what chance is left of one that was drawn."""

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence

from sensorium.corpus.episode import Episode
from sensorium.corpus.queried import Queried
from sensorium.corpus.traces import TracedUnit
from sensorium.episode.value import Chance, Evicted, p_left


class _Spool:
    """Full episodes of one spool, by their starts; what was evicted of those kept by chance, and what waits."""

    def __init__(
        self, episodes: Iterable[Episode], evictions: tuple[Evicted, ...] = (), waiting: Sequence[int] = ()
    ) -> None:
        self.evictions, self.waiting = evictions, waiting
        self.episodes = sorted(episodes, key=lambda each: each.start_ns)
        self._starts = [each.start_ns for each in self.episodes]
        self._longest_ns = max((int(each.row["end_ns"]) - each.start_ns for each in self.episodes), default=0)

    def overlapping(self, start_ns: int, end_ns: int) -> list[Episode]:
        """Those that have a part in an interval of any boot."""
        first = bisect.bisect_left(self._starts, start_ns - self._longest_ns)
        last = bisect.bisect_left(self._starts, end_ns)
        return [each for each in self.episodes[first:last] if int(each.row["end_ns"]) > start_ns]

    def ordinals(self, start_ns: int) -> tuple[int, int]:
        """Between which ordinals an episode must be that begins there, as far as can be told."""
        at = bisect.bisect_right(self._starts, start_ns)
        return _ordinals(self.episodes[at - 1] if at else None, self.episodes[at] if at < len(self.episodes) else None)

    def around(self, start_ns: int, is_of: Callable[[Episode], bool]) -> tuple[Episode | None, Episode | None]:
        """The ones before and behind an episode that begins there, of those which are of its time."""
        at = bisect.bisect_right(self._starts, start_ns)
        before = (self.episodes[place] for place in range(at - 1, -1, -1))
        behind = (self.episodes[place] for place in range(at, len(self.episodes)))
        return next(filter(is_of, before), None), next(filter(is_of, behind), None)


class Kept:
    """The full episodes of a store, found by what was traced."""

    def __init__(self, corpus: Queried) -> None:
        ledgers = {(each.device, each.spool_id): each for each in corpus.ledger()}
        found: dict[tuple[str, str], list[Episode]] = {}
        for episode in corpus.query():
            found.setdefault((episode.device, str(episode.row["spool_id"])), []).append(episode)
        self._spools = {of: _Spool(those) for of, those in found.items()}
        for of, each in ledgers.items():
            self._spools[of] = _Spool(found.get(of, ()), each.evictions, corpus.waiting_ordinals(each))
        self._boots: dict[str, str | None] = {}

    def episodes(self, unit: TracedUnit) -> list[Episode]:
        """Those that have a part of a unit, in the order of their starts; that which holds its start is the first."""
        spool = self._spools.get((unit.device, unit.spool_id), _NONE)
        found = spool.overlapping(unit.start_ns, unit.end_ns)
        return [each for each in found if self._is_of(each, unit)]

    def episode(self, unit: TracedUnit) -> Episode | None:
        """The one that holds its start."""
        return next((each for each in self.episodes(unit) if each.start_ns <= unit.start_ns), None)

    def bytes(self, unit: TracedUnit) -> float | None:
        """Of the episodes that hold it, as many bytes as its part of their time; None where nothing holds it."""
        found = 0.0
        episodes = self.episodes(unit)
        for each in episodes:
            start_ns, end_ns = each.start_ns, int(each.row["end_ns"])
            part_ns = min(unit.end_ns, end_ns) - max(unit.start_ns, start_ns)
            found += float(each.row["bytes"]) * part_ns / max(end_ns - start_ns, 1)
        return found if episodes else None

    def p_left(self, unit: TracedUnit) -> float | None:
        """What the p of a drawn unit has fallen to by evictions: 0 where it is no longer in the sample, None
        where it should be and is not in the store."""
        decision = unit.judged.decision
        chance = Chance(decision.draw, decision.p)
        spool = self._spools.get((unit.device, unit.spool_id), _NONE)
        episode = self.episode(unit)
        if episode is not None:
            return p_left(chance, int(episode.row["ordinal"]), spool.evictions)
        first, last = spool.ordinals(unit.start_ns)
        gone = (each for each in spool.evictions if each.first <= last and each.last >= first)
        return 0.0 if any(each.limit <= chance.rank for each in gone) else None

    def p_in_order(self, drawn: Iterable[TracedUnit]) -> Callable[[TracedUnit], float | None]:
        """`p_left`, as of a sample that is honest while some of it waits on devices: of what chance kept, that which is
        worth more goes first, beside the oldest. What is there behind the first that waits, of these `drawn` units, is
        as if it were not."""
        first: dict[tuple[str, str, float], int] = {}
        for unit in drawn:
            for priority, ordinal in self._waits(unit) if self.p_left(unit) is None else ():
                place = unit.device, unit.spool_id, priority
                first[place] = min(first.get(place, ordinal), ordinal)

        def p_left(unit: TracedUnit) -> float | None:
            episode = self.episode(unit) if first else None
            if episode is not None:
                place = unit.device, unit.spool_id, float(episode.row["priority"])
                if int(episode.row["ordinal"]) > first.get(place, 1 << 62):
                    return None
            return self.p_left(unit)

        return p_left

    def _waits(self, unit: TracedUnit) -> Iterator[tuple[float, int]]:
        """Of a unit that is not there, the first ordinal that waits and may have it, with the priority of those around
        it, which is its own but where a mission ends; where there are none, with each of the spool."""
        spool = self._spools.get((unit.device, unit.spool_id), _NONE)
        waiting, around = spool.waiting, spool.around(unit.start_ns, lambda each: self._is_of(each, unit))
        first, last = _ordinals(*around)
        at = bisect.bisect_left(waiting, first)
        if at < len(waiting) and waiting[at] < last:
            near = [each for each in around if each is not None] or spool.episodes
            for priority in {float(each.row["priority"]) for each in near}:
                yield priority, waiting[at]

    def _is_of(self, episode: Episode, unit: TracedUnit) -> bool:
        """Whether both are of one time."""
        return self._boot(episode) in (None, unit.judged.unit.boot.partition("#")[0])

    def _boot(self, episode: Episode) -> str | None:
        if episode.id not in self._boots:
            self._boots[episode.id] = episode.clock.boot_id
        return self._boots[episode.id]


def _ordinals(before: Episode | None, behind: Episode | None) -> tuple[int, int]:
    """Between which ordinals an episode must be that is between two."""
    first = 0 if before is None else int(before.row["ordinal"])
    return first, 1 << 62 if behind is None else int(behind.row["ordinal"])


_NONE = _Spool(())
