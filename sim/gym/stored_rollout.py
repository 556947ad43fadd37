"""A stored rollout: an episode of an environment, read back as Gymnasium has it: values of its spaces, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Stream
from sensorium.drivers.marks import Label
from sensorium.errors import ConfigError, Corrupt
from sensorium.sim.gym.layout import ACTION, FAILED, INFO, OBSERVATION, RENDER, REWARD, TERMINATED, TRUNCATED
from sensorium.sim.gym.spaces import Array, Path, from_plain, leaves, together

NAMES = "gymnasium"
"""Under this key the calibration of streams says what they are of an environment."""


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """n steps: n + 1 observations, n actions, rewards and ends; `said` is what was known of the environment.

    Of a `Dict` or `Tuple` the values are by path to their leaves, arrays [n + 1, ...] and [n, ...]; `observation` and
    `action` put one together. `infos` are by path: at which observation each row was told, int64 [m], and the rows.
    """

    episode: str
    labels: Mapping[str, Label]
    outcome: str
    said: Mapping[str, Any]
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    observations: Mapping[Path, Array]
    actions: Mapping[Path, Array]
    rewards: Array
    terminated: Array
    truncated: Array
    infos: Mapping[Path, tuple[Array, Array]]
    frames: Array | None
    step_ns: int

    def __len__(self) -> int:
        return len(self.rewards)

    def observation(self, number: int) -> Any:
        """The value of the space at the reset (0) or after step `number`."""
        return _value(self.observation_space, OBSERVATION, self.observations, number)

    def action(self, number: int) -> Any:
        """The value of the space that acted in step `number`, from 0 on."""
        return _value(self.action_space, ACTION, self.actions, number)


def sensor_of(episode: Episode) -> str | None:
    """The sensor of an episode that is an environment; None if none is."""
    for name, stream in episode.streams.items():
        if name.endswith(f".{REWARD}") and NAMES in stream.spec.calibration:
            return name.removesuffix(f".{REWARD}")
    return None


def stored_rollout(episode: Episode) -> StoredRollout:
    """Read an episode that was recorded of an environment.

    Raises:
        ConfigError: it was not, or failed before its first observation.
        Corrupt: what is stored is damaged, or no whole rollout.
    """
    sensor = sensor_of(episode)
    if sensor is None:
        raise ConfigError(f"episode {episode.id}: was not recorded of a Gymnasium environment")
    streams = {name.removeprefix(f"{sensor}."): each for name, each in episode.streams.items()}
    said = streams[REWARD].spec.calibration[NAMES]
    of_observation, of_action = from_plain(said["observation_space"]), from_plain(said["action_space"])
    step_ns = round(said["step_s"] * 1e9)
    base_ns = episode.start_ns if episode.base_ns is None else episode.base_ns
    rollout = StoredRollout(
        episode=episode.id,
        labels=episode.labels,
        outcome=episode.outcome,
        said=said,
        observation_space=of_observation,
        action_space=of_action,
        observations=_leaves(of_observation, OBSERVATION, streams),
        actions=_leaves(of_action, ACTION, streams),
        rewards=streams[REWARD][:],
        terminated=streams[TERMINATED][:],
        truncated=streams[TRUNCATED][:],
        infos={
            tuple(stream.spec.calibration[NAMES]["path"]): ((stream.captured_ns - base_ns) // step_ns, stream[:])
            for name, stream in streams.items()
            if name.startswith(f"{INFO}.")
        },
        frames=streams[RENDER][:] if RENDER in streams else None,
        step_ns=step_ns,
    )
    rows = {len(each) for each in rollout.observations.values()} | {len(rollout) + 1}
    rows |= {len(each) + 1 for each in (*rollout.actions.values(), rollout.terminated, rollout.truncated)}
    if rows == {0, 1} and FAILED in streams:
        raise ConfigError(
            f"episode {episode.id}: failed before its first observation, and nothing was recorded of it that could be"
            f" compared or written: {_why(episode)}"
        )
    if len(rows) > 1:
        raise Corrupt(f"episode {episode.id}: is no whole rollout: rows are missing; run `sensorium verify --deep`")
    return rollout


def _why(episode: Episode) -> str:
    notes = (note for note in episode.attributes.get("notes", ()) if note["name"] == FAILED)
    return next((str(note["value"]["why"]) for note in notes), "it does not say why")


def _leaves(space: spaces.Space[Any], name: str, streams: Mapping[str, Stream]) -> dict[Path, Array]:
    return {leaf.path: streams[leaf.name][:] for leaf in leaves(space, name)}


def _value(space: spaces.Space[Any], name: str, rows: Mapping[Path, Array], number: int) -> Any:
    return together(space, {leaf.path: leaf.value(np.array(rows[leaf.path][number])) for leaf in leaves(space, name)})
