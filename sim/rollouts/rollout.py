"""One rollout: a world is reset, a policy acts until it is done, and what came out is delivered as an episode."""

import contextlib
import math
import operator
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import MAX_TEXT, EpisodeBegin, EpisodeEnd, Label, SourceNote
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.patience import IMPORT_S, LeftBehind, Patience
from sensorium.sim.rollouts.gathering import Gathering
from sensorium.sim.rollouts.holding import Holding
from sensorium.sim.rollouts.job import (
    CPU_S,
    FAILED,
    FAILED_BY,
    POLICY,
    REWARD,
    SIMULATED_S,
    STEPS,
    US,
    WALL_S,
    WHY,
    Job,
)
from sensorium.sim.rollouts.policies import (
    RANDOM,
    SCRIPTED,
    PolicyAtWork,
    PolicyFault,
    Seeing,
    imported,
    not_imported,
    policy_of,
)
from sensorium.sim.worlds.running import KEPT, Named
from sensorium.sim.worlds.world import Observation, World
from sensorium.threads import reason

ENDS = ("terminated", "truncated")
MAX_REWARD = 1e18
MAX_COMPONENTS = 32
"""Of a reward, in the labels; more of them are in the stream alone."""


class Streams:
    """The streams of a world's rollouts under a sensor's name: what is sensed, the truth, actions, and rewards."""

    def __init__(self, name: str, world: World) -> None:
        self.named = Named(name, world, truth=True)
        self.components = world.specs.rewards or (REWARD,)
        self.first_task = next(iter(world.tasks))
        self._sums, self._named_components = not world.specs.rewards, frozenset(self.components)
        self.prefix = f"{name}."
        self._specs = {spec.name: spec for spec in (*world.specs.sensed, *world.specs.truth)}
        rewards = StreamSpec(
            name=self.prefix + REWARD,
            modality=REWARD,
            dtype="float64",
            shape=(len(self.components),),
            channels=self.components,
            rate_hz=world.specs.action.rate_hz,
        )
        self.specs = (*self.named.specs, rewards)

    def check(self, block: Block) -> None:
        """Raise `ValueError` where a block is of none of the world's streams, or is not as its spec says: it would be
        lost on its way, and the rollout count without it."""
        spec = self._specs.get(block.stream)
        if spec is None:
            raise ValueError(f"the world delivered {block.stream!r}, which is none of its streams")
        if isinstance(block.content, np.ndarray) and block.content.shape[1:] != spec.shape:
            got = block.content.shape[1:]
            raise ValueError(f"the world's {block.stream!r} has samples of shape {got}, expected {spec.shape}")
        block.check(spec)

    def rewards(self, observation: Observation) -> list[float]:
        """What a step earned, by channel.

        Raises:
            ValueError: it has a component that the world's specs do not name or that is no text, or is not finite.
        """
        earned = observation.rewards
        for name in earned:
            if not isinstance(name, str) or not name.isprintable():
                raise ValueError(f"the world gave a reward named {name!r}, expected a text")
        if not all(map(math.isfinite, earned.values())):
            raise ValueError(f"the world gave a reward that is not finite: {dict(earned)}")
        if self._sums:
            return [sum(earned.values())]
        if not earned.keys() <= self._named_components:
            unknown = ", ".join(sorted(earned.keys() - self._named_components))
            raise ValueError(f"the world gave a reward {unknown}, its specs name {', '.join(self.components)}")
        return [earned.get(name, 0.0) for name in self.components]


@dataclass(slots=True)
class _Course:
    """How far one rollout has come, in the time of its world."""

    last_ns: int = 0
    newest_ns: dict[str, int] = field(default_factory=dict)
    now_ns: int = 0
    samples: int = 0
    steps: int = 0
    total: float = 0.0
    earned: dict[str, float] = field(default_factory=dict)
    outcome: str = ""
    failed_by: str = ""
    why: str = ""


class _Cost:
    """What the thread that plays took so far, s of wall and of CPU, from each `begin` to its `end`; any thread may end
    it."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0
        self._clock = 0
        self._since = (0.0, 0.0)

    def begin(self) -> None:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        self._since = time.perf_counter(), time.clock_gettime(self._clock)

    def end(self) -> None:
        wall_s, cpu_s = self._since
        self.wall_s += time.perf_counter() - wall_s
        with contextlib.suppress(OSError):  # of a thread that has ended meanwhile
            self.cpu_s += time.clock_gettime(self._clock) - cpu_s


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rollout ended: behind its last sample at `end_ns`, with `samples` in its episode. Of one that has none
    there is no episode. `failed_by` is empty, `us` or `policy`."""

    end_ns: int
    outcome: str
    samples: int
    failed_by: str
    why: str


class Rollout:
    """Delivers one rollout piece by piece: iterate, then look at `ended`.

    Args:
        stopped: Asked at each step: whether to break off, as one that failed for our reasons.
        world_timeout_s: How long the world may take for its reset, or for a step.
    """

    def __init__(
        self,
        world: World,
        streams: Streams,
        job: Job,
        base_ns: int,
        stopped: Callable[[], bool] = lambda: False,
        world_timeout_s: float = math.inf,
    ) -> None:
        job = replace(job, task=job.task or streams.first_task)
        self._world, self._streams, self._job, self._base_ns = world, streams, job, base_ns
        self._stopped = stopped
        self._gathering = Gathering(streams.prefix, base_ns)
        self._marked: list[Delivery] = [EpisodeBegin(base_ns, job.labels(), base_ns)]
        self._notes: list[Delivery] = []
        kept = frozenset((streams.prefix + REWARD, streams.prefix + world.specs.action.name))
        self._holding = Holding(not job.keep_failures, kept)
        self._course = _Course()
        self._cost = _Cost()
        own = job.source in (RANDOM, SCRIPTED)
        self._importing = Patience(math.inf if own else max(IMPORT_S, job.policy_timeout_s))
        self._patience = Patience(math.inf if own else job.policy_timeout_s)
        self._with_world = Patience(world_timeout_s)
        self.ended: Ended | None = None

    @property
    def steps(self) -> int:
        """How many were taken so far."""
        return self._course.steps

    def __iter__(self) -> Iterator[Sequence[Delivery]]:
        """What is delivered, in its order. What who takes it does meanwhile is none of its cost."""
        cost = self._cost
        cost.begin()
        steps = self._steps()
        while not next(steps, True):
            pieces = self._holding.passed(self._taken())
            cost.end()
            yield pieces
            cost.begin()
        last = self._taken()
        cost.end()
        yield self._ending(last)

    def given_up(self) -> Sequence[Delivery] | None:
        """For who waits in vain, in another thread: what is delivered last where policy or world have not answered for
        too long, and so failed; None where there is still hope."""
        course, job = self._course, self._job
        failed_by = POLICY
        if self._with_world.has_run_out():
            failed_by = US
            course.why = (
                f"the world {job.world!r} did not answer within {self._with_world.most_s:g} s (`world_timeout_s`)"
            )
        elif self._importing.has_run_out():
            course.why = not_imported(job.source, max(IMPORT_S, job.policy_timeout_s))
        elif self._patience.has_run_out():
            course.why = f"policy {job.policy!r} did not answer within {job.policy_timeout_s:g} s (`policy_timeout_s`)"
        else:
            return None
        course.outcome, course.failed_by = FAILED, failed_by
        self._cost.end()
        return self._ending(self._taken())

    def _taken(self) -> list[Delivery]:
        marked, self._marked = self._marked, []
        notes, self._notes = self._notes, []
        return [*marked, *self._gathering.take(), *notes]

    def _ending(self, blocks: list[Delivery]) -> Sequence[Delivery]:
        """The last of it, and how it ended."""
        course = self._course
        blocks, is_cut = self._holding.rest(blocks, bool(course.failed_by))
        if is_cut:
            course.samples = sum(len(each) for each in blocks if isinstance(each, Block))
        last_ns = self._base_ns + max(course.now_ns, course.last_ns)
        if course.failed_by:
            value = {"who": course.failed_by, "why": course.why[:1000]}
            blocks.append(SourceNote("event", FAILED, value, start_ns=last_ns))
        blocks.append(EpisodeEnd(last_ns + 1, course.outcome, self._labels(is_cut), passed=True))
        self.ended = Ended(last_ns + 1, course.outcome, course.samples, course.failed_by, course.why)
        return blocks

    def _steps(self) -> Iterator[bool]:
        """Act until it is done; False whenever something is to be delivered. Whatever goes wrong is an outcome."""
        course = self._course
        try:
            yield from self._act()
        except PolicyFault as fault:
            course.outcome, course.failed_by, course.why = FAILED, POLICY, _text(str(fault))
        except (GeneratorExit, LeftBehind):  # who plays it lets go of it
            raise
        except BaseException as error:  # of the world, or for want of memory: the campaign goes on
            course.outcome, course.failed_by, course.why = FAILED, US, _text(reason(error))

    def _act(self) -> Iterator[bool]:
        world, job, course = self._world, self._job, self._course
        rng = np.random.default_rng([job.seed, 1])
        with self._with_world:
            observation = world.reset(job.seed, job.task)
        self._take(observation)
        try:
            if job.source not in (RANDOM, SCRIPTED):
                with self._importing:
                    imported(job.source)
            with self._patience:
                policy = policy_of(job.source, world)
        except LeftBehind:
            raise
        except BaseException as error:  # it is anybody's code
            raise PolicyFault(f"policy {job.policy!r}: {reason(error)}") from error
        patience = self._with_world if job.source == SCRIPTED else self._patience
        acting, done = PolicyAtWork(policy, job.policy, world.specs, patience), ""
        seeing = None if job.source in (RANDOM, SCRIPTED) else Seeing()
        action_stream = world.specs.action.name
        while not done:
            if self._stopped():
                raise InterruptedError("the worker was told to stop")
            action = acting.act({} if seeing is None else seeing.look(observation), rng)
            self._gathering.row(action_stream, observation.now_ns, action)
            with self._with_world:
                observation, done = world.step(np.array(action))
            if done and done not in ENDS:
                raise ValueError(f"the world said that it is done by {done!r}, expected {' or '.join(ENDS)}")
            course.steps += 1
            course.samples += 2
            self._take(observation)
            self._earn(observation)
            if not done and course.steps == job.steps:
                done = "truncated"
            if self._gathering.is_due and not done:
                yield False
        course.outcome = done

    def _take(self, observation: Observation) -> None:
        course = self._course
        for blocks in (observation.sensed, observation.truth):
            for block in blocks:
                self._streams.check(block)
                if n := len(block.captured_ns):
                    if block.captured_ns[0] < course.newest_ns.get(block.stream, 0):
                        raise ValueError(f"the world's {block.stream!r} has a stamp that steps back")
                    last_ns = course.newest_ns[block.stream] = int(block.captured_ns[-1])
                    course.samples += n
                    course.last_ns = max(course.last_ns, last_ns)
                self._gathering.add(block)
        if observation.notes:
            notes = self._streams.named.notes(observation, self._base_ns)
            for note in notes:
                note.check()
            self._notes += notes
        now_ns = operator.index(observation.now_ns)  # numpy's whole numbers too, of which marks are not made
        if now_ns < course.now_ns:
            raise ValueError(f"the world's clock steps back, from {course.now_ns} to {now_ns} ns")
        course.now_ns = now_ns

    def _earn(self, observation: Observation) -> None:
        course = self._course
        row = self._streams.rewards(observation)
        earned = {name: course.earned.get(name, 0.0) + float(value) for name, value in observation.rewards.items()}
        total = course.total + float(sum(row))
        if not all(abs(value) < MAX_REWARD for value in (total, *earned.values())):
            raise ValueError(f"the rewards come to {total}, expected less than {MAX_REWARD:g}")
        self._gathering.row(REWARD, observation.now_ns, row)
        course.total = total
        course.earned |= earned

    def _labels(self, is_cut: bool) -> dict[str, Label]:
        course = self._course
        labels: dict[str, Label] = {
            REWARD: course.total,
            STEPS: course.steps,
            WALL_S: self._cost.wall_s,
            CPU_S: self._cost.cpu_s,
            SIMULATED_S: course.now_ns / 1e9,
        }
        if course.failed_by:
            labels |= {FAILED_BY: course.failed_by, WHY: _brief(course.why)}
        if is_cut:
            labels[KEPT] = "actions, rewards"
        named = sorted(course.earned.items())[:MAX_COMPONENTS]
        return labels | {f"{REWARD}.{name}"[:MAX_TEXT]: value for name, value in named}


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()


def _brief(text: str) -> str:
    return " ".join(text.split())[:MAX_TEXT]
