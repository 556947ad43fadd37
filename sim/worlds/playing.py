"""A world played from a reset on, by actions that are given or by its own; what came out is kept by stream."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from blake3 import blake3

from sensorium.drivers.stream import Block, Samples, Stamps
from sensorium.sim.worlds.world import Action, Done, Observation, World

Acts = Callable[[Observation, World], Action]
"""What acts, by what was observed."""


def by_script(observation: Observation, world: World) -> Action:
    """The world's own motion."""
    del observation
    return world.scripted()


@dataclass(frozen=True, slots=True)
class Step:
    """An action, None at the reset, and what came of it."""

    action: Action | None
    observation: Observation
    done: Done


def steps(world: World, seed: int, task: str, policy: Acts = by_script, most: int | None = None) -> Iterator[Step]:
    """The reset and every step, until the task is done, or `most` steps were made; `action` is what acted."""
    step = Step(None, world.reset(seed, task), "")
    yield step
    made = 0
    while not step.done and (most is None or made < most):
        action = policy(step.observation, world)
        step = Step(world.specs.clipped(action), *world.step(action))
        made += 1
        yield step


@dataclass
class Played:
    """All that came out, with stamps since the reset. `actions` [k, n] are those that acted, `rewards` [k] what each
    earned."""

    blocks: dict[str, list[Block]] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    rewards: list[Mapping[str, float]] = field(default_factory=list)
    done: Done = ""
    now_ns: int = 0

    @classmethod
    def of(cls, made: Iterator[Step]) -> "Played":
        """All of it, in memory."""
        played = cls()
        for step in made:
            played.add(step)
        return played

    def add(self, step: Step) -> None:
        """One more."""
        if step.action is not None:
            self.actions.append(step.action)
            self.rewards.append(step.observation.rewards)
        for block in (*step.observation.sensed, *step.observation.truth):
            self.blocks.setdefault(block.stream, []).append(block)
        self.done, self.now_ns = step.done, step.observation.now_ns

    def stamps(self, stream: str) -> Stamps:
        """Of one stream, int64 [n]."""
        return np.concatenate([block.captured_ns for block in self.blocks[stream]])

    def data(self, stream: str) -> Samples:
        """Of one stream, [n, ...]."""
        return np.concatenate([block.data for block in self.blocks[stream]])

    def lost(self, stream: str) -> int:
        """Samples of one stream that the world says are missing."""
        return sum(block.lost_before for block in self.blocks.get(stream, ()))

    def digests(self) -> dict[str, str]:
        """By stream, of its stamps, its samples and its losses, however they were cut; of the rewards too."""
        found = {stream: _digest(blocks) for stream, blocks in self.blocks.items()}
        said = repr([sorted((name, float(value)) for name, value in each.items()) for each in self.rewards])
        return found | {"(rewards)": blake3(said.encode()).hexdigest(length=16), "(done)": f"{self.done} {self.now_ns}"}


def _digest(blocks: Sequence[Block]) -> str:
    stamps, content = blake3(), blake3()
    lost = 0
    for block in blocks:
        stamps.update(block.captured_ns.tobytes())
        content.update(b"".join(block.media.items) if block.media else np.ascontiguousarray(block.data).tobytes())
        lost += block.lost_before
    return f"{stamps.hexdigest(length=16)} {content.hexdigest(length=16)} {lost}"
