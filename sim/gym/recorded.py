"""Recording a loop of one's own: an environment that records all that goes through it, and delivers it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack, overload

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from sensorium.drivers.marks import Label
from sensorium.sim.gym.acting import frame_drawn
from sensorium.sim.gym.feeder import nature_of
from sensorium.sim.gym.moments import Began, Failed, Stepped, copied
from sensorium.sim.gym.recording import Recording
from sensorium.sim.gym.seeds import Seeds
from sensorium.sim.gym.spaces import gymnasium_version
from sensorium.sim.gym.vectors import Apart, mode_of
from sensorium.threads import reason

log = logging.getLogger(__name__)


class _Drawing:
    """What an environment draws, as long as it can: a loop goes on without pictures."""

    def __init__(self, is_wanted: bool) -> None:
        self._is_wanted = is_wanted

    def __call__(self, env: Any) -> Any:
        try:
            return frame_drawn(env) if self._is_wanted else None
        except Exception as error:
            self._is_wanted = False
            log.warning("the environment cannot draw, its frames are not recorded: %s", reason(error))
            return None


class RecordOptions(TypedDict, total=False):
    """Those of `record`."""

    device: str
    name: str
    ingest: str | Mapping[str, Any] | None
    mission: str | Mapping[str, Any]
    labels: Mapping[str, Label] | None
    encodings: Mapping[str, Any] | None
    step_s: float | None
    frames: bool
    drain_s: float


class RecordedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose episodes are recorded; `close`, or the end of `with`, ends the recording and delivers it."""

    def __init__(self, env: gymnasium.Env[Any, Any], recording: Recording, *, frames: bool) -> None:
        super().__init__(env)
        self.recording = recording
        self._draw = _Drawing(frames)
        self._seeds = Seeds()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        labels = self._seeds.reset(seed)
        try:
            observation, info = self.env.reset(seed=seed, options=options)
        except Exception as error:
            self.recording.take(Failed("us", f"the environment did not begin: {reason(error)}", labels=labels))
            raise
        self.recording.take(Began(observation, info, self._draw(self.env), labels))
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        acted = copied(action)  # an environment may clip it where it stands
        try:
            observation, reward, terminated, truncated, info = self.env.step(action)
            ends = bool(terminated), bool(truncated)
            moment = Stepped(acted, observation, reward, *ends, info, self._draw(self.env))
        except Exception as error:
            self.recording.take(Failed("us", f"the environment did not step: {reason(error)}", acted))
            raise
        self.recording.take(moment)
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        try:
            self.recording.close()
        finally:
            super().close()


class RecordedVectorEnv(VectorWrapper):
    """The same of a vector environment: each part of it has episodes of its own, recorded when they have ended."""

    def __init__(self, env: VectorEnv[Any, Any, Any], recording: Recording, *, frames: bool) -> None:
        super().__init__(env)
        self.recording = recording
        self._draw = _Drawing(frames)
        self._apart = Apart(env.observation_space, env.action_space, env.num_envs, mode_of(env))

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        mask = None if options is None else options.get("reset_mask")
        mask = None if mask is None else np.array(mask, np.bool_)  # it is taken out of the options
        env: Any = self.env  # its seeds may be a list, though that is not what it says
        given: tuple[Any, dict[str, Any]] = env.reset(seed=seed, options=options)
        for moment in self._apart.reset(given, seed, mask, self._draw(self.env)):
            self.recording.take(moment)
        return given

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        acted = copied(actions)
        try:
            given = self.env.step(actions)
        except Exception as error:
            why = f"the environment did not step: {reason(error)}"
            for sub in range(self.num_envs):
                self.recording.fail(Failed("us", why, sub=sub))
            raise
        for moment in self._apart.step(acted, given, self._draw(self.env)):
            self.recording.take(moment)
        return given

    def close(self, **kwargs: Any) -> None:
        try:
            self.recording.close()
        finally:
            super().close(**kwargs)

    def __enter__(self) -> "RecordedVectorEnv":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@overload
def record(
    env: VectorEnv[Any, Any, Any], spool: Path | str = "spool", **options: Unpack[RecordOptions]
) -> RecordedVectorEnv: ...
@overload
def record(
    env: gymnasium.Env[Any, Any], spool: Path | str = "spool", **options: Unpack[RecordOptions]
) -> RecordedEnv: ...
def record(
    env: gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any],
    spool: Path | str = "spool",
    *,
    device: str = "gym",
    name: str = "env",
    ingest: str | Mapping[str, Any] | None = None,
    mission: str | Mapping[str, Any] = "default",
    labels: Mapping[str, Label] | None = None,
    encodings: Mapping[str, Any] | None = None,
    step_s: float | None = None,
    frames: bool = True,
    drain_s: float = 60.0,
) -> RecordedEnv | RecordedVectorEnv:
    """The environment, recording all that goes through it into a spool, and delivering it meanwhile.

    It comes back in a `RecordedEnv` or a `RecordedVectorEnv`.

        with sensorium.sim.record(gymnasium.make("CartPole-v1"), "spool", ingest="tcp://127.0.0.1:7707") as env:
            observation, info = env.reset(seed=1)
            ...

    Streams are those of the driver `gymnasium`, `NAME.observation` and so on (docs/simulation.md). What cannot be
    recorded (a shape that changes, NaN) fails the episode, never the loop; an error of the environment fails it too,
    and is raised on.

    Args:
        env: An environment, or a vector one.
        spool: The folder in which episodes wait, and stay where there is no `ingest`.
        device: Under which name they are delivered, and `name` the sensor's.
        ingest: Where to deliver, tcp://HOST:PORT, or a mapping as in a device file, with keys.
        mission: Its name, or a mapping as in a device file.
        labels: What every episode is to be labelled with, beside `world` and `seed`.
        encodings: By stream, as in a device file.
        step_s: How long a step is; by default as the metadata's `render_fps` says.
        frames: Whether pictures are drawn and recorded, where `render_mode` is rgb_array.
        drain_s: How long at the end to wait until all is delivered.

    Raises:
        ConfigError: an option, or a space that cannot be recorded.
        SensoriumError: from `reset`, `step` or `close`: the recording cannot go on (a full disk, a locked spool).
    """
    many = env if isinstance(env, VectorEnv) else None
    of: Any = env
    spaces = (of.single_observation_space, of.single_action_space) if many else (of.observation_space, of.action_space)
    nature = nature_of(of, *spaces, step_s)
    said: dict[str, Label] = {"world": nature.said["id"] or type(of.unwrapped).__name__}
    document: dict[str, Any] = {
        "device": device,
        "spool": {"path": str(Path(spool).absolute())},
        "mission": {"name": mission} if isinstance(mission, str) else dict(mission),
        "encodings": dict(encodings or {}),
    }
    if ingest is not None:
        document["ingest"] = {"url": ingest} if isinstance(ingest, str) else dict(ingest)
    recording = Recording(
        nature,
        document,
        name=name,
        labels={**said, "world_version": gymnasium_version(), **(labels or {})},
        subs=1 if many is None else many.num_envs,
        drain_s=drain_s,
    )
    return (
        RecordedEnv(of, recording, frames=frames) if many is None else RecordedVectorEnv(many, recording, frames=frames)
    )
