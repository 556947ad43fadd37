"""A world that runs by itself: a driver that resets it, moves it as it is scripted, and marks where episodes begin."""

import logging
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

import msgspec
import numpy as np

from sensorium.drivers.batching import BLOCK_NS
from sensorium.drivers.clock import SECOND_NS, Clock
from sensorium.drivers.controls import CONTROL, Control, Value, check_asked
from sensorium.drivers.driver import Delivery
from sensorium.drivers.marks import EpisodeBegin, EpisodeEnd, Label, Passed, SourceNote
from sensorium.drivers.pacing import Pacer, Timed
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError, SensoriumError
from sensorium.sim.worlds.world import Action, Observation, World

log = logging.getLogger(__name__)

FAST_BLOCK_NS = 250_000_000
"""Where nobody waits for the present, a block of rows may span as much as a stored chunk."""

SCRIPTED = "scripted"
"""The policy of a world that moves by itself."""

FAILED = "failed"
"""The outcome where the world raised, and the name of the note that says why."""
KEPT = "failed.kept"
"""The label of one that failed of which not all is kept, and what is."""

RESET_FAILED, RESETS_FAILED = "reset_failed", "resets_failed"
"""Of an episode before which resets raised: the name of a note of each, and the label that counts them."""
PASSED_NS = 1_000_000_000
"""No stamp of a sample is so much earlier than the moment until which the world has told."""
MOST_FAILED = 20
"""Resets that raise one behind the other: then nothing is to be had of the world."""


@dataclass(frozen=True, slots=True)
class Course:
    """What is asked of a world that runs by itself; see `WorldConfig`. `task` is one of the world's."""

    kind: str
    seed: int
    task: str
    start_ns: int
    duration_s: float | None
    episode_s: float | None
    truth: bool


class Running(Timed[Delivery]):
    """A driver over `world`, which is its own from now on. A read takes as long as a step of the world.

    What is asked of it is begun before its next step. A reset takes it back; that it was not done by then is told.
    """

    def __init__(self, world: World, name: str, course: Course, pace: float | Literal["fast"]) -> None:
        self._world, self._asks = world, _Asks(world)
        named = Named(name, world, course.truth)
        rows = _HeldRows(named.specs, FAST_BLOCK_NS if pace == "fast" else BLOCK_NS)
        super().__init__(
            named.specs, Clock(kind="simulated"), _deliveries(self._asks, named, course, rows), Pacer(pace)
        )

    @property
    def controls(self) -> tuple[Control, ...]:
        return self._world.controls

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """As `Controllable.ask`."""
        self._asks.put(name, check_asked(self._world.controls, asked))

    def close(self) -> None:
        super().close()
        self._world.close()


class Named:
    """The streams of a world as its host has them: under the host's name for it, with stamps from a base on."""

    def __init__(self, name: str, world: World, truth: bool) -> None:
        self._prefix = f"{name}."
        self._truth = truth
        streams = (*world.specs.sensed, *(world.specs.truth if truth else ()), world.specs.action)
        self.specs = tuple(self._spec(spec) for spec in streams)

    def blocks(self, observation: Observation, base_ns: int) -> list[tuple[int, Block]]:
        """What came out, each with its last stamp, in their order."""
        came = (*observation.sensed, *(observation.truth if self._truth else ()))
        return sorted((self._block(block, base_ns) for block in came), key=itemgetter(0))

    def notes(self, observation: Observation, base_ns: int) -> list[SourceNote]:
        """What happened, where truth is told."""
        return [self._note(note, base_ns) for note in observation.notes] if self._truth else []

    def told(self, observation: Observation, base_ns: int) -> list[SourceNote]:
        """What it says of what it was asked."""
        return [self._note(note, base_ns) for note in observation.told]

    def action(self, action: Action, at_ns: int, world: World) -> tuple[int, Block]:
        """The row of an action that begins to act at a moment of the host's clock."""
        stream = f"{self._prefix}{world.specs.action.name}"
        return at_ns, Block(stream, np.array([at_ns], np.int64), action.astype(np.float64)[None])

    def _note(self, note: SourceNote, base_ns: int) -> SourceNote:
        stream = self._prefix + note.stream if note.stream else ""
        end_ns = None if note.end_ns is None else note.end_ns + base_ns
        return SourceNote(note.kind, note.name, note.value, stream, start_ns=note.start_ns + base_ns, end_ns=end_ns)

    def _block(self, block: Block, base_ns: int) -> tuple[int, Block]:
        stamps = block.captured_ns + base_ns
        lost_at_ns = None if block.lost_at_ns is None else block.lost_at_ns + base_ns
        stream = self._prefix + block.stream
        named = Block(stream, stamps, block.content, block.lost_before, block.sensor_ns, lost_at_ns=lost_at_ns)
        return int(stamps[-1]) if len(stamps) else lost_at_ns or base_ns, named

    def _spec(self, spec: StreamSpec) -> StreamSpec:
        derived_from = self._prefix + spec.derived_from if spec.derived_from else ""
        return msgspec.structs.replace(spec, name=self._prefix + spec.name, derived_from=derived_from)


class _HeldRows:
    """Rows of a step are few, and every block costs the same: those of each stream are joined until they span
    `span_ns`. Pictures, what tells of a loss, and what a world must not give (whoever records it says so) are let
    through, behind what came before them."""

    def __init__(self, specs: Sequence[StreamSpec], span_ns: int) -> None:
        held = (spec for spec in specs if not spec.is_frames and not spec.has_sensor_ns)
        self._kinds = {spec.name: (np.dtype(spec.dtype), spec.shape) for spec in held}
        self._span_ns = span_ns
        self._held: dict[str, list[Block]] = {}
        self._since_ns = 0

    def add(self, due_ns: int, block: Block) -> list[tuple[int, Block]]:
        """What is to be delivered now."""
        if block.lost_before or block.media is not None or not self._goes_on(block):
            return [*self._joined(self._held.pop(block.stream, [])), (due_ns, block)]
        if not self._held:
            self._since_ns = due_ns
        self._held.setdefault(block.stream, []).append(block)
        return self.rest() if due_ns - self._since_ns >= self._span_ns else []

    def _goes_on(self, block: Block) -> bool:
        """Whether it can be joined to what is held."""
        if (block.data.dtype, block.data.shape[1:]) != self._kinds.get(block.stream):
            return False
        before = next((each for each in reversed(self._held.get(block.stream, [])) if len(each)), None)
        return before is None or not len(block) or bool(block.captured_ns[0] >= before.captured_ns[-1])

    def rest(self) -> list[tuple[int, Block]]:
        """All that is held, in the order of its last stamps."""
        held, self._held = self._held, {}
        return sorted((due for blocks in held.values() for due in self._joined(blocks)), key=itemgetter(0))

    def _joined(self, blocks: list[Block]) -> list[tuple[int, Block]]:
        blocks = [block for block in blocks if len(block)]
        if not blocks:
            return []
        one = blocks[0]
        if len(blocks) > 1:
            stamps = np.concatenate([block.captured_ns for block in blocks])
            one = Block(one.stream, stamps, np.concatenate([block.data for block in blocks]))
        return [(int(one.captured_ns[-1]), one)]


def raised(error: BaseException) -> str:
    """What a world raised, in one line."""
    try:
        said = str(error)
    except Exception:  # it is anybody's, and may raise even here
        said = "it does not say why"
    named = said if isinstance(error, SensoriumError) else f"{type(error).__name__}: {said}"
    return " ".join(named.split()).removesuffix(":")


def next_base_ns(end_ns: int) -> int:
    """The base of a reset after one that ended so: a whole second, with one between, so that it is no clock reset."""
    return (-(-end_ns // SECOND_NS) + 1) * SECOND_NS


Deliveries = Generator[tuple[int, Delivery], None, None]


class _Asks:
    """What is asked of a world, by any thread, until the one that steps it passes it on."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._guard = threading.Lock()
        self._waiting: list[tuple[str, Mapping[str, Value]]] = []
        self._open: dict[str, tuple[Mapping[str, Value], int]] = {}

    def put(self, name: str, asked: Mapping[str, Value]) -> None:
        with self._guard:
            self._waiting.append((name, asked))

    def begin(self, now_ns: int) -> None:
        """Pass on what waits; it begins at `now_ns` of the host's clock."""
        with self._guard:
            waiting, self._waiting = self._waiting, []
        for name, asked in waiting:
            self.world.ask(name, asked)
            if asked:
                self._open[name] = (asked, now_ns)

    def told(self, note: SourceNote) -> SourceNote:
        """One that the world told of is open no more."""
        self._open.pop(note.name, None)
        return note

    def cut_off(self, end_ns: int) -> list[SourceNote]:
        """What is to be said of those that are open where a reset is to come."""
        cut, self._open = self._open, {}
        why = "the world came to its end before it had taken effect"
        return [
            SourceNote(CONTROL, name, {"asked": dict(asked), "did": {}, "why": why}, start_ns=begun_ns, end_ns=end_ns)
            for name, (asked, begun_ns) in cut.items()
        ]


def _deliveries(asks: _Asks, named: Named, course: Course, rows: _HeldRows) -> Deliveries:
    """Episode after episode, each with the next seed, as long as it runs."""
    base_ns, seed = course.start_ns, course.seed
    until_ns = None if course.duration_s is None else course.start_ns + round(course.duration_s * SECOND_NS)
    while until_ns is None or base_ns < until_ns:
        begun = _begun(asks.world, course, seed, base_ns)
        end_ns = yield from _episode(asks, named, course, rows, begun, until_ns)
        base_ns, seed = next_base_ns(end_ns), begun.seed + 1


@dataclass(frozen=True, slots=True)
class _Begun:
    """A reset: its seed, what stood then, why each one before it raised, and its base."""

    seed: int
    observation: Observation
    failed: list[dict[str, object]]
    base_ns: int


def _begun(world: World, course: Course, seed: int, base_ns: int) -> _Begun:
    """The first reset from `seed` on that does not raise.

    Raises:
        SensoriumError: none of so many did not.
    """
    failed: list[dict[str, object]] = []
    while True:
        try:
            return _Begun(seed, world.reset(seed, course.task), failed, base_ns)
        except ConfigError:  # it was asked wrongly: nothing failed
            raise
        except Exception as error:  # a world is anybody's code
            failed.append({"seed": seed, "why": raised(error)[:1000]})
            log.warning("%s: its reset with seed %d raised: %s", course.kind, seed, raised(error))
            if len(failed) == MOST_FAILED:
                raise SensoriumError(
                    f"{course.kind}: {MOST_FAILED} resets in a row raised, the last with seed {seed}: {raised(error)};"
                    " see to the world, or begin with another seed"
                ) from error
            seed += 1


def _episode(
    asks: _Asks, named: Named, course: Course, rows: _HeldRows, begun: _Begun, until_ns: int | None
) -> Generator[tuple[int, Delivery], None, int]:
    """One, from its reset to where it is done, cut or failed; it returns its end, which is behind its last sample.

    Where the world raises, all that came before is delivered, with the reason; then it is raised on.
    """
    world, base_ns, observation, done = asks.world, begun.base_ns, begun.observation, ""
    labels: dict[str, Label] = {"world": course.kind, "task": course.task, "seed": begun.seed, "policy": SCRIPTED}
    if begun.failed:
        labels[RESETS_FAILED] = len(begun.failed)
    yield base_ns, EpisodeBegin(base_ns, labels | {"world_version": world.version}, base_ns)
    for said in begun.failed:
        yield base_ns, SourceNote("event", RESET_FAILED, said, start_ns=base_ns)
    last_ns = now_ns = passed_ns = base_ns
    cut_ns = min(_ends(base_ns, course, until_ns), default=None)
    failure: Exception | None = None
    try:
        while True:
            for note in named.notes(observation, base_ns):
                yield last_ns, note
            for note in named.told(observation, base_ns):
                yield last_ns, asks.told(note)
            for due_ns, block in named.blocks(observation, base_ns):
                last_ns = max(last_ns, due_ns)
                yield from rows.add(due_ns, block)
            now_ns = base_ns + int(observation.now_ns)  # it may be one of numpy's, of which no mark is made
            if not world.specs.steady and now_ns - PASSED_NS >= passed_ns + FAST_BLOCK_NS:
                passed_ns = now_ns - PASSED_NS
                yield from rows.rest()
                yield last_ns, Passed(passed_ns)
            if not done and cut_ns is not None and now_ns >= cut_ns:
                done = "truncated"
            if done:
                break
            asks.begin(now_ns)
            action = world.specs.clipped(world.scripted())
            yield from rows.add(*named.action(action, now_ns, world))
            observation, done = world.step(action)
    except ConfigError:  # it was asked wrongly: nothing failed
        raise
    except Exception as error:  # a world is anybody's code
        failure, done = error, FAILED
    yield from rows.rest()
    end_ns = max(now_ns, last_ns) + 1
    for note in asks.cut_off(end_ns):
        yield end_ns, note
    if failure is not None:
        said = {"who": "us", "why": raised(failure), "world": course.kind, "seed": begun.seed}
        yield end_ns, SourceNote("event", FAILED, said, start_ns=end_ns - 1)
    yield end_ns, EpisodeEnd(end_ns, done, passed=True)
    if failure is not None:
        raise failure
    return end_ns


def _ends(base_ns: int, course: Course, until_ns: int | None) -> Iterator[int]:
    if course.episode_s is not None:
        yield base_ns + round(course.episode_s * SECOND_NS)
    if until_ns is not None:
        yield until_ns
