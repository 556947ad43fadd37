"""The source: one thread makes an environment, acts in it, and feeds a driver with what comes of it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium

from sensorium.drivers.marks import Label
from sensorium.errors import ConfigError, SensoriumError
from sensorium.sim.gym.acting import Acting, ActingAlone, close_quietly
from sensorium.sim.gym.acting_side_by_side import ActingSideBySide
from sensorium.sim.gym.fed import Fed
from sensorium.sim.gym.feeder import Feeder, layout_from, nature_of
from sensorium.sim.gym.layout import EnvNature
from sensorium.sim.gym.moments import Began, Moment, Stepped, kept
from sensorium.sim.gym.policies import Actor, actor, look_in
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


def opened(asked: Asked, name: str, base: Path) -> Fed:
    """A driver that is fed with the episodes of what was asked."""
    return _Source(asked, name, base).driver()


class _Source:
    def __init__(self, asked: Asked, name: str, base: Path) -> None:
        self._asked, self._name, self._base = asked, name, base
        self._ready = threading.Event()
        self._stop = threading.Event()
        self._fed: Fed | None = None
        self._error: SensoriumError | None = None
        self._thread: Thread | None = None

    def driver(self) -> Fed:
        """It once the first step has shown which streams there are."""
        self._thread = Thread(f"gym-{self._name}", "acts in an environment", self._run, self._died, stop_s=CLOSE_S)
        self._ready.wait()
        if self._fed is None:
            raise self._error or SensoriumError(f"{self._name}: it ended before its first step")
        return self._fed

    def _run(self) -> None:
        """Everything that touches the environment is done here: what it draws with belongs to one thread."""
        acting, nature = self._acting()
        try:
            self._feed(acting, nature)
        finally:
            acting.close()
        if self._fed is not None:
            self._fed.end()

    def _died(self, death: SensoriumError) -> None:
        self._error = death
        if self._fed is not None:
            self._fed.end(death)
        self._ready.set()

    def _acting(self) -> tuple[Acting, EnvNature]:
        asked = self._asked
        make = partial(made, asked)
        if ":" in asked.id:
            look_in(self._base)
        env = make()
        try:
            if asked.num_envs > 1:
                act = partial(_actor_of, asked.policy, self._base)
                acting: Acting = ActingSideBySide(env, make, act, asked.seed, asked.episodes)
                return acting, nature_of(env, env.single_observation_space, env.single_action_space, asked.step_s)
            alone = partial(_actor_of, asked.policy, self._base)
            nature = nature_of(env, env.observation_space, env.action_space, asked.step_s)
            return ActingAlone(env, make, alone, asked.seed, asked.episodes), nature
        except BaseException:
            close_quietly(env)
            raise

    def _feed(self, acting: Acting, nature: EnvNature) -> None:
        early: list[Moment] = []  # until it is known which streams there are
        seen: dict[type[Moment], Moment] = {}
        while not (Began in seen and Stepped in seen) and len(early) < _MOST_EARLY:
            moments = acting.advance()
            if moments is None:
                break
            early += map(kept, moments)
            for moment in moments:
                seen.setdefault(type(moment), moment)
        feeder = Feeder(
            layout_from(nature, seen), self._name, self._labels(), self._asked.num_envs, self._asked.start_ns
        )
        self._fed = Fed(feeder.specs, self._close)
        self._ready.set()
        while early or not self._stop.is_set():
            moments = early or acting.advance()
            early = []
            if moments is None or not all(self._give(feeder, acting, moment) for moment in moments):
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
    except Exception as error:  # making runs what its author wrote
        raise ConfigError(f"id {asked.id!r}: cannot be made: {reason(error)}") from error


def _actor_of(policy: str, base: Path, env: Any, sub: int | None = None) -> Actor:
    """Who acts in an environment, or in one part of a vector one."""
    script: Callable[[], Any] | None
    if sub is not None:
        parts = getattr(env.unwrapped, "envs", ())  # where they are in this process
        script = getattr(parts[sub].unwrapped, "scripted", None) if sub < len(parts) else None
        return actor(policy, env.single_action_space, script, base)
    script = getattr(env.unwrapped, "scripted", None)
    return actor(policy, env.action_space, script, base)
