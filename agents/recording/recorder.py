"""The recorder: every sample of a device goes to the episode whose interval holds its stamp, or its fate is counted."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import UUID

from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.episode_writer import EpisodeWriter
from sensorium.agents.recording.fitting import fit, kept_waits, may_place, overfull
from sensorium.agents.recording.fleet_holding import Follower
from sensorium.agents.recording.full_spool import FullSpool
from sensorium.agents.recording.notes import Notes
from sensorium.agents.recording.piece import Piece
from sensorium.agents.recording.placing import MAX_EPISODE_BYTES, MAX_EPISODE_NS, Placing
from sensorium.agents.recording.portion import Portion
from sensorium.agents.recording.sealing import Sealing
from sensorium.agents.recording.stream_state import BEFORE_ALL, StreamState
from sensorium.agents.spool.runs import Run
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.trigger import Command, EpisodeSpan, Trigger
from sensorium.drivers.marks import Mark, SourceNote
from sensorium.drivers.media import Media
from sensorium.drivers.stream import Block
from sensorium.episode.account import Tally
from sensorium.episode.documents import Open, Reason, StreamEntry
from sensorium.errors import SpoolError

log = logging.getLogger(__name__)

GRACE_NS = 1_000_000_000


class Recorder:
    """Takes filtered blocks, fills and seals episodes in a spool. One thread calls it; it never reads a clock.

    Args:
        manifest: An OPEN for everything but episode, ordinal, interval and `between`, which are filled in here.
        grace_ns: How long after its end an episode waits for silent streams, by the `now_ns` given to `tick`; None
            for replays and worlds, which wait as long as it takes.
        max_episodes: Samples after the last of these are counted as filtered by `stop`.
        run: What is known of the replay, if it is one: what was recorded of it before is passed over.
        previews: Of each episode a small one, or whoever holds what the fleet has.
    """

    def __init__(
        self,
        spool: Spool,
        trigger: Trigger,
        manifest: Open,
        *,
        grace_ns: int | None = GRACE_NS,
        max_episode_ns: int = MAX_EPISODE_NS,
        max_episode_bytes: int = MAX_EPISODE_BYTES,
        max_episodes: int | None = None,
        run: Run | None = None,
        pool: EncoderPool,
        previews: Follower | None = None,
    ) -> None:
        self._spool = spool
        self._trigger = trigger
        self._grace_ns = grace_ns
        self._pool = pool
        self.account = spool.account
        self.streams = {entry.spec.name: StreamState(entry, self.account) for entry in manifest.streams}
        self.portion = Portion(spool, run, self.streams.values())
        for name in self.streams:
            self.account.enter(name, 0)  # so that one that delivers nothing is said to
        self.episodes = Placing(
            spool,
            manifest,
            [state.absence for state in self.streams.values()],
            self._passed,
            max_episode_ns=max_episode_ns,
            max_episode_bytes=max_episode_bytes,
            max_episodes=max_episodes,
            begin=self.portion.begin,
            previews=previews,
        )
        self._full = FullSpool(spool)
        self.notes = Notes(self.episodes, trigger.place, lambda error: self._full.failed(error, self.episodes))
        self._unheeded: set[str] = set()
        self._commanded = False
        self.epoch = 0
        self._now_ns = BEFORE_ALL
        self._sealing = Sealing(spool, self.episodes, self.streams, self.notes, self._full, self.portion)

    def add(self, stream: str, block: Block | None, dropped: Tally, span_ns: tuple[int, int] | None) -> Block | None:
        """Take one block; returns the rows for which the spool has no room, to be added when it has (nothing dropped).

        Args:
            stream: The stream's name.
            block: What filters left of the block captured, None if nothing.
            dropped: What they dropped of it.
            span_ns: First and last stamp of the block captured, None if it had no samples.
        """
        state = self.streams[stream]
        rest = None
        if span_ns is not None:
            if span_ns[0] < state.passed_ns:
                self._clock_reset(state)
            elif state.epoch < self.epoch and span_ns[1] >= self.episodes.end_ns(state.epoch):
                state.join(self.epoch)
            state.absence.delivers(span_ns[0], (0 if block is None else len(block)) + dropped.captured)
        if block is not None and len(block):
            others = () if self._trigger.waits_raw else self.streams.values()
            block, rest = fit(block, state, self._full, self.episodes, others)
        if block is not None and block.lost_before:
            told_ns = state.passed_ns if block.lost_at_ns is None else block.lost_at_ns
            self.portion.count(state, state.missed(block), told_ns if span_ns is None else span_ns[0] - 1)
        if dropped:
            self.portion.count(state, dropped, state.passed_ns if span_ns is None else span_ns[0])
        if span_ns is not None:
            state.passed_ns = max(state.passed_ns, span_ns[1] if rest is None else int(rest.captured_ns[0]))
        if block is not None and len(block):
            state.put_rows(block.undecoded() if self._trigger.waits_raw else block)
            if state.epoch == self.epoch:
                self._trigger.observe(block)
        if span_ns is not None and state.epoch == self.epoch:
            self._trigger.passed(stream, state.passed_ns)
        self._settle()
        return rest

    def join(self, entries: Sequence[StreamEntry], absent: Mapping[str, str], since_ns: int, now_ns: int) -> None:
        """Streams of a sensor that came late: episodes that begin from now on have them, and are told who is `absent`.

        What it missed since `since_ns`, when all began, until `now_ns` is lost, and how much that was is not known.
        """
        for entry in entries:
            state = self.streams[entry.spec.name] = StreamState(entry, self.account)
            state.epoch = self.epoch
            self.account.enter(entry.spec.name, 0)
            missed = Tally(estimated=True, lost_interval_ns=(since_ns, max(since_ns, now_ns)))
            self.account.between(entry.spec.name, missed)
            self.episodes.join(entry, state.absence)
        self.episodes.tell_absent(absent)

    def replace_trigger(self, trigger: Trigger) -> None:
        """Have another trigger decide on what comes; what was decided stands."""
        self._settle()
        self.episodes.begin_after(self.epoch, max((s.passed_ns for s in self.streams.values()), default=BEFORE_ALL))
        self._trigger, self.notes.place = trigger, trigger.place
        self.episodes.causes.tell(self.epoch, trigger)
        for name, state in self.streams.items():
            if state.ended or state.away:
                trigger.ended(name)

    def sensor_away(self, stream: str) -> None:
        """Its sensor is gone and may come back: others do not wait for it, what it misses is estimated by its rate."""
        state = self.streams[stream]
        state.absence.end(self.episodes)
        state.away = True
        if state.passed_ns > BEFORE_ALL:
            state.absence.begin(state.epoch, self.portion.from_ns(state.epoch, state.passed_ns + 1))
        self._trigger.ended(stream)
        self._settle()

    def sensor_ended(self, stream: str) -> None:
        """This stream delivers no more."""
        self.streams[stream].ended = True
        self._trigger.ended(stream)
        self._settle()

    def sensor_failed(self, stream: str) -> None:
        """This stream delivers no more, by an error: what it misses is estimated while anything is recorded."""
        self.streams[stream].failed = True
        self.sensor_away(stream)
        self.sensor_ended(stream)

    def sensor_back(self, stream: str) -> None:
        """Its sensor is back."""
        self.streams[stream].away = False

    def count(self, stream: str, counts: Tally, at_ns: int | None = None) -> None:
        """Samples of `stream` were dropped or lost on the device, at a stamp, or just after the last that it delivered.

        They are counted in the episode that holds that stamp; counts alone begin none.
        """
        state = self.streams[stream]
        self.portion.count(state, counts, state.passed_ns if at_ns is None else at_ns)
        self._settle()

    def command(self, name: Command, outcome: str, at_ns: int | None) -> None:
        """Pass a word on to the trigger, at a stamp of the device's clock (None: after all that was seen)."""
        if at_ns is None:
            at_ns = max((state.passed_ns for state in self.streams.values()), default=0) + 1
        self._commanded = True
        if not self._trigger.command(name, outcome, at_ns) and name != "close":
            log.warning("%s: this trigger takes no commands; use `trigger: {kind: manual}`", name)

    def mark(self, sensor: str, mark: Mark) -> None:
        """Pass on to the trigger where a source says that an episode begins or ends."""
        if not self._trigger.mark(sensor, mark) and sensor not in self._unheeded:
            self._unheeded.add(sensor)
            log.warning("sensor %r marks episodes; the trigger that heeds it is `trigger: {kind: source}`", sensor)
        self._settle()

    def note(self, note: SourceNote) -> None:
        """Keep what a source noted until an episode holds its start, or none can any more."""
        if self.portion.holds(self.epoch, note.start_ns):
            self.notes.put(self.epoch, note)
        self._settle()

    def count_unheard(self, n: int) -> None:
        """`n` marks or notes were lost on their way here."""
        self.notes.dropped += n

    def tick(self, now_ns: int | None) -> None:
        """Write what is encoded, and seal what is due (at `now_ns` of the device's clock, for live sensors)."""
        for episode in self.episodes:
            if episode.has_unwritten:
                with self._writing():
                    episode.flush(wait=False)
        self._now_ns = self._now_ns if now_ns is None else now_ns
        if now_ns is not None or self.full or self._commanded:  # else all was settled when it came
            self._commanded = False
            self._settle(now_ns)

    def persist(self) -> None:
        """Make durable what became of samples that are in no episode."""
        self._full.persist(self.episodes)

    def stop(self, *, for_good: bool = True) -> None:
        """No more samples will come: place what waits, seal everything. Not `for_good`: to another recorder they do."""
        self.command("close", "", None)
        for name in self.streams:
            self._trigger.ended(name)
        self._settle()
        self._drop_queues()
        self._full.insist(lambda: self.seal_all("truncated"), self.episodes)
        self.notes.stop()
        self._sealing.end_absences(self._now_ns)
        self.persist()
        for name, n in self.account.held().items() if for_good and not self.episodes else ():
            log.error("account of %r: %d samples have no fate; this is a mistake of Sensorium's", name, n)

    def give_up(self) -> None:
        """The run cannot go on: seal what is open, lose what is held, and make that durable."""
        self.portion.give_up()
        self._sealing.give_up()
        self._sealing.end_absences(self._now_ns)
        self.persist()

    def seal_all(self, reason: Reason) -> None:
        """End what is open now; `reason` is for those that some stream has not passed."""
        self._sealing.seal_all(reason)

    @property
    def sealed(self) -> list[UUID]:
        """The episodes that were sealed, in that order."""
        return self._sealing.sealed

    @property
    def full(self) -> str:
        """Why the spool takes nothing; empty if it does."""
        return self._full.reason

    @property
    def waits(self) -> bool:
        """Whether something that is to be kept waits for room."""
        return bool(self.full) and kept_waits(self.streams.values(), self._trigger)

    def _settle(self, now_ns: int | None = None) -> None:
        """Place all that the trigger has decided, then seal what is complete."""
        was_full = self.full
        self._release_all()
        if was_full and not self.full:
            self._release_all()  # of what waited for room nothing may be late
        self.notes.settle(self.epoch)
        for episode in self.episodes.in_order():
            if not episode.final:
                continue
            late = now_ns is not None and self._grace_ns is not None and now_ns - episode.end_ns >= self._grace_ns
            if late or self.episodes.crowded or self._passed(episode.epoch, episode.end_ns):
                self._sealing.seal(episode, "clock_reset" if episode.reset else "complete")
        self.episodes.settle()
        self.portion.settle(self.episodes)

    def _passed(self, epoch: int, end_ns: int) -> bool:
        """Whether every stream is past a stamp or away; if all that could be are away, they are waited for."""
        anybody = False
        for state in self.streams.values():
            if state.ended or not state.away:
                if not state.passed(epoch, end_ns):
                    return False
                anybody = True
        return anybody

    def _release_all(self) -> None:
        for name, state in self.streams.items():
            if state.ring.pieces:
                self._release(name, state)

    def _release(self, name: str, state: StreamState) -> None:
        while state.ring.pieces:
            piece = state.ring.head
            placed = self._trigger.place(piece.at_ns)
            if not placed.decided:
                for waiting in state.ring.unencoded() if state.by_frame and not self._trigger.waits_raw else ():
                    self._encode(state, waiting)
                self._bound_ring(state)
                return
            ours = self.portion.holds(state.epoch, piece.at_ns)
            kept = ours and len(piece) and placed.span
            if kept and not may_place(piece, state, self._full, self.episodes, raw=self._trigger.waits_raw):
                return
            state.ring.take()
            until_ns = self.portion.until_ns(state.epoch, piece.at_ns, placed.until_ns)
            if 0 < (n := piece.rows_before(until_ns)) < len(piece):
                piece, rest = piece.split(n)
                state.ring.put_back(rest)
            if placed.span is None or not ours:
                self.portion.drop(state, piece, placed.rule)
            elif piece.counts is not None:
                self.episodes.count(name, state.epoch, piece.at_ns, placed.until_ns, piece.counts)
            else:
                self._place(name, state, piece, placed.span)
            if len(piece):  # only now: the episode that it came back in begins before it
                state.absence.end(self.episodes)

    def _place(self, name: str, state: StreamState, piece: Piece, span: EpisodeSpan) -> None:
        rest: Piece | None = piece
        while rest is not None:
            episode = self._episode(state.epoch, rest.at_ns, span)
            if isinstance(episode, str):
                self.portion.drop(state, rest, episode)
                return
            head, n = rest, rest.rows_before(episode.end_ns)
            head, rest = rest.split(n) if 0 < n < len(rest) else (rest, None)
            if name not in episode.place:  # its sensor came after it had begun
                self.portion.drop(state, head, "absent")
                continue
            self.episodes.look(episode, name, head)
            self._encode(state, head)
            with self._writing():
                episode.add(name, head)
                if episode.too_large:
                    episode.cut()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Where there is no room for what is written, the loss is counted, and all that is open ends."""
        try:
            yield
        except SpoolError as error:
            self._full.failed(error, self.episodes)

    def _encode(self, state: StreamState, piece: Piece) -> None:
        if piece.encoded is None and len(piece) and state.by_frame:
            content = piece.content
            if not self.portion.holds(state.epoch, piece.at_ns):
                pass  # nobody writes it
            elif isinstance(content, Media) and state.stores(content):
                (piece.encoded,) = content.items
            else:
                piece.encoded = self._pool.submit(state.encode, content)
            # A copy: even an empty part of an array keeps all of it.
            piece.content = content[:0].undecoded() if isinstance(content, Media) else content[:0].copy()

    def _episode(self, epoch: int, at_ns: int, span: EpisodeSpan) -> EpisodeWriter | str:
        """The open episode that holds `at_ns`, a new one, or why there is none (the rule or cause to count under)."""
        try:
            return self.episodes.place(epoch, at_ns, span, past=epoch < self.epoch)
        except SpoolError as error:
            self._full.failed(error, self.episodes)
            return "spool_full"

    def _bound_ring(self, state: StreamState) -> None:
        if self._trigger.waits_raw and state.epoch == self.epoch:
            return  # it bounds them itself
        while (largest := overfull(state, self.streams.values())) is not None:
            self.portion.drop(largest, largest.ring.take(), "trigger")

    def _clock_reset(self, state: StreamState) -> None:
        """The stream's stamps stepped back: it goes on in a new epoch; what is open ends with the old one."""
        if state.joined:
            state.begin_anew()
            return
        log.warning("clock reset: stream %r stepped back; a new episode begins", state.entry.spec.name)
        for episode in self.episodes:
            if episode.epoch == state.epoch and not state.passed(episode.epoch, episode.end_ns):
                episode.reset = True
        if state.epoch == self.epoch:
            self._trigger.finish()
        self._settle()
        self._drop_queue(state)
        state.begin_anew()
        if state.epoch > self.epoch:
            self.epoch = state.epoch
            self._drop_queues()
            self._trigger.reset()

    def _drop_queues(self) -> None:
        """No event can claim what still waits."""
        for state in self.streams.values():
            self._drop_queue(state)

    def _drop_queue(self, state: StreamState) -> None:
        while state.ring:
            self.portion.drop(state, state.ring.take(), "spool_full" if self.full else "trigger")
