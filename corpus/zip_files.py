"""The members of one episode's ZIP, read in place: its directory once, then ranges, never another member's bytes."""

import os
import stat
import zlib
from pathlib import Path
from uuid import UUID

from sensorium.corpus.commits import ZIP_VERSION, check_store_version, zip_path
from sensorium.episode import zip_form
from sensorium.episode.zip_form import Member
from sensorium.errors import Corrupt

WHOLE_BYTES = 64 << 10
"""A ZIP of so much is read and kept whole."""
TAIL_BYTES = 16 << 10
"""Of a larger one the end: most often the directory, and the episode's document, which is the last."""


FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""What is no file does not hold up who opens it."""

Zipped = tuple[int, int | None]
"""Bytes of a ZIP, and its CRC-32 where that is known."""


class ZipFiles:
    """The members of the ZIP, `zipped`, that `episode` is in `store`; `OSError` where that cannot be opened.

    What is read whole is held to its CRC-32: of one that is damaged anywhere nothing is read.
    The store's version is looked up unless it is known to be one that has ZIPs. Holds no descriptor between calls.
    """

    def __init__(self, store: Path, episode: UUID, zipped: Zipped, version: int) -> None:
        self.path = zip_path(store, episode)
        self._store, self._version = store, version
        self._size, self._crc = zipped
        self._members: dict[str, Member] | None = None
        self._tail, self._tail_at = memoryview(b""), 0
        self._checked: set[str] = set()

    def where(self, name: str) -> str:
        return f"{self.path}: {name}"

    def size(self, name: str) -> int:
        return self._member(name).size

    def read(self, name: str, offset: int, size: int) -> bytes | memoryview:
        """So many bytes of a member as they are stored."""
        return self._stored(self._member(name), offset, size)

    def document(self, name: str) -> bytes | memoryview:
        """A whole member, whose CRC-32 holds."""
        member = self._member(name)
        stored = self._stored(member, 0, member.size)
        try:
            return zip_form.content(member, stored)
        except Corrupt as error:
            raise self._damaged(error) from error

    def check(self, deep: bool = False) -> set[str]:
        """Look at every member's header, `deep` at its CRC-32 too; `Corrupt` at the first that is not what the
        directory says. The members' names."""
        for name, member in self._directory().items():
            if deep:
                self.document(name)
            else:
                self._stored(member, 0, 0)
        return set(self._directory())

    def _member(self, name: str) -> Member:
        member = (self._members or self._directory()).get(name)
        if member is None:
            raise Corrupt(f"{self.where(name)}: not in the ZIP; run `sensorium verify`")
        return member

    def _stored(self, member: Member, offset: int, size: int) -> bytes | memoryview:
        if offset < 0 or offset + size > member.size:
            raise Corrupt(f"{self.where(member.name)}: {member.size} bytes, none at {offset} to {offset + size}")
        if member.header >= self._tail_at:
            whole = self._tail[member.header - self._tail_at : member.end - self._tail_at]
            header = member.offset - member.header
            if member.name not in self._checked:
                self._check(member, whole[:header], whole[header:])
            return whole[header + offset : header + offset + size]
        fd = os.open(self.path, FLAGS)
        try:
            if member.name in self._checked:
                return self._pread(fd, size, member.offset + offset)
            header = member.offset - member.header
            if offset > TAIL_BYTES:
                self._check(member, self._pread(fd, header, member.header), b"")
                return self._pread(fd, size, member.offset + offset)
            data = memoryview(self._pread(fd, header + offset + size, member.header))
            self._check(member, data[:header], data[header:])
            return data[header + offset :]
        finally:
            os.close(fd)

    def _check(self, member: Member, header: bytes | memoryview, stored: bytes | memoryview) -> None:
        """A member's header, and its CRC-32 where all of it is at hand; that of a document is checked at each use."""
        try:
            zip_form.check_header(member, header)
            if len(stored) == member.size and not member.deflated:
                zip_form.content(member, stored)
        except Corrupt as error:
            raise self._damaged(error) from error
        self._checked.add(member.name)

    def _directory(self) -> dict[str, Member]:
        if self._members is None:
            fd = os.open(self.path, FLAGS)
            try:
                self._members = self._read_directory(fd)
            finally:
                os.close(fd)
        return self._members

    def _read_directory(self, fd: int) -> dict[str, Member]:
        if self._version < ZIP_VERSION:
            self._version = check_store_version(self._store)
        if self._version < ZIP_VERSION:
            raise self._damaged(f"a ZIP in a store of version {self._version}, which has none")
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise self._damaged("is no file")
        if (size := about.st_size) != self._size:
            raise self._damaged(f"is {size} bytes, expected {self._size}")
        at = max(0, size - TAIL_BYTES) if size > WHOLE_BYTES else 0
        tail = self._pread(fd, size - at, at)
        if not at and self._crc is not None and (crc := zlib.crc32(tail)) != self._crc:
            raise self._damaged(f"checksum {crc:08x}, expected {self._crc:08x}")
        try:
            offset, length, entries = zip_form.directory_at(tail[-zip_form.END_BYTES :], size)
            within = offset - at
            whole = tail[within : within + length] if within >= 0 else self._pread(fd, length, offset)
            members = zip_form.read_directory(whole, offset, entries)
        except Corrupt as error:
            raise self._damaged(error) from error
        self._tail, self._tail_at = memoryview(tail), at
        return members

    def _pread(self, fd: int, size: int, offset: int) -> bytes:
        data = os.pread(fd, size, offset)
        if len(data) != size:
            raise self._damaged(f"cut short, {len(data)} of {size} bytes at {offset}")
        return data

    def _damaged(self, what: object) -> Corrupt:
        return Corrupt(f"{self.path}: {what}; run `sensorium verify`")
