"""Environments that do what environments do in the field, in a few lines each; `gymnasium.make` has them under odd/."""

import copy
import threading
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Odd(gymnasium.Env[Any, Any]):
    """Five steps that count; from the second reset on it does `what`, at the third step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, what: str = "", space: Any = None, every_time: bool = False, render_mode: Any = None) -> None:
        self.render_mode = render_mode
        self.observation_space = copy.deepcopy(space) or spaces.Box(-10, 10, (2,), np.float64)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.what, self.every_time = what, every_time
        self.resets = self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.resets += 1
        self.steps = 0
        if self.what == "raises at reset" and self.does_it:
            raise OSError("no such world")
        return self.seen(), self.info()

    def step(self, action: Any) -> Any:
        self.steps += 1
        reward: Any = 0.5 * self.steps
        if self.steps == 3 and self.does_it:
            match self.what:
                case "raises":
                    raise RuntimeError("the arm is\nstuck")
                case "exits":
                    raise SystemExit(3)
                case "reward is NaN":
                    reward = np.nan
                case "reward is no number":
                    reward = "much"
                case "no info":
                    return self.seen(), reward, False, False, None
                case "too few results":
                    return self.seen(), reward
        return self.seen(), reward, self.steps == 5, False, self.info()

    def render(self) -> Any:
        raise RuntimeError("no display")

    def seen(self) -> Any:
        observation = self.observation_space.sample()
        if self.steps == 3 and self.does_it:
            match self.what:
                case "NaN":
                    observation[0] = np.nan
                case "shape":
                    observation = np.zeros(3)
                case "raises when looked at":
                    observation = Shy()
                case "text":
                    observation = "two"
                case "loses":
                    observation = np.array([0.1, 2.0**40 + 0.3], np.longdouble) + np.longdouble(2) ** -60
        return observation

    def info(self) -> dict[str, Any]:
        return {}

    @property
    def does_it(self) -> bool:
        return self.every_time or (self.resets == 2 and self.np_random_seed == 1)


class Fickle(Odd):
    """What it gives from the third step on depends on what was done to all of its kind."""

    bias: ClassVar[float] = 0.0

    def seen(self) -> Any:
        return super().seen() + self.bias * (self.steps >= 3)


class Reusing(Odd):
    """It gives the same array each time, and in its info what nobody can copy."""

    def seen(self) -> Any:
        self.buffer = getattr(self, "buffer", np.zeros(2))
        self.buffer += 1
        return self.buffer

    def info(self) -> dict[str, Any]:
        return {"lock": threading.Lock()}


class Shy:
    """Nobody may look at it."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("do not look")


class Parts(Odd):
    """What it gives has many parts."""

    def __init__(self, what: str = "") -> None:
        super().__init__(what, PARTS)
        self.action_space = spaces.Dict({"grip": spaces.MultiBinary(2), "go": spaces.Box(-1, 1, (3,), np.float64)})


PARTS = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (40, 48, 3), np.uint8),
        "arm": spaces.Tuple([spaces.Discrete(3, start=-1), spaces.MultiBinary(4)]),
        "said": spaces.Text(6),
        "joints": spaces.Box(-np.inf, np.inf, (2,), np.float64),
    }
)


class Nested(Odd):
    """Parts of parts, in what it gives and in what it takes."""

    def __init__(self, what: str = "") -> None:
        super().__init__(what, spaces.Dict({"seen": spaces.Tuple([PARTS, spaces.Discrete(4)]), "time": spaces.Text(3)}))
        hand = spaces.Dict({"turn": spaces.Discrete(3, start=2), "grip": spaces.MultiBinary([2, 2])})
        self.action_space = spaces.Tuple([hand, spaces.Tuple([hand, spaces.Box(-1, 1, (2,), np.float16)])])


class Telling(Odd):
    """It tells much in its infos."""

    def info(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "prob": 1 if self.steps == 0 else 0.25,
            "mask": np.array([1, 0, self.steps], np.int8),
            "deep": {"x": np.float32(self.steps), "is_safe": True},
            "words": f"step {self.steps}",
            "list": [self.steps],
        }
        if self.steps == 4:
            told["episode"] = {"r": 1.5, "l": np.int64(4)}
            told["mask"] = np.zeros(5, np.int8)
        return told


class Pathlike(Odd):
    """Keys of its infos are no names of HDF5, or one of them is what another begins with."""

    def info(self) -> dict[str, Any]:
        told: dict[str, Any] = {f"{key}": float(self.steps) for key in ("arm/left", ".", "sensorium")}
        told |= {"reward/of": {"x/y": self.steps, "z": 0.5}, "word/s": f"step {self.steps}", "y": 1.0}
        return told | ({"late/r": 2.0, "y": {"z": 1}} if self.steps else {})


class Slashed(Odd):
    """A key of what it gives looks like a path."""

    def __init__(self, render_mode: Any = None) -> None:
        super().__init__(space=spaces.Dict({"arm/left": spaces.Box(-1, 1, (2,), np.float64)}), render_mode=render_mode)


def register() -> None:
    """Under the names that tests use."""
    for name in ("Fickle", "Nested", "Odd", "Parts", "Pathlike", "Reusing", "Slashed", "Telling"):
        if f"odd/{name}-v0" not in gymnasium.registry:
            gymnasium.register(f"odd/{name}-v0", f"{__name__}:{name}")
