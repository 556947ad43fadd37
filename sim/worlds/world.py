"""The world contract: reset, step, and what it senses, on one simulated clock that begins at each reset.

A world runs by itself as a driver, with its own `scripted` motion, or is acted on as an environment. Stamps are since
the reset; whoever hosts it adds a base. The manner is dm_env's (https://github.com/google-deepmind/dm_env).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from sensorium.drivers.controls import Control, Value, check_asked
from sensorium.drivers.marks import SourceNote
from sensorium.drivers.stream import Block, StreamSpec

Action = npt.NDArray[np.float64]
"""float64 [n], n as `WorldSpecs.action` has it."""

Done = Literal["", "terminated", "truncated"]
"""Empty while it goes on; the task reached an end of its own; its time was over."""


@dataclass(frozen=True, slots=True)
class WorldSpecs:
    """What a world senses, takes and knows; names of streams are bare (`cam`, `imu`), a host puts its own before.

    `action` is a stream of one float64 row a step, `low` and `high` [n] its bounds. `truth` streams have the modality
    `truth`: no policy sees them. Each stream has its own rate; `step_ns` is how long one step is; unless
    `steady`, the least: each takes as long as what was asked for.
    `rewards` names the components of the reward, where they are always the same; else a host records their sum.
    """

    sensed: tuple[StreamSpec, ...]
    truth: tuple[StreamSpec, ...]
    action: StreamSpec
    low: Action
    high: Action
    step_ns: int
    steady: bool = True
    rewards: tuple[str, ...] = ()

    def clipped(self, action: Action) -> Action:
        """What acts: a copy within the bounds.

        Raises:
            ValueError: it has another shape, or is not finite.
        """
        if np.shape(action) != self.low.shape or not np.isfinite(action).all():
            got = f"{np.shape(action)}" if np.shape(action) != self.low.shape else f"{np.asarray(action).tolist()}"
            raise ValueError(f"action {self.action.name!r} is {got}, expected {len(self.low)} finite numbers")
        return np.clip(np.asarray(action, np.float64), self.low, self.high)


@dataclass(frozen=True, slots=True)
class Observation:
    """What came out in (now - step, now], by stream, in the order of stamps; at a reset what stands at 0.

    `sensed` and `truth` are blocks of those streams, with stamps since the reset. `rewards` is what this step earned,
    by component; the reward is their sum. `notes` is what happened that only the world knows (a planned fault that
    begins), with stamps since the reset: truth, too. `told` is what it says of what it was asked, by its own senses.
    """

    now_ns: int
    sensed: tuple[Block, ...]
    truth: tuple[Block, ...] = ()
    rewards: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[SourceNote, ...] = ()
    told: tuple[SourceNote, ...] = ()


class World(ABC):
    """One world, made by its configuration. The same (version, configuration, task, seed, actions) gives the same bytes
    of every stream, in any process on the same machine; a reset leaves nothing behind of what was before.

    One thread resets and steps it; another may have made it, and another may close it: what belongs to a thread (a GL
    context) it makes at its first reset.
    """

    version: str
    """Changes whenever the same actions would give other bytes."""
    specs: WorldSpecs
    tasks: Mapping[str, str]
    """What may be asked for, each with a sentence; the first is the default."""

    @property
    def controls(self) -> tuple[Control, ...]:
        """What may be asked of its own motion while it runs; most have nothing of the kind."""
        return ()

    @abstractmethod
    def reset(self, seed: int, task: str) -> Observation:
        """Begin anew at 0 ns; `seed` decides all that is random. An unknown task raises `ConfigError`."""

    @abstractmethod
    def step(self, action: Action) -> tuple[Observation, Done]:
        """Act for one step. The action is clipped to its bounds (`specs.clipped`), and the clipped one is what acts.

        Raises:
            ValueError: it has another shape or is not finite; nothing has happened.
            RuntimeError: after `done`, when only `reset` may be called.
        """

    @abstractmethod
    def scripted(self) -> Action:
        """What the world's own motion does next, by its truth and within the bounds: it shows the task, and never ends.
        To ask changes nothing."""

    def ask(self, name: str, asked: Mapping[str, Value]) -> None:
        """From now on, until asked for something else, `scripted` does this, for the proposal `name`: by what the world
        itself senses, never by truth. What became of it is `told` (the kind `CONTROL`). Nothing asked: as if never
        asked. The same asks at the same moments give the same bytes; a reset takes them back.

        Raises:
            ValueError: a control that there is not, or a value outside its range; nothing has happened.
        """
        del name
        check_asked(self.controls, asked)

    def close(self) -> None:  # noqa: B027 (most have nothing to give back)
        """Give back what it holds (a GL context); twice is no error."""
