"""One growing episode file: appends of whole records, and the offset up to which they are on disk."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from blake3 import blake3

from sensorium.episode import durable
from sensorium.episode.documents import Account, Open, Reason, Seal
from sensorium.episode.parser import Buffer, Header
from sensorium.episode.records import encode_record
from sensorium.errors import SpoolError, SpoolFull

log = logging.getLogger(__name__)

SYNC_BYTES = 8 << 20


class EpisodeFile:
    """Created by the spool. One thread appends, another calls `sync`; `sendable` may be read by any.

    A write that fails or falls short is cut back to the last record's end, so the file never holds half a record that
    a later one follows. After a failed sync nothing more becomes sendable until the file was read back, found whole
    and synced; if it is still not whole when it is sealed, it is `damaged`: that is to be taken out. `due` is called
    when a sync should not wait for the next tick: 8 MB written, or the SEAL.
    """

    def __init__(
        self,
        path: Path,
        manifest: Open,
        due: Callable[[], None] = lambda: None,
        namer: Callable[[], Callable[[], None]] = lambda: lambda: None,
    ) -> None:
        self.path = path
        self.manifest = manifest
        self._due = due
        self.ending: Seal | None = None
        self.damaged = False
        self.written = 0
        self.sendable = 0
        self._digest = blake3()
        self._number = 0
        self._suspect = self._torn = False
        self._appending = threading.Lock()
        self._syncing = threading.Lock()
        self._fd = durable.create(path, appending=True)
        self._sync_name = namer()

    @classmethod
    def begun(
        cls, path: Path, manifest: Open, due: Callable[[], None], namer: Callable[[], Callable[[], None]]
    ) -> "EpisodeFile":
        """One that has its OPEN; what `namer` gives makes its name durable, before anything of it is sendable.

        Raises:
            SpoolFull, SpoolError: it was not begun; the descriptor is closed, the file may be there.
        """
        try:
            file = cls(path, manifest, due, namer)
        except OSError as error:
            raise disk_error(error, f"{path}", "it was not begun") from error
        try:
            file.append(manifest)
        except SpoolError:
            file.close()
            raise
        return file

    @property
    def sealed(self) -> bool:
        """Whether it has its SEAL."""
        return self.ending is not None

    @property
    def digest(self) -> bytes:
        """What the SEAL says of the bytes before it; empty without one."""
        return b"" if self.ending is None else self.ending.digest

    @property
    def accounts(self) -> Mapping[str, Account]:
        """What the SEAL says of the samples."""
        return {} if self.ending is None else self.ending.account

    @property
    def closed(self) -> bool:
        """Whether nothing more is written or synced."""
        return self._fd < 0

    def append(self, header: Header, payload: Buffer = b"") -> int:
        """Append one record; returns its size.

        Raises:
            SpoolFull: no room; the file is as it was before.
            SpoolError: the file system failed; the file is as it was before.
        """
        return self._append(encode_record(self.manifest.episode, self._number, header, payload), 1)

    def append_all(self, records: Sequence[tuple[Header, Buffer]]) -> int:
        """Append records, few and small ones, with one call to the disk; returns their size.

        Raises:
            SpoolFull: no room for all; the file is as it was before.
            SpoolError: the file system failed; the file is as it was before.
        """
        episode, number = self.manifest.episode, self._number
        encoded = (encode_record(episode, n, *record) for n, record in enumerate(records, number))
        return self._append([b"".join(chain.from_iterable(encoded))], len(records))

    def _append(self, buffers: Sequence[Buffer], records: int) -> int:
        try:
            if self._torn:
                durable.cut(self._fd, self.written)
            self._torn = True
            size = durable.append(self._fd, buffers, self.written)
            self._torn = False
        except OSError as error:
            raise disk_error(error, f"{self.path}", "the record was taken back") from error
        with self._appending:
            for buffer in buffers:
                self._digest.update(buffer)
            self._number += records
            self.written += size
        if self.written - self.sendable >= SYNC_BYTES:
            self._due()
        return size

    def seal(
        self,
        reason: Reason,
        rows: dict[str, int],
        account: dict[str, Account],
        summary: dict[str, Any],
        end_ns: int,
    ) -> None:
        """Append the SEAL; nothing can be appended after it."""
        ending = Seal(
            digest=self._digest.digest(), reason=reason, rows=rows, account=account, summary=summary, end_ns=end_ns
        )
        self.append(ending)
        self.ending = ending
        self._due()

    def sync(self) -> None:
        """Put what is written so far on disk, and make it sendable.

        Raises:
            SpoolError: the disk failed; nothing new is sendable.
        """
        with self._syncing:
            if self._fd < 0:  # sealed and synced by another thread
                return
            sealed, target = self.sealed, self.written  # in this order: sealed means that `written` has the SEAL
            try:
                self._sync_name()
            except OSError as error:
                raise disk_error(error, f"{self.path}", "its name is not on disk, and nothing of it is sent") from error
            try:
                if self._suspect:
                    self._read_back(sealed)
                durable.sync(self._fd)
            except SpoolError:
                raise
            except OSError as error:
                self._suspect = True
                raise SpoolError(f"{self.path}: sync failed: {error.strerror}; nothing more of it is sent") from error
            self._suspect = False
            if not self.damaged:
                self.sendable = target
            if sealed:
                self._close()

    def close(self) -> None:
        """Close the descriptor; twice is no error."""
        with self._syncing:
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:
                durable.close(fd)
            except OSError as error:  # it is closed all the same; what had to be on disk was synced
                log.warning("spool: %s: %s at its close", self.path, error.strerror)

    def _read_back(self, sealed: bool) -> None:
        """See whether the disk holds what was written. Of what grows no more nothing better can be had."""
        with self._appending:
            size, expected = self.written, self._digest.digest()
        durable.forget_cached(self._fd)
        digest, at = blake3(), 0
        while at < size:
            data = durable.read_at(self._fd, min(1 << 20, size - at), at)
            if not data:
                break
            digest.update(data)
            at += len(data)
        self.damaged = digest.digest() != expected
        if self.damaged and not sealed:
            raise SpoolError(f"{self.path}: what the disk holds is not what was written; mended once it is sealed")


def read_part(path: Path, offset: int, size: int) -> bytes:
    """Up to `size` bytes of a file from `offset`.

    Raises:
        SpoolError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, max(0, size), offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SpoolError(f"{path}: cannot be read: {error.strerror}") from error


def disk_error(error: OSError, what: str, then: str) -> SpoolError:
    """What a failed call is to a spool's user: whether there was no room, or the disk is in trouble."""
    kind = SpoolFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else SpoolError
    return kind(f"{what}: {error.strerror}; {then}")
