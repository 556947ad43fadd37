"""Replay: the world of an episode is made again, acts as it did, and must give the same bytes of every stream.

The configuration is in the episode's provenance, seed and task are its labels, and what acted is its stream of actions.
An episode of a world that was never reset has no base: the world then runs by itself from its start.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.drivers.clock import SECOND_NS
from sensorium.drivers.driver import Delivery
from sensorium.drivers.stream import Block, Samples, Stamps
from sensorium.episode.plural import many
from sensorium.errors import ConfigError, SensoriumError, SensorLost
from sensorium.sim.worlds.chosen import PREFIX, world_config
from sensorium.sim.worlds.config import WORLD_VERSION, WorldConfig, make_world
from sensorium.sim.worlds.running import FAILED, KEPT, SCRIPTED, Named, raised
from sensorium.sim.worlds.world import Action, World

REWARD = "reward"
_SAID = frozenset({"version", WORLD_VERSION})
"""In an identity, beside the fields of the configuration."""

Progress = Callable[[float], object]
"""Told up to which moment of simulated time, s, it has come."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a stream first differs: row `row` of those stored, `at_s` since the base, and `what`."""

    stream: str
    row: int
    at_s: float
    what: str


@dataclass
class Again:
    """What became of an episode that was made again: rows that are the `same`, by stream; streams that are no world's,
    or could not be compared, and why; the first difference of each stream, the earliest first."""

    episode: str
    world: str
    version: str
    task: str
    seed: int
    policy: str
    actions: int = 0
    same: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Whether every row of every stream of the world is as it was, and there were any."""
        return bool(self.same) and not self.differences

    def as_dict(self) -> dict[str, Any]:
        """In plain values."""
        return {**asdict(self), "is_same": self.is_same}


def is_rollout(episode: Episode) -> bool:
    """Whether it was recorded of an environment of Gymnasium, which is asked before that is imported."""
    return any("gymnasium" in stream.spec.calibration for stream in episode.streams.values())


def replay(episode: Episode, progress: Progress = lambda _: None) -> Again:
    """Make the episode's world again and compare every stream that is stored of it.

    Raises:
        ConfigError: it is of no world, or says too little of it; or its world is not installed, or cannot be made.
        Corrupt: what is stored cannot be read.
    """
    sensor, config, recorded = _world_of(episode)
    labels = episode.labels
    task = str(labels.get("task", config.task))
    again = Again(episode.id, config.kind, config.version, task, int(labels.get("seed", config.seed)), _policy(episode))
    if recorded != config.version:
        what = f"it was made by version {recorded} of the world, {config.version} is installed"
        again.differences.append(Difference("(version)", 0, 0.0, what))
        return again
    base_ns = episode.base_ns
    streams = _compared(episode, sensor, again, episode.start_ns if base_ns is None else base_ns)
    if base_ns is None:
        made = _by_itself(config, sensor, episode, streams, progress)
    else:
        made = _acted(config, sensor, episode, base_ns, again, streams, progress)
    for block in made:
        if block.stream in streams:
            streams[block.stream].take(block)
    for name, stream in streams.items():
        stream.end()
        again.same[name] = stream.same
        if stream.difference is not None:
            again.differences.append(stream.difference)
    again.differences.sort(key=lambda each: each.at_s)
    return again


def _world_of(episode: Episode) -> tuple[str, WorldConfig, str]:
    """The sensor that was a world, how it was set, and its version."""
    sources: Mapping[str, Any] = episode.attributes.get("provenance", {}).get("sources", {})
    found = {name: said for name, said in sources.items() if str(said.get("kind", "")).startswith(PREFIX)}
    if not found:
        raise ConfigError(
            f"episode {episode.id}: nothing in it was sensed in a world that can be made again; choose one whose"
            " provenance names a `sim-` source"
        )
    if len(found) > 1:
        raise ConfigError(f"episode {episode.id}: of several worlds ({', '.join(found)}); only one can be made again")
    sensor, said = next(iter(found.items()))
    settings = {name: value for name, value in said.items() if name not in _SAID}
    return sensor, world_config(settings.pop("kind"), settings), str(said.get(WORLD_VERSION, "1"))


def _policy(episode: Episode) -> str:
    return str(episode.labels.get("policy", SCRIPTED))


def _compared(episode: Episode, sensor: str, again: Again, base_ns: int) -> "dict[str, _Stored]":
    """The streams that are looked at, by name; of all others it is said why not."""
    found: dict[str, _Stored] = {}
    for name, stream in episode.streams.items():
        if not name.startswith(f"{sensor}."):
            again.skipped[name] = "of another sensor"
        elif stream.spec.derived_from:
            again.skipped[name] = f"made of {stream.spec.derived_from} by a filter"
        elif KEPT in episode.labels and stream.spec.modality not in ("action", REWARD):
            again.skipped[name] = "not kept of a rollout that failed"
        elif stream.encoding.codec != "lossless":
            again.skipped[name] = f"stored as {stream.encoding.codec}, not byte for byte"
        else:
            account = episode.account[name]
            part = bool(account["filtered"] or account["lost"])
            found[name] = _Stored(name, stream, base_ns, (episode.start_ns, _end_ns(episode)), part)
    if not found:
        raise ConfigError(
            f"episode {episode.id}: no stream of {sensor!r} is stored byte for byte; nothing can be compared"
        )
    return found


def _end_ns(episode: Episode) -> int:
    return int(episode.row["end_ns"])


def _by_itself(
    config: WorldConfig, sensor: str, episode: Episode, streams: "Mapping[str, _Stored]", progress: Progress
) -> Iterator[Block]:
    """What the world delivers when it runs by itself, until all streams have passed the end of the episode."""
    config = config.model_copy(update={"pace": "fast"})
    coming = set(streams)
    while coming:
        driver = config.open(sensor, Path())
        try:
            delivered: Any = ()
            while coming and (delivered := driver.read(1.0)) is not None:
                for block in _blocks(delivered):
                    yield block
                    if len(block) and int(block.captured_ns[-1]) >= _end_ns(episode):
                        coming.discard(block.stream)
                    progress(int(block.captured_ns[-1]) / 1e9 if len(block) else 0.0)
            if delivered is None:
                return
        except SensorLost:  # as it was planned: it is opened again, as it was then
            continue
        finally:
            driver.close()


def _blocks(delivered: Sequence[Delivery]) -> list[Block]:
    return [each for each in delivered if isinstance(each, Block)]


def _acted(
    config: WorldConfig,
    sensor: str,
    episode: Episode,
    base_ns: int,
    again: Again,
    streams: "Mapping[str, _Stored]",
    progress: Progress,
) -> Iterator[Block]:
    """What the world gives from its reset on, by the actions that are stored, or by its own where those were."""
    world = make_world(config)
    now_ns = base_ns
    try:
        named = Named(sensor, world, truth=True)
        rewards = _Rewards(streams.get(f"{sensor}.{REWARD}"))
        observation, done = world.reset(again.seed, again.task or next(iter(world.tasks))), ""
        again.task = again.task or next(iter(world.tasks))
        yield from (block for _, block in named.blocks(observation, base_ns))
        end_ns = _end_ns(episode) + (episode.outcome == FAILED)  # its last action began to act, and the world raised
        for action in _actions(episode, sensor, base_ns, world, again.policy):
            now_ns = base_ns + observation.now_ns
            if done or now_ns >= end_ns - 1:
                if done and again.policy != SCRIPTED:
                    what = f"the world was {done} after {many(again.actions, 'action')}; more are stored"
                    again.differences.append(Difference("(outcome)", again.actions, observation.now_ns / 1e9, what))
                break
            yield named.action(world.specs.clipped(action), now_ns, world)[1]
            observation, done = world.step(action)
            again.actions += 1
            yield from (block for _, block in named.blocks(observation, base_ns))
            yield from rewards.of(observation.rewards, base_ns + observation.now_ns)
            progress(observation.now_ns / 1e9)
        if episode.outcome == "terminated" and done != "terminated":
            made = f"it is {done or 'not over'} after {many(again.actions, 'action')}"
            what = f"the episode was terminated; made again, {made}"
            again.differences.append(Difference("(outcome)", again.actions, observation.now_ns / 1e9, what))
    except SensoriumError:
        raise
    except Exception as error:  # a world is anybody's code; one that failed then may fail again
        if episode.outcome != FAILED:
            what = f"made again, the world raises {raised(error)}"
            again.differences.append(Difference("(outcome)", again.actions, (now_ns - base_ns) / 1e9, what))
    finally:
        world.close()


def _actions(episode: Episode, sensor: str, base_ns: int, world: World, policy: str) -> Iterator[Action]:
    """What acted, in order; never ends where the world moved itself."""
    stream = episode.streams.get(f"{sensor}.{world.specs.action.name}")
    if policy == SCRIPTED:
        # an episode may be cut in the middle of a step, behind its last whole row; else there is one for each step
        count = sys.maxsize if stream is None or episode.attributes["reason"] != "complete" else len(stream)
        for _ in range(count):
            yield world.specs.clipped(world.scripted())
        return
    if stream is None:
        raise ConfigError(f"episode {episode.id}: has no stream {sensor}.{world.specs.action.name}; nothing can act")
    if not len(stream):
        return
    if int(stream.captured_ns[0]) != base_ns:
        late_s = (int(stream.captured_ns[0]) - base_ns) / 1e9
        raise ConfigError(
            f"episode {episode.id}: its first action is of {late_s:.3f} s after the reset; those before are in the"
            " episode before it, or were filtered, so it cannot be made again"
        )
    yield from np.asarray(stream[:], np.float64)


class _Rewards:
    """The rewards that are stored: one a step, or by component."""

    def __init__(self, stored: "_Stored | None") -> None:
        self._stored = stored

    def of(self, rewards: Mapping[str, float], now_ns: int) -> Iterator[Block]:
        """The row of a step."""
        if self._stored is None:
            return
        spec = self._stored.spec
        names = spec.channels
        values = [rewards.get(name, 0.0) for name in names] if set(names) & set(rewards) else [sum(rewards.values())]
        row = np.array(values, np.float64).reshape(1, *spec.shape).astype(spec.dtype)
        yield Block(spec.name, np.array([now_ns], np.int64), row)


class _Stored:
    """One stored stream, and how far what was made again is the same.

    Of a stream in `part`, of which samples were filtered or lost, rows that are not stored are passed over.
    """

    def __init__(self, name: str, stream: Stream, base_ns: int, within_ns: tuple[int, int], part: bool) -> None:
        self.name, self.spec = name, stream.spec
        self._stream = stream
        self._stamps = stream.captured_ns
        self._base_ns = base_ns
        self._within_ns = within_ns
        self._part = part
        self.same = 0
        self.difference: Difference | None = None
        self._doubt: Difference | None = None

    def take(self, block: Block) -> None:
        """Samples that were made again, of which those in the episode's interval are compared."""
        first, last = np.searchsorted(block.captured_ns, self._within_ns, "left")
        stamps, data = block.captured_ns[first:last], block.data[first:last]
        if not len(stamps) or self.difference is not None:
            return
        if self._part:
            self._pick(stamps, data)
            return
        stored = self._stamps[self.same : self.same + len(stamps)]
        alike = min(len(stored), len(stamps))
        wrong = np.flatnonzero(stored[:alike] != stamps[:alike])
        whole = int(wrong[0]) if len(wrong) else alike
        self._compare(data[:whole], stamps[:whole])
        if self.difference is None and len(wrong):
            at = int(stored[whole])
            self._differs(at, f"stamped {at - self._base_ns} ns, made again {int(stamps[whole]) - self._base_ns} ns")
        elif self.difference is None and len(stamps) > alike:
            self._differs(int(stamps[alike]), "made again there are more samples")

    def end(self) -> None:
        """Nothing more was made."""
        self.difference = self.difference or self._doubt
        if self.difference is None and self.same < len(self._stamps):
            missing = len(self._stamps) - self.same
            self._differs(
                int(self._stamps[self.same]),
                f"made again the last {'sample is' if missing == 1 else f'{missing} samples are'} missing",
            )

    def _pick(self, stamps: Stamps, data: Samples) -> None:
        """Of what was made again those that are stored. Of several with one stamp any may be the one that is."""
        for row, stamp in enumerate(stamps.tolist()):
            if self.difference is not None or self.same == len(self._stamps):
                return
            wanted = int(self._stamps[self.same])
            if stamp == wanted:
                before = self.same
                self._compare(data[row : row + 1], stamps[row : row + 1])
                self._doubt, self.difference = (None if self.same > before else self.difference), None
            elif stamp > wanted:
                what = f"stamped {wanted - self._base_ns} ns, made again the next is {stamp - self._base_ns} ns"
                self.difference = self._doubt or Difference(
                    self.name, self.same, (wanted - self._base_ns) / SECOND_NS, what
                )

    def _compare(self, data: Samples, stamps: Stamps) -> None:
        stored = self._stream[self.same : self.same + len(data)]
        if stored.dtype == data.dtype and stored.tobytes() == np.ascontiguousarray(data).tobytes():
            self.same += len(data)
            return
        row = next(row for row in range(len(data)) if stored[row].tobytes() != data[row].tobytes())
        self.same += row
        self._differs(int(stamps[row]), _apart(stored[row], data[row]))

    def _differs(self, at_ns: int, what: str) -> None:
        self.difference = Difference(self.name, self.same, (at_ns - self._base_ns) / SECOND_NS, what)


def _apart(stored: Samples, made: Samples) -> str:
    """How many values of a sample differ, and the first of them."""
    one, other = np.atleast_1d(stored), np.atleast_1d(made)
    if one.shape != other.shape or one.dtype != other.dtype:
        return f"{one.dtype}{list(one.shape)} is stored, {other.dtype}{list(other.shape)} was made again"
    size = one.dtype.itemsize
    bits = [np.ascontiguousarray(each).view(np.uint8).reshape(-1, size) for each in (one, other)]
    wrong = np.flatnonzero((bits[0] != bits[1]).any(axis=1))
    place = [int(index) for index in np.unravel_index(int(wrong[0]), one.shape)]
    was, now = one.reshape(-1)[wrong[0]], other.reshape(-1)[wrong[0]]
    return f"{len(wrong)} of {one.size} values differ, first at {place}: {was!r} is stored, {now!r} was made again"
