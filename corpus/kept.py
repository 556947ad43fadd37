"""What a store has of a traced unit: the full episode that holds it, and what chance is left of one that was drawn."""

import bisect
from collections.abc import Iterable

from sensorium.corpus.episode import Episode
from sensorium.corpus.queried import Queried
from sensorium.corpus.traces import TracedUnit
from sensorium.episode.value import Chance, Evicted, p_left


class _Spool:
    """Full episodes of one spool, by their starts, and what was evicted of those kept by chance."""

    def __init__(self, episodes: Iterable[Episode], evictions: tuple[Evicted, ...]) -> None:
        self.evictions = evictions
        self.episodes = sorted(episodes, key=lambda each: each.start_ns)
        self._starts = [each.start_ns for each in self.episodes]
        self._longest_ns = max((int(each.row["end_ns"]) - each.start_ns for each in self.episodes), default=0)

    def overlapping(self, start_ns: int, end_ns: int) -> list[Episode]:
        """Those that have a part in an interval of any boot."""
        first = bisect.bisect_left(self._starts, start_ns - self._longest_ns)
        last = bisect.bisect_left(self._starts, end_ns)
        return [each for each in self.episodes[first:last] if int(each.row["end_ns"]) > start_ns]

    def around(self, start_ns: int) -> tuple[int, int]:
        """Between which ordinals an episode must be that begins there, as far as can be told."""
        at = bisect.bisect_right(self._starts, start_ns)
        before = [int(each.row["ordinal"]) for each in self.episodes[max(at - 1, 0) : at]]
        behind = [int(each.row["ordinal"]) for each in self.episodes[at : at + 1]]
        return max(before, default=0), min(behind, default=1 << 62)


class Kept:
    """The full episodes of a store, found by what was traced."""

    def __init__(self, corpus: Queried) -> None:
        evictions = {(each.device, each.spool_id): each.evictions for each in corpus.ledger()}
        found: dict[tuple[str, str], list[Episode]] = {}
        for episode in corpus.query():
            found.setdefault((episode.device, str(episode.row["spool_id"])), []).append(episode)
        self._spools = {of: _Spool(found.get(of, ()), evictions.get(of, ())) for of in found.keys() | evictions.keys()}
        self._boots: dict[str, str | None] = {}

    def episodes(self, unit: TracedUnit) -> list[Episode]:
        """Those that have a part of a unit, in the order of their starts; that which holds its start is the first."""
        spool = self._spools.get((unit.device, unit.spool_id), _NONE)
        found = spool.overlapping(unit.start_ns, unit.end_ns)
        return [each for each in found if self._boot(each) in (None, unit.judged.unit.boot.partition("#")[0])]

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
        first, last = spool.around(unit.start_ns)
        gone = (each for each in spool.evictions if each.first <= last and each.last >= first)
        return 0.0 if any(each.limit <= chance.rank for each in gone) else None

    def _boot(self, episode: Episode) -> str | None:
        if episode.id not in self._boots:
            self._boots[episode.id] = episode.clock.boot_id
        return self._boots[episode.id]


_NONE = _Spool((), ())
