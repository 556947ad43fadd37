"""The layout: which streams an environment has, found from its spaces, its first reset and its first step.

| stream | rows of an episode of n steps, and when |
|---|---|
| `observation...`, `render` | n + 1, the first at the reset |
| `action...` | n, each when it began to act: with the observation that it answers |
| `reward`, `terminated`, `truncated` | n, each with the observation that came of it |
| `final_obs...` | 1, the last observation |
| `info.KEY...` | numbers and arrays of numbers that the first reset or step told, each where it was told |
| `failed` | n + 1, false; in one that failed one more, true, where the next observation would have been |
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from gymnasium import spaces

from sensorium.drivers.stream import DTYPES, StreamSpec
from sensorium.sim.gym.spaces import Leaf, Path, fit_name, leaves, to_plain

REWARD, TERMINATED, TRUNCATED, FAILED, RENDER = "reward", "terminated", "truncated", "failed", "render"
OBSERVATION, FINAL, ACTION, INFO = "observation", "final_obs", "action", "info"

_MOST_BYTES = 64 << 20
_IMAGE_SIDE = 8
_LONGEST = 80
"""Of a stream's name, which has the sensor's before it."""


@dataclass(frozen=True, slots=True)
class EnvNature:
    """What is known of an environment before it runs; `said` is kept with the streams, in JSON."""

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    step_ns: int
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EnvLayout:
    """The leaves of each stream. `infos` are by path; `render` is None where nothing is drawn."""

    nature: EnvNature
    observation: tuple[Leaf, ...]
    final: tuple[Leaf, ...]
    action: tuple[Leaf, ...]
    infos: Mapping[Path, Leaf]
    render: Leaf | None

    def specs(self, prefix: str) -> tuple[StreamSpec, ...]:
        """The streams of a driver called `prefix`."""
        nature = self.nature
        spoken = {
            **nature.said,
            "step_s": nature.step_ns / 1e9,
            "observation_space": to_plain(nature.observation_space),
            "action_space": to_plain(nature.action_space),
        }
        yields = [
            *(_spec(leaf, OBSERVATION) for leaf in self.observation),
            *(_spec(leaf, ACTION) for leaf in self.action),
            StreamSpec(name=REWARD, modality="reward", dtype="float64", shape=(), calibration={"gymnasium": spoken}),
            StreamSpec(name=TERMINATED, modality="flag", dtype="bool", shape=()),
            StreamSpec(name=TRUNCATED, modality="flag", dtype="bool", shape=()),
            *(_spec(leaf, OBSERVATION) for leaf in self.final),
            *(_spec(leaf, INFO) for leaf in self.infos.values()),
            *([] if self.render is None else [_spec(self.render, "image")]),
            StreamSpec(name=FAILED, modality="flag", dtype="bool", shape=()),
        ]
        rate_hz = 1e9 / nature.step_ns
        sparse = {leaf.name for leaf in (*self.final, *self.infos.values())}
        return tuple(_named(spec, f"{prefix}.{spec.name}", None if spec.name in sparse else rate_hz) for spec in yields)


def layout_of(nature: EnvNature, reset: Mapping[str, Any], step: Mapping[str, Any]) -> EnvLayout:
    """The layout of an environment.

    Args:
        nature: Its spaces and how long a step is.
        reset: What its first reset gave, and `step` what its first step did, as far as they came: `observation`,
            `info`, `frame`, `action`.

    Raises:
        ConfigError: a space cannot be recorded.
    """
    observed = leaves(nature.observation_space, OBSERVATION)
    acted = leaves(nature.action_space, ACTION)
    if "observation" in reset:
        observed = tuple(_observed(leaf, reset["observation"]) for leaf in observed)
    if "action" in step:
        acted = tuple(_observed(leaf, step["action"]) for leaf in acted)
    final = tuple(replace(leaf, name=FINAL + leaf.name.removeprefix(OBSERVATION)) for leaf in observed)
    frame = next((given["frame"] for given in (reset, step) if given.get("frame") is not None), None)
    render = None
    if isinstance(frame, np.ndarray) and frame.ndim in (2, 3) and frame.size and frame.dtype.name in DTYPES:
        render = Leaf(RENDER, (), frame.shape, frame.dtype.name)
    return EnvLayout(nature, observed, final, acted, _info_leaves(reset.get("info"), step.get("info")), render)


def numbers_in(info: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """What an info tells, by path: mappings with texts as keys are gone into, all else is as it is."""
    for key, value in info.items():
        if isinstance(value, Mapping) and value and all(isinstance(name, str) for name in value):
            yield from numbers_in(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value


def _observed(leaf: Leaf, value: Any) -> Leaf:
    try:
        for key in leaf.path:
            value = value[key]
        return leaf.as_observed(value)
    except Exception:
        return leaf  # the episode that it is in says what is wrong with it


def _info_leaves(*infos: Mapping[str, Any] | None) -> dict[Path, Leaf]:
    found: dict[Path, Leaf] = {}
    names: set[str] = set()
    for info in infos:
        for path, value in numbers_in(info if isinstance(info, Mapping) else {}):
            leaf = _info_leaf(path, value)
            if leaf is None:
                continue
            known = found.get(path)
            if known is None and leaf.name in names:
                continue  # another key is this stream already; it is kept in notes
            if known is not None and known.shape == leaf.shape:
                leaf = replace(leaf, dtype=np.promote_types(known.dtype, leaf.dtype).name)
            elif known is not None:
                continue
            names.add(leaf.name)
            found[path] = leaf
    return {path: leaf for path, leaf in found.items() if leaf.dtype in DTYPES}


def _info_leaf(path: Path, value: Any) -> Leaf | None:
    """A leaf for numbers of one shape; None for all else."""
    if isinstance(value, list | tuple) or value is None:
        return None  # it was no array: its length may be another next time
    try:
        found = np.asarray(value)
    except Exception:  # it is anybody's object
        return None
    dtype = {"float16": "float32"}.get(found.dtype.name, found.dtype.name)
    if found.dtype.kind not in "biuf" or dtype not in DTYPES or not 0 < found.nbytes <= _MOST_BYTES:
        return None
    name = ".".join([INFO, *map(fit_name, path)])
    return Leaf(name, path, found.shape, dtype) if len(name) <= _LONGEST else None


def _spec(leaf: Leaf, modality: str) -> StreamSpec:
    is_picture = leaf.dtype == "uint8" and _is_picture(leaf.shape)
    calibration: dict[str, Any] = {"path": list(leaf.path)}
    if leaf.declared:
        calibration["declared_dtype"] = leaf.declared
    if leaf.text:
        calibration["text"] = "uint32 code points, 4294967295 behind the last"
    if leaf.dtype.startswith("float") and _is_picture(leaf.shape):
        calibration["picture"] = "in float, stored as it is: neither scaled nor rounded"
    return StreamSpec(
        name=leaf.name,
        modality="image" if is_picture else modality,
        dtype=leaf.dtype,
        shape=leaf.shape,
        color_order="RGB" if is_picture and len(leaf.shape) == 3 and leaf.shape[-1] == 3 else "",
        calibration={"gymnasium": calibration},
    )


def _is_picture(shape: tuple[int, ...]) -> bool:
    """[h, w] or [h, w, 1 or 3]: what has its channels first is a stack of them, and no picture."""
    return len(shape) in (2, 3) and min(shape[:2]) >= _IMAGE_SIDE and (len(shape) == 2 or shape[2] in (1, 3))


def _named(spec: StreamSpec, name: str, rate_hz: float | None) -> StreamSpec:
    return msgspec.structs.replace(spec, name=name, rate_hz=rate_hz, stamps_from="source")
