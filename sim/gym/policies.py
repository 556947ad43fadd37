"""Policies: who acts in an environment: chance, the environment's own script, or a user's `module:callable`."""

import importlib
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from sensorium.errors import ConfigError
from sensorium.patience import IMPORT_S, LeftBehind, Patience, within
from sensorium.threads import reason

RANDOM, SCRIPTED = "random", "scripted"

Acts = Callable[[Any, np.random.Generator], Any]
"""A user's policy: of an observation, as the environment gave it, and a seeded generator of chance, the action."""


class BadAction(ValueError):
    """What a policy gave that is no action of the space."""


class Actor(Protocol):
    """Who acts in one environment: `begin` is told the seed of each episode that has one."""

    def begin(self, seed: int | None) -> None: ...

    def act(self, observation: Any) -> Any: ...


def actor(
    policy: str, space: spaces.Space[Any], script: Callable[[], Any] | None, base: Path, patience: Patience
) -> Actor:
    """Who acts by `policy` in a space of actions; modules are looked for in `base` too.

    Args:
        script: The environment's own, if it has one.
        patience: With a policy of somebody's own.

    Raises:
        ConfigError: there is no such policy.
    """
    if policy == RANDOM:
        return _Random(space)
    if policy == SCRIPTED:
        if script is None:
            raise ConfigError("policy: this environment has no script of its own; take random, or a module:callable")
        return _Scripted(script)
    return _Called(_load(policy, base), space, patience)


def check_policy(policy: str) -> str:
    """Return a policy that can be one; `ValueError` for others."""
    module, colon, name = policy.partition(":")
    if policy in (RANDOM, SCRIPTED) or (colon and module and all(part.isidentifier() for part in name.split("."))):
        return policy
    raise ValueError(f"expected random, scripted or module:callable, got {policy!r}")


def fitted(space: spaces.Space[Any], action: Any, where: str = "action") -> Any:
    """An action in the types of its space. One of a `Box` may be out of its bounds, as Gymnasium lets it be.

    Raises:
        BadAction: it has another shape, is not finite, or is none of the space.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(action, dict) or set(action) != set(space.spaces):
            raise BadAction(f"{where} is {_said(action)}, expected a mapping with {', '.join(space.spaces)}")
        return {key: fitted(each, action[key], f"{where}.{key}") for key, each in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        if not isinstance(action, tuple | list) or len(action) != len(space.spaces):
            raise BadAction(f"{where} is {_said(action)}, expected {len(space.spaces)} parts")
        return tuple(fitted(each, action[n], f"{where}.{n}") for n, each in enumerate(space.spaces))
    if isinstance(space, spaces.Box):
        try:
            found = np.asarray(action)
        except ValueError as error:
            raise BadAction(f"{where} is no array: {error}") from error
        if found.dtype.kind not in "biuf" or found.shape != space.shape:
            raise BadAction(f"{where} is {_said(action)}, expected {space.dtype} {list(space.shape)}")
        if not np.isfinite(found).all():
            raise BadAction(f"{where} is not finite: {_said(action)}")
        return found.astype(space.dtype)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        action = _whole(space, action)
    if action not in space:
        raise BadAction(f"{where} is {_said(action)}, expected one of {space}")
    return action


class _Random:
    def __init__(self, space: spaces.Space[Any]) -> None:
        self._space = deepcopy(space)

    def begin(self, seed: int | None) -> None:
        if seed is not None:
            self._space.seed(seed)

    def act(self, observation: Any) -> Any:  # noqa: ARG002 (chance looks at nothing)
        return self._space.sample()


class _Scripted:
    def __init__(self, script: Callable[[], Any]) -> None:
        self._script = script

    def begin(self, seed: int | None) -> None:
        """It knows by itself."""

    def act(self, observation: Any) -> Any:  # noqa: ARG002 (it goes by the truth)
        return self._script()


class _Called:
    def __init__(self, acts: Acts, space: spaces.Space[Any], patience: Patience) -> None:
        self._acts, self._space, self._patience = acts, space, patience
        self._rng = np.random.default_rng(0)

    def begin(self, seed: int | None) -> None:
        if seed is not None:
            self._rng = np.random.default_rng(seed)

    def act(self, observation: Any) -> Any:
        with self._patience:
            action = self._acts(observation, self._rng)
        return fitted(self._space, action)


def look_in(base: Path) -> None:
    """Find modules in a folder too, from now on: what is called may import its neighbours later."""
    if (folder := str(base.resolve())) not in sys.path:
        sys.path.append(folder)


def _load(policy: str, base: Path) -> Acts:
    """What `module:callable` names; `ConfigError` where that is nothing, or is not there in time."""
    look_in(base)
    try:
        return within(IMPORT_S, partial(_imported, policy, base))
    except TimeoutError as error:
        raise ConfigError(
            f"policy {policy!r}: was not imported within {IMPORT_S:g} s; see to what its module does when it is"
            " imported"
        ) from error


def _imported(policy: str, base: Path) -> Acts:
    module, _, name = policy.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for each in name.split("."):
            found = getattr(found, each)
    except LeftBehind:
        raise
    except BaseException as error:  # importing runs what its author wrote; it may even exit
        why = error if isinstance(error, ImportError | AttributeError) else reason(error)
        raise ConfigError(
            f"policy {policy!r}: cannot be imported: {why}; modules are looked for in {base} too"
        ) from error
    if not callable(found):
        raise ConfigError(f"policy {policy!r}: {name} cannot be called; expected a function of observation and rng")
    acts: Acts = found
    return acts


def _whole(space: spaces.Space[Any], action: Any) -> Any:
    """Whole numbers in the type of the space, as numpy and torch give them in others."""
    found = np.asarray(action)
    if found.dtype.kind in "bui" and found.shape == (space.shape or ()):
        return found.astype(space.dtype)[()]
    return action


def _said(action: Any) -> str:
    return f"{type(action).__name__} {' '.join(str(action).split())[:60]}"
