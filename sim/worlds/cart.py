"""A pole on a cart, the cheapest of worlds: some rows a step and nothing else, for rollouts by the thousand.

The dynamics are those of Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning
control problems" (1983), with the constants of Gymnasium's CartPole, and a force of any size instead of two.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from sensorium.drivers.stream import Block
from sensorium.errors import ConfigError
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.imperfections import NonNegative, Positive
from sensorium.sim.worlds.row_spec import row_spec
from sensorium.sim.worlds.world import Action, Done, Observation, World, WorldSpecs

STEP_S = 0.02
STEP_NS = 20_000_000
FORCE_N = 10.0
FALLEN_RAD, AWAY_M = math.radians(12), 2.4
GRAVITY, CART_KG, POLE_KG, HALF_M = 9.8, 1.0, 0.1, 0.5
_AFAR = 1e3
"""Beyond this nothing moves on: a pole that fell long ago is still a number."""
_STATE, _UNIT = ("x", "v", "angle", "rate"), "m, m/s, rad, rad/s"
BEGINS = {"balance": 0.05, "catch": 0.8}
"""By task, how far from upright and at rest each of the four numbers may begin, at most."""

State = tuple[float, float, float, float]


class CartConfig(WorldConfig):
    """`limit_s` is when a task is over, and done well if the pole still stands. `kick_n` is the deviation of a force
    that disturbs it, `noise` that of each number sensed."""

    version: ClassVar[str] = "1"

    kind: Literal["sim-cart"] = "sim-cart"
    limit_s: Positive = 4.0
    kick_n: NonNegative = 0.0
    noise: NonNegative = 0.001

    def make(self) -> World:
        return Cart(self)


class Cart(World):
    """`state` is sensed at 50 Hz: place, speed, angle and its rate; the truth is the same without noise."""

    version = CartConfig.version
    tasks: Mapping[str, str] = {
        "balance": "Keep the pole upright that begins so.",
        "catch": "Bring the pole upright that begins to fall, and keep it so.",
    }
    specs = WorldSpecs(
        sensed=(row_spec("state", "state", _STATE, _UNIT, 1 / STEP_S),),
        truth=(row_spec("pose", "truth", _STATE, _UNIT, 1 / STEP_S),),
        action=row_spec("action", "action", ("force",), "N", 1 / STEP_S),
        low=np.array([-FORCE_N]),
        high=np.array([FORCE_N]),
        step_ns=STEP_NS,
        rewards=("upright",),
    )

    def __init__(self, config: CartConfig) -> None:
        self._config = config
        self._limit_ns = round(config.limit_s * 1e9)
        self._rng = np.random.default_rng(0)
        self._state: State = (0.0, 0.0, 0.0, 0.0)
        self._now_ns = 0
        self._done: Done = "terminated"

    def reset(self, seed: int, task: str) -> Observation:
        if task not in BEGINS:
            raise ConfigError(f"sim-cart: no task {task!r}, expected one of {', '.join(BEGINS)}")
        self._rng = np.random.default_rng(seed)
        x, v, angle, rate = self._rng.uniform(-BEGINS[task], BEGINS[task], 4).tolist()
        self._state = (x, v, angle / 4, rate)
        self._now_ns, self._done = 0, ""
        return self._sensed({})

    def step(self, action: Action) -> tuple[Observation, Done]:
        if action.shape != (1,) or not math.isfinite(force := float(action[0])):
            raise ValueError(f"action {action!r}, expected 1 finite number, N")
        if self._done:
            raise RuntimeError(f"the task has {self._done}: reset the world")
        force = min(max(force, -FORCE_N), FORCE_N)
        if self._config.kick_n:
            force += self._config.kick_n * float(self._rng.standard_normal())
        self._state = _moved(self._state, force)
        self._now_ns += STEP_NS
        stands = abs(self._state[2]) <= FALLEN_RAD and abs(self._state[0]) <= AWAY_M
        if not stands:
            self._done = "terminated"
        elif self._now_ns >= self._limit_ns:
            self._done = "truncated"
        return self._sensed({"upright": float(stands)}), self._done

    def scripted(self) -> Action:
        x, v, angle, rate = self._state
        return np.array([min(max(1.0 * x + 2.0 * v + 40.0 * angle + 8.0 * rate, -FORCE_N), FORCE_N)])

    def _sensed(self, rewards: Mapping[str, float]) -> Observation:
        stamps = np.array([self._now_ns], np.int64)
        pose = np.array([self._state])
        state = pose + self._config.noise * self._rng.standard_normal((1, 4))
        return Observation(self._now_ns, (Block("state", stamps, state),), (Block("pose", stamps, pose),), rewards)


def _moved(state: State, force: float) -> State:
    """A step later, by Euler's method, as in Gymnasium's CartPole."""
    x, v, angle, rate = state
    cos, sin = math.cos(angle), math.sin(angle)
    push = (force + POLE_KG * HALF_M * rate * rate * sin) / (CART_KG + POLE_KG)
    turning = (GRAVITY * sin - cos * push) / (HALF_M * (4 / 3 - POLE_KG * cos * cos / (CART_KG + POLE_KG)))
    moving = push - POLE_KG * HALF_M * turning * cos / (CART_KG + POLE_KG)
    after = (x + STEP_S * v, v + STEP_S * moving, angle + STEP_S * rate, rate + STEP_S * turning)
    return after if max(map(abs, after)) < _AFAR else state
