"""The heads of an arriving episode: what of its file is not payload, kept beside its shards, so that a later run can
read the file again from both.

    magic "SNH1" | recoveries u64 | then of each record: prefix, header, checksum

A payload is as long as its prefix says, and is in the shards of its stream. Nothing here is trusted: whoever reads it
again has every checksum of the file checked once more.
"""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sensorium.episode import durable
from sensorium.episode.parser import PREFIX_BYTES, TRAILER, Prefix
from sensorium.errors import Corrupt

SUFFIX = ".heads"
_BEGIN = struct.Struct("<4sQ")
_MAGIC = b"SNH1"


class Head(NamedTuple):
    """What is kept of one record: what stands before its payload, the payload's size, and the checksum behind it."""

    before: bytes
    payload_bytes: int
    behind: bytes


class Heads:
    """The heads of one episode, in the file `path` under the open folder `dir_fd`, `begun` by the first `write`.

    `new` takes the bytes of the episode file that are not payload, as they come; `write` brings them to the file.

    `again`: it is there from an earlier run, to be read with `kept` while the same is written once more.
    """

    def __init__(self, path: Path, recoveries: int, dir_fd: int | None = None, again: bool = False) -> None:
        self.path = path
        self._dir_fd = dir_fd
        self.new = bytearray(_BEGIN.pack(_MAGIC, recoveries))
        self._size = 0
        self._synced = 0
        self._fd = durable.reopen(path, dir_fd=dir_fd) if again else -1
        self.begun = again
        self._closing = threading.Lock()

    def write(self) -> None:
        """Bring to the file what was added to `new`."""
        if not self.new:
            return
        if self._fd < 0:
            self._fd = durable.create(self.path, dir_fd=self._dir_fd)
            self.begun = True
        durable.write_at(self._fd, self.new, self._size)
        self._size += len(self.new)
        self.new.clear()

    def sync(self) -> None:
        """Make durable what was written; safe beside `write`, from another thread."""
        with self._closing:
            if self._fd >= 0 and self._synced < self._size:
                size = self._size
                durable.sync(self._fd)
                self._synced = size

    def recoveries(self) -> int:
        """What an earlier run was told of the episode's recoveries.

        Raises:
            Corrupt: this is no such file.
        """
        raw = durable.read_at(self._fd, _BEGIN.size, 0)
        if len(raw) < _BEGIN.size or not raw.startswith(_MAGIC):
            raise Corrupt(f"{self.path}: not the heads of an episode")
        return int(_BEGIN.unpack(raw)[1])

    def kept(self) -> Iterator[Head]:
        """The heads that an earlier run wrote, up to where they end or what follows is none."""
        at = _BEGIN.size
        while len(beginning := durable.read_at(self._fd, PREFIX_BYTES, at)) == PREFIX_BYTES:
            try:
                prefix = Prefix.unpack(beginning, at)
            except Corrupt:
                return
            size = prefix.header_bytes + TRAILER.size
            rest = durable.read_at(self._fd, size, at + PREFIX_BYTES)
            if len(rest) < size:
                return
            yield Head(beginning + rest[: -TRAILER.size], prefix.payload_bytes, rest[-TRAILER.size :])
            at += PREFIX_BYTES + size

    def settle(self) -> None:
        """What was taken again is all that there is."""
        self.write()
        durable.cut(self._fd, self._size)

    def close(self) -> None:
        with self._closing:
            if self._fd >= 0:
                durable.close(self._fd)
                self._fd = -1

    def remove(self) -> None:
        """Close it and remove its file, if there is one."""
        self.close()
        if self.begun:
            self.begun = False
            durable.remove(self.path, dir_fd=self._dir_fd)
