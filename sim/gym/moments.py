"""Moments: what happens to an environment, one after another; of a vector one, to each of its sub-environments."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from sensorium.drivers.marks import Label

T = TypeVar("T")
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


def kept(moment: Moment) -> Moment:
    """A moment that nobody else writes to: an environment may give the same array each time."""
    match moment:
        case Began():
            seen = copied(moment.observation)
            return replace(moment, observation=seen, info=_kept_info(moment.info), frame=copied(moment.frame))
        case Stepped():
            acted, seen = copied(moment.action), copied(moment.observation)
            told, frame = _kept_info(moment.info), copied(moment.frame)
            return replace(moment, action=acted, observation=seen, info=told, frame=frame)
    return moment


def _kept_info(info: Any) -> Any:
    return {key: copied(value) for key, value in info.items()} if isinstance(info, Mapping) else info


def copied(value: T) -> T:
    """A value that nobody else writes to; itself where it cannot be copied."""
    try:
        return deepcopy(value)
    except Exception:  # an info may hold a handle of anything
        return value
