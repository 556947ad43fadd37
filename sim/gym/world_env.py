"""A world as an environment of Gymnasium: what its sensors delivered last is seen, what came between is at hand."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pydantic import ValidationError

from sensorium.drivers.registry import driver_config
from sensorium.drivers.stream import Block, StreamSpec
from sensorium.errors import ConfigError
from sensorium.perception.gray import colored, is_pictures
from sensorium.sim.worlds.config import WorldConfig, make_world
from sensorium.sim.worlds.world import Observation

Seen = dict[str, npt.NDArray[Any]]
RGB_ARRAY = "rgb_array"


def make_world_env(kind: str, render_mode: str | None = None, **options: Any) -> "WorldEnv":
    """The environment of a kind of world; `options` are those of its configuration.

    Raises:
        ConfigError: it is no world that can be acted on, or an option is wrong.
    """
    model = driver_config(kind)
    if not issubclass(model, WorldConfig):
        raise ConfigError(f"{kind}: is no world that can be acted on; `sensorium sim list` names those that are")
    try:
        config = model.model_validate({"kind": kind, **options})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "options"
        raise ConfigError(f"{kind}: {place}: {first['msg'].removeprefix('Value error, ')}") from error
    return WorldEnv(config, render_mode)


class WorldEnv(gymnasium.Env[Seen, npt.NDArray[np.float64]]):
    """The observation is a `Dict` of the sensed streams: of each its newest sample, a frame or a row, at the end of the
    step; zeros before the first. Streams are faster and slower than steps, and a `Dict` has one shape: all that came in
    a step is `blocks`. The info tells `now_ns`, since the reset; `age_ns`, by stream how old its sample is (-1: none
    yet); `rewards`, by component; and `truth`, the newest of those streams, where the configuration asks for it.

    `reset(options={"task": NAME})` asks for one of the world's tasks. `scripted()` is what the world's own script does.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [RGB_ARRAY]}  # type: ignore[misc] # each has its own rate

    def __init__(self, config: WorldConfig, render_mode: str | None = None) -> None:
        self._world = make_world(config)
        specs = self._world.specs
        pictures = (spec for spec in specs.sensed if is_pictures(spec) and spec.dtype == "uint8")
        self._shown = next(pictures, None)
        modes = [] if self._shown is None else [RGB_ARRAY]
        self.metadata = {"render_modes": modes, "render_fps": 1e9 / specs.step_ns}  # type: ignore[misc]
        if render_mode not in (None, *modes):
            raise ConfigError(f"render_mode {render_mode!r}: expected {', '.join(modes) or 'none: it has no camera'}")
        self.render_mode = render_mode
        seen: Any = spaces.Dict({spec.name: _space(spec) for spec in specs.sensed}, sort_keys=False)
        self.observation_space = seen
        self.action_space = spaces.Box(specs.low, specs.high, dtype=np.float64)
        self._task = config.task
        self._with_truth = config.truth
        self._newest: dict[str, tuple[int, npt.NDArray[Any]]] = {}
        self.blocks: tuple[Block, ...] = ()
        self._closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Seen, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(1 << 31))
        task = (options or {}).get("task") or self._task or next(iter(self._world.tasks))
        self._newest.clear()
        return self._seen(self._world.reset(seed, task))

    def step(self, action: npt.NDArray[np.float64]) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        observation, done = self._world.step(np.asarray(action, np.float64))
        seen, info = self._seen(observation)
        reward = float(sum(observation.rewards.values()))
        return seen, reward, done == "terminated", done == "truncated", info

    def render(self) -> Any:
        """The newest picture of the first camera, [h, w, 3] RGB; black before it."""
        if self.render_mode != RGB_ARRAY or self._shown is None:
            return None
        _, frame = self._newest.get(self._shown.name, (0, np.zeros(self._shown.shape, self._shown.dtype)))
        return np.ascontiguousarray(colored(frame, self._shown.color_order)[..., ::-1])

    def scripted(self) -> npt.NDArray[np.float64]:
        """What the world's own script does next."""
        return np.clip(self._world.scripted(), self._world.specs.low, self._world.specs.high)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._world.close()

    def _seen(self, observation: Observation) -> tuple[Seen, dict[str, Any]]:
        self.blocks = (*observation.sensed, *observation.truth)
        for block in self.blocks:
            if len(block):
                self._newest[block.stream] = int(block.captured_ns[-1]), block.data[-1]
        specs, now_ns = self._world.specs, observation.now_ns
        info: dict[str, Any] = {
            "now_ns": now_ns,
            "age_ns": {spec.name: self._age_ns(spec.name, now_ns) for spec in specs.sensed},
            "rewards": {name: float(value) for name, value in observation.rewards.items()},
        }
        if self._with_truth:
            info["truth"] = self._newest_of(specs.truth)
        return self._newest_of(specs.sensed), info

    def _age_ns(self, name: str, now_ns: int) -> int:
        return now_ns - self._newest[name][0] if name in self._newest else -1

    def _newest_of(self, specs: tuple[StreamSpec, ...]) -> Seen:
        """Copies: who has them keeps them."""
        zeros = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs if spec.name not in self._newest}
        return zeros | {spec.name: np.array(self._newest[spec.name][1]) for spec in specs if spec.name not in zeros}


def _space(spec: StreamSpec) -> spaces.Space[Any]:
    dtype: Any = np.dtype(spec.dtype)
    if dtype.kind == "b":
        return spaces.MultiBinary(spec.shape or 1)
    if dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, spec.shape, dtype)
    limits = np.iinfo(dtype)
    return spaces.Box(limits.min, limits.max, spec.shape, dtype)
