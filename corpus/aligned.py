"""Windows in which every stream has a sample for the same moments, or a mask that says that it has none."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sensorium.corpus.alignment import METHODS, RateHz, check_method, grid, stand_ins
from sensorium.corpus.stream import Array, Samples
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.errors import ConfigError

Utc = Callable[[Stamps], tuple[Stamps | None, Stamps | None]]
"""UTC and its uncertainty of stamps, int64 nanoseconds; None where they are not known."""


class Readable(Protocol):
    """What a window needs of a stream: that of an episode, or of several that follow each other."""

    @property
    def spec(self) -> StreamSpec: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def is_encoded(self) -> bool: ...

    @property
    def captured_ns(self) -> Stamps: ...

    @property
    def rate_hz(self) -> RateHz: ...

    def read(self, start: int, stop: int, *, shrink: int = 1, out: Array | None = None) -> Array: ...

    def take(self, rows: npt.NDArray[np.int64], *, shrink: int = 1) -> Array: ...


def moments(streams: Mapping[str, Readable], start_ns: int, end_ns: int, on: float | str) -> Stamps:
    """The moments of [start_ns, end_ns) that are asked for: at a rate in Hz, or those of a stream's own samples."""
    if not isinstance(on, str):
        return grid(start_ns, end_ns, on)
    if on not in streams:
        raise ConfigError(
            f"grid: no stream {on!r}{nearest(on, streams)}; it has {', '.join(streams)}, or give a rate in Hz"
        )
    stamps = streams[on].captured_ns
    first, last = (int(row) for row in np.searchsorted(stamps, [start_ns, end_ns], "left"))
    return stamps[first:last].copy()


def method_of(align: str | Mapping[str, str], stream: str) -> str:
    """How a stream is aligned: as `align` says for all or for it, else `nearest`."""
    return align or METHODS[0] if isinstance(align, str) else align.get(stream, METHODS[0])


def aligned(
    stream: Readable, at_ns: Stamps, method: str, utc: Utc, shrink: int = 1, out: Array | None = None
) -> Samples:
    """A stream's samples for the moments `at_ns`."""
    check_method(method, stream.spec, stream.is_encoded)
    found = stand_ins(stream.captured_ns, at_ns, method, stream.rate_hz)
    stamps = np.where(found.present & (found.weight == 0), _stamps(stream, found.before), at_ns)
    before = stream.take(found.before[found.present], shrink=shrink)
    data = before
    if method == "linear":
        data = _between(stream, found.after[found.present], found.weight[found.present], before)
    if out is None:
        out = np.zeros((len(at_ns), *data.shape[1:]), data.dtype)
    elif out.shape != (len(at_ns), *data.shape[1:]) or out.dtype != data.dtype or not out.flags.writeable:
        raise ConfigError(
            f"out of {stream.spec.name!r} is {out.dtype} {list(out.shape)}, expected"
            f" {data.dtype} {[len(at_ns), *data.shape[1:]]}, writable"
        )
    else:
        out[~found.present] = 0
    out[found.present] = data
    return Samples(stamps, *utc(stamps), out, at_ns, found.present)


def _stamps(stream: Readable, rows: npt.NDArray[np.int64]) -> Stamps:
    stamps = stream.captured_ns
    return stamps[rows] if len(stamps) else np.zeros(len(rows), np.int64)


def _between(stream: Readable, after: npt.NDArray[np.int64], weight: npt.NDArray[np.float64], before: Array) -> Array:
    """What lies between two samples, float32 where they are, else float64."""
    low, high = before.astype(np.float64), stream.take(after).astype(np.float64)
    steps = weight.reshape(-1, *[1] * (before.ndim - 1))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = high - low
        found = low + steps * apart
        if not np.isfinite(apart).all():  # what is infinite stays so: a lidar's beam that met nothing
            weighed = np.where(steps > 0, low * (1 - steps) + high * steps, low)
            found = np.where(np.isfinite(apart), found, weighed)
        return found.astype(np.float32 if stream.dtype == np.float32 else np.float64)
