"""The portion of a replay that a run records: all of it, or what lies behind the end that it had come to before."""

from collections.abc import Collection, Iterable

from sensorium.agents.recording.episode_writer import EpisodeWriter
from sensorium.agents.recording.piece import Piece, counts_alone
from sensorium.agents.recording.stream_state import BEFORE_ALL, StreamState
from sensorium.agents.spool.runs import Position, Run
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.trigger import FOREVER_NS
from sensorium.episode.account import Tally
from sensorium.episode.run_counts import NOTHING, At

ALL: At = (FOREVER_NS, FOREVER_NS)


class Portion:
    """Filters and trigger see all that is read, as the first time; what is not of the portion is not counted.

    Args:
        spool: Where the run's episodes are.
        run: What is known of it, as it was taken up; None of live sensors, whose portion is all.
        streams: How far each has come.
    """

    def __init__(self, spool: Spool, run: Run | None, streams: Collection[StreamState]) -> None:
        self._spool = spool
        self._streams = streams
        self._known = run is not None
        position = None if run is None else run.position
        self.begin: At = NOTHING if position is None else position.end
        self._end = ALL
        self._passed = {} if position is None else position.passed

    def holds(self, epoch: int, at_ns: int) -> bool:
        """Whether what has this stamp is of the portion."""
        return self.begin <= (epoch, at_ns) < self._end

    def until_ns(self, epoch: int, at_ns: int, until_ns: int) -> int:
        """How far what begins at a stamp has a fate in common, if that is `until_ns` as far as the trigger goes."""
        for border in (self.begin, self._end):
            if (epoch, at_ns) < border and epoch == border[0]:
                return min(until_ns, border[1])
        return until_ns

    def from_ns(self, epoch: int, from_ns: int) -> int:
        """From where on what is missing counts."""
        return max(from_ns, self.begin[1]) if epoch == self.begin[0] else from_ns

    def ends(self) -> None:
        """It ends behind all that has come of it; what follows is for whoever takes the run up."""
        if self._known and self._end == ALL:
            epoch, last_ns = max((stream.epoch, stream.passed_ns) for stream in self._streams)
            self._end = (epoch, last_ns + 1)

    @property
    def is_reached(self) -> bool:
        """Whether something of it may have come."""
        return self.begin == NOTHING or any((s.epoch, s.passed_ns) >= self.begin for s in self._streams)

    @property
    def is_read(self) -> bool:
        """Whether all of it has come, of every stream that is there, once it has an end."""
        return not self._known or all(s.ended or s.away or s.passed(*self._end) for s in self._streams)

    def drop(self, state: StreamState, piece: Piece, why: str) -> None:
        """No episode takes a piece, for a rule or cause; or it is not of this portion, and counted nowhere.

        What had not come when the run was ended, though an episode that ends behind it was sealed, is lost.
        """
        counts = Tally() if piece.counts is None else piece.counts
        stream, at = state.entry.spec.name, (state.epoch, piece.at_ns)
        missed = at < self.begin and stream in self._passed and self._passed[stream] < at
        if self.holds(*at) or missed:
            counts.count("late" if missed else why, len(piece))
            self._spool.account.between(stream, counts, at)
        else:
            self._spool.account.disown(stream, len(piece) + counts.captured)

    def count(self, state: StreamState, counts: Tally, at_ns: int) -> None:
        """Have counts placed in their turn; of a stream that never delivered nothing tells when they were lost."""
        stream = state.entry.spec.name
        if counts and at_ns > BEFORE_ALL:
            state.ring.put(counts_alone(max(at_ns, state.passed_ns), counts))
        elif counts and self.begin == NOTHING:
            self._spool.account.between(stream, counts)
        else:
            self._spool.account.disown(stream, counts.captured)

    def seals(self, episode: EpisodeWriter) -> None:
        """An episode is about to be sealed: with it the run has come to its end."""
        if not self._known:
            return
        end = (episode.epoch, episode.end_ns)
        passed = {s.entry.spec.name: (s.epoch, s.passed_ns) for s in self._streams if not s.passed(*end)}
        counted = self._spool.account.run_before(end)
        position = Position(resets=episode.epoch, until_ns=episode.end_ns, counted=counted, passed=passed)
        self._spool.runs.reaches(episode.id, position)

    def give_up(self) -> None:
        """What is sealed from now on is not whole: whoever takes the run up records it anew."""
        self._known = False

    def settle(self, episodes: Iterable[EpisodeWriter]) -> None:
        """No episode that is still to be sealed ends before all that is open, waits or is to come."""
        if self._known:
            begun = [(episode.epoch, episode.start_ns) for episode in episodes]
            here = [s for s in self._streams if s.ring or not s.ended]
            waits = [(s.epoch, s.ring.head.at_ns if s.ring else s.passed_ns) for s in here]
            self._spool.account.run_settles(min([*begun, *waits], default=ALL))
