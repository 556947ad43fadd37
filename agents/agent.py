"""The agent of one device: from its drivers to its spool, and from there to the server, until it is told to stop."""

import logging
import platform
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import cv2

from sensorium.agents.capture.intake import Intake
from sensorium.agents.capture.pipeline import Pipeline, streams_of
from sensorium.agents.capture.snapshot import Snapshot
from sensorium.agents.device_file import DeviceFile
from sensorium.agents.filters.chain import FilterChain
from sensorium.agents.recording.encode import EncoderPool
from sensorium.agents.recording.recorder import GRACE_NS, Recorder
from sensorium.agents.spool.spool import Spool
from sensorium.agents.triggers.trigger import Command
from sensorium.agents.uplink.uplink import Uplink
from sensorium.drivers.clock import Clock, boottime_ns
from sensorium.drivers.driver import Driver
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import StreamSpec
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.documents import FORMAT_VERSION, Mission, Open, Origin, Provenance, StreamEntry
from sensorium.errors import ConfigError, SensoriumError
from sensorium.link.keys import pair, server_key
from sensorium.threads import Watch, reason

log = logging.getLogger(__name__)

STEP_S = 0.05
DRAIN_S = 60.0
PERSIST_S = 1.0
NOTICE_S = 5.0
State = Literal["starting", "collecting", "draining", "done"]


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How long an agent runs, and at its end waits for delivery."""

    seconds: float | None
    episodes: int | None
    drain_s: float


class Agent:
    """Hosts drivers, filters, trigger, spool and uplink of one device. A plain class: `run` it in any thread.

    Args:
        device: The checked device file.
        seconds: Stop after so long; None: when the sources end or `stop` is called.
        episodes: Stop after so many episodes.
        drain_s: How long, at the end, to wait for the server to commit what is in the spool.
        snap: A PNG or JPEG file to keep a small picture of every stream in, about once a second.
    """

    def __init__(
        self,
        device: DeviceFile,
        *,
        seconds: float | None = None,
        episodes: int | None = None,
        drain_s: float = DRAIN_S,
        snap: Path | None = None,
    ) -> None:
        self.device = device
        self._bounds = _Bounds(seconds, episodes, drain_s)
        self._snap = snap
        self._snapshot: Snapshot | None = None
        self._stop = threading.Event()
        self._abandon = threading.Event()
        self._watch = Watch(self.abandon)
        self._state: State = "starting"
        self._recorder: Recorder | None = None
        self._spool: Spool | None = None
        self._uplink: Uplink | None = None
        self._looking = threading.Lock()
        self._last: dict[str, Any] | None = None
        self._commands: deque[tuple[Command, str, int]] = deque()

    def run(self) -> bool:
        """Collect until the end; True if nothing is left in the spool.

        Raises:
            SensoriumError: it could not begin, cannot go on, or a sensor was ended by an error; the state is `failed`.
        """
        delivered = False
        try:
            with ExitStack() as stack:
                try:
                    ended_by = self._collect(stack)
                    delivered = self._drain()
                    if ended_by:
                        each = "; ".join(
                            f"sensor {name!r} was ended by an error: {why}" for name, why in ended_by.items()
                        )
                        raise SensoriumError(f"{each}; what came before it, and from others, is recorded")
                except BaseException as error:
                    self._watch.tell(error)
                with self._looking:
                    self._last = self._now()  # while what it tells of is open
        except BaseException as error:
            self._watch.tell(error)
        self._watch.check()
        return delivered

    def stop(self) -> None:
        """Stop collecting: seal, deliver, end. `run` returns then; from any thread."""
        self._stop.set()

    def abandon(self) -> None:
        """Stop without waiting for delivery: what is in the spool stays there for the next run."""
        self._abandon.set()
        self._stop.set()

    def command(self, name: Command, outcome: str = "") -> None:
        """Give the trigger a word: open, close, toggle or discard an episode; from any thread."""
        self._commands.append((name, outcome, boottime_ns()))

    def open_episode(self) -> None:
        """Open an episode now (trigger `manual`)."""
        self.command("open")

    def close_episode(self, outcome: str = "") -> None:
        """Close the open episode, judged `outcome`: success, failure or any word."""
        self.command("close", outcome)

    def status(self) -> dict[str, Any]:
        """What it does now: state, streams' accounts, spool, link. From any thread."""
        with self._looking:  # what it tells of is not closed meanwhile
            status = self._last or self._now()
        failure = self._watch.failure
        return status | ({} if failure is None else {"state": "failed", "error": reason(failure)})

    def _now(self) -> dict[str, Any]:
        recorder, spool, uplink = self._recorder, self._spool, self._uplink
        return {
            "device": self.device.device,
            "state": "full" if recorder and recorder.full else self._state,
            "error": recorder.full if recorder else "",
            "streams": recorder.account.totals() if recorder else {},
            "episodes": recorder.created if recorder else 0,
            "notes_dropped": recorder.notes.dropped if recorder else 0,
            "spool_bytes": spool.used_bytes() if spool else 0,
            "ordinals": spool.counts() if spool else {},
            "link": uplink.stats() if uplink else {},
        }

    # -- collecting -----------------------------------------------------------------------------------------------

    def _collect(self, stack: ExitStack) -> dict[str, str]:
        """Collect to the end; why, by sensor, of those that an error has ended."""
        device = self.device
        cv2.setNumThreads(1)  # its own threads would compete with ours: that cost a fifth more CPU a frame
        drivers: dict[str, Driver] = {}
        openers: dict[str, Callable[[], Driver]] = {
            name: partial(config.open, name, device.base) for name, config in device.sensors.items()
        }
        opening = stack.enter_context(ExitStack())
        for name, open_driver in openers.items():
            drivers[name] = open_driver()
            opening.callback(drivers[name].close)
        clock = _one_clock(drivers)
        live = clock.kind == "boottime"
        captured = [spec for driver in drivers.values() for spec in driver.specs]
        chain = FilterChain(captured, device.filters)
        if self._snap is not None:
            self._snapshot = Snapshot(self._snap, device.device, captured)
        trigger = device.trigger.start(chain.specs)
        pool = EncoderPool()
        stack.callback(pool.close)
        spool = self._spool = Spool(
            device.at(device.spool.path),
            device.device,
            max_bytes=device.spool.max_bytes,
            min_free_bytes=device.spool.min_free_bytes,
            when_full=device.spool.when_full,
            died=self._watch.tell,
        )
        stack.callback(spool.close)
        recorder = self._recorder = Recorder(
            spool,
            trigger,
            self._manifest(chain.specs, clock, spool.spool_id),
            grace_ns=GRACE_NS if live else None,
            max_episodes=self._bounds.episodes,
            pool=pool,
            **device.mission.bounds(),
        )
        self._start_uplink(stack, spool)
        reopen = {} if clock.kind == "recording" else openers
        intake = Intake(drivers, reopen, spool.account, live=live, died=self._watch.tell)
        opening.pop_all()  # from here on the intake closes them
        stack.callback(intake.stop)
        intake.start()
        self._state = "collecting"
        log.info("collecting: %s", ", ".join(spec.name for spec in chain.specs))
        ends = streams_of({name: driver.specs for name, driver in drivers.items()}, chain.specs)
        pipeline = Pipeline(chain, recorder, ends, spool.account, live=live)
        deadline = time.monotonic() + self._bounds.seconds if self._bounds.seconds is not None else None
        persist_due = 0.0
        while not (self._stop.is_set() or (intake.exhausted and pipeline.empty) or self._enough()):
            if deadline is not None and time.monotonic() >= deadline:
                break
            self._obey(recorder, live)
            self._step(intake, pipeline)
            recorder.tick(boottime_ns() if live else None)
            if time.monotonic() >= persist_due:
                recorder.persist()
                persist_due = time.monotonic() + PERSIST_S
            if self._snapshot is not None:
                self._snapshot.refresh(recorder.full or self._state)
        intake.stop()
        self._obey(recorder, live)
        while (arrival := intake.take(0)) is not None:
            pipeline.accept(arrival)
        pipeline.finish()
        spool.flush()
        return intake.failures

    def _step(self, intake: Intake, pipeline: Pipeline) -> None:
        """Take one arrival through the pipeline; or, when what came before has to wait for room, wait."""
        if pipeline.must_wait:
            if not pipeline.retry():
                self._stop.wait(2 * STEP_S)
            return
        arrival = intake.take(STEP_S)
        if arrival is not None:
            if self._snapshot is not None and arrival.block is not None:
                self._snapshot.see(arrival.block)
            pipeline.accept(arrival)

    def _obey(self, recorder: Recorder, live: bool) -> None:
        while self._commands:
            name, outcome, at_ns = self._commands.popleft()
            recorder.command(name, outcome, at_ns if live else None)

    def _enough(self) -> bool:
        recorder, enough = self._recorder, self._bounds.episodes
        return enough is not None and recorder is not None and len(recorder.sealed) >= enough

    # -- delivering -----------------------------------------------------------------------------------------------

    def _start_uplink(self, stack: ExitStack, spool: Spool) -> None:
        part = self.device.ingest
        if part is None:
            log.info("no `ingest` in the device file: episodes stay in the spool")
            return
        self._uplink = Uplink(
            spool,
            part.url,
            server_key=server_key(self.device.at(part.server_key)) if part.server_key else None,
            keypair=pair(self.device.at(part.key)) if part.key else None,
            insecure=part.insecure,
        )
        self._uplink.start()
        stack.callback(self._uplink.stop)

    def _drain(self) -> bool:
        """Wait for what is in the spool to be committed, within the bound."""
        self._state = "draining"
        spool = self._spool
        if spool is None:
            return True
        begun = told = time.monotonic()
        deadline = begun + (self._bounds.drain_s if self._uplink else 0.0)
        number = spool.between_totals().number
        while time.monotonic() < deadline and (spool.counts()["pending"] or self._unnoted(spool, begun, told)):
            if self._abandon.wait(STEP_S):
                break
            if number < (latest := spool.between_totals().number):
                number, told = latest, time.monotonic()
        self._state = "done"
        return not spool.counts()["pending"]

    def _unnoted(self, spool: Spool, begun_s: float, told_s: float) -> bool:
        """Whether a server that listens, or may do so in a moment, has still to note a discard in its ledger, or the
        samples in no episode; a server of before there was that never does, so it is not waited for."""
        stats: dict[str, Any] = {"state": "down", "noted_between": 0}
        if self._uplink is not None:
            stats = self._uplink.stats()
        if stats["noted_between"] < spool.between_totals().number and time.monotonic() < told_s + NOTICE_S:
            return True
        return bool((stats["state"] == "up" or time.monotonic() < begun_s + NOTICE_S) and spool.discards())

    def _manifest(self, specs: tuple[StreamSpec, ...], clock: Clock, spool_id: str) -> Open:
        device = self.device
        origins: dict[str, Origin] = {"boottime": "sensor", "recording": "sensor", "simulated": "simulator"}
        return Open(
            version=FORMAT_VERSION,
            episode=bytes(16),
            device=device.device,
            spool_id=spool_id,
            ordinal=0,
            start_ns=0,
            end_ns=0,
            mission=Mission(**device.mission.model_dump(include={"name", "domain", "priority"})),
            clock=clock,
            streams=self._entries(specs),
            provenance=Provenance(origin=origins[clock.kind], **device.provenance.model_dump()),
            software={"sensorium": version("sensorium"), "python": platform.python_version()},
        )

    def _entries(self, specs: tuple[StreamSpec, ...]) -> tuple[StreamEntry, ...]:
        known = {spec.name: spec for spec in specs}
        for name in self.device.encodings:
            if name not in known:
                hint = nearest(name, known)
                raise ConfigError(f"encodings.{name}: no stream {name!r}{hint} (there are: {', '.join(sorted(known))})")
        return tuple(self.device.encodings.get(spec.name, LosslessConfig()).entry(spec) for spec in specs)


def _one_clock(drivers: Mapping[str, Driver]) -> Clock:
    """The clock that all drivers share.

    Raises:
        ConfigError: they do not.
    """
    clocks = {name: driver.clock for name, driver in drivers.items()}
    kinds = {clock.kind for clock in clocks.values()}
    if len(kinds) > 1:
        each = ", ".join(f"{name}: {clock.kind}" for name, clock in clocks.items())
        raise ConfigError(f"sensors: all must be in one clock, got {each}; give each kind a device file of its own")
    first = next(iter(clocks.values()))
    states_utc = all(clock.states_utc for clock in clocks.values())
    return Clock(kind=first.kind, boot_id=first.boot_id, states_utc=states_utc)
