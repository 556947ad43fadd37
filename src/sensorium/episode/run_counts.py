"""What a run has counted between, by where in its recording: who takes the run up counts anew what lies behind."""

from collections.abc import Mapping

from sensorium.episode.account import Place, Tally, copied, merge, withdraw

At = tuple[int, int]
"""A moment of a recording: how often its clock had been set back, and the stamp, ns."""

NOTHING: At = (-1, -(2**63))
"""Before any moment."""
MAX_AHEAD = 1 << 16


class RunCounts:
    """Those before a moment that no later end of an episode can precede are kept as one.

    Args:
        run: What the run is known by.
        before: What it had counted up to where it was taken up.
    """

    def __init__(self, run: str, before: Mapping[str, Tally]) -> None:
        self.run = run
        self._settled: Place = copied(before)
        self._ahead: list[tuple[str, At, Tally]] = []
        self.claims: tuple[At, At] = (NOTHING, NOTHING)
        """The interval of the episode that takes something over next, or did so last."""

    def count(self, stream: str, at: At | None, tally: Tally) -> None:
        """More of a stream is between; None: before all."""
        if at is None:
            merge(self._settled, {stream: tally})
            return
        self._ahead.append((stream, at, tally.copy()))
        if len(self._ahead) > MAX_AHEAD:  # a stream is far ahead of the others: what is oldest is told no more apart
            self._fold(sorted(at for _, at, _ in self._ahead)[MAX_AHEAD // 2])

    def settle(self, frontier: At) -> None:
        """All ends of episodes that are to come are behind `frontier`."""
        if self._ahead:
            self._fold(frontier)

    def take_back(self, place: Mapping[str, Tally]) -> None:
        """An episode takes these over."""
        kept = []
        start, end = self.claims
        for stream, at, tally in self._ahead:
            if stream in place and start <= at < end:
                merge(self._settled, {stream: tally})
            else:
                kept.append((stream, at, tally))
        self._ahead = kept
        withdraw(self._settled, place)

    def before(self, end: At) -> Place:
        """What was counted of what lies before a moment."""
        place = copied(self._settled)
        for stream, at, tally in self._ahead:
            if at < end:
                merge(place, {stream: tally})
        return place

    def whole(self) -> Place:
        """All of it."""
        place = copied(self._settled)
        for stream, _, tally in self._ahead:
            merge(place, {stream: tally})
        return place

    def copy(self) -> "RunCounts":
        """As it is now."""
        other = RunCounts(self.run, self._settled)
        other._ahead, other.claims = list(self._ahead), self.claims
        return other

    def _fold(self, frontier: At) -> None:
        kept = []
        for stream, at, tally in self._ahead:
            if at < frontier:
                merge(self._settled, {stream: tally})
            else:
                kept.append((stream, at, tally))
        self._ahead = kept
