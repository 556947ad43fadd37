"""Records beside the episodes of a store, appended and never changed: verdicts, labels, preferences, holds.

`STORE/beside/KIND/WRITER.jsonl`: one file a writer, named by its UUIDv7, one line a record, which has its own CRC. So
writers never meet, and an episode is never touched by what is said of it. Whoever adds holds `STORE/beside/KIND/.lock`
with others, whoever takes out what was said of an episode that is deleted holds it alone. docs/store-format.md has the
format.
"""

import contextlib
import fcntl
import os
import threading
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import uuid_utils

from sensorium.corpus.commits import check_store_version, is_episode_id
from sensorium.corpus.deletions import HOLDS, tombstone_name
from sensorium.episode import durable
from sensorium.episode.locking import take_lock
from sensorium.errors import ConfigError, StoreError

BESIDE = "beside"
KINDS = ("verdicts", "labels", "preferences", "holds", "advantages", "campaigns")
"""The kinds that there are now; a folder of another name is left alone, and read if it is asked for."""
UNCATALOGUED = frozenset({"cards"})
"""Kinds of which the catalog has nothing: they are read where they stand, all at once, and have pictures in them."""
SUFFIX = ".jsonl"
OF = ("episode", "other")
"""Where a record names the episodes that it is of."""
LOCK = ".lock"
MAX_LINE_BYTES = 16 << 20
GO_ON_BYTES = 1 << 20
"""A file below this is gone on with by the next who says little."""
_LOOKED_AT = 8


class BesideRecord(NamedTuple):
    """One record: in which writer's file, its bytes `at` to `end` there, and what it says (None: it is damaged)."""

    writer: str
    at: int
    end: int
    record: dict[str, Any] | None


class _Line(msgspec.Struct):
    crc32: str
    record: msgspec.Raw


class BesideWriter:
    """Appends records of one kind to a file of its own, which is made at the first; from any thread.

        with BesideWriter(store, "verdicts") as writer:
            writer.append([{"episode": ..., "name": ..., "utc": ..., ...}])

    A record is JSON-able: whatever msgspec encodes; NaN and infinity become null. Where a record has them, `episode`
    (an id), `name` and `utc` (as `utc_text` has it) are what the catalog finds it by.

    With `writer` the file of an earlier writer is gone on with, by one process at a time; what was torn off its last
    line by a crash is cut. Nothing above the store is ever made.

    Raises:
        StoreError: it is no store, or another process has that file.
    """

    def __init__(self, store: Path, kind: str, writer: uuid.UUID | None = None) -> None:
        _check_kind(kind)
        check_store_version(store)
        self.writer = uuid.UUID(bytes=uuid_utils.uuid7().bytes) if writer is None else writer
        self._store, self._kind, self._folder = store, kind, Path(BESIDE, kind)
        self._guard = threading.Lock()
        self._fd: int | None = None
        self._end = 0
        with _store_errors(store):
            self._store_fd = durable.open_folder(store)
        if writer is not None:
            try:
                self._begin()
            except BaseException:
                self.close()
                raise

    @classmethod
    def going_on(cls, store: Path, kind: str) -> Self:
        """One that goes on with a short file to which nobody appends, so that who says one thing makes no file of it;
        with a new one where there is none."""
        _check_kind(kind)
        for path in beside_paths(store, kind)[-_LOOKED_AT:][::-1]:
            with contextlib.suppress(OSError, ValueError):
                if path.stat().st_size < GO_ON_BYTES:
                    return cls(store, kind, uuid.UUID(path.stem))
        return cls(store, kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; no other method may follow."""
        with self._guard, contextlib.suppress(OSError):
            self._let_go()
            durable.close(self._store_fd)

    def append(self, records: Iterable[Mapping[str, Any]], check: Callable[[], object] | None = None) -> None:
        """Append records, all of them durably when it returns, at the price of one sync.

        `check` is called first, and while it is nobody else appends: what it finds is still so when they are there.
        Those of episodes that were deleted meanwhile are left out, but holds.

        Raises:
            StoreError: they could not be made durable. They may be there all the same: who repeats them may have them
                twice, which what is read of them must bear. The next ones go to a new file.
            ConfigError: a record is no JSON, or too long; none was written.
        """
        lines = [(record, line_of(record)) for record in records]
        if not lines:
            return
        with self._guard, _store_errors(self._store), self._held(alone=check is not None):
            if check is not None:
                check()
            if not (data := b"".join(self._of_what_is_left(lines))):
                return
            if self._fd is not None and not self._has_its_name(self._fd):  # a deletion put another in its place
                self._give_up()
            fd = self._begin() if self._fd is None else self._fd
            try:
                durable.write_at(fd, data, self._end)
                durable.sync(fd)
            except OSError:
                with contextlib.suppress(OSError):
                    durable.cut(fd, self._end)
                # After a sync that failed nobody knows what of the file is on disk: it is not gone on with.
                self._give_up()
                raise
            self._end += len(data)

    def _of_what_is_left(self, lines: list[tuple[Mapping[str, Any], bytes]]) -> Iterator[bytes]:
        """The lines but those of deleted episodes: whoever took out what was said of them is not coming again."""
        deleted: dict[object, bool] = {}
        for record, line in lines:
            named = [each for key in OF if isinstance(each := record.get(key), str)]
            for each in named if self._kind != HOLDS else ():
                if each not in deleted:
                    at = tombstone_name(uuid.UUID(each)) if is_episode_id(each) else ""
                    deleted[each] = bool(at) and durable.look(at, dir_fd=self._store_fd) is not None
            if not any(deleted.get(each) for each in named):
                yield line

    @contextlib.contextmanager
    def _held(self, *, alone: bool) -> Iterator[None]:
        durable.make_folder(self._folder, dir_fd=self._store_fd)
        with kind_held(self._folder, alone=alone, dir_fd=self._store_fd):
            yield

    def _has_its_name(self, fd: int) -> bool:
        seen = durable.look(self._folder / f"{self.writer}{SUFFIX}", dir_fd=self._store_fd)
        return seen is not None and seen.id == durable.identity(fd)

    def _give_up(self) -> None:
        """Go on with a file of another name."""
        self._let_go()
        self.writer = uuid.UUID(bytes=uuid_utils.uuid7().bytes)

    def _begin(self) -> int:
        """Open the file, cut what a crash tore, and make durable what an earlier process may have left in memory."""
        path = self._folder / f"{self.writer}{SUFFIX}"
        with _store_errors(self._store):
            durable.make_folder(self._folder, dir_fd=self._store_fd)
            fd = durable.reopen(path, dir_fd=self._store_fd)
            try:
                if not take_lock(fd):
                    raise StoreError(f"{self._store / path}: another process appends to it; give a new writer")
                whole = durable.read_whole(path, dir_fd=self._store_fd)
                self._end = whole.rfind(b"\n") + 1
                if self._end < len(whole):
                    durable.cut(fd, self._end)
                durable.sync(fd)
                durable.sync_folder(self._folder, dir_fd=self._store_fd)
            except BaseException:
                durable.close(fd)
                raise
        self._fd = fd
        return fd

    def _let_go(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            with contextlib.suppress(OSError):  # what counts is synced
                durable.close(fd)


@contextlib.contextmanager
def kind_held(folder: Path, *, alone: bool = False, dir_fd: int | None = None) -> Iterator[None]:
    """Hold the records of a kind, in its folder: meanwhile nobody takes any out, and, `alone`, nobody adds any."""
    fd = durable.reopen(folder / LOCK, dir_fd=dir_fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        with contextlib.suppress(OSError):
            durable.close(fd)


def read_beside(store: Path, kind: str) -> Iterator[BesideRecord]:
    """The whole records of one kind, in the order in which their files were begun and the lines of each were written.

    A line that is damaged is left out; `sensorium verify` names it. A last one without its end was torn by a crash, or
    is being written.
    """
    _check_kind(kind)
    for path in filter(durable.is_file, beside_paths(store, kind)):
        for each in read_lines(path):
            if each.record is not None:
                yield each


def beside_paths(store: Path, kind: str) -> list[Path]:
    """The files of one kind, in the order in which they were begun."""
    return sorted((store / BESIDE / kind).glob(f"*{SUFFIX}"))


def beside_kinds(store: Path) -> list[str]:
    """The kinds that are beside the episodes of a store."""
    folder = store / BESIDE
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def read_lines(path: Path, start: int = 0) -> Iterator[BesideRecord]:
    """The lines of one file from byte `start`, where one begins; the damaged ones too, without what they said."""
    with path.open("rb") as file:
        file.seek(start)
        at = start
        for line in file:
            if line.endswith(b"\n"):
                yield BesideRecord(path.stem, at, at + len(line), record_of(line[:-1]))
                at += len(line)


def line_of(record: Mapping[str, Any]) -> bytes:
    """A record as a line that has its own CRC; `ConfigError` of what is no JSON, or too long."""
    try:
        said = msgspec.json.encode(record)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"a record beside an episode: {error}; expected what JSON can say") from error
    if not said.startswith(b"{") or len(said) > MAX_LINE_BYTES:
        raise ConfigError(
            f"a record beside an episode, {len(said)} bytes: expected an object of up to {MAX_LINE_BYTES}"
        )
    return b'{"crc32":"%08x","record":%s}\n' % (zlib.crc32(said), said)


def record_of(line: bytes) -> dict[str, Any] | None:
    """What a line says; None where it does not say what was written."""
    try:
        found = msgspec.json.decode(line, type=_Line)
        said = bytes(found.record)
        if f"{zlib.crc32(said):08x}" != found.crc32:
            return None
        return msgspec.json.decode(said, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _check_kind(kind: str) -> None:
    if not kind.isidentifier():
        raise ConfigError(f"records of kind {kind!r}: expected one of {', '.join(KINDS)}")


@contextlib.contextmanager
def _store_errors(store: Path) -> Iterator[None]:
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        where = store / error.filename if isinstance(error.filename, str | os.PathLike) else store / BESIDE
        raise StoreError(f"{where}: {error.strerror or error}; see to the disk, then try again") from error
