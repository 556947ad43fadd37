"""One growing episode file: appends of whole records, and the offset up to which they are on disk."""

import errno
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from sensorium.episode import durable
from sensorium.episode.documents import Account, Open, Reason, Seal
from sensorium.episode.parser import Buffer, Header
from sensorium.episode.records import encode_record
from sensorium.errors import SpoolError, SpoolFull

SYNC_BYTES = 8 << 20


class EpisodeFile:
    """Created by the spool. One thread appends, another calls `sync`; `sendable` may be read by any.

    A write that fails or falls short is cut back to the last record's end, so the file never holds half a record that
    a later one follows. After a failed sync nothing more becomes sendable until the file was read back, found whole
    and synced. `due` is called when a sync should not wait for the next tick: 8 MB written, or the SEAL.
    """

    def __init__(self, path: Path, manifest: Open, due: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self.manifest = manifest
        self._due = due
        self.sealed = False
        self.digest = b""
        self.accounts: Mapping[str, Account] = {}
        self.written = 0
        self.sendable = 0
        self._digest = blake3()
        self._digested = 0
        self._number = 0
        self._suspect = False
        self._appending = threading.Lock()
        self._syncing = threading.Lock()
        self._fd = durable.create(path, appending=True)

    def append(self, header: Header, payload: Buffer = b"") -> int:
        """Append one record; returns its size.

        Raises:
            SpoolFull: no room; the file is as it was before.
            SpoolError: the file system failed; the file is as it was before.
        """
        buffers = encode_record(self.manifest.episode, self._number, header, payload)
        try:
            size = durable.append(self._fd, buffers, self.written)
        except OSError as error:
            kind = SpoolFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else SpoolError
            raise kind(f"{self.path}: {error.strerror}; the record was taken back") from error
        with self._appending:
            if not isinstance(header, Seal):
                for buffer in buffers:
                    self._digest.update(buffer)
                self._digested += size
            self._number += 1
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
        digest = self._digest.digest()
        self.append(
            Seal(
                digest=digest,
                reason=reason,
                rows=rows,
                account=account,
                summary=summary,
                end_ns=end_ns,
            )
        )
        self.digest, self.accounts = digest, account
        self.sealed = True
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
            if self._suspect:
                self._read_back()
            try:
                durable.sync(self._fd)
            except OSError as error:
                self._suspect = True
                raise SpoolError(f"{self.path}: sync failed: {error.strerror}; nothing more of it is sent") from error
            self._suspect = False
            self.sendable = target
            if sealed:
                self._close()

    def close(self) -> None:
        """Close the descriptor; twice is no error."""
        with self._syncing:
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            durable.close(self._fd)
            self._fd = -1

    def _read_back(self) -> None:
        with self._appending:
            size, expected = self._digested, self._digest.digest()
        durable.forget_cached(self._fd)
        digest, at = blake3(), 0
        while at < size:
            data = durable.read_at(self._fd, min(1 << 20, size - at), at)
            if not data:
                break
            digest.update(data)
            at += len(data)
        if digest.digest() != expected:
            raise SpoolError(f"{self.path}: what the disk holds is not what was written")
