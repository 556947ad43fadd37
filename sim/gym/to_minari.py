"""To Minari: episodes of an environment become a dataset that its library loads, with nothing lost.

Observations, actions, rewards, ends, seeds and infos stand where Minari has them; pictures are not made JPEGs. An info
that was not told at every observation stands as it was told, and `infos/sensorium/at/KEY` says at which. One whose key
HDF5 cannot have, as with a `/`, has another there, and `infos/sensorium/keys` says of what. Labels, outcome, notes and
drawn frames, for which Minari has no place, are kept beside under `sensorium`.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from sensorium.corpus.episode import Episode
from sensorium.errors import ConfigError
from sensorium.sim.gym.layout import INFO
from sensorium.sim.gym.minari_folder import DATA, OURS, datasets_root, installed_minari
from sensorium.sim.gym.spaces import Array, Path, leaves
from sensorium.sim.gym.stored_rollout import StoredRollout, sensor_of, stored_rollout


@dataclass(frozen=True, slots=True)
class Exported:
    """How many episodes and steps a dataset has, where it is, why others were left out, by episode, and which infos are
    called otherwise there."""

    folder: FilePath
    episodes: int
    steps: int
    left_out: dict[str, str]
    renamed: dict[Path, Path]


def export_minari(
    episodes: Sequence[Episode],
    dataset: str,
    root: FilePath | None = None,
    *,
    author: str = "",
    email: str = "",
    algorithm: str = "",
    description: str = "",
    told: Callable[[int], object] = lambda _: None,
) -> Exported:
    """Write a dataset; it appears when it is whole.

    Args:
        episodes: All of environments with the same spaces; those of something else, and without a step, are left out.
        dataset: Its name as Minari has them, such as `cartpole/random-v0`.
        root: The folder of datasets; None: where Minari looks.
        author: Who made it, and `email`, `algorithm`, `description`: what Minari keeps with it.
        told: Is told how many are written.

    Raises:
        ConfigError: the name is none or is taken, Minari is absent, there is nothing to write, or not for one dataset.
        Corrupt: an episode is damaged.
    """
    installed_minari()
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(dataset)
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"dataset {dataset!r}: is no name as Minari has them, such as cartpole/random-v0") from error
    folder = datasets_root(root) / dataset
    if folder.exists():
        raise ConfigError(f"dataset {dataset!r}: is there already, in {folder}; choose another name or version")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / DATA).mkdir(parents=True)
    try:
        left_out: dict[str, str] = {}
        said = {"author": author, "author_email": email, "algorithm_name": algorithm, "description": description}
        renamed: dict[Path, Path] = {}
        written, steps = _write(partial / DATA, dataset, episodes, left_out, renamed, said, told)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Exported(folder, written, steps, left_out, renamed)


def _write(
    folder: FilePath,
    dataset: str,
    episodes: Sequence[Episode],
    left_out: dict[str, str],
    renamed: dict[Path, Path],
    said: dict[str, str],
    told: Callable[[int], object],
) -> tuple[int, int]:
    storage: Any = None
    first: StoredRollout | None = None
    written = steps = 0
    for episode, rollout in _rollouts(episodes, left_out):
        if first is None or storage is None:
            first, storage = rollout, _storage(folder, dataset, rollout, said)
        _check_same(first, rollout)
        storage.update_episodes([_buffer(written, rollout, episode, renamed)])
        storage.update_episode_metadata([{f"{OURS}/episode": _about(rollout, episode)}], [written])
        written, steps = written + 1, steps + len(rollout)
        told(written)
    if not written:
        why = next(iter(left_out.values()), "none was selected")
        raise ConfigError(f"dataset {dataset!r}: no episode to write: {why}")
    return written, steps


def _rollouts(episodes: Sequence[Episode], left_out: dict[str, str]) -> Iterator[tuple[Episode, StoredRollout]]:
    for episode in episodes:
        if sensor_of(episode) is None:
            left_out[episode.id] = "it was not recorded of a Gymnasium environment"
            continue
        if not episode.streams[f"{sensor_of(episode)}.reward"].captured_ns.size:
            left_out[episode.id] = "it has no step"
            continue
        yield episode, stored_rollout(episode)


def _storage(folder: FilePath, dataset: str, rollout: StoredRollout, said: dict[str, str]) -> Any:
    from minari import __version__
    from minari.dataset.minari_storage import MinariStorage

    for name, space in (("observation", rollout.observation_space), ("action", rollout.action_space)):
        for leaf in leaves(space, name):
            if any(_fitted(str(key)) != str(key) for key in leaf.path):
                raise ConfigError(
                    f"dataset {dataset!r}: {list(leaf.path)} of the {name} space has a `/`, which begins another folder"
                    " of HDF5, or what is no name there, and Minari could not load it; rename it in the environment"
                )
    spec = rollout.said.get("spec")
    storage: Any = MinariStorage.new(
        folder,
        rollout.observation_space,
        rollout.action_space,
        EnvSpec.from_json(spec) if spec else None,
        jpeg_encoding=False,
    )
    given = {name: {text} if name.startswith("author") else text for name, text in said.items() if text}
    ours = {key: value for key, value in rollout.said.items() if key not in ("observation_space", "action_space")}
    storage.update_metadata({"dataset_id": dataset, "minari_version": __version__, OURS: json.dumps(ours), **given})
    return storage


def _check_same(first: StoredRollout, other: StoredRollout) -> None:
    for what in ("observation_space", "action_space"):
        mine, others = getattr(first, what), getattr(other, what)
        if mine != others:
            raise ConfigError(
                f"episodes {first.episode}, {other.episode}: are not of the same spaces ({what} {mine}, {others})"
                " and cannot be one dataset; select with --where"
            )


def _buffer(number: int, rollout: StoredRollout, episode: Episode, renamed: dict[Path, Path]) -> Any:
    from minari.data_collector import EpisodeBuffer

    seed = rollout.labels.get("seed")
    return EpisodeBuffer(
        id=number,
        seed=seed if isinstance(seed, int) else None,
        observations=_columns(rollout.observation_space, "observation", rollout.observations),
        actions=_columns(rollout.action_space, "action", rollout.actions),
        rewards=rollout.rewards,
        terminations=rollout.terminated,
        truncations=rollout.truncated,
        infos=_infos(rollout, episode, renamed),
    )


def _columns(space: spaces.Space[Any], name: str, rows: Any) -> Any:
    """As Minari has values one behind another: an array [n, ...], or a mapping or tuple of those; texts as a list."""
    columns = {}
    for leaf in leaves(space, name):
        stored = rows[leaf.path]
        columns[leaf.path] = [leaf.value(row) for row in stored] if leaf.text else stored
    return _nested(space, columns, ())


def _nested(space: spaces.Space[Any], columns: dict[Path, Any], path: Path) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _nested(each, columns, (*path, key)) for key, each in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_nested(each, columns, (*path, number)) for number, each in enumerate(space.spaces))
    return columns[path]


def _infos(rollout: StoredRollout, episode: Episode, renamed: dict[Path, Path]) -> dict[str, Any]:
    infos: dict[str, Any] = {}
    beside: dict[str, Any] = {}
    everywhere = np.arange(len(rollout) + 1)
    notes = [note for note in episode.attributes.get("notes", []) if note["kind"] != "trigger"]
    texts = _told_always(notes, rollout, episode)
    numbers = {path: told for path, told in rollout.infos.items() if len(told[1])}
    texts = {name: each for name, each in texts.items() if all(path[0] != name for path in numbers)}
    notes = [note for note in notes if not (note["kind"] == INFO and note["name"] in texts)]
    named = _named([*numbers, *((name,) for name in texts)])
    for path, (at, rows) in numbers.items():
        _put(infos, named[path], rows)
        if not np.array_equal(at, everywhere):
            _put(beside.setdefault("at", {}), named[path], at)
    for name, each in texts.items():
        _put(infos, named[name,], each)
    others = {path: name for path, name in named.items() if path != name}
    renamed |= others
    if others:
        beside["keys"] = [json.dumps([name, path]) for path, name in others.items()]
    if notes:
        base_ns = episode.start_ns if episode.base_ns is None else episode.base_ns
        steps = [(note["start_ns"] - base_ns) // rollout.step_ns for note in notes]
        kept = [{key: note[key] for key in ("kind", "name", "value") if key in note} for note in notes]
        beside["notes"] = [json.dumps({**note, "at": at}) for note, at in zip(kept, steps, strict=True)]
    if rollout.frames is not None and len(rollout.frames):
        beside["render"] = rollout.frames
    return {**infos, OURS: beside} if beside else infos


def _told_always(notes: list[dict[str, Any]], rollout: StoredRollout, episode: Episode) -> dict[str, list[str]]:
    """The infos that were a text at every observation."""
    base_ns = episode.start_ns if episode.base_ns is None else episode.base_ns
    found: dict[str, dict[int, str]] = {}
    for note in notes:
        if note["kind"] == INFO and isinstance(note.get("value"), str):
            found.setdefault(note["name"], {})[(note["start_ns"] - base_ns) // rollout.step_ns] = note["value"]
    wanted = range(len(rollout) + 1)
    return {name: [texts[n] for n in wanted] for name, texts in found.items() if set(texts) == set(wanted)}


def _named(paths: Sequence[Path]) -> dict[Path, Path]:
    """By path of an info its path in HDF5: there a `/` begins another folder, and no name is empty, or both an array
    and a folder.

    >>> list(_named([("arm/left", "x"), ("arm|left", "x"), ("y",), ("y", "z")]).values())
    [('|arm|left', 'x'), ('arm|left', 'x'), ('|y',), ('y', 'z')]
    """
    found: dict[Path, Path] = {}
    for path in paths:
        first, *others = (_fitted(str(key)) for key in path)
        taken = [*found.values(), *(each for each in paths if each not in found and each != path)]
        while first == OURS or any(_clash((first, *others), each) for each in taken):
            first = f"|{first}"
        found[path] = first, *others
    return found


def _fitted(key: str) -> str:
    key = key.replace("/", "|").replace("\0", "|")
    return f"|{key}" if key in ("", ".") else key


def _clash(path: Path, other: Path) -> bool:
    """Whether one is the other, or leads through it."""
    return all(mine == theirs for mine, theirs in zip(path, other, strict=False))


def _put(tree: dict[str, Any], path: Path, value: Array | list[str]) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(str(key), {})
    tree[str(path[-1])] = value


def _about(rollout: StoredRollout, episode: Episode) -> str:
    said = {"id": rollout.episode, "labels": dict(rollout.labels), "outcome": rollout.outcome}
    lost = {name: account["lost"] for name, account in episode.account.items() if account["lost"]}
    return json.dumps({**said, "lost": lost})
