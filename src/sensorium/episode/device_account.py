"""The account of a device: all that enters in a run and what became of it, and what its spool has between episodes."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

import msgspec

from sensorium.episode.account import Place, Tally, accounts, copied, merge, withdraw
from sensorium.episode.documents import Account, BetweenTotals
from sensorium.episode.run_counts import At, RunCounts


class Between:
    """The samples of a spool that are in no episode: those since the last OPEN, and all since the spool was made.

    Each stream's total has the number of its last change; numbers grow over all streams. So a part of the totals can be
    told, and what is told last wins.
    """

    def __init__(self, since: Mapping[str, Account], total: BetweenTotals) -> None:
        self.since: Place = {stream: Tally.of(account) for stream, account in since.items()}
        self._total: Place = {stream: Tally.of(account) for stream, account in total.streams.items()}
        self._numbers = dict(total.numbers)
        self.openings = total.openings
        self.run: RunCounts | None = None
        """Of these, what the run of a replay has counted, if one is under way."""
        self._changed: set[str] = set()
        self._unkept = True

    @classmethod
    def of_old(cls, since: Mapping[str, Account]) -> "Between":
        """Of a spool that kept no totals: they begin with what no OPEN has told of yet."""
        between = cls({}, BetweenTotals())
        between.count({stream: Tally.of(account) for stream, account in since.items()})
        return between

    @property
    def changed(self) -> bool:
        """Whether anything was counted since the last `totals`."""
        return bool(self._changed)

    def take_unkept(self) -> bool:
        """Whether any of this may be other than when this was asked last: then it is to be noted."""
        unkept, self._unkept = self._unkept, False
        return unkept

    def count(self, place: Mapping[str, Tally]) -> None:
        """More samples are in no episode."""
        merge(self.since, place)
        merge(self._total, place)
        self._touch(place)

    def take_back(self, place: Mapping[str, Tally]) -> None:
        """These are in an episode after all, and no OPEN has told of them."""
        if self.run is not None:
            self.run.take_back(place)
        withdraw(self.since, place)
        withdraw(self._total, place)
        self._touch(place)

    def carry(self, kept: Mapping[str, Tally]) -> dict[str, Account]:
        """What the next OPEN tells: all but what is `kept` for a later one."""
        withdraw(self.since, kept)
        told = accounts(self.since)
        self.since = copied(kept)
        if told:
            self.openings += 1
            self._unkept = True
        return told

    def go_back(self, counted: Mapping[str, Tally], before: Mapping[str, Tally]) -> None:
        """Of what a run has `counted`, all is counted anew that it had not `before` where it is taken up."""
        again = copied(counted)
        withdraw(again, before)
        withdraw(self._total, again)
        withdraw(self.since, again)
        for tally in self.since.values():  # an OPEN that stays may have told of a part
            tally.filtered = {fate: n for fate, n in tally.filtered.items() if n > 0}
            tally.lost = {fate: n for fate, n in tally.lost.items() if n > 0}
        self._touch(again)
        self._unkept = True  # the run too

    def give_up(self, place: Mapping[str, Tally], told: Mapping[str, Account]) -> None:
        """An episode is not delivered: what it has is here, and what its OPEN told the next one tells."""
        self.count(place)
        self._unkept = True
        merge(self.since, {stream: Tally.of(account) for stream, account in told.items()})

    def undo_give_up(self, place: Mapping[str, Tally], told: Mapping[str, Account], openings: int) -> None:
        """It is delivered after all. That an OPEN has told otherwise since there were `openings` cannot be helped."""
        if self.openings == openings:
            withdraw(self.since, place)
            withdraw(self.since, {stream: Tally.of(account) for stream, account in told.items()})
        withdraw(self._total, place)
        self._touch(place)
        self._unkept = True

    def totals(self) -> BetweenTotals:
        """All since the spool was made, as a document."""
        for stream in sorted(self._changed):
            self._numbers[stream] = max(self._numbers.values(), default=0) + 1
        self._changed.clear()
        streams = {stream: self._total[stream].account() for stream in self._numbers}
        return BetweenTotals(numbers=dict(self._numbers), streams=streams, openings=self.openings)

    def copy(self) -> "Between":
        """As it is now."""
        other = Between({}, BetweenTotals())
        other.since, other._total = copied(self.since), copied(self._total)
        other._numbers, other._changed, other.openings = dict(self._numbers), set(self._changed), self.openings
        other.run = None if self.run is None else self.run.copy()
        other._unkept = self._unkept
        return other

    def _touch(self, streams: Mapping[str, Tally]) -> None:
        self._changed |= streams.keys()
        self._unkept |= bool(streams)


class DeviceAccount:
    """What became of every sample that a device captured in this run, and of all that its spool has between episodes.

    What enters is held until it is counted in an episode's place, or between. Thread-safe, but for the tallies of an
    episode's place: those are the recorder's.

    Args:
        first_ordinal: Episodes from this ordinal on are of this run.
    """

    def __init__(self, between: Between, first_ordinal: int) -> None:
        self._lock = threading.RLock()
        self._between = between
        self._first_ordinal = first_ordinal
        self._entering = threading.Lock()
        self._captured: dict[str, int] = {}
        self._open: dict[UUID, Place] = {}
        self._settled: Place = {}

    def enter(self, stream: str, n: int) -> None:
        """`n` samples were captured, or are known to be lost. It waits for no disk: who reads a sensor calls it."""
        with self._entering:
            self._captured[stream] = self._captured.get(stream, 0) + n

    def disown(self, stream: str, n: int) -> None:
        """`n` samples that entered are not of this run: another has counted them."""
        if n:
            self.enter(stream, -n)

    def begin(self, episode: UUID, place: Place) -> None:
        """An episode is open, and counts in `place`; what is there already was between, and the spool knows."""
        with self._lock:
            withdraw(self._settled, place)
            self._open[episode] = place

    def sealed(self, episode: UUID) -> None:
        """Its file says what its place says; if it was given up meanwhile, that stands."""
        with self._lock:
            merge(self._settled, self._open.pop(episode, {}))

    def open_accounts(self, episode: UUID) -> dict[str, Account] | None:
        """The accounts of an open episode, None if it is not one."""
        with self._lock:
            place = self._open.get(episode)
            return None if place is None else {stream: tally.account() for stream, tally in place.items()}

    def between(self, stream: str, tally: Tally, at: At | None = None) -> None:
        """What entered is in no episode; `at` is where in the recording, if it is one."""
        with self._lock:
            self._between.count({stream: tally})
            if self._between.run is not None:
                self._between.run.count(stream, at, tally)
            merge(self._settled, {stream: tally})

    def absent(
        self,
        stream: str,
        rate_hz: float | None,
        start: At,
        end_ns: int,
        episode: Tally | None = None,
    ) -> None:
        """A sensor was away: what it missed enters, and is lost, in an open `episode` or between."""
        missed = Tally()
        self.enter(stream, missed.absent(rate_hz, start[1], end_ns))
        if episode is not None:
            episode.add(missed)
        elif missed:
            self.between(stream, missed, start)

    def run_before(self, end: At) -> dict[str, Account]:
        """What the run has counted between of what lies before a moment."""
        with self._lock:
            return {} if self._between.run is None else accounts(self._between.run.before(end))

    def run_claims(self, start: At, end: At) -> None:
        """The episode that is about to begin has this interval."""
        with self._lock:
            if self._between.run is not None:
                self._between.run.claims = (start, end)

    def run_settles(self, frontier: At) -> None:
        """All ends of episodes that are to come are behind `frontier`."""
        with self._lock:
            if self._between.run is not None:
                self._between.run.settle(frontier)

    def replaced(self, episode: UUID, ordinal: int, before: Mapping[str, Account], after: Mapping[str, Tally]) -> None:
        """What an episode of this spool had stored has another fate now: `after`, here or between."""
        with self._lock:
            if self._open.pop(episode, None) is None:
                if ordinal < self._first_ordinal:
                    return
                withdraw(self._settled, {stream: Tally.of(account) for stream, account in before.items()})
            merge(self._settled, after)

    @contextmanager
    def changing(self) -> Iterator[Between]:
        """What is between, to be changed and made durable as one: without an error the change holds."""
        with self._lock:
            draft = self._between.copy()
            yield draft
            self._between = draft

    def totals(self) -> dict[str, Account]:
        """What became of every sample of this run, by stream; what is still held is captured alone."""
        with self._lock:
            with self._entering:
                found: Place = {stream: Tally() for stream in self._captured}
            for place in (self._settled, *self._open.values()):
                merge(found, place)
            with self._entering:  # after the places: what has one has entered
                captured = dict(self._captured)
        return {
            stream: msgspec.structs.replace(tally.account(), captured=captured.get(stream, 0))
            for stream, tally in found.items()
        }

    def held(self) -> dict[str, int]:
        """How many samples of each stream have no fate yet; none, once everything has ended."""
        held = {stream: Tally.of(account).held for stream, account in self.totals().items()}
        return {stream: n for stream, n in held.items() if n}
