"""Episodes of a Minari dataset as moments: what was reset, what was done, and what came of it, one after another."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator

from sensorium.drivers.marks import Label
from sensorium.errors import ConfigError
from sensorium.sim.gym.feeder import nature_of
from sensorium.sim.gym.layout import EnvNature, layout_of
from sensorium.sim.gym.minari_folder import OURS
from sensorium.sim.gym.moments import Abandoned, Began, Failed, Moment, Stepped
from sensorium.sim.gym.rollout_log import UNFINISHED


class DatasetRead:
    """A dataset, open for reading; `len` is how many episodes it has.

    Raises:
        ConfigError: it has none, or a space that cannot be recorded.
    """

    def __init__(self, folder: FilePath, step_s: float | None) -> None:
        from minari import MinariDataset

        self._dataset = MinariDataset(folder)
        self.name = self._dataset.id
        self._numbers = [int(each) for each in self._dataset.episode_indices]
        if not self._numbers:
            raise ConfigError(f"dataset {self.name!r}: has no episodes")
        nature = _nature(self._dataset, step_s)
        moments = self._moments(self._numbers[0])
        began, stepped = next(moments), next(moments)
        reset: dict[str, Any] = {}
        step: dict[str, Any] = {}
        if isinstance(began, Began) and isinstance(stepped, Stepped):
            reset = {"observation": began.observation, "info": began.info, "frame": began.frame}
            step = {"action": stepped.action, "info": stepped.info, "frame": stepped.frame}
        self.layout = layout_of(nature, reset, step)
        self.labels: dict[str, Label] = {"dataset": self.name[:200]}
        if nature.said["id"]:
            self.labels["world"] = nature.said["id"]

    def __len__(self) -> int:
        return len(self._numbers)

    def moments(self, number: int) -> Iterator[Moment]:
        """Those of an episode, in their order."""
        return self._moments(self._numbers[number])

    def _moments(self, index: int) -> Iterator[Moment]:
        (episode,) = self._dataset.storage.get_episodes([index])
        (about,) = self._dataset.storage.get_episode_metadata([index])
        ours = json.loads(about.get(OURS, {}).get("episode", "{}"))
        labels: dict[str, Label] = dict(ours.get("labels", {}))
        labels.pop("index", None)
        if about.get("seed") is not None:
            labels["seed"] = int(about["seed"])
        infos = dict(episode["infos"] or {})
        beside = infos.pop(OURS, {})
        frames = beside.get("render")
        steps = len(episode["rewards"])
        told = _Infos(infos, beside, steps)
        observation, action = self._dataset.observation_space, self._dataset.action_space

        def frame(at: int) -> Any:
            return frames[at] if frames is not None and at < len(frames) else None

        yield Began(_row(observation, episode["observations"], 0), told.at(0), frame(0), labels)
        for step in range(steps):
            yield Stepped(
                _row(action, episode["actions"], step),
                _row(observation, episode["observations"], step + 1),
                episode["rewards"][step],
                bool(episode["terminations"][step]),
                bool(episode["truncations"][step]),
                told.at(step + 1),
                frame(step + 1),
            )
        if ours.get("outcome", UNFINISHED) == "failed":
            yield told.failed or Failed("us", "it failed where it was recorded")
        yield Abandoned()


class _Infos:
    """What was told when: infos of as many rows as observations, or as steps, or at those that `at` names."""

    def __init__(self, infos: Mapping[str, Any], beside: Mapping[str, Any], steps: int) -> None:
        self._steps = steps
        self._told: dict[int, dict[str, Any]] = {}
        self.failed: Failed | None = None
        pairs = (json.loads(text) for text in beside.get("keys", ()))
        self._keys = {tuple(name): tuple(path) for name, path in pairs}
        self._spread(infos, beside.get("at", {}), ())
        for text in beside.get("notes", ()):
            self._note(json.loads(text))

    def at(self, number: int) -> dict[str, Any]:
        """Told at the reset (0), or after step `number`."""
        return self._told.get(number, {})

    def _spread(self, infos: Mapping[str, Any], at: Mapping[str, Any], path: tuple[str, ...]) -> None:
        for key, rows in infos.items():
            if isinstance(rows, Mapping):
                self._spread(rows, at.get(key, {}), (*path, key))
                continue
            where = at.get(key)
            if np.ndim(rows) == 0:
                where, rows = [0], [rows]
            elif where is None:
                where = range(self._steps + 1) if len(rows) != self._steps else range(1, self._steps + 1)
            *folders, last = self._keys.get((*path, key), (*path, key))
            for number, row in zip(where, rows, strict=False):
                tree = self._told.setdefault(int(number), {})
                for each in folders:
                    tree = tree.setdefault(each, {})
                tree[last] = row.decode() if isinstance(row, bytes) else row

    def _note(self, note: dict[str, Any]) -> None:
        if note["kind"] == "event" and isinstance(note.get("value"), dict) and "who" in note["value"]:
            value = note["value"]
            self.failed = Failed(value["who"], value["why"], value.get("action"))
        elif "at" in note:
            self._told.setdefault(int(note["at"]), {})[note["name"]] = note.get("value")


def _nature(dataset: Any, step_s: float | None) -> EnvNature:
    said = json.loads(dataset.storage.metadata.get(OURS, "{}"))
    spec = dataset.env_spec
    stands_for = _Known(spec, said.get("step_s"))
    nature = nature_of(stands_for, dataset.observation_space, dataset.action_space, step_s or said.get("step_s"))
    kept = {
        **nature.said,
        **{key: value for key, value in said.items() if step_s is None or not key.startswith("step_")},
    }
    kept.pop("step_s", None)
    return EnvNature(nature.observation_space, nature.action_space, nature.step_ns, kept)


class _Known:
    """What is known of the environment of a dataset, without making it."""

    def __init__(self, spec: Any, step_s: float | None) -> None:
        self.spec = spec
        self.metadata: Mapping[str, Any] = {}
        if spec is not None and step_s is None:
            try:
                made_by: Any = load_env_creator(spec.entry_point)
                self.metadata = made_by.metadata
            except Exception:  # its package is not here, or says nothing
                self.metadata = {}


def _row(space: spaces.Space[Any], columns: Any, number: int) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _row(each, columns[key], number) for key, each in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_row(each, columns[index], number) for index, each in enumerate(space.spaces))
    return columns[number]
