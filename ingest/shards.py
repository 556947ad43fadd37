"""Shards while they are written: inner chunks in the order they arrive, the index behind them."""

import os
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from sensorium.episode.layout import chunk_key, pack_index


@dataclass(slots=True)
class ShardFile:
    """One open shard: its size and CRC-32 so far, and (offset, bytes) of each whole inner chunk in it."""

    path: Path
    fd: int
    size: int = 0
    crc: int = 0
    entries: list[tuple[int, int]] = field(default_factory=list)
    dirty: bool = False
    indexed: bool = False


class ShardWriter:
    """The shards of one array, `per_shard` inner chunks each; a chunk may be written in pieces.

    Chunk number i of the array is the i-th that was ended. One thread writes; `sync` may be called from another.
    An `OSError` (a full disk) leaves the array unusable, to be closed.
    """

    def __init__(self, folder: Path, ndim: int, per_shard: int) -> None:
        self.folder = folder
        self.per_shard = per_shard
        self.files: list[ShardFile] = []
        self.chunks = 0
        self._ndim = ndim
        self._chunk_bytes = 0
        self._closing = threading.Lock()

    def write(self, data: memoryview | bytes) -> None:
        """Append bytes to the current inner chunk."""
        shard = self._current()
        _write_all(shard.fd, memoryview(data), shard.size)
        shard.crc = zlib.crc32(data, shard.crc)
        shard.size += len(data)
        shard.dirty = True
        self._chunk_bytes += len(data)

    def end_chunk(self) -> None:
        """The current inner chunk is whole."""
        shard = self._current()
        shard.entries.append((shard.size - self._chunk_bytes, self._chunk_bytes))
        self.chunks += 1
        self._chunk_bytes = 0

    def finish(self) -> None:
        """Write the index of the last shard; may be called again after it failed."""
        if self.files:
            last = self.files[-1]
            self._index(last, self.per_shard if len(self.files) > 1 else len(last.entries))

    def sync(self) -> None:
        """Make what was written so far durable. Safe beside `write`: what is written meanwhile is the next sync's.

        Shards that are whole are closed with it, so that a device cannot use up descriptors with many small ones.
        """
        with self._closing:
            for shard in [shard for shard in tuple(self.files) if shard.fd >= 0]:
                whole = shard.indexed
                if shard.dirty:
                    shard.dirty = False
                    os.fdatasync(shard.fd)
                if whole:
                    os.close(shard.fd)
                    shard.fd = -1

    def close(self) -> None:
        with self._closing:
            for shard in self.files:
                if shard.fd >= 0:
                    os.close(shard.fd)
                    shard.fd = -1

    def _index(self, shard: ShardFile, length: int) -> None:
        if shard.indexed:
            return
        index = pack_index(shard.entries, length)
        _write_all(shard.fd, memoryview(index), shard.size)
        shard.crc = zlib.crc32(index, shard.crc)
        shard.size += len(index)
        shard.dirty = True
        shard.indexed = True

    def _current(self) -> ShardFile:
        if not self.files or (len(self.files[-1].entries) == self.per_shard):
            if self.files:
                self._index(self.files[-1], self.per_shard)
                self.files[-1].entries.clear()
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / chunk_key(len(self.files), self._ndim)
            self.files.append(ShardFile(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)))
        return self.files[-1]


def _write_all(fd: int, data: memoryview, offset: int) -> None:
    while len(data):
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written
