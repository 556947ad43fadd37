"""A world of tests, as small as can be: a bead on a wire that is pushed, with its place, a picture and the truth."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from sensorium.drivers.stream import Block, Samples, Stamps, StreamSpec
from sensorium.errors import ConfigError
from sensorium.sim.worlds.config import WorldConfig
from sensorium.sim.worlds.ticks import ticks
from sensorium.sim.worlds.world import Action, Done, Observation, World, WorldSpecs

STEP_NS = 50_000_000
SIDE = 16


class TinyConfig(WorldConfig):
    """`task` `centre` is done where the bead rests at 0; `wander` goes on for `limit_s`."""

    version: ClassVar[str] = "1"

    kind: Literal["sim-tiny"] = "sim-tiny"
    noise: float = Field(default=0.01, ge=0)
    limit_s: float = 10.0

    def make(self) -> World:
        return TinyWorld(self)


class TinyWorld(World):
    version = TinyConfig.version
    tasks: Mapping[str, str] = {"centre": "Bring the bead to 0.", "wander": "Go about."}
    specs = WorldSpecs(
        sensed=(
            StreamSpec(name="place", modality="state", dtype="float64", shape=(1,), unit="m", rate_hz=100.0),
            StreamSpec(name="cam", modality="image", dtype="uint8", shape=(SIDE, SIDE), rate_hz=10.0),
        ),
        truth=(
            StreamSpec(
                name="bead", modality="truth", dtype="float64", shape=(2,), unit="m, m/s", channels=("x", "v"),
                rate_hz=100.0,
            ),
        ),
        action=StreamSpec(name="action", modality="action", dtype="float64", shape=(1,), unit="m/s^2", rate_hz=20.0),
        low=np.array([-2.0]),
        high=np.array([2.0]),
        step_ns=STEP_NS,
    )  # fmt: skip

    def __init__(self, config: TinyConfig) -> None:
        self._config = config
        self._task = ""
        self._now_ns = 0
        self._state = np.zeros(2)
        self._rng = np.random.default_rng(0)
        self._done: Done = "terminated"

    def reset(self, seed: int, task: str) -> Observation:
        if task not in self.tasks:
            raise ConfigError(f"sim-tiny: no task {task!r}, expected one of {', '.join(self.tasks)}")
        self._rng = np.random.default_rng(seed)
        self._task, self._now_ns, self._done = task, 0, ""
        self._state = np.array([self._rng.uniform(0.5, 1.0), 0.0])
        return self._sensed(-1, np.zeros(1))

    def step(self, action: Action) -> tuple[Observation, Done]:
        if self._done:
            raise RuntimeError(f"sim-tiny: {self._done}; reset it")
        push = self.specs.clipped(action)
        before_ns, self._now_ns = self._now_ns, self._now_ns + STEP_NS
        seen = self._sensed(before_ns, push)
        self._state = self._at(np.array([STEP_NS / 1e9]), push)[0]
        if self._task == "centre" and np.abs(self._state).max() < 0.05:
            self._done = "terminated"
        elif self._now_ns >= self._config.limit_s * 1e9:
            self._done = "truncated"
        return seen, self._done

    def scripted(self) -> Action:
        return self.specs.clipped(np.array([-3.0 * self._state[0] - 3.0 * self._state[1]]))

    def _sensed(self, before_ns: int, push: Action) -> Observation:
        start_ns = max(before_ns, 0)
        since = {spec.name: ticks(spec.rate_hz or 1.0, before_ns, self._now_ns) for spec in self._streams}
        states = {name: self._at((stamps - start_ns) / 1e9, push) for name, stamps in since.items()}
        place = states["place"][:, :1] + self._config.noise * self._rng.standard_normal((len(states["place"]), 1))
        pictures = np.zeros((len(states["cam"]), SIDE, SIDE), np.uint8)
        for picture, (x, _) in zip(pictures, states["cam"], strict=True):
            picture[:, int(np.clip((x + 2) / 4 * SIDE, 0, SIDE - 1))] = 255
        sensed = [block("place", since["place"], place), block("cam", since["cam"], pictures)]
        truth = block("bead", since["bead"], states["bead"])
        return Observation(
            self._now_ns, tuple(each for each in sensed if len(each)), (truth,), {"near": -abs(place[-1, 0])}
        )

    def _at(self, after_s: Samples, push: Action) -> Samples:
        x, v = self._state
        return np.stack([x + v * after_s + push[0] * after_s**2 / 2, v + push[0] * after_s], axis=1)

    @property
    def _streams(self) -> tuple[StreamSpec, ...]:
        return (*self.specs.sensed, *self.specs.truth)


def block(stream: str, stamps: Stamps, data: Samples) -> Block:
    return Block(stream, stamps, data)
