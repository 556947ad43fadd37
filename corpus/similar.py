"""Similar: the windows of a store that look most like one, and the groups of those that look alike."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sensorium.corpus.asked_for import said, whole
from sensorium.corpus.vectors import Maker, VectorPart, Windows, read_arrays, read_parts
from sensorium.drivers.described import Vectors
from sensorium.drivers.registry import nearest
from sensorium.errors import ConfigError
from sensorium.perception.coverage import unit_vectors
from sensorium.perception.effective import ALIKE

_BLOCK = 1024

Unit = npt.NDArray[np.float32]


class Similar(NamedTuple):
    """A window: of which stream of which episode, from `start_s` after its start, and its cosine to what is asked."""

    episode: str
    stream: str
    start_s: float
    similarity: float


class AlikeWindow(NamedTuple):
    """Where a window is: of which stream of which episode, from `start_s` after its start on."""

    episode: str
    stream: str
    start_s: float


class VectorIndex:
    """The vectors of one encoder, in memory: 2 kB a window of 512 dimensions. `damaged` says what was left out."""

    def __init__(self, maker: Maker, parts: Iterable[tuple[VectorPart, Vectors, Windows]], damaged: list[str]) -> None:
        self.maker, self.damaged = maker, damaged
        self._streams: list[tuple[str, str]] = []
        vectors, streams, numbers = [np.empty((0, maker.dimension), np.float32)], [], []
        for part, raw, windows in parts:
            vectors.append(unit_vectors(raw).astype(np.float32))
            streams.append(windows[:, 0] + len(self._streams))
            numbers.append(windows[:, 1])
            self._streams += part.streams
        self._unit: Unit = np.concatenate(vectors)
        self._stream = np.concatenate(streams) if streams else np.empty(0, np.int32)
        self._number = np.concatenate(numbers) if numbers else np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._unit)

    @property
    def episodes(self) -> set[str]:
        """The ids of the episodes that it has windows of."""
        return {episode for episode, _ in self._streams}

    def pictures(self, episode: str) -> set[str]:
        """The streams of an episode that it has windows of."""
        return {name for known, name in self._streams if known == episode}

    def of(self, episode: str, start_s: float, stream: str = "") -> Unit:
        """The vector of the window of an episode that holds a second; of its first stream of pictures, or that named.

        Raises:
            ConfigError: it has none then.
        """
        named = self.pictures(episode)
        if stream and named and stream not in named:
            raise ConfigError(f"episode {episode}: no pictures {stream!r}{nearest(stream, named)}")
        number = int(start_s * 1e9 // self.maker.window_ns)
        for place, known in enumerate(self._streams):
            if known[0] == episode and stream in ("", known[1]):
                rows = np.flatnonzero((self._stream == place) & (self._number == number))
                if len(rows):
                    found: Unit = self._unit[rows[0]]
                    return found
        raise ConfigError(
            f"episode {episode}: nothing is embedded of it at {start_s} s; embed it, or give another second"
        )

    def similar(
        self,
        vector: npt.NDArray[np.generic],
        k: int = 10,
        among: Collection[str] | None = None,
        there: Callable[[list[str]], Collection[str]] = set,
    ) -> list[Similar]:
        """The `k` windows with the greatest cosine to a vector [d], the most alike first; of the episodes `among`.

        `there` says which of some episodes are still in the store: those that are not do not count.

        Raises:
            ConfigError: the vector is of another dimension, or has no direction, or k is no whole number of at least 1.
        """
        k = whole("k", k)
        try:
            asked = np.asarray(vector, np.float32).ravel()
        except (TypeError, ValueError) as error:
            raise ConfigError(f"vector {said(vector)}: expected {self.maker.dimension} numbers") from error
        length = float(np.linalg.norm(asked))
        if len(asked) != self.maker.dimension or not np.isfinite(length) or length == 0 or k < 1:
            raise ConfigError(
                f"a vector of {len(asked)} numbers and length {length:.3g}, k {k}: {self.maker.by} has"
                f" {self.maker.dimension} and a direction, and k is at least 1"
            )
        cosine: Unit = self._unit @ (asked / np.float32(length))
        if among is not None:
            held = np.array([episode in among for episode, _ in self._streams], bool)
            cosine = np.where(held[self._stream], cosine, np.float32(-2.0))
        wanted = k
        while True:
            rows = [row for row in self._greatest(cosine, wanted) if cosine[row] > -2.0]
            known = there(sorted({self._streams[self._stream[row]][0] for row in rows}))
            found = [
                Similar(*self._place(row), min(1.0, float(cosine[row])))
                for row in rows
                if self._streams[self._stream[row]][0] in known
            ][:k]
            if len(found) == k or len(rows) < wanted:
                return found
            wanted *= 4

    def duplicates(
        self,
        alike: float = ALIKE,
        among: Collection[str] | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> list[list[AlikeWindow]]:
        """Groups of windows that look alike, each at least `alike` to the first of its group, the largest group first.

        A window goes to the group whose first is most like it, or begins one of its own, in the order in which they
        were embedded: a camera that drifts slowly is many groups, and not one chain.

        Raises:
            ConfigError: `alike` is no cosine.
        """
        if not 0.0 < alike <= 1.0:
            raise ConfigError(f"alike {alike}: expected a cosine, more than 0 and at most 1")
        rows = np.arange(len(self))
        if among is not None:
            held = np.array([episode in among for episode, _ in self._streams], bool)
            rows = np.flatnonzero(held[self._stream]) if len(self) else rows
        groups = _groups(self._unit, rows, alike, progress)
        large = sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), group[0]))
        return [[AlikeWindow(*self._place(row)) for row in group] for group in large]

    def _greatest(self, cosine: Unit, count: int) -> list[int]:
        """The rows of the greatest, in falling order; of equal ones the first embedded."""
        if count < len(cosine):
            rows = np.sort(np.argpartition(cosine, -count)[-count:])
        else:
            rows = np.arange(len(cosine))
        falling: list[int] = rows[np.argsort(-cosine[rows], kind="stable")].tolist()
        return falling

    def _place(self, row: int) -> tuple[str, str, float]:
        episode, stream = self._streams[self._stream[row]]
        return episode, stream, int(self._number[row]) * self.maker.window_ns / 1e9


def read_index(store: Path, by: str = "", window_ns: int | None = None) -> VectorIndex:
    """The vectors of a store by one encoder, of windows of one length: that whose name, or whole word, is `by`, or the
    only one there is; those of `window_ns`, or the only ones there are.

    Raises:
        ConfigError: there are none, none of that encoder or length, or those of several and it is not said which.
    """
    damaged, parts = [], []
    for path, part in read_parts(store):
        if isinstance(part, str):
            damaged.append(part)
        else:
            parts.append((path, part))
    makers = {(part.maker.by, part.maker.window_ns): part.maker for _, part in parts}
    of_encoder = [maker for maker in makers.values() if by in ("", maker.by, maker.name)]
    asked = [maker for maker in of_encoder if window_ns in (None, maker.window_ns)]
    if not makers:
        raise ConfigError(f"{store}: nothing is embedded; `sensorium similar {store} --embed` does")
    if len(asked) != 1:
        there = ", ".join(sorted(f"{maker.by} ({maker.window_ns / 1e9:g} s)" for maker in makers.values()))
        what = "vectors that cannot be compared, of several encoders", "which by encoder"
        if not of_encoder:
            what = f"no vectors of {by!r}", "which by encoder"
        elif window_ns is not None and not asked:
            what = f"no vectors of windows of {window_ns / 1e9:g} s", "which by window_s"
        elif len({maker.by for maker in asked}) == 1:
            what = "vectors that cannot be compared, of windows of several lengths", "which by window_s"
        raise ConfigError(f"{store}: {what[0]}; there are: {there}; say {what[1]}")
    held = []
    for path, part in parts:
        if part.maker == asked[0]:
            whole = read_arrays(path, part)
            if isinstance(whole, str):
                damaged.append(whole)
            else:
                held.append((part, whole.vectors, whole.windows))
    return VectorIndex(asked[0], held, damaged)


def _groups(
    unit: Unit, rows: npt.NDArray[np.int64], alike: float, progress: Callable[[int, int], None]
) -> list[list[int]]:
    firsts = np.empty((min(len(rows), _BLOCK), unit.shape[1]), np.float32)
    groups: list[list[int]] = []
    for begin in range(0, len(rows), _BLOCK):
        progress(begin, len(rows))
        block = rows[begin : begin + _BLOCK]
        vectors = unit[block]
        before = len(groups)
        best, which = np.full(len(block), -1.0, np.float32), np.zeros(len(block), np.int64)
        for some in range(0, before, 8 * _BLOCK):
            cosine = vectors @ firsts[some : min(before, some + 8 * _BLOCK)].T
            nearest_first = cosine.argmax(axis=1)
            greatest = cosine[np.arange(len(block)), nearest_first]
            which = np.where(greatest > best, nearest_first + some, which)
            best = np.maximum(best, greatest)
        for place, row in enumerate(block.tolist()):
            if len(groups) > before:
                cosine_new = firsts[before : len(groups)] @ vectors[place]
                newest = int(cosine_new.argmax())
                if cosine_new[newest] > best[place]:
                    best[place], which[place] = cosine_new[newest], before + newest
            if best[place] >= alike - 1e-6:
                groups[int(which[place])].append(row)
                continue
            if len(groups) == len(firsts):
                firsts = np.concatenate([firsts, np.empty_like(firsts)])
            firsts[len(groups)] = vectors[place]
            groups.append([row])
    return groups
