"""One growing episode file: appends of whole records, and the offset up to which they are on disk."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from sensorium.episode import durable
from sensorium.episode.documents import Account, Open, Reason, Seal
from sensorium.episode.parser import Buffer, Header
from sensorium.episode.records import encode_record, encode_small_records
from sensorium.episode.value import NOTHING, Worth
from sensorium.errors import SpoolError, SpoolFull

log = logging.getLogger(__name__)

SYNC_BYTES = 8 << 20
EARLY_BYTES = 64 << 10


def _nothing(*_: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Ground:
    """What a spool does for its files: `begin` makes durable that their episodes are, of one that was `made`
    `sync_names` its name. `due` is called when the disk should not wait for the next tick, `grew` with the bytes of
    whatever was appended."""

    begin: Callable[[], None] = _nothing
    made: Callable[[], None] = _nothing
    sync_names: Callable[[], None] = _nothing
    due: Callable[[], None] = _nothing
    grew: Callable[[int], None] = _nothing


class Written(NamedTuple):
    """How far a file has come: whether its SEAL is there, and its bytes."""

    sealed: bool
    size: int


class EpisodeFile:
    """Created by the spool. One thread appends, another calls `put_down` and `sync`; `sendable` may be read by any.

    A little, and an OPEN of any size, is held in memory until whoever syncs puts it down, so that many small episodes
    share what it takes to begin one, and none fails as it is made; what appends more waits for the disk itself.
    A write that fails or falls short is cut back to the last record's end, so the file never holds half a record that
    a later one follows. After a failed sync nothing more becomes sendable until the file was read back, found whole
    and synced; if it is still not whole when it is sealed, it is `damaged`: that is to be taken out.
    """

    def __init__(self, path: Path, manifest: Open, ground: Ground | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self._ground = ground or Ground()
        self.ending: Seal | None = None
        self.damaged = False
        self.written = 0
        self.sendable = 0
        self._digest = blake3()
        self._number = 0
        self._suspect = self._torn = False
        self._appending = threading.Lock()
        self._syncing = threading.Lock()
        self._early: bytes | None = b""
        self._fd = -1
        self.append(manifest)
        self._ground.due()

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
    def worth(self) -> Worth:
        """What the SEAL says of its worth."""
        return NOTHING if self.ending is None else Worth.of(self.ending.summary)

    @property
    def closed(self) -> bool:
        """Whether nothing more is written or synced."""
        return self._fd < 0 and self._early is None

    @property
    def is_early(self) -> bool:
        """Whether all of it is in memory."""
        return self._early is not None

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
        return self._append([encode_small_records(self.manifest.episode, self._number, records)], len(records))

    def _append(self, buffers: Sequence[Buffer], records: int) -> int:
        size = sum(map(len, buffers))
        with self._appending:
            if self._early is not None and (not self._number or self.written + size <= EARLY_BYTES):
                joined = b"".join(buffers)
                self._early += joined
                self._count([joined], size, records)
                return size
        self.put_down()
        try:
            if self._torn:
                durable.cut(self._fd, self.written)
            self._torn = True
            durable.append(self._fd, buffers, self.written)
            self._torn = False
        except OSError as error:
            raise disk_error(error, f"{self.path}", "the record was taken back") from error
        with self._appending:
            self._count(buffers, size, records)
        if self.written - self.sendable >= SYNC_BYTES:
            self._ground.due()
        return size

    def _count(self, buffers: Sequence[Buffer], size: int, records: int) -> None:
        for buffer in buffers:
            self._digest.update(buffer)
        self._number += records
        self.written += size
        self._ground.grew(size)

    def put_down(self) -> None:
        """Have what was held in memory in the file, which is made for it; what is in the file already is no matter.

        Raises:
            SpoolFull, SpoolError: it is still in memory.
        """
        if not self.is_early:
            return
        self._ground.begin()
        with self._appending:
            if self._early is None:
                return
            try:
                if self._fd < 0:
                    self._fd = durable.create(self.path, appending=True)
                    self._ground.made()
                elif self._torn:
                    durable.cut(self._fd, 0)
                self._torn = True
                durable.append(self._fd, [self._early], 0)
                self._torn = False
            except OSError as error:
                raise disk_error(error, f"{self.path}", "it is not on disk yet") from error
            self._early = None

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
        self._ground.due()

    @property
    def extent(self) -> Written:
        """What is written so far."""
        sealed = self.sealed  # in this order: sealed means that `written` has the SEAL
        return Written(sealed, self.written)

    def sync(self, on_disk: Written | None = None) -> None:
        """Put what is written so far on disk, and make it sendable. Of what is `on_disk`, as its file system was synced
        since that was its `extent`, the disk is not asked for it.

        Raises:
            SpoolError: the disk failed; nothing new is sendable.
        """
        self.put_down()
        with self._syncing:
            if self._fd < 0:  # sealed and synced by another thread
                return
            sealed, target = on_disk or self.extent
            try:
                if not self.sendable:
                    self._ground.sync_names()
            except OSError as error:
                raise disk_error(error, f"{self.path}", "its name is not on disk, and nothing of it is sent") from error
            try:
                if self._suspect:
                    self._read_back(sealed)
                if self._suspect or on_disk is None:
                    durable.sync(self._fd)
            except SpoolError:
                raise
            except OSError as error:
                self._suspect = True
                raise SpoolError(f"{self.path}: sync failed: {error.strerror}; nothing more of it is sent") from error
            self._suspect = False
            if not self.damaged:
                self.sendable = max(self.sendable, target)
            if sealed:
                self._close()

    def close(self) -> None:
        """Close the descriptor, and put nothing down any more; twice is no error."""
        with self._syncing, self._appending:
            self._early = None
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


def read_part(path: Path | str, offset: int, size: int) -> bytes:
    """Up to `size` bytes of a file from `offset`.

    Raises:
        SpoolError: it cannot be read.
    """
    if size <= 0:
        return b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SpoolError(f"{path}: cannot be read: {error.strerror}") from error


def disk_error(error: OSError, what: str, then: str) -> SpoolError:
    """What a failed call is to a spool's user: whether there was no room, or the disk is in trouble."""
    kind = SpoolFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else SpoolError
    return kind(f"{what}: {error.strerror}; {then}")
