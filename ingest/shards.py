"""Where payloads go: inner chunks into shard files in the order they arrive, the index behind them."""

import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crc32c import crc32c

from sensorium.episode import durable
from sensorium.episode.codecs.contract import ChunkCodec, Codec
from sensorium.episode.layout import (
    BLOB_CHUNK_BYTES,
    CHECKSUM_BYTES,
    chunk_key,
    data_axes,
    pack_index,
    shard_chunks,
)
from sensorium.errors import Corrupt, StoreError

# What CRC32C gives over any bytes followed by their own CRC32C, little-endian.
_RESIDUE = 0x48674BC7
_CRC = struct.Struct("<I")


@dataclass(slots=True)
class ShardFile:
    """One shard, by its name in the episode: which file it is, its size and CRC-32 so far, and (offset, bytes) of each
    whole inner chunk in it while more may come. While it is `held` in memory it is no file."""

    name: str
    fd: int = -1
    id: durable.FileId | None = None
    held: bytearray | None = None
    size: int = 0
    crc: int = 0
    entries: list[tuple[int, int]] = field(default_factory=list)
    dirty: bool = False
    indexed: bool = False


class ShardWriter:
    """The shards of one array, `per_shard` inner chunks each; a chunk may be written in pieces.

    Chunk number i of the array is the i-th that was ended. One thread writes; `sync` may be called from another.
    An `OSError` (a full disk) leaves the array unusable, to be closed. `folder` is under the open folder `dir_fd`;
    without one they are held in memory, until they are `put_down`.

    `again`: the files are there from an earlier run. What they hold is taken from them with `kept` and written once
    more where it is, so that a sync of today covers it; `settle` ends that, and removes what was not taken.
    """

    def __init__(self, folder: str, ndim: int, per_shard: int, dir_fd: int | None, again: bool = False) -> None:
        self.folder = folder
        self.per_shard = per_shard
        self.files: list[ShardFile] = []
        self.chunks = 0
        self._ndim = ndim
        self._chunk_bytes = 0
        self._closing = threading.Lock()
        self._dir_fd = dir_fd
        self._again = again

    def write(self, data: memoryview | bytes) -> None:
        """Append bytes to the current inner chunk."""
        shard = self._current()
        _write(shard, data)
        shard.crc = zlib.crc32(data, shard.crc)
        shard.size += len(data)
        shard.dirty = True
        self._chunk_bytes += len(data)

    def put_chunk(self, data: memoryview) -> None:
        """Append an inner chunk, whole, where none is under way."""
        shard = self.files[-1] if self.files else None
        if shard is None or len(shard.entries) == self.per_shard:
            shard = self._current()
        if shard.held is None:
            durable.write_at(shard.fd, data, shard.size)
        else:
            shard.held += data
        shard.crc = zlib.crc32(data, shard.crc)
        shard.entries.append((shard.size, len(data)))
        shard.size += len(data)
        shard.dirty = True
        self.chunks += 1

    def put_down(self, dir_fd: int) -> None:
        """Make files of what is held in memory, in `folder` under the open folder `dir_fd`."""
        with self._closing:  # or a sync might close a shard, or call it clean, of which nothing is written yet
            self._dir_fd = dir_fd
            for shard in self.files:
                durable.add_folder(Path(self.folder), dir_fd=dir_fd)
                shard.fd = durable.create(Path(shard.name), dir_fd=dir_fd)
                shard.id = durable.identity(shard.fd)
                held, shard.held = shard.held or b"", None
                durable.write_at(shard.fd, held, 0)
                if shard.indexed:  # or an episode of many would use up what may be open
                    durable.sync(shard.fd)
                    durable.close(shard.fd)
                    shard.fd, shard.dirty = -1, False

    def content(self) -> Iterator[tuple[ShardFile, bytes | bytearray]]:
        """Every shard, once it is finished, with what it holds.

        Raises:
            StoreError: a file has not what was written to it, which is no fault of who sent that.
        """
        for shard in self.files:
            if shard.held is not None:
                yield shard, shard.held
                continue
            try:
                data = durable.read_whole(Path(shard.name), dir_fd=self._dir_fd)
            except FileNotFoundError as error:
                raise StoreError(f"{shard.name}: it was taken out of staging; it is sent again") from error
            if zlib.crc32(data) != shard.crc:
                raise StoreError(f"{shard.name}: reads otherwise than it was written; it is sent again")
            yield shard, data

    def kept(self, size: int) -> bytes:
        """Up to `size` bytes that an earlier run wrote where the next are to be written."""
        shard = self._current()
        return durable.read_at(shard.fd, size, shard.size)

    def settle(self) -> None:
        """What was taken again is all that there is: more is to be removed, and what comes is new."""
        self._again = False
        folder = Path(self.folder)
        if durable.look(folder, dir_fd=self._dir_fd) is None:
            return
        taken = {shard.name.rpartition("/")[2] for shard in self.files}
        for name in durable.names(folder, dir_fd=self._dir_fd):
            if name not in taken:
                durable.remove(folder / name, dir_fd=self._dir_fd)
        for shard in self.files:
            if shard.fd >= 0:
                durable.cut(shard.fd, shard.size)

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
                    durable.sync(shard.fd)
                if whole:
                    durable.close(shard.fd)
                    shard.fd = -1

    def close(self) -> None:
        with self._closing:
            for shard in self.files:
                if shard.fd >= 0:
                    durable.close(shard.fd)
                    shard.fd = -1

    def _index(self, shard: ShardFile, length: int) -> None:
        if shard.indexed:
            return
        index = pack_index(shard.entries, length)
        _write(shard, index)
        shard.crc = zlib.crc32(index, shard.crc)
        shard.size += len(index)
        shard.dirty = True
        shard.indexed = True

    def _current(self) -> ShardFile:
        if not self.files or (len(self.files[-1].entries) == self.per_shard):
            if self.files:
                self._index(self.files[-1], self.per_shard)
                self.files[-1].entries.clear()
            self.files.append(self._begin(f"{self.folder}/{chunk_key(len(self.files), self._ndim)}"))
        return self.files[-1]

    def _begin(self, name: str) -> ShardFile:
        if self._dir_fd is None:
            return ShardFile(name, held=bytearray())
        if not self.files:
            durable.add_folder(Path(self.folder), dir_fd=self._dir_fd)
        begin = durable.reopen if self._again else durable.create
        fd = begin(Path(name), dir_fd=self._dir_fd)
        return ShardFile(name, fd, durable.identity(fd))


class PayloadSink(Protocol):
    """Takes the payloads of one stream's records, each in pieces, into the shards of the stream's `data`."""

    @property
    def shards(self) -> ShardWriter: ...

    @property
    def blob_bytes(self) -> int:
        """Bytes of the blob so far, without checksums; 0 of a stream that is none."""
        ...

    @property
    def chunk_length(self) -> int:
        """Rows of an inner chunk; of a blob, bytes."""
        ...

    def write(self, part: memoryview) -> None:
        """The next bytes of the current record's payload."""
        ...

    def put(self, payload: memoryview) -> None:
        """A payload, whole; as `write` and `end`."""
        ...

    def kept(self, size: int) -> bytes:
        """Up to `size` of the next bytes of the current payload, as an earlier run left them."""
        ...

    def end(self) -> None:
        """The current payload is whole; `Corrupt` if it is not what the stream says."""
        ...

    def finish(self) -> None:
        """Close the last chunk and write the indexes; may be called again after it failed."""
        ...


def _write(shard: ShardFile, data: memoryview | bytes) -> None:
    """Append to a shard, wherever it is."""
    if shard.held is None:
        durable.write_at(shard.fd, data, shard.size)
    else:
        shard.held += data


def payload_sink(codec: Codec, dir_fd: int | None, again: bool = False) -> PayloadSink:
    """The sink for a stream of the episode in the open folder `dir_fd`, or without one in memory."""
    folder = f"{codec.entry.spec.name}/data"
    shards = ShardWriter(folder, data_axes(codec), shard_chunks(codec), dir_fd, again)
    return ChunkSink(shards, codec) if isinstance(codec, ChunkCodec) else BlobSink(shards)


class ChunkSink:
    """Payloads that are inner chunks already: kept as they are, once their own checksum and their header hold."""

    blob_bytes = 0

    def __init__(self, shards: ShardWriter, codec: ChunkCodec) -> None:
        self.shards = shards
        self.chunk_length = codec.entry.chunk_rows
        self._codec = codec
        self._crc = 0
        self._bytes = 0
        self._head = b""

    def write(self, part: memoryview) -> None:
        self._crc = crc32c(part, self._crc)
        self._bytes += len(part)
        if len(self._head) < self._codec.head_bytes:
            self._head += bytes(part[: self._codec.head_bytes - len(self._head)])
        self.shards.write(part)

    def put(self, payload: memoryview) -> None:
        self._check(crc32c(payload), bytes(payload[: self._codec.head_bytes]), len(payload))
        self.shards.put_chunk(payload)

    def kept(self, size: int) -> bytes:
        return self.shards.kept(size)

    def end(self) -> None:
        self._check(self._crc, self._head, self._bytes)
        self.shards.end_chunk()
        self._crc, self._bytes, self._head = 0, 0, b""

    def _check(self, crc: int, head: bytes, size: int) -> None:
        if crc != _RESIDUE:
            raise Corrupt("the chunk's own checksum does not hold")
        self._codec.check(head, size - CHECKSUM_BYTES)

    def finish(self) -> None:
        self.shards.finish()


class BlobSink:
    """Payloads that are items, one after the other in a blob, with a checksum behind each of its inner chunks."""

    def __init__(self, shards: ShardWriter) -> None:
        self.shards = shards
        self.blob_bytes = 0
        self._crc = 0

    @property
    def chunk_length(self) -> int:
        """A blob below 256 KiB is one chunk of its own size."""
        return max(1, min(self.blob_bytes, BLOB_CHUNK_BYTES))

    def write(self, part: memoryview) -> None:
        while len(part):
            piece = part[: BLOB_CHUNK_BYTES - self.blob_bytes % BLOB_CHUNK_BYTES]
            self.shards.write(piece)
            self._crc = crc32c(piece, self._crc)
            self.blob_bytes += len(piece)
            part = part[len(piece) :]
            if self.blob_bytes % BLOB_CHUNK_BYTES == 0:
                self._end_chunk(padding=b"")

    def put(self, payload: memoryview) -> None:
        self.write(payload)

    def kept(self, size: int) -> bytes:
        return self.shards.kept(min(size, BLOB_CHUNK_BYTES - self.blob_bytes % BLOB_CHUNK_BYTES))

    def end(self) -> None:
        """Any bytes may be an item; the record's lengths were compared before."""

    def finish(self) -> None:
        if self.blob_bytes > self.shards.chunks * BLOB_CHUNK_BYTES:
            self._end_chunk(bytes(-self.blob_bytes % self.chunk_length))
        self.shards.finish()

    def _end_chunk(self, padding: bytes) -> None:
        # In one write, which is all there or not at all: `finish` may have to repeat it.
        self.shards.write(padding + _CRC.pack(crc32c(padding, self._crc)))
        self.shards.end_chunk()
        self._crc = 0
