"""What a stretch of time holds: of each stream its samples, or those that stand for the moments of a grid."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.corpus.aligned import Readable, Utc, aligned, method_of, moments
from sensorium.corpus.asked_for import is_array, is_number, is_whole, said
from sensorium.corpus.asked_for import names as names_of
from sensorium.corpus.stream import Samples
from sensorium.drivers.registry import nearest
from sensorium.drivers.stream import Stamps
from sensorium.errors import ConfigError

Grid = float | str
"""A rate in Hz, or the name of a stream whose samples are the moments."""


@dataclass(frozen=True)
class Reading:
    """How the samples of a window are read; `Episode.samples` says what each means."""

    shrink: Mapping[str, int] = field(default_factory=dict)
    out: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    grid: Grid | Mapping[str, Grid] | None = None
    align: str | Mapping[str, str] = ""

    @classmethod
    def of(cls, shrink: object, out: object, grid: object, align: object) -> "Reading":
        """What was asked for, once it was looked at; None is nothing.

        Raises:
            ConfigError: one of them is no such thing.
        """
        return cls(
            _by_stream("shrink", shrink, lambda each: is_whole(each) and each >= 1, "{'front': 2}"),
            _by_stream("out", out, is_array, "{'front': an array of numpy}"),
            _for_all_or_by_stream("grid", grid, _is_grid, "50.0, 'front' or {'imu': 50.0}"),
            "" if align is None else _for_all_or_by_stream("align", align, _is_text, "'linear' or {'imu': 'linear'}"),
        )

    @property
    def grids(self) -> set[Grid]:
        """All that are asked for, of any stream."""
        on = self.grid
        return set(on.values()) if isinstance(on, Mapping) else set() if on is None else {on}

    @property
    def names(self) -> list[str]:
        """The streams that it says something of, and those whose samples are a grid."""
        of_all = (each for each in (self.grid, self.align) if isinstance(each, Mapping))
        on = (each for each in self.grids if isinstance(each, str))
        return list(dict.fromkeys([*self.shrink, *self.out, *(name for each in of_all for name in each), *on]))

    def only(self, streams: Collection[str]) -> "Reading":
        """What it says of some streams."""
        on, align = self.grid, self.align
        return Reading(
            {name: each for name, each in self.shrink.items() if name in streams},
            {name: each for name, each in self.out.items() if name in streams},
            {name: each for name, each in on.items() if name in streams} if isinstance(on, Mapping) else on,
            align if isinstance(align, str) else {name: each for name, each in align.items() if name in streams},
        )

    def grid_of(self, stream: str) -> Grid | None:
        """The moments at which a stream is wanted; None: at its own."""
        return self.grid.get(stream) if isinstance(self.grid, Mapping) else self.grid


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_grid(value: object) -> bool:
    return is_number(value) or _is_text(value)


def _by_stream(what: str, given: Any, is_one: Callable[[Any], bool], example: str) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(_is_text(name) and is_one(each) for name, each in given.items()):
        raise ConfigError(f"{what} {said(given)}: expected, by stream, such as {example}")
    return given


def _for_all_or_by_stream(what: str, given: Any, is_one: Callable[[Any], bool], example: str) -> Any:
    if given is None or (not isinstance(given, Mapping) and is_one(given)):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"{what} {said(given)}: expected such as {example}")
    return _by_stream(what, given, is_one, example)


def within(
    streams: Mapping[str, Readable],
    utc: Utc,
    span_ns: tuple[int, int],
    names: Sequence[str] | None,
    reading: Reading,
    where: str,
    known_ns: Mapping[Grid, Stamps] | None = None,
) -> dict[str, Samples]:
    """The samples in `span_ns`, half-open, of the streams `names` (None: of all); `where` says whose they are.

    `known_ns` has the moments of grids that are not to be looked for here, by what `reading.grid` calls them.

    Raises:
        ConfigError: there is no such stream, or it cannot be read so.
        Corrupt: what is read is damaged.
    """
    shrink, out, grid, align = reading.shrink, reading.out, reading.grid, reading.align
    if names:
        names = names_of("streams", names)
    named = (each for each in (align, grid) if isinstance(each, Mapping))
    check_there((*(names or ()), *shrink, *out, *(name for each in named for name in each)), streams, where)
    check_grid(align, grid, where)
    grids = dict(known_ns or {})
    found = {}
    for name in streams if names is None else names:
        stream = streams[name]
        on = reading.grid_of(name)
        if on is None:
            first, last = (int(row) for row in np.searchsorted(stream.captured_ns, span_ns, "left"))
            captured_ns = stream.captured_ns[first:last].copy()
            into = rows_of(out, name, last - first)
            data = stream.read(first, last, shrink=shrink.get(name, 1), out=into)
            found[name] = Samples(captured_ns, *utc(captured_ns), data)
            continue
        at = grids[on] = grids[on] if on in grids else moments(streams, *span_ns, on)
        into = rows_of(out, name, len(at))
        found[name] = aligned(stream, at, method_of(align, name), utc, shrink.get(name, 1), into)
    return found


def rows_of(out: Mapping[str, npt.NDArray[Any]], name: str, count: int) -> npt.NDArray[Any] | None:
    """The first of what is there for a stream; one that has no rows is refused where it is read into."""
    memory = out.get(name)
    return memory if memory is None or not memory.ndim else memory[:count]


def check_there(names: Iterable[str], streams: Collection[str], where: str) -> None:
    """Raise `ConfigError` for a name that is none of `streams`."""
    for name in names:
        if name not in streams:
            raise ConfigError(f"{where}: no stream {name!r}{nearest(name, streams)}; it has {', '.join(streams)}")


def check_grid(align: str | Mapping[str, str], grid: Grid | Mapping[str, Grid] | None, where: str) -> None:
    """Raise `ConfigError` where `align` says how something is found, and `grid` not to what."""
    if align and grid is None:
        raise ConfigError(f"{where}: align says how, grid says to what: give a rate in Hz or a stream")
    if isinstance(align, Mapping) and isinstance(grid, Mapping) and (missing := [*(align.keys() - grid.keys())]):
        raise ConfigError(f"{where}: align says how {missing[0]!r} is found, grid not to what: give it a rate in Hz")


def check_span(start_ns: int, end_ns: int, of_ns: tuple[int, int], where: str) -> None:
    """Raise `ConfigError` unless [start_ns, end_ns) is of some length, and has a part of `of_ns`."""
    if end_ns <= start_ns:
        raise ConfigError(f"{where}: a window of {(end_ns - start_ns) / 1e9:g} s: expected more than 0")
    if start_ns >= of_ns[1] or end_ns <= of_ns[0]:
        first_s, last_s = ((each - of_ns[0]) / 1e9 for each in (start_ns, end_ns))
        raise ConfigError(
            f"{where}: a window from {first_s:.9g} to {last_s:.9g} s after its start has nothing of it: it is"
            f" {(of_ns[1] - of_ns[0]) / 1e9:.9g} s long"
        )
