"""The source: one thread makes an environment, acts in it, and feeds a driver with what comes of it."""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium

from sensorium.drivers.marks import Label
from sensorium.errors import ConfigError, SensoriumError
from sensorium.patience import LeftBehind, Patience
from sensorium.sim.gym.acting import Acting, ActingAlone, close_quietly
from sensorium.sim.gym.acting_side_by_side import ActingSideBySide
from sensorium.sim.gym.fed import Fed
from sensorium.sim.gym.feeder import Feeder, layout_from, nature_of
from sensorium.sim.gym.layout import EnvLayout, EnvNature
from sensorium.sim.gym.moments import Began, Moment, Stepped, kept
from sensorium.sim.gym.policies import RANDOM, SCRIPTED, Actor, actor, look_in
from sensorium.sim.gym.spaces import gymnasium_version
from sensorium.sim.gym.vectors import MODES, Mode
from sensorium.threads import Thread, reason

CLOSE_S = 5.0
PUT_S = 0.2


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an environment; see `sensorium.sim.gym.driver.GymnasiumConfig`."""

    id: str
    options: Mapping[str, Any]
    policy: str
    seed: int
    num_envs: int
    autoreset: Mode
    episodes: int | None
    max_steps: int | None
    step_s: float | None
    render: bool
    start_ns: int
    policy_timeout_s: float = 60.0

    @property
    def has_own_policy(self) -> bool:
        """Whether who acts is somebody else's code."""
        return self.policy not in (RANDOM, SCRIPTED)


def opened(asked: Asked, name: str, base: Path) -> Fed:
    """A driver that is fed with the episodes of what was asked."""
    return _Source(asked, name, base).driver()


class _Source:
    """Its thread makes the environment and acts in it. Where somebody else's policy does not answer, thread and
    environment are left behind, and another thread takes their place: what they share is touched by one at a time."""

    def __init__(self, asked: Asked, name: str, base: Path) -> None:
        self._asked, self._name, self._base = asked, name, base
        self._ready, self._stop, self._over = threading.Event(), threading.Event(), threading.Event()
        self._fed: Fed | None = None
        self._error: SensoriumError | None = None
        self._patience = self._new_patience()
        self._acting: Acting | None = None
        self._thread: Thread | None = None
        self._streams = _Streams()
        self._left = 0

    def driver(self) -> Fed:
        """It once the first step has shown which streams there are."""
        self._thread = self._acts(self._run)
        if self._asked.has_own_policy:
            Thread(f"gym-{self._name}-patience", "waits for a policy", self._watch, self._died)
        self._ready.wait()
        if self._fed is None:
            raise self._error or SensoriumError(f"{self._name}: it ended before its first step")
        return self._fed

    def _acts(self, run: Callable[[], object]) -> Thread:
        left = self._left

        def died(death: SensoriumError) -> None:
            if self._left == left:  # else it was left behind
                self._died(death)

        return Thread(f"gym-{self._name}", "acts in an environment", run, died, stop_s=CLOSE_S)

    def _run(self) -> None:
        """Everything that touches the environment is done here: what it draws with belongs to one thread."""
        acting, self._streams.nature = self._begun()
        self._acting = acting
        self._go_on(acting)

    def _go_on(self, acting: Acting) -> None:
        try:
            self._feed(acting)
        except LeftBehind:  # another goes on
            return
        finally:
            acting.close()
        self._over.set()
        if self._fed is not None:
            self._fed.end()

    def _died(self, death: SensoriumError) -> None:
        self._error = death
        self._over.set()
        if self._fed is not None:
            self._fed.end(death)
        self._ready.set()

    def _watch(self) -> None:
        """Another takes the place of who waits in vain for a policy."""
        look_s = min(PUT_S, self._asked.policy_timeout_s / 2)
        while not self._over.wait(look_s) and not self._stop.is_set():
            before, thread = self._acting, self._thread
            if before is None or thread is None or not self._patience.has_run_out():
                continue
            thread.interrupt(LeftBehind)
            self._left += 1
            self._patience = self._new_patience()
            asked = self._asked
            why = f"policy {asked.policy!r} did not answer within {asked.policy_timeout_s:g} s (`policy_timeout_s`)"
            acting = self._acting = before.left_behind(self._actors(), why)
            self._thread = self._acts(partial(self._go_on, acting))

    def _new_patience(self) -> Patience:
        return Patience(self._asked.policy_timeout_s if self._asked.has_own_policy else math.inf)

    def _actors(self) -> Callable[..., Actor]:
        return partial(_actor_of, self._asked.policy, self._base, self._patience)

    def _begun(self) -> tuple[Acting, EnvNature]:
        asked = self._asked
        make, act = partial(made, asked), self._actors()
        if ":" in asked.id:
            look_in(self._base)
        env = make()
        try:
            if asked.num_envs > 1:
                acting: Acting = ActingSideBySide(env, make, act, asked.seed, asked.episodes)
                return acting, nature_of(env, env.single_observation_space, env.single_action_space, asked.step_s)
            nature = nature_of(env, env.observation_space, env.action_space, asked.step_s)
            return ActingAlone(env, make, act, asked.seed, asked.episodes), nature
        except BaseException:
            close_quietly(env)
            raise

    def _feed(self, acting: Acting) -> None:
        streams = self._streams
        while not streams.are_known and not self._left:
            moments = acting.advance()
            if moments is None:
                break
            streams.show(moments)
        if streams.feeder is None:
            asked = self._asked
            streams.feeder = Feeder(streams.layout(), self._name, self._labels(), asked.num_envs, asked.start_ns)
            self._fed = Fed(streams.feeder.specs, self._close)
            self._ready.set()
        while streams.early or not self._stop.is_set():
            moments = streams.early or acting.advance()
            streams.early = []
            if moments is None or not all(self._give(streams.feeder, acting, moment) for moment in moments):
                break

    def _give(self, feeder: Feeder, acting: Acting, moment: Moment) -> bool:
        given = feeder.take(moment)
        if feeder.has_refused(moment):
            acting.refused(moment.sub)
        while self._fed is not None and not self._fed.put(given, PUT_S):
            if self._fed.is_closed or self._stop.is_set():
                return False
        return True

    def _labels(self) -> Mapping[str, Label]:
        return {"world": self._asked.id, "world_version": gymnasium_version(), "policy": self._asked.policy}

    def _close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


_MOST_EARLY = 8


class _Streams:
    """What was seen before it was known which streams there are, and then who makes them of moments."""

    def __init__(self) -> None:
        self.nature: EnvNature | None = None
        self.feeder: Feeder | None = None
        self.early: list[Moment] = []
        self._seen: dict[type[Moment], Moment] = {}

    @property
    def are_known(self) -> bool:
        return self.feeder is not None or {Began, Stepped} <= set(self._seen) or len(self.early) >= _MOST_EARLY

    def show(self, moments: Sequence[Moment]) -> None:
        self.early += map(kept, moments)
        for moment in moments:
            self._seen.setdefault(type(moment), moment)

    def layout(self) -> EnvLayout:
        if self.nature is None:
            raise RuntimeError("no environment was made")
        return layout_from(self.nature, self._seen)


def made(asked: Asked) -> Any:
    """The environment, made as it was asked for.

    Raises:
        ConfigError: it cannot be made: what Gymnasium says of it.
    """
    options = dict(asked.options)
    if asked.render:
        options["render_mode"] = "rgb_array"
    if asked.max_steps is not None:
        options["max_episode_steps"] = asked.max_steps
    try:
        if asked.num_envs == 1:
            return gymnasium.make(asked.id, disable_env_checker=True, **options)
        kwargs = {"autoreset_mode": MODES[asked.autoreset]}
        return gymnasium.make_vec(asked.id, asked.num_envs, vectorization_mode="sync", vector_kwargs=kwargs, **options)
    except LeftBehind:
        raise
    except BaseException as error:  # making runs what its author wrote; it may even exit
        raise ConfigError(f"id {asked.id!r}: cannot be made: {reason(error)}") from error


def _actor_of(policy: str, base: Path, patience: Patience, env: Any, sub: int | None = None) -> Actor:
    """Who acts in an environment, or in one part of a vector one."""
    script: Callable[[], Any] | None
    if sub is not None:
        parts = getattr(env.unwrapped, "envs", ())  # where they are in this process
        script = getattr(parts[sub].unwrapped, "scripted", None) if sub < len(parts) else None
        return actor(policy, env.single_action_space, script, base, patience)
    script = getattr(env.unwrapped, "scripted", None)
    return actor(policy, env.action_space, script, base, patience)
