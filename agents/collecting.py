"""Collecting: one loop that takes what the sensors deliver through filters and recorder into the spool."""

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from sensorium.agents.capture.arrival import Arrival
from sensorium.agents.capture.intake import Intake
from sensorium.agents.capture.overlap import Overlap
from sensorium.agents.handover import GRACE_S, Handover
from sensorium.agents.line import Lines, Parts, RecordingLine
from sensorium.agents.orders import Orders
from sensorium.agents.planned import Planned
from sensorium.agents.recording.stream_state import BEFORE_ALL
from sensorium.agents.sensors import Sensors
from sensorium.agents.spool.runs import Position, Run
from sensorium.drivers.clock import boottime_ns
from sensorium.episode.account import Tally
from sensorium.episode.trace import PREFIX
from sensorium.errors import ConfigError, SensoriumError
from sensorium.threads import Told, reason

log = logging.getLogger(__name__)

STEP_S = 0.05
PERSIST_S = 1.0
AFTER_READERS_S, AFTER_QUEUES_S = 2.5, 2.0
"""Where all has to end by a time: what of it is left for what comes after the readers, and after what they queued."""
LEVEL_S = 1.0
"""How long the streams of a replay that is stopped may take to come as far as each other."""


@dataclass
class _Before:
    """What lines before the present one have begun and sealed."""

    created: int = 0
    sealed: int = 0


class Collecting:
    """One thread calls it, but for `status`.

    Args:
        sensors: Open; this closes them.
        line: What becomes of their samples; `lines` makes others, by other settings.
        episodes: Stop after so many.
        run: What is known of the replay, if it is one and can be taken up again.
        died: Who is told of the death of a thread.
        plans: What planners have it do, if they may.
    """

    def __init__(
        self,
        sensors: Sensors,
        line: RecordingLine,
        lines: Lines,
        *,
        episodes: int | None,
        run: Run | None = None,
        died: Told,
        plans: Planned | None = None,
    ) -> None:
        self._sensors = sensors
        self._line = line
        self._lines = lines
        self._before = _Before()
        self._handover: Handover | None = None
        self._spool = lines.spool
        self._onlookers = lines.onlookers
        self._episodes = episodes
        self._run = run
        self._plans = plans
        self._persist_due_s = 0.0
        self._begun_ns = 0
        self._taken_until_ns = 0
        self._overlap = Overlap() if sensors.clock.kind == "recording" else None
        self._intake = Intake(sensors.drivers, sensors.reopen, self._spool.account, live=sensors.live, died=died)

    def start(self) -> None:
        """Begin to read the sensors."""
        self._begun_ns = boottime_ns()
        if not self._finished_before:
            self._intake.start()

    def run(self, orders: Orders, seconds: float | None) -> list[str]:
        """Collect until the sources end, enough was collected, or told to stop, and seal what is open.

        Returns what is wrong at the end, a clause for each: with sensors, and that the spool takes nothing.
        """
        if self._finished_before:
            return []
        deadline_s = None if seconds is None else time.monotonic() + seconds
        while not (orders.stopped() or self._exhausted or self._enough):
            if deadline_s is not None and time.monotonic() >= deadline_s and self._line.recorder.portion.is_reached:
                break
            self.step(orders)
        orders.end_changes()
        if self._plans is not None:
            self._plans.end()
        self._hand_over_now()
        exhausted = self._exhausted
        self._come_level()
        self._intake.stop(lambda: orders.left_s() < AFTER_READERS_S)
        self._obey(orders)
        while (arrival := self._intake.take(0)) is not None:
            if arrival.change == "opened":
                continue  # nothing of it was read
            if not self._live:  # what a replay has read ahead can be read again
                self._spool.account.disown(arrival.stream, arrival.captured)
            elif orders.left_s() > AFTER_QUEUES_S:
                self._line.pipeline.accept(arrival)
            else:
                self._line.pipeline.lose(arrival)
        self._line.pipeline.finish()
        self._line.joining.trigger.close()
        self._end_trace()
        self._tell_never_there()
        self._spool.flush()
        if self._run is not None:
            self._spool.runs.end(self._run.run, finished=exhausted and not self.complaints())
        wrong, full = self.complaints(), self._line.recorder.full
        recorded = ["what came before it, and from others, is recorded"] if wrong else []
        return [*wrong, *recorded, *([f"nothing more was recorded: {full}"] if full else [])]

    def complaints(self) -> list[str]:
        """What is wrong with sensors, a clause for each that is away or was ended by an error."""
        failed = [f"sensor {name!r} failed: {why}" for name, why in self._intake.failures.items()]
        return failed + [f"sensor {name!r} is away: {why}" for name, why in self._intake.away.items()]

    def give_up(self) -> None:
        """End where `run` cannot go on, or a thread has died: what has no fate yet is lost, what is open is sealed."""
        self._intake.stop()
        self._end_trace()
        self._line.recorder.give_up()
        self._spool.flush()

    def step(self, orders: Orders) -> None:
        """Obey, take one arrival to where it belongs, and do what is due; waits a moment where nothing comes."""
        self._obey(orders)
        self._change(orders)
        if self._plans is not None:
            self._plans.go_on(self._intake, self._line)
        if self._line.pipeline.must_wait:
            if not self._line.pipeline.retry():
                orders.stopped(2 * STEP_S)
        elif self._take():
            self._take_at_hand()
        elif not self._line.pipeline.retry() and self._intake.exhausted:
            # All that is to come waits for room, which what is open has: a stream whose clock was set back is ahead.
            self._line.recorder.seal_all("truncated")
        # Where the disk kept this thread waiting, what came meanwhile is not late: time is where the queue is.
        self._line.recorder.tick(self._taken_until_ns if self._live else None)
        if time.monotonic() >= self._persist_due_s:
            self._line.recorder.persist()
            self._persist_due_s = time.monotonic() + PERSIST_S
        if self._onlookers:
            self._onlookers.refresh(self._line.recorder.full or "collecting")

    def status(self) -> dict[str, Any]:
        """What became of samples by stream, what filters said last of them, of episodes and notes, what is traced, and
        why capture stands still, if it does."""
        recorder = self._line.recorder
        streams = recorder.account.totals()
        return {
            "full": recorder.full,
            "streams": {name: account for name, account in streams.items() if not name.startswith(PREFIX)},
            "trace": {} if self._line.trace is None else msgspec.to_builtins(self._line.trace.status),
            "scores": dict(self._line.pipeline.scores),
            "episodes": self._before.created + recorder.episodes.created,
            "notes_dropped": recorder.notes.dropped,
            "away": self._intake.away,
            "absent": self._line.joining.absent,
            "finished_before": self._finished_before,
        }

    def close(self) -> None:
        """Close the sensors; twice is no error."""
        self._intake.stop()

    @property
    def _live(self) -> bool:
        return self._sensors.live

    @property
    def _finished_before(self) -> bool:
        return self._run is not None and self._run.finished

    @property
    def _exhausted(self) -> bool:
        """Whether every source has ended, and all that it gave has its place; a replay waits for room, if need be."""
        return self._intake.exhausted and self._line.pipeline.empty and (self._live or not self._line.recorder.waits)

    @property
    def _enough(self) -> bool:
        sealed = self._before.sealed + len(self._line.recorder.sealed)
        return self._episodes is not None and sealed >= self._episodes

    def _come_level(self) -> None:
        """A replay that is stopped ends at one moment of all its streams: none is to lack what another has."""
        self._line.recorder.portion.ends()
        until_s = time.monotonic() + LEVEL_S
        while not (self._line.recorder.portion.is_read or self._exhausted) and self._line.pipeline.empty:
            if time.monotonic() > until_s:
                break
            self._take()

    def _take(self) -> bool:
        """Whether anything came."""
        now_ns = boottime_ns()
        arrival = self._intake.take(STEP_S)
        self._taken_until_ns = now_ns if arrival is None else arrival.came_ns
        if arrival is not None:
            self._bring(arrival)
        return arrival is not None

    def _take_at_hand(self) -> None:
        """What came with it, of what is played: to look around takes as long as to bring a few rows where they belong.
        Live, what is late is told after each."""
        while not self._live and self._intake.at_hand and self._line.pipeline.empty and not self._enough:
            self._take()

    def _bring(self, arrival: Arrival) -> None:
        """Where it belongs, or to where it waits for a line that is to come."""
        if self._handover is not None:
            specs = self._intake.driver(arrival.sensor).specs
            before = self._handover.before(arrival, [spec.name for spec in specs])
            if before is None:
                return
            arrival = before
        heard = arrival if self._plans is None else self._plans.heard(arrival, self._line)
        if heard is None:
            return
        arrival = heard
        if not self._joins(arrival):
            if self._overlap is not None:
                self._overlap.hear(arrival)
            self._line.pipeline.accept(arrival)

    def _joins(self, arrival: Arrival) -> bool:
        """Whether it says that a sensor is there which was absent; it is then taken in or refused."""
        if arrival.change != "opened":
            return False
        name = arrival.sensor
        driver = self._intake.driver(name)
        why = self._line.joining.join(name, driver, self._line.recorder, self._line.pipeline, self._onlookers)
        self._intake.admit(name, why)
        return True

    def _tell_never_there(self) -> None:
        """A live sensor that was open, and is gone without ever having delivered, has missed all of it."""
        account = self._spool.account
        silent = {stream for stream, told in account.totals().items() if not told.captured}
        for stream in self._intake.missing() & silent if self._live else ():
            account.between(stream, Tally(estimated=True, lost_interval_ns=(self._begun_ns, boottime_ns())))
        self._line.recorder.persist()

    def _end_trace(self) -> None:
        if self._line.trace is not None:
            self._line.trace.stop()

    def _change(self, orders: Orders) -> None:
        """Begin to record by other settings, if that was asked, or go on with that."""
        recorder, pipeline = self._line.recorder, self._line.pipeline
        if self._handover is not None:
            if pipeline.empty and self._handover.is_over(time.monotonic()):
                self._hand_over_now()
            return
        if not pipeline.empty or recorder.full or (change := orders.next_change()) is None:
            return
        sensors = self._open_now()
        try:
            if self._run is not None and recorder.epoch:
                raise ConfigError("the clock of what is played was set back; stop it to change settings")
            parts = Parts.of(change.device, sensors)
            self._lines.check(parts, sensors)
        except (SensoriumError, OSError) as error:
            change.settled("; ".join(reason(error).splitlines()))
            return
        passed = [state.passed_ns for state in recorder.streams.values() if state.epoch == recorder.epoch]
        names = {spec.name for driver in sensors.drivers.values() for spec in driver.specs}
        here = [name for name in names if not self._is_over(name)]
        deadline_s = time.monotonic() + GRACE_S if self._live else None
        self._handover = Handover(change, parts, max(passed, default=BEFORE_ALL) + 1, here, deadline_s)

    def _is_over(self, stream: str) -> bool:
        """Whether nothing is to be waited for of a stream of a sensor, for now."""
        state = self._line.recorder.streams.get(stream)
        return state is not None and (state.ended or state.away)

    def _open_now(self) -> Sensors:
        return replace(self._sensors, drivers={name: self._intake.driver(name) for name in self._sensors.drivers})

    def _hand_over_now(self) -> None:
        """End the line, and give the next one what has waited for it."""
        if (handover := self._handover) is None:
            return
        old, border_ns = self._line, handover.border_ns
        old.pipeline.finish(for_good=False)
        old.joining.trigger.close()
        self._end_trace()
        self._before.created += old.recorder.episodes.created
        self._before.sealed += len(old.recorder.sealed)
        run, streams = self._run, old.recorder.streams
        if run is not None:
            passed = {name: (0, state.passed_ns) for name, state in streams.items() if state.passed_ns < border_ns}
            run = msgspec.structs.replace(run, position=Position(resets=0, until_ns=border_ns, passed=passed))
        episodes = None if self._episodes is None else max(0, self._episodes - self._before.sealed)
        sensors, why = self._open_now(), ""
        try:
            self._line = self._lines.line(handover.parts, sensors, run, episodes)
        except (SensoriumError, OSError) as error:
            why = reason(error)
            self._line = self._lines.line(Parts.of(old.device, sensors), sensors, run, episodes)
        self._line.take_over(old, border_ns)
        self._handover = None
        for arrival in handover.waited():
            self._bring(arrival)
        handover.change.settled(why)
        log.info("another line from %d on: %s", border_ns, why or "in force")

    def _obey(self, orders: Orders) -> None:
        for word in orders.words():
            if word.labels and not self._line.joining.trigger.label(word.labels):
                log.warning("%s: no episode is open that takes labels: %s", word.name, ", ".join(word.labels))
            self._line.recorder.command(word.name, word.outcome, word.at_ns if self._live else None)
