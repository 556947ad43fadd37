"""Moments: what happens to an environment, one after another; of a vector one, to each of its sub-environments."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sensorium.drivers.marks import Label

Who = Literal["us", "policy"]
"""Whose fault it is that a rollout failed: the environment's and the machine's, or who acted."""


@dataclass(frozen=True, slots=True)
class Began:
    """A reset gave its first observation: an episode begins, with these labels beside those of all."""

    observation: Any
    info: Mapping[str, Any]
    frame: Any = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    sub: int = 0


@dataclass(frozen=True, slots=True)
class Stepped:
    """An action acted for one step. `frame` is None where none is drawn, or it could not be had."""

    action: Any
    observation: Any
    reward: Any
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]
    frame: Any = None
    sub: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The episode cannot go on, or could not begin, and why; `action` is what did not act, where there was one."""

    who: Who
    why: str
    action: Any = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    sub: int = 0


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Nobody goes on with the episode, if there is one."""

    sub: int = 0


Moment = Began | Stepped | Failed | Abandoned
