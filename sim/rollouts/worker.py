"""A worker: a device whose one sensor makes rollouts. It delivers what an earlier start left before it takes jobs."""

import logging
import math
import pickle
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sensorium.agents.agent import Agent
from sensorium.agents.delivery import holds_spool
from sensorium.agents.device_file import DeviceFile, check_device
from sensorium.errors import ConfigError
from sensorium.hosting.actors import PROCESS
from sensorium.hosting.hosted import SIGNAL_S
from sensorium.patience import IMPORT_S, LeftBehind, within
from sensorium.sim.rollouts.job import Job
from sensorium.sim.rollouts.source import Jobs, RolloutsConfig
from sensorium.sim.rollouts.stage import TIMEOUT_S
from sensorium.sim.rollouts.task_file import look_in
from sensorium.sim.worlds.cart import CartConfig
from sensorium.sim.worlds.config import WorldConfig
from sensorium.threads import Thread, Watch, reason

log = logging.getLogger(__name__)

SENSOR = "world"
"""What every worker calls its sensor: the streams are `world.STREAM`, of any world."""
DRAIN_S = 30.0
"""After so long without progress delivery begins anew; what waits is safe."""
POLL_S, PAUSE_S = 0.2, 1.0
_NOTHING: Mapping[str, Any] = {"ordinals": {}, "spool_bytes": 0, "link": {}, "episodes": 0}
MAX_FAILURES = 5
"""In a row, after which a worker gives up."""


@dataclass(frozen=True)
class Packed:
    """A world's configuration on its way to another process, pickled. To unpack it is to import its module, which is
    anybody's code, and may hang there: it is done where that costs the rollouts in this world alone."""

    data: bytes

    def unpacked(self, world: str, most_s: float) -> WorldConfig:
        """What it was, if its module is imported in time.

        Raises:
            ConfigError: it is not, or cannot be.
        """
        try:
            return within(most_s, partial(self._unpacked, world))
        except TimeoutError as error:
            raise ConfigError(
                f"world {world!r}: what it is of was not imported within {most_s:g} s by its worker; see to what its"
                " module does when it is imported"
            ) from error

    def _unpacked(self, world: str) -> WorldConfig:
        try:
            config: WorldConfig = pickle.loads(self.data)
        except LeftBehind:
            raise
        except BaseException as error:  # it may even exit
            raise ConfigError(f"world {world!r}: cannot be imported by its worker: {reason(error)}") from error
        return config


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker is made of: its name as a device, its worlds by the campaign's names, the parts of a device file
    that say where it delivers, and by world and bare stream how that is encoded. One that is to `serve` takes jobs;
    else it delivers what is in its spool, and ends. A world has `world_timeout_s` for whatever it is asked. A process
    that says nothing for `most_silent_s` is ended."""

    device: str
    base: Path
    worlds: Mapping[str, WorldConfig | Packed]
    parts: Mapping[str, Any] = field(default_factory=dict)
    encodings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    serve: bool = True
    world_timeout_s: float = TIMEOUT_S
    most_silent_s: float = math.inf

    @property
    def holds_something(self) -> bool:
        """Whether its spool has episodes, as far as can be seen from here."""
        folder = Path(self.parts["spool"]["path"]) / "episodes"
        return folder.is_dir() and any(folder.iterdir())

    def sensor(self, world: str, jobs: Jobs) -> RolloutsConfig:
        """What plays this world's rollouts.

        Raises:
            ConfigError: there is no such world where this is; what was to be played in it is refused.
        """
        config = self.worlds[world]
        if isinstance(config, Packed):
            try:
                config = config.unpacked(world, max(IMPORT_S, self.world_timeout_s))
            except ConfigError as error:
                jobs.refuse(world, reason(error))
                raise
        return RolloutsConfig.of(world, config, jobs, self.world_timeout_s)

    def device_file(self, sensor: RolloutsConfig) -> DeviceFile:
        """As of a device that has this sensor."""
        world = sensor.name
        document = {
            "device": self.device,
            "sensors": {SENSOR: sensor},
            "trigger": {"kind": "source", "sensor": SENSOR},
            "encodings": {f"{SENSOR}.{name}": how for name, how in self.encodings.get(world, {}).items()},
            **self.parts,
        }
        return check_device(document, self.base, self.device)


class Worker:
    """`run` it in a thread of its own. All else returns at once, from any thread."""

    def __init__(self, plan: WorkerPlan) -> None:
        look_in(plan.base)
        self._plan = plan
        self._jobs = Jobs()
        self._life = f"{PROCESS}-{secrets.token_hex(4)}"
        self._agent: Agent | None = None
        self._state, self._error, self._world = "recovering", "", ""
        self._settled = 0
        self._before = 0
        self._stopped = threading.Event()
        self._abandoned = False

    def run(self) -> None:
        """Deliver what waits; then make rollouts of one world after the other until told to stop, and deliver them.

        Raises:
            SensoriumError: it failed again and again.
        """
        failures = 0
        while not self._abandoned:
            refused = self._jobs.refused
            try:
                if self._recovers() and (not self._plan.serve or self._stopped.is_set()):
                    break
                self._serve()
                failures = 0
            except Exception as error:
                self._error = reason(error)
                log.error("worker %s: %s", self._plan.device, self._error)
                if self._jobs.refused > refused:  # that cost those rollouts; of other worlds there may be more
                    continue
                failures += 1
                if failures >= MAX_FAILURES:
                    raise
                self._stopped.wait(PAUSE_S)
        self._state = "stopped"

    def give(self, life: str, jobs: Iterable[Job]) -> None:
        """Ask for rollouts; what was meant for this worker before it was started again is no concern of it."""
        if life == self._life:
            self._jobs.give(jobs)

    def stop(self) -> None:
        """Begin no more, deliver what there is, end."""
        self._stopped.set()
        self._jobs.close()

    def abandon(self) -> None:
        """End within some seconds: what runs is broken off, and what is not delivered by then waits in the spool."""
        self._abandoned = True
        self.stop()
        if (agent := self._agent) is not None:
            agent.stop(SIGNAL_S)

    def status(self) -> dict[str, Any]:
        """What it does now.

        `life` tells this start from others; `state` is recovering, serving or stopped. `received`, `done` and
        `settled` count jobs: of the `settled` first ones what will ever be of them in the store is there. `unrecorded`
        are those of which there is no episode; `pending` episodes wait in its spool.
        """
        jobs, agent = self._jobs, self._agent
        done, recorded = jobs.done, jobs.recorded
        seen = dict(_NOTHING) if agent is None else agent.status()
        pending = seen["ordinals"].get("pending", 0)
        # every rollout that was recorded has begun its episode, and every one is committed
        if self._state == "serving" and not pending and seen["episodes"] + self._before >= recorded:
            self._settled = max(self._settled, done)
        current = jobs.current
        return {
            "life": self._life,
            "device": self._plan.device,
            "state": self._state,
            "error": self._error,
            "world": self._world,
            "received": jobs.received,
            "done": done,
            "settled": self._settled,
            "current": None if current is None else current.slot,
            "steps": jobs.steps,
            "unrecorded": list(jobs.unrecorded),
            "pending": pending,
            "spool_bytes": seen["spool_bytes"],
            "link": seen["link"].get("state", ""),
        }

    def _recovers(self) -> bool:
        """Deliver what is in the spool; whether nothing is left."""
        device = self._plan.device_file(RolloutsConfig.of("", CartConfig(), self._jobs))  # it records nothing
        if not holds_spool(device) or self._is_empty:
            return True
        return self._runs(Agent(device, drain_s=DRAIN_S, only_deliver=True))

    @property
    def _is_empty(self) -> bool:
        """Whether the last agent left nothing in the spool."""
        return self._agent is not None and not self._agent.status()["ordinals"].get("pending", 1)

    def _serve(self) -> None:
        """Rollouts of one world, for as long as the next job is of it."""
        self._before = self._jobs.recorded
        self._state = "serving"
        world = None
        while world is None and not self._stopped.is_set():
            world = self._jobs.world(POLL_S)
        if world is None:
            return
        self._world = world
        sensor = self._plan.sensor(world, self._jobs)
        stage = sensor.set_stage(SENSOR)
        try:
            self._runs(Agent(self._plan.device_file(sensor), drain_s=DRAIN_S))
        finally:
            stage.close()

    def _runs(self, agent: Agent) -> bool:
        self._agent = agent
        if self._abandoned:
            agent.stop(SIGNAL_S)
        return agent.run()


class LocalWorker:
    """A worker in a thread of this process."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._worker = Worker(plan)
        self._watch = Watch(lambda: None)
        self._thread = Thread("worker", "makes rollouts", self._worker.run, self._watch.tell)

    def status(self) -> dict[str, Any]:
        """That of `Worker`, with `alive`; raises what ended it."""
        alive = self._thread.alive
        self._watch.check()
        return self._worker.status() | {"alive": alive}

    def give(self, life: str, jobs: list[Job]) -> None:
        """Ask for rollouts."""
        self._worker.give(life, jobs)

    def stop(self) -> None:
        """Begin no more, deliver, end."""
        self._worker.stop()

    def abandon(self) -> None:
        """End without waiting for delivery."""
        self._worker.abandon()
