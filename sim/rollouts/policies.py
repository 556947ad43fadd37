"""Policies: what acts in a rollout. Whatever one does wrong, it costs its own rollout and is named."""

import importlib
import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from sensorium.corpus.verifier import digest_of
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Block, Samples
from sensorium.errors import ConfigError
from sensorium.patience import LeftBehind, Patience, within
from sensorium.sim.worlds.world import Action, Observation, World, WorldSpecs
from sensorium.threads import reason

RANDOM, SCRIPTED = "random", "scripted"
Seen = Mapping[str, Samples]
"""By bare name of each sensed stream, what came of it in the last step, [n, ...], not to be written to; where nothing
came, the newest that there is; of a stream that has delivered nothing yet, nothing."""
Policy = Callable[[Seen, np.random.Generator], Any]
"""From what is seen to an action, float64 [n] as the world's specs say. The generator is seeded as the rollout is."""


class PolicyFault(Exception):
    """A policy raised, or returned no action; the message says which and why."""


def policy_of(source: str, world: World) -> Policy:
    """The policy that `source` names, for one rollout: a `module:callable` may be a class or a factory marked with
    `fresh = True`, which is then called without arguments first.

    Raises:
        ConfigError: there is none of that name, or it cannot be imported.
    """
    specs = world.specs
    if source == RANDOM:
        return lambda _, rng: rng.uniform(specs.low, specs.high)
    if source == SCRIPTED:
        return lambda _, __: _scripted(world)
    made = imported(source)
    if isinstance(made, type) or getattr(made, "fresh", False):
        made = made()
        if not callable(made):
            raise ConfigError(f"policy {source!r}: what it makes cannot be called; expected policy(observation, rng)")
    policy: Policy = made
    return policy


class WorldFault(Exception):
    """A world raised where it was asked what it does by itself: no fault of a policy."""


def _scripted(world: World) -> Action:
    try:
        return world.scripted()
    except BaseException as error:
        raise WorldFault(f"the world's own motion raised {reason(error)}") from error


def imported(source: str) -> Callable[..., Any]:
    """What `module:callable` names; raises `ConfigError` if that is nothing that can be called."""
    module, colon, name = source.partition(":")
    if not colon or not module or not name:
        hint = nearest(source, (RANDOM, SCRIPTED))
        raise ConfigError(f"policy {source!r}{hint}: expected random, scripted or module:callable")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except LeftBehind:
        raise
    except BaseException as error:  # importing runs what its author wrote; it may even exit
        raise ConfigError(f"policy {source!r}: cannot be imported: {reason(error)}") from error
    if not callable(found):
        raise ConfigError(f"policy {source!r}: is a {type(found).__name__}, and cannot be called")
    called: Callable[..., Any] = found
    return called


def code_within(source: str, most_s: float) -> str:
    """`code_of_policy`, where that need not end: a policy of somebody's own is imported, with what it depends on.

    Raises:
        ConfigError: as there; or it is not there in time.
    """
    if source in (RANDOM, SCRIPTED):
        return ""
    try:
        return within(most_s, partial(code_of_policy, source))
    except TimeoutError as error:
        raise ConfigError(not_imported(source, most_s)) from error


def not_imported(source: str, most_s: float) -> str:
    """What to say where it was not there in time."""
    return (
        f"policy {source!r}: was not imported within {most_s:g} s; see to what its module does when it is imported, or"
        " give a larger `policy_timeout_s`"
    )


def code_of_policy(source: str) -> str:
    """16 hex digits: a digest of the source of a policy's module and of those that it `depends` on (an attribute of it,
    of names); empty for one of ours, and where there is no source.

    Raises:
        ConfigError: there is no such policy, or what it depends on has no source.
    """
    if source in (RANDOM, SCRIPTED):
        return ""
    made = imported(source)
    depends = tuple(getattr(made, "depends", ()))
    module = source.partition(":")[0]
    try:
        inspect.getsource(importlib.import_module(module))
    except (OSError, TypeError):  # of an extension
        return digest_of(depends, f"policy {source!r}") if depends else ""
    return digest_of((module, *depends), f"policy {source!r}")


class Seeing:
    """What a policy sees, kept from step to step of one rollout."""

    def __init__(self) -> None:
        self._newest: dict[str, Samples] = {}

    def look(self, observation: Observation) -> Seen:
        """After one step; a dictionary of its own, of arrays that cannot be written to."""
        for name in self._newest:
            if len(self._newest[name]) > 1:
                self._newest[name] = self._newest[name][-1:]
        for block in observation.sensed:
            if len(block):
                self._newest[block.stream] = _shown(block)
        return dict(self._newest)


def _shown(block: Block) -> Samples:
    shown = block.data.view()
    shown.flags.writeable = False
    return shown


class PolicyAtWork:
    """A policy called `name` at work in a world of these specs, which has so much `patience` with it."""

    def __init__(self, policy: Policy, name: str, specs: WorldSpecs, patience: Patience) -> None:
        self._policy, self._name, self._patience = policy, name, patience
        self._shape = specs.low.shape
        self._bounds = list(zip(specs.low.tolist(), specs.high.tolist(), strict=True))

    def act(self, seen: Seen, rng: np.random.Generator) -> list[float]:
        """What it does, within the bounds of the world.

        Raises:
            PolicyFault: it raised, or what it returned is no action.
            MemoryError: there is no memory left, which may be anybody's doing.
            LeftBehind: it answers so late that nobody waits any more.
        """
        try:
            with self._patience:
                action = np.asarray(self._policy(seen, rng), np.float64)
        except (MemoryError, WorldFault, LeftBehind):
            raise
        except BaseException as error:  # a policy is anybody's code; Ctrl-C comes to another thread
            raise PolicyFault(f"policy {self._name!r} raised {reason(error)}") from error
        if action.shape != self._shape:
            raise PolicyFault(f"policy {self._name!r} returned shape {action.shape}, expected {self._shape}")
        values = action.tolist()
        if not all(map(math.isfinite, values)):
            raise PolicyFault(f"policy {self._name!r} returned {values[:8]}, which is not finite")
        return [min(max(value, low), high) for value, (low, high) in zip(values, self._bounds, strict=True)]
