"""The file calls that durability hangs on: what is written, synced, named and removed, on the device and in the store.

What spool and store must find again after power loss they touch by these functions, and these by the `os` of this
module alone: another disk can stand there, say one that forgets what was not synced. A call that fails raises its
`OSError`.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

Buffer = bytes | bytearray | memoryview


# -- open files: the caller keeps the descriptor -----------------------------------------------------------------------


def create(path: Path, *, appending: bool = False) -> int:
    """A new file; its name is durable once its folder is synced. `appending`: for `append`, else for `write_at`."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | (os.O_APPEND if appending else 0)
    return os.open(path, flags, 0o644)


def append(fd: int, buffers: Sequence[Buffer], end: int) -> int:
    """Append `buffers` whole to a file that ends at `end`, or leave it as it is; the number of bytes.

    What is behind `end` is what an append that failed could not take back: it is cut first.
    """
    size = sum(map(len, buffers))
    if os.fstat(fd).st_size != end:
        os.ftruncate(fd, end)
    try:
        done = os.writev(fd, buffers)
        while done < size:  # short without an error: a full disk says so only at the next write
            done += _some(os.write(fd, b"".join(buffers)[done:]))
    except OSError:
        os.ftruncate(fd, end)
        raise
    return size


def write_at(fd: int, data: Buffer, offset: int) -> None:
    """Write all of `data` at `offset`."""
    rest = memoryview(data)
    while len(rest):
        written = _some(os.pwrite(fd, rest, offset))
        rest, offset = rest[written:], offset + written


def read_at(fd: int, size: int, offset: int) -> bytes:
    """Up to `size` bytes from `offset`; fewer only at the file's end."""
    return os.pread(fd, size, offset)


def sync(fd: int) -> None:
    """Make durable what was written. After it failed the kernel may call lost pages clean: only reading back tells."""
    os.fdatasync(fd)


def forget_cached(fd: int) -> None:
    """What is read next is what the disk holds, as far as it can be had."""
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def close(fd: int) -> None:
    os.close(fd)


# -- names: durable once `sync_folder` returned ------------------------------------------------------------------------


def rename(source: Path, target: Path) -> None:
    """Give a file or a folder another name; a file that has that name is no more."""
    os.rename(source, target)


def remove(path: Path) -> None:
    """Remove a file's name, if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def add_folder(folder: Path) -> None:
    """Make a folder, and its parents, where they are missing."""
    if folder.is_dir():
        return
    add_folder(folder.parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise


# -- whole changes: durable when they return ---------------------------------------------------------------------------


def make_folder(folder: Path) -> None:
    """Make a folder, and its parents, where they are missing."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    add_folder(folder)
    sync_folder(folder.parent)


def write_synced(path: Path, data: Buffer) -> None:
    """Write and sync a file; of this, its name alone is durable only once its folder is synced."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_at(fd, data, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(path: Path, data: Buffer, staging: Path) -> bool:
    """Make `path` hold `data`, unless it exists: nobody ever sees part of it. Whether it was made.

    `link` is used and not `rename`, so that of two writers the second does not replace the first's file.
    """
    temporary = staging / f"new-{uuid.uuid4().hex}"
    try:
        write_synced(temporary, data)
        os.link(temporary, path)
        made = True
    except FileExistsError:
        made = False
    finally:
        remove(temporary)
    sync_folder(path.parent)
    return made


def replace(path: Path, temporary: Path, pieces: Iterable[Sequence[Buffer]]) -> int:
    """Make `path` hold `pieces`, one after the other, instead of what it held; the number of bytes.

    Where that fails `path` is whole all the same: as it was, or as it should be.
    """
    remove(temporary)
    try:
        fd, size = create(temporary, appending=True), 0
        try:
            for buffers in pieces:
                size += append(fd, buffers, size)
            os.fsync(fd)
        finally:
            os.close(fd)
        rename(temporary, path)
    except OSError:  # it must not take the room that the next try needs
        with contextlib.suppress(OSError):
            remove(temporary)
        raise
    sync_folder(path.parent)
    return size


def replace_tail(path: Path, tail: Buffer, offset: int) -> None:
    """Make a file that is there end with `tail` at `offset`; where that fails it ends at `offset`."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, offset)
        try:
            write_at(fd, tail, offset)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, offset)
            raise
    finally:
        os.close(fd)


def add_line(path: Path, line: bytes) -> None:
    """Add a line to a file of lines, which is made if it is not there.

    The newline comes first: behind a line that a crash tore, this one still stands alone.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        append(fd, [b"\n", line], os.fstat(fd).st_size)
        os.fsync(fd)
    finally:
        os.close(fd)
    sync_folder(path.parent)


def _some(written: int) -> int:
    if not written:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return written
