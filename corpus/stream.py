"""One stream of an episode as an array: sliced by row, decoded as it is read, every checksum checked."""

import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, overload

import msgspec
import numpy as np
import numpy.typing as npt

from sensorium.corpus.arrays import ZarrArray
from sensorium.corpus.asked_for import is_array, said, whole
from sensorium.corpus.files import EpisodeFiles
from sensorium.corpus.parallel import run_all
from sensorium.drivers.stream import Stamps
from sensorium.episode.codecs.contract import ChunkCodec, Codec
from sensorium.episode.codecs.registry import codec_of
from sensorium.episode.documents import StreamEntry
from sensorium.episode.layout import decode_plain, small_codec
from sensorium.errors import ConfigError, Corrupt

Array = npt.NDArray[Any]

ITEMS_A_JOB = 4
"""Some milliseconds of decoding: few enough that all threads of a window end at about the same time."""


class Samples(NamedTuple):
    """Samples of one stream in a window: `captured_ns` int64 [n] in the device's clock, `data` [n, *shape].

    `utc_ns` and `uncertainty_ns` are int64 [n], or None where they are not known.

    Where they were aligned, there is one for each moment `at_ns`, int64 [n], and `present`, bool [n], says whether it
    is there: in a gap it is not, its data are 0 and its stamp is the moment. `captured_ns` of one that lies between two
    (`linear`) is the moment too, of any other its own.
    """

    captured_ns: Stamps
    utc_ns: Stamps | None
    uncertainty_ns: Stamps | None
    data: Array
    at_ns: Stamps | None = None
    present: npt.NDArray[np.bool_] | None = None


def row_numbers(rows: npt.ArrayLike, where: str, count: int) -> npt.NDArray[np.int64]:
    """Rows of a stream of `count` samples as an array; `ConfigError` of anything else.

    >>> row_numbers([1, 1, 4], "stream 'imu'", 5).tolist()
    [1, 1, 4]
    """
    try:
        found = np.asarray(rows)
    except ValueError as error:
        raise ConfigError(f"{where}: rows {said(rows)}: expected numbers in one list") from error
    if found.ndim == 1 and not len(found):
        return found.astype(np.int64)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise ConfigError(f"{where}: rows {said(rows)}: expected whole numbers in one list")
    if found.min() < 0 or found.max() >= count:
        raise ConfigError(f"{where}: rows {found.min()} to {found.max()}: it has {count}")
    return found.astype(np.int64, copy=False)


class Stream:
    """One stream of an episode, as an array [n, *spec.shape] of `spec.dtype`; encoded media are decoded on reading.

    Index it with an int or a slice. What is read is checked; damage raises `Corrupt`. Samples whose codec is not
    installed here raise `ConfigError`; stamps, and items as they are, can be read nevertheless.
    """

    def __init__(self, files: EpisodeFiles, name: str, members: Mapping[str, Any]) -> None:
        try:
            about = members[name]["attributes"]["sensorium"]
            self.entry = msgspec.convert(about, StreamEntry)
            self.media_type: str = about["media_type"]
            self.spec, self.encoding = self.entry.spec, self.entry.encoding
        except (KeyError, TypeError, msgspec.ValidationError) as error:
            raise Corrupt(f"{files.place}: stream {name!r}: {error!r}; run `sensorium verify`") from error
        self._path = f"{files.place}: stream {name!r}"
        arrays = {
            path.rpartition("/")[2]: ZarrArray(files, path, document)
            for path, document in members.items()
            if path.rpartition("/")[0] == name and document["node_type"] == "array"
        }
        if not {"data", "captured_ns"} <= arrays.keys():
            raise Corrupt(f"{self._path}: has only {', '.join(arrays) or 'no arrays'}; run `sensorium verify`")
        self._arrays = arrays

    def __repr__(self) -> str:
        return f"<Stream {self.spec.name}, {len(self)} of {self.dtype} {list(self.spec.shape)}>"

    def _repr_html_(self) -> str:
        from sensorium.corpus.notebook import stream_html

        return stream_html(self.spec, len(self), self.encoding.codec, self.middle)

    def middle(self) -> Array:
        """The sample in the middle, [*shape]."""
        sample: Array = self[len(self) // 2]
        return sample

    @functools.cached_property
    def codec(self) -> Codec:
        """What made its samples into bytes, and back: `stream.codec.decode(stream.item(0), 4)` is a quarter of a JPEG.

        Raises:
            ConfigError: it is not installed here.
        """
        codec = codec_of(self.entry)
        if codec.stores_items != ("offset" in self._arrays):
            raise Corrupt(f"{self._path}: its arrays are not those of {self.encoding.codec}")
        return codec

    @property
    def is_encoded(self) -> bool:
        """Whether its samples are media, which are decoded when they are read."""
        return "offset" in self._arrays

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.spec.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.spec.dtype)

    @property
    def rate_hz(self) -> float | None:
        """Nominal; None: it has none."""
        return self.spec.rate_hz

    @functools.cached_property
    def captured_ns(self) -> Stamps:
        """Stamps, int64 [n], in the device's clock; never stepping back."""
        return self._whole("captured_ns")

    @functools.cached_property
    def sensor_ns(self) -> Stamps | None:
        """The sensor's own counter, int64 [n], where it has one."""
        return self._whole("sensor_ns") if "sensor_ns" in self._arrays else None

    def __len__(self) -> int:
        return len(self._arrays["captured_ns"])

    def __iter__(self) -> Iterator[Array]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> Array: ...
    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step < 0:
                return self[slice(stop + 1, start + 1, 1)][::step] if stop < start else self._rows(0, 0)
            return self._rows(start, max(start, stop))[::step]
        row = self._row(key)
        return self._rows(row, row + 1)[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole: Array = self[:]
        return whole if dtype is None else whole.astype(dtype)

    def read(self, start: int, stop: int, *, shrink: int = 1, out: Array | None = None) -> Array:
        """Samples `start` to `stop`, [stop - start, *shape], in `out` if it is given: C-contiguous, of that shape and
        the stream's dtype, so that the memory of one window serves the next; after an error its content is unknown.

        `shrink` divides the sides of pictures, rounded up, where the codec can do so at less than the cost of a whole
        one: a JPEG by 2, 4 or 8.

        Raises:
            ConfigError: the rows are not in the stream, `out` does not fit, or the codec cannot shrink so.
            Corrupt: what is read is damaged.
        """
        start, stop = whole("start", start), whole("stop", stop)
        if not 0 <= start <= stop <= len(self):
            raise ConfigError(f"{self._path}: samples {start} to {stop}: it has {len(self)}")
        codec = self.codec
        shrinks = (1,) if isinstance(codec, ChunkCodec) else codec.shrinks
        if whole("shrink", shrink) not in shrinks:
            can = ", ".join(map(str, shrinks))
            raise ConfigError(f"{self._path}: shrink {shrink}: {self.encoding.codec} can be divided by {can}")
        sides = tuple(-(-side // shrink) for side in self.spec.shape[:2])
        shape = (stop - start, *sides, *self.spec.shape[2:])
        if out is None:
            out = np.empty(shape, self.dtype)
        elif not is_array(out):
            raise ConfigError(f"{self._path}: out {said(out)}: expected an array of numpy")
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous or not out.flags.writeable:
            raise ConfigError(
                f"{self._path}: out is {out.dtype} {list(out.shape)}, expected a writable, C-contiguous"
                f" {self.dtype} {list(shape)}"
            )
        return self._read(start, stop, shrink, out)

    def take(self, rows: npt.NDArray[np.int64], *, shrink: int = 1) -> Array:
        """The samples at `rows`, int64 [n] in any order (one may come twice), [n, *shape], as `read` has them.

        No picture is read that is not returned; of streams of rows, all between the first and the last are.

        Raises:
            ConfigError: they are no such rows, or the codec cannot shrink so.
            Corrupt: what is read is damaged.
        """
        rows = row_numbers(rows, self._path, len(self))
        if not len(rows):
            return self.read(0, 0, shrink=shrink)
        if not self.spec.is_frames:
            first = int(rows.min())
            return self.read(first, int(rows.max()) + 1, shrink=shrink)[rows - first]
        wanted, places = np.unique(rows, return_inverse=True)
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        found = [self.read(int(run[0]), int(run[-1]) + 1, shrink=shrink) for run in runs]
        whole = found[0] if len(found) == 1 else np.concatenate(found)
        return whole if len(wanted) == len(rows) and bool((rows[1:] > rows[:-1]).all()) else whole[places]

    def item(self, row: int) -> bytes:
        """The encoded bytes of one sample of a stream of media."""
        if "offset" not in self._arrays:
            raise ConfigError(f"{self._path}: holds numbers, not encoded items; index it")
        row = self._row(row)
        first, last = (int(offset) for offset in self._offsets[row : row + 2])
        return self._arrays["data"].read(first, last, decode_plain).tobytes()

    def items(self, start: int, stop: int) -> list[memoryview]:
        """The encoded bytes of samples `start` to `stop` of a stream of media, read at once."""
        if "offset" not in self._arrays:
            raise ConfigError(f"{self._path}: holds numbers, not encoded items; index it")
        if not 0 <= start <= stop <= len(self):
            raise ConfigError(f"{self._path}: items {start} to {stop}: it has {len(self)}")
        offsets = self._offsets[start : stop + 1].tolist()
        first = offsets[0]
        blob = memoryview(self._arrays["data"].read(first, offsets[-1], decode_plain).data)
        return [blob[low - first : high - first] for low, high in itertools.pairwise(offsets)]

    def check(self) -> None:
        """Read everything; `Corrupt` at the first chunk that does not hold."""
        for name, array in self._arrays.items():
            if name != "data":
                array.check(small_codec().decode)
            elif isinstance(self.codec, ChunkCodec):
                array.check(self.codec.decode)
            else:
                array.check(decode_plain)

    @functools.cached_property
    def _offsets(self) -> Stamps:
        offsets = self._whole("offset")
        rises = bool((offsets[1:] >= offsets[:-1]).all())
        if len(offsets) != len(self) + 1 or offsets[0] or offsets[-1] != len(self._arrays["data"]) or not rises:
            raise Corrupt(f"{self._path}: its offsets do not fit its data; run `sensorium verify`")
        return offsets

    def _whole(self, name: str) -> Array:
        array = self._arrays[name]
        whole: Array = array.read(0, len(array), small_codec().decode)
        return whole

    def _row(self, number: int) -> int:
        try:
            return range(len(self))[number]
        except IndexError as error:
            raise IndexError(f"{self._path}: sample {number}: it has {len(self)}") from error

    def _rows(self, start: int, stop: int) -> Array:
        return self._read(start, stop, 1, np.empty((stop - start, *self.spec.shape), self.dtype))

    def _read(self, start: int, stop: int, shrink: int, out: Array) -> Array:
        codec = self.codec
        if isinstance(codec, ChunkCodec):
            return self._arrays["data"].read(start, stop, codec.decode, out)
        if stop <= start:
            return out
        offsets = self._offsets[start : stop + 1]
        blob = self._arrays["data"].read(int(offsets[0]), int(offsets[-1]), decode_plain).data
        bounds = (offsets - offsets[0]).tolist()

        def decode(rows: range) -> None:
            for row in rows:
                try:
                    out[row] = codec.decode(blob[bounds[row] : bounds[row + 1]], shrink)
                except Corrupt as error:
                    raise Corrupt(f"{self._path}: item {start + row}: {error}") from error

        portions = [range(first, min(first + ITEMS_A_JOB, len(out))) for first in range(0, len(out), ITEMS_A_JOB)]
        run_all([functools.partial(decode, rows) for rows in portions], out.nbytes)
        return out
