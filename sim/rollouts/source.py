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
from sensorium.sim.rollouts.policies import RANDOM, SCRIPTED
from sensorium.sim.rollouts.rollout import Rollout, Streams
from sensorium.sim.worlds.config import WorldConfig, make_world
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
    """Made by a worker, not written in a device file: the world that the campaign calls `name`, and its jobs."""

    kind: str = KIND
    name: str
    world: SerializeAsAny[WorldConfig]
    _jobs: Jobs = PrivateAttr(default_factory=Jobs)

    @classmethod
    def of(cls, name: str, world: WorldConfig, jobs: Jobs) -> "RolloutsConfig":
        """That takes its `jobs` from there."""
        made = cls(name=name, world=world.model_copy(update={"truth": True}))
        made._jobs = jobs
        return made

    def open(self, name: str, base: Path) -> Driver:  # noqa: ARG002 (a world needs no folder)
        return RolloutSource(name, self.name, self.world, self._jobs)

    def identity(self, base: Path) -> Identity | None:
        """That of the world; but what it plays is new each time, as jobs come."""
        found = self.world.identity(base)
        return None if found is None else Identity(found.said, ends=False)


class RolloutSource:
    """See `sensorium.drivers.driver.Driver`. From the first policy that is not ours on, rollouts are played in a
    thread of their own, which costs each some CPU.

    It ends where the next job is of another world, or no more come. What a world raises ends its rollout alone, and
    the world is made anew; so does a policy that does not answer, with which thread and world are left behind.
    """

    def __init__(self, name: str, called: str, config: WorldConfig, jobs: Jobs) -> None:
        self._name, self._called, self._config, self._jobs = name, called, config, jobs
        try:
            self._world = make_world(config)
        except BaseException as error:  # a model that does not compile, no GL, ...
            jobs.refuse(called, f"the world {called!r} cannot be made: {reason(error)}")
            raise
        self._streams = Streams(name, self._world)
        self._player: Player | None = None
        self._base_ns = 0
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._rollout: tuple[Job, Rollout, Iterator[Sequence[Delivery]]] | None = None

    @property
    def specs(self) -> tuple[StreamSpec, ...]:
        return self._streams.specs

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
                if self._player is None and job.source not in (RANDOM, SCRIPTED):
                    self._player = Player(self._name)
                    self._make_anew()  # one thread resets and steps it
                rollout = Rollout(self._world, self._streams, job, self._base_ns, self._closed.is_set)
                self._rollout = job, rollout, iter(rollout)
            job, rollout, pieces = self._rollout
            piece = next(pieces) if self._player is None else self._player.piece(pieces, timeout_s)
            self._jobs.steps = rollout.steps
            hangs = piece is None and (piece := rollout.given_up()) is not None
            if hangs and self._player is not None:
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
        if (hangs or ended.failed_by == US) and not self._closed.is_set():
            self._make_anew()

    def _make_anew(self) -> None:
        """What is left of a world that raised is not to be in the next rollout."""
        try:
            self._world.close()
            self._world = make_world(self._config)
        except BaseException as error:  # it may even exit
            log.error("the world %s cannot be made again, what is left of it goes on: %s", self._called, reason(error))

    def close(self) -> None:
        self._closed.set()
        with self._reading:
            if self._player is not None:
                self._player.close()
            self._world.close()
            if self._rollout is not None:
                self._jobs.ended(self._rollout[0], "it was broken off")
                self._rollout = None
