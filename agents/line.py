"""The line: all that stands between the sensors and the spool of a device, made by what its device file says.

Sensors and spool outlast it: with other settings there is another line.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sensorium.agents.absent import filters_of
from sensorium.agents.capture.onlookers import Onlookers
from sensorium.agents.capture.pipeline import Pipeline, streams_of
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.joining import Joining
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.fleet_holding import FleetHolding, Follower
from sensorium.agents.recording.manifest import entries_of, manifest_of
from sensorium.agents.recording.previews import Previews
from sensorium.agents.recording.recorder import GRACE_NS, Recorder
from sensorium.agents.recording.stream_state import BEFORE_ALL
from sensorium.agents.recording.trace_writer import TraceWriter
from sensorium.agents.replays import Replay
from sensorium.agents.seating import seating, tracing
from sensorium.agents.selection.fleet_memory import FleetMemory
from sensorium.agents.sensors import Sensors
from sensorium.agents.spool.runs import Run
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.worth import WorthConfig
from sensorium.drivers.stream import Block

NOBODY = Onlookers()


@dataclass(frozen=True)
class RecordingLine:
    """What samples go through. `trace` remembers what was judged, if anything does."""

    device: DeviceFile
    chain: FilterChain
    joining: Joining
    recorder: Recorder
    pipeline: Pipeline
    trace: TraceWriter | None

    def take_over(self, before: "RecordingLine", border_ns: int) -> None:
        """Go on behind a moment where another line has ended: no episode begins earlier, and of streams that had ended
        or were away nothing is waited for."""
        if border_ns > BEFORE_ALL + 1:
            self.recorder.episodes.begin_after(self.recorder.epoch, border_ns - 1)
        self.recorder.episodes.causes = before.recorder.episodes.causes
        self.recorder.episodes.causes.tell(self.recorder.epoch, self.joining.trigger)
        self.recorder.notes.go_on_from(before.recorder.notes)
        for name, state in before.recorder.streams.items():
            if name not in self.recorder.streams:
                continue
            if state.failed:
                self.recorder.sensor_failed(name)
            elif state.ended:
                self.recorder.sensor_ended(name)
            elif state.away:
                self.recorder.sensor_away(name)


@dataclass(frozen=True)
class Lines:
    """Makes the line of a device, first and by other settings. `replay` is what is played, `onlookers` who is
    shown what is captured, `memory` what the fleet has seen, if the device is told."""

    spool: Spool
    replay: Replay
    pool: EncoderPool
    onlookers: Onlookers = NOBODY
    memory: FleetMemory | None = None

    def line(self, parts: "Parts", sensors: Sensors, run: Run | None, episodes: int | None) -> RecordingLine:
        """A line for sensors as they are open now; at most so many `episodes` are begun.

        Raises:
            ConfigError: an encoding does not fit its stream.
        """
        device, chain, joining = parts
        spool, absent = self.spool, sensors.absent
        manifest = manifest_of(
            device, chain.specs, sensors.clock, spool.spool_id, absent, self.replay, chain.redactions
        )
        trace = tracing(spool, manifest, device.trigger)
        tell = (lambda _: None) if trace is None else trace.log
        joining.seat = seating(spool, manifest, self.replay, run, tell, self.memory)
        joining.seat(joining.trigger, manifest.streams)
        recorder = Recorder(
            spool,
            joining.trigger,
            manifest,
            grace_ns=GRACE_NS if sensors.live else None,
            max_episodes=episodes,
            run=run,
            pool=self.pool,
            previews=self._followers(device),
            **device.mission.bounds(rollouts=sensors.clock.kind == "simulated" and device.trigger.kind == "source"),
        )
        show: Callable[[Block], None] | None = self.onlookers.see if self.onlookers else None
        pipeline = Pipeline(
            chain,
            recorder,
            streams_of({name: driver.specs for name, driver in sensors.drivers.items()}, chain.specs),
            spool.account,
            live=sensors.live,
            simulated=sensors.clock.kind == "simulated",
            show=show,
        )
        return RecordingLine(device, chain, joining, recorder, pipeline, trace)

    def _followers(self, device: DeviceFile) -> Follower | None:
        previews = None if device.previews is None else Previews(self.spool, **device.previews.model_dump())
        if self.memory is None or device.spool.when_full != "evict" or not isinstance(device.trigger, WorthConfig):
            return previews
        return FleetHolding(self.spool, self.memory.claims, previews)

    def check(self, parts: "Parts", sensors: Sensors) -> None:
        """Raise `ConfigError` where there can be no line of these."""
        entries_of(parts.device, parts.chain.specs, sensors.absent, parts.chain.redactions)


class Parts(NamedTuple):
    """What of a line is made before there is a place for what goes through it."""

    device: DeviceFile
    chain: FilterChain
    joining: Joining

    @classmethod
    def of(cls, device: DeviceFile, sensors: Sensors) -> "Parts":
        """Filters and trigger.

        Raises:
            ConfigError: the device file does not fit the sensors.
        """
        mission = device.mission.model_dump(include={"name", "domain", "priority"})
        told = device.trigger.on_mission({f"mission.{key}": value for key, value in mission.items()})
        device = device.model_copy(update={"trigger": told})
        chain = FilterChain(sensors.specs, filters_of(device, sensors.specs, sensors.absent))
        return cls(device, chain, Joining(device, sensors, chain))
