"""Collecting: one loop that takes what the sensors deliver through filters and recorder into the spool."""

import logging
import time
from typing import Any

from sensorium.agents.capture.intake import Intake
from sensorium.agents.capture.pipeline import Pipeline, streams_of
from sensorium.agents.capture.snapshot import Snapshot
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.orders import Orders
from sensorium.agents.recording.recorder import Recorder
from sensorium.agents.sensors import Sensors
from sensorium.agents.spool.spool import Spool
from sensorium.drivers.clock import boottime_ns
from sensorium.threads import Told

log = logging.getLogger(__name__)

STEP_S = 0.05
PERSIST_S = 1.0


class Collecting:
    """One thread calls it, but for `status`.

    Args:
        sensors: Open; this closes them.
        chain: What becomes of their samples before they are recorded.
        recorder: Where they go then, in `spool`.
        snapshot: What keeps a small picture of what was captured, if anything does.
        episodes: Stop after so many.
        died: Who is told of the death of a thread.
    """

    def __init__(
        self,
        sensors: Sensors,
        chain: FilterChain,
        recorder: Recorder,
        spool: Spool,
        *,
        snapshot: Snapshot | None,
        episodes: int | None,
        died: Told,
    ) -> None:
        self._live = sensors.live
        self._recorder = recorder
        self._spool = spool
        self._snapshot = snapshot
        self._episodes = episodes
        self._persist_due_s = 0.0
        self._intake = Intake(sensors.drivers, sensors.reopen, spool.account, live=self._live, died=died)
        ends = streams_of({name: driver.specs for name, driver in sensors.drivers.items()}, chain.specs)
        self._pipeline = Pipeline(chain, recorder, ends, spool.account, live=self._live)

    def start(self) -> None:
        """Begin to read the sensors."""
        self._intake.start()

    def run(self, orders: Orders, seconds: float | None) -> dict[str, str]:
        """Collect until the sources end, enough was collected, or told to stop, and seal what is open.

        Returns why, by sensor, of those that an error has ended.
        """
        deadline_s = None if seconds is None else time.monotonic() + seconds
        while not (orders.stopped() or self._exhausted or self._enough):
            if deadline_s is not None and time.monotonic() >= deadline_s:
                break
            self.step(orders)
        self._intake.stop()
        self._obey(orders)
        while (arrival := self._intake.take(0)) is not None:
            self._pipeline.accept(arrival)
        self._pipeline.finish()
        self._spool.flush()
        return self._intake.failures

    def give_up(self) -> None:
        """End where `run` cannot go on, or a thread has died: what has no fate yet is lost, what is open is sealed."""
        self._intake.stop()
        self._recorder.give_up()
        self._spool.flush()

    def step(self, orders: Orders) -> None:
        """Obey, take one arrival to where it belongs, and do what is due; waits a moment where nothing comes."""
        self._obey(orders)
        if self._pipeline.must_wait:
            if not self._pipeline.retry():
                orders.stopped(2 * STEP_S)
        else:
            self._take()
        self._recorder.tick(boottime_ns() if self._live else None)
        if time.monotonic() >= self._persist_due_s:
            self._recorder.persist()
            self._persist_due_s = time.monotonic() + PERSIST_S
        if self._snapshot is not None:
            self._snapshot.refresh(self._recorder.full or "collecting")

    def status(self) -> dict[str, Any]:
        """What became of samples by stream, of episodes and notes, and why capture stands still, if it does."""
        recorder = self._recorder
        return {
            "full": recorder.full,
            "streams": recorder.account.totals(),
            "episodes": recorder.created,
            "notes_dropped": recorder.notes.dropped,
        }

    def close(self) -> None:
        """Close the sensors; twice is no error."""
        self._intake.stop()

    @property
    def _exhausted(self) -> bool:
        """Whether every source has ended, and all that it gave has its place."""
        return self._intake.exhausted and self._pipeline.empty

    @property
    def _enough(self) -> bool:
        return self._episodes is not None and len(self._recorder.sealed) >= self._episodes

    def _take(self) -> None:
        arrival = self._intake.take(STEP_S)
        if arrival is None:
            return
        if self._snapshot is not None and arrival.block is not None:
            self._snapshot.see(arrival.block)
        self._pipeline.accept(arrival)

    def _obey(self, orders: Orders) -> None:
        for name, outcome, at_ns in orders.words():
            self._recorder.command(name, outcome, at_ns if self._live else None)
