"""Spaces: Gymnasium's, taken apart into leaves that a stream can hold, and put together again.

A leaf is an array of one shape and type. `Box`, `Discrete`, `MultiDiscrete`, `MultiBinary` are one each, as they are
(images in float too: nothing is scaled). `Text` is uint32 code points, filled up with `FILL`. `Dict` and `Tuple` are
those of their parts, by key and number. What has no fixed shape (`Sequence`, `Graph`, `OneOf`, a space of somebody's
own) is refused.
"""

import base64
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from sensorium.drivers.stream import DTYPES
from sensorium.errors import ConfigError

Path = tuple[str | int, ...]
"""The keys of `Dict`s and numbers of `Tuple`s that lead to a leaf; `()` of a space that is one."""

Array = npt.NDArray[Any]
FILL = 0xFFFF_FFFF
"""Behind the last letter of a text: no code point."""

_WIDER = {"float16": "float32"}
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_MOST_LISTED = 64


class Unfit(ValueError):
    """A value that is not one of its stream: another shape or type, or not a number."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One array of a space: `name` is the end of its stream's (`observation.camera`), `shape` and `dtype` as stored.

    `declared` is the type that the space gives it, where that is another; `text` whether it is one.
    """

    name: str
    path: Path
    shape: tuple[int, ...]
    dtype: str
    declared: str = ""
    text: bool = False

    def array(self, value: Any) -> Array:
        """A copy of `value` as this leaf's stream stores it.

        Raises:
            Unfit: it has another shape, a type that loses something, or is not a number.
        """
        if self.text:
            return self._letters(value)
        found = _as_array(self.name, value)
        if found.shape != self.shape:
            raise Unfit(f"{self.name} has the shape {list(found.shape)}, expected {list(self.shape)}")
        if found.dtype == self.dtype:
            taken: Array = found.copy()
        else:
            with np.errstate(all="ignore"):
                taken = found.astype(self.dtype)
            if not np.array_equal(taken, found, equal_nan=found.dtype.kind == "f"):
                raise Unfit(f"{self.name} is {found.dtype}, which {self.dtype} cannot hold without loss")
        if taken.dtype.kind == "f" and bool(np.isnan(taken).any()):
            raise Unfit(f"{self.name} is not a number (NaN)")
        return taken

    def as_observed(self, value: Any) -> "Leaf":
        """The same with the type and shape of what really came, which the stored copy must not change."""
        if self.text:
            return self
        found = _as_array(self.name, value)
        dtype = _WIDER.get(found.dtype.name, found.dtype.name)
        if dtype not in DTYPES or (dtype, found.shape) == (self.dtype, self.shape) or min(found.shape, default=1) < 1:
            return self
        return Leaf(self.name, self.path, found.shape, dtype, self.declared or self.dtype)

    def value(self, stored: Array) -> Any:
        """What the environment gave, of a row of the stream: an array, a number where it has no axes, a text."""
        if self.text:
            return "".join(map(chr, stored[stored != FILL].tolist()))
        return stored[()] if not self.shape else stored

    def _letters(self, value: Any) -> Array:
        if not isinstance(value, str) or len(value) > self.shape[0]:
            raise Unfit(f"{self.name} is {str(value)[:40]!r}, expected a text of up to {self.shape[0]} letters")
        letters = np.full(self.shape, FILL, np.uint32)
        letters[: len(value)] = [ord(letter) for letter in value]
        return letters


def leaves(space: spaces.Space[Any], name: str) -> tuple[Leaf, ...]:
    """The leaves of a space, whose streams are `name` or begin with it.

    Raises:
        ConfigError: a part has no fixed shape, a type that no stream has, or two parts get one name.
    """
    found = tuple(_leaves(space, name, ()))
    if not found:
        raise ConfigError(f"{name}: {space} has no parts, so there is nothing to record")
    by_name: dict[str, Path] = {}
    for leaf in found:
        if (other := by_name.setdefault(leaf.name, leaf.path)) != leaf.path:
            raise ConfigError(
                f"{name}: {list(other)} and {list(leaf.path)} both are a stream {leaf.name!r}; rename one"
            )
    return found


def part(value: Any, path: Path) -> Any:
    """The part of a value that a path leads to.

    Raises:
        Unfit: there is none.
    """
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            raise Unfit(f"the part {list(path)} is missing") from error
    return value


def together(space: spaces.Space[Any], values: Mapping[Path, Any], path: Path = ()) -> Any:
    """The value of a space, from those of its leaves by path."""
    if isinstance(space, spaces.Dict):
        return {key: together(each, values, (*path, key)) for key, each in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(together(each, values, (*path, number)) for number, each in enumerate(space.spaces))
    return values[path]


def to_plain(space: spaces.Space[Any]) -> dict[str, Any]:
    """A space as JSON has it; `from_plain` makes it again."""
    match space:
        case spaces.Box():
            bounds = {"low": _packed(space.low), "high": _packed(space.high)}
            return {"space": "Box", "shape": list(space.shape), "dtype": space.dtype.name, **bounds}
        case spaces.Discrete():
            return {"space": "Discrete", "n": int(space.n), "start": int(space.start), "dtype": space.dtype.name}
        case spaces.MultiDiscrete():
            bounds = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
            return {"space": "MultiDiscrete", "dtype": space.dtype.name, **bounds}
        case spaces.MultiBinary():
            return {"space": "MultiBinary", "shape": list(space.shape)}
        case spaces.Text():
            lengths = {"min_length": space.min_length, "max_length": space.max_length}
            return {"space": "Text", "charset": "".join(space.character_list), **lengths}
        case spaces.Dict():
            return {"space": "Dict", "parts": [[key, to_plain(each)] for key, each in space.spaces.items()]}
        case spaces.Tuple():
            return {"space": "Tuple", "parts": [to_plain(each) for each in space.spaces]}
    raise ConfigError(f"{space} has no fixed shape, so that it cannot be recorded")


def from_plain(plain: Mapping[str, Any]) -> spaces.Space[Any]:
    """The space that `to_plain` said."""
    of = plain["space"]
    if of == "Dict":  # in the order of its keys as it was
        return spaces.Dict([(key, from_plain(each)) for key, each in plain["parts"]], sort_keys=False)
    if of == "Tuple":
        return spaces.Tuple([from_plain(each) for each in plain["parts"]])
    if of == "Text":
        return spaces.Text(plain["max_length"], min_length=plain["min_length"], charset=plain["charset"])
    if of == "MultiBinary":
        shape = plain["shape"]
        return spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
    dtype: Any = np.dtype(plain["dtype"])
    if of == "Discrete":
        return spaces.Discrete(plain["n"], start=plain["start"], dtype=dtype)
    if of == "MultiDiscrete":
        return spaces.MultiDiscrete(np.array(plain["nvec"]), dtype=dtype, start=np.array(plain["start"]))
    shape = tuple(plain["shape"])
    low, high = _unpacked(plain["low"], shape, dtype), _unpacked(plain["high"], shape, dtype)
    return spaces.Box(low, high, shape, dtype)


def gymnasium_version() -> str:
    """As labels of episodes say it."""
    return f"gymnasium {gymnasium.__version__}"


def _leaves(space: spaces.Space[Any], name: str, path: Path) -> Iterator[Leaf]:
    if isinstance(space, spaces.Dict):
        for key, each in space.spaces.items():
            yield from _leaves(each, f"{name}.{fit_name(key)}", (*path, key))
    elif isinstance(space, spaces.Tuple):
        for number, each in enumerate(space.spaces):
            yield from _leaves(each, f"{name}.{number}", (*path, number))
    elif isinstance(space, spaces.Text):
        yield Leaf(name, path, (space.max_length,), "uint32", text=True)
    elif isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        declared = np.dtype(space.dtype).name
        dtype, shape = _WIDER.get(declared, declared), space.shape or ()
        if dtype not in DTYPES:
            raise ConfigError(
                f"{name}: a stream cannot hold {declared}; convert it (gymnasium.wrappers.DtypeObservation)"
            )
        if any(side < 1 for side in shape):
            raise ConfigError(f"{name}: {space} has a side of length 0, so there is nothing to record")
        yield Leaf(name, path, tuple(map(int, shape)), dtype, declared if dtype != declared else "")
    else:
        raise ConfigError(
            f"{name}: {type(space).__name__} has no fixed shape, so that no stream can hold it; leave it out or give it"
            " one with a wrapper (gymnasium.wrappers.FilterObservation, TransformObservation)"
        )


def fit_name(key: object) -> str:
    """A key as the name of a stream has it: letters, digits, '_' and '-' stay."""
    return _UNFIT.sub("_", str(key)) or "_"


def _as_array(name: str, value: Any) -> Array:
    try:
        found = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise Unfit(f"{name} is no array: {error}") from error
    if found.dtype.kind not in "biuf":
        raise Unfit(f"{name} is {type(value).__name__} ({found.dtype}), expected numbers")
    return found


def _packed(bound: Array) -> Any:
    """One number where all are the same, few as a list, many as bytes."""
    flat: Sequence[Any] = [_plain(each) for each in bound.ravel()[:_MOST_LISTED].tolist()]
    if bound.size and bool((bound == bound.flat[0]).all()):
        return flat[0]
    if bound.size <= _MOST_LISTED:
        return flat
    return {"zlib": base64.b64encode(zlib.compress(np.ascontiguousarray(bound).tobytes())).decode()}


def _unpacked(packed: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    if isinstance(packed, dict):
        whole: Array = np.frombuffer(zlib.decompress(base64.b64decode(packed["zlib"])), dtype).reshape(shape)
        return whole
    if isinstance(packed, list):
        return np.array([_number(each) for each in packed], dtype).reshape(shape)
    return np.full(shape, _number(packed), dtype)


def _plain(number: Any) -> Any:
    """JSON knows no infinity."""
    return repr(number) if isinstance(number, float) and not np.isfinite(number) else number


def _number(plain: Any) -> Any:
    return float(plain) if isinstance(plain, str) else plain
