"""Episodes that follow each other in one time, read as if they were one; what lies between them is a gap."""

import bisect
import functools
import itertools
import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sensorium.corpus.alignment import RateHz
from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Array, Samples, Stream, row_numbers
from sensorium.corpus.within import Grid, Reading, check_span, within
from sensorium.drivers.clock import Clock
from sensorium.drivers.stream import Stamps, StreamSpec
from sensorium.errors import ConfigError

Gaps = tuple[tuple[int, int], ...]
"""Half-open stretches of a device's clock."""


class JoinedStream:
    """The same stream of several episodes, one behind the other; rows are counted from the first of the first one."""

    def __init__(self, parts: Sequence[Stream], where: str) -> None:
        self._parts, self._where = parts, where
        self._firsts = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
        self.spec: StreamSpec = parts[-1].spec
        if any(part.rate_hz is None for part in parts):  # nothing tells what is a gap
            self.spec = msgspec.structs.replace(self.spec, rate_hz=None)
        self.is_encoded = any(part.is_encoded for part in parts)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.spec.dtype)

    @functools.cached_property
    def captured_ns(self) -> Stamps:
        """Stamps, int64 [n], never stepping back."""
        return np.concatenate([part.captured_ns for part in self._parts])

    @property
    def rate_hz(self) -> RateHz:
        """Nominal; by sample where it changes from one part to another."""
        rates_hz = [part.rate_hz for part in self._parts]
        if len(set(rates_hz)) == 1:
            return rates_hz[0]
        return np.repeat([rate_hz or 0.0 for rate_hz in rates_hz], np.diff(self._firsts))

    def read(self, start: int, stop: int, *, shrink: int = 1, out: Array | None = None) -> Array:
        """As `Stream.read`."""
        self._check()
        pieces = [*self._pieces(start, stop)]
        if len(pieces) == 1:
            part, first, last = pieces[0]
            return part.read(first, last, shrink=shrink, out=out)
        if out is None:
            return np.concatenate([part.read(first, last, shrink=shrink) for part, first, last in pieces])
        if len(out) != stop - start:
            raise ConfigError(f"stream {self.spec.name!r}: out has {len(out)} rows, expected {stop - start}")
        row = 0
        for part, first, last in pieces:
            part.read(first, last, shrink=shrink, out=out[row : row + last - first])
            row += last - first
        return out

    def take(self, rows: npt.NDArray[np.int64], *, shrink: int = 1) -> Array:
        """As `Stream.take`."""
        self._check()
        rows = row_numbers(rows, f"{self._where}: stream {self.spec.name!r}", int(self._firsts[-1]))
        if (rows[1:] < rows[:-1]).any():
            wanted, places = np.unique(rows, return_inverse=True)
            whole: Array = self.take(wanted, shrink=shrink)[places]
            return whole
        bounds = np.searchsorted(rows, self._firsts, "left").tolist()
        found = [
            part.take(rows[low:high] - first, shrink=shrink)
            for part, first, (low, high) in zip(self._parts, self._firsts, itertools.pairwise(bounds), strict=False)
            if high > low
        ]
        if not found:
            return self.read(0, 0, shrink=shrink)
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _check(self) -> None:
        for part in self._parts:
            if (part.spec.shape, part.spec.dtype) != (self.spec.shape, self.spec.dtype):
                raise ConfigError(
                    f"{self._where}: stream {self.spec.name!r} is {part.dtype} {list(part.spec.shape)}, then"
                    f" {self.dtype} {list(self.spec.shape)}: read its episodes one by one"
                )

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[Stream, int, int]]:
        """The parts that have rows `start` to `stop`, which of theirs; of none the first part has none."""
        if stop <= start:
            yield self._parts[0], 0, 0
        for part, first in zip(self._parts, self._firsts.tolist(), strict=False):
            low, high = max(start - first, 0), min(stop - first, len(part))
            if low < high:
                yield part, low, high


class Joined:
    """Episodes of one spool, in one clock, none of which begins before the one before it has ended."""

    def __init__(self, episodes: Sequence[Episode], bounds_ns: Sequence[tuple[int, int]] | None = None) -> None:
        self.episodes = episodes
        self._bounds_ns = [(each.start_ns, each.end_ns) for each in episodes] if bounds_ns is None else bounds_ns

    @property
    def start_ns(self) -> int:
        return self._bounds_ns[0][0]

    @property
    def end_ns(self) -> int:
        return self._bounds_ns[-1][1]

    def near(self, start_ns: int, end_ns: int) -> "Joined":
        """Those that have a part in [start_ns, end_ns), the one before and the one behind."""
        first = bisect.bisect_right(self._bounds_ns, start_ns, key=_end_ns)
        last = bisect.bisect_left(self._bounds_ns, end_ns, key=_start_ns)
        near = slice(max(first - 1, 0), last + 1)
        return Joined(self.episodes[near], self._bounds_ns[near])

    def first(self, start_ns: int, end_ns: int) -> Episode:
        """The first that has a part in [start_ns, end_ns), which one must have."""
        return next(self.over(start_ns, end_ns))

    def gaps(self, start_ns: int, end_ns: int) -> Gaps:
        """What of [start_ns, end_ns) none of them holds."""
        found, held_ns = [], start_ns
        for each in self.over(start_ns, end_ns):
            if each.start_ns > held_ns:
                found.append((held_ns, each.start_ns))
            held_ns = max(held_ns, each.end_ns)
        return (*found, (held_ns, end_ns)) if held_ns < end_ns else tuple(found)

    def read(
        self,
        start_ns: int,
        end_ns: int,
        streams: Sequence[str] | None,
        reading: Reading,
        known_ns: Mapping[Grid, Stamps] | None = None,
    ) -> dict[str, Samples]:
        """As `Episode.read`, of all of them.

        Raises:
            ConfigError: as there; or a stream is of another shape or dtype in one of them.
            Corrupt: what is read is damaged.
        """
        where = f"episodes {self.episodes[0].id} to {self.episodes[-1].id}"
        check_span(start_ns, end_ns, (self.start_ns, self.end_ns), where)
        # A sample of the one before, or of the one behind, may stand for a moment near the border.
        near = self.near(start_ns, end_ns).episodes
        read = near if reading.grid is not None else list(self.over(start_ns, end_ns)) or near
        if len(read) == 1:
            (only,) = read
            return within(only.streams, only.utc, (start_ns, end_ns), streams, reading, f"episode {only.id}", known_ns)
        parts: dict[str, list[Stream]] = {}
        for each in read:
            for name, stream in each.streams.items():
                parts.setdefault(name, []).append(stream)
        streams_of = {name: JoinedStream(each, where) for name, each in parts.items()}
        return within(streams_of, Joined(read).utc, (start_ns, end_ns), streams, reading, where, known_ns)

    def over(self, start_ns: int, end_ns: int) -> Iterator[Episode]:
        """Those that have a part in [start_ns, end_ns)."""
        first = bisect.bisect_right(self._bounds_ns, start_ns, key=_end_ns)
        return itertools.takewhile(lambda each: each.start_ns < end_ns, itertools.islice(self.episodes, first, None))

    def utc(self, captured_ns: Stamps) -> tuple[Stamps | None, Stamps | None]:
        """UTC and its uncertainty of stamps, as each one's own episode has them; in a gap, as the one before."""
        which = np.searchsorted([each.start_ns for each in self.episodes[1:]], captured_ns, "right")
        utc_ns, uncertainty_ns = captured_ns.copy(), np.zeros(len(captured_ns), np.int64)
        is_stated = False
        for number in np.unique(which) if len(which) else [0]:
            mine = which == number
            utc, uncertainty = self.episodes[number].utc(captured_ns[mine])
            if utc is None:
                return None, None
            utc_ns[mine] = utc
            if uncertainty is None:
                is_stated = True
            else:
                uncertainty_ns[mine] = uncertainty
        return utc_ns, None if is_stated else uncertainty_ns


_start_ns, _end_ns = operator.itemgetter(0), operator.itemgetter(1)


def joined(episodes: Sequence[Episode], streams: Sequence[str], longest_gap_ns: int) -> list[Joined]:
    """`episodes`, which are in any order, as runs of those that follow each other with gaps below `longest_gap_ns`.

    Of two that follow each other the device, the spool and the clock are the same, its boot too, and the source's own 0
    where it says one; `streams` have the same shape and dtype in those that have them.

    Raises:
        Corrupt: the document of one that follows another is damaged.
    """
    found: list[list[Episode]] = []
    clock = functools.lru_cache(2)(clock_of)
    had: dict[str, tuple[Any, Any]] = {}
    for each in sorted(episodes, key=_place_of):
        former = found[-1][-1] if found else None
        kinds = _kinds(each, streams)
        if (
            former is not None
            and 0 <= each.start_ns - former.end_ns < longest_gap_ns
            and _said(former) == _said(each)
            and all(had.get(name, kind) == kind for name, kind in kinds.items())
            and clock(former) == clock(each)
        ):
            found[-1].append(each)
            had |= kinds
        else:
            found.append([each])
            had = kinds
    return [Joined(each) for each in found]


def _place_of(episode: Episode) -> tuple[str, str, str, int]:
    return episode.device, str(episode.row["spool_id"]), episode.kind, int(episode.row["ordinal"])


def _said(episode: Episode) -> list[Any]:
    """What the catalog says that two have in common that follow each other."""
    return [episode.row[name] for name in ("device", "spool_id", "clock", "source", "kind")]


def _kinds(episode: Episode, streams: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """By stream the shape and dtype of those that it has."""
    about: Mapping[str, Any] = episode.summaries if streams else {}
    return {name: (about[name]["shape"], about[name]["dtype"]) for name in streams if name in about}


def clock_of(episode: Episode) -> tuple[Clock, int | None]:
    """What only its document says; that is not kept, for there may be many."""
    opened = episode.reopened()
    return opened.clock, opened.base_ns
