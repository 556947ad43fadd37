"""Made again: an episode of an environment, reset with its seed and acted on as stored, must give the same bytes."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from sensorium.corpus.episode import Episode
from sensorium.drivers.driver import Delivery
from sensorium.drivers.stream import Block
from sensorium.errors import ConfigError
from sensorium.sim.gym.acting import close_quietly, frame_drawn
from sensorium.sim.gym.feeder import Feeder, layout_from
from sensorium.sim.gym.layout import EnvNature
from sensorium.sim.gym.moments import Abandoned, Began, Failed, Moment, Stepped, kept
from sensorium.sim.gym.spaces import Array
from sensorium.sim.gym.stored_rollout import StoredRollout, sensor_of, stored_rollout
from sensorium.sim.replaying import Again, Difference
from sensorium.threads import reason


def replay_rollout(episode: Episode, progress: Callable[[float], object] = lambda _: None) -> Again:
    """Make the environment again, act as it is stored, and compare every stream.

    Raises:
        ConfigError: the episode had no seed of its own, or its environment cannot be made here.
        Corrupt: what is stored cannot be read, or is no whole rollout.
    """
    stored, sensor = stored_rollout(episode), sensor_of(episode) or ""
    seed = stored.labels.get("seed")
    if not isinstance(seed, int):
        raise ConfigError(
            f"episode {episode.id}: its reset had no seed of its own, so that it cannot be made again alone; those that"
            " have one are labelled `seed`"
        )
    version = str(stored.labels.get("world_version", ""))
    policy = str(stored.labels.get("policy", ""))
    again = Again(episode.id, str(stored.said["id"]), version, "", seed, policy, actions=len(stored))
    made = _streams(_deliveries(episode, stored, sensor, seed, progress))
    base_ns = episode.start_ns if episode.base_ns is None else episode.base_ns
    for name, stream in episode.streams.items():
        if not name.startswith(f"{sensor}."):
            again.skipped[name] = "of another sensor"
        elif stream.encoding.codec != "lossless":
            again.skipped[name] = f"stored as {stream.encoding.codec}, not byte for byte"
        elif any(episode.account[name][fate] for fate in ("filtered", "lost")):
            again.skipped[name] = "samples were filtered or lost"
        else:
            stamps, rows = made.get(name, (np.empty(0, np.int64), np.empty((0, *stream.spec.shape), stream.spec.dtype)))
            same, what = _alike(stream.captured_ns - base_ns, stream[:], stamps, rows)
            again.same[name] = same
            if what:
                at_ns = (
                    int((stream.captured_ns - base_ns)[same]) if same < len(stream) else len(stored) * stored.step_ns
                )
                again.differences.append(Difference(name, same, at_ns / 1e9, what))
    again.differences.sort(key=lambda each: each.at_s)
    return again


def _deliveries(
    episode: Episode, stored: StoredRollout, sensor: str, seed: int, progress: Callable[[float], object]
) -> list[Delivery]:
    """What would be recorded of it now, stamps since the reset."""
    env = _made(episode, stored)
    try:
        moments = list(_moments(env, stored, seed, progress))
    finally:
        close_quietly(env)
    seen: dict[type[Moment], Moment] = {}
    for moment in moments:
        seen.setdefault(type(moment), moment)
    said = {
        key: value for key, value in stored.said.items() if key not in ("step_s", "observation_space", "action_space")
    }
    nature = EnvNature(stored.observation_space, stored.action_space, stored.step_ns, said)
    feeder = Feeder(layout_from(nature, seen), sensor, {}, 1, 0)
    return [each for moment in moments for each in feeder.take(moment)]


def _made(episode: Episode, stored: StoredRollout) -> Any:
    if not stored.said.get("spec"):
        raise ConfigError(
            f"episode {episode.id}: its environment had no spec by which it could be made again; register it"
            " under a name, by a class of a module"
        )
    try:
        return gymnasium.make(EnvSpec.from_json(stored.said["spec"]), disable_env_checker=True)
    except Exception as error:  # making runs what its author wrote
        raise ConfigError(
            f"episode {episode.id}: {stored.said['id']} cannot be made here: {reason(error)}; `sim replay`"
            " looks for modules in the folder in which it is run, too"
        ) from error


def _moments(env: Any, stored: StoredRollout, seed: int, progress: Callable[[float], object]) -> Iterator[Moment]:
    draws = stored.frames is not None
    try:
        observation, info = env.reset(seed=seed)
        yield kept(Began(observation, info, frame_drawn(env) if draws else None))
        for step in range(len(stored)):
            action = stored.action(step)
            observation, reward, terminated, truncated, info = env.step(action)
            frame = frame_drawn(env) if draws else None
            yield kept(Stepped(action, observation, reward, bool(terminated), bool(truncated), info, frame))
            progress((step + 1) * stored.step_ns / 1e9)
    except Exception as error:  # an environment is anybody's code
        yield Failed("us", reason(error))
        return
    yield Failed("us", "as it was recorded") if stored.outcome == "failed" else Abandoned()


def _streams(delivered: list[Delivery]) -> dict[str, tuple[Array, Array]]:
    blocks: dict[str, list[Block]] = {}
    for each in delivered:
        if isinstance(each, Block) and len(each):
            blocks.setdefault(each.stream, []).append(each)
    return {
        name: (np.concatenate([each.captured_ns for each in some]), np.concatenate([each.data for each in some]))
        for name, some in blocks.items()
    }


def _alike(stored_ns: Array, stored: Array, made_ns: Array, made: Array) -> tuple[int, str]:
    """How many rows are the same from the first on, and what is wrong with the next one."""
    if stored.dtype != made.dtype or stored.shape[1:] != made.shape[1:]:
        return 0, f"{stored.dtype}{list(stored.shape[1:])} is stored, {made.dtype}{list(made.shape[1:])} was made again"
    for row in range(min(len(stored), len(made))):
        if stored_ns[row] != made_ns[row]:
            return row, f"stamped {stored_ns[row]} ns, made again {made_ns[row]} ns"
        if stored[row].tobytes() != made[row].tobytes():
            return row, "other values were made again"
    if len(stored) != len(made):
        return min(len(stored), len(made)), f"{len(stored)} rows are stored, {len(made)} were made again"
    return len(stored), ""
