"""Arrays of a committed episode, read straight from their files: every checksum checked, absence never filled in."""

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sensorium.episode.layout import CHECKSUM_BYTES, checked, chunk_key
from sensorium.errors import Corrupt
from sensorium.threads import Pool

Array = npt.NDArray[Any]
Decode = Callable[[memoryview, Array], None]
"""Fills rows, contiguous, from the bytes of their inner chunk, whose checksum holds; `Corrupt` if it cannot."""
READ_BYTES = 8 << 20
PARALLEL_BYTES = 4 << 20


class ZarrArray:
    """One array that `layout` describes, in `folder`; rows are along axis 0.

    Holds no descriptor and starts no thread that outlives a call, so it may be carried over a fork or pickled.
    """

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.folder = folder
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
                f"{folder}: not an array of this store's layout: {error!r}; run `sensorium verify`"
            ) from error
        self._chunk_shape = (self._inner, *self.shape[1:])
        self._chunk_bytes = math.prod(self._chunk_shape) * self.dtype.itemsize
        self._indexes: dict[int, Array] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int, decode: Decode) -> Array:
        """Rows `start` to `stop`, which must lie within the array, of chunks that `decode` undoes.

        Raises:
            Corrupt: a file is absent or cut short, or a checksum does not hold.
        """
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if stop <= start:
            return out
        runs = [self._locate(chunk) for chunk in range(start // self._inner, -(-stop // self._inner))]
        place = functools.partial(self._place, decode, start, out)
        jobs: list[Callable[[], None]] = []
        first = start // self._inner
        for path, begin, end, chunks in _joined(runs):
            jobs.append(_job(path, begin, end, chunks, first, place))
            first += len(chunks)
        if len(jobs) > 1 and out.nbytes > PARALLEL_BYTES:
            with Pool("shard-read", "reads shards", min(len(jobs), len(os.sched_getaffinity(0)))) as pool:
                for done in [pool.submit(job) for job in jobs]:
                    done.result()
        else:
            for job in jobs:
                job()
        return out

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

    def _locate(self, chunk: int) -> tuple[Path, int, int]:
        """File, offset and size of an inner chunk."""
        if not self._sharded:
            path = self.folder / chunk_key(chunk, len(self.shape))
            return path, 0, _size(path)
        per_shard = self._outer // self._inner
        shard, within = divmod(chunk, per_shard)
        path = self.folder / chunk_key(shard, len(self.shape))
        index = self._indexes.get(shard)
        if index is None:
            index = self._indexes[shard] = _read_index(path, per_shard)
        offset, size = (int(value) for value in index[within])
        if offset + size > _size(path):
            raise Corrupt(f"{path}: chunk {chunk} is missing; run `sensorium verify`")
        return path, offset, size


def _job(
    path: Path,
    begin: int,
    end: int,
    chunks: list[tuple[int, int]],
    first: int,
    place: Callable[[int, memoryview], None],
) -> Callable[[], None]:
    def run() -> None:
        raw = memoryview(_read(path, begin, end - begin))
        for number, (offset, size) in enumerate(chunks, first):
            try:
                place(number, raw[offset - begin : offset - begin + size])
            except Corrupt as error:
                raise Corrupt(
                    f"{path}: chunk {number} at byte {offset}: {error}; run `sensorium verify --deep`"
                ) from error

    return run


def _joined(runs: list[tuple[Path, int, int]]) -> list[tuple[Path, int, int, list[tuple[int, int]]]]:
    """Neighbouring chunks of one file as one read of at most some megabytes."""
    joined: list[tuple[Path, int, int, list[tuple[int, int]]]] = []
    for path, offset, size in runs:
        if joined:
            last, begin, end, chunks = joined[-1]
            if last == path and end == offset and offset + size - begin <= READ_BYTES:
                chunks.append((offset, size))
                joined[-1] = (last, begin, offset + size, chunks)
                continue
        joined.append((path, offset, offset + size, [(offset, size)]))
    return joined


def _read_index(path: Path, per_shard: int) -> Array:
    size = per_shard * 16 + CHECKSUM_BYTES
    try:
        return np.frombuffer(checked(_read(path, _size(path) - size, size)), "<u8").reshape(-1, 2)
    except Corrupt as error:
        raise Corrupt(f"{path}: index of the shard: {error}; run `sensorium verify --deep`") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise Corrupt(f"{path}: missing ({error.strerror}); run `sensorium verify`") from error


def _read(path: Path, offset: int, size: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Corrupt(f"{path}: cannot open ({error.strerror}); run `sensorium verify`") from error
    try:
        data = os.pread(fd, size, offset) if offset >= 0 else b""
    finally:
        os.close(fd)
    if len(data) != size:
        raise Corrupt(f"{path}: cut short, {len(data)} of {size} bytes at {offset}")
    return data
