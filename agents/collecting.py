"""Collecting: one loop that takes what the sensors deliver through filters and recorder into the spool."""

import logging
import time
from typing import Any

import msgspec

from sensorium.agents.capture.arrival import Arrival
from sensorium.agents.capture.intake import Intake
from sensorium.agents.capture.overlap import Overlap
from sensorium.agents.capture.pipeline import Pipeline, streams_of
from sensorium.agents.capture.snapshot import Snapshot
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.joining import Joining
from sensorium.agents.orders import Orders
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.recording.trace_writer import TraceWriter
from sensorium.agents.sensors import Sensors
from sensorium.agents.spool.runs import Run
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import boottime_ns
from sensorium.episode.account import Tally
from sensorium.episode.trace import PREFIX
from sensorium.threads import Told

log = logging.getLogger(__name__)

STEP_S = 0.05
PERSIST_S = 1.0
AFTER_READERS_S, AFTER_QUEUES_S = 2.5, 2.0
"""Where all has to end by a time: what of it is left for what comes after the readers, and after what they queued."""
LEVEL_S = 1.0
"""How long the streams of a replay that is stopped may take to come as far as each other."""


class Collecting:
    """One thread calls it, but for `status`.

    Args:
        sensors: Open; this closes them.
        chain: What becomes of their samples before they are recorded.
        joining: What has those join that were absent, as they come.
        recorder: Where they go then, in `spool`.
        snapshot: What keeps a small picture of what was captured, if anything does.
        episodes: Stop after so many.
        run: What is known of the replay, if it is one and can be taken up again.
        trace: Where what was judged is remembered, if it is.
        died: Who is told of the death of a thread.
    """

    def __init__(
        self,
        sensors: Sensors,
        chain: FilterChain,
        joining: Joining,
        recorder: Recorder,
        spool: Spool,
        *,
        snapshot: Snapshot | None,
        episodes: int | None,
        run: Run | None = None,
        trace: TraceWriter | None = None,
        died: Told,
    ) -> None:
        self._live = sensors.live
        self._joining = joining
        self._recorder = recorder
        self._spool = spool
        self._snapshot = snapshot
        self._episodes = episodes
        self._run = run
        self._trace = trace
        self._persist_due_s = 0.0
        self._begun_ns = 0
        self._taken_until_ns = 0
        self._overlap = Overlap() if sensors.clock.kind == "recording" else None
        self._intake = Intake(sensors.drivers, sensors.reopen, spool.account, live=self._live, died=died)
        ends = streams_of({name: driver.specs for name, driver in sensors.drivers.items()}, chain.specs)
        show = None if snapshot is None else snapshot.see
        simulated = sensors.clock.kind == "simulated"
        self._pipeline = Pipeline(chain, recorder, ends, spool.account, live=self._live, simulated=simulated, show=show)

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
            if deadline_s is not None and time.monotonic() >= deadline_s and self._recorder.portion.is_reached:
                break
            self.step(orders)
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
                self._pipeline.accept(arrival)
            else:
                self._pipeline.lose(arrival)
        self._pipeline.finish()
        self._joining.trigger.close()
        self._end_trace()
        self._tell_never_there()
        self._spool.flush()
        if self._run is not None:
            self._spool.runs.end(self._run.run, finished=exhausted and not self.complaints())
        wrong, full = self.complaints(), self._recorder.full
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
        self._recorder.give_up()
        self._spool.flush()

    def step(self, orders: Orders) -> None:
        """Obey, take one arrival to where it belongs, and do what is due; waits a moment where nothing comes."""
        self._obey(orders)
        if self._pipeline.must_wait:
            if not self._pipeline.retry():
                orders.stopped(2 * STEP_S)
        elif not self._take() and not self._pipeline.retry() and self._intake.exhausted:
            # All that is to come waits for room, which what is open has: a stream whose clock was set back is ahead.
            self._recorder.seal_all("truncated")
        # Where the disk kept this thread waiting, what came meanwhile is not late: time is where the queue is.
        self._recorder.tick(self._taken_until_ns if self._live else None)
        if time.monotonic() >= self._persist_due_s:
            self._recorder.persist()
            self._persist_due_s = time.monotonic() + PERSIST_S
        if self._snapshot is not None:
            self._snapshot.refresh(self._recorder.full or "collecting")

    def status(self) -> dict[str, Any]:
        """What became of samples by stream, of episodes and notes, what is traced, and why capture stands still, if it
        does."""
        recorder = self._recorder
        streams = recorder.account.totals()
        return {
            "full": recorder.full,
            "streams": {name: account for name, account in streams.items() if not name.startswith(PREFIX)},
            "trace": {} if self._trace is None else msgspec.to_builtins(self._trace.status),
            "episodes": recorder.created,
            "notes_dropped": recorder.notes.dropped,
            "away": self._intake.away,
            "absent": self._joining.absent,
            "finished_before": self._finished_before,
        }

    def close(self) -> None:
        """Close the sensors; twice is no error."""
        self._intake.stop()

    @property
    def _finished_before(self) -> bool:
        return self._run is not None and self._run.finished

    @property
    def _exhausted(self) -> bool:
        """Whether every source has ended, and all that it gave has its place; a replay waits for room, if need be."""
        return self._intake.exhausted and self._pipeline.empty and (self._live or not self._recorder.waits)

    @property
    def _enough(self) -> bool:
        return self._episodes is not None and len(self._recorder.sealed) >= self._episodes

    def _come_level(self) -> None:
        """A replay that is stopped ends at one moment of all its streams: none is to lack what another has."""
        self._recorder.portion.ends()
        until_s = time.monotonic() + LEVEL_S
        while not (self._recorder.portion.is_read or self._exhausted) and self._pipeline.empty:
            if time.monotonic() > until_s:
                break
            self._take()

    def _take(self) -> bool:
        """Whether anything came."""
        now_ns = boottime_ns()
        arrival = self._intake.take(STEP_S)
        self._taken_until_ns = now_ns if arrival is None else arrival.came_ns
        if arrival is not None and not self._joins(arrival):
            if self._overlap is not None:
                self._overlap.hear(arrival)
            self._pipeline.accept(arrival)
        return arrival is not None

    def _joins(self, arrival: Arrival) -> bool:
        """Whether it says that a sensor is there which was absent; it is then taken in or refused."""
        if arrival.change != "opened":
            return False
        name = arrival.sensor
        driver = self._intake.driver(name)
        why = self._joining.join(name, driver, self._recorder, self._pipeline, self._snapshot)
        self._intake.admit(name, why)
        return True

    def _tell_never_there(self) -> None:
        """A live sensor that was open, and is gone without ever having delivered, has missed all of it."""
        account = self._spool.account
        silent = {stream for stream, told in account.totals().items() if not told.captured}
        for stream in self._intake.missing() & silent if self._live else ():
            account.between(stream, Tally(estimated=True, lost_interval_ns=(self._begun_ns, boottime_ns())))
        self._recorder.persist()

    def _end_trace(self) -> None:
        if self._trace is not None:
            self._trace.stop()

    def _obey(self, orders: Orders) -> None:
        for word in orders.words():
            if word.labels and not self._joining.trigger.label(word.labels):
                log.warning("%s: no episode is open that takes labels: %s", word.name, ", ".join(word.labels))
            self._recorder.command(word.name, word.outcome, word.at_ns if self._live else None)
