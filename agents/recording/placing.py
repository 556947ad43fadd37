"""Placing: which open episode holds a stamp, and where a new one begins and at the latest ends."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from uuid import UUID

import msgspec
import uuid_utils

from sensorium.agents.recording.absence import Absence
from sensorium.agents.recording.causes import Causes
from sensorium.agents.recording.episode_writer import EpisodeWriter, StoredForm
from sensorium.agents.recording.fleet_holding import Follower
from sensorium.agents.recording.piece import Piece
from sensorium.agents.recording.stream_state import BEFORE_ALL
from sensorium.agents.recording.unclaimed import Unclaimed
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.trigger import EpisodeSpan
from sensorium.episode.account import Place, Tally
from sensorium.episode.documents import Account, Open, StreamEntry
from sensorium.episode.run_counts import NOTHING, At

MAX_EPISODE_NS = 60_000_000_000
MAX_EPISODE_BYTES = 256_000_000
MAX_OPEN = 64


class Placing:
    """The open episodes. Those of one epoch are disjoint: each begins where the one before it ends, or later.

    Args:
        manifest: An OPEN for everything but episode, ordinal, interval and `between`, which are filled in here.
        absences: Of every stream; what was missed before an episode begins is told in its OPEN.
        passed: Whether no sample before a stamp of an epoch can come any more, as far as order tells.
        max_episodes: None is begun after so many.
        begin: What lies before this moment is recorded already.
        previews: Of each episode a small one, or whoever holds what the fleet has.
    """

    def __init__(
        self,
        spool: Spool,
        manifest: Open,
        absences: Iterable[Absence],
        passed: Callable[[int, int], bool],
        *,
        max_episode_ns: int = MAX_EPISODE_NS,
        max_episode_bytes: int = MAX_EPISODE_BYTES,
        max_episodes: int | None = None,
        begin: At = NOTHING,
        previews: Follower | None = None,
    ) -> None:
        self._spool = spool
        self._manifest = manifest
        self._absences = list(absences)
        self._passed = passed
        self._unclaimed = Unclaimed(spool.account)
        self._max_episode_ns = max_episode_ns
        self._max_episode_bytes = max_episode_bytes
        self._max_episodes = max_episodes
        self._forms = [StoredForm(entry) for entry in manifest.streams]
        self._open: list[EpisodeWriter] = []
        self._sealed_until = dict([begin])
        self._previews = previews
        self.causes = Causes()
        self.created = 0

    def __iter__(self) -> Iterator[EpisodeWriter]:
        return iter(list(self._open))

    def __len__(self) -> int:
        return len(self._open)

    @property
    def crowded(self) -> bool:
        """Whether more are open than streams that are far apart are worth."""
        return len(self._open) > MAX_OPEN

    def in_order(self) -> list[EpisodeWriter]:
        """Those that are open, the earlier first."""
        if len(self._open) < 2:
            return list(self._open)
        return sorted(self._open, key=lambda episode: (episode.epoch, episode.start_ns))

    def at(self, epoch: int, at_ns: int) -> EpisodeWriter | None:
        """The open episode that holds `at_ns`."""
        for episode in self._open:  # asked for every block
            if episode.epoch == epoch and episode.start_ns <= at_ns < episode.end_ns:
                return episode
        return None

    def end_ns(self, epoch: int) -> int:
        """Where the last open episode ends."""
        return max((e.end_ns for e in self._open if e.epoch == epoch), default=BEFORE_ALL)

    def place(self, epoch: int, at_ns: int, span: EpisodeSpan, *, past: bool) -> EpisodeWriter | str:
        """The open episode that holds `at_ns`, a new one in `span`, or why there is none: a rule, or a cause of loss.

        Args:
            past: Whether the clock was set back since: no episode begins in that time any more.

        Raises:
            SpoolError: a new one has no room.
        """
        if (found := self.at(epoch, at_ns)) is not None:
            return "late" if found.closing else found
        mine = [episode for episode in self._open if episode.epoch == epoch]
        sealed_until = self._sealed_until.get(epoch, BEFORE_ALL)
        if at_ns < sealed_until or past:
            return "late"
        if self._max_episodes is not None and self.created >= self._max_episodes:
            return "stop"
        before_ns, behind_ns = self.causes.around(epoch, at_ns)
        start_ns = max([span.start_ns, sealed_until, before_ns, *(e.end_ns for e in mine if e.end_ns <= at_ns)])
        limit_ns = min([start_ns + self._max_episode_ns, behind_ns, *(e.start_ns for e in mine if e.start_ns > at_ns)])
        while limit_ns <= at_ns:  # nothing was captured for longer than an episode may last
            start_ns, limit_ns = limit_ns, limit_ns + self._max_episode_ns
        return self._begin(epoch, span, start_ns, limit_ns)

    def cause(self, epoch: int, at_ns: int, proposal: str, on_the_way: bool = False) -> int:
        """From a stamp on, or from where what is open has come to, a proposal is the cause of episodes (empty: none
        is), if only of the way: no episode lies on both sides. What was said of later stamps is taken back. Returns
        that stamp."""
        here = [episode for episode in self._open if episode.epoch == epoch]
        at_ns = max([at_ns, self._sealed_until.get(epoch, BEFORE_ALL), *(e.last_ns + 1 for e in here)])
        for episode in here:
            if episode.start_ns < at_ns:
                episode.limit_ns = min(episode.limit_ns, at_ns)
        self.causes.put(epoch, at_ns, proposal, on_the_way)
        return at_ns

    def join(self, entry: StreamEntry, absence: Absence) -> None:
        """Episodes that begin from now on have this stream too."""
        self._manifest = msgspec.structs.replace(self._manifest, streams=(*self._manifest.streams, entry))
        self._forms.append(StoredForm(entry))
        self._absences.append(absence)

    def tell_absent(self, absent: Mapping[str, str]) -> None:
        """Episodes that begin from now on say of these sensors why they are not there."""
        self._manifest = msgspec.structs.replace(self._manifest, absent=dict(absent))

    def begin_after(self, epoch: int, stamp_ns: int) -> None:
        """None begins at or before this stamp any more."""
        if stamp_ns > BEFORE_ALL:
            self._sealed_until[epoch] = max(self._sealed_until.get(epoch, BEFORE_ALL), stamp_ns + 1)

    def count(self, stream: str, epoch: int, at_ns: int, until_ns: int, tally: Tally) -> None:
        """Count what was dropped or lost at `at_ns`, in the open episode that holds it, or in one that is yet to begin
        before `until_ns`, else between. Counts alone begin no episode."""
        episode = self.at(epoch, at_ns)
        if episode is not None and not episode.closing:
            self._count_in(episode, stream, tally)
        else:
            self._unclaimed.put(stream, epoch, at_ns, until_ns, tally)

    def _count_in(self, episode: EpisodeWriter, stream: str, tally: Tally) -> None:
        """Of a stream that came after the episode had begun, it says nothing."""
        if stream in episode.place:
            episode.place[stream].add(tally)
        else:
            self._spool.account.between(stream, tally)

    def settle(self) -> None:
        """Leave between what no episode can claim any more."""
        self._unclaimed.settle(self.is_over)

    def is_over(self, epoch: int, at_ns: int, until_ns: int) -> bool:
        """Whether no episode that holds `at_ns` can begin any more, before `until_ns`."""
        return at_ns < self._sealed_until.get(epoch, BEFORE_ALL) or self._passed(epoch, until_ns)

    def look(self, episode: EpisodeWriter, stream: str, piece: Piece) -> None:
        """A piece is about to be added to an episode."""
        episode.look(stream, piece)
        if self._previews is not None:
            self._previews.look(episode, stream, piece)

    def sealed(self, episode: EpisodeWriter) -> None:
        """It is open no more; what comes for it is late."""
        self._open.remove(episode)
        self.causes.sealed(episode.file.manifest.proposal, episode.file.written)
        if self._previews is not None:
            self._previews.seal(episode)
        until_ns = self._sealed_until.get(episode.epoch, BEFORE_ALL)
        self._sealed_until[episode.epoch] = max(until_ns, episode.end_ns)

    def _begin(self, epoch: int, span: EpisodeSpan, start_ns: int, limit_ns: int) -> EpisodeWriter:
        identity = UUID(bytes=uuid_utils.uuid7().bytes)
        for absence in self._absences:
            absence.end(self._open, start_ns)
        self.settle()
        end_ns, labels = min(span.end_ns, limit_ns), {**self._manifest.labels, **span.labels}
        proposal = self.causes.of(epoch, start_ns)

        def manifest(ordinal: int, between: dict[str, Account]) -> Open:
            return msgspec.structs.replace(
                self._manifest,
                episode=identity.bytes,
                ordinal=ordinal,
                start_ns=start_ns,
                end_ns=end_ns,
                base_ns=span.base_ns,
                between=between,
                labels=labels,
                proposal=proposal,
            )

        claimed = self._unclaimed.held_by(epoch, start_ns, end_ns)
        self._spool.account.run_claims((epoch, start_ns), (epoch, end_ns))
        file = self._spool.create(manifest, kept=self._unclaimed.all(), claimed=claimed)
        self._unclaimed.claimed(epoch, start_ns, end_ns)
        place: Place = {entry.spec.name: Tally() for entry in self._manifest.streams} | claimed
        self._spool.account.begin(identity, place)
        episode = EpisodeWriter(file, span, epoch, start_ns, limit_ns, self._max_episode_bytes, place, self._forms)
        self._open.append(episode)
        if self._previews is not None:
            self._previews.begin(episode, self._forms)
        self.created += 1
        return episode
