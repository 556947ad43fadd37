"""The source of a worker: a driver that makes rollouts of one world as jobs come, each an episode that it marks."""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import PrivateAttr, SerializeAsAny

from sensorium.drivers.clock import Clock
from sensorium.drivers.driver import Delivery, Driver, DriverConfig
from sensorium.drivers.identity import Identity
from sensorium.drivers.stream import StreamSpec
from sensorium.sim.rollouts.job import US, Job, Slot
from sensorium.sim.rollouts.player import Player
from sensorium.sim.rollouts.rollout import Rollout
from sensorium.sim.rollouts.stage import TIMEOUT_S, Stage
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.running import next_base_ns
from sensorium.threads import reason

log = logging.getLogger(__name__)

KIND = "sim-rollouts"
KEPT_UNRECORDED = 200
"""The last so many are told, and told again."""


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A rollout of which there is no episode, and why."""

    slot: Slot
    attempt: int
    why: str


class Jobs:
    """What a worker was asked for and has not begun, first come first served; from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._closed = False
        self.received = 0
        self.done = 0
        self.recorded = 0
        """Of those done, how many have an episode."""
        self.refused = 0
        """Of those done, how many had no world to begin in."""
        self.unrecorded: deque[Unrecorded] = deque(maxlen=KEPT_UNRECORDED)
        self.current: Job | None = None
        self.steps = 0
        """Of the current one, so far."""

    def give(self, jobs: Iterable[Job]) -> None:
        """Add some at the end."""
        with self._changed:
            given = list(jobs)
            self._waiting += given
            self.received += len(given)
            self._changed.notify_all()

    def close(self) -> None:
        """No more is begun."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed

    def world(self, timeout_s: float) -> str | None:
        """The world of the next one, once there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout_s)
            return self._waiting[0].world if self._waiting and not self._closed else None

    def take(self, world: str, timeout_s: float) -> tuple[Job | None, bool]:
        """The next one of `world`, if it comes in time; and whether there may be more of it."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, timeout_s)
            if self._closed or (self._waiting and self._waiting[0].world != world):
                return None, False
            if not self._waiting:
                return None, True
            self.current, self.steps = self._waiting.popleft(), 0
            return self.current, True

    def refuse(self, world: str, why: str) -> None:
        """Those of `world` that are next cannot be begun: there is no such world."""
        with self._changed:
            while self._waiting and self._waiting[0].world == world:
                job = self._waiting.popleft()
                self.done += 1
                self.refused += 1
                self.unrecorded.append(Unrecorded(job.slot, job.attempt, why))

    def ended(self, job: Job, why_unrecorded: str = "") -> None:
        """One is over, and delivered as far as it can be; or there is no episode of it: why."""
        with self._changed:
            self.current = None
            self.done += 1
            self.recorded += not why_unrecorded
            if why_unrecorded:
                self.unrecorded.append(Unrecorded(job.slot, job.attempt, why_unrecorded))


class RolloutsConfig(DriverConfig):
    """Made by a worker, not written in a device file: the world that the campaign calls `name`, which has `timeout_s`
    for whatever it is asked, and its jobs."""

    kind: str = KIND
    name: str
    world: SerializeAsAny[WorldConfig]
    timeout_s: float = TIMEOUT_S
    _jobs: Jobs = PrivateAttr(default_factory=Jobs)
    _stage: Stage | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, name: str, world: WorldConfig, jobs: Jobs, timeout_s: float = TIMEOUT_S) -> "RolloutsConfig":
        """That takes its `jobs` from there."""
        made = cls(name=name, world=world.model_copy(update={"truth": True}), timeout_s=timeout_s)
        made._jobs = jobs
        return made

    def set_stage(self, name: str) -> Stage:
        """Make the world, for the sensor of that name, which then is opened at once, however long this took.

        Raises:
            ConfigError: it cannot be made; what was to be played in it is refused.
        """
        try:
            self._stage = Stage(self.world, name, self.timeout_s)
        except BaseException as error:  # a model that does not compile, no GL, ...
            self._jobs.refuse(self.name, f"the world {self.name!r} cannot be made: {reason(error)}")
            raise
        return self._stage

    def open(self, name: str, base: Path) -> Driver:  # noqa: ARG002 (a world needs no folder)
        stage = self._stage or self.set_stage(name)
        self._stage = None
        return RolloutSource(name, self.name, stage, self._jobs)

    def identity(self, base: Path) -> Identity | None:
        """That of the world; but what it plays is new each time, as jobs come."""
        found = self.world.identity(base)
        return None if found is None else Identity(found.said, ends=False)


class RolloutSource:
    """See `sensorium.drivers.driver.Driver`. Rollouts are played on its `stage` in a thread of their own.

    It ends where the next job is of another world, or no more come. What a world raises ends its rollout alone, and
    the world is made anew; so does a policy or a world that does not answer, with which thread and world are left
    behind.
    """

    def __init__(self, name: str, called: str, stage: Stage, jobs: Jobs) -> None:
        self._name, self._called, self._stage, self._jobs = name, called, stage, jobs
        self._player = Player(name)
        self._base_ns = 0
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._rollout: tuple[Job, Rollout, Iterator[Sequence[Delivery]]] | None = None

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return self._stage.streams.specs

    @property
    def clock(self) -> Clock:
        return Clock(kind="simulated")

    def read(self, timeout_s: float) -> Sequence[Delivery] | None:
        with self._reading:
            if self._closed.is_set():
                return None
            if self._rollout is None:
                job, more = self._jobs.take(self._called, timeout_s)
                if job is None:
                    return () if more else None
                stage = self._stage
                rollout = Rollout(
                    stage.world, stage.streams, job, self._base_ns, self._closed.is_set, world_timeout_s=stage.most_s
                )
                self._rollout = job, rollout, iter(rollout)
            job, rollout, pieces = self._rollout
            piece = self._player.piece(pieces, timeout_s)
            self._jobs.steps = rollout.steps
            hangs = piece is None and (piece := rollout.given_up()) is not None
            if hangs:
                self._player.leave()
                self._player = Player(self._name)
            if rollout.ended is not None:
                self._end(job, rollout, hangs)
            return () if piece is None else piece

    def _end(self, job: Job, rollout: Rollout, hangs: bool) -> None:
        self._rollout, ended = None, rollout.ended
        if ended is None:
            return
        self._base_ns = next_base_ns(ended.end_ns)
        self._jobs.ended(job, "" if ended.samples else ended.why or "no sample came of it")
        if ended.failed_by:
            log.warning("rollout %s: failed (%s): %s", "/".join(map(str, job.slot)), ended.failed_by, ended.why)
        is_spent = (hangs or ended.failed_by == US) and not self._closed.is_set()
        if is_spent and not self._stage.anew(is_left=hangs):
            self._closed.set()

    def close(self) -> None:
        self._closed.set()
        with self._reading:
            self._stage.close(is_left=not self._player.close())
            if self._rollout is not None:
                self._jobs.ended(self._rollout[0], "it was broken off")
                self._rollout = None
