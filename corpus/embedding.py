"""Embedding: what each window of an episode's pictures looks like, as a vector of the encoder that is asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sensorium.corpus.deletions import tombstoned
from sensorium.corpus.episode import Episode
from sensorium.corpus.stream import Array, Stream
from sensorium.corpus.vectors import Maker, Windows, check_room, read_arrays, read_parts, vectors_held, write_part
from sensorium.drivers.described import Vectors
from sensorium.errors import ConfigError, Corrupt, StoreError
from sensorium.perception.descriptor import BY, SIZE, descriptor, quantised
from sensorium.perception.encoder import Encoder, Pictures, checked, maker
from sensorium.perception.gray import is_pictures
from sensorium.perception.working import working

WINDOW_NS = 1_000_000_000
_PART_ROWS = 1 << 16
_AT_ONCE = 32


@dataclass(slots=True)
class Embedding:
    """What was done: windows embedded, of how many episodes; `blank` ones have no pictures; `unreadable` is why others
    are not in it, and `damaged` which parts of what was there do not count any more."""

    windows: int = 0
    episodes: int = 0
    blank: int = 0
    unreadable: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


class Looking:
    """How pictures become vectors: by an encoder, or, without one, by the descriptor that needs no weights."""

    def __init__(self, encoder: Encoder | None = None, window_ns: int = WINDOW_NS) -> None:
        if window_ns < 1:
            raise ConfigError(f"windows of {window_ns / 1e9} s: expected more than 0")
        self._encoder, self._window_ns = encoder, window_ns
        self._dimension = SIZE if encoder is None else 0

    @property
    def by(self) -> str:
        """Who makes the vectors, in one word."""
        return BY if self._encoder is None else maker(self._encoder)

    @property
    def maker(self) -> Maker:
        """Who makes them, whole; of an encoder once it has made one."""
        of = self._encoder
        if of is None:
            name, _, version = BY.partition("/")
            return Maker(BY, name, version, "", "working size", SIZE, self._window_ns)
        said = of.name, of.version, of.weights_hash, of.preprocessing
        return Maker(maker(of), *said, self._dimension, self._window_ns)

    def look(self, pictures: Array, color_order: str) -> Vectors:
        """int8 [n, d] of pictures [n, h, w] or [n, h, w, 1, 3 or 4].

        Raises:
            ConfigError: the encoder raises, or what it gives are no vectors.
        """
        seen = [working(picture, color_order) for picture in pictures]
        if self._encoder is None:
            return np.stack([descriptor(each) for each in seen])
        coloured: Pictures = np.stack([_bgr(picture, color_order) for picture in pictures])
        try:
            found = checked(self._encoder.embed(coloured), len(coloured))
        except Exception as error:  # whatever a model raises
            raise ConfigError(f"encoder {self.by}: {type(error).__name__}: {error}") from error
        self._dimension = found.shape[1]
        return np.stack([quantised(vector) for vector in found])

    def windows(self, episode: Episode, stream: Stream) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """Of each window with a picture, that in the middle of it: int8 [n, d], and the windows' numbers, int64 [n]."""
        numbers, rows = middles(stream, episode.start_ns, self._window_ns)
        some = [rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE)]
        parts = [self.look(stream.take(each), stream.spec.color_order) for each in some]
        return np.concatenate(parts) if parts else np.empty((0, SIZE), np.int8), numbers


def middles(stream: Stream, start_ns: int, window_ns: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The windows that have a sample, and of each the row of that in the middle, int64 [n] both."""
    place = (stream.captured_ns - start_ns) // window_ns
    numbers, firsts, counts = np.unique(place, return_index=True, return_counts=True)
    return numbers.astype(np.int64), (firsts + counts // 2).astype(np.int64)


def embed(
    store: Path,
    episodes: Sequence[Episode],
    looking: Looking,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Embedding:
    """Embed the windows of those `episodes` that this encoder has not embedded; what is done stays if it is stopped.

    Raises:
        StoreError: the store cannot be written.
        ConfigError: the encoder raises.
    """
    done = Embedding()
    known = _known(store, looking, done)
    waiting = _PartInMaking(store)
    for number, episode in enumerate(episodes):
        progress(number, len(episodes))
        try:
            count = _embed_one(episode.reopened(), looking, known, waiting)
        except (Corrupt, StoreError) as error:
            if waiting.no_room is not None:
                raise
            done.unreadable.append(str(error))
            continue
        done.windows += count or 0
        done.episodes += bool(count)
        done.blank += count == 0
        if waiting.rows >= _PART_ROWS:
            waiting.write(looking)
    waiting.write(looking)
    return done


def _embed_one(episode: Episode, looking: Looking, known: set[tuple[str, str]], waiting: "_PartInMaking") -> int | None:
    """The number of windows; None if all was known. Nothing of an episode waits unless all of it could be read."""
    names = [name for name, stream in episode.streams.items() if is_pictures(stream.spec)]
    if not (new := [name for name in names or [""] if (episode.id, name) not in known]):
        return None
    looked_at = [name for name in new if name and len(episode.streams[name])]
    if looked_at:
        waiting.check_room()
    found = [(name, *looking.windows(episode, episode.streams[name])) for name in looked_at]
    for name, vectors, numbers in found:
        waiting.add((episode.id, name), vectors, numbers)
    there = {name for name, _, _ in found}
    waiting.blank += [(episode.id, name) for name in new if name not in there]
    return sum(len(vectors) for _, vectors, _ in found)


def _known(store: Path, looking: Looking, done: Embedding) -> set[tuple[str, str]]:
    """What this encoder has looked at; a part that is damaged has not been."""
    known: set[tuple[str, str]] = set()
    for path, part in read_parts(store):
        if isinstance(part, str):
            done.damaged.append(part)
        elif part.maker.by == looking.by and part.maker.window_ns == looking.maker.window_ns:
            if isinstance(whole := read_arrays(path, part), str):
                done.damaged.append(whole)
            else:
                known |= set(part.streams) | set(part.blank)
    return known


class _PartInMaking:
    """What is embedded and not yet written."""

    def __init__(self, store: Path) -> None:
        self._store, self._is_checked = store, False
        self.no_room: StoreError | None = None
        self.blank: list[tuple[str, str]] = []
        self._streams: list[tuple[str, str]] = []
        self._vectors: list[Vectors] = []
        self._windows: list[Windows] = []

    @property
    def rows(self) -> int:
        return sum(map(len, self._vectors))

    def add(self, stream: tuple[str, str], vectors: Vectors, numbers: npt.NDArray[np.int64]) -> None:
        place = np.full(len(numbers), len(self._streams))
        self._streams.append(stream)
        self._vectors.append(vectors)
        self._windows.append(np.stack([place, numbers], axis=1).astype(np.int32))

    def check_room(self) -> None:
        """Raise `StoreError` before the first picture is looked at, where no part can be written."""
        if not self._is_checked:
            try:
                check_room(self._store)
            except StoreError as error:
                self.no_room = error
                raise
            self._is_checked = True

    def write(self, looking: Looking) -> None:
        """Write it, but what is of episodes that were deleted since they were read."""
        if self._streams or (self.blank and looking.maker.dimension):
            with vectors_held(self._store):
                gone, size = tombstoned(self._store), looking.maker.dimension
                stays = [number for number, (episode, _) in enumerate(self._streams) if episode not in gone]
                blank = [each for each in self.blank if each[0] not in gone]
                for place, number in enumerate(stays):
                    self._windows[number][:, 0] = place
                vectors = np.concatenate([np.empty((0, size), np.int8), *(self._vectors[each] for each in stays)])
                windows = np.concatenate([np.empty((0, 2), np.int32), *(self._windows[each] for each in stays)])
                if stays or blank:
                    streams = [self._streams[each] for each in stays]
                    write_part(self._store, looking.maker, streams, blank, vectors, windows)
        self.blank, self._streams, self._vectors, self._windows = [], [], [], []


def _bgr(picture: Array, color_order: str) -> npt.NDArray[np.uint8]:
    """A picture as a model takes it, uint8 [h, w, 3] BGR."""
    if picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] >= 3:
        ordered = picture[:, :, 2::-1] if color_order.startswith("RGB") else picture[:, :, :3]
        return np.ascontiguousarray(ordered)
    seen = working(picture, color_order).picture
    return seen if seen.ndim == 3 else np.asarray(cv2.cvtColor(seen, cv2.COLOR_GRAY2BGR))
