"""Arrays of a committed episode, read straight from their files: every checksum checked, absence never filled in."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.corpus.files import EpisodeFiles
from sensorium.corpus.parallel import run_all
from sensorium.episode.layout import CHECKSUM_BYTES, checked, chunk_key
from sensorium.errors import Corrupt

Array = npt.NDArray[Any]
Decode = Callable[[memoryview, Array], None]
"""Fills rows, contiguous, from the bytes of their inner chunk, whose checksum holds; `Corrupt` if it cannot."""
READ_BYTES = 8 << 20


class ZarrArray:
    """The array that `layout` describes, at `path` among an episode's files; rows are along axis 0.

    Holds no descriptor and starts no thread that outlives a call, so it may be carried over a fork or pickled.
    """

    def __init__(self, files: EpisodeFiles, path: str, document: dict[str, Any]) -> None:
        self._files, self._path = files, path
        try:
            self.shape: tuple[int, ...] = tuple(document["shape"])
            self.dtype = np.dtype(document["data_type"])
            self._outer = int(document["chunk_grid"]["configuration"]["chunk_shape"][0])
            codecs = document["codecs"]
            self._sharded = codecs[0]["name"] == "sharding_indexed"
            inner = codecs[0]["configuration"] if self._sharded else None
            self._inner = int(inner["chunk_shape"][0]) if inner else self._outer
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise Corrupt(
                f"{files.where(path)}: not an array of this store's layout: {error!r}; run `sensorium verify`"
            ) from error
        self._chunk_shape = (self._inner, *self.shape[1:])
        self._chunk_bytes = math.prod(self._chunk_shape) * self.dtype.itemsize
        self._indexes: dict[int, tuple[str, Array, int]] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int, decode: Decode, out: Array | None = None) -> Array:
        """Rows `start` to `stop`, which must lie within the array, of chunks that `decode` undoes; in `out` if it is
        given, contiguous [stop - start, ...], whose content is unknown after an error.

        Raises:
            Corrupt: a file is absent or cut short, or a checksum does not hold.
        """
        out = np.empty((stop - start, *self.shape[1:]), self.dtype) if out is None else out
        if stop <= start:
            return out
        runs = [self._locate(chunk) for chunk in range(start // self._inner, -(-stop // self._inner))]
        place = functools.partial(self._place, decode, start, out)
        jobs: list[Callable[[], None]] = []
        first = start // self._inner
        for name, begin, end, chunks in _joined(runs):
            jobs.append(_job(self._files, name, begin, end, chunks, first, place))
            first += len(chunks)
        run_all(jobs, out.nbytes)
        return out

    def names(self) -> list[str]:
        """Its files: chunks or shards."""
        return [self._name(key) for key in range(-(-len(self) // self._outer))]

    def check(self, decode: Decode) -> None:
        """Decode every chunk, raising `Corrupt` at the first that does not hold."""
        step = max(1, READ_BYTES // max(1, self._chunk_bytes)) * self._inner
        for start in range(0, len(self), step):
            self.read(start, min(start + step, len(self)), decode)

    def _place(self, decode: Decode, start: int, out: Array, number: int, chunk: memoryview) -> None:
        """Decode inner chunk `number` into `out`, whose first row is row `start` of the array."""
        row = number * self._inner - start
        whole = row >= 0 and row + self._inner <= len(out)
        into = out[row : row + self._inner] if whole else np.empty(self._chunk_shape, self.dtype)
        decode(checked(chunk), into)
        if not whole:
            low, high = max(row, 0), min(row + self._inner, len(out))
            out[low:high] = into[low - row : high - row]

    def _locate(self, chunk: int) -> tuple[str, int, int]:
        """File, offset and size of an inner chunk."""
        if not self._sharded:
            name = self._name(chunk)
            return name, 0, self._files.size(name)
        shard, within = divmod(chunk, self._outer // self._inner)
        name, index, end = self._indexes.get(shard) or self._read_index(shard)
        offset, size = (int(value) for value in index[within])
        if offset + size > end:
            raise Corrupt(f"{self._files.where(name)}: chunk {chunk} is missing; run `sensorium verify`")
        return name, offset, size

    def _name(self, key: int) -> str:
        return f"{self._path}/{chunk_key(key, len(self.shape))}"

    def _read_index(self, shard: int) -> tuple[str, Array, int]:
        """A shard's name, where its chunks are, and where they must end."""
        name = self._name(shard)
        size = self._outer // self._inner * 16 + CHECKSUM_BYTES
        end = self._files.size(name) - size
        raw = self._files.read(name, end, size)
        try:
            index = np.frombuffer(checked(raw), "<u8").reshape(-1, 2)
        except Corrupt as error:
            where = self._files.where(name)
            raise Corrupt(f"{where}: index of the shard: {error}; run `sensorium verify --deep`") from error
        found = self._indexes[shard] = name, index, end
        return found


def _job(
    files: EpisodeFiles,
    name: str,
    begin: int,
    end: int,
    chunks: list[tuple[int, int]],
    first: int,
    place: Callable[[int, memoryview], None],
) -> Callable[[], None]:
    def run() -> None:
        raw = memoryview(files.read(name, begin, end - begin))
        for number, (offset, size) in enumerate(chunks, first):
            try:
                place(number, raw[offset - begin : offset - begin + size])
            except Corrupt as error:
                where = f"{files.where(name)}: chunk {number} at byte {offset}"
                raise Corrupt(f"{where}: {error}; run `sensorium verify --deep`") from error

    return run


def _joined(runs: list[tuple[str, int, int]]) -> list[tuple[str, int, int, list[tuple[int, int]]]]:
    """Neighbouring chunks of one file as one read of at most some megabytes."""
    joined: list[tuple[str, int, int, list[tuple[int, int]]]] = []
    for name, offset, size in runs:
        if joined:
            last, begin, end, chunks = joined[-1]
            if last == name and end == offset and offset + size - begin <= READ_BYTES:
                chunks.append((offset, size))
                joined[-1] = (last, begin, offset + size, chunks)
                continue
        joined.append((name, offset, offset + size, [(offset, size)]))
    return joined
