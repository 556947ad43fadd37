"""What a preview has of each stream of an episode, taken as its samples are placed: pictures, sums of rows, scores."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sensorium.agents.recording.encode import encoder
from sensorium.agents.recording.piece import Piece
from sensorium.drivers.media import Media, shrink_for
from sensorium.drivers.stream import Samples, Stamps, StreamSpec
from sensorium.episode.codecs.contract import Codec, ItemCodec
from sensorium.episode.codecs.jpeg import JpegConfig
from sensorium.episode.codecs.lossless import LosslessConfig
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import Chunk, Items, StreamEntry
from sensorium.episode.layout import checked
from sensorium.episode.parser import Header
from sensorium.perception.drawing import channel_names, picture

MOST_CHANNELS = 32
"""Of rows with more, such as a scan of ranges, nothing but their scores is told."""
MOST_SCORES = 16
MOST_ROWS = 100_000
AT_ONCE = 32
"""So many pictures are one record."""
SUMS = ("mean", "std", "peak")
"""What is told of a channel over each stretch of time: `peak` is its largest absolute value."""

Records = list[tuple[Header, bytes]]


class Taker(Protocol):
    """Sees the pieces of one stream, in the order of their stamps."""

    def add(self, piece: Piece, steps: npt.NDArray[np.int64]) -> None:
        """Take one in; `steps` says of each sample in which stretch of the episode's time it lies."""

    def stream(self) -> StreamEntry | None:
        """What became of it, as a stream of the preview; None if nothing did."""

    def records(self, number: int) -> Records:
        """Its samples, of the preview's stream of that number."""


class PictureTaker:
    """The first picture of each stretch, as a small JPEG."""

    def __init__(self, entry: StreamEntry, codec: Codec, side: int, quality: int) -> None:
        self._spec, self._codec, self._side = entry.spec, codec, side
        small = self._small(np.zeros(entry.spec.shape, entry.spec.dtype))
        spec = StreamSpec(
            name=entry.spec.name,
            modality=entry.spec.modality,
            dtype="uint8",
            shape=small.shape,
            color_order="BGR",
            derived_from=entry.spec.name,
        )
        config = JpegConfig(quality=quality)
        self._entry = config.entry(spec)
        self._jpeg = config.open(self._entry)
        self._items: list[tuple[int, bytes]] = []
        self._last = -1

    def add(self, piece: Piece, steps: npt.NDArray[np.int64]) -> None:
        """A piece of pictures is one, or some that came encoded."""
        for row in np.flatnonzero(steps > self._last).tolist():
            if (step := int(steps[row])) > self._last:
                self._last = step
                self._items.append((int(piece.captured_ns[row]), self._jpeg.encode(self._seen(piece, row))))

    def stream(self) -> StreamEntry | None:
        """The pictures, if there are any."""
        return self._entry if self._items else None

    def records(self, number: int) -> Records:
        """Some pictures a record."""
        found: Records = []
        for first in range(0, len(self._items), AT_ONCE):
            some = self._items[first : first + AT_ONCE]
            header = Items(
                stream=number,
                first_row=first,
                captured_ns=_bytes_of([stamp for stamp, _ in some]),
                lengths=tuple(len(item) for _, item in some),
                captured=first + len(some),
            )
            found.append((header, b"".join(item for _, item in some)))
        return found

    def _seen(self, piece: Piece, row: int) -> Samples:
        content, spec = piece.content, self._spec
        shrink = shrink_for(spec.shape, self._side, self._side)
        if isinstance(content, Media):
            if len(content):
                return self._small(content[row : row + 1].pictures(shrink)[0])
        elif len(content):
            return self._small(content[row])
        encoded = piece.encoded
        payload = encoded if isinstance(encoded, bytes) else b"" if encoded is None else encoded.result()
        if isinstance(self._codec, ItemCodec):
            return self._small(self._codec.decode(payload, shrink if shrink in self._codec.shrinks else 1))
        whole = np.empty((1, *spec.shape), spec.dtype)
        self._codec.decode(checked(payload), whole)
        return self._small(whole[0])

    def _small(self, frame: Samples) -> Samples:
        height, width = self._spec.shape[:2]
        scale = min(1.0, self._side / max(height, width))
        box = max(1, round(width * scale)), max(1, round(height * scale))
        return picture(frame, self._spec.color_order, *box)


class RowTaker:
    """What the channels of rows come to in each stretch."""

    def __init__(self, spec: StreamSpec, every_s: float) -> None:
        names = channel_names(spec)
        self._stretches = _Stretches()
        made = StreamSpec(
            name=spec.name,
            modality=spec.modality,
            dtype="float32",
            shape=(len(SUMS) * len(names),),
            channels=tuple(f"{name} {what}" for name in names for what in SUMS),
            rate_hz=1 / every_s,
            derived_from=spec.name,
        )
        self._columns = len(names)
        self._table = _SumTable(made)

    def add(self, piece: Piece, steps: npt.NDArray[np.int64]) -> None:
        content = piece.content
        if isinstance(content, Media) or not len(content):
            return
        values = content.reshape(len(content), -1).astype(np.float64)
        for stamp, rows in self._stretches.add(piece.captured_ns, values, steps):
            self._end(stamp, rows)

    def stream(self) -> StreamEntry | None:
        for stamp, rows in self._stretches.end():
            self._end(stamp, rows)
        return self._table.entry()

    def records(self, number: int) -> Records:
        return self._table.records(number)

    def _end(self, stamp: int, rows: npt.NDArray[np.float64]) -> None:
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.stack([rows.mean(axis=0), rows.std(axis=0), np.abs(rows).max(axis=0)], axis=1)
        self._table.put(stamp, sums.reshape(-1))


class ScoreTaker:
    """The mean of each score in each stretch, of those that the first samples with scores have."""

    def __init__(self, spec: StreamSpec, name: str, every_s: float) -> None:
        self._spec, self._name, self._every_s = spec, name, every_s
        self._stretches = _Stretches()
        self._names: tuple[str, ...] = ()
        self._table: _SumTable | None = None

    def add(self, piece: Piece, steps: npt.NDArray[np.int64]) -> None:
        scores: Mapping[str, npt.NDArray[np.float64]] = piece.scores or {}
        if self._table is None:
            if not scores:
                return
            self._names = tuple(sorted(scores))[:MOST_SCORES]
            self._table = _SumTable(
                StreamSpec(
                    name=self._name,
                    modality="scores",
                    dtype="float32",
                    shape=(len(self._names),),
                    channels=self._names,
                    rate_hz=1 / self._every_s,
                    derived_from=self._spec.name,
                )
            )
        values = np.full((len(piece), len(self._names)), np.nan)
        for column, name in enumerate(self._names):
            if name in scores:
                values[:, column] = scores[name][piece.row : piece.row + len(piece)]
        for stamp, rows in self._stretches.add(piece.captured_ns, values, steps):
            self._end(stamp, rows)

    def stream(self) -> StreamEntry | None:
        for stamp, rows in self._stretches.end():
            self._end(stamp, rows)
        return None if self._table is None else self._table.entry()

    def records(self, number: int) -> Records:
        return [] if self._table is None else self._table.records(number)

    def _end(self, stamp: int, rows: npt.NDArray[np.float64]) -> None:
        known = np.isfinite(rows)
        counts = known.sum(axis=0)
        sums = np.where(known, rows, 0.0).sum(axis=0)
        if self._table is not None:
            self._table.put(stamp, np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


class _Stretches:
    """Rows gather until the next stretch begins."""

    def __init__(self) -> None:
        self._step = -1
        self._stamp = 0
        self._rows: list[npt.NDArray[np.float64]] = []

    def add(
        self, stamps: Stamps, values: npt.NDArray[np.float64], steps: npt.NDArray[np.int64]
    ) -> list[tuple[int, npt.NDArray[np.float64]]]:
        """Those of stretches that are over by then, each with its first stamp."""
        ended = []
        at = 0
        while at < len(steps):
            if steps[at] != self._step:
                ended += self.end()
                self._step, self._stamp = int(steps[at]), int(stamps[at])
            until = int(np.searchsorted(steps, self._step, "right"))
            self._rows.append(values[at:until])
            at = until
        return ended

    def end(self) -> list[tuple[int, npt.NDArray[np.float64]]]:
        """The one that is not over."""
        rows, self._rows = self._rows, []
        return [(self._stamp, rows[0] if len(rows) == 1 else np.concatenate(rows))] if rows else []


class _SumTable:
    """Rows of numbers, all of which are one chunk."""

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec
        self._stamps: list[int] = []
        self._rows: list[npt.NDArray[np.float64]] = []

    def put(self, stamp: int, row: npt.NDArray[np.float64]) -> None:
        """One more."""
        if len(self._rows) < MOST_ROWS and (not self._stamps or stamp > self._stamps[-1]):
            self._stamps.append(stamp)
            self._rows.append(row)

    def entry(self) -> StreamEntry | None:
        """The stream, if there are any."""
        if not self._rows:
            return None
        encoding = LosslessConfig().encoding(self._spec)
        return StreamEntry(spec=self._spec, encoding=encoding, chunk_rows=len(self._rows))

    def records(self, number: int) -> Records:
        """All of them."""
        if (entry := self.entry()) is None:
            return []
        n = len(self._rows)
        header = Chunk(stream=number, first_row=0, captured_ns=_bytes_of(self._stamps), captured=n)
        return [(header, encoder(codec_of(entry))(np.stack(self._rows).astype("<f4")))]


def _bytes_of(stamps: list[int]) -> bytes:
    return np.array(stamps, "<i8").tobytes()
