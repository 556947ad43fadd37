"""Vector environments: what comes out of all at once becomes the moments of each sub-environment.

The autoreset mode is kept: under `next_step` the step behind an end is a reset and no transition (its action does
nothing, its reward is none); under `same_step` the last observation is in the infos, and what stands in its place
begins the next episode; under `disabled` an episode begins where it was reset, alone or with others.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from sensorium.drivers.marks import Label
from sensorium.sim.gym.moments import Began, Failed, Moment, Stepped
from sensorium.sim.gym.seeds import Seeds

Mode = Literal["next_step", "same_step", "disabled"]
MODES: dict[Mode, AutoresetMode] = {
    "next_step": AutoresetMode.NEXT_STEP,
    "same_step": AutoresetMode.SAME_STEP,
    "disabled": AutoresetMode.DISABLED,
}
_FINAL = ("final_obs", "final_info")


def mode_of(envs: VectorEnv[Any, Any, Any]) -> Mode:
    """How it begins anew; one that does not say so does as Gymnasium's do by default."""
    said = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
    for name, mode in MODES.items():
        if said in (mode, mode.value, name):
            return name
    raise ValueError(f"autoreset mode {said!r}, expected one of {', '.join(MODES)}")


class Apart:
    """Takes what a vector environment gives apart, and remembers which of its parts have ended. The spaces are those
    of all `n` parts at once."""

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], n: int, mode: Mode
    ) -> None:
        self._observation_space, self._action_space = observation_space, action_space
        self._n, self.mode = n, mode
        self._done = np.zeros(n, np.bool_)
        self._seeds = [Seeds() for _ in range(n)]

    def reset(
        self,
        given: tuple[Any, Mapping[str, Any]],
        seed: int | Sequence[int | None] | None,
        mask: npt.NDArray[np.bool_] | None,
        frames: Any = None,
    ) -> list[Moment]:
        """What a reset gave to those of the mask, or to all; `seed` is as it was asked with."""
        observations, infos = given
        seeds = (
            list(seed) if isinstance(seed, Sequence) else [None if seed is None else seed + i for i in range(self._n)]
        )
        each = list(iterate(self._observation_space, observations))
        moments: list[Moment] = []
        for sub in range(self._n):
            if mask is not None and not mask[sub]:
                continue
            self._done[sub] = False
            labels = self._labels(sub, seeds[sub])
            moments.append(Began(each[sub], info_of(infos, sub), frame_of(frames, sub), labels, sub))
        return moments

    def step(
        self, actions: Any, given: tuple[Any, Any, Any, Any, Mapping[str, Any]], frames: Any = None
    ) -> list[Moment]:
        """What a step gave to each."""
        observations, rewards, terminated, truncated, infos = given
        each = list(iterate(self._observation_space, observations))
        acted = list(iterate(self._action_space, actions))
        moments: list[Moment] = []
        for sub in range(self._n):
            frame, info = frame_of(frames, sub), info_of(infos, sub)
            if self._done[sub]:
                self._done[sub] = False
                if self.mode == "next_step":
                    moments.append(Began(each[sub], info, frame, self._labels(sub, None), sub))
                continue  # one that nobody reset has nothing to tell
            done = bool(terminated[sub] or truncated[sub])
            ends = bool(terminated[sub]), bool(truncated[sub])
            if done and self.mode == "same_step":
                moments.append(self._last(sub, acted[sub], rewards[sub], ends, infos))
                moments.append(Began(each[sub], info, frame, self._labels(sub, None), sub))
                continue
            self._done[sub] = done
            moments.append(Stepped(acted[sub], each[sub], rewards[sub], *ends, info, frame, sub))
        return moments

    def _last(self, sub: int, action: Any, reward: Any, ends: tuple[bool, bool], infos: Mapping[str, Any]) -> Moment:
        """The step that ended an episode, whose place was taken at once; what was drawn of it is gone."""
        finals = infos.get("final_obs")
        final = None if finals is None else finals[sub]
        if final is None:
            return Failed("us", "it began anew in the same step and gave no `final_obs`", action, sub=sub)
        info = info_of(infos.get("final_info", {}), sub)
        return Stepped(action, final, reward, *ends, info, None, sub)

    def _labels(self, sub: int, seed: int | None) -> dict[str, Label]:
        return {"recorder": f"env.{sub}", "autoreset": self.mode, **self._seeds[sub].reset(seed)}


def info_of(infos: Mapping[str, Any], sub: int) -> dict[str, Any]:
    """What infos tell of one sub-environment: those that its mask, `_KEY`, does not leave out."""
    found = {}
    for key, value in infos.items():
        if key in _FINAL or (key.startswith("_") and key[1:] in infos):
            continue
        mask = infos.get(f"_{key}")
        if mask is not None and not mask[sub]:
            continue
        if isinstance(value, Mapping):
            found[key] = info_of(value, sub)
        else:
            try:
                found[key] = value[sub]
            except (TypeError, IndexError, KeyError):
                found[key] = value  # one for all
    return found


def frame_of(frames: Any, sub: int) -> Any:
    """The picture of one of those that a vector environment drew, if it did."""
    if isinstance(frames, tuple | list | np.ndarray) and len(frames) > sub and np.ndim(frames[sub]) >= 2:
        return frames[sub]
    return None
